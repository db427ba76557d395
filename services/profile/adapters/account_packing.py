"""Accounts, subscriptions and households as they are kept: what names them sealed, the rest packed."""

from collections.abc import Iterable

from rapport.profile.v1 import stored_pb2
from rapport.types.v1 import stream_pb2

from services.profile.adapters.catalogue_types import Types
from services.profile.adapters.line_packing import pack_lines, unpack_lines
from services.profile.domain.accounts import Facts
from services.profile.domain.households import Household, Member
from services.profile.domain.traits import Trait
from services.runtime.keys import Sealer
from services.vocabulary.values import Value, ValueType
from services.vocabulary.wire import value_from_wire, value_to_wire
from services.vocabulary.words import Purpose

ACCOUNT = "account"
SUBSCRIPTION = "subscription"


def seal_facts(facts: Facts, table: str, sealer: Sealer) -> bytes:
    """What is known of an account or a subscription, as it stands in its row."""
    stored = stored_pb2.StoredFacts(name=facts.name)
    for name, (value, time_micros) in sorted(facts.attributes.items()):
        stored.attributes.add(name=name, value=_to_wire(value), time_micros=time_micros)
    return sealer.seal(stored.SerializeToString(), facts_context(table, facts.key))


def open_facts(facts: Facts, sealed: bytes, table: str, sealer: Sealer) -> None:
    """Fill in what a row holds; SealError names the row."""
    stored = stored_pb2.StoredFacts.FromString(sealer.open(sealed, facts_context(table, facts.key)))
    facts.name = stored.name
    for attribute in stored.attributes:
        value = value_from_wire(attribute.value) if attribute.HasField("value") else None
        facts.attributes[attribute.name] = (value, attribute.time_micros)


def facts_context(table: str, key: bytes) -> str:
    """Where sealed facts stand."""
    return f"{table}/{key.hex()}"


def _to_wire(value: Value | None) -> object:
    if value is None:
        return None
    return value_to_wire(value, ValueType.INT if isinstance(value, int) else ValueType.TEXT)


def pack_household(home: Household, types: Types) -> bytes:
    """A household as kept, beside its members' ids."""
    stored = stored_pb2.StoredHousehold()
    for customer, member in sorted(home.members.items()):
        stored.members.add(customer=customer, said=member.said, lines=pack_lines(member.lines))
    stored.traits.extend(_shared(home, types))
    packed: bytes = stored.SerializeToString()
    return packed


def _shared(home: Household, types: Types) -> list[stream_pb2.Trait]:
    return [
        stream_pb2.Trait(
            name=trait.name,
            value=None
            if trait.value is None
            else value_to_wire(trait.value, types.trait_types.get(trait.name)),
            time_micros=trait.time_micros,
            source=trait.source,
        )
        for trait in home.traits.values()
    ]


def pack_past_household(home: Household, types: Types) -> bytes:
    """A household as it was, without saying whose it was."""
    stored = stored_pb2.StoredPastHousehold(members=len(home.members), traits=_shared(home, types))
    for member in home.members.values():
        for line in member.lines:
            stored.lines.add(from_micros=line.from_micros, until_micros=line.until_micros)
    packed: bytes = stored.SerializeToString()
    return packed


def unpack_past_household(number: int, packed: bytes) -> Household:
    """The same the other way round; its members are numbered, and the first has all the lines."""
    stored = stored_pb2.StoredPastHousehold.FromString(packed)
    home = Household(
        number, b"", {place: Member() for place in range(stored.members)}, _traits(stored.traits)
    )
    if home.members:
        home.members[0].lines = tuple(unpack_lines(stored.lines))
    return home


def unpack_household(number: int, key: bytes, packed: bytes) -> Household:
    """A household from its kept form."""
    stored = stored_pb2.StoredHousehold.FromString(packed)
    return Household(
        number,
        key,
        {one.customer: Member(one.said, tuple(unpack_lines(one.lines))) for one in stored.members},
        _traits(stored.traits),
    )


def _traits(stored: Iterable[stream_pb2.Trait]) -> dict[str, Trait]:
    return {
        one.name: Trait(
            one.name,
            value_from_wire(one.value) if one.HasField("value") else None,
            one.time_micros,
            one.source,
        )
        for one in stored
    }


def shown_household(home: Household, types: Types, withheld: frozenset[Purpose], time_micros: int) -> bytes:
    """A household as its members' snapshots carry it: counts and what is shared, of nobody in particular."""
    message = stream_pb2.Household(id=home.id, members=len(home.members), lines=home.lines_at(time_micros))
    for name in sorted(home.traits):
        trait, known = home.traits[name], types.catalogue.traits.get(name)
        if known is None or not known.household or not trait.holds_at(time_micros):
            continue
        if known.purpose in withheld:
            message.traits.add(name=name, withheld=True)
        elif trait.value is not None:
            message.traits.add(name=name, value=value_to_wire(trait.value, known.type))
    packed: bytes = message.SerializeToString()
    return packed
