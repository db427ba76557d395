"""Processor time by program, as /proc tells it."""

import os
from pathlib import Path

import pytest

from bench.cost import TICKS, ProcessCost, cost_by_program, cost_table, read_process, spent


def process(pid, parent, own=0, reaped=0, title=""):
    return ProcessCost(pid, parent, own * TICKS, reaped * TICKS, title)


def test_a_program_costs_what_its_descendants_cost():
    processes = [
        process(1, 0, own=50),
        process(10, 1, own=2),
        process(11, 10, own=3, reaped=4),
        process(12, 11, own=5),
        process(20, 1, own=7),
    ]
    assert cost_by_program({"decision-worker": 10, "nats": 20}, processes) == {
        "decision-worker": 14,
        "nats": 7,
    }


def test_postgres_is_told_apart_by_database():
    processes = [
        process(5, 1, own=1, reaped=2, title="postgres -D cluster"),
        process(6, 5, own=3, title="postgres: walwriter "),
        process(7, 5, own=4, title="postgres: profile profile [local] idle"),
        process(8, 5, own=5, title="postgres: profile profile [local] COMMIT"),
        process(9, 5, own=6, title="postgres: channel channel [local] idle in transaction"),
        process(10, 5, own=7, title="postgres: rapport_admin postgres [local] idle"),
    ]
    assert cost_by_program({"postgres": 5}, processes, databases=("profile", "channel")) == {
        "postgres": 1 + 2 + 3 + 7,
        "postgres: profile": 9,
        "postgres: channel": 6,
    }


def test_a_program_that_is_gone_costs_nothing():
    assert cost_by_program({"smsc": 99}, [process(1, 0, own=5)]) == {"smsc": 0}


def test_spent_is_the_difference_largest_first():
    before = {"nats": 5.0, "smsc": 3.0, "gone": 2.0}
    after = {"nats": 6.0, "smsc": 5.5, "new": 1.5, "restarted": 0.0}
    assert list(spent(before, after).items()) == [
        ("smsc", 2.5),
        ("new", 1.5),
        ("nats", 1.0),
        ("restarted", 0.0),
    ]


def test_time_never_runs_backwards_when_a_process_was_restarted():
    assert spent({"smsc": 9.0}, {"smsc": 1.0}) == {"smsc": 0.0}


def test_the_table_tells_microseconds_per_event():
    lines = cost_table(
        {"profile-server": 3.0, "nats": 1.0, "idle": 0.001}, events=10_000, seconds=2.5
    ).splitlines()
    assert lines[1].split() == ["profile-server", "3.00", "300.0", "75.0%"]
    assert lines[2].split() == ["nats", "1.00", "100.0", "25.0%"]
    assert "1.60 of" in lines[-1]
    assert len(lines) == 4


def test_reads_what_the_system_tells(tmp_path):
    folder = tmp_path / "42"
    folder.mkdir()
    folder.joinpath("stat").write_text("42 (a (b) c) S 7 1 1 0 -1 0 0 0 0 0 100 20 3 4 20 0 1 0 5 0 0")
    folder.joinpath("cmdline").write_bytes(b"python\0-m\0services.profile.main\0")
    assert read_process(42, tmp_path) == ProcessCost(42, 7, 120, 7, "python -m services.profile.main")
    assert read_process(43, tmp_path) is None


@pytest.mark.skipif(not Path("/proc/self/stat").exists(), reason="there is no /proc here")
def test_reads_this_process():
    found = read_process(os.getpid())
    assert found is not None
    assert found.parent == os.getppid()
