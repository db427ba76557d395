"""Reads what an action is worth, costs and how likely a yes is: numbers, or formulas over paths."""

from services.decision.domain.amounts import Amount, bounds_of, divisors_of, may_be_zero
from services.decision.domain.language.arithmetic import ArithmeticParser
from services.decision.domain.language.ast import Expression, Literal
from services.decision.domain.language.lexer import LineError, cut
from services.decision.domain.language.nodes import Node, Scalar
from services.decision.domain.language.report import Report
from services.decision.domain.language.scope import Scope
from services.decision.domain.language.types import IN_WORDS, NUMERIC, Kind
from services.decision.domain.program import Needs

_OF_MONEY = NUMERIC | {Kind.MONEY}


def read_amount(
    node: Node | None,
    scope: Scope,
    report: Report,
    what: str,
    bounds: tuple[float, float],
    *,
    money: bool = True,
) -> Amount | None:
    """A number between two bounds, both included, or a formula that comes to one; None: nothing is written.

    ``money``: an amount of money will do too.
    """
    if node is None:
        return None
    value = node.value if isinstance(node, Scalar) else None
    if isinstance(value, str) and isinstance(node, Scalar):
        return _formula(node, scope, report, what, bounds, money=money)
    least, most = bounds
    if isinstance(value, int | float) and not isinstance(value, bool) and least <= value <= most:
        return _amount(str(value), Literal(value, Kind.NUMBER, str(value)), bounds)
    report.error(
        node,
        f"`{what}` must be a number from {least:.10g} to {most:.10g}",
        "value",
        f"write {what}: {_example(what)}, without quotes, or a formula: {_formula_example(what)}",
    )
    return None


def _formula(
    node: Scalar, scope: Scope, report: Report, what: str, bounds: tuple[float, float], *, money: bool
) -> Amount | None:
    text = node.text.strip()
    try:
        expression = _parse(text, scope, what)
    except LineError as error:
        if error.check != "reported":
            at = Scalar(node.line, node.column + error.offset + (1 if node.quoted else 0), node.text, None)
            report.error(at, error.message, error.check, error.suggestion)
        return None
    wanted = _OF_MONEY if money else NUMERIC
    if expression.kind not in wanted:
        report.error(
            node,
            f"`{what}` is a number; this is {IN_WORDS[expression.kind]}",
            "unlike-types",
            f"write a formula that comes to {'a number or money' if money else 'a number'}",
        )
        return None
    _check_divisors(node, expression, scope, report, what)
    return _amount(text, expression, bounds)


def _parse(text: str, scope: Scope, what: str) -> Expression:
    tokens = cut(text)
    if any(token.is_path for token in tokens):
        return ArithmeticParser(tokens, scope).parse().expression
    raise LineError(
        f"`{what}` is a number, or a formula with a path in it",
        "value",
        f"write {what}: {_example(what)}, without quotes, or a formula: {_formula_example(what)}",
    )


def _check_divisors(node: Node, expression: Expression, scope: Scope, report: Report, what: str) -> None:
    for divisor in divisors_of(expression):
        if not may_be_zero(bounds_of(divisor, scope.catalogue)):
            continue
        if isinstance(divisor, Literal):
            report.error(node, f"`{what}` is divided by zero", "divided-by-zero", "divide by another number")
        else:
            report.warn(
                node,
                f"`{divisor.source}` may be 0, and then `{what}` takes its default",
                "divided-by-zero",
                "divide by what is never 0; where `when` keeps 0 out, it can stay as it is",
            )


def _amount(source: str, expression: Expression, bounds: tuple[float, float]) -> Amount:
    return Amount(source, expression, bounds[0], bounds[1], Needs())


def _example(what: str) -> str:
    return "0.5" if what == "propensity" else "50"


def _formula_example(what: str) -> str:
    return "profile.churn_risk * 0.5" if what == "propensity" else "profile.plan_price * 0.2"
