"""Gate 8: the provider is not flooded."""

from services.channel.domain.actions import Action
from services.channel.domain.gates.verdict import PASSED, GateState, Refused, Verdict, is_contact
from services.vocabulary.words import RefusalReason


def judge(action: Action, state: GateState, now_micros: int) -> Verdict:
    """Refuses while the provider's rate is used up and says when there is room again."""
    if is_contact(action, state.channel) and state.rate_free_micros > now_micros:
        detail = f"the provider's rate on {state.channel.value} is used up"
        return Refused(RefusalReason.RATE_LIMITED, detail, state.rate_free_micros)
    return PASSED
