"""Customers and snapshots of the past: the bytes of live events, with what did not change kept packed.

Between two batches a live customer is written and read again. What that changes (the order of traits, what is
too large) is done to a replayed one too, without writing it.
"""

from collections.abc import Collection, Mapping, Sequence
from dataclasses import replace

from services.profile.adapters.account_packing import shown_household
from services.profile.adapters.catalogue_types import Types
from services.profile.adapters.packed_record import pack_shown
from services.profile.adapters.packed_traits import pack_trait
from services.profile.adapters.packing import MAX_HOT_BYTES, Kept, pack_activity, pack_hot
from services.profile.adapters.snapshots import OpenBatch, SnapshotPacker
from services.profile.app.ports import TakenEvent, ThingKey
from services.profile.domain.activity import ColumnValue, Retention, TextColumn, TypeActivity
from services.profile.domain.customer import Customer, Record, places_of, traits_at
from services.profile.domain.things import ThingState
from services.profile.domain.traits import Trait, TraitKey
from services.vocabulary.words import Purpose

_CUSTOMER, _ACTIVITY, _THINGS, _SEQUENCE, _HOUSEHOLD = b"\x08", b"\x22", b"\x2a", b"\x48", b"\x52"
"""Numbers of a snapshot's fields with their wire types."""
_ENTRY_BYTES, _DAY_BYTES, _TYPE_BYTES, _OTHER_BYTES = 12, 8, 100, 4_000
"""So much do an entry, a day and a type take at most, without their columns; and all that is no activity."""


Group = tuple[Purpose, bytes, bytes]
"""Traits that need a purpose, as a snapshot has them: shown, and withheld."""


class PastKept:
    """A customer between two batches, with nothing but what was said since the beginning.

    All activity stands opened in the customer; `parts` are its types as a snapshot has them, as far as they
    are packed, `sizes` at least what they take in the customer's row; `spare` of them all is known to be too
    much. `groups` are its traits, `changing` whether one of them changes by itself.
    """

    __slots__ = (
        *("changing", "groups", "next_expiry", "parts", "places", "shown", "sizes", "spare"),
        *("trait_bytes", "traits_packed", "withheld"),
    )

    zone = ""
    household = 0
    event_types: Collection[str] = ()

    def __init__(self) -> None:
        self.places: Mapping[str, str] = {}
        self.groups: list[Group] = []
        self.changing = False
        self.trait_bytes: dict[TraitKey, tuple[Trait, bytes, bytes]] = {}
        self.parts: dict[str, bytes] = {}
        self.shown = b""
        self.next_expiry = 0
        self.withheld: frozenset[Purpose] = frozenset()
        self.traits_packed = 0
        self.sizes: dict[str, int] = {}
        self.spare = 0

    def open_traits(self) -> dict[TraitKey, Trait]:
        """None."""
        return {}

    def append(
        self,
        event_type: str,
        time_micros: int,
        sequence: int,
        kept: Mapping[str, ColumnValue],
        retention: Retention,
    ) -> bool:
        """Nothing is appended to what is packed."""
        del event_type, time_micros, sequence, kept, retention
        return False

    def open_activity(self, event_type: str) -> TypeActivity | None:
        """None that is not opened already."""
        del event_type
        return None

    def open_record(self) -> Record:
        """An empty one."""
        return Record()


class PastSnapshots(SnapshotPacker):
    """Implements the port `PastPacker`."""

    def nobody(self, customer: int) -> Customer:
        """A customer of whom nothing happened yet."""
        return Customer(customer, 0, PastKept())

    def touched(self, customer: Customer, event_type: str) -> None:
        """Activity of a type changed."""
        kept = _kept(customer)
        kept.parts.pop(event_type, None)
        activity = customer.activity[event_type]
        if activity.times or activity.days:
            kept.sizes[event_type] = _most_bytes(activity)
        else:
            del customer.activity[event_type]
            kept.sizes.pop(event_type, None)

    def settle(self, customer: Customer) -> None:
        """Give the customer the form in which they would be read after a batch was written."""
        kept = _kept(customer)
        if customer.trait_changes:
            self._pack_traits(customer, kept)
            read = _as_read(customer.traits, self._types)
            customer.traits.clear()
            customer.traits.update(read)
            customer.trait_changes = kept.traits_packed = 0
        if sum(kept.sizes.values()) - kept.spare > MAX_HOT_BYTES - _OTHER_BYTES:
            self._fit(customer, kept)

    def has_ends(self, customer: Customer) -> bool:
        """Whether a trait of this customer changes by itself."""
        if customer.trait_changes:
            return super().has_ends(customer)
        return _kept(customer).changing

    def snapshot(
        self, customer: Customer, things: Mapping[ThingKey, ThingState], time_micros: int, now_micros: int
    ) -> bytes:
        """A snapshot, serialised: the same bytes as of a live customer."""
        kept = _kept(customer)
        if customer.record_changed or 0 < kept.next_expiry <= now_micros or not kept.shown:
            self._pack_record(customer, kept, now_micros)
        if customer.trait_changes != kept.traits_packed:
            self._pack_traits(customer, kept)
        parts = [_CUSTOMER, _varint(customer.id)]
        for name, activity in customer.activity.items():
            part = kept.parts.get(name)
            if part is None:
                part = kept.parts[name] = self._part(name, activity, kept.withheld)
            parts.append(part)
        if kept.places:
            for thing in self._things(customer, things, kept.withheld):
                packed = thing.SerializeToString()
                parts += (_THINGS, _varint(len(packed)), packed)
        parts += (_SEQUENCE, _varint(customer.sequence))
        if customer.home is not None:
            packed = shown_household(customer.home, self._types, kept.withheld, time_micros)
            parts += (_HOUSEHOLD, _varint(len(packed)), packed)
        parts.append(kept.shown)
        groups = kept.groups
        if kept.changing:
            groups = self._groups(kept, traits_at(customer.traits, self._types.catalogue, time_micros))
        parts += [hidden if purpose in kept.withheld else shown for purpose, shown, hidden in groups]
        return b"".join(parts)

    def batches(self, taken: Sequence[TakenEvent]) -> list[tuple[int, bytes]]:
        """The events in order as messages for EVENTS, each with the number of its events."""
        found: list[tuple[int, bytes]] = []
        batch = OpenBatch()
        for item in taken:
            if batch.message.events and not batch.has_room(item):
                found.append((len(batch.message.events), batch.message.SerializeToString()))
                batch = OpenBatch()
            batch.add(item, self._types)
        if batch.message.events:
            found.append((len(batch.message.events), batch.message.SerializeToString()))
        return found

    def _pack_record(self, customer: Customer, kept: PastKept, now_micros: int) -> None:
        record = customer.record
        kept.shown = pack_shown(record, now_micros)
        kept.next_expiry = record.consents.next_expiry_micros(now_micros)
        withheld = frozenset(record.consents.withheld_purposes(now_micros))
        if withheld != kept.withheld:
            kept.withheld = withheld
            kept.parts.clear()
        customer.record_changed = False

    def _pack_traits(self, customer: Customer, kept: PastKept) -> None:
        traits, direct = customer.traits, self._types.direct
        kept.groups = self._groups(kept, traits)
        kept.places = places_of(traits.values())
        kept.changing = any(
            (trait.until_micros and trait.value is not None)
            or (trait.others and self._types.any_fresh and trait.name not in direct)
            for trait in traits.values()
        )
        kept.traits_packed = customer.trait_changes

    def _groups(self, kept: PastKept, traits: Mapping[TraitKey, Trait]) -> list[Group]:
        """As `put_traits` groups them."""
        types, packed = self._types, kept.trait_bytes
        groups: dict[Purpose, tuple[list[bytes], list[bytes]]] = {}
        for key, trait in traits.items():
            if trait.value is None or trait.name in types.direct:
                continue
            known = types.catalogue.traits.get(trait.name)
            purpose = Purpose.SERVICE if known is None else known.purpose
            shown, hidden = groups.setdefault(purpose, ([], []))
            found = packed.get(key)
            if found is None or (found[0] is not trait and found[0] != trait):
                found = packed[key] = (trait, *pack_trait(trait, types))
            shown.append(found[1])
            hidden.append(found[2])
        return [(purpose, b"".join(shown), b"".join(hidden)) for purpose, (shown, hidden) in groups.items()]

    def _part(self, name: str, activity: TypeActivity, withheld: frozenset[Purpose]) -> bytes:
        packed = self._types.shown_activity(name, pack_activity(activity), withheld)
        return b"".join((_ACTIVITY, _varint(len(packed)), packed))

    def _fit(self, customer: Customer, kept: PastKept) -> None:
        """Do as is done when a customer is written: what is too large loses its oldest entries."""
        copy = Customer(customer.id, customer.sequence, Kept(b"", b"", customer.id, self._types.sealer))
        copy.traits.update(customer.traits)
        copy.trait_changes = 1
        copy.activity.update(customer.activity)
        packed = pack_hot(copy, self._types)
        after = Kept(packed, b"", customer.id, self._types.sealer)
        for name in customer.activity:
            activity = after.open_activity(name)
            assert activity is not None, "a type keeps something"
            if len(activity.times) < len(customer.activity[name].times):
                customer.activity[name] = activity
                self.touched(customer, name)
        # what is counted is more than it takes; not all of that can be relied on when entries go
        kept.spare = (sum(kept.sizes.values()) - len(packed)) * 7 // 10


def _kept(customer: Customer) -> PastKept:
    kept = customer.kept
    assert isinstance(kept, PastKept), "a live customer"
    return kept


def _as_read(traits: Mapping[TraitKey, Trait], types: Types) -> dict[TraitKey, Trait]:
    """Traits in the order in which they are read again: by purpose, those taken away, the direct ones."""
    groups: dict[Purpose, dict[TraitKey, Trait]] = {}
    taken_away: dict[TraitKey, Trait] = {}
    direct: dict[TraitKey, Trait] = {}
    for key, trait in traits.items():
        if trait.value is None:
            taken_away[key] = replace(trait, until_micros=0) if trait.until_micros else trait
        elif trait.name in types.direct:
            direct[key] = trait
        else:
            known = types.catalogue.traits.get(trait.name)
            purpose = Purpose.SERVICE if known is None else known.purpose
            groups.setdefault(purpose, {})[key] = trait
    found: dict[TraitKey, Trait] = {}
    for group in groups.values():
        found |= group
    return found | taken_away | direct


def _most_bytes(activity: TypeActivity) -> int:
    """At least what activity of a type takes in its row."""
    entry, texts = _ENTRY_BYTES, 0
    for column in activity.columns.values():
        if isinstance(column, TextColumn):
            entry += 3
            texts += 3 * sum(map(len, column.texts)) + 3 * len(column.texts)
        else:
            entry += 8
    day = _DAY_BYTES + 8 * len(activity.day_sums)
    columns = 40 * (len(activity.columns) + len(activity.day_sums))
    return _TYPE_BYTES + len(activity.times) * entry + len(activity.days) * day + columns + texts


def _varint(number: int) -> bytes:
    if number < 128:
        return number.to_bytes(1)
    found = bytearray()
    while number > 127:
        found.append(number & 127 | 128)
        number >>= 7
    found.append(number)
    return bytes(found)
