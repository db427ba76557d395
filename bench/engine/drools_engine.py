"""Drools through drools_jpy: one session an event type, which stays, an event posted as JSON for each run.

The package takes rules as a tree in JSON and hands each match to a callback. It knows no facts that rule
each other out, so each fact is replaced by what it is inferred from.
"""

import json
import logging
import shutil
from collections.abc import Mapping, Sequence
from functools import partial
from pathlib import Path
from typing import Any

from bench.engine.others import NotHereError
from bench.engine.plain import Asked, Every, Fact, Formula, PlainRules, Some, Value, without_facts

_WORDS = {
    "is": "EqualsExpression",
    "is not": "NotEqualsExpression",
    "<": "LessThanExpression",
    "<=": "LessThanOrEqualToExpression",
    ">": "GreaterThanExpression",
    ">=": "GreaterThanOrEqualToExpression",
}


class DroolsEngine:
    """The rules in Drools."""

    name = "drools_jpy"

    def __init__(self) -> None:
        java = shutil.which("java")
        if java is None:
            raise NotHereError("there is no Java on this machine (17 or newer is needed)")
        logging.getLogger("jpyutil").setLevel(logging.ERROR)  # it looks for a JVM before it is told of one
        try:
            import jpyutil
            from drools import ruleset
            from drools.rule import Rule
        except ImportError as error:
            raise NotHereError("drools_jpy is not installed (make bench installs it)") from error
        home = Path(java).resolve().parent.parent
        if jpyutil.preload_jvm_dll(java_home_dir=str(home)) is None:
            raise NotHereError(f"no Java library was found under {home}")
        self._ruleset, self._rule = ruleset, Rule
        self._fired: list[str] = []
        self._sessions: dict[str, Any] = {}

    def load(self, rules: Sequence[PlainRules]) -> None:
        """One session an event type."""
        for session in self._sessions.values():
            session.end_session()
        self._sessions = {one.event_type: self._session(one) for one in rules}

    def prepared(self, rules: PlainRules, snapshot: Mapping[str, Value]) -> str:
        """The snapshot as JSON."""
        del rules
        return json.dumps(snapshot)

    def refresh(self) -> None:
        """It does not tire."""

    def run(self, event_type: str, prepared: str) -> Sequence[str]:
        """Names of the action rules that fire."""
        self._fired.clear()
        self._sessions[event_type].assert_event(prepared)
        return list(self._fired)

    def _session(self, rules: PlainRules) -> Any:
        conditions = without_facts(rules)
        tree = {
            "name": rules.event_type,
            "hosts": ["all"],
            "sources": [],
            "match_multiple_rules": True,
            "rules": [
                {
                    "Rule": {
                        "name": name,
                        "condition": {"AllCondition": [_formula(formula)]},
                        "action": {"Action": {"action": "none", "action_args": {}}},
                        "enabled": True,
                    }
                }
                for name, formula in conditions.items()
            ],
        }
        session = self._ruleset.Ruleset(name=rules.event_type, serialized_ruleset=json.dumps(tree))
        for name in conditions:
            session.add_rule(self._rule(name, partial(self._note, name)))
        return session

    def _note(self, name: str, _: Any) -> None:
        self._fired.append(name)


def _formula(formula: Formula) -> dict[str, Any]:
    match formula:
        case Every(parts=parts):
            return _joined([_formula(part) for part in parts], "AndExpression")
        case Some(parts=parts):
            return _joined([_formula(part) for part in parts], "OrExpression")
        case Asked(field=field, operator="exists"):
            return {"IsDefinedExpression": {"Event": field}}
        case Asked(field=field, operator="missing"):
            return {"IsNotDefinedExpression": {"Event": field}}
        case Asked(field=field, operator=operator, value=value):
            compared = {_WORDS[operator]: {"lhs": {"Event": field}, "rhs": _literal(value)}}
            if operator != "is not":
                return compared
            return _joined([{"IsNotDefinedExpression": {"Event": field}}, compared], "OrExpression")
        case Fact(name=name):
            raise AssertionError(f"{name} was to be replaced")


def _joined(parts: list[dict[str, Any]], word: str) -> dict[str, Any]:
    found = parts[-1]
    for part in reversed(parts[:-1]):
        found = {word: {"lhs": part, "rhs": found}}
    return found


def _literal(value: Value) -> dict[str, Value]:
    if isinstance(value, bool):
        return {"Boolean": value}
    if isinstance(value, str):
        return {"String": value}
    return {"Integer": value} if isinstance(value, int) else {"Float": value}
