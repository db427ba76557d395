"""Workers stand still past AckWait while others take their batches, and then go on: nothing is doubled."""

import dataclasses
import datetime as dt
import signal
import time
from contextlib import ExitStack, contextmanager

import pytest

from services.cli.stack.options import SERVICES
from services.runtime.streams import ACK_WAIT_SECONDS
from tests.system.conftest import until
from tests.system.crash.books import open_database, read_books, totals_now
from tests.system.crash.reconcile import reconcile
from tests.system.crash.run import feed_evenly, move_clock, settle
from tests.system.crash.second import second_worker
from tests.system.crash.town import SURVEY_AFTER, make_town

AGAINST_THE_ROAD = ("profile", "channel", "decision")
HOUR = dt.timedelta(hours=1)


@contextmanager
def no_message_taken(counted, service):
    """Holds a lock that every batch of the service's workers needs in the middle of its transaction."""
    with open_database(counted.stack, service) as session, session.transaction():
        session.execute("LOCK TABLE taken_message IN EXCLUSIVE MODE")
        yield


def held_up(counted, service):
    """How many batches stand before that lock."""
    with open_database(counted.stack, service) as session:
        (number,) = session.execute(
            "SELECT count(*) FROM pg_stat_activity WHERE wait_event_type = 'Lock' AND usename = current_user"
        ).fetchone()
    return number


def pending(counted, service):
    """How much waits on the service's stream; -1 while it does not answer."""
    told = counted.progress()[service]
    return -1 if told.failure else told.stream_pending


@pytest.mark.timeout(300)
def test_workers_that_stand_still_with_their_batches_double_nothing(counted):
    noon = counted.noon()
    town = make_town(noon, events=1_200, seed=11)
    third = len(town.events) // 3
    before = totals_now(counted)
    with ExitStack() as running, ExitStack() as locks:
        for part, service in enumerate(AGAINST_THE_ROAD):
            locks.enter_context(no_message_taken(counted, service))
            end = len(town.events) if service == "decision" else (part + 1) * third
            feed_evenly(counted, dataclasses.replace(town, events=town.events[part * third : end]), seconds=0)
            until(lambda service=service: held_up(counted, service))
        # what comes in meanwhile is in the hands of the first workers, as there are no others yet
        first = [running.enter_context(second_worker(counted, service)) for service in SERVICES]
        for worker in first:
            worker.send(signal.SIGSTOP)
        stopped, waiting = time.monotonic(), pending(counted, "decision")
        locks.close()
        until(lambda: 0 <= pending(counted, "decision") < waiting, seconds=ACK_WAIT_SECONDS + 60)
        assert time.monotonic() - stopped > ACK_WAIT_SECONDS / 2
        for worker in first:
            assert worker.alive
            worker.send(signal.SIGCONT)
        settle(counted)
    move_clock(counted, noon + SURVEY_AFTER + 2 * HOUR, seconds=0)
    settle(counted)
    account = reconcile(read_books(counted, town, before))
    assert account.holds, account.table()
