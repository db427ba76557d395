"""CLIPS through clipspy: one environment an event type, facts chained by CLIPS itself, reset for each event.

Tests stand in the slots of the snapshot's pattern, where the Rete network can use them, those over several
fields in a `test` after it; salience orders strata. Which rules fired is collected in a global, which is
far cheaper than a call into Python for each.
"""

from collections.abc import Iterator, Mapping, Sequence
from typing import Any

from bench.engine.others import NotHereError
from bench.engine.plain import Asked, Every, Fact, Formula, PlainRule, PlainRules, Some, Value, conjuncts

_STRATUM = 1000
_LOWEST = -9000


class ClipsEngine:
    """The rules in CLIPS."""

    name = "clipspy"

    def __init__(self) -> None:
        try:
            import clips
        except ImportError as error:
            raise NotHereError("clipspy is not installed (make setup installs it)") from error
        self._clips = clips
        self._rules: Sequence[PlainRules] = ()
        self._of_type: dict[str, tuple[Any, Any, Any, Any, dict[str, str]]] = {}

    def load(self, rules: Sequence[PlainRules]) -> None:
        """One environment an event type."""
        self._rules = rules
        for one in rules:
            environment = self._clips.Environment()
            slots = " ".join(f"(slot {field} (default nil))" for field in one.fields)
            environment.build(f"(deftemplate snap {slots})")
            environment.build("(deftemplate inferred (slot key))")
            environment.build("(defglobal ?*fired* = (create$))")
            names = {}
            strata = sorted({rule.stratum for rule in one.rules}, reverse=True)
            for number, rule in enumerate(one.rules):
                names[f"r{number}"] = rule.name
                salience = _LOWEST + _STRATUM * strata.index(rule.stratum) + rule.priority
                environment.build(_defrule(f"r{number}", rule, salience))
            template, fired = environment.find_template("snap"), environment.find_global("fired")
            self._of_type[one.event_type] = (
                environment.reset,
                template.assert_fact,
                environment.run,
                fired,
                names,
            )

    def prepared(self, rules: PlainRules, snapshot: Mapping[str, Value]) -> dict[str, Any]:
        """Slots; truth values are symbols."""
        del rules
        symbol = self._clips.Symbol
        return {
            name: symbol(str(value).lower()) if isinstance(value, bool) else value
            for name, value in snapshot.items()
        }

    def refresh(self) -> None:
        """New environments: each run leaves something behind, and thousands make one ten times as slow."""
        self.load(self._rules)

    def run(self, event_type: str, prepared: dict[str, Any]) -> Sequence[str]:
        """Names of the action rules that fire."""
        reset, assert_fact, run, fired, names = self._of_type[event_type]
        reset()
        assert_fact(**prepared)
        run()
        return [names[name] for name in fired.value]


def _defrule(name: str, rule: PlainRule, salience: int) -> str:
    slots: dict[str, list[str]] = {}
    patterns: list[str] = []
    tests: list[str] = []
    for part in conjuncts(rule.when):
        match part:
            case Asked():
                slots.setdefault(part.field, []).append(f":{_test(part)}")
            case Fact(name=fact, negated=negated):
                patterns.append(f"(not (inferred (key {fact})))" if negated else f"(inferred (key {fact}))")
            case _:
                if any(isinstance(inner, Fact) for inner in _leaves(part)):
                    raise NotHereError("alternatives between facts are not translated for CLIPS")
                tests.append(f"(test {_formula(part)})")
                for inner in _leaves(part):
                    if isinstance(inner, Asked):
                        slots.setdefault(inner.field, [])
    snap = " ".join(
        f"({field} {'&'.join([f'?{field}', *constraints])})" for field, constraints in slots.items()
    )
    then = (
        f"(assert (inferred (key {rule.fact})))"
        if rule.fact
        else f"(bind ?*fired* (create$ ?*fired* {name}))"
    )
    body = " ".join([f"(snap {snap})", *tests, *patterns])
    return f"(defrule {name} (declare (salience {salience})) {body} => {then})"


def _formula(formula: Formula) -> str:
    match formula:
        case Every(parts=parts):
            return f"(and {' '.join(_formula(part) for part in parts)})" if parts else "TRUE"
        case Some(parts=parts):
            return f"(or {' '.join(_formula(part) for part in parts)})" if parts else "FALSE"
        case Asked():
            return _test(formula)
        case Fact():
            raise NotHereError("alternatives between facts are not translated for CLIPS")


def _test(test: Asked) -> str:
    field = f"?{test.field}"
    match test.operator:
        case "exists":
            return f"(neq {field} nil)"
        case "missing":
            return f"(eq {field} nil)"
        case "is not":
            return f"(not {_equal(field, test.value)})"
        case "is":
            return _equal(field, test.value)
        case operator:
            return f"(and (numberp {field}) ({operator} {field} {test.value}))"


def _equal(field: str, value: Value) -> str:
    if isinstance(value, bool):
        return f"(eq {field} {str(value).lower()})"
    if isinstance(value, str):
        return f'(eq {field} "{value}")'
    return f"(and (numberp {field}) (= {field} {value}))"


def _leaves(formula: Formula) -> Iterator[Formula]:
    if isinstance(formula, Every | Some):
        for part in formula.parts:
            yield from _leaves(part)
    else:
        yield formula
