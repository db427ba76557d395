"""Reads how much a rule set may do."""

from services.decision.domain.language.nodes import Node
from services.decision.domain.language.report import Report
from services.decision.domain.program import Limits


def read_limits(node: Node | None, report: Report) -> Limits:
    """The limits; none when there are none."""
    if node is not None:
        report.not_yet(node, "limits")
    return Limits()
