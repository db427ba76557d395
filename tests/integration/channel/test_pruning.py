"""Old messages, texts, slots and receipts go; what is at work, what a cap can need, and cursors stay."""

from uuid import UUID

import pytest

from services.channel.adapters.storage.pruning import prunables
from services.channel.app.ports import Outgoing, Receipt, ReceiptState
from services.channel.app.receipts import take_receipts
from services.channel.domain.caps import Cap
from services.channel.domain.contact import SuppressedFor
from services.channel.domain.messages import Message
from services.channel.domain.policies import Policies
from services.channel.domain.suppression import Suppression
from services.runtime.prune import Pruner
from services.vocabulary.values import DAY
from services.vocabulary.words import Category, Channel, MessageState
from tests.fakes.channel import make_action
from tests.integration.channel.conftest import MakeRoad, Road

KEPT = {
    "messages": 100 * DAY,
    "message_texts": 30 * DAY,
    "contacts": 40 * DAY,
    "receipts": 40 * DAY,
}


def pruner(road: Road, **periods: int) -> Pruner:
    return Pruner(
        road.database, road.clock, prunables(lambda: road.policies), lambda: periods or KEPT
    )  # fmt: skip


async def delivered(road: Road, number: int) -> Message:
    message = await road.take_one(make_action(number, number))
    await road.sender.turn()
    receipt = Receipt("fake", f"p-{message.message_id}", ReceiptState.DELIVERED, road.clock.now)
    await take_receipts(road.store, road.clock, [receipt])
    return message


async def count(road: Road, table: str) -> int:
    return int((await road.rows(f"SELECT count(*) FROM {table}"))[0][0])


async def test_first_the_text_goes_then_the_message_with_all_that_belongs_to_it(road: Road) -> None:
    message = await delivered(road, 1)
    road.clock.now += 30 * DAY
    await pruner(road).prune()
    assert (await road.stored(message)).wording.text == "hello in words"
    road.clock.now += 1
    seen = {one.name: dict(one.rows) for one in await pruner(road).preview()}
    assert seen["message_texts"] == {"message_body": 1, "inbox": 0, "inbound_text": 0}
    await pruner(road).prune()
    left = await road.stored(message)
    assert (left.state, left.wording.text, left.wording.address) == (MessageState.DELIVERED, "", "")
    assert await road.steps(message) == ["accepted", "planned", "sending", "sent", "delivered"]
    road.clock.now += 70 * DAY
    await pruner(road).prune()
    assert await road.store.find(message.message_id) is None
    for table in ("message_body", "contact", "receipt"):
        assert await count(road, table) == 0


async def test_what_is_still_at_work_stays_however_old(road: Road) -> None:
    message = await road.take_one(make_action(1, 1))
    assert message.state is MessageState.PLANNED
    road.clock.now += 500 * DAY
    await pruner(road).prune()
    assert (await road.stored(message)).wording.text == "hello in words"
    assert await count(road, "message_body") == 1


async def test_slots_stay_for_as_long_as_a_cap_looks_back(make_road: MakeRoad) -> None:
    every = frozenset(Category)
    year = Cap("year", 1, 365 * DAY, limits=every, counts=every)
    road = make_road(Policies(caps=(year,)))
    await delivered(road, 1)
    road.clock.now += 364 * DAY
    await pruner(road).prune()
    assert await road.slots() == 1
    refused = await road.take_one(make_action(2, 1))
    assert refused.state is not MessageState.PLANNED
    road.clock.now += DAY + 1
    await pruner(road).prune()
    assert await road.slots() == 0


async def test_texts_are_found_again_by_a_run_that_goes_on_and_by_a_new_process(road: Road) -> None:
    classes = pruner(road)
    for number in range(1, 4):
        await delivered(road, number)
        road.clock.now += 20 * DAY
        await classes.prune()
    assert await count(road, "message_body") == 1
    road.clock.now += 40 * DAY
    await pruner(road).prune()
    assert await count(road, "message_body") == 0


async def test_more_than_one_page_goes_in_one_run(road: Road) -> None:
    await road.take(*(make_action(number, number) for number in range(1, 1_202)))
    while await road.sender.turn():
        pass
    road.clock.now += 101 * DAY
    await pruner(road).prune()
    assert await count(road, "message") == 0


@pytest.mark.parametrize("entries", [1, 3])
async def test_cursors_of_the_inbox_never_begin_again(road: Road, entries: int) -> None:
    made = []
    for number in range(1, entries + 1):
        message = await delivered(road, number)
        made.append(Outgoing.__new__(Outgoing))
        object.__setattr__(made[-1], "message_id", message.message_id)
        object.__setattr__(made[-1], "customer", message.customer)
    await road.inbox.put(made)
    road.clock.now += 200 * DAY
    await pruner(road).prune()
    (left,) = await road.rows("SELECT cursor, message_id::text FROM inbox")
    assert left[0] == entries
    fresh = await delivered(road, 99)
    object.__setattr__(made[0], "message_id", fresh.message_id)
    assert (await road.inbox.put(made[:1]))[str(UUID(fresh.message_id))] == entries + 1


async def test_a_receipt_that_never_came_is_forgotten_by_the_walls_clock(road: Road) -> None:
    await road.take_one(make_action(1, 1))
    await road.sender.turn()
    assert await count(road, "receipt") == 1
    (wall,) = (await road.rows("SELECT (extract(epoch FROM now()) * 1000000)::bigint"))[0]
    road.clock.now += 500 * DAY
    road.clock.wall = wall + 39 * DAY
    await pruner(road, receipts=40 * DAY).prune()
    assert await count(road, "receipt") == 1
    road.clock.wall = wall + 41 * DAY
    await pruner(road, receipts=40 * DAY).prune()
    assert await count(road, "receipt") == 0


async def test_channels_are_not_forgotten_on_which_a_customer_may_not_be_contacted(road: Road) -> None:
    async with road.store.transaction() as tx:
        await tx.suppress([Suppression(1, Channel.SMS, why, road.clock.now) for why in SuppressedFor])
    road.clock.now += 5_000 * DAY
    await pruner(road).prune()
    assert await count(road, "suppression_entry") == len(SuppressedFor)


async def test_what_was_written_goes_with_the_messages_and_its_text_with_the_texts(road: Road) -> None:
    from tests.integration.channel.test_inbound import take, written

    await take(road, written("what is this?"))
    road.clock.now += 41 * DAY
    await take(road, written("and this?", "2"))
    await pruner(road, messages=50 * DAY, message_texts=40 * DAY).prune()
    assert (await count(road, "inbound"), await count(road, "inbound_text")) == (2, 1)
    road.clock.now += 10 * DAY
    await pruner(road, messages=50 * DAY, message_texts=40 * DAY).prune()
    assert (await count(road, "inbound"), await count(road, "inbound_text")) == (1, 1)
    road.clock.now += 50 * DAY
    await pruner(road, messages=50 * DAY).prune()
    assert (await count(road, "inbound"), await count(road, "inbound_text")) == (0, 0)
