"""GoRules: one decision graph an event type, from a static loader, which compiles each once.

Facts are computed by an expression node, those of low strata first; then a decision table collects every row
that holds. `create_decision` would compile the graph anew for each call, ten times as slow.
"""

from collections.abc import Mapping, Sequence
from itertools import pairwise
from typing import Any

from bench.engine.others import NotHereError
from bench.engine.plain import Asked, Every, Fact, Formula, PlainRules, Some, Value


class ZenEngine:
    """The rules in GoRules' engine."""

    name = "zen_engine"

    def __init__(self) -> None:
        try:
            import zen
        except ImportError as error:
            raise NotHereError("zen-engine is not installed (make bench installs it)") from error
        self._zen = zen
        self._engine: Any = None

    def load(self, rules: Sequence[PlainRules]) -> None:
        """One decision an event type."""
        content = {one.event_type: _graph(one) for one in rules}
        self._engine = self._zen.ZenEngine({"loader": {"type": "static", "content": content}})

    def prepared(self, rules: PlainRules, snapshot: Mapping[str, Value]) -> dict[str, Value]:
        """The snapshot itself."""
        del rules
        return dict(snapshot)

    def refresh(self) -> None:
        """It does not tire."""

    def run(self, event_type: str, prepared: dict[str, Value]) -> Sequence[str]:
        """Names of the action rules that fire."""
        result = self._engine.evaluate(event_type, prepared)["result"]
        return [row["rule"] for row in result]


def _graph(rules: PlainRules) -> dict[str, Any]:
    place = {"x": 0, "y": 0}
    facts: dict[str, list[str]] = {}
    for rule in rules.facts:
        facts.setdefault(rule.fact, []).append(_formula(rule.when, "$."))
    expressions = [
        {"id": f"x{number}", "key": key, "value": " or ".join(f"({part})" for part in parts)}
        for number, (key, parts) in enumerate(facts.items())
    ]
    rows = [
        {"_id": f"r{number}", "when": _formula(rule.when, ""), "rule": f'"{rule.name}"'}
        for number, rule in enumerate(
            sorted(rules.actions, key=lambda rule: -rule.priority)  # fires in this order, as ours do
        )
    ]
    nodes = [
        {"id": "in", "name": "in", "type": "inputNode", "position": place},
        {
            "id": "facts",
            "name": "facts",
            "type": "expressionNode",
            "position": place,
            "content": {"expressions": expressions, "passThrough": True},
        },
        {
            "id": "rules",
            "name": "rules",
            "type": "decisionTableNode",
            "position": place,
            "content": {
                "hitPolicy": "collect",
                "inputs": [{"id": "when", "name": "when", "field": "", "type": "expression"}],
                "outputs": [{"id": "rule", "name": "rule", "field": "rule", "type": "expression"}],
                "rules": rows,
            },
        },
        {"id": "out", "name": "out", "type": "outputNode", "position": place},
    ]
    path = [node["id"] for node in nodes]
    edges = [
        {"id": f"e{number}", "sourceId": source, "targetId": target, "type": "edge"}
        for number, (source, target) in enumerate(pairwise(path))
    ]
    return {"nodes": nodes, "edges": edges}


def _formula(formula: Formula, facts: str) -> str:
    match formula:
        case Every(parts=parts):
            return " and ".join(f"({_formula(part, facts)})" for part in parts) or "true"
        case Some(parts=parts):
            return " or ".join(f"({_formula(part, facts)})" for part in parts) or "false"
        case Fact(name=name, negated=negated):
            return f"not {facts}{name}" if negated else f"{facts}{name}"
        case Asked(field=field, operator="exists"):
            return f"{field} != null"
        case Asked(field=field, operator="missing"):
            return f"{field} == null"
        case Asked(field=field, operator="is", value=value):
            return f"{field} == {_literal(value)}"
        case Asked(field=field, operator="is not", value=value):
            return f"{field} != {_literal(value)}"
        case Asked(field=field, operator=operator, value=value):
            return f"{field} != null and {field} {operator} {_literal(value)}"


def _literal(value: Value) -> str:
    if isinstance(value, bool):
        return str(value).lower()
    return f"'{value}'" if isinstance(value, str) else repr(value)
