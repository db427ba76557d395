"""What a simulation would say, shown to limits and gates in order of time."""

from __future__ import annotations

import heapq
from typing import TYPE_CHECKING

from services.decision.app.simulation_ports import Tried
from services.decision.domain.simulation_limits import LimitedTurns
from services.decision.domain.simulation_result import Fate, Verdict
from services.vocabulary.values import DAY, MINUTE
from services.vocabulary.words import Category, RefusalReason

if TYPE_CHECKING:
    from collections.abc import Callable, Mapping, Sequence

    from services.decision.app.simulation_ports import Judged, OpenGates
    from services.decision.domain.limits import Limits
    from services.decision.domain.simulation_funnel import Would

MOST_TRIED = 200
"""Actions shown to the gates at once."""
MOST_JUDGED = 75_000
"""Actions of one world that the gates judge: they remember each, its slots and its customer."""
_TOGETHER = 15 * MINUTE
_MOST_TIMES = 20
_HORIZON = 35 * DAY
"""What waits for longer than that is said to wait."""


class Judge:
    """One world's actions before its limits and gates."""

    def __init__(self, gates: OpenGates, limits: Mapping[str, Limits], until_micros: int) -> None:
        self._gates = gates
        self._limits = limits
        self._turns = LimitedTurns(limits)
        self._last = until_micros + _HORIZON
        self._waiting: list[tuple[int, int]] = []
        self._times: dict[int, int] = {}
        self._verdicts: dict[int, Verdict] = {}

    async def judge(self, would: Sequence[Would], told: Callable[[int], None]) -> list[Verdict]:
        """A verdict for each; ``told`` hears how many there are so far. They come in order of time."""
        self._waiting = [(one.micros, place) for place, one in enumerate(would[:MOST_JUDGED])]
        heapq.heapify(self._waiting)
        now = 0
        while self._waiting:
            batch: list[tuple[int, int]] = []
            first = max(now, self._waiting[0][0])
            while self._waiting and len(batch) < MOST_TRIED and self._waiting[0][0] <= first + _TOGETHER:
                micros, place = heapq.heappop(self._waiting)
                now = max(now, micros)
                if self._has_turn(would[place], place, now):
                    batch.append((now, place))
            if batch:
                tried = [
                    Tried(would[place].action_id, would[place].message, micros) for micros, place in batch
                ]
                for (_, place), judged in zip(batch, await self._gates.judge(tried), strict=True):
                    self._heard(place, judged, now)
            told(len(self._verdicts))
        unjudged = Verdict(Fate.UNJUDGED)
        return [self._verdicts.get(place, unjudged) for place in range(len(would))]

    def _has_turn(self, one: Would, place: int, now: int) -> bool:
        """Whether an action may go on to the gates now, under the limits of its rule set."""
        limits = self._limits.get(one.name.rule_set)
        if limits is None or place in self._times or one.name.category == Category.MANDATORY:
            return True
        self._times[place] = 0
        if limits.budget is not None and not one.costed:
            self._verdicts[place] = Verdict(Fate.LIMITED, reason=RefusalReason.BUDGET.value)
            return False
        turn = self._turns.take(one.name.rule_set, one.action_id, one.cost, one.expires_micros or None, now)
        if isinstance(turn, tuple):
            self._verdicts[place] = Verdict(Fate.LIMITED, reason=turn[0].value, detail=turn[1])
            return False
        if turn is not None and turn.planned:
            heapq.heappush(self._waiting, (turn.at_micros, place))
            return False
        return True

    def _heard(self, place: int, judged: Judged, now: int) -> None:
        times = self._times[place] = self._times.get(place, 0) + 1
        if judged.passed:
            self._verdicts[place] = Verdict(Fate.SENT, judged.channel)
        elif judged.waits and times < _MOST_TIMES and 0 < judged.until_micros <= self._last:
            heapq.heappush(self._waiting, (max(judged.until_micros, now), place))
        else:
            fate = Fate.WAITS if judged.waits else Fate.REFUSED
            self._verdicts[place] = Verdict(fate, judged.channel, judged.reason, judged.detail)
