"""Where the worlds of a simulation run other rules: all else comes out alike, and is worked out once."""

from __future__ import annotations

from dataclasses import dataclass, replace
from typing import TYPE_CHECKING

from services.decision.adapters.running import Running
from services.decision.domain.canary import Programs
from services.decision.domain.shards import pack, pieces_of
from services.decision.domain.triggers import CALLED_BACK, type_of_key
from services.vocabulary.words import ActionKind

if TYPE_CHECKING:
    from collections.abc import Collection, Iterable, Mapping, Sequence

    from services.decision.adapters.sieving_engine import SievingEngine
    from services.decision.adapters.simulation_past import Past
    from services.decision.domain.engine import Fired, Property
    from services.decision.domain.program import RuleSet, Shard
    from services.vocabulary.catalogue import Catalogue

PROFILE_UPDATED = "profile.updated"


@dataclass(frozen=True, slots=True)
class Differing:
    """``types``: event types on which other rules run. ``everywhere``: any decision may bring one about.

    ``rule_sets``: those that differ. ``shared``: one of them infers facts for all.
    """

    types: frozenset[str] = frozenset()
    rule_sets: frozenset[str] = frozenset()
    everywhere: bool = False
    shared: bool = False

    @staticmethod
    def between(worlds: Iterable[Running], drafted: Collection[str], catalogue: Catalogue) -> Differing:
        """What drafts of these names change; one that says what is live changes nothing.

        Rule sets of other names are the same text in all worlds, in the same order. They run alike, but for
        the facts of a shared one, which concern them all.
        """
        worlds = tuple(worlds)
        drafted = {name for name in drafted if len({_texts_of(name, world) for world in worlds}) > 1}
        programs = [program for world in worlds for program in world.programs.variants]
        rule_sets = [rule_set for program in programs for rule_set in program.rule_sets]
        changed = [rule_set for rule_set in rule_sets if rule_set.name in drafted]
        shared = any(rule_set.shared for rule_set in changed)
        keys = {key for rule_set in (rule_sets if shared else changed) for key in rule_set.triggers}
        types = frozenset(map(type_of_key, keys))
        ours = {name for name, known in catalogue.events.items() if known.own} | _said_by(rule_sets)
        return Differing(types, frozenset(drafted), bool(types & ours - CALLED_BACK), shared)

    def may_concern(self, past: Past) -> bool:
        """Whether a customer's past may come out differently; False is certain."""
        return (
            self.everywhere
            or past.has(self.types)
            or any(rule_set in self.rule_sets for _, _, rule_set in past.contacts)
        )


def with_common_shards(worlds: Sequence[Running], differing: Differing) -> tuple[Running, ...]:
    """The same worlds, packed so that what all of them run is the same shards.

    It comes out the same however rule sets are packed. Left as they are: worlds in which customers meet
    different versions, and those with other shared facts.
    """
    if differing.shared or any(len(world.programs.variants) > 1 for world in worlds):
        return tuple(worlds)
    common: dict[tuple[str, ...], tuple[Shard, ...]] = {}
    known: dict[str, RuleSet] = {}
    found: list[Running] = []
    for place, world in enumerate(worlds):
        program = world.programs.base
        rule_sets = tuple(
            one if one.name in differing.rule_sets else known.setdefault(one.name, one)
            for one in program.rule_sets
        )
        shards = {}
        for key in program.shards:
            chosen = [one for one in rule_sets if key in one.triggers]
            same = [one for one in chosen if one.name not in differing.rule_sets]
            other = [one for one in chosen if one.name in differing.rule_sets]
            names = tuple(one.name for one in same)
            if names not in common:
                common[names] = _packed(f"common {len(common)}", same)
            shards[key] = common[names] + _packed(f"world {place} {key}", other)
        shared = found[0].programs.base.shared if found else program.shared
        packed = replace(program, rule_sets=rule_sets, shards=shards, shared=shared)
        found.append(Running(world.version, Programs((packed,))))
    return tuple(found)


class SharingEngine:
    """An engine that does not run a shard again of which it is known what fired in this very situation."""

    def __init__(self, engine: SievingEngine) -> None:
        self._engine = engine
        self.known: dict[tuple[object, ...], Fired] = {}

    def run(
        self, shard: Shard, properties: Mapping[str, Property], given_facts: Collection[str] = ()
    ) -> Fired:
        """Fires a shard's rules, or says what is known of them."""
        key = (id(shard), *given_facts)
        fired = self.known.get(key)
        if fired is None:
            fired = self.known[key] = self._engine.run(shard, properties, given_facts)
        return fired


def _packed(key: str, rule_sets: Iterable[RuleSet]) -> tuple[Shard, ...]:
    return pack(key, [piece for rule_set in rule_sets for piece in pieces_of(rule_set)])


def _texts_of(name: str, world: Running) -> frozenset[str]:
    """The texts of a rule set in a world; more than one while some customers meet another."""
    return frozenset(
        one.source for program in world.programs.variants for one in program.rule_sets if one.name == name
    )


def _said_by(rule_sets: Iterable[RuleSet]) -> set[str]:
    """Event types that rules bring about by themselves."""
    specs = [spec for rule_set in rule_sets for rule in rule_set.rules for spec in rule.actions]
    found = {spec.name for spec in specs if spec.kind is ActionKind.EMIT}
    if any(spec.kind is ActionKind.SET for spec in specs):
        found.add(PROFILE_UPDATED)
    return found
