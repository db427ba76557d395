"""Gate 6: nobody is woken up."""

from services.channel.domain.actions import Action
from services.channel.domain.gates.verdict import PASSED, GateState, Refused, Verdict, is_contact
from services.vocabulary.words import CATEGORY_FACTS, InQuietHours, RefusalReason


def judge(action: Action, state: GateState, now_micros: int) -> Verdict:
    """Refuses inside the quiet hours of the recipient's zone and says when they end.

    Tasks pass; a mandatory message passes when its ground allows it at any hour.
    """
    if not is_contact(action, state.channel):
        return PASSED
    facts = CATEGORY_FACTS[action.category]
    if facts.in_quiet_hours is InQuietHours.GROUND_DECIDES and state.breaks_quiet_hours:
        return PASSED
    zone = state.reach.zone if state.reach is not None else ""
    allowed = state.quiet.next_allowed(zone, state.channel, now_micros)
    if allowed == now_micros:
        return PASSED
    detail = "quiet hours that never end" if allowed is None else f"quiet hours in {zone}"
    return Refused(RefusalReason.QUIET_HOURS, detail, allowed)
