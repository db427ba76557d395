"""What asking audiences and checking pairs needs from outside."""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING, Protocol

if TYPE_CHECKING:
    from collections.abc import Mapping, Sequence

    from services.decision.app.jobs import PairOpened, ThingHappened
    from services.decision.domain.audience import Superset
    from services.decision.domain.occasions import Called, Looked, Opening
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


@dataclass(frozen=True, slots=True)
class AudienceRun:
    """A run as stored. Times in micros; `next_micros`: for when its next page is planned.

    `after_micros` and `until_micros` bound the last times of an absence; `page_token` empty: at its start.
    `state`: open, done, missed (too late to go on) or stopped (its rule set is no longer called so).
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


@dataclass(frozen=True, slots=True)
class Page:
    """Customers with their last times (0: none); `token` empty: no more. `filling`: ask again in a while."""

    members: tuple[tuple[int, int], ...] = ()
    token: str = ""
    filling: bool = False


class Audiences(Protocol):
    """The profile service, asked who is concerned."""

    async def page(self, run: AudienceRun, called: Called, wanted: Superset, size: int) -> Page:
        """The next customers of a run. Raises UnavailableError."""
        ...

    async def zones(self) -> tuple[str, ...]:
        """Zones in which customers live. Raises UnavailableError."""
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
