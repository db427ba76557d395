"""What providers say of messages they took: early, twice, late, of ids used again, or never."""

import pytest

from services.channel.app.ports import Handed, HandOver, Receipt, ReceiptState
from services.channel.app.receipts import take_receipts
from services.channel.app.upkeep import RECEIPT_MICROS, note_unconfirmed
from services.vocabulary.words import MessageState
from tests.fakes.channel import make_action
from tests.integration.channel.conftest import Road


async def test_receipts_early_twice_and_unknown(road: Road) -> None:
    message = await road.take_one(make_action(1))
    receipt = Receipt("fake", f"p-{message.message_id}", ReceiptState.DELIVERED)
    stranger = Receipt("fake", "never-seen", ReceiptState.DELIVERED)
    await take_receipts(road.store, road.clock, [receipt, stranger, receipt])
    assert (await road.stored(message)).state is MessageState.PLANNED

    await road.sender.turn()
    assert (await road.stored(message)).state is MessageState.DELIVERED

    late = Receipt("fake", f"p-{message.message_id}", ReceiptState.FAILED)
    await take_receipts(road.store, road.clock, [late, receipt])
    assert await road.steps(message) == ["accepted", "planned", "sending", "sent", "delivered"]
    assert await road.told() == [("action.sent", ""), ("action.delivered", "")]


async def test_a_provider_id_used_again_names_the_newer_message(road: Road) -> None:
    road.transport.answer = lambda message: Handed(message.message_id, HandOver.ACCEPTED, "same")
    first = await road.take_one(make_action(1))
    await road.sender.turn()
    await take_receipts(road.store, road.clock, [Receipt("fake", "same", ReceiptState.DELIVERED)])
    second = await road.take_one(make_action(2))
    await road.sender.turn()
    assert (await road.stored(first)).state is MessageState.DELIVERED
    assert (await road.stored(second)).state is MessageState.SENT
    await take_receipts(road.store, road.clock, [Receipt("fake", "same", ReceiptState.FAILED)])
    assert (await road.stored(second)).state is MessageState.FAILED


async def test_the_same_id_of_two_providers_names_two_messages(road: Road) -> None:
    north, south = [await road.take_one(make_action(number)) for number in (1, 2)]
    road.transport.answer = lambda sent: Handed(
        sent.message_id,
        HandOver.ACCEPTED,
        "7",
        provider="north" if sent.message_id == north.message_id else "south",
    )
    await take_receipts(road.store, road.clock, [Receipt("south", "7", ReceiptState.FAILED)])
    await road.sender.turn()
    await take_receipts(road.store, road.clock, [Receipt("fake", "7", ReceiptState.EXPIRED)])
    assert (await road.stored(north)).state is MessageState.SENT
    assert (await road.stored(south)).state is MessageState.FAILED
    await take_receipts(road.store, road.clock, [Receipt("north", "7", ReceiptState.DELIVERED)])
    assert (await road.stored(north)).state is MessageState.DELIVERED


@pytest.mark.parametrize("come", ["before the answer", "after it"])
@pytest.mark.parametrize("first", [ReceiptState.FAILED, ReceiptState.EXPIRED])
async def test_delivered_after_all_counts_more_than_an_earlier_word(
    road: Road, first: ReceiptState, come: str
) -> None:
    message = await road.take_one(make_action(1))
    one, other = (
        Receipt("fake", f"p-{message.message_id}", state) for state in (first, ReceiptState.DELIVERED)
    )
    if come == "before the answer":
        await take_receipts(road.store, road.clock, [one])
        await take_receipts(road.store, road.clock, [other])
        await road.sender.turn()
        ways = ["delivered"]
    else:
        await road.sender.turn()
        await take_receipts(road.store, road.clock, [one])
        assert await road.slots() == 0
        for _ in range(2):
            await take_receipts(road.store, road.clock, [other, one])
        ways = [first.value, "delivered"]
    assert await road.steps(message) == ["accepted", "planned", "sending", "sent", *ways]
    assert await road.slots() == 1, "it reached the customer"


async def test_a_provider_that_takes_and_drops_is_told_once(road: Road) -> None:
    message = await road.take_one(make_action(1))
    heard = await road.take_one(make_action(2, 2))
    await road.sender.turn()
    await take_receipts(
        road.store, road.clock, [Receipt("fake", f"p-{heard.message_id}", ReceiptState.DELIVERED)]
    )
    ((noted,),) = await road.rows("SELECT max(extract(epoch FROM noted_at) * 1000000)::bigint FROM receipt")
    road.clock.wall = noted + RECEIPT_MICROS - 1
    assert await note_unconfirmed(road.store, road.clock) == 0
    road.clock.wall += 2
    assert await note_unconfirmed(road.store, road.clock) == 1
    assert await note_unconfirmed(road.store, road.clock) == 0
    stored = await road.stored(message)
    assert (stored.state, stored.detail) == (MessageState.SENT, "no receipt came within 72 hours")
    assert await road.slots() == 2
    assert (await road.totals())["receipts.never_came"] == 1
    assert [kind for kind, _ in await road.told()].count("action.sent") == 2

    late = Receipt("fake", f"p-{message.message_id}", ReceiptState.DELIVERED)
    await take_receipts(road.store, road.clock, [late])
    assert (await road.stored(message)).state is MessageState.DELIVERED
