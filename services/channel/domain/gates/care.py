"""Gate 9: a campaign that makes customers call does not fill a care desk that is busy."""

from services.channel.domain.actions import Action
from services.channel.domain.campaigns import CareState
from services.channel.domain.controls import CareStage
from services.channel.domain.gates.verdict import PASSED, GateState, Refused, Verdict, is_contact
from services.vocabulary.values import MINUTE, format_time
from services.vocabulary.words import Category, RefusalReason

ASK_AGAIN_MICROS = MINUTE
"""A queue that is full, or unknown, is looked at again after this time at the earliest."""
_NEVER_SLOWED = frozenset({Category.MANDATORY, Category.SERVICE})


def judge(action: Action, state: GateState, now_micros: int) -> Verdict:
    """Refuses while a queue that the action's campaigns fill is too deep, or has no turn for it.

    A queue without a figure that still counts is treated as its policy says, by default as full. Before the
    hand-over only a full queue stops what had its turn. Mandatory and service messages always pass.
    """
    if not is_contact(action, state.channel) or action.category in _NEVER_SLOWED:
        return PASSED
    worst: Refused | None = None
    for one in state.care:
        refused = _judge(one, now_micros)
        if refused is not None and (worst is None or (refused.next_micros or 0) > (worst.next_micros or 0)):
            worst = refused
    return worst or PASSED


def _judge(one: CareState, now_micros: int) -> Refused | None:
    stage = one.queue.stage(one.load, now_micros)
    if stage is CareStage.FREE or (stage is CareStage.SLOWED and (one.turn is None or one.turn.free)):
        return None
    again = now_micros + ASK_AGAIN_MICROS if stage is CareStage.STOPPED else now_micros + 1
    if one.turn is not None:
        again = max(again, one.turn.next_micros)
    return Refused(RefusalReason.RATE_LIMITED, why(one, stage, now_micros), again)


def why(one: CareState, stage: CareStage, now_micros: int) -> str:
    """What the queue does at that stage, and from which figure, for people."""
    queue, load = one.queue, one.load
    if load is None:
        known = f"care queue {queue.name} has no known depth: none was reported"
    elif not load.is_known(now_micros):
        ended = format_time(load.time_micros + load.valid_micros)
        known = f"care queue {queue.name} has no known depth: the last figure counted until {ended}"
    else:
        most = queue.stop_above if stage is CareStage.STOPPED else queue.slow_above
        known = f"care queue {queue.name} has {load.depth} waiting, over {most}"
    if stage is CareStage.STOPPED:
        return f"{known}; campaigns that cause calls are stopped"
    return f"{known}; campaigns that cause calls go at {queue.slow_to:g} a second"
