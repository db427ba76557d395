"""Gate 7: nobody is woken up."""

from services.channel.domain.actions import Action
from services.channel.domain.gates.verdict import PASSED, GateState, Refused, Verdict, is_contact
from services.channel.domain.quiet_hours import Recipient
from services.vocabulary.words import CATEGORY_FACTS, InQuietHours, RefusalReason


def judge(action: Action, state: GateState, now_micros: int) -> Verdict:
    """Refuses inside the quiet hours of the recipient's zone, or outside the law's, and says when they end.

    Tasks pass. A mandatory message passes the operator's when its ground allows it at any hour; never the
    law's.
    """
    if not is_contact(action, state.channel):
        return PASSED
    facts = CATEGORY_FACTS[action.category]
    permission = state.permission
    recipient = Recipient(
        state.channel,
        action.category,
        zone=state.reach.zone if state.reach is not None else "",
        address=permission.address if permission is not None else "",
        any_hour=facts.in_quiet_hours is InQuietHours.GROUND_DECIDES and state.breaks_quiet_hours,
    )
    held = state.quiet.held(recipient, now_micros)
    return PASSED if held is None else Refused(RefusalReason.QUIET_HOURS, held.because, held.until_micros)
