"""Gate 5: what has expired is not said."""

from services.channel.domain.actions import Action
from services.channel.domain.gates.verdict import PASSED, GateState, Refused, Verdict
from services.vocabulary.words import RefusalReason


def judge(action: Action, state: GateState, now_micros: int) -> Verdict:  # noqa: ARG001 - the gates' interface
    """Refuses at and after the action's expiry, in business time; an expiry of 0 never comes."""
    if 0 < action.expires_micros <= now_micros:
        return Refused(RefusalReason.EXPIRED, "its validity has ended")
    return PASSED
