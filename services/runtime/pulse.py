"""Tells a task that hangs from one that waits: what is begun with a promise must end in time."""

import asyncio
from collections.abc import Iterator
from contextlib import contextmanager
from contextvars import ContextVar

_promises: ContextVar["Promises | None"] = ContextVar("promises", default=None)


class Promises:
    """What the tasks of a role have begun and must end, each with the loop time at which it is overdue."""

    def __init__(self) -> None:
        self._open: dict[object, tuple[str, float]] = {}

    def adopt(self) -> None:
        """From here on, promises of this task and of those it starts are kept here."""
        _promises.set(self)

    def overdue(self, now: float) -> list[str]:
        """What should have ended before `now` (loop time), by name."""
        return sorted({name for name, until in self._open.values() if until < now})

    @contextmanager
    def made(self, name: str, seconds: float) -> Iterator[None]:
        """What is done inside must end in time."""
        key = object()
        self._open[key] = (name, asyncio.get_running_loop().time() + seconds)
        try:
            yield
        finally:
            del self._open[key]


@contextmanager
def promised(name: str, seconds: float) -> Iterator[None]:
    """What is done inside ends within so many seconds, or the role counts as hung and is started anew.

    Only for work that has limits of its own well below; outside a supervised task nobody watches.
    """
    promises = _promises.get()
    if promises is None:
        yield
        return
    with promises.made(name, seconds):
        yield
