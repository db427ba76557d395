"""Where the worlds of a simulation run other rules: all else comes out alike, and is worked out once."""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING

from services.decision.domain.triggers import CALLED_BACK, type_of_key
from services.vocabulary.words import ActionKind

if TYPE_CHECKING:
    from collections.abc import Collection, Iterable

    from services.decision.adapters.running import Running
    from services.decision.adapters.simulation_past import Past
    from services.decision.domain.program import RuleSet
    from services.vocabulary.catalogue import Catalogue

PROFILE_UPDATED = "profile.updated"


@dataclass(frozen=True, slots=True)
class Differing:
    """``types``: event types on which other rules run. ``everywhere``: any decision may bring one about."""

    types: frozenset[str] = frozenset()
    rule_sets: frozenset[str] = frozenset()
    everywhere: bool = False

    @staticmethod
    def between(worlds: Iterable[Running], drafted: Collection[str], catalogue: Catalogue) -> Differing:
        """What drafts of these names change.

        Rule sets of other names are the same text in all worlds, in the same order. They run alike, but for
        the facts of a shared one, which concern them all.
        """
        programs = [program for world in worlds for program in world.programs.variants]
        rule_sets = [rule_set for program in programs for rule_set in program.rule_sets]
        changed = [rule_set for rule_set in rule_sets if rule_set.name in drafted]
        shared = any(rule_set.shared for rule_set in changed)
        keys = {key for rule_set in (rule_sets if shared else changed) for key in rule_set.triggers}
        types = frozenset(map(type_of_key, keys))
        ours = {name for name, known in catalogue.events.items() if known.own} | _said_by(rule_sets)
        return Differing(types, frozenset(drafted), bool(types & ours - CALLED_BACK))

    def may_concern(self, past: Past) -> bool:
        """Whether a customer's past may come out differently; False is certain."""
        return (
            self.everywhere
            or past.has(self.types)
            or any(rule_set in self.rule_sets for _, _, rule_set in past.contacts)
        )


def _said_by(rule_sets: Iterable[RuleSet]) -> set[str]:
    """Event types that rules bring about by themselves."""
    specs = [spec for rule_set in rule_sets for rule in rule_set.rules for spec in rule.actions]
    found = {spec.name for spec in specs if spec.kind is ActionKind.EMIT}
    if any(spec.kind is ActionKind.SET for spec in specs):
        found.add(PROFILE_UPDATED)
    return found
