"""Reads how much a rule set may do."""

import re
from decimal import Decimal

from services.decision.domain.language import grammar
from services.decision.domain.language.nodes import Node, Scalar
from services.decision.domain.language.reading import read_block, read_number
from services.decision.domain.language.report import Report
from services.decision.domain.limits import NO_LIMITS, Limits
from services.decision.domain.problems import did_you_mean
from services.vocabulary.catalogue import Catalogue
from services.vocabulary.values import ValueMistake, parse_money

_PACE = re.compile(r"([0-9]{1,7}) ?/ ?([a-z]+)")
_SECONDS = {"s": 1, "min": 60, "h": 3600}
_MOST_A_DAY = 1e9


def read_limits(node: Node | None, catalogue: Catalogue, report: Report, *, shared: bool) -> Limits:
    """The limits; none when there are none."""
    block = read_block(node, report, "limits")
    if block is None:
        return NO_LIMITS
    if shared:
        report.error(
            node, "a shared rule set does nothing that could be limited", "limits", "remove `limits`"
        )
    report.check_keys(block, grammar.LIMITS.names, grammar.LIMITS.title)
    per_day = read_number(block.get("per day"), report, "per day", least=1, most=_MOST_A_DAY)
    if per_day is not None and per_day != int(per_day):
        report.error(block.get("per day"), "`per day` is a whole number", "limits", "write per day: 20000")
    return Limits(
        per_second=_pace(block.get("pace"), report),
        per_day=None if per_day is None else int(per_day),
        budget=_budget(block.get("budget"), catalogue.currency, report),
        zone=catalogue.default_zone,
    )


def _pace(node: Node | None, report: Report) -> float | None:
    if node is None:
        return None
    text = node.text if isinstance(node, Scalar) else ""
    match = _PACE.fullmatch(text)
    if match is None:
        report.error(
            node, "`pace` is a number of actions in a time", "limits", "write 50/s, 3000/min or 100/h"
        )
        return None
    if match[2] not in _SECONDS:
        near = did_you_mean(match[2], _SECONDS)
        report.error(
            node,
            f"`{match[2]}` is no time that a pace is given in",
            "limits",
            near or f"write {match[1]}/s, {match[1]}/min or {match[1]}/h; `per day` is a limit of its own",
        )
        return None
    if not int(match[1]):
        report.error(node, "at this pace nothing is ever done", "never-fires", "write 1/h or more")
        return None
    return int(match[1]) / _SECONDS[match[2]]


def _budget(node: Node | None, currency: str, report: Report) -> Decimal | None:
    if node is None:
        return None
    text = node.text if isinstance(node, Scalar) else ""
    try:
        money = parse_money(text if " " in text.strip() else f"{text} {currency}")
    except ValueMistake:
        report.error(node, "`budget` is an amount of money", "limits", f"write 15000 {currency}")
        return None
    if money.currency != currency:
        report.error(node, f"`{text}` is in another currency", "limits", f"write it in {currency}")
        return None
    if money.amount <= 0:
        report.error(node, "with this budget nothing is ever done", "never-fires", f"write 15000 {currency}")
        return None
    return money.amount
