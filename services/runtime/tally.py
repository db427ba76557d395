"""The work on a batch of stream messages, counted and traced, with what became of its items."""

import asyncio
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from contextvars import ContextVar
from dataclasses import dataclass, field

from services.runtime import metrics
from services.runtime.database import Transaction
from services.runtime.tracing import CONSUMER, spans


@dataclass(slots=True, eq=False)
class Tally:
    """Of one batch: messages that had been taken before, and how many items were set aside."""

    repeated: set[str] = field(default_factory=set)
    set_aside: int = 0


_tally: ContextVar[Tally | None] = ContextVar("tally", default=None)


@contextmanager
def observed_batch(stream: str, traces: Mapping[int, str], items: Mapping[str, int]) -> Iterator[None]:
    """Trace and count the work on a batch; only work that succeeds is counted.

    `traces`: the traceparent that each partition's message came with; `items`: how many items each message
    holds, by key.
    """
    loop = asyncio.get_running_loop()
    began = loop.time()
    tally = Tally()
    token = _tally.set(tally)
    about: dict[str, str | int] = {
        "messaging.system": "nats",
        "messaging.destination.name": stream,
        "messaging.batch.message_count": len(items),
    }
    try:
        with spans(f"{stream} process", traces, kind=CONSUMER, attributes=about, by_partition=True):
            yield
    finally:
        _tally.reset(token)
    total = sum(items.values())
    repeated = sum(items.get(key, 0) for key in tally.repeated)
    done = max(total - repeated - tally.set_aside, 0)
    metrics.BATCH_SECONDS.labels(stream).observe(loop.time() - began)
    metrics.BATCH_ITEMS.labels(stream).observe(total)
    for outcome, count in (("done", done), ("set_aside", tally.set_aside), ("repeated", repeated)):
        if count:
            metrics.ITEMS.labels(stream, outcome).inc(count)


def note_repeated(keys: set[str]) -> None:
    """These messages were taken before."""
    tally = _tally.get()
    if tally is not None:
        tally.repeated = keys


def note_set_aside(transaction: Transaction) -> None:
    """An item was set aside, if the transaction is committed."""
    tally = _tally.get()
    if tally is None:
        return

    def note() -> None:
        tally.set_aside += 1

    transaction.after_commit(note)
