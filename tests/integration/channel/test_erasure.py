"""A person is erased in the channel service: nothing more is said, texts go, what suppresses stays known."""

import pytest
from rapport.types.v1 import stream_pb2

from services.channel.app.ports import Receipt, ReceiptState
from services.channel.app.receipts import take_receipts
from services.channel.app.suppression import opt_in, opt_out
from services.channel.domain.contact import SuppressedFor
from services.channel.domain.suppression import LiftedBy
from services.runtime.consumer import Delivery
from services.vocabulary.wire import CHANNELS
from services.vocabulary.words import Category, Channel, MessageState, RefusalReason
from tests.fakes.channel import NOON, make_action, reachable
from tests.integration.channel.conftest import Road, wired
from tests.integration.channel.test_worker import handler_of

NUMBER = "+33600000001"


def erasure(road: Road, customer: int, *others: int) -> stream_pb2.Erasure:
    look_up = road.store.sealer.lookup(f"msisdn:{NUMBER}")
    address = stream_pb2.ErasedAddress(channel=CHANNELS.to_wire(Channel.SMS), lookup=look_up)
    return stream_pb2.Erasure(
        erasure_id="e-1",
        customer=customer,
        customers=[customer, *others],
        erased_micros=NOON,
        addresses=[address],
    )


def delivery(key: str, batch: stream_pb2.ActionBatch) -> Delivery:
    return Delivery(1, key, batch.SerializeToString())


async def told(road: Road) -> list[dict]:
    return [fields for event, fields in await road.events() if event.type == "erasure.finished"]


async def test_what_is_to_be_said_is_not_and_what_was_said_has_no_words_left(road: Road) -> None:
    said = await road.take_one(make_action(1, 1))
    await road.sender.turn()
    receipt = Receipt("fake", f"p-{said.message_id}", ReceiptState.DELIVERED, road.clock.now)
    await take_receipts(road.store, road.clock, [receipt])
    waiting = await road.take_one(make_action(2, 1))
    other = await road.take_one(make_action(3, 2))
    handler = handler_of(road)
    batch = stream_pb2.ActionBatch(actions=[wired(make_action(4, 1))], erasures=[erasure(road, 1)])
    assert handler.count(batch.SerializeToString()) == 2
    await handler.handle([delivery("a", batch)])
    await handler.handle([delivery("a", batch)])
    assert await road.sender.turn() == 1  # the other's
    assert [one.customer for one in road.transport.sent] == [1, 2]
    assert (await road.stored(said)).state is MessageState.DELIVERED
    stopped = await road.stored(waiting)
    assert (stopped.state, stopped.reason) == (MessageState.REFUSED, RefusalReason.NO_ADDRESS)
    assert await road.rows("SELECT customer FROM message_body") == [(2,)]
    assert await road.rows("SELECT customer FROM contact") == [(2,)]
    assert await road.rows("SELECT customer FROM receipt WHERE customer = 1") == []
    assert (await road.stored(other)).state is MessageState.SENT
    (finished,) = await told(road)
    assert finished["service"] == "channel"
    assert {"message=3", "message_body=3", "receipt=1"} <= set(finished["erased"])


@pytest.mark.parametrize("singly", [False, True])
async def test_what_still_comes_for_an_erased_id_is_refused_and_has_no_words(road, singly) -> None:
    handler = handler_of(road)
    first = delivery("a", stream_pb2.ActionBatch(erasures=[erasure(road, 1, 5)]))
    late = delivery("b", stream_pb2.ActionBatch(actions=[wired(make_action(7, 5))]))
    for one in (first, late):
        await (handler.handle_singly(one) if singly else handler.handle([one]))
    ((state, reason),) = await road.rows("SELECT state, reason FROM message")
    assert (state, reason) == ("refused", "NO_ADDRESS")
    assert await road.rows("SELECT 1 FROM message_body") == []
    assert await road.sender.turn() == 0


async def test_an_address_that_was_suppressed_stays_so_for_who_has_it_next(road: Road) -> None:
    reach = reachable(1)
    address = reach.permissions[Channel.SMS].address
    async with road.store.transaction() as tx:
        await opt_out(
            tx,
            road.clock,
            customer=1,
            channel=Channel.SMS,
            reason=SuppressedFor.UNSUBSCRIBED,
            evidence="STOP",
        )
    gone = erasure(road, 1)
    gone.addresses[0].lookup = road.store.sealer.lookup(f"msisdn:{address}")
    await handler_of(road).handle([delivery("a", stream_pb2.ActionBatch(erasures=[gone]))])
    assert await road.rows("SELECT customer FROM suppression_entry") == []
    assert await road.rows("SELECT channel, reason FROM suppressed_address") == [("sms", "unsubscribed")]
    road.profile.reaches[9] = reach
    refused = await road.take_one(make_action(5, 9, category=Category.SALES))
    assert (refused.state, refused.reason) == (MessageState.REFUSED, RefusalReason.SUPPRESSED)
    assert await road.rows("SELECT customer, reason FROM suppression_entry") == [(9, "unsubscribed")]
    async with road.store.transaction() as tx:
        assert not await opt_in(tx, road.clock, customer=9, channel=Channel.SMS, by=LiftedBy.STAFF)
        assert await opt_in(tx, road.clock, customer=9, channel=Channel.SMS, by=LiftedBy.PERSON)
    passed = await road.take_one(make_action(6, 9, category=Category.SALES))
    assert passed.state is MessageState.PLANNED
