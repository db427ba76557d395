"""Which rules of a shard the snapshot lets fire: their tests as one Python function, made once.

The engine's network asks every test of every rule for every event; a function stops at the first test that
fails, and what the others would have looked at need not even be computed. The network is given the result, a
flag a rule, and does what it is for: facts that chain, negation, priorities, firing.
"""

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from typing import Any

from services.decision.domain.program import Shard

Passed = Callable[[Mapping[str, Any]], list[int]]
"""Positions of the rules that pass, ascending; what is looked up and missing is None."""

_ORDERS = {"$lt": "<", "$lte": "<=", "$gt": ">", "$gte": ">="}
_SNAPSHOT = {"kind": "snap"}


@dataclass(frozen=True, slots=True)
class SievedRule:
    """One engine rule without its tests: name and rank, its gate's stratum, its patterns for facts."""

    name: str
    stratum: int
    rank: int
    facts: tuple[Mapping[str, Any], ...]


@dataclass(frozen=True, slots=True)
class Sieve:
    """The rules of a shard, stratum by stratum, and which of them pass."""

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
        _, snapshot, *facts = rule["all"]
        ((_, asked),) = snapshot.items()
        conjuncts = asked["$and"]
        if conjuncts[0] != _SNAPSHOT:
            raise ValueError(f"the compiler never writes {asked}")
        absent = {
            each["fact"] for pattern in facts for word, each in pattern.items() if word.endswith("$not")
        }
        if absent & inferred.get(_stratum(rule), set()):
            raise ValueError(f"{name} asks for the absence of a fact of its own stratum")
        rules.append(SievedRule(name, _stratum(rule), rule["pri"], tuple(facts)))
        tests.append(conjuncts[1:])
    return Sieve(tuple(rules), _function(tests))


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
