"""Gate 7: nobody is woken up."""

from services.channel.domain.actions import Action
from services.channel.domain.gates.verdict import PASSED, GateState, Refused, Verdict, is_contact
from services.channel.domain.quiet_hours import Recipient
from services.vocabulary.words import CATEGORY_FACTS, Category, InQuietHours, RefusalReason

_IN_A_PAUSE = frozenset({Category.MANDATORY, Category.SERVICE})


def judge(action: Action, state: GateState, now_micros: int) -> Verdict:
    """Refuses inside the quiet hours of the recipient's zone, or outside the law's, and says when they end.

    Tasks pass. A mandatory message passes the operator's when its ground allows it at any hour; never the
    law's. While the customer wants a pause only what is mandatory or serves the contract passes.
    """
    if not is_contact(action, state.channel):
        return PASSED
    facts = CATEGORY_FACTS[action.category]
    reach = state.reach
    if reach is not None and now_micros < reach.paused_until_micros and action.category not in _IN_A_PAUSE:
        detail = "the customer wants a pause"
        return Refused(RefusalReason.QUIET_HOURS, detail, reach.paused_until_micros)
    permission = state.permission
    recipient = Recipient(
        state.channel,
        action.category,
        zone=reach.zone if reach is not None else "",
        address=permission.address if permission is not None else "",
        any_hour=facts.in_quiet_hours is InQuietHours.GROUND_DECIDES and state.breaks_quiet_hours,
        own=reach.quiet_hours if reach is not None else (),
    )
    held = state.quiet.held(recipient, now_micros)
    return PASSED if held is None else Refused(RefusalReason.QUIET_HOURS, held.because, held.until_micros)
