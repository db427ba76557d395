"""Traits as packed bytes: grouped by the purpose they need; those that identify a person sealed."""

from collections.abc import Iterable, Mapping
from typing import Final

from rapport.profile.v1 import stored_pb2
from rapport.types.v1 import stream_pb2

from services.profile.adapters.catalogue_types import Types
from services.profile.domain.consent import DATA_PURPOSES
from services.profile.domain.customer import places_of, zone_of
from services.profile.domain.traits import Trait, TraitKey
from services.vocabulary.values import ValueType
from services.vocabulary.wire import PURPOSES, value_from_wire, value_to_wire
from services.vocabulary.words import Purpose

HOT: Final = "customer"
"""The table by which sealed traits are bound to their rows."""


def put_traits(hot: stored_pb2.StoredHot, traits: Mapping[TraitKey, Trait], types: Types) -> None:
    """Write traits into `hot`, grouped by the purpose they need; each group also as it is withheld.

    Those that identify the person are left out (see `pack_direct`).
    """
    shown: dict[Purpose, stream_pb2.Snapshot] = {}
    taken_away = stream_pb2.Snapshot()
    del hot.traits[:]
    del hot.ends[:]
    for trait in traits.values():
        known = types.catalogue.traits.get(trait.name)
        if trait.value is None:
            _add_trait(taken_away, trait, None)
            continue
        if trait.until_micros:
            hot.ends.add(name=trait.name, line=trait.line, until_micros=trait.until_micros)
        if trait.name in types.direct:
            continue
        purpose = Purpose.SERVICE if known is None else known.purpose
        group = shown.get(purpose)
        if group is None:
            group = shown[purpose] = stream_pb2.Snapshot()
        _add_trait(group, trait, types.trait_types.get(trait.name))
    for purpose, group in shown.items():
        packed = hot.traits.add(purpose=PURPOSES.to_wire(purpose), shown=group.SerializeToString())
        if purpose in DATA_PURPOSES:  # no other is ever withheld
            hidden = stream_pb2.Snapshot(
                traits=[
                    stream_pb2.Trait(name=item.name, line=item.line, withheld=True) for item in group.traits
                ]
            )
            packed.hidden = hidden.SerializeToString()
    hot.taken_away = taken_away.SerializeToString()
    ranked = [trait for trait in traits.values() if trait.others and trait.name not in types.direct]
    hot.others = stored_pb2.StoredWords(words=pack_words(ranked, types)).SerializeToString()
    hot.grouping = types.grouping
    hot.zone = zone_of(traits)
    del hot.places[:]
    for kind, key in places_of(traits.values()).items():
        hot.places.add(kind=kind, key=key)


def _add_trait(group: stream_pb2.Snapshot, trait: Trait, value_type: ValueType | None) -> None:
    group.traits.add(
        name=trait.name,
        value=None if trait.value is None else value_to_wire(trait.value, value_type),
        time_micros=trait.time_micros,
        source=trait.source,
        line=trait.line,
    )


def _trait_to_wire(trait: Trait, value_type: ValueType | None) -> stream_pb2.Trait:
    return stream_pb2.Trait(
        name=trait.name,
        value=None if trait.value is None else value_to_wire(trait.value, value_type),
        time_micros=trait.time_micros,
        source=trait.source,
        line=trait.line,
    )


def pack_trait(trait: Trait, types: Types) -> tuple[bytes, bytes]:
    """One trait as a part of a snapshot: as it is shown, and as it is withheld."""
    one = _trait_to_wire(trait, types.trait_types.get(trait.name))
    withheld = stream_pb2.Trait(name=trait.name, line=trait.line, withheld=True)
    return (
        stream_pb2.Snapshot(traits=[one]).SerializeToString(),
        stream_pb2.Snapshot(traits=[withheld]).SerializeToString(),
    )


def pack_direct(traits: Mapping[TraitKey, Trait], types: Types, customer: int) -> bytes:
    """The traits that identify this person, sealed, with what further sources say of them; empty: none."""
    mine = [trait for trait in traits.values() if trait.name in types.direct]
    if not mine:
        return b""
    stored = stored_pb2.StoredDirect(
        traits=[
            _trait_to_wire(trait, types.trait_types.get(trait.name))
            for trait in mine
            if trait.value is not None
        ],
        others=pack_words(mine, types),
    )
    if not stored.traits and not stored.others:
        return b""
    return types.sealer.seal(stored.SerializeToString(), f"{HOT}/{customer}")


def pack_words(traits: Iterable[Trait], types: Types) -> list[stored_pb2.StoredWord]:
    """What further sources say."""
    return [
        stored_pb2.StoredWord(
            word=_trait_to_wire(word, types.trait_types.get(word.name)), until_micros=word.until_micros
        )
        for trait in traits
        for word in trait.others
    ]


def unpack_words(words: Iterable[stored_pb2.StoredWord]) -> dict[TraitKey, tuple[Trait, ...]]:
    """What further sources say, by trait."""
    found: dict[TraitKey, tuple[Trait, ...]] = {}
    for stored in words:
        word = stored.word
        value = value_from_wire(word.value) if word.HasField("value") else None
        key = (word.name, word.line)
        said = Trait(word.name, value, word.time_micros, word.source, word.line, stored.until_micros)
        found[key] = (*found.get(key, ()), said)
    return found
