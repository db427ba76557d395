"""The gates in their order: an action passes when every one of them lets it."""

from services.channel.domain.actions import Action
from services.channel.domain.gates import (
    address,
    campaign,
    campaign_rate,
    caps,
    care,
    consent,
    duplicate,
    killed,
    quiet_hours,
    rate,
    suppression,
    validity,
)
from services.channel.domain.gates.verdict import PASSED, Gate, GateState, Passed, Refused

GATES: tuple[Gate, ...] = (
    duplicate.judge,
    killed.judge,
    address.judge,
    suppression.judge,
    consent.judge,
    validity.judge,
    quiet_hours.judge,
    campaign.judge,
    care.judge,
    caps.judge,
    campaign_rate.judge,
    rate.judge,
)
"""All of them, for an action that has no slot yet."""

HAND_OVER_GATES: tuple[Gate, ...] = (
    killed.judge,
    address.judge,
    suppression.judge,
    consent.judge,
    validity.judge,
    quiet_hours.judge,
    care.judge,
    rate.judge,
)
"""Asked once more just before the hand-over; what is taken for it is not counted twice."""


def pass_gates(
    action: Action,
    state: GateState,
    now_micros: int,
    gates: tuple[Gate, ...] = GATES,
) -> tuple[Passed, int] | tuple[Refused, int]:
    """The first refusal and the place of its gate, or that all passed and how many there were."""
    for place, gate in enumerate(gates):
        verdict = gate(action, state, now_micros)
        if isinstance(verdict, Refused):
            return verdict, place
    return PASSED, len(gates)
