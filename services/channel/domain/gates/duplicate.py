"""Gate 1: an action is taken once."""

from services.channel.domain.actions import Action
from services.channel.domain.gates.verdict import PASSED, GateState, Refused, Verdict
from services.vocabulary.words import RefusalReason


def judge(action: Action, state: GateState, now_micros: int) -> Verdict:  # noqa: ARG001 - the gates' interface
    """Refuses what was taken before, whatever it says now."""
    if state.taken:
        return Refused(RefusalReason.DUPLICATE, "this action was taken before")
    return PASSED
