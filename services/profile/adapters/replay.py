"""Events that rules listen to, handed on again in recovery, each with a fresh snapshot."""

from dataclasses import dataclass
from typing import Any

from services.profile.adapters.postgres import PostgresStore
from services.profile.adapters.rows.kept import open_event
from services.profile.app.changes import Changes
from services.profile.app.ports import TakenEvent
from services.profile.domain.errors import RejectedError
from services.profile.domain.events import EventChecker, RawEvent
from services.runtime.clock import Clock
from services.runtime.database import Transaction
from services.runtime.recovery import Gap
from services.runtime.replay import Step
from services.vocabulary.identities import parse_thing

_ROWS = 200
_SLICES = 50
"""Slices of time that one step looks through at most."""
_NARROWEST_MICROS = 1_000_000
_WIDEST_MICROS = 3_600_000_000
_SLICE = """
    SELECT customer, sequence, time_micros, accepted_micros, type, source, event_id, line, hops, data, via
    FROM event
    WHERE accepted_micros >= %(start)s AND accepted_micros < %(end)s
        AND type = ANY(%(types)s::text[]) AND NOT history AND retracted_micros = 0
        AND (accepted_micros, customer, sequence) > (%(accepted)s, %(customer)s, %(sequence)s)
    ORDER BY accepted_micros, customer, sequence LIMIT %(limit)s
"""

_THINGS = "things"
_THING_EVENTS = """
    SELECT 0::bigint, sequence, time_micros, accepted_micros, type, source, event_id, line, hops, data, thing
    FROM thing_event
    WHERE accepted_micros >= %(accepted)s AND accepted_micros <= %(end)s
        AND type = ANY(%(types)s::text[]) AND NOT history
        AND (accepted_micros, sequence, thing) > (%(accepted)s, %(sequence)s, %(thing)s)
    ORDER BY accepted_micros, sequence, thing LIMIT %(limit)s
"""


@dataclass(slots=True)
class _Place:
    """The slice of time that is being looked through, and the last event of it that was handed on.

    A slice is as wide as events are rare: what it holds is sorted at each step.
    """

    start_micros: int
    wide_micros: int = _NARROWEST_MICROS
    accepted_micros: int = 0
    customer: int = 0
    sequence: int = 0

    @classmethod
    def of(cls, position: str, gap: Gap) -> "_Place":
        if not position:
            return cls(gap.replay_start_micros)
        return cls(*(int(word) for word in position.split(" ")))

    def text(self) -> str:
        words = (self.start_micros, self.wide_micros, self.accepted_micros, self.customer, self.sequence)
        return " ".join(str(word) for word in words)

    def move_on(self) -> None:
        self.start_micros += self.wide_micros
        self.wide_micros = min(2 * self.wide_micros, _WIDEST_MICROS)

    def stay_after(self, row: tuple[Any, ...]) -> None:
        self.customer, self.sequence, _, self.accepted_micros = row[:4]
        self.wide_micros = max(self.wide_micros // 2, _NARROWEST_MICROS)


class EventsReplay:
    """Events accepted from the replay's start to the beginning of recovery, by the time of their acceptance.

    The decision service knows those that it has decided by the ids of their decisions. After those of
    customers come those about things, for which it opens runs that it has not opened.
    """

    def __init__(self, store: PostgresStore, changes: Changes, checker: EventChecker, clock: Clock) -> None:
        self._store = store
        self._changes = changes
        self._checker = checker
        self._clock = clock

    async def step(self, transaction: Transaction, gap: Gap, position: str) -> Step:
        """The next few hundred events."""
        work = self._store.join(transaction)
        types = sorted((await work.listened()).types)
        if position.startswith(_THINGS):
            return await self._things(transaction, gap, position, types)
        place = _Place.of(position, gap)
        for _ in range(_SLICES):
            if place.start_micros > gap.began_micros:
                return Step(f"{_THINGS} {gap.replay_start_micros} 0 -")
            rows = await transaction.rows(
                _SLICE,
                {
                    "start": place.start_micros,
                    "end": place.start_micros + place.wide_micros,
                    "types": types,
                    "accepted": place.accepted_micros,
                    "customer": place.customer,
                    "sequence": place.sequence,
                    "limit": _ROWS,
                },
            )
            if len(rows) == _ROWS:
                place.stay_after(rows[-1])
            else:
                place.move_on()
            if rows:
                return Step(place.text(), await self._hand_on(transaction, rows))
        return Step(place.text())

    async def _things(self, transaction: Transaction, gap: Gap, position: str, types: list[str]) -> Step:
        _, accepted, sequence, thing = position.split(" ", 3)
        rows = await transaction.rows(
            _THING_EVENTS,
            {
                "accepted": int(accepted),
                "sequence": int(sequence),
                "thing": thing,
                "end": gap.began_micros,
                "types": types,
                "limit": _ROWS,
            },
        )
        following = ""
        if len(rows) == _ROWS:
            _, sequence, _, accepted = rows[-1][:4]
            following = f"{_THINGS} {accepted} {sequence} {rows[-1][10]}"
        return Step(following, await self._hand_on(transaction, rows))

    async def _hand_on(self, transaction: Transaction, rows: list[tuple[Any, ...]]) -> dict[str, int]:
        work = self._store.join(transaction)
        taken = [item for item in map(self._taken, rows) if item is not None]
        handed = await self._changes.hand_again(work, taken, self._clock.now_micros())
        await work.hand_on(handed)
        return {"events": len(handed), "events_left_out": len(rows) - len(handed)}

    def _taken(self, row: tuple[Any, ...]) -> TakenEvent | None:
        """The event as it was taken; None: its type is no longer in the catalogue, or has other fields."""
        customer, sequence, time_micros, accepted, event_type, source, event_id, line, hops, data = row[:10]
        if customer:
            data = open_event(self._store.types.sealer, customer, sequence, bytes(data))
        raw = RawEvent(event_id, source, event_type, time_micros, "", bytes(data))
        try:
            checked = self._checker.check_own(raw, customer, accepted, hops=0, line=line, taken=True)
        except RejectedError:
            return None
        checked.hops = hops
        if customer:
            checked.via = row[10]
        else:
            checked.thing = parse_thing(row[10], self._checker.catalogue.things)
        return TakenEvent(checked, customer, sequence, line, accepted)
