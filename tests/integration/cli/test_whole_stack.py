"""`rapport up` with everything: the three services come up beside their servers, and back after a kill."""

import os
import signal
from pathlib import Path

import pytest

from services.cli.stack.options import PROGRAM_NAMES, SERVICES
from services.cli.stack.progress import read_progress
from services.cli.stack.state import find_stack
from tests.integration.cli.conftest import ROLES, until


@pytest.fixture(scope="module")
def whole(make_rapport):
    """The command on a folder in which everything runs, on the clock of events."""
    rapport = make_rapport()
    done = rapport.run("up", "--clock", "events", "--start", "2026-10-01T06:00:00Z")
    assert done.returncode == 0, done.stderr
    assert "2026-10-01 06:00:00 UTC" in done.stdout
    return rapport


def test_everything_runs_and_answers(whole):
    assert whole.run("status").returncode == 0
    told = whole.status()
    assert sorted(program["name"] for program in told["programs"]) == sorted(PROGRAM_NAMES)
    assert {service["service"] for service in told["services"]} == set(SERVICES)


def test_all_services_follow_the_one_clock(whole):
    stack = find_stack(whole.folder)
    until(lambda: all(told.business_time is not None for told in read_progress(stack)))
    assert {f"{told.business_time:%Y-%m-%dT%H:%M}" for told in read_progress(stack)} == {"2026-10-01T06:00"}


@pytest.mark.parametrize("name", ROLES)
def test_a_killed_role_comes_back(whole, name):
    before = whole.program(name)
    os.kill(before["pid"], signal.SIGKILL)
    until(lambda: whole.program(name)["restarts"] > before["restarts"], seconds=60)
    until(lambda: whole.run("status").returncode == 0, seconds=60)
    assert whole.program(name)["pid"] != before["pid"]


def test_no_password_of_a_service_on_a_command_line_or_in_an_environment(whole):
    secrets = [path.read_bytes().strip() for path in (whole.folder / "secrets").iterdir()]
    told = whole.status()
    for program in told["programs"]:
        for name in ("cmdline", "environ"):
            text = Path(f"/proc/{program['pid']}/{name}").read_bytes()
            assert not [secret for secret in secrets if secret in text], program["name"]


def test_down_leaves_no_process_of_any_service(make_rapport):
    rapport = make_rapport()
    assert rapport.run("up").returncode == 0
    assert len(rapport.processes()) > len(PROGRAM_NAMES)
    done = rapport.run("down")
    assert done.returncode == 0, done.stderr
    assert rapport.processes() == {}
