"""Reads the parts that rules, rows of tables and steps of journeys have in common: name, priority, `once`."""

import re
from dataclasses import replace

from services.decision.domain.language import grammar
from services.decision.domain.language.ast import Expression
from services.decision.domain.language.lexer import LineError
from services.decision.domain.language.nodes import Node, Scalar
from services.decision.domain.language.reading import (
    choose,
    read_block,
    read_items,
    read_number,
    read_word,
)
from services.decision.domain.language.report import Report
from services.decision.domain.language.scope import Scope
from services.decision.domain.problems import did_you_mean
from services.decision.domain.program import Once
from services.vocabulary.catalogue import Catalogue
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
    household = choose(block.get("scope"), report, "scope", grammar.ONCE_SCOPES) == "household"
    per = block.get("per")
    if not isinstance(per, Scalar):
        report.error(per or block, "`once` does not say in which time", "once", "add per: 7d, cycle or ever")
        return None
    once = _period(per, _by(block.get("by"), scope, report), report)
    return None if once is None else replace(once, household=household)


def read_happened(
    node: Node | None, catalogue: Catalogue, report: Report, what: str, says: str, check: str
) -> tuple[str, ...]:
    """Event types, each written as `TYPE happened`; `says`: what the key `what` does."""
    types: list[str] = []
    for item in read_items(node, report, what):
        words = item.text.split() if isinstance(item, Scalar) else []
        if len(words) != 2 or words[1] != "happened":
            report.error(item, f"`{what}` {says}", check, "write: complaint.opened happened")
            continue
        events = catalogue.events
        if words[0] not in events or events[words[0]].thing:
            near = "" if words[0] in events else did_you_mean(words[0], events)
            suggestion = near or "the reference lists the event types"
            message = f"the catalogue has no event type `{words[0]}` of customers"
            report.error(item, message, "unknown-event", suggestion)
            continue
        types.append(words[0])
    return tuple(types)


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
