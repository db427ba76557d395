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
def asked_to_end_in_turn(rapport):
    """SIGTERM to each role; the next when the one before is back. Leaves when all are."""
    failures = []

    def go():
        try:
            for role in ROLES:
                restarts = rapport.stack.program(role).restarts
                rapport.birth(role).send(signal.SIGTERM)
                until(lambda role=role, restarts=restarts: is_back(rapport, role, restarts), seconds=90)
        except Exception as error:  # noqa: BLE001 - told below
            failures.append(error)

    thread = threading.Thread(target=go, name="asking")
    thread.start()
    yield
    thread.join()
    assert not failures, failures


def is_back(rapport, role, restarts):
    program = rapport.stack.program(role)
    return program.restarts > restarts and program.state == "running"


def sizes(rapport):
    return {role: rapport.layout.log(role).stat().st_size for role in ROLES}


def logged(rapport, role, start):
    """What the role has logged since its log had this size."""
    with rapport.layout.log(role).open("rb") as file:
        file.seek(start)
        return [json.loads(line) for line in file if line.startswith(b"{")]


@pytest.mark.timeout(400)
def test_roles_that_end_and_come_back_in_turn_lose_double_and_cut_off_nothing(rapport):
    start = sizes(rapport)
    account = run(rapport, events=1_500, seconds=20, seed=7, breaking=lambda: asked_to_end_in_turn(rapport))
    assert account.holds, account.table()
    assert account.ambiguous == [], "a hand-over was broken off in the middle"
    for role in ROLES:
        told = [line.get("event") for line in logged(rapport, role, start[role])]
        assert told.count("stopping") == 1, role
        assert not CUT_OFF & set(told), role
