"""Which rules could not fire only because the customer withheld what they look at."""

from collections.abc import Collection, Mapping, Sequence
from functools import lru_cache

from services.decision.domain.expressions import condition_function
from services.decision.domain.language.ast import All, AnyOf, Condition, FactIs, NoneOf
from services.decision.domain.program import ActionRule, Needs, Shard
from services.decision.domain.situation import Situation

_leaf = lru_cache(maxsize=8192)(condition_function)


def withheld_rules(
    shard: Shard, shared: Sequence[Shard], situation: Situation, facts: Collection[str]
) -> tuple[ActionRule, ...]:
    """Action rules of the shard that need withheld data and whose other conditions hold, in file order.

    `shared`: the shards whose facts they may ask for; `facts`: those inferred or given.
    """
    if not situation.withheld:
        return ()
    touched = shard.touched_by(situation.withheld)
    blocked = [rule for rule in touched if rule.needs.withheld(situation)]
    if not blocked:
        return ()
    sets = {rule_set.name: rule_set for rule_set in shard.rule_sets}
    judge = _Judge(situation, frozenset(facts), [shard, *shared])
    return tuple(
        rule
        for rule in blocked
        if sets[rule.rule_set].applies(situation)
        and judge.may_hold(rule.when, sets[rule.rule_set].leaf_needs)
    )


class _Judge:
    """Says what could hold, for all one may know, were it not for what is withheld."""

    def __init__(self, situation: Situation, facts: frozenset[str], shards: Sequence[Shard]) -> None:
        self._situation = situation
        self._facts = facts
        self._shards = shards
        self._possible: set[str] | None = None

    def may_hold(
        self, condition: Condition, needs: Mapping[Condition, Needs], *, negated: bool = False
    ) -> bool:
        """Whether the condition, or with `negated` its opposite, may hold."""
        match condition:
            case All(parts=parts):
                each = (self.may_hold(part, needs, negated=negated) for part in parts)
                return any(each) if negated else all(each)
            case AnyOf(parts=parts):
                each = (self.may_hold(part, needs, negated=negated) for part in parts)
                return all(each) if negated else any(each)
            case NoneOf(parts=parts):
                return self.may_hold(AnyOf(parts), needs, negated=not negated)
            case FactIs(key=key, negated=absent):
                return key not in self._facts if absent is not negated else key in self._possible_facts()
            case _:
                needed = needs.get(condition)
                if needed is not None and needed.withheld(self._situation):
                    return True
                return _leaf(condition)(self._situation) is not negated

    def _possible_facts(self) -> set[str]:
        """Those inferred, and those that may be; what rests only on itself may not."""
        if self._possible is None:
            self._possible = set(self._facts)
            sets = {rule_set.name: rule_set for shard in self._shards for rule_set in shard.rule_sets}
            rules = [fact for shard in self._shards for fact in shard.facts.values()]
            grows = True
            while grows:
                grows = False
                for rule in rules:
                    if rule.fact not in self._possible and self.may_hold(
                        rule.when, sets[rule.rule_set].leaf_needs
                    ):
                        self._possible.add(rule.fact)
                        grows = True
        return self._possible
