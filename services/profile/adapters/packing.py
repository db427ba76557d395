"""A customer as packed bytes and back: what an event needs is opened, what changed is packed anew."""

import math
from collections.abc import Collection, Mapping, Sequence
from itertools import accumulate
from operator import sub
from typing import Final

from rapport.profile.v1 import stored_pb2
from rapport.types.v1 import stream_pb2

from services.profile.adapters.catalogue_types import Types
from services.profile.adapters.line_packing import unpack_lines
from services.profile.adapters.packed_record import RECORD, consents_in
from services.profile.adapters.packed_traits import HOT, pack_direct, put_traits, unpack_words
from services.profile.domain.activity import (
    SLACK_MICROS,
    ColumnValue,
    NumberColumn,
    Retention,
    TextColumn,
    TypeActivity,
)
from services.profile.domain.customer import Customer, Record
from services.profile.domain.traits import Trait, TraitKey
from services.runtime.keys import Sealer
from services.vocabulary.identities import Identity
from services.vocabulary.wire import (
    value_from_wire,
)

MAX_HOT_BYTES: Final = 56_000
"""The most that changes with every event; beyond it the oldest entries of the largest type go."""


class Kept:
    """A customer as read from the database; implements the domain's `KeptCustomer`."""

    __slots__ = (
        "_changed",
        "_customer",
        "_hot",
        "_items",
        "_messages",
        "_record",
        "_record_bytes",
        "_sealer",
        "traits_packed",
    )

    def __init__(self, hot: bytes, record: bytes, customer: int = 0, sealer: Sealer | None = None) -> None:
        """`customer` and `sealer` open what is sealed; without them nothing may be."""
        self._customer = customer
        self._sealer = sealer
        self._hot = stored_pb2.StoredHot.FromString(hot)
        self._record_bytes = record
        self._record: stored_pb2.StoredRecord | None = None
        self._items: dict[str, stored_pb2.StoredActivity] | None = None
        self._messages: dict[str, stream_pb2.TypeActivity] = {}
        self._changed: set[str] = set()
        self.traits_packed = 0

    @property
    def hot(self) -> stored_pb2.StoredHot:
        """The message as kept; its activity is up to date after `settle`."""
        return self._hot

    @property
    def record(self) -> stored_pb2.StoredRecord:
        """The message as kept."""
        if self._record is None:
            self._record = stored_pb2.StoredRecord.FromString(self._record_bytes)
        return self._record

    @property
    def zone(self) -> str:
        """Trait `zone`; empty: none."""
        return self._hot.zone

    @property
    def household(self) -> int:
        """The household; 0: none."""
        return self._hot.household

    @property
    def places(self) -> Mapping[str, str]:
        """Key of the thing that each trait `last_<kind>` names, by kind."""
        places = self._hot.places
        return {place.kind: place.key for place in places} if places else {}

    @property
    def event_types(self) -> Collection[str]:
        """Types of which there is activity."""
        return self.items.keys()

    @property
    def items(self) -> dict[str, stored_pb2.StoredActivity]:
        """Packed activity by event type."""
        if self._items is None:
            self._items = {item.type: item for item in self._hot.activity}
        return self._items

    def settle(self) -> None:
        """Write what was appended into the kept message."""
        for name in self._changed:
            self.items[name].activity = self._messages[name].SerializeToString()
        self._changed.clear()

    def replace(self, activity: TypeActivity) -> None:
        """Put opened activity in the place of what was kept of its type."""
        item = self.items.get(activity.type)
        if item is not None and not activity.times and not activity.days:
            self._hot.activity.remove(item)
            del self.items[activity.type]
            self._messages.pop(activity.type, None)
            self._changed.discard(activity.type)
            return
        if item is None:
            item = self._items[activity.type] = self._hot.activity.add(type=activity.type)  # type: ignore[index]
        item.activity = pack_activity(activity)
        item.last_time_micros = activity.last_time_micros
        item.last_sequence = activity.sequences[-1] if activity.sequences else 0
        self._messages.pop(activity.type, None)
        self._changed.discard(activity.type)

    def append(
        self,
        event_type: str,
        time_micros: int,
        sequence: int,
        kept: Mapping[str, ColumnValue],
        retention: Retention,
    ) -> bool:
        """Add an entry that is the newest, where nothing need be folded; False: open the activity instead."""
        items = self.items
        item = items.get(event_type)
        if item is None:
            item = items[event_type] = self._hot.activity.add(type=event_type)
            message = self._messages[event_type] = stream_pb2.TypeActivity()
        else:
            message = self._messages.get(event_type) or self._open(event_type, item)
        times = message.time_delta_micros
        count = len(times)
        if count and (
            time_micros < item.last_time_micros
            or count >= retention.most
            or times[0] < time_micros - retention.each_micros - SLACK_MICROS
        ):
            return False
        times.append(time_micros - item.last_time_micros if count else time_micros)
        message.sequence_deltas.append(sequence - item.last_sequence if count else sequence)
        item.last_time_micros = time_micros
        item.last_sequence = sequence
        _append_columns(message, kept, count)
        self._changed.add(event_type)
        return True

    def _open(self, event_type: str, item: stored_pb2.StoredActivity) -> stream_pb2.TypeActivity:
        message = self._messages[event_type] = stream_pb2.TypeActivity.FromString(item.activity)
        return message

    def open_traits(self) -> dict[TraitKey, Trait]:
        """All traits, those taken away included."""
        hot = self._hot
        if not (hot.traits or hot.taken_away or hot.direct or hot.others):
            return {}
        ends = {(end.name, end.line): end.until_micros for end in hot.ends}
        others = unpack_words(stored_pb2.StoredWords.FromString(self._hot.others).words)
        direct = stored_pb2.StoredDirect()
        if self._hot.direct:
            direct.ParseFromString(self._open_sealed(self._hot.direct, HOT))
            others.update(unpack_words(direct.others))
        traits: dict[TraitKey, Trait] = {}
        snapshots = (*(group.shown for group in self._hot.traits), self._hot.taken_away)
        for known in (
            *(stream_pb2.Snapshot.FromString(packed).traits for packed in snapshots),
            direct.traits,
        ):
            for trait in known:
                key = (trait.name, trait.line)
                value = value_from_wire(trait.value) if trait.HasField("value") else None
                traits[key] = Trait(
                    trait.name,
                    value,
                    trait.time_micros,
                    trait.source,
                    trait.line,
                    ends.get(key, 0),
                    others.get(key, ()),
                )
        return traits

    def _open_sealed(self, sealed: bytes, table: str) -> bytes:
        assert self._sealer is not None, "what is sealed needs a sealer"
        return self._sealer.open(sealed, f"{table}/{self._customer}")

    def open_activity(self, event_type: str) -> TypeActivity | None:
        """What is known of one event type."""
        self.settle()
        item = self.items.get(event_type)
        return None if item is None else unpack_activity(event_type, item.activity)

    def open_record(self) -> Record:
        """What changes rarely."""
        if not self._record_bytes:
            return Record()
        stored = self.record
        return Record(
            identities=self.open_identities(),
            consents=consents_in(stored),
            preferences=dict(stored.preferences),
            preference_times=dict(stored.preference_times),
            merged_customers=list(stored.merged_customers),
            lines=unpack_lines(stored.lines),
            said_household=stored.household,
            said_household_micros=stored.household_micros,
            kinds=self.open_kinds(),
        )

    def open_identities(self) -> list[tuple[Identity, str]]:
        """Identities with their lines, in the order in which they were learned."""
        identities = self.record.identities
        if self.record.sealed:
            opened = self._open_sealed(self.record.sealed, RECORD)
            identities = stored_pb2.StoredIdentities.FromString(opened).identities
        return [(Identity(item.kind, item.value), item.line) for item in identities]

    def open_kinds(self) -> list[tuple[int, tuple[str, ...]]]:
        """Of which kinds the identities were, each since the event behind a sequence."""
        return [(one.after, tuple(one.kinds)) for one in self.record.kinds]


def _append_columns(message: stream_pb2.TypeActivity, kept: Mapping[str, ColumnValue], before: int) -> None:
    """One value per column; `before`: entries that the columns had."""
    seen = 0
    for column in message.columns:
        value = kept.get(column.field)
        if column.texts:
            index = 0
            if isinstance(value, str):
                index = _index_of(column, value)
                seen += 1
            column.text_indexes.append(index)
        elif value is None or isinstance(value, str):
            column.numbers.append(math.nan)
        else:
            column.numbers.append(value)
            seen += 1
    if seen == len(kept):
        return
    known = {column.field for column in message.columns}
    for name, value in kept.items():
        if value is None or name in known:
            continue
        if isinstance(value, str):
            message.columns.add(field=name, texts=[value], text_indexes=[0] * before + [1])
        else:
            message.columns.add(field=name, numbers=[math.nan] * before + [value])


def _index_of(column: stream_pb2.ActivityColumn, text: str) -> int:
    for place, known in enumerate(column.texts, start=1):
        if known == text:
            return place
    column.texts.append(text)
    return len(column.texts)


def unpack_activity(event_type: str, packed: bytes) -> TypeActivity:
    """The activity of one type from its packed form."""
    message = stream_pb2.TypeActivity.FromString(packed)
    activity = TypeActivity(
        event_type,
        list(accumulate(message.time_delta_micros)),
        list(accumulate(message.sequence_deltas)),
    )
    for column in message.columns:
        if column.texts:
            activity.columns[column.field] = TextColumn(list(column.texts), list(column.text_indexes))
        else:
            activity.columns[column.field] = NumberColumn(list(column.numbers))
    if message.day_deltas:
        activity.days = list(accumulate(message.day_deltas))
        activity.day_counts = list(message.day_counts)
        activity.day_sums = {column.field: list(column.sums) for column in message.day_columns}
    return activity


def pack_activity(activity: TypeActivity) -> bytes:
    """The packed form of the activity of one type, without its type."""
    message = stream_pb2.TypeActivity(
        time_delta_micros=_deltas(activity.times), sequence_deltas=_deltas(activity.sequences)
    )
    for name, column in activity.columns.items():
        if isinstance(column, TextColumn):
            message.columns.add(field=name, texts=column.texts, text_indexes=column.indexes)
        else:
            message.columns.add(field=name, numbers=column.values)
    if activity.days:
        message.day_deltas.extend(_deltas(activity.days))
        message.day_counts.extend(activity.day_counts)
        for name, sums in activity.day_sums.items():
            message.day_columns.add(field=name, sums=sums)
    return message.SerializeToString()


def _deltas(values: Sequence[int]) -> list[int]:
    if not values:
        return []
    return [values[0], *map(sub, values[1:], values)]


def pack_hot(customer: Customer, types: Types) -> bytes:
    """What changes with every event, packed; parts that nothing opened are taken over as they are."""
    kept = settled(customer, types)
    packed: bytes = kept.hot.SerializeToString()
    while len(packed) > MAX_HOT_BYTES:
        _shrink(kept)
        packed = kept.hot.SerializeToString()
    return packed


def settled(customer: Customer, types: Types) -> Kept:
    """The kept form, with all that was opened and changed written back into it."""
    kept = customer.kept
    assert isinstance(kept, Kept), "a customer of another store"
    traits = customer.opened_traits
    if traits is None and kept.hot.grouping != types.grouping and kept.hot.traits:
        traits = customer.traits  # the catalogue gave traits other purposes since
    if traits is not None and (
        customer.trait_changes != kept.traits_packed or kept.hot.grouping != types.grouping
    ):
        put_traits(kept.hot, traits, types)
        kept.hot.direct = pack_direct(traits, types, customer.id)
        kept.traits_packed = customer.trait_changes
    for activity in customer.activity.values():
        kept.replace(activity)
    if customer.home_changed:
        kept.hot.household = customer.home_id
    kept.settle()
    return kept


def _shrink(kept: Kept) -> None:
    largest = max(kept.hot.activity, key=lambda item: len(item.activity))
    activity = unpack_activity(largest.type, largest.activity)
    activity.forget_oldest(max(1, len(activity.times) // 2))
    kept.replace(activity)
