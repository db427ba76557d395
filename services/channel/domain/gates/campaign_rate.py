"""Gate 11: a campaign is spread over time."""

from services.channel.domain.actions import Action
from services.channel.domain.gates.verdict import PASSED, GateState, Refused, Verdict, is_contact
from services.vocabulary.words import RefusalReason


def judge(action: Action, state: GateState, now_micros: int) -> Verdict:
    """Refuses while a campaign's rate is used up, and says when the action has its turn."""
    if not is_contact(action, state.channel):
        return PASSED
    for one in state.campaigns:
        if one.turn is not None and not one.turn.free:
            detail = f"campaign {one.campaign.name} goes at {one.campaign.per_second:g} a second"
            return Refused(RefusalReason.RATE_LIMITED, detail, max(now_micros, one.turn.next_micros))
    return PASSED
