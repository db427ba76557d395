"""Shards written by hand, to show the engine's facts without the compiler."""

from services.decision.domain.language.ast import All
from services.decision.domain.program import ActionRule, FactRule, Shard


def fact_rule(key: str, fact: str) -> FactRule:
    return FactRule(key, "hand", fact, All(()), None, 0, 0, 0, frozenset())


def action_rule(key: str, priority: int = 0) -> ActionRule:
    return ActionRule(key, "hand", 1, key, All(()), (), None, priority, 0, frozenset())


def engine_rule(stratum=0, snapshot=(), facts=(), absent=(), priority=0):
    patterns = [{"g": {"gate": stratum}}, {"s": {"$and": [{"kind": "snap"}, *snapshot]}}]
    patterns += [{f"p{number}": {"fact": fact}} for number, fact in enumerate(facts)]
    patterns += [{f"n{number}$not": {"fact": fact}} for number, fact in enumerate(absent)]
    return {"pri": 1000 - priority, "all": patterns}


def shard(engine_rules, *, infers=(), strata=1, key="hand"):
    """`infers`: engine rule to the fact it yields; all others are action rules."""
    infers = dict(infers)
    return Shard(
        key=key,
        rule_sets=(),
        strata=strata,
        engine_rules=engine_rules,
        rule_of={name: name for name in engine_rules},
        facts={name: fact_rule(name, fact) for name, fact in infers.items()},
        rules={name: action_rule(name) for name in engine_rules if name not in infers},
        properties={},
        uses=frozenset(),
        infers=frozenset(infers.values()),
    )
