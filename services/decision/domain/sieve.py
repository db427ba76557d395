"""Which rules of a shard the snapshot lets fire: their tests as one Python function, made once.

The engine's network looks at every rule for every event; a function stops at the first test that fails, and
what the others would have looked at need not even be computed. What is left to the network is chaining: rules
that ask for facts which are inferred in their own stratum. All else is settled when a stratum begins.
"""

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, replace
from typing import Any

from services.decision.domain.program import Shard

Passed = Callable[[Mapping[str, Any]], list[int]]
"""Positions of the rules that pass, ascending; what is looked up and missing is None."""

_ORDERS = {"$lt": "<", "$lte": "<=", "$gt": ">", "$gte": ">="}
_SNAPSHOT = {"kind": "snap"}


@dataclass(frozen=True, slots=True)
class SievedRule:
    """One engine rule without its tests: when it is its turn, and the facts it asks for and infers.

    `name`: of the engine's rule; `key`: of the rule it stands for; `infers`: empty for an action rule. Of the
    facts it asks for, those `chained` may come in its own stratum; those `settled` are there or not when it
    begins, and so are those that must be `absent`. `linked`: it asks for facts of its own stratum, or infers
    one that another asks for.
    """

    name: str
    key: str
    stratum: int
    settled: frozenset[str]
    chained: frozenset[str]
    absent: frozenset[str]
    infers: str
    linked: bool = False


@dataclass(frozen=True, slots=True)
class Sieve:
    """The rules of a shard, stratum by stratum, in the order in which they fire unless chaining decides."""

    rules: tuple[SievedRule, ...]
    passed: Passed


def sieve_of(shard: Shard) -> Sieve:
    """The sieve of a shard that the compiler made. Raises ValueError for rules it never makes."""
    ordered = sorted(shard.engine_rules.items(), key=lambda item: (_stratum(item[1]), item[1]["pri"]))
    inferred: dict[int, set[str]] = {}
    for name, rule in ordered:
        fact = shard.facts.get(shard.rule_of[name])
        if fact is not None:
            inferred.setdefault(_stratum(rule), set()).add(fact.fact)
    rules: list[SievedRule] = []
    tests: list[Sequence[Mapping[str, Any]]] = []
    for name, rule in ordered:
        _, snapshot, *others = (pattern for entry in rule["all"] for pattern in entry.items())
        conjuncts = snapshot[1]["$and"]
        if conjuncts[0] != _SNAPSHOT:
            raise ValueError(f"the compiler never writes {snapshot[1]}")
        asked = frozenset(each["fact"] for word, each in others if not word.endswith("$not"))
        absent = frozenset(each["fact"] for word, each in others if word.endswith("$not"))
        chained = asked & inferred.get(_stratum(rule), set())
        if absent & inferred.get(_stratum(rule), set()):
            raise ValueError(f"{name} asks for the absence of a fact of its own stratum")
        fact = shard.facts.get(shard.rule_of[name])
        infers = "" if fact is None else fact.fact
        rules.append(
            SievedRule(name, shard.rule_of[name], _stratum(rule), asked - chained, chained, absent, infers)
        )
        tests.append(conjuncts[1:])
    wanted = {(rule.stratum, fact) for rule in rules for fact in rule.chained}
    linked = [
        replace(rule, linked=bool(rule.chained) or (rule.stratum, rule.infers) in wanted) for rule in rules
    ]
    return Sieve(tuple(linked), _function(tests))


def _stratum(rule: Mapping[str, Any]) -> int:
    stratum: int = rule["all"][0]["g"]["gate"]
    return stratum


def _function(tests: Sequence[Sequence[Mapping[str, Any]]]) -> Passed:
    """One function for all rules; those that begin with the same tests of the compiler's own share them."""
    groups: dict[tuple[str, ...], list[tuple[str, int]]] = {}
    for position, conjuncts in enumerate(tests):
        own = tuple(_source(test) for test in conjuncts if _is_own(test))
        rest = sorted((test for test in conjuncts if not _is_own(test)), key=_effort)
        condition = " and ".join(_source(test) for test in rest) or "True"
        groups.setdefault(own, []).append((condition, position))
    lines = ["def passed(look_up):", " found = []"]
    for own, members in groups.items():
        lines.append(f" if {' and '.join(own) or 'True'}:")
        lines += [f"  if {condition}: found.append({position})" for condition, position in members]
    lines += [" found.sort()", " return found"]
    made: dict[str, Any] = {}
    exec("\n".join(lines), made)  # noqa: S102 - written here, of names and literals that are quoted
    function: Passed = made["passed"]
    return function


def _is_own(test: Mapping[str, Any]) -> bool:
    """Whether a rule set is active, or nothing a rule needs is withheld: asked for every rule of a set."""
    ((word, value),) = test.items()
    return value is True and word[:1] in {"a", "n"}


def _effort(test: Mapping[str, Any]) -> int:
    """What tells most for least goes first: a word, a flag, a number, then what must be computed."""
    ((word, value),) = test.items()
    if word.startswith("$"):
        return 3 if word in {"$and", "$or"} else 2
    if word.startswith("b"):
        return 4
    return 0 if isinstance(value, str) else 1


def _source(test: Mapping[str, Any]) -> str:
    ((word, argument),) = test.items()
    if word in {"$and", "$or"}:
        joined = f" {word[1:]} ".join(_source(part) for part in argument)
        return f"({joined})"
    if not word.startswith("$"):
        return f"{_look_up(word)} == {_literal(argument)}"
    ((name, value),) = argument.items()
    look_up = _look_up(name)
    match word:
        case "$ex":
            return f"{look_up} is not None"
        case "$nex":
            return f"{look_up} is None"
        case "$neq":
            return f"((value := {look_up}) is not None and value != {_literal(value)})"
        case _ if word in _ORDERS:
            return f"((value := {look_up}) is not None and value {_ORDERS[word]} {_literal(value)})"
        case _:
            raise ValueError(f"the compiler never writes {word}")


def _look_up(name: str) -> str:
    return f"look_up[{name!r}]"


def _literal(value: object) -> str:
    if not isinstance(value, bool | int | float | str):
        raise TypeError(f"the compiler never compares with {value!r}")
    return repr(value)
