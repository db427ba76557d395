"""Snapshots and event batches as bytes, put together from parts that are packed already."""

from collections.abc import Mapping, Sequence
from typing import TYPE_CHECKING, Final

import orjson
from rapport.profile.v1 import stored_pb2
from rapport.types.v1 import stream_pb2

from services.profile.adapters.account_packing import shown_household
from services.profile.adapters.catalogue_types import Types
from services.profile.adapters.packed_record import pack_shown
from services.profile.adapters.packed_traits import put_traits
from services.profile.adapters.packing import Kept, settled
from services.profile.app.ports import TakenEvent, ThingKey
from services.profile.domain.customer import Customer, traits_at
from services.profile.domain.erasure import ErasureNotice
from services.profile.domain.events import CheckedEvent
from services.profile.domain.things import ThingState
from services.runtime.tracing import tracing_on
from services.vocabulary.ids import partition_of, thing_partition
from services.vocabulary.wire import CHANNELS, PURPOSES, value_from_wire, value_to_wire
from services.vocabulary.words import Purpose

if TYPE_CHECKING:
    from services.vocabulary.values import ValueType

SEALED: Final = "sealed"
"""Stands in the place of a field that identifies a person."""
_MESSAGE_BYTES: Final = 200_000
"""A message on EVENTS is ended before it grows beyond this; one event and snapshot alone are smaller."""


class SnapshotPacker:
    """Packs snapshots for one catalogue; implements the port `Packer`."""

    def __init__(self, types: Types) -> None:
        self._types = types
        self._purposes = {PURPOSES.to_wire(word): word for word in Purpose}
        self._withheld: dict[tuple[int, ...], frozenset[Purpose]] = {}

    def has_ends(self, customer: Customer) -> bool:
        """Whether a trait of this customer changes by itself: it ends, or its source's word grows stale."""
        if customer.trait_changes:
            return any(
                trait.until_micros or (trait.others and self._types.any_fresh)
                for trait in customer.traits.values()
            )
        kept = customer.kept
        return isinstance(kept, Kept) and self._changes_by_itself(kept.hot)

    def _changes_by_itself(self, hot: stored_pb2.StoredHot) -> bool:
        return len(hot.ends) > 0 or (bool(hot.others) and self._types.any_fresh)

    def snapshot(
        self, customer: Customer, things: Mapping[ThingKey, ThingState], time_micros: int, now_micros: int
    ) -> bytes:
        """A snapshot, serialised. Traits that ended by `time_micros` are left out."""
        kept = settled(customer, self._types)
        shown, withheld = self._shown(customer, kept, now_micros)
        packed = stored_pb2.PackedSnapshot(
            customer=customer.id,
            sequence=customer.sequence,
            activity=self._activity(kept, withheld),
            things=self._things(customer, things, withheld),
        )
        if customer.home is not None:
            packed.household = shown_household(customer.home, self._types, withheld, time_micros)
        return b"".join(
            [packed.SerializeToString(), shown, *self._traits(customer, kept.hot, withheld, time_micros)]
        )

    def _shown(self, customer: Customer, kept: Kept, now_micros: int) -> tuple[bytes, frozenset[Purpose]]:
        record = customer.opened_record
        stored = kept.record
        shown = stored.shown
        if customer.record_changed and record is not None:
            shown = pack_shown(record, now_micros)
        elif 0 < stored.next_expiry_micros <= now_micros or not shown:
            shown = pack_shown(customer.record, now_micros)
        numbers = tuple(stream_pb2.Snapshot.FromString(shown).withheld_purposes)
        withheld = self._withheld.get(numbers)
        if withheld is None:
            withheld = self._withheld[numbers] = frozenset(self._purposes[number] for number in numbers)
        return shown, withheld

    def _traits(
        self,
        customer: Customer,
        hot: stored_pb2.StoredHot,
        withheld: frozenset[Purpose],
        time_micros: int,
    ) -> list[bytes]:
        if self._changes_by_itself(hot):
            traits = traits_at(customer.traits, self._types.catalogue, time_micros)
            hot = stored_pb2.StoredHot()
            put_traits(hot, traits, self._types)
        return [
            group.hidden if self._purposes.get(group.purpose) in withheld else group.shown
            for group in hot.traits
        ]

    def _activity(self, kept: Kept, withheld: frozenset[Purpose]) -> list[bytes]:
        types = self._types
        return [types.shown_activity(item.type, item.activity, withheld) for item in kept.hot.activity]

    def _things(
        self, customer: Customer, things: Mapping[ThingKey, ThingState], withheld: frozenset[Purpose]
    ) -> list[stream_pb2.Thing]:
        found: list[stream_pb2.Thing] = []
        for kind, key in customer.places.items():
            thing = things.get((kind, key))
            if thing is None:
                continue
            if not withheld.isdisjoint(self._types.place_purposes(kind)):
                found.append(stream_pb2.Thing(kind=kind, withheld=True))
            else:
                found.append(thing_to_wire(thing, self._types))
        return found


def thing_to_wire(thing: ThingState, types: Types) -> stream_pb2.Thing:
    """A thing as it stands, as protobuf."""
    known = types.catalogue.things.get(thing.kind)
    attributes: Mapping[str, ValueType] = {} if known is None else known.attributes
    message = stream_pb2.Thing(kind=thing.kind, key=thing.key)
    for name, value in thing.values().items():
        message.attributes[name].CopyFrom(value_to_wire(value, attributes.get(name)))
    return message


def pack_thing(thing: ThingState, types: Types) -> bytes:
    """A thing as kept, with the times of its attributes."""
    known = types.catalogue.things.get(thing.kind)
    stored = stored_pb2.StoredThing()
    for name, (value, time_micros) in thing.attributes.items():
        value_type = None if known is None else known.attributes.get(name)
        stored.attributes.add(
            name=name,
            value=None if value is None else value_to_wire(value, value_type),
            time_micros=time_micros,
        )
    packed: bytes = stored.SerializeToString()
    return packed


def unpack_thing(kind: str, key: str, sequence: int, packed: bytes) -> ThingState:
    """A thing from its kept form."""
    thing = ThingState(kind, key, sequence=sequence)
    for attribute in stored_pb2.StoredThing.FromString(packed).attributes:
        value = value_from_wire(attribute.value) if attribute.HasField("value") else None
        thing.attributes[attribute.name] = (value, attribute.time_micros)
    return thing


def event_batches(taken: Sequence[TakenEvent], types: Types, partitions: int) -> list[tuple[int, bytes]]:
    """Messages for EVENTS (partition, payload): per partition in order, each snapshot once per message."""
    rows: list[tuple[int, bytes]] = []
    open_batches: dict[int, OpenBatch] = {}
    for item in taken:
        partition = _partition(item, partitions)
        batch = open_batches.get(partition)
        if batch is None:
            batch = open_batches[partition] = OpenBatch()
        elif not batch.has_room(item):
            rows.append((partition, batch.message.SerializeToString()))
            batch = open_batches[partition] = OpenBatch()
        batch.add(item, types)
    rows.extend((partition, batch.message.SerializeToString()) for partition, batch in open_batches.items())
    return rows


def traces_of(taken: Sequence[TakenEvent], partitions: int) -> dict[int, str] | None:
    """The trace that each partition's messages belong to; None: the events belong to none of their own."""
    if not tracing_on():
        return None
    traces = {_partition(item, partitions): item.event.trace for item in taken if item.event.trace}
    return traces or None


def _partition(item: TakenEvent, partitions: int) -> int:
    thing = item.event.thing
    if thing is None:
        return partition_of(item.customer, partitions)
    return thing_partition(thing.kind, thing.key, partitions)


def _erasure_to_wire(notice: ErasureNotice, customer: int) -> stream_pb2.Erasure:
    return stream_pb2.Erasure(
        erasure_id=notice.erasure_id,
        customer=customer,
        customers=notice.customers,
        erased_micros=notice.erased_micros,
        addresses=[
            stream_pb2.ErasedAddress(channel=CHANNELS.to_wire(channel), lookup=identity.lookup)
            for identity in notice.identities
            for channel in identity.channels
        ],
    )


def open_data(event: CheckedEvent, types: Types) -> bytes:
    """An event's data as others may have it: without traits and fields that identify a person."""
    if not types.is_direct(event.type, event.fields):
        return event.data
    data = orjson.loads(event.data)
    traits = data.get("traits")
    if isinstance(traits, dict):
        data["traits"] = {name: value for name, value in traits.items() if name not in types.direct}
    named = types.direct_fields(event.type)
    return orjson.dumps({name: SEALED if name in named else value for name, value in data.items()})


class OpenBatch:
    """A message on EVENTS that still has room."""

    def __init__(self) -> None:
        self.message = stream_pb2.EventBatch()
        self._size = 0
        self._places: dict[int, int] = {}

    def has_room(self, item: TakenEvent) -> bool:
        """Whether an event with its snapshot still fits."""
        return self._size + self._size_of(item) <= _MESSAGE_BYTES

    def add(self, item: TakenEvent, types: Types) -> None:
        """Add an event, and its snapshot unless the event before had the same."""
        self._size += self._size_of(item)
        place = 0
        if item.snapshot is not None:
            place = self._places.get(id(item.snapshot), 0)
            if not place:
                self.message.snapshots.append(item.snapshot)
                place = self._places[id(item.snapshot)] = len(self.message.snapshots)
        event = item.event
        wire = self.message.events.add(
            id=event.id,
            source=event.source,
            type=event.type.name,
            time_micros=event.time_micros,
            accepted_micros=item.accepted_micros,
            data=open_data(event, types),
            customer=item.customer,
            line=item.line,
            sequence=item.sequence,
            snapshot=place,
            hops=event.hops,
            history=event.history,
            via=event.via,
        )
        if event.thing is not None:
            wire.thing = event.thing.text
        if item.erasure is not None:
            wire.erasure.CopyFrom(_erasure_to_wire(item.erasure, item.customer))
        for thing in item.things:
            wire.things.append(thing_to_wire(thing, types))

    def _size_of(self, item: TakenEvent) -> int:
        size = len(item.event.data) + 200 + 200 * len(item.things)
        if item.snapshot is not None and id(item.snapshot) not in self._places:
            size += len(item.snapshot)
        return size
