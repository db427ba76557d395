"""Gate 4: the customer agreed, as the profile said just now; without its word the answer is no."""

from services.channel.domain.actions import Action
from services.channel.domain.contact import Permission, Reach
from services.channel.domain.gates.verdict import PASSED, GateState, Refused, Verdict, is_contact
from services.vocabulary.words import CATEGORY_FACTS, Category, Channel, RefusalReason

_TASK_CHANNELS = (Channel.TASK, Channel.CALL)


def judge(action: Action, state: GateState, now_micros: int) -> Verdict:
    """Refuses what the customer did not agree to; fails closed when the profile cannot be reached.

    It can be asked again at any moment, so what it could not say may still pass. Work that serves the
    contract is not a contact and needs no consent; a task that sells does, for the agent would call: the
    consent for calls counts, else that for any channel. A topic that the customer switched off is refused on
    every channel, but for what a law or the contract demands.
    """
    facts = CATEGORY_FACTS[action.category]
    if not is_contact(action, state.channel) and facts.unknown_means_yes:
        return PASSED
    if state.reach is None:
        return Refused(RefusalReason.CONSENT_UNKNOWN, "the profile service could not be asked", now_micros)
    if action.topic in state.reach.topics_off and action.category is not Category.MANDATORY:
        return Refused(RefusalReason.NO_CONSENT, f"the customer wants to hear nothing about {action.topic}")
    if action.category is Category.SERVICE and state.reach.service_blocked:
        return Refused(RefusalReason.NO_CONSENT, "the customer switched service messages off")
    permission = state.permission if is_contact(action, state.channel) else _task_permission(state.reach)
    if permission is None:
        return Refused(RefusalReason.CONSENT_UNKNOWN, f"no consent known on {state.channel.value}")
    if not permission.allowed:
        reason = permission.reason or RefusalReason.CONSENT_UNKNOWN
        purpose = facts.purpose.value if facts.purpose is not None else action.category.value
        return Refused(reason, f"no permission for {purpose} on {state.channel.value}")
    return PASSED


def _task_permission(reach: Reach) -> Permission | None:
    for channel in _TASK_CHANNELS:
        if channel in reach.permissions:
            return reach.permissions[channel]
    found = sorted(reach.permissions.values(), key=lambda permission: not permission.allowed)
    return found[0] if found else None
