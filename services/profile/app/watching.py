"""Customers that somebody watches, looked at for all watchers together: events cost nothing more for it."""

import asyncio
from collections import Counter
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from dataclasses import dataclass, field

from services.profile.app.ports import ProfileStore
from services.runtime.errors import UnavailableError

EVERY_SECONDS = 0.5
ALL_AGAIN_SECONDS = 60.0
"""So often everybody counts as changed: consents and traits also end by themselves."""
_AT_ONCE = 5_000


@dataclass(slots=True, eq=False)
class Watch:
    """What one reader watches; what changed while nobody waited is kept, once for each customer."""

    customers: Counter[int] = field(default_factory=Counter)
    _changed: set[int] = field(default_factory=set)
    _woken: asyncio.Event = field(default_factory=asyncio.Event)

    def follow(self, customer: int) -> None:
        """Watch this customer too; 0: someone whom nobody knows yet, looked for now and then."""
        self.customers[customer] += 1

    def leave(self, customer: int) -> None:
        """Watch this customer no more."""
        self.customers[customer] -= 1
        if not self.customers[customer]:
            del self.customers[customer]

    async def changed(self) -> set[int]:
        """Wait until some changed, or may have; gives each once, however often."""
        await self._woken.wait()
        self._woken.clear()
        changed, self._changed = self._changed, set()
        return changed

    def wake(self, customers: set[int]) -> None:
        """Some of these changed."""
        mine = self.customers.keys() & customers
        if mine:
            self._changed |= mine
            self._woken.set()


class Watching:
    """One for a process."""

    def __init__(
        self,
        store: ProfileStore,
        *,
        every_seconds: float = EVERY_SECONDS,
        all_again_seconds: float = ALL_AGAIN_SECONDS,
    ) -> None:
        self._store = store
        self._every = every_seconds
        self._rounds = max(1, round(all_again_seconds / every_seconds))
        self._watches: set[Watch] = set()
        self._versions: dict[int, tuple[int, int]] = {}

    @contextmanager
    def open(self) -> Iterator[Watch]:
        """A watch that lasts as long as the block."""
        watch = Watch()
        self._watches.add(watch)
        try:
            yield watch
        finally:
            self._watches.discard(watch)

    async def run(self) -> None:
        """Look at intervals until cancelled."""
        number = 0
        while True:
            number += 1
            with suppress(UnavailableError):  # the next look finds what changed meanwhile
                await self.look(again=number % self._rounds == 0)
            await asyncio.sleep(self._every)

    async def look(self, *, again: bool = False) -> None:
        """Wake those whose customers were written since the last look; `again`: all of them."""
        watched = sorted({customer for watch in self._watches for customer in watch.customers})
        found: dict[int, tuple[int, int]] = {}
        for at in range(0, len(watched), _AT_ONCE):
            async with self._store.work() as work:
                found |= await work.versions(watched[at : at + _AT_ONCE])
        before, self._versions = self._versions, found
        changed = {customer for customer in watched if again or before.get(customer) != found.get(customer)}
        if changed:
            for watch in self._watches:
                watch.wake(changed)
