"""What packing needs of one catalogue, prepared once."""

from collections.abc import Collection, Mapping
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any
from zlib import crc32

from rapport.types.v1 import stream_pb2

from services.profile.domain.customer import PROFILE_UPDATED
from services.runtime.keys import Sealer
from services.vocabulary.catalogue import Catalogue, EventType
from services.vocabulary.words import Purpose

if TYPE_CHECKING:
    from services.vocabulary.values import ValueType


@dataclass(frozen=True, slots=True)
class _Shown:
    """How activity of one type is shown: its `head`, or `hidden`, which says only that there is some.

    `fields`: those that need a purpose of their own.
    """

    purpose: Purpose
    head: bytes
    hidden: bytes
    fields: Mapping[str, Purpose]


class Types:
    """What packing needs of one catalogue: purposes and types by name, prepared once; and what seals.

    `all_sealed`: nothing is left of what stood in plain text before there were keys.
    """

    def __init__(self, catalogue: Catalogue, sealer: Sealer) -> None:
        self.catalogue = catalogue
        self.sealer = sealer
        self.all_sealed = False
        by_trait = sorted(
            (trait.name, trait.purpose.value, *(("direct",) if trait.direct else ()))
            for trait in catalogue.traits.values()
        )
        self.direct = frozenset(trait.name for trait in catalogue.traits.values() if trait.direct)
        self.grouping = crc32(repr(by_trait).encode())
        self.trait_types: dict[str, ValueType] = {
            trait.name: trait.type for trait in catalogue.traits.values()
        }
        self.any_fresh = any(
            trait.precedence is not None and trait.precedence.fresh_micros
            for trait in catalogue.traits.values()
        )
        self._direct_fields: dict[str, frozenset[str]] = {}
        self._shown: dict[str, _Shown] = {}
        self._field_purposes: dict[str, dict[str, Purpose]] = {
            event.name: {
                field.name: field.purpose
                for field in event.fields.values()
                if field.purpose not in {Purpose.SERVICE, event.purpose}
            }
            for event in catalogue.events.values()
        }

    def direct_fields(self, event_type: EventType) -> frozenset[str]:
        """The fields of an event type that identify a person, or are put into a trait that does."""
        known = self._direct_fields.get(event_type.name)
        if known is None:
            known = frozenset(event_type.direct) | {
                field for trait, field in event_type.sets_traits.items() if trait in self.direct
            }
            self._direct_fields[event_type.name] = known
        return known

    def is_direct(self, event_type: EventType, fields: Mapping[str, Any]) -> bool:
        """Whether an event with these fields says what identifies a person."""
        direct = self.direct_fields(event_type)
        if direct and not direct.isdisjoint(fields):
            return True
        if event_type.name != PROFILE_UPDATED:
            return False
        traits = fields.get("traits")
        return isinstance(traits, Mapping) and not self.direct.isdisjoint(traits)

    def shown_activity(self, event_type: str, packed: bytes, withheld: Collection[Purpose]) -> bytes:
        """Packed activity as a TypeActivity with its type, without what needs a purpose that is withheld."""
        shown = self._shown.get(event_type)
        if shown is None:
            shown = self._shown[event_type] = self._shown_as(event_type)
        if shown.purpose in withheld:
            return shown.hidden
        if shown.fields:
            packed = self._without(shown.fields, packed, withheld)
        return shown.head + packed

    def purpose_of(self, event_type: str) -> Purpose:
        """What activity of a type may be used for."""
        known = self.catalogue.events.get(event_type)
        return Purpose.SERVICE if known is None else known.purpose

    def _shown_as(self, event_type: str) -> "_Shown":
        return _Shown(
            self.purpose_of(event_type),
            stream_pb2.TypeActivity(type=event_type).SerializeToString(),
            stream_pb2.TypeActivity(type=event_type, withheld=True).SerializeToString(),
            self._field_purposes.get(event_type, {}),
        )

    def _without(
        self, purposes: Mapping[str, Purpose], packed: bytes, withheld: Collection[Purpose]
    ) -> bytes:
        if not any(purpose in withheld for purpose in purposes.values()):
            return packed
        message = stream_pb2.TypeActivity.FromString(packed)
        for columns in (message.columns, message.day_columns):
            for place in reversed(range(len(columns))):
                if purposes.get(columns[place].field) in withheld:
                    del columns[place]
        return message.SerializeToString()

    def place_purposes(self, kind: str) -> tuple[Purpose, ...]:
        """What must be agreed to for a thing to be shown that the trait `last_<kind>` names."""
        thing, last = self.catalogue.things.get(kind), self.catalogue.traits.get(f"last_{kind}")
        return tuple(known.purpose for known in (thing, last) if known is not None)
