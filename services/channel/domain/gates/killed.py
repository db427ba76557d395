"""Gate 2: no switch stops it."""

from services.channel.domain.actions import Action
from services.channel.domain.gates.verdict import PASSED, GateState, Refused, Verdict
from services.vocabulary.values import HOUR, format_time
from services.vocabulary.words import RefusalReason

ASK_AGAIN_MICROS = HOUR
"""What is held without an end is let go when the switch is lifted; this net is for what was missed then."""


def judge(action: Action, state: GateState, now_micros: int) -> Verdict:
    """Refuses what a kill switch stops, of every category, tasks too; names the switch.

    What only switches with `hold` stop may pass when the last of them ends, or shortly before it expires:
    whoever waits that long is told no.
    """
    stopping = [switch for switch in state.switches if switch.stops(action, state.channel, now_micros)]
    if not stopping:
        return PASSED
    last = max(stopping, key=lambda switch: (not switch.hold, not switch.until_micros, switch.until_micros))
    detail = f"kill switch {last.title}"
    if last.until_micros:
        detail += f" until {format_time(last.until_micros)}"
    if not last.hold:
        return Refused(RefusalReason.KILLED, detail)
    until = last.until_micros or now_micros + ASK_AGAIN_MICROS
    if action.expires_micros:
        until = min(until, action.expires_micros - 1)
    return Refused(RefusalReason.KILLED, f"{detail}, held", until if until > now_micros else None)
