"""What an engine rule set comes to, evaluated plainly from the very JSON the engine is given."""

from collections.abc import Collection, Mapping
from typing import Any

from services.decision.domain.engine import Fired, Property
from services.decision.domain.program import Shard


def run_plainly(shard: Shard, properties: Mapping[str, Property], given_facts: Collection[str]) -> Fired:
    """Facts and rules, in order, for properties as they are; they need not belong to any situation."""
    snapshot = {"kind": "snap", **properties}
    facts = set(given_facts)
    inferred: list[str] = []
    fired: list[str] = []
    waiting = sorted(shard.engine_rules.items(), key=lambda item: item[1]["pri"])
    for stratum in range(shard.strata):
        while True:
            found = next((item for item in waiting if _fires(item[1], stratum, snapshot, facts)), None)
            if found is None:
                break
            waiting.remove(found)
            key = shard.rule_of[found[0]]
            if key in fired:
                continue
            fired.append(key)
            rule = shard.facts.get(key)
            if rule is not None and rule.fact not in facts:
                facts.add(rule.fact)
                inferred.append(rule.fact)
    return Fired(tuple(inferred), tuple(fired))


def _fires(
    rule: Mapping[str, Any], stratum: int, snapshot: Mapping[str, Any], facts: Collection[str]
) -> bool:
    gate, snap, *others = (pattern for entry in rule["all"] for pattern in entry.items())
    if gate[1]["gate"] != stratum or not _matches(snap[1], snapshot):
        return False
    return all((pattern["fact"] in facts) is not name.endswith("$not") for name, pattern in others)


def _matches(pattern: Mapping[str, Any], snapshot: Mapping[str, Any]) -> bool:
    ((word, argument),) = pattern.items()
    if word == "$and":
        return all(_matches(part, snapshot) for part in argument)
    if word == "$or":
        return any(_matches(part, snapshot) for part in argument)
    if not word.startswith("$"):
        return word in snapshot and bool(snapshot[word] == argument)
    ((name, value),) = argument.items()
    there = name in snapshot
    match word:
        case "$ex":
            return there
        case "$nex":
            return not there
        case "$neq":
            return there and bool(snapshot[name] != value)
        case "$lt":
            return there and bool(snapshot[name] < value)
        case "$lte":
            return there and bool(snapshot[name] <= value)
        case "$gt":
            return there and bool(snapshot[name] > value)
        case "$gte":
            return there and bool(snapshot[name] >= value)
        case _:
            raise ValueError(f"the compiler never writes {word}")
