"""Gate: nobody is contacted too often, nor too often to be sold something."""

from services.channel.domain.actions import Action
from services.channel.domain.caps import exceeded
from services.channel.domain.gates.verdict import PASSED, GateState, Refused, Verdict, is_contact
from services.vocabulary.values import format_duration
from services.vocabulary.words import Category, RefusalReason


def judge(action: Action, state: GateState, now_micros: int) -> Verdict:
    """Refuses when any cap has no room; names the one without room for longest, its threshold and count.

    Also when there is room, but only in a reserve that is kept for what matters more.
    """
    if not is_contact(action, state.channel):
        return PASSED
    contacts, shared = state.contacts, state.household_contacts
    found = exceeded(state.caps, contacts, action, state.channel, now_micros, household=shared)
    if found is None:
        return _judge_share(action, state, now_micros)
    cap = found.cap
    detail = f"cap {cap.name}: {found.count} of at most {cap.most} in {format_duration(cap.window_micros)}"
    if found.by_reserve and cap.reserve is not None:
        detail += f"; the last {cap.reserve.last} kept for {cap.reserve}"
    return Refused(RefusalReason.CAPPED, detail, found.next_micros)


def _judge_share(action: Action, state: GateState, now_micros: int) -> Verdict:
    """Whether one more sales contact is within the operator's share; when it will be, nobody can foresee."""
    if state.sales_share is None or action.category is not Category.SALES:
        return PASSED
    over = state.sales_share.over(state.contacts, now_micros)
    return Refused(RefusalReason.CAPPED, over) if over else PASSED
