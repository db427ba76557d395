"""Roles are asked to end one after the other, as an upgrade does, while events come: nobody notices."""

import json
import signal
import threading
from contextlib import contextmanager

import pytest

from services.cli.stack.options import ROLES
from tests.system.conftest import until
from tests.system.crash.run import run

CUT_OFF = {"task_cut_off", "drain_overran", "drain_failed", "close_failed", "ended_at_once"}


@contextmanager
def asked_to_end_in_turn(counted):
    """SIGTERM to each role; the next when the one before is back. Leaves when all are."""
    failures = []

    def go():
        try:
            for role in ROLES:
                restarts = counted.stack.program(role).restarts
                counted.birth(role).send(signal.SIGTERM)
                until(lambda role=role, restarts=restarts: is_back(counted, role, restarts), seconds=90)
        except Exception as error:  # noqa: BLE001 - told below
            failures.append(error)

    thread = threading.Thread(target=go, name="asking")
    thread.start()
    yield
    thread.join()
    assert not failures, failures


def is_back(counted, role, restarts):
    program = counted.stack.program(role)
    return program.restarts > restarts and program.state == "running"


def sizes(counted):
    return {role: counted.layout.log(role).stat().st_size for role in ROLES}


def logged(counted, role, start):
    """What the role has logged since its log had this size."""
    with counted.layout.log(role).open("rb") as file:
        file.seek(start)
        return [json.loads(line) for line in file if line.startswith(b"{")]


@pytest.mark.timeout(400)
def test_roles_that_end_and_come_back_in_turn_lose_double_and_cut_off_nothing(counted):
    start = sizes(counted)
    account = run(counted, events=1_500, seconds=20, seed=7, breaking=lambda: asked_to_end_in_turn(counted))
    assert account.holds, account.table()
    assert account.ambiguous == [], "a hand-over was broken off in the middle"
    for role in ROLES:
        told = [line.get("event") for line in logged(counted, role, start[role])]
        assert told.count("stopping") == 1, role
        assert not CUT_OFF & set(told), role
