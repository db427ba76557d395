"""A consumer stops while callers push as hard as they can: they are slowed, memory stays, nothing is lost."""

import asyncio
import signal
import threading
from collections import Counter
from contextlib import contextmanager
from pathlib import Path

import grpc
import pytest
from rapport.profile.v1 import profile_pb2

from services.cli.cloudevents import event_from_line
from services.cli.connections import connected
from services.cli.stack.options import ROLES
from services.runtime.status import read_failure
from tests.system.conftest import RULE_SETS, event, lines, new_number, person

OUTBOX, STREAM = 300, 400
"""Messages that may wait; a batch of 500 events makes up to 64."""
MOST = 2_000
"""Messages that wait when all is counted that was on its way when the limits were passed; without limits it
would be 20,000."""
GROWTH = 160 << 20
"""Bytes that a role may grow by: pools and caches that fill, and 16 MiB of requests in several shapes."""
PUSHERS, BATCHES = 24, 12


@pytest.fixture(scope="module")
def narrow(make_stack):
    """A stack in which little may wait, and whose roles may hang as long as they like.

    On the wall's clock a feeder does not wait for quiet of itself.
    """
    return make_stack(
        rule_sets=RULE_SETS,
        start=None,
        liveness_seconds=0,
        settings={
            "backlog_outbox_messages": str(OUTBOX),
            "backlog_stream_messages": str(STREAM),
            "ingest_bytes": str(16 << 20),
        },
    )


def resident(rapport):
    """Resident bytes of each role, the engine's process left out."""
    found = {}
    for role in ROLES:
        status = Path(f"/proc/{rapport.birth(role).pid}/status").read_text(encoding="ascii")
        found[role] = int(status.split("VmRSS:")[1].split()[0]) << 10
    return found


@contextmanager
def highest_resident(rapport):
    """The most that each role held while the block ran."""
    most = Counter(resident(rapport))
    over = threading.Event()

    def look():
        while not over.wait(0.1):
            for role, size in resident(rapport).items():
                most[role] = max(most[role], size)

    thread = threading.Thread(target=look)
    thread.start()
    try:
        yield most
    finally:
        over.set()
        thread.join()


@contextmanager
def stopped(rapport, role):
    birth = rapport.birth(role)
    birth.send(signal.SIGSTOP)
    try:
        yield
    finally:
        birth.send(signal.SIGCONT)


def usage(now, subject):
    return event("usage.data_used", now, subject, {"mb": 1})


async def push(rapport, now, refusals):
    """Each pusher sends its batches without a pause, the refused ones too; how many events were taken."""
    async with connected(rapport.folder) as connections:

        async def one():
            taken = 0
            subjects = [f"msisdn:{new_number()}" for _ in range(20)]
            for _ in range(BATCHES):
                told = [usage(now, subjects[number % 20]) for number in range(500)]
                events = [event_from_line(line) for line in lines(told).splitlines()]
                request = profile_pb2.IngestEventsRequest(events=events)
                try:
                    answer = await connections.profile.IngestEvents(request, timeout=60)
                except grpc.aio.AioRpcError as error:
                    refusals.append(read_failure(error))
                else:
                    assert {one.status for one in answer.results} == {profile_pb2.INGEST_STATUS_ACCEPTED}
                    taken += len(events)
            return taken

        return sum(await asyncio.gather(*(one() for _ in range(PUSHERS))))


async def end_of_a_stream(rapport, now):
    """What a stream is told in the end that finds no room."""
    async with connected(rapport.folder) as connections:
        call = connections.profile.StreamEvents()
        opening = profile_pb2.OpenStream(stream_id=new_number())
        await call.write(profile_pb2.StreamEventsRequest(open=opening))
        assert (await call.read()).acknowledged_sequence == 0
        batch = profile_pb2.StreamBatch(first_sequence=1)
        batch.events.append(event_from_line(lines([usage(now, f"msisdn:{new_number()}")])))
        await call.write(profile_pb2.StreamEventsRequest(batch=batch))
        with pytest.raises(grpc.aio.AioRpcError) as raised:
            await call.read()
        return read_failure(raised.value)


@pytest.mark.timeout(400)
def test_callers_are_slowed_before_memory_grows_and_all_that_was_taken_is_done(narrow, tmp_path):
    now = narrow.progress()["profile"].business_time
    before = {name: told.totals for name, told in narrow.progress().items()}

    def since(service, name):
        return narrow.total(service, name) - before[service].get(name, 0)

    subjects = [f"msisdn:{new_number()}" for _ in range(100)]
    fed = [told for subject in subjects for told in person(now, subject)]
    fed += [usage(now, subjects[number % 100]) for number in range(8_000)]
    file = tmp_path / "events.ndjson"
    file.write_bytes(lines(fed))
    refusals = []
    with narrow.running("ingest", str(file), "--wait", "--json") as feeder:
        with stopped(narrow, "decision-worker"), highest_resident(narrow) as most:
            began = dict(most)
            pushed = asyncio.run(push(narrow, now, refusals))
            # the feeder's stream was there before, and so has come to its end too
            refusals.append(asyncio.run(end_of_a_stream(narrow, now)))
            held = narrow.progress()
            assert held["decision"].stream_pending + held["profile"].outbox_pending <= MOST
            assert feeder.poll() is None, "the feeder waits for room"
        told, errors = feeder.communicate(timeout=240)
    assert len(overloaded(refusals)) > 1, Counter(failure.reason for failure in refusals)
    assert all(failure.retry_seconds for failure in refusals), refusals[:3]
    assert {failure.status for failure in refusals} == {grpc.StatusCode.RESOURCE_EXHAUSTED}
    grown = {role: most[role] - began[role] for role in ROLES}
    assert max(grown.values()) < GROWTH, grown
    assert feeder.returncode == 0, errors
    assert '"rests":0' not in told, "the feeder was never told to wait"
    taken = since("profile", "events.accepted")
    assert taken == len(fed) + pushed
    assert since("decision", "events.seen") == taken + since("profile", "events.own")
    assert {told.dead_letters for told in narrow.progress().values()} == {0}


def overloaded(refusals):
    return [failure for failure in refusals if failure.reason == "OVERLOADED"]
