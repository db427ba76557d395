"""Reads the experiment of a rule set."""

import re

from services.decision.domain.language import grammar
from services.decision.domain.language.nodes import Node, Scalar, brief
from services.decision.domain.language.reading import read_block, read_duration, read_word
from services.decision.domain.language.report import Report
from services.decision.domain.language.scope import Scope
from services.decision.domain.problems import did_you_mean
from services.decision.domain.program import Experiment, Measure

_SHARE = re.compile(r"([0-9]{1,3})(?:\.([0-9]{1,2}))?%")


def read_experiment(node: Node | None, scope: Scope, report: Report) -> Experiment | None:
    """The experiment; None when there is none or it is wrong."""
    block = read_block(node, report, "experiment")
    if block is None:
        return None
    report.check_keys(block, grammar.EXPERIMENT.names, grammar.EXPERIMENT.title)
    name = read_word(block.get("id"), report, "id")
    if not name:
        report.error(block, "the experiment has no id", "experiment", "add id: a-name")
        return None
    holdout = _share(block.get("holdout"), report, "holdout")
    arms = {
        key.text: _share(value, report, key.text)
        for key, value in read_block(block.get("arms"), report, "arms") or ()
    }
    if holdout + sum(arms.values()) > 10_000:
        report.error(
            block, "holdout and arms are more than 100 % together", "experiment", "lower one of them"
        )
    if not arms and not holdout:
        report.error(block, "the experiment has neither arms nor a holdout", "experiment", "add holdout: 10%")
    return Experiment(
        name,
        holdout,
        arms,
        _measure(block.get("metric"), scope, report, "metric"),
        _measure(block.get("guardrail"), scope, report, "guardrail"),
    )


def _share(node: Node | None, report: Report, what: str) -> int:
    if node is None:
        return 0
    match = _SHARE.fullmatch(node.text if isinstance(node, Scalar) else "")
    share = int(match[1]) * 100 + int((match[2] or "0").ljust(2, "0")) if match else -1
    if not 0 <= share <= 10_000:
        report.error(
            node, f"`{what}: {brief(node) if node else ''}` is no share", "experiment", f"write {what}: 10%"
        )
        return 0
    return share


def _measure(node: Node | None, scope: Scope, report: Report, what: str) -> Measure | None:
    block = read_block(node, report, what)
    if block is None:
        return None
    report.check_keys(block, grammar.MEASURE.names, f"`{what}`")
    event = read_word(block.get("event"), report, "event")
    within = read_duration(block.get("within"), report, "within")
    if event not in scope.catalogue.events:
        suggestion = did_you_mean(event, scope.catalogue.events) or "the reference lists the event types"
        message = f"the catalogue has no event type `{event}`"
        report.error(block.get("event") or block, message, "unknown-event", suggestion)
        return None
    if within is None and block.get("within") is None:
        report.error(block, f"`{what}` does not say how long after", "experiment", "add within: 60d")
    return Measure(event, within) if within is not None else None
