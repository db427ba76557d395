"""What waits and what expires as figures: the stream by partition, the outbox, dead letters, certificates."""

import asyncio
import datetime as dt
import json
import subprocess
import sys
from pathlib import Path

import pytest
from prometheus_client.parser import text_string_to_metric_families

from services.runtime.clock import WallClock
from services.runtime.database import Database
from services.runtime.dead_letters import DeadLetters
from services.runtime.outbox import Outbox
from services.runtime.streams import EVENTS, subject
from services.runtime.watch import BacklogWatch, stream_backlog
from tests.fakes.counting import counted
from tests.fakes.trust import trust
from tests.integration.runtime.conftest import PARTITIONS, until
from tests.integration.runtime.test_scrape import get

ROOT = Path(__file__).parents[3]


async def test_what_waits_is_counted_by_partition_with_its_age(database, bus):
    for partition in (0, 0, 2):
        await bus.jetstream.publish(subject(EVENTS, partition), b"event")

    async def resend(*_):
        raise AssertionError

    outbox = Outbox(database, partitions=PARTITIONS)
    letters = DeadLetters("test", outbox, resend, partitions=PARTITIONS)
    async with database.transaction() as tx:
        await outbox.put(tx, EVENTS, [(1, b"a"), (1, b"b")])
        await letters.add(
            tx, kind="event", item_id="x", item_type="t", customer=1, payload=b"", reason="broken"
        )
        await tx.execute("UPDATE outbox SET created_at = now() - interval '90 seconds' WHERE payload = 'a'")
    watch = BacklogWatch(database, bus, EVENTS, partitions=PARTITIONS)
    await watch.look()
    seen = counted()
    assert [seen["rapport_stream_lag_messages", str(p), EVENTS] for p in range(PARTITIONS)] == [2, 0, 1, 0]
    assert 0 <= seen["rapport_stream_oldest_seconds", EVENTS] < 60
    assert seen["rapport_outbox_messages",] == 3  # one tells of the dead letter
    assert 90 <= seen["rapport_outbox_oldest_seconds",] < 150
    assert seen["rapport_dead_letters",] == 1

    later = WallClock().wall_micros() + 600_000_000
    assert 600 <= (await stream_backlog(bus, EVENTS, later)).oldest_seconds < 660
    await bus.jetstream.purge_stream(EVENTS)
    async with database.transaction() as tx:
        await tx.execute("DELETE FROM outbox")
    await watch.look()
    seen = counted()
    assert {seen["rapport_stream_lag_messages", str(p), EVENTS] for p in range(PARTITIONS)} == {0}
    assert (seen["rapport_stream_oldest_seconds", EVENTS], seen["rapport_outbox_oldest_seconds",]) == (0, 0)


async def test_a_database_that_is_away_leaves_the_stream_its_figures(bus):
    await bus.jetstream.publish(subject(EVENTS, 3), b"event")
    away = Database("postgresql+psycopg://nobody@127.0.0.1:1/nothing")
    await BacklogWatch(away, bus, EVENTS, partitions=PARTITIONS).look()
    assert counted()["rapport_stream_lag_messages", "3", EVENTS] == 1
    await away.close()


class Running:
    """A role at work whose metrics can be read."""

    def __init__(self, process, address):
        self.process = process
        self.address = address

    def sample(self, name, **labels):
        _, body, _ = get(self, trust().certificate("prometheus"))
        for family in text_string_to_metric_families(body):
            for sample in family.samples:
                if sample.name == name and labels.items() <= sample.labels.items():
                    assert sample.labels.items() >= {"service": "small", "role": "worker"}.items()
                    return sample.value
        return None


@pytest.fixture
def role():
    with subprocess.Popen(
        [sys.executable, "-m", "tests.integration.runtime.small_service", "worker"],
        cwd=ROOT,
        env={
            "PYTHONPATH": f"{ROOT}:{ROOT / 'proto'}",
            **trust().environment("small"),
            "RAPPORT_METRICS_LISTEN": "127.0.0.1:0",
        },
        stdout=subprocess.PIPE,
        stderr=subprocess.DEVNULL,
        text=True,
    ) as process:
        ready = json.loads(process.stdout.readline())
        yield Running(process, ready["metrics"])
        process.kill()


async def test_a_role_shows_failures_of_its_tasks_its_certificate_and_that_it_is_ready(role):
    async def failed_twice():
        return await asyncio.to_thread(role.sample, "rapport_task_failures_total", task="restless") == 2

    await until(failed_twice)
    assert role.sample("rapport_ready") == 1
    assert role.sample("rapport_build_info") == 1
    day = dt.timedelta(days=1).total_seconds()
    own = Path(trust().settings("small")["tls_cert_file"]).name
    assert day - 600 < role.sample("rapport_certificate_expiry_seconds", file=own) <= day
    assert role.sample("rapport_certificate_expiry_seconds", file="ca.crt") > day
    role.process.terminate()
    assert role.process.wait(20) == 0
