"""Which channel an action takes, or what becomes of it when none lets it pass."""

from collections.abc import Callable
from dataclasses import dataclass

from services.channel.domain.actions import Action, ChannelChoice
from services.channel.domain.gates.order import pass_gates
from services.channel.domain.gates.verdict import GateState, Refused
from services.vocabulary.words import CATEGORY_FACTS, Category, Channel, OverCap, RefusalReason


@dataclass(frozen=True, slots=True)
class Chosen:
    """The first listed channel that passes."""

    channel: Channel


@dataclass(frozen=True, slots=True)
class Waits:
    """No channel passes now, one could later: all gates are asked again then."""

    channel: Channel
    reason: RefusalReason | None
    detail: str
    until_micros: int


@dataclass(frozen=True, slots=True)
class Dropped:
    """No channel passes, and waiting would not help or is not this category's way."""

    channel: Channel | None
    reason: RefusalReason
    detail: str
    next_micros: int | None = None
    """When it could have passed, for those who ask; None: not foreseeable."""


Choice = Chosen | Waits | Dropped

_WAITS_FOR = frozenset(
    {
        RefusalReason.CONSENT_UNKNOWN,
        RefusalReason.KILLED,  # a next time: the switch holds
        RefusalReason.QUIET_HOURS,
        RefusalReason.RATE_LIMITED,
    }
)
_OVER_CAP = frozenset({RefusalReason.CAPPED, RefusalReason.BUDGET})


def choose(
    action: Action,
    choices: tuple[ChannelChoice, ...],
    state_of: Callable[[Channel], GateState],
    cannot_say: Callable[[Channel], str],
    now_micros: int,
) -> Choice:
    """Tries the channels in their order; the first through all gates, with words to say, is taken.

    `cannot_say` tells what is missing to say it there, empty when nothing is. Where none passes, waiting for
    the earliest time goes before a refusal; else the refusal that came furthest through the gates is told.
    """
    refusals: list[tuple[int, Channel, Refused]] = []
    waits: list[Waits] = []
    for choice in choices:
        channel = choice.channel
        if channel is None:
            continue
        turn_micros = action.decided_micros + choice.after_micros
        if choice.after_micros and now_micros < turn_micros:
            reason = refusals[0][2].reason if refusals else None
            waits.append(Waits(channel, reason, f"{channel.value} has its turn later", turn_micros))
            continue
        verdict, place = pass_gates(action, state_of(channel), now_micros)
        if not isinstance(verdict, Refused):
            missing = cannot_say(channel)
            if not missing:
                return Chosen(channel)
            verdict = Refused(RefusalReason.NO_TEMPLATE, missing)
        refusals.append((place, channel, verdict))
        if verdict.next_micros is not None and may_wait(action.category, verdict):
            waits.append(Waits(channel, verdict.reason, verdict.detail, verdict.next_micros))
    in_time = [wait for wait in waits if not 0 < action.expires_micros <= wait.until_micros]
    if in_time:
        return min(in_time, key=lambda wait: wait.until_micros)
    if not refusals:
        detail = "no channel is left to try: none preferred and none listed"
        return Dropped(waits[0].channel if waits else None, RefusalReason.NO_ADDRESS, detail)
    _, channel, refused = max(refusals, key=lambda refusal: refusal[0])
    detail = f"{refused.detail}; it expires before it could pass" if waits else refused.detail
    return Dropped(channel, refused.reason, detail, refused.next_micros)


def may_wait(category: Category, refused: Refused) -> bool:
    """Whether an action of that category waits for the refusal's next time, or drops the action at once.

    What would have to be decided again after quiet hours waits too: every gate is asked anew then.
    """
    if refused.reason in _OVER_CAP:
        return CATEGORY_FACTS[category].over_cap is OverCap.DEFER
    return refused.reason in _WAITS_FOR
