"""No room left on the disk under NATS, then under PostgreSQL: refused and told, and nothing is lost."""

import os
import signal
from concurrent.futures import ThreadPoolExecutor
from contextlib import contextmanager, suppress
from uuid import uuid4

import grpc
import psycopg
import pytest
from rapport.profile.v1 import profile_pb2, profile_pb2_grpc
from rapport.types.v1 import event_pb2

from services.cli.stack.account import database_account, own_account
from services.cli.stack.postgres import ADMIN
from services.runtime.status import read_failure
from tests.system.conftest import RULE_SETS, until
from tests.system.crash.run import run
from tests.system.crash.small_disk import mount_small_disk

EVENTS = 800


@pytest.fixture(scope="module")
def disks():
    return {}


@pytest.fixture(scope="module")
def cramped(make_stack, disks):
    """A stack whose NATS and whose PostgreSQL have a small disk each."""

    def mount(var):
        disks["nats"] = mount_small_disk(var / "nats", megabytes=96, account=own_account())
        disks["postgres"] = mount_small_disk(var / "postgres", megabytes=320, account=database_account(None))
        if None in disks.values():
            pytest.skip("a disk can be made small by root only, who may mount one")

    few = {"backlog_outbox_messages": "150"}
    return make_stack(rule_sets=RULE_SETS, prepare=mount, settings=few)


@contextmanager
def beside(act):
    """Does something in a thread of its own while the block runs; its failure is raised at the end."""
    with ThreadPoolExecutor(1) as threads:
        acting = threads.submit(act)
        yield
    acting.result()


def status_of(rapport):
    """What `rapport status` says, whatever its exit code."""
    return rapport("status").stdout


def wait_first_action(rapport):
    """Returns when the feeder is at work and what it feeds comes out at the other end."""
    before = rapport.total("channel", "actions.taken")
    until(lambda: rapport.total("channel", "actions.taken") > before)


@pytest.mark.timeout(300)
def test_nats_without_room_takes_up_again_when_it_has_some(cramped, disks):
    disk = disks["nats"]

    def fill_and_give_room():
        wait_first_action(cramped)
        disk.fill()
        accepted = cramped.total("profile", "events.accepted")
        until(lambda: cramped.progress()["profile"].outbox_pending > 20)
        # what is accepted is safe in the database, so accepting goes on
        until(lambda: cramped.total("profile", "events.accepted") > accepted)
        # until too much waits there
        until(lambda: "see that NATS runs and has room on its disk" in why_no_event_is_taken(cramped))
        assert f"the disk of NATS is full: free space in {disk.folder}" in status_of(cramped)
        restarts = cramped.stack.program("nats").restarts
        disk.give_room()
        until(lambda: cramped.stack.program("nats").restarts > restarts)
        assert "is full" not in status_of(cramped)

    result = run(cramped, events=EVENTS, seconds=8, seed=1, breaking=lambda: beside(fill_and_give_room))
    assert result.holds, result.table()


@pytest.mark.timeout(300)
def test_postgresql_without_room_refuses_and_takes_up_again_when_it_has_some(cramped, disks):
    disk = disks["postgres"]

    def fill_and_give_room():
        wait_first_action(cramped)
        disk.fill()
        try:
            until(lambda: refusal(cramped) == "STORAGE_FULL")
            assert f"the disk of PostgreSQL is full: free space in {disk.folder}" in status_of(cramped)
            # worse: it cannot write its log of changes either and gives up, or (where old files of that log
            # had room) ends in the middle; and it cannot start again
            restarts = cramped.stack.program("postgres").restarts
            write_much(cramped)
            end_at_once(cramped)
            until(lambda: cramped.stack.program("postgres").restarts > restarts)
        finally:
            disk.give_room()

    result = run(cramped, events=EVENTS, seconds=8, seed=2, breaking=lambda: beside(fill_and_give_room))
    assert result.holds, result.table()


def why_no_event_is_taken(rapport):
    """Why no event is taken just now; "" when they are (what is asked with is none, and changes nothing)."""
    request = profile_pb2.IngestEventsRequest(events=[event_pb2.Event(id="no event", source="no system")])
    with rapport.grpc_channel("profile") as grpc_channel:
        try:
            profile_pb2_grpc.ProfileServiceStub(grpc_channel).IngestEvents(request, timeout=10)
        except grpc.RpcError as error:
            return read_failure(error).message
    return ""


def write_much(rapport):
    """Has the log of changes go on to a file of its own, for which there may be no room."""
    with suppress(psycopg.Error), admin(rapport) as connection:
        connection.execute("SELECT pg_logical_emit_message(false, 'g', repeat('x', 1000000))")
        connection.execute("SELECT pg_switch_wal()")


def end_at_once(rapport):
    """Ends PostgreSQL as a crash would, if it runs: nothing is written down before."""
    birth = rapport.stack.program("postgres").birth
    if birth is not None:
        with suppress(ProcessLookupError):
            os.kill(birth.pid, signal.SIGQUIT)


def refusal(rapport):
    """Why a change is refused just now; "" when it is not."""
    now = rapport.progress()["profile"].business_time
    if now is None:
        return ""
    request = profile_pb2.AdvanceClockRequest(request_id=str(uuid4()))
    request.time.FromDatetime(now)
    with rapport.grpc_channel("profile") as grpc_channel:
        try:
            profile_pb2_grpc.ProfileServiceStub(grpc_channel).AdvanceClock(request, timeout=10)
        except grpc.RpcError as error:
            return read_failure(error).reason
    return ""


def admin(rapport):
    stack = rapport.stack
    return psycopg.connect(
        host=str(stack.database_socket),
        user=ADMIN,
        dbname="postgres",
        password=stack.layout.secret("database-admin").read_text(encoding="utf-8").strip(),
        connect_timeout=10,
        autocommit=True,
    )
