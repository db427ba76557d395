"""What a replay of the past needs from outside; nothing of it writes."""

from collections.abc import Collection, Mapping, Sequence
from contextlib import AbstractAsyncContextManager
from typing import Protocol

from services.profile.app.ports import Packer, TakenEvent, ThingKey
from services.profile.domain.customer import Customer
from services.profile.domain.replaying import KeptRow, Life


class PastPacker(Packer, Protocol):
    """Packs snapshots as for live events, and gives customers the form that they have between two batches."""

    def nobody(self, customer: int) -> Customer:
        """A customer of whom nothing happened yet."""
        ...

    def touched(self, customer: Customer, event_type: str) -> None:
        """Activity of a type changed."""
        ...

    def settle(self, customer: Customer) -> None:
        """Give the customer the form in which they would be read after a batch was written."""
        ...

    def batches(self, taken: Sequence[TakenEvent]) -> list[tuple[int, bytes]]:
        """The events in order as messages for EVENTS, each with the number of its events."""
        ...


class PastWork(Protocol):
    """One transaction that reads."""

    async def roots(self, after: int, shard: int, shards: int, most: int) -> list[tuple[int, int]]:
        """The next customers of a share who are not merged into another, with their numbers of events."""
        ...

    async def roots_of(self, customers: Collection[int]) -> dict[int, int]:
        """Who these customers are today; unknown ones are left out."""
        ...

    async def count_roots(self, after: int, shard: int, shards: int) -> int:
        """How many customers of a share were not merged into another."""
        ...

    async def count_erased(self) -> int:
        """How many persons were erased."""
        ...

    async def lives(self, roots: Collection[int]) -> dict[int, Life]:
        """All that is kept of these customers, and of all that were merged into them, by id."""
        ...

    async def past_things(self, keys: Collection[ThingKey]) -> Mapping[ThingKey, list[KeptRow]]:
        """The kept events of things, by sequence."""
        ...

    async def thing_events(
        self, types: Collection[str], since_micros: int, until_micros: int
    ) -> list[KeptRow]:
        """Kept events about things that happened then, in the order in which they were accepted."""
        ...


class PastStore(Protocol):
    """Where the past is kept."""

    def work(self) -> AbstractAsyncContextManager[PastWork]:
        """A transaction."""
        ...
