"""Gate 2: there is somewhere to send it."""

from services.channel.domain.actions import Action
from services.channel.domain.gates.verdict import PASSED, GateState, Refused, Verdict, is_contact
from services.vocabulary.words import RefusalReason


def judge(action: Action, state: GateState, now_micros: int) -> Verdict:  # noqa: ARG001 - the gates' interface
    """Refuses a channel on which the customer has no address; `app` needs a device.

    Without an answer of the profile nothing is known: that is the consent gate's to say.
    """
    if not is_contact(action, state.channel) or state.reach is None:
        return PASSED
    if not state.reach.known:
        return Refused(RefusalReason.NO_ADDRESS, "the profile service does not know this customer")
    permission = state.permission
    if permission is None or not permission.address:
        return Refused(RefusalReason.NO_ADDRESS, f"no address on {state.channel.value}")
    return PASSED
