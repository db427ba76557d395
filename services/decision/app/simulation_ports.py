"""What a simulation needs from outside."""

from __future__ import annotations

from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Any, Protocol

if TYPE_CHECKING:
    from collections.abc import AsyncIterator, Mapping, Sequence
    from contextlib import AbstractAsyncContextManager

    from services.decision.app.simulation_jobs import Moment
    from services.decision.domain.ledger import Account


@dataclass(frozen=True, slots=True)
class Header:
    """What is known of a replay before it begins; ``kept_since_micros`` 0: everything is kept."""

    customers: int = 0
    kept_since_micros: int = 0
    short_types: Mapping[str, int] = field(default_factory=dict)
    erased: int = 0


@dataclass(slots=True)
class Piece:
    """Some customers' events. ``left_out``: (type, why) of what could not be replayed, counted.

    ``incomplete``: customers of whose time before something is kept no more.
    """

    header: Header | None = None
    pasts: list[tuple[int, bytes]] = field(default_factory=list)
    done: int = 0
    left_out: Mapping[tuple[str, str], int] = field(default_factory=dict)
    incomplete: int = 0


@dataclass(frozen=True, slots=True)
class WhichPast:
    """Which events of which customers."""

    since_micros: int
    until_micros: int
    types: Sequence[str]
    bare: Sequence[str]
    shard: int = 0
    shards: int = 1
    sample: int = 0


class History(Protocol):
    """The profile service's account of the past."""

    def replay(self, which: WhichPast) -> AsyncIterator[Piece]:
        """Customer after customer. Raises UnavailableError."""
        ...

    async def moments(self, asked: Sequence[Moment]) -> Mapping[Moment, bytes]:
        """Snapshots of customers, each at a time; empty: nothing was known. Raises UnavailableError."""
        ...


@dataclass(frozen=True, slots=True)
class Tried:
    """An action shown to the gates, and when."""

    key: str
    message: bytes
    micros: int


@dataclass(frozen=True, slots=True)
class Judged:
    """What the gates said. ``until_micros``: when it could pass; ``waits``: it would be kept until then."""

    passed: bool
    channel: str
    reason: str = ""
    detail: str = ""
    until_micros: int = 0
    waits: bool = False


class OpenGates(Protocol):
    """One world's gates; what passes counts for what comes later."""

    async def judge(self, tried: Sequence[Tried]) -> Sequence[Judged]:
        """In order of time, at most MOST_TRIED. Raises UnavailableError."""
        ...


class GatesOfSimulation(Protocol):
    """The channel service's gates, for what is imagined."""

    def open(self) -> AbstractAsyncContextManager[OpenGates]:
        """A new world."""
        ...


class Process(Protocol):
    """A process of the simulation, as `simulation_bench` answers."""

    async def set_up(self, job: str, *arguments: Any) -> Any:
        """A job that is run again after a restart."""
        ...

    async def call(self, job: str, *arguments: Any) -> Any:
        """One job. Raises EngineDiedError."""
        ...

    async def close(self) -> None:
        """Ends it."""
        ...


class Known(Protocol):
    """What live decisions left behind before the simulated time."""

    async def before(self, customers: Sequence[int], micros: int) -> Mapping[int, Account]:
        """Arms, and slots and conversations taken before then; whoever has none is left out."""
        ...


@dataclass(frozen=True, slots=True)
class KeptSimulation:
    """A result as stored; ``result`` is JSON. Times in micros."""

    simulation_id: str
    caller: str
    created_micros: int
    rule_sets: tuple[str, ...]
    since_micros: int
    until_micros: int
    result: str = ""


class Simulations(Protocol):
    """Results as stored."""

    async def keep(self, kept: KeptSimulation) -> None:
        """Stores one, with an audit entry."""
        ...

    async def find(self, simulation_id: str) -> KeptSimulation | None:
        """One with its result."""
        ...

    async def page(self, before: int, size: int) -> list[tuple[int, KeptSimulation]]:
        """Newest first, each with its number, without results; ``before``: the last one seen, 0: none."""
        ...
