"""What a role says about itself: readiness, liveness, one name for each thing that it depends on."""

import asyncio

import pytest
import structlog.testing

from services.runtime import health as health_module
from services.runtime import metrics
from services.runtime.errors import UnavailableError
from services.runtime.health import Health, reason_of
from services.runtime.pulse import promised


@pytest.fixture
async def health():
    return Health()


@pytest.fixture
def at_once(monkeypatch):
    """Checks follow each other without a pause, and are given up at once."""
    monkeypatch.setattr(health_module, "EVERY_SECONDS", 0.0)
    monkeypatch.setattr(health_module, "CHECK_SECONDS", 0.05)


async def until(holds):
    async with asyncio.timeout(5):
        while not holds():  # noqa: ASYNC110 - a condition of a state, not an event
            await asyncio.sleep(0)


async def test_a_role_is_ready_when_it_is_built_and_nothing_needed_is_missing(health):
    assert not health.ready
    health.expect("database")
    health.expect("smsc", needed=False)
    health.built()
    assert not health.ready
    assert health.missing == ["database", "smsc"]
    health.tell("database", up=True)
    assert health.ready
    assert health.missing == ["smsc"]
    assert [health.serving(name) for name in ("", "ready", "database", "smsc", "live")] == [
        True,
        True,
        True,
        False,
        True,
    ]
    assert health.serving("tape-robot") is None


async def test_a_lost_dependency_makes_not_ready_and_leaves_the_role_alive(health):
    health.expect("database")
    health.built()
    health.tell("database", up=True)
    health.tell("database", up=False, why="gone")
    assert not health.serving("ready")
    assert not health.serving("database")
    assert health.serving("live")


async def test_a_drain_ends_readiness_for_good(health):
    health.expect("database")
    health.built()
    health.tell("database", up=True)
    health.drain()
    assert not health.ready
    health.tell("database", up=False)
    health.tell("database", up=True)
    assert not health.ready
    assert health.serving("live")


async def test_changes_are_logged_once_and_counted(health):
    with structlog.testing.capture_logs() as lines:
        health.expect("nats")
        health.built()
        for _ in range(3):
            health.tell("nats", up=False, why="no answer within 2 s")
        health.tell("nats", up=True)
        health.tell("nats", up=True)
    assert [line["event"] for line in lines] == ["dependency_missing", "dependency_answers", "role_ready"]
    assert lines[0]["why"] == "no answer within 2 s"
    scraped = metrics.exposition("test", "worker").decode()
    assert 'rapport_dependency_up{dependency="nats",role="worker",service="test"} 1.0' in scraped
    assert 'rapport_ready{role="worker",service="test"} 1.0' in scraped


@pytest.mark.usefixtures("at_once")
async def test_one_failed_check_is_a_hiccup_and_two_are_not(health):
    answers = iter([True, False, True, False, False])
    asked = 0

    async def check():
        nonlocal asked
        asked += 1
        answer = next(answers, None)
        if answer is None:
            await asyncio.Event().wait()
        if not answer:
            raise UnavailableError("away")

    health.expect("database")
    seen = []

    def tell(_name, *, up, why=""):
        seen.append((up, why))

    health.tell = tell
    asking = asyncio.create_task(health.keep_asking("database", check))
    await until(lambda: asked > 5)
    asking.cancel()
    await asyncio.gather(asking, return_exceptions=True)
    assert seen[:3] == [(True, ""), (True, ""), (False, "away")]


@pytest.mark.usefixtures("at_once")
async def test_a_check_that_does_not_answer_has_failed_and_is_not_asked_twice_at_once(health):
    running = most = 0

    async def check():
        nonlocal running, most
        running += 1
        most = max(most, running)
        try:
            await asyncio.Event().wait()
        except asyncio.CancelledError:
            await asyncio.sleep(0.2)  # slow to end, as a database that hangs
            raise
        finally:
            running -= 1

    health.expect("database")
    health.tell("database", up=True)
    asking = asyncio.create_task(health.keep_asking("database", check))
    await until(lambda: not health.serving("database"))
    asking.cancel()
    await asyncio.gather(asking, return_exceptions=True)
    assert most == 1


async def test_what_was_promised_and_does_not_end_counts_as_hung(health):
    hangs = asyncio.Event()

    async def task():
        health.promises.adopt()
        with promised("batch", -61):
            await hangs.wait()

    health.built()
    running = asyncio.create_task(task())
    await until(lambda: health.hung)
    assert health.hung == ["batch"]
    assert not health.serving("live")
    hangs.set()
    await running
    assert health.serving("live")


async def test_who_waits_for_what_is_missing_does_not_hang(health):
    async def task():
        health.promises.adopt()
        with promised("batch", -61):
            assert not health.hung
            health.tell("database", up=True)
            assert not health.hung, "it has only just come back"

    health.expect("database")
    health.tell("database", up=False, why="away")
    health.built()
    await asyncio.create_task(task())


async def test_outside_a_supervised_task_nobody_is_held_to_a_promise(health):
    with promised("batch", -61):
        assert not health.hung


@pytest.mark.parametrize(
    ("error", "reason"),
    [
        (
            UnavailableError("the database has not had the migrations 0002"),
            "the database has not had the migrations 0002",
        ),
        (TimeoutError(), "no answer within 2 s"),
        (ValueError("+33612345678"), "ValueError"),
    ],
)
def test_why_something_is_away_is_said_without_the_text_of_others(error, reason):
    assert reason_of(error) == reason
