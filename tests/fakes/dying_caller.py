"""Asks the audience of an open run in a process of its own, which is killed in the middle of its second page.

Arguments: the database's address, how many customers, the time; standard input: what calls, pickled.
"""

import asyncio
import os
import pickle
import signal
import sys
from pathlib import Path
from types import SimpleNamespace

from services.decision.adapters.handover import OutboxHandOver
from services.decision.adapters.run_store import RUNS_CHANNEL, RunStore
from services.decision.app.ask_audiences import AskAudiences
from services.runtime.clock import EventClock
from services.runtime.database import Database
from services.runtime.outbox import Outbox
from services.vocabulary.catalogue import load_catalogue
from tests.fakes.audiences import AudiencesFake, LagFake, RoomsFake


class KilledInTheSecond(OutboxHandOver):
    """Hands on the calls of one page; those of the second are written, not committed, when the end comes."""

    pages = 0

    async def called(self, transaction, calls):
        await super().called(transaction, calls)
        self.pages += 1
        if self.pages > 1:
            os.kill(os.getpid(), signal.SIGKILL)


async def main():
    url, customers, now = sys.argv[1], int(sys.argv[2]), int(sys.argv[3])
    occasions = pickle.loads(sys.stdin.buffer.read())
    database = Database(url, 2)
    asking = AskAudiences(
        database,
        EventClock(now),
        RunStore(database),
        AudiencesFake(dict.fromkeys(range(1, customers + 1), 0)),
        KilledInTheSecond(Outbox(database), 64),
        SimpleNamespace(occasions=occasions, version=1),
        LagFake(),
        RoomsFake(),
        load_catalogue(Path("rules")),
        channel=RUNS_CHANNEL,
        most=3,
    )
    while await asking.step():
        pass


if __name__ == "__main__":
    asyncio.run(main())
