"""What asking audiences and checking pairs needs from outside."""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING, Protocol

from services.decision.domain.triggers import TRIGGER_DUE
from services.vocabulary.ids import own_event_id

if TYPE_CHECKING:
    from collections.abc import Collection, Mapping, Sequence

    from services.decision.app.jobs import PairOpened, ThingHappened
    from services.decision.domain.audience import Superset
    from services.decision.domain.occasions import Called, Looked, Opening
    from services.decision.domain.run_room import Room, Spent
    from services.runtime.database import Transaction


@dataclass(frozen=True, slots=True)
class Call:
    """A customer called for one rule set; `run` and customer name it, whatever crashes. Times in micros.

    `since_micros` 0: none. `data`: what happened, as `triggers.pack_happening` packs it; empty: nothing did.
    """

    customer: int
    rule_set: str
    run: str
    time_micros: int
    since_micros: int = 0
    data: str = ""
    hops: int = 0
    line: str = ""

    @property
    def event_id(self) -> str:
        """Of the event as which it comes back: the same call again is the same event."""
        return own_event_id(TRIGGER_DUE, self.rule_set, self.run, self.customer)


@dataclass(frozen=True, slots=True)
class AudienceRun:
    """A run as stored. Times in micros; `next_micros`: for when its next page is planned.

    `after_micros` and `until_micros` bound the last times of an absence; `page_token` empty: at its start.
    `state`: open, done, missed (too late to go on), stopped (its rule set is no longer called so), paused or
    cancelled (by a person). `walked`: what part of its audience it has walked over, about. `marks`: see
    `run_pace`. `waits`: the word of what it waits for, `waits_for` the sentence, both empty: nothing.
    `actor`, `reason`, `changed_micros`: who started, paused, resumed or cancelled it last.
    `canary`: it calls only customers who meet a version that is one.
    """

    number: int
    rule_set: str
    version: int
    kind: str
    name: str
    zone: str
    due_micros: int
    next_micros: int
    after_micros: int
    until_micros: int
    page_token: str
    state: str
    asked: int
    pages: int
    hops: int
    data: str
    canary: bool = False
    walked: float = 0.0
    marks: Sequence[int] = ()
    waits: str = ""
    waits_for: str = ""
    waits_micros: int = 0
    actor: str = ""
    reason: str = ""
    changed_micros: int = 0


@dataclass(frozen=True, slots=True)
class Page:
    """Customers with their last times (0: none); `token` empty: no more. `filling`: ask again in a while.

    `walked`: what part of the audience lies behind this page, about.
    """

    members: tuple[tuple[int, int], ...] = ()
    token: str = ""
    filling: bool = False
    walked: float = 0.0


class Audiences(Protocol):
    """The profile service, asked who is concerned."""

    async def page(self, run: AudienceRun, called: Called, wanted: Superset, size: int) -> Page:
        """The next customers of a run. Raises UnavailableError."""
        ...

    async def zones(self) -> tuple[str, ...]:
        """Zones in which customers live. Raises UnavailableError."""
        ...


class Rooms(Protocol):
    """Whoever says whether there is room for more of a campaign."""

    async def room(self, called: Called, now_micros: int) -> Room:
        """What a run of that rule set finds now; it waits where it cannot be told."""
        ...


class Lag(Protocol):
    """How far events are behind."""

    async def behind(self) -> bool:
        """Whether events that happen now wait so long that audiences had better wait."""
        ...


class Runs(Protocol):
    """Runs, the times of schedules, and pairs that stay open, as stored."""

    async def lock_times(self, transaction: Transaction, program: int) -> bool:
        """Whether that is the newest program; nobody else looks at times before the transaction ends."""
        ...

    async def times(self, transaction: Transaction) -> dict[tuple[str, str], Looked]:
        """How far times were looked at, by rule set and zone."""
        ...

    async def activated(self, transaction: Transaction, rule_sets: Sequence[str]) -> dict[str, int]:
        """When these rule sets went live, in their live version."""
        ...

    async def looked(
        self, transaction: Transaction, program: int, times: Mapping[tuple[str, str], tuple[Looked, int]]
    ) -> None:
        """Keeps how far times were looked at, and the next times, for that program; forgets all others."""
        ...

    async def open(self, transaction: Transaction, called: Called, openings: Sequence[Opening]) -> int:
        """Opens runs that are not known; how many."""
        ...

    async def open_things(self, transaction: Transaction, happened: Sequence[ThingHappened]) -> int:
        """Opens a run for each rule set that is called for by what happened to a thing; how many are new."""
        ...

    async def claim(self, now_micros: int) -> AudienceRun | None:
        """A run whose next page is due, kept from others for some seconds; None: there is none."""
        ...

    async def postpone(self, run: AudienceRun) -> None:
        """Keeps a run from everybody for a second."""
        ...

    async def wait(self, run: AudienceRun, room: Room, now_micros: int, until_micros: int) -> None:
        """Has a run wait for room, and look again then; one that was moved meanwhile is left alone."""
        ...

    async def move(self, transaction: Transaction, run: AudienceRun, after: AudienceRun) -> bool:
        """Writes how far a run has come; False: somebody else has moved it."""
        ...

    async def next_page(self) -> int | None:
        """For when the next page of any run is planned; None: no run is open."""
        ...

    async def open_pairs(self, transaction: Transaction, opened: Sequence[PairOpened]) -> int:
        """Plans checks of pairs that are not known; how many."""
        ...

    async def take_pairs(self, transaction: Transaction, now_micros: int, most: int) -> list[Call]:
        """Claims checks whose time has come, the longest due first."""
        ...

    async def next_pair(self) -> int | None:
        """When the next check falls due; None: there is none."""
        ...


class RunCounts(Protocol):
    """What comes of those whom runs asked, as counted."""

    async def note_calls(self, transaction: Transaction, number: int, calls: Sequence[Call]) -> None:
        """Keeps that this run made these calls, until they come back."""
        ...

    async def take_calls(self, transaction: Transaction, event_ids: Collection[str]) -> Mapping[str, int]:
        """Of these calls those that a run made, with its number; they have come back now."""
        ...

    async def runs_of(self, transaction: Transaction, action_ids: Collection[str]) -> Mapping[str, int]:
        """Of these actions those that a run called for, with its number."""
        ...

    async def note_actions(self, transaction: Transaction, runs: Mapping[str, int]) -> None:
        """Keeps which run called for these actions."""
        ...

    async def count(self, transaction: Transaction, counts: Mapping[tuple[int, str], int]) -> None:
        """Adds to what is counted of runs, by number and word; of one no longer kept nothing is."""
        ...


class RunsTaken(Runs, RunCounts, Protocol):
    """What taking events needs of runs."""


class RunControl(Protocol):
    """Runs as people put their hands on them."""

    async def lock(self, transaction: Transaction, number: int) -> AudienceRun | None:
        """One run, kept from everybody else until the transaction ends; None: there is none."""
        ...

    async def lock_under_way(self, transaction: Transaction, rule_set: str) -> list[AudienceRun]:
        """The open and paused runs of a rule set, the same; oldest first."""
        ...

    async def start(self, transaction: Transaction, called: Called, opening: Opening) -> AudienceRun:
        """Opens a run, and tells workers of it."""
        ...

    async def change(self, transaction: Transaction, run: AudienceRun) -> None:
        """Writes a locked run's state, times, waiting, and who changed it; workers are told."""
        ...

    async def find(self, number: int) -> AudienceRun | None:
        """One run; None: there is none."""
        ...

    async def counted(self, transaction: Transaction, numbers: Sequence[int]) -> dict[int, dict[str, int]]:
        """What was counted of these runs, by number and word."""
        ...

    async def spent(self, rule_set: str, day: int) -> Spent:
        """What a rule set has used of its limits, on that day of the operator's calendar."""
        ...


class RunLog(Protocol):
    """Runs as people look at them."""

    async def page(self, before: int, size: int, *, rule_set: str = "", state: str = "") -> list[AudienceRun]:
        """The newest first; `before`: number of the last one seen, 0: from the newest."""
        ...


class CallHandOver(Protocol):
    """Hands on calls, through the outbox."""

    async def called(self, transaction: Transaction, calls: Sequence[Call]) -> None:
        """`trigger.due` for each."""
        ...
