"""After a restore: events are handed on again, workers wait, and ids are not given out twice."""

import asyncio
import operator
import uuid
from contextlib import asynccontextmanager
from datetime import UTC, datetime, timedelta

import grpc
import nats
import orjson
import pytest
from google.protobuf.timestamp_pb2 import Timestamp
from rapport.operations.v1 import recovery_pb2, recovery_pb2_grpc
from rapport.types.v1 import stream_pb2

from services.profile.adapters.catalogue_types import Types
from services.profile.adapters.postgres import PostgresStore
from services.profile.adapters.replay import EventsReplay
from services.profile.adapters.snapshots import SnapshotPacker
from services.profile.app.changes import Changes
from services.profile.app.questions import Questions
from services.profile.app.take_events import EventTaker
from services.profile.domain.events import EventChecker
from services.profile.main import ONCE_RESTORED, build_worker_role
from services.runtime.clock import WallClock
from services.runtime.database import Database
from services.runtime.outbox import Outbox
from services.runtime.process import Role
from services.runtime.recovery import mark_restored
from services.runtime.replay import Replay
from services.runtime.streams import OUTCOMES
from services.vocabulary.catalogue import load_catalogue
from tests.fakes.keys import sealer
from tests.integration.profile.asking import event, ingest
from tests.integration.profile.conftest import RULES, running_profile, until
from tests.integration.profile.test_ingest import known, listen

CATALOGUE = load_catalogue(RULES)


def now() -> datetime:
    return datetime.fromtimestamp(WallClock().now_micros() / 1e6, UTC)


def stamp(moment: datetime) -> Timestamp:
    made = Timestamp()
    made.FromDatetime(moment)
    return made


class Restored:
    """A profile on the wall's clock whose database comes from a backup; its stub for recovery."""

    def __init__(self, profile) -> None:
        self.profile = profile
        self.settings = profile.settings
        self.stub = recovery_pb2_grpc.RecoveryServiceStub(profile.grpc_channel)

    async def mark(self) -> None:
        database = Database(self.settings.database_url, 1)
        await mark_restored(database, ONCE_RESTORED)
        await database.close()

    async def begin(self) -> recovery_pb2.Recovery:
        request = recovery_pb2.BeginRecoveryRequest(
            request_id=str(uuid.uuid4()),
            gap_start_time=stamp(now() - timedelta(minutes=1)),
            gap_end_time=stamp(now() - timedelta(seconds=1)),
        )
        return (await self.stub.BeginRecovery(request)).recovery

    async def look(self) -> recovery_pb2.Recovery:
        return (await self.stub.GetRecovery(recovery_pb2.GetRecoveryRequest())).recovery


@pytest.fixture
async def restored(profile_settings):
    async with running_profile(profile_settings(clock="wall")) as profile:
        await listen(profile, "topup.received")
        moment = now() - timedelta(minutes=2)
        sent = [event(f"e{number}", time=moment) for number in range(450)]
        sent.append(event("unheard", "profile.updated", {"traits": {"upset": True}}, time=moment))
        await profile.profile.IngestEvents(ingest(*sent))
        yield Restored(profile)


async def handed_on(profile) -> list[stream_pb2.TakenEvent]:
    """The events in the outbox, which nobody publishes without a worker; taken out."""
    database = Database(profile.settings.database_url, 1)
    async with database.transaction() as transaction:
        rows = await transaction.rows("DELETE FROM outbox WHERE stream = 'EVENTS' RETURNING id, payload")
    await database.close()
    return [
        taken
        for _, payload in sorted(rows)
        for taken in stream_pb2.EventBatch.FromString(bytes(payload)).events
    ]


async def test_events_that_rules_listen_to_are_handed_on_again_with_a_fresh_snapshot(restored) -> None:
    first = await handed_on(restored.profile)
    assert len(first) == 451
    await restored.begin()
    async with working(restored.settings):
        found = await until(lambda: replayed(restored))
        assert found.handed_again["events"] == 450
        client = await nats.connect(restored.settings.nats_url)
        jetstream = client.jetstream()

        async def published():
            info = await jetstream.stream_info("EVENTS")
            taken = []
            for sequence in range(1, info.state.last_seq + 1):
                message = await jetstream.get_msg("EVENTS", sequence)
                taken += stream_pb2.EventBatch.FromString(message.data).events
            return taken if len(taken) == 450 else None

        again = await until(published)
        await client.close()
    assert [one.id for one in again] == [f"e{number}" for number in range(450)]
    assert [one.sequence for one in again] == list(range(1, 451))
    assert all(one.snapshot for one in again)


async def test_events_about_things_that_rules_listen_to_are_handed_on_again(restored) -> None:
    await listen(restored.profile, "network.outage_started", request_id="l2")
    moment = now() - timedelta(minutes=2)
    outage = {"cell": "FR-1", "incident": "INC7"}
    sent = [
        event(f"o{number}", "network.outage_started", outage, subject=f"cell:FR-{number}", time=moment)
        for number in range(250)
    ]
    await restored.profile.profile.IngestEvents(ingest(*sent))
    first = [one for one in await handed_on(restored.profile) if one.thing]
    await restored.begin()
    database = Database(restored.settings.database_url, 1)
    checker = EventChecker(CATALOGUE, orjson.loads, orjson.dumps, wall=True)
    types = Types(CATALOGUE, sealer())
    store = PostgresStore(database, Outbox(database, partitions=4), types, partitions=4)
    packer = SnapshotPacker(types)
    questions = Questions(CATALOGUE, packer)
    changes = Changes(CATALOGUE, EventTaker(CATALOGUE, packer), questions, packer, orjson.dumps, wall=True)
    turns = Replay(database, EventsReplay(store, changes, checker, WallClock()))
    more = True
    while more:
        more = await turns.turn()
    again = [one for one in await handed_on(restored.profile) if one.thing]
    await database.close()
    assert len(again) == 250
    key = operator.attrgetter("id")
    assert [(one.id, one.thing, one.type, one.data, one.customer) for one in sorted(again, key=key)] == [
        (one.id, one.thing, one.type, one.data, 0) for one in sorted(first, key=key)
    ]


async def test_a_worker_waits_until_recovery_begins_and_names_what_it_waits_for(restored) -> None:
    await restored.mark()
    role = Role(restored.settings)
    building = asyncio.create_task(build_worker_role(role))
    await until(lambda: waits_for_recovery(role))
    assert not building.done()
    looked = await restored.look()
    assert looked.state == recovery_pb2.INSTALLATION_STATE_RESTORED
    assert looked.epoch == 2
    assert now() - timedelta(minutes=1) < looked.known_time.ToDatetime(UTC) <= now()

    await restored.begin()

    await asyncio.wait_for(building, 15)
    role.stopping.set()
    await role.end()


async def test_customers_of_the_gap_are_nobody_elses(restored) -> None:
    before = (await known(restored.profile)).customer
    await restored.mark()
    await restored.profile.profile.IngestEvents(
        ingest(event("new", subject="msisdn:+33600000002", time=now() - timedelta(seconds=5)))
    )
    after = (await known(restored.profile, "msisdn:+33600000002")).customer
    assert after > before + 1_000_000_000


async def test_begin_is_refused_twice_and_end_before_all_was_handed_on(restored) -> None:
    with pytest.raises(grpc.aio.AioRpcError, match="not in recovery"):
        await restored.stub.EndRecovery(recovery_pb2.EndRecoveryRequest(request_id="end-0"))
    await restored.begin()
    with pytest.raises(grpc.aio.AioRpcError, match="under way"):
        await restored.begin()
    with pytest.raises(grpc.aio.AioRpcError, match="handed on again"):
        await restored.stub.EndRecovery(recovery_pb2.EndRecoveryRequest(request_id="end-1"))
    async with working(restored.settings):
        await until(lambda: replayed(restored))
    ended = await restored.stub.EndRecovery(recovery_pb2.EndRecoveryRequest(request_id="end-2"))
    assert ended.recovery.state == recovery_pb2.INSTALLATION_STATE_WORKING
    assert ended.recovery.HasField("end_time")
    actions = [entry[0] for entry in await audited(restored)]
    assert actions == ["recovery.begin", "recovery.end"]


async def test_on_the_walls_clock_an_event_handed_again_by_the_decision_service_goes_out(restored) -> None:
    first = (await handed_on(restored.profile))[0]
    async with working(restored.settings):
        client = await nats.connect(restored.settings.nats_url)
        batch = stream_pb2.OwnEventBatch(handed_again=[first])
        await client.jetstream().publish(
            f"rapport.{OUTCOMES.lower()}.{first.customer % 4}",
            batch.SerializeToString(),
            headers={"Nats-Msg-Id": "x"},
        )

        async def out():
            info = await client.jetstream().stream_info("EVENTS")
            return info.state.messages == 1

        await until(out)
        await client.close()


@asynccontextmanager
async def working(settings):
    """A worker of the same service for the length of the block."""
    role = Role(settings)
    try:
        await build_worker_role(role)
        yield
    finally:
        role.stopping.set()
        await role.end()


async def replayed(restored: Restored) -> recovery_pb2.Recovery | None:
    found = await restored.look()
    return found if found.replayed else None


async def waits_for_recovery(role: Role) -> bool:
    return "recovery" in role.health.missing


async def audited(restored: Restored) -> list[tuple[str]]:
    database = Database(restored.settings.database_url, 1)
    async with database.transaction() as transaction:
        rows = await transaction.rows(
            "SELECT action FROM audit_entry WHERE target LIKE 'recovery/%' ORDER BY id"
        )
    await database.close()
    return rows
