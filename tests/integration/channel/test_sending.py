"""From an action to the provider and back, over a real database."""

from collections.abc import AsyncIterator
from contextlib import asynccontextmanager

import pytest

from services.channel.adapters.storage.transaction import PostgresTransaction
from services.channel.app.ports import HandOver, Receipt, ReceiptState
from services.channel.app.receipts import take_receipts
from services.channel.app.send import BATCH, SMALLEST
from services.channel.app.upkeep import after_jump, expire, recover
from services.runtime.errors import UnavailableError
from services.vocabulary.values import HOUR
from services.vocabulary.words import ActionKind, Category, Channel, MessageState, RefusalReason
from tests.fakes.channel import always, make_action, reachable
from tests.integration.channel.conftest import Road


async def test_an_action_becomes_a_message_is_sent_and_delivered(road: Road) -> None:
    message = await road.take_one(make_action(1, 7))
    assert message.state is MessageState.PLANNED

    assert await road.sender.turn() == 1

    (sent,) = road.transport.sent
    assert (sent.address, sent.text, sent.customer) == ("sms-address-7", "hello in words", 7)
    assert (await road.stored(message)).state is MessageState.SENT
    receipt = Receipt("fake", f"p-{message.message_id}", ReceiptState.DELIVERED)
    await take_receipts(road.store, road.clock, [receipt])
    assert await road.steps(message) == ["accepted", "planned", "sending", "sent", "delivered"]
    assert await road.told() == [("action.sent", ""), ("action.delivered", "")]
    totals = await road.totals()
    assert {
        name: totals[name] for name in ("actions.taken", "messages.sent", "messages.delivered", "sent.sms")
    } == {
        "actions.taken": 1,
        "messages.sent": 1,
        "messages.delivered": 1,
        "sent.sms": 1,
    }


async def test_sending_is_committed_before_the_hand_over(road: Road) -> None:
    message = await road.take_one(make_action(1))
    seen: list[MessageState] = []

    async def look() -> None:
        seen.append((await road.stored(message)).state)

    import asyncio

    road.transport.before_answer = lambda _: asyncio.ensure_future(look())
    await road.sender.turn()
    assert seen == [MessageState.SENDING]


async def test_a_provider_that_is_away_makes_messages_wait_with_growing_distances(road: Road) -> None:
    message = await road.take_one(make_action(1))
    road.transport.answer = always(HandOver.TRANSIENT, "not connected")
    waits = []
    for attempt in range(1, 4):
        assert await road.sender.turn() == 1
        stored = await road.stored(message)
        assert (stored.state, stored.attempts) == (MessageState.PLANNED, attempt)
        waits.append(stored.retry_wall_micros - road.clock.wall)
        assert await road.sender.turn() == 0  # it rests
        road.clock.wall = stored.retry_wall_micros
    assert 500_000 <= waits[0] <= 1_000_000 <= waits[1] <= 2_000_000 <= waits[2] <= 4_000_000
    assert await road.slots() == 1  # a retry takes no second slot

    road.transport.answer = road.transport.accept
    await road.sender.turn()
    assert (await road.stored(message)).state is MessageState.SENT
    assert len(road.transport.sent) == 4
    assert await road.told() == [("action.sent", "")]


async def test_a_permanent_failure_gives_the_slot_back(road: Road) -> None:
    message = await road.take_one(make_action(1))
    assert await road.slots() == 1
    road.transport.answer = always(HandOver.PERMANENT, "unknown subscriber")
    await road.sender.turn()
    stored = await road.stored(message)
    assert (stored.state, stored.reason) == (MessageState.FAILED, RefusalReason.PROVIDER_REJECTED)
    assert await road.slots() == 0
    assert await road.told() == [("action.failed", "PROVIDER_REJECTED")]


async def test_a_failed_receipt_gives_the_slot_back(road: Road) -> None:
    message = await road.take_one(make_action(1))
    await road.sender.turn()
    await take_receipts(
        road.store,
        road.clock,
        [Receipt("fake", f"p-{message.message_id}", ReceiptState.FAILED, detail="absent")],
    )
    assert (await road.stored(message)).state is MessageState.FAILED
    assert await road.slots() == 0


async def test_an_answer_that_never_came_is_repeated_for_service_only(road: Road) -> None:
    service = await road.take_one(make_action(1, 1))
    sales = await road.take_one(make_action(2, 2, category=Category.SALES))
    road.transport.answer = lambda _: None
    await road.sender.turn()
    again = await road.stored(service)
    assert (again.state, again.reason) == (MessageState.PLANNED, RefusalReason.HANDOVER_UNKNOWN)
    lost = await road.stored(sales)
    assert (lost.state, lost.reason) == (MessageState.FAILED, RefusalReason.HANDOVER_UNKNOWN)
    assert await road.slots() == 2  # nobody knows: the slots stay taken

    road.transport.answer = road.transport.accept
    road.clock.wall += 60_000_000
    await road.sender.turn()
    assert [(one.customer, one.again) for one in road.transport.sent] == [(1, False), (2, False), (1, True)]
    totals = await road.totals()
    assert (totals["handover.again"], totals["refused.HANDOVER_UNKNOWN"]) == (1, 1)


async def test_what_a_dead_sender_left_is_taken_up_when_its_lease_has_ended(road: Road) -> None:
    service = await road.take_one(make_action(1, 1))
    sales = await road.take_one(make_action(2, 2, category=Category.SALES))

    class KilledError(BaseException):
        """Like the process being killed between the hand-over and the commit of its outcome."""

    def kill(_: object) -> None:
        raise KilledError

    road.transport.before_answer = kill
    try:
        await road.sender.turn()
    except KilledError:
        pass
    else:
        raise AssertionError("the sender went on")
    assert (await road.stored(service)).state is MessageState.SENDING
    assert await recover(road.store, road.clock) == 0  # its lease still runs

    road.clock.wall += 31_000_000
    assert await recover(road.store, road.clock) == 2
    assert (await road.stored(service)).state is MessageState.PLANNED
    lost = await road.stored(sales)
    assert (lost.state, lost.reason) == (MessageState.FAILED, RefusalReason.HANDOVER_UNKNOWN)
    assert await road.told() == [("action.failed", "HANDOVER_UNKNOWN")]


@pytest.mark.parametrize("seconds", [15, 31])
async def test_a_sender_that_stood_still_hands_nothing_over_that_another_may_have_taken_up(
    road: Road, seconds: int
) -> None:
    service = await road.take_one(make_action(1, 1))
    sales = await road.take_one(make_action(2, 2, category=Category.SALES))
    whole, standing_still = road.store.transaction, iter([True])

    @asynccontextmanager
    async def stand_still_after() -> AsyncIterator[PostgresTransaction]:
        async with whole() as tx:
            yield tx
        if next(standing_still, False):
            road.clock.wall += seconds * 1_000_000
            await recover(road.store, road.clock)  # by another process, while this one stands still

    road.store.transaction = stand_still_after  # type: ignore[method-assign]
    await road.sender.turn()
    assert road.transport.sent == []
    lease_over = seconds > 30
    states = [(await road.stored(message)).state for message in (service, sales)]
    assert states == [MessageState.PLANNED, MessageState.FAILED if lease_over else MessageState.PLANNED]

    road.clock.wall += 60_000_000
    await road.sender.turn()
    assert sorted(one.customer for one in road.transport.sent) == ([1] if lease_over else [1, 2])


@pytest.mark.parametrize("asked_again", [False, True])
async def test_a_claim_whose_commit_nobody_confirmed_costs_no_message(
    road: Road, *, asked_again: bool
) -> None:
    """The database commits, and is lost before it says so; nothing was handed over, so nothing is unknown."""
    service = await road.take_one(make_action(1, 1))
    sales = await road.take_one(make_action(2, 2, category=Category.SALES))
    road.clock.wall += 5_000_000 if asked_again else 0  # the profile's word is old: it is asked again
    whole, lose = road.store.transaction, iter([False, True] if asked_again else [True])

    @asynccontextmanager
    async def lost_after() -> AsyncIterator[PostgresTransaction]:
        async with whole() as tx:
            yield tx
        if next(lose, False):
            raise UnavailableError("the database does not answer")

    road.store.transaction = lost_after  # type: ignore[method-assign]
    with pytest.raises(UnavailableError):
        await road.sender.turn()
    assert road.transport.sent == []
    assert [(await road.stored(message)).state for message in (service, sales)] == [MessageState.PLANNED] * 2

    road.clock.wall += 60_000_000
    await road.sender.turn()
    assert sorted((one.customer, one.again) for one in road.transport.sent) == [(1, False), (2, False)]


async def test_consent_withdrawn_before_the_hand_over_stops_the_message(road: Road) -> None:
    message = await road.take_one(make_action(1, 5, category=Category.SALES))
    from services.channel.domain.contact import Permission, Reach

    no = Permission(False, RefusalReason.NO_CONSENT, "sms-address-5")
    road.profile.reaches[5] = Reach(True, 0, {Channel.SMS: no})
    road.clock.wall += 2_000_001  # what it said is older than two seconds: it is asked again
    await road.sender.turn()
    stored = await road.stored(message)
    assert (stored.state, stored.reason) == (MessageState.REFUSED, RefusalReason.NO_CONSENT)
    assert road.transport.sent == []
    assert await road.slots() == 0
    assert await road.told() == [("action.refused", "NO_CONSENT")]


async def test_a_topic_switched_off_before_the_hand_over_stops_what_is_about_it(road: Road) -> None:
    about_it = await road.take_one(make_action(1, 5, topic="roaming"))
    other = await road.take_one(make_action(2, 5, topic="billing"))
    road.profile.reaches[5] = reachable(5, topics_off=frozenset({"roaming"}))
    road.clock.wall += 2_000_001  # what it said is older than two seconds: it is asked again
    await road.sender.turn()
    stored = await road.stored(about_it)
    assert (stored.state, stored.reason) == (MessageState.REFUSED, RefusalReason.NO_CONSENT)
    assert "roaming" in stored.detail
    assert [one.message_id for one in road.transport.sent] == [other.message_id]
    assert await road.slots() == 1


async def test_a_permission_of_this_moment_is_not_asked_for_again(road: Road) -> None:
    await road.take_one(make_action(1))
    asked = len(road.profile.asked)
    road.clock.wall += 1_900_000
    await road.sender.turn()
    assert len(road.transport.sent) == 1
    assert len(road.profile.asked) == asked


async def test_without_the_profile_nothing_is_sent_until_it_answers(road: Road) -> None:
    planned = await road.take_one(make_action(1))
    road.profile.away = True
    waiting = await road.take_one(make_action(2, category=Category.SALES))
    assert (waiting.state, waiting.reason) == (MessageState.ACCEPTED, RefusalReason.CONSENT_UNKNOWN)
    road.clock.wall += 5_000_000
    await road.sender.turn()
    assert await road.due() == 1
    assert road.transport.sent == []

    road.profile.away = False
    road.clock.wall += 5_000_000
    assert await road.due() == 1
    await road.sender.turn()
    assert {one.message_id for one in road.transport.sent} == {planned.message_id, waiting.message_id}
    assert await road.steps(waiting) == ["accepted", "planned", "sending", "sent"]


async def test_without_the_profile_an_action_ends_at_its_expiry(road: Road) -> None:
    road.profile.away = True
    waiting = await road.take_one(make_action(1, expires_micros=road.clock.now + 60_000_000))
    assert waiting.state is MessageState.ACCEPTED
    road.clock.now += 60_000_000
    road.clock.wall += 5_000_000
    await road.due()
    stored = await road.stored(waiting)
    assert (stored.state, stored.reason) == (MessageState.REFUSED, RefusalReason.CONSENT_UNKNOWN)
    assert road.transport.sent == []


async def test_expiry_goes_by_business_time(road: Road) -> None:
    message = await road.take_one(make_action(1, expires_micros=road.clock.now + 60_000_000))
    road.transport.answer = always(HandOver.TRANSIENT)
    await road.sender.turn()
    road.clock.wall += 3_600_000_000
    assert await expire(road.store, road.clock) == 0  # an hour of the wall's is no time at all
    road.clock.now += 60_000_000
    assert await expire(road.store, road.clock) == 1
    stored = await road.stored(message)
    assert stored.state is MessageState.EXPIRED
    assert await road.slots() == 0
    assert await road.told() == [("action.expired", "EXPIRED")]


async def test_a_task_is_done_at_once_without_provider_or_slot(road: Road) -> None:
    road.profile.away = True  # not even asked
    message = await road.take_one(make_action(1, kind=ActionKind.TASK, name="call-back", channels=()))
    assert (message.state, message.channel) == (MessageState.SENT, Channel.TASK)
    assert await road.slots() == 0
    (event, fields) = (await road.events())[0]
    assert (event.type, fields["channel"], fields["message"]) == ("action.sent", "task", message.message_id)


async def test_one_bad_recipient_of_many_costs_the_others_nothing(road: Road) -> None:
    taken = await road.take(*(make_action(number, number) for number in range(1, 6)))
    bad = taken[2].message.message_id
    road.transport.answer = lambda message: (
        always(HandOver.PERMANENT)(message) if message.message_id == bad else road.transport.accept(message)
    )
    await road.sender.turn()
    states = [(await road.stored(one.message)).state.value for one in taken]
    assert states == ["sent", "sent", "failed", "sent", "sent"]


async def test_a_database_that_fails_after_the_hand_over_doubles_nothing(road: Road) -> None:
    message = await road.take_one(make_action(1))
    store, failures = road.store, iter([True])
    whole = store.transaction
    handed = road.transport.sent

    def broken():
        if handed and next(failures, False):
            raise ConnectionError("gone")
        return whole()

    store.transaction = broken  # type: ignore[method-assign]
    await road.sender.turn()
    assert (await road.stored(message)).state is MessageState.SENT
    assert len(handed) == 1


async def test_two_senders_send_nothing_twice(road: Road) -> None:
    import asyncio

    await road.take(*(make_action(number, number) for number in range(1, 301)))
    other = road.another_sender(road.transport)
    while sum(await asyncio.gather(road.sender.turn(), other.turn())):
        pass
    assert len(road.transport.sent) == 300
    assert len({one.message_id for one in road.transport.sent}) == 300


async def test_in_another_zone_and_language_the_address_comes_fresh(road: Road) -> None:
    message = await road.take_one(make_action(1, 3))
    road.profile.reaches[3] = reachable(3, channels=(Channel.SMS,))
    from dataclasses import replace

    from services.channel.domain.contact import Permission

    moved = replace(
        road.profile.reaches[3], permissions={Channel.SMS: Permission(True, address="new-number")}
    )
    road.profile.reaches[3] = moved
    road.clock.wall += 3_000_000
    await road.sender.turn()
    assert [one.address for one in road.transport.sent] == ["new-number"]
    assert (await road.stored(message)).state is MessageState.SENT


async def test_when_a_provider_comes_back_what_matters_goes_first_and_what_expired_does_not(
    road: Road,
) -> None:
    later = road.clock.now + 2 * HOUR
    kinds = [
        (Category.SALES, 5.0, later),
        (Category.SALES, 9.0, road.clock.now + HOUR),
        (Category.SALES, 9.0, later),
        (Category.SERVICE, 0.0, 0),
        (Category.MANDATORY, 0.0, 0),
        (Category.SERVICE, 0.0, 0),
    ]
    await road.take(
        *(
            make_action(
                number,
                number,
                category=category,
                score=score,
                expires_micros=expires,
                name="surcharge-notice",  # it has the ground that a mandatory one needs
            )
            for number, (category, score, expires) in enumerate(kinds, start=1)
        )
    )
    road.transport.answer = always(HandOver.TRANSIENT, "not connected")
    await road.sender.turn()
    road.transport.sent.clear()
    road.transport.answer = road.transport.accept
    road.clock.now += HOUR
    road.clock.wall += HOUR
    while await road.sender.turn():
        pass
    assert [sent.customer for sent in road.transport.sent] == [5, 4, 6, 3, 1]
    assert ("action.expired", "EXPIRED") in await road.told()


async def test_a_message_that_never_expires_is_given_up_after_three_days(road: Road) -> None:
    first = await road.take_one(make_action(1, 1))
    second = await road.take_one(make_action(2, 2))
    road.transport.answer = always(HandOver.TRANSIENT, "not connected")
    await road.sender.turn()
    road.clock.now += 72 * HOUR - 1
    assert await expire(road.store, road.clock) == 0
    road.clock.now += 1
    road.clock.wall += HOUR
    await road.sender.turn()  # the sender does not hand it over either
    assert (await road.stored(first)).state is MessageState.EXPIRED
    await expire(road.store, road.clock)
    stored = await road.stored(second)
    assert (stored.state, stored.reason) == (MessageState.EXPIRED, RefusalReason.EXPIRED)
    assert await road.slots() == 0


async def test_a_provider_that_keeps_up_gets_more_at_once_and_one_that_is_away_little(road: Road) -> None:
    await road.take(*(make_action(number, number) for number in range(1, 200)))
    assert await road.sender.turn() == BATCH
    assert road.sender.batch == 2 * BATCH
    road.transport.answer = always(HandOver.TRANSIENT, "not connected")
    await road.sender.turn()
    assert road.sender.batch == SMALLEST


async def test_a_clock_that_was_set_back_makes_no_permission_fresh_and_lets_nothing_rest(road: Road) -> None:
    message = await road.take_one(make_action(1, 1))
    road.transport.answer = always(HandOver.TRANSIENT, "not connected")
    await road.sender.turn()
    road.transport.answer = road.transport.accept
    road.clock.wall -= HOUR
    assert await road.sender.turn() == 0
    assert await after_jump(road.store, road.clock) == 1
    road.profile.asked.clear()
    assert await road.sender.turn() == 1
    assert (await road.stored(message)).state is MessageState.SENT
    assert len(road.profile.asked) == 1


async def test_a_clock_that_was_set_forward_repeats_nothing_that_must_not_be(road: Road) -> None:
    message = await road.take_one(make_action(1, 1, category=Category.SALES, expires_micros=2**60))

    async def jump() -> None:
        road.clock.wall += HOUR
        await recover(road.store, road.clock)

    import asyncio

    road.transport.before_answer = lambda _: asyncio.ensure_future(jump())
    await road.sender.turn()
    stored = await road.stored(message)
    assert (stored.state, stored.reason) == (MessageState.FAILED, RefusalReason.HANDOVER_UNKNOWN)
    assert await road.sender.turn() == 0
    assert len(road.transport.sent) == 1
