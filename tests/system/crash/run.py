"""One crash run: events streamed evenly while parts break, then quiet, then the account."""

import asyncio
import datetime as dt
import os
import threading
import time
from collections.abc import Callable
from contextlib import AbstractContextManager

import grpc

from services.cli.connections import connected
from services.cli.feed import Feeder, FeedReport, advance, read_events
from services.cli.patience import is_away
from services.cli.quiet import wait_quiet
from tests.system.conftest import Rapport, lines, until
from tests.system.crash.books import read_books, totals_now
from tests.system.crash.disasters import runs, wait_all_run
from tests.system.crash.reconcile import Reconciliation, reconcile
from tests.system.crash.town import SURVEY_AFTER, Town, make_town

ATTEMPTS = 5
BATCH = 50
"""Events sent at a time, so that a stream of 20,000 has 400 moments at which it can break."""


def run(
    rapport: Rapport,
    *,
    events: int,
    seconds: float,
    seed: int,
    breaking: Callable[[], AbstractContextManager[object]],
    feed_from: Rapport | None = None,
) -> Reconciliation:
    """Feeds a town over about so many seconds inside `breaking`, lets its surveys fall due, and reconciles.

    Two callers send all of it at the same time, as one does that does not wait for an answer.
    `feed_from`: where the feeder finds the services, if not at the stack itself (behind proxies).
    """
    noon = rapport.noon()
    town = make_town(noon, events=events, seed=seed)
    before = totals_now(rapport)
    with breaking():
        feed_evenly(feed_from or rapport, town, seconds=seconds * 0.8, callers=2)
        move_clock(rapport, noon + SURVEY_AFTER + dt.timedelta(hours=2), seconds=seconds * 0.2)
    wait_all_run(rapport)
    settle(rapport)
    return reconcile(read_books(rapport, town, before))


def feed_evenly(rapport: Rapport, town: Town, *, seconds: float, callers: int = 1) -> None:
    """Streams the town's events evenly, whatever breaks; every caller must have all of them acknowledged."""

    async def feed() -> None:
        # in one loop: gRPC's asyncio serves one at a time
        await asyncio.gather(*(_feed(rapport, town, seconds) for _ in range(callers)))

    asyncio.run(feed())


async def _feed(rapport: Rapport, town: Town, seconds: float) -> None:
    """Goes on where it was also when the whole stack was away for longer than the feeder waits."""
    report = FeedReport()
    told = list(read_events(lines(town.events).splitlines(), report))
    batches = [list(told[at : at + BATCH]) for at in range(0, len(told), BATCH)]
    loop = asyncio.get_running_loop()
    began = loop.time()
    stream_id = f"crash-{os.urandom(6).hex()}"
    async with connected(rapport.folder) as connections:
        for attempts_left in reversed(range(ATTEMPTS)):
            try:
                async with Feeder(connections, stream_id, report, history=False) as feeder:
                    for number, batch in enumerate(batches):
                        await asyncio.sleep(max(0.0, began + seconds * number / len(batches) - loop.time()))
                        await feeder.send(batch)
            except grpc.aio.AioRpcError as error:
                if not (attempts_left and is_away(error)):
                    raise
            else:
                break
    assert not report.rejections, report.rejections[:3]


def move_clock(rapport: Rapport, to: dt.datetime, *, seconds: float) -> None:
    """Lets business time go on to where everything planned is due, then waits for so long."""
    began = time.monotonic()
    micros = round(to.timestamp() * 1_000_000)

    async def go() -> None:
        async with connected(rapport.folder) as connections:
            await advance(connections, micros)

    until(lambda: runs(rapport), seconds=120)
    asyncio.run(go())
    threading.Event().wait(max(0.0, began + seconds - time.monotonic()))


def settle(rapport: Rapport) -> None:
    """Returns once nothing is on its way any more, receipts included."""

    async def wait() -> None:
        async with connected(rapport.folder) as connections:
            await wait_quiet(connections, receipts=True)

    asyncio.run(wait())
