"""Which rules could not fire only because the customer withheld what they look at."""

from collections.abc import Collection, Mapping, Sequence
from functools import lru_cache

from services.decision.domain.expressions import condition_function
from services.decision.domain.language.ast import All, AnyOf, Condition, FactIs, NoneOf
from services.decision.domain.program import ActionRule, FactRule, Needs, RuleSet, Shard
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
        and judge.verdict(rule.when, sets[rule.rule_set].leaf_needs) is not False
    )


class _Judge:
    """Three answers: True, False, and None for what only withheld data could tell."""

    def __init__(self, situation: Situation, facts: frozenset[str], shards: Sequence[Shard]) -> None:
        self._situation = situation
        self._verdicts: dict[str, bool | None] = dict.fromkeys(facts, True)
        self._rules: dict[str, list[tuple[FactRule, RuleSet]]] = {}
        for shard in shards:
            sets = {rule_set.name: rule_set for rule_set in shard.rule_sets}
            for fact in shard.facts.values():
                self._rules.setdefault(fact.fact, []).append((fact, sets[fact.rule_set]))

    def verdict(self, condition: Condition, needs: Mapping[Condition, Needs]) -> bool | None:
        match condition:
            case All(parts=parts):
                return _all([self.verdict(part, needs) for part in parts])
            case AnyOf(parts=parts):
                return _not(_all([_not(self.verdict(part, needs)) for part in parts]))
            case NoneOf(parts=parts):
                return _all([_not(self.verdict(part, needs)) for part in parts])
            case FactIs(key=key, negated=negated):
                return _not(self._fact(key)) if negated else self._fact(key)
            case _:
                return None if self._unknown(condition, needs) else _leaf(condition)(self._situation)

    def _unknown(self, condition: Condition, needs: Mapping[Condition, Needs]) -> bool:
        needed = needs.get(condition)
        return needed is not None and needed.withheld(self._situation)

    def _fact(self, key: str) -> bool | None:
        if key not in self._verdicts:
            self._verdicts[key] = False  # what rests only on itself does not hold
            verdicts = [
                self.verdict(rule.when, rule_set.leaf_needs) for rule, rule_set in self._rules.get(key, ())
            ]
            # One that holds and did not fire was itself kept back by what it needs.
            known = all(verdict is False for verdict in verdicts)
            self._verdicts[key] = False if known else None
        return self._verdicts[key]


def _not(verdict: bool | None) -> bool | None:  # noqa: FBT001 - one of three truth values
    return None if verdict is None else not verdict


def _all(verdicts: Sequence[bool | None]) -> bool | None:
    if any(verdict is False for verdict in verdicts):
        return False
    return None if any(verdict is None for verdict in verdicts) else True
