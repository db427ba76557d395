"""A role as a real process: ready line, log lines, tasks that come back, signals, exit statuses."""

import json
import signal
import subprocess
from collections.abc import Callable
from pathlib import Path

import psycopg
import pytest
from sqlalchemy.engine import make_url

from tests.integration.runtime.conftest import Start


def read_until(process: subprocess.Popen[str], event: str) -> list[dict]:
    assert process.stderr is not None
    seen = []
    for line in process.stderr:
        seen.append(json.loads(line))
        if seen[-1].get("event") == event:
            return seen
    raise AssertionError(f"{event} was never logged; seen: {seen}")


def end(process: subprocess.Popen[str]) -> tuple[int, list[dict]]:
    process.send_signal(signal.SIGTERM)
    _, errors = process.communicate(timeout=20)
    return process.returncode, [json.loads(line) for line in errors.splitlines()]


def test_a_server_says_where_it_is_ready_and_ends_cleanly(start: Start):
    process = start("server")
    assert process.stdout is not None
    ready = json.loads(process.stdout.readline())
    assert (ready["ready"], ready["service"], ready["role"]) == (True, "small", "server")
    assert int(ready["listen"].rsplit(":", 1)[1]) > 0
    status, _ = end(process)
    assert status == 0


def test_a_worker_brings_a_failed_task_back_and_drains_at_the_end(start: Start):
    process = start("worker")
    before = read_until(process, "restless_runs")
    failures = [line for line in before if line["event"] == "task_failed"]
    assert [line["failures"] for line in failures] == [1, 2]
    assert {line["error"] for line in failures} == {"ValueError"}
    assert before[-1]["tries"] == 3
    status, after = end(process)
    assert status == 0
    assert [line["event"] for line in after if line["event"] in {"drained", "closed"}] == [
        "drained",
        "closed",
    ]
    assert {(line["service"], line["role"]) for line in before + after} == {("small", "worker")}
    assert "+336" not in json.dumps(before)


def test_a_role_that_cannot_be_built_says_so_without_personal_text(start: Start):
    process = start("broken")
    output, errors = process.communicate(timeout=20)
    assert process.returncode == 1
    assert output == ""
    lines = [json.loads(line) for line in errors.splitlines()]
    assert lines[0]["event"] == "role_did_not_start"
    assert any("build_broken_role" in frame for frame in lines[0]["frames"])
    assert "example.org" not in errors


def test_a_role_that_cannot_go_on_ends_as_failed(start: Start):
    process = start("stuck")
    process.communicate(timeout=20)
    assert process.returncode == 1


@pytest.mark.parametrize("arguments", [(), ("nonsense",), ("server", "more")])
def test_wrong_arguments_show_the_usage(start: Start, arguments: tuple[str, ...]):
    process = start(*arguments)
    _, errors = process.communicate(timeout=20)
    assert process.returncode == 2
    assert "server|worker|broken|stuck|migrate" in errors


def test_a_setting_that_is_wrong_is_named(start: Start):
    process = start("server", clock="sundial")
    _, errors = process.communicate(timeout=20)
    assert process.returncode == 2
    assert "RAPPORT_CLOCK" in errors


def test_migrate_brings_the_database_to_its_newest_shape(
    start: Start, make_database: Callable[..., str], tmp_path: Path
):
    url = make_url(make_database())
    secret = tmp_path / "password"
    secret.write_text(f"{url.password}\n")
    bare = url.set(password=None).render_as_string()
    process = start("migrate", database_url=bare, database_password_file=str(secret))
    _, errors = process.communicate(timeout=30)
    assert process.returncode == 0, errors
    with psycopg.connect(
        host=str(url.query["host"]), user=url.username, password=url.password, dbname=url.database
    ) as connection:
        assert connection.execute("SELECT count(*) FROM outbox").fetchone() == (0,)
