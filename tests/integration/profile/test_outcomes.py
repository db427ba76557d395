"""Own events come back over OUTCOMES, what is handed on reaches EVENTS, and dead letters are sent again."""

import json

import nats
import pytest
from rapport.operations.v1 import operations_pb2
from rapport.types.v1 import stream_pb2

from services.runtime.database import Database
from services.runtime.outbox import Outbox
from services.runtime.streams import OUTCOMES, connect_bus
from tests.integration.profile.asking import NOON, event, ingest
from tests.integration.profile.conftest import running_profile, until
from tests.integration.profile.test_ingest import known, listen

MICROS = int(NOON.timestamp()) * 1_000_000


def own(event_id: str, event_type: str, customer: int, data: object, **more) -> stream_pb2.OwnEvent:
    return stream_pb2.OwnEvent(
        id=event_id,
        source="decision",
        type=event_type,
        time_micros=more.pop("time_micros", MICROS),
        customer=customer,
        data=json.dumps(data).encode(),
        **more,
    )


class Sender:
    """Publishes on OUTCOMES as the decision service would."""

    def __init__(self, jetstream) -> None:
        self._jetstream = jetstream
        self._number = 0

    async def send(self, *events: stream_pb2.OwnEvent, again=(), key: str = "") -> None:
        self._number += 1
        customer = events[0].customer if events else again[0].customer
        batch = stream_pb2.OwnEventBatch(events=events, handed_again=again)
        await self._jetstream.publish(
            f"rapport.outcomes.{customer % 4}",
            batch.SerializeToString(),
            headers={"Nats-Msg-Id": key or f"decision:{self._number}"},
        )

    async def send_raw(self, payload: bytes) -> None:
        await self._jetstream.publish("rapport.outcomes.0", payload, headers={"Nats-Msg-Id": "raw"})


@pytest.fixture
async def road(profile_settings):
    settings = profile_settings()
    async with running_profile(settings, worker=True) as profile:
        client = await nats.connect(settings.nats_url)
        jetstream = client.jetstream()
        await profile.profile.IngestEvents(ingest(event("e1")))
        profile.customer = (await known(profile)).customer
        profile.sender = Sender(jetstream)
        profile.jetstream = jetstream
        yield profile
        await client.close()


async def totals(profile) -> dict[str, int]:
    answer = await profile.operations.GetProgress(operations_pb2.GetProgressRequest())
    return dict(answer.totals)


async def quiet(profile):
    answer = await profile.operations.GetProgress(operations_pb2.GetProgressRequest())
    return not answer.stream_pending and not answer.outbox_pending


async def events_sent(profile) -> list[stream_pb2.EventBatch]:
    """Everything on EVENTS, in order."""
    info = await profile.jetstream.stream_info("EVENTS")
    batches = []
    for sequence in range(info.state.first_seq, info.state.last_seq + 1):
        message = await profile.jetstream.get_msg("EVENTS", sequence)
        batches.append(stream_pb2.EventBatch.FromString(message.data))
    return batches


SENT = {"action": "a1", "rule_set": "r", "rule": "x", "name": "hello", "channel": "sms"}


async def test_own_events_become_activity_and_go_on_with_a_snapshot(road):
    await listen(road, "action.sent")
    await road.sender.send(own("o1", "action.sent", road.customer, SENT, hops=1))

    async def arrived():
        return (await known(road)).sequence == 2

    await until(arrived)
    await until(lambda: quiet(road))
    batches = await events_sent(road)
    last = batches[-1].events[0]
    assert (last.type, last.hops, last.snapshot) == ("action.sent", 1, 1)
    assert (await totals(road))["events.own"] == 1


async def test_a_message_delivered_twice_and_an_event_repeated_are_taken_once(road):
    one = own("o1", "action.sent", road.customer, SENT)
    await road.sender.send(one, key="same")
    await road.sender.send(one, key="other")
    await road.sender.send(own("o2", "action.sent", road.customer, SENT))

    async def arrived():
        return (await totals(road)).get("events.own") == 2

    await until(arrived)
    await until(lambda: quiet(road))
    assert (await known(road)).sequence == 3


async def test_set_comes_back_as_a_trait_with_an_end(road):
    await road.sender.send(
        own(
            "o1",
            "profile.updated",
            road.customer,
            {"traits": {"upset": True}, "until": "2026-11-16T12:00:00Z"},
        )
    )

    async def arrived():
        return [(trait.name, trait.value.bool) for trait in (await known(road)).traits] == [("upset", True)]

    await until(arrived)


async def test_what_does_not_fit_and_too_many_hops_are_set_aside_and_sent_again_by_hand(road):
    await road.sender.send(
        own("o1", "action.sent", road.customer, {}),
        own("o2", "action.sent", road.customer, SENT, hops=6),
        own("o3", "action.sent", 999_999, SENT),
        own("o4", "action.sent", road.customer, SENT),
    )

    async def set_aside():
        answer = await road.operations.ListDeadLetters(operations_pb2.ListDeadLettersRequest())
        return list(answer.dead_letters) if len(answer.dead_letters) == 3 else None

    letters = {letter.item_id: letter for letter in await until(set_aside)}
    assert "data.action" in letters["o1"].reason
    assert "5" in letters["o2"].reason
    assert "unknown" in letters["o3"].reason
    assert (await known(road)).sequence == 2
    await road.operations.ResendDeadLetter(
        operations_pb2.ResendDeadLetterRequest(request_id="r", dead_letter_id=letters["o2"].dead_letter_id)
    )
    assert (await known(road)).sequence == 3
    answer = await road.operations.ListDeadLetters(operations_pb2.ListDeadLettersRequest())
    assert {letter.item_id for letter in answer.dead_letters} == {"o1", "o3"}


async def test_a_message_that_is_none_is_set_aside_and_the_next_goes_on(road):
    await road.sender.send_raw(b"\xff\xff\xff")

    async def set_aside():
        answer = await road.operations.ListDeadLetters(operations_pb2.ListDeadLettersRequest())
        return list(answer.dead_letters)

    assert await until(set_aside)
    assert await until(lambda: quiet(road))


async def test_an_event_handed_again_goes_out_with_a_fresh_snapshot_and_changes_nothing(road):
    await until(lambda: quiet(road))
    first = (await events_sent(road))[0].events[0]
    assert first.snapshot == 0
    await road.sender.send(again=[first])

    async def again():
        batches = await events_sent(road)
        return batches[1] if len(batches) == 2 else None

    batch = await until(again)
    assert batch.events[0].id == "e1"
    assert batch.events[0].sequence == 1
    snapshot = stream_pb2.Snapshot.FromString(batch.snapshots[0])
    assert snapshot.customer == road.customer
    assert (await known(road)).sequence == 1


async def test_own_events_wait_in_the_log_while_nobody_takes_them(profile_settings):
    settings = profile_settings()
    async with running_profile(settings) as profile:
        await profile.profile.IngestEvents(ingest(event("e1")))
        customer = (await known(profile)).customer
        database = Database(settings.database_url, pool_size=1)
        bus = await connect_bus(settings)
        async with database.transaction() as tx:
            batch = stream_pb2.OwnEventBatch(events=[own("o1", "action.sent", customer, SENT)])
            await Outbox(database).put(tx, OUTCOMES, [(customer % 4, batch.SerializeToString())])
        assert (await known(profile)).sequence == 1
        await bus.close()
        await database.close()
    async with running_profile(settings, worker=True) as profile:

        async def arrived():
            return (await known(profile)).sequence == 2

        await until(arrived)
