"""Reads a journey, and turns its steps into ordinary rules."""

from services.decision.domain.language.nodes import Node
from services.decision.domain.language.report import Report
from services.decision.domain.language.scope import Scope
from services.decision.domain.program import ActionRule


def read_journey(
    node: Node | None, scope: Scope, report: Report, version: int, first: int
) -> tuple[ActionRule, ...]:
    """Its rules; `first`: how many rules stand before them in the file."""
    del scope, version, first
    if node is not None:
        report.not_yet(node, "journey")
    return ()
