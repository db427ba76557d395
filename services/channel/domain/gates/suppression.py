"""Gate 3: the channel is not on the customer's suppression list."""

from services.channel.domain.actions import Action
from services.channel.domain.contact import SuppressedFor
from services.channel.domain.gates.verdict import PASSED, GateState, Refused, Verdict, is_contact
from services.vocabulary.words import CATEGORY_FACTS, OnStop, RefusalReason

_STOPPED_BY: dict[OnStop, frozenset[SuppressedFor]] = {
    OnStop.PASSES: frozenset({SuppressedFor.BOUNCED, SuppressedFor.MANUAL}),
    OnStop.OWN_SWITCH: frozenset({SuppressedFor.BOUNCED, SuppressedFor.MANUAL, SuppressedFor.COMPLAINED}),
    OnStop.STOPS: frozenset(SuppressedFor),
}
_STRICTEST_FIRST = (
    SuppressedFor.MANUAL,
    SuppressedFor.BOUNCED,
    SuppressedFor.COMPLAINED,
    SuppressedFor.UNSUBSCRIBED,
)


def judge(action: Action, state: GateState, now_micros: int) -> Verdict:  # noqa: ARG001 - the gates' interface
    """Refuses a suppressed channel; an opt-out leaves mandatory and service messages, a bounce nothing.

    Several reasons may stand at once: the category is stopped when any of them stops it, and the strictest of
    those is told.
    """
    if state.suppressed and is_contact(action, state.channel):
        stops = _STOPPED_BY[CATEGORY_FACTS[action.category].on_stop]
        for reason in _STRICTEST_FIRST:
            if reason in state.suppressed and reason in stops:
                detail = f"{state.channel.value} is suppressed for this customer: {reason.value}"
                return Refused(RefusalReason.SUPPRESSED, detail)
    return PASSED
