"""Reads the parts that rules, rows of tables and steps of journeys have in common: name, priority, `once`."""

import re

from services.decision.domain.language import grammar
from services.decision.domain.language.ast import Expression
from services.decision.domain.language.lexer import LineError
from services.decision.domain.language.nodes import Node, Scalar
from services.decision.domain.language.reading import choose, read_block, read_number, read_word
from services.decision.domain.language.report import Report
from services.decision.domain.language.scope import Scope
from services.decision.domain.program import Once
from services.vocabulary.values import ValueMistake, parse_duration

RULE_NAME = re.compile(grammar.NAME)
DEFAULT_PRIORITY = 50


def read_priority(node: Node | None, report: Report, default: int = DEFAULT_PRIORITY) -> int:
    """A whole number from 0 to 999."""
    value = read_number(node, report, "priority", least=0, most=999)
    if value is not None and value != int(value):
        report.error(node, "`priority` must be a whole number", "value", "write priority: 50")
    return default if value is None else int(value)


def read_once(node: Node | None, scope: Scope, report: Report) -> Once | None:
    """How often a rule may do what it does: `30d`, `cycle`, `ever`, or the long form with `per` and `by`."""
    if node is None:
        return None
    if isinstance(node, Scalar):
        return _period(node, None, report)
    block = read_block(node, report, "once")
    if block is None:
        return None
    report.check_keys(block, grammar.ONCE.names, grammar.ONCE.title)
    if choose(block.get("scope"), report, "scope", grammar.ONCE_SCOPES) == "household":
        report.error(
            block.get("scope"),
            "households are not known to this version",
            "not-yet-understood",
            "leave `scope` out: once for each customer",
        )
    per = block.get("per")
    if not isinstance(per, Scalar):
        report.error(per or block, "`once` does not say in which time", "once", "add per: 7d, cycle or ever")
        return None
    return _period(per, _by(block.get("by"), scope, report), report)


def _period(node: Scalar, by: Expression | None, report: Report) -> Once | None:
    if node.text == "ever":
        return Once(None, by=by)
    if node.text == "cycle":
        return Once(None, cycle=True, by=by)
    try:
        micros = parse_duration(node.text)
    except ValueMistake:
        micros = 0
    if micros <= 0:
        report.error(node, f"`once: {node.text}` is no length of time", "once", "write 30d, cycle or ever")
        return None
    return Once(micros, by=by)


def _by(node: Node | None, scope: Scope, report: Report) -> Expression | None:
    path = read_word(node, report, "by")
    if not path:
        return None
    try:
        return scope.name(path).expression
    except LineError as error:
        if error.check != "reported":
            report.error(node, error.message, error.check, error.suggestion)
        return None
