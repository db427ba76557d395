"""After a restore: what may have been said in the gap is held back, the rest is said, and all is named."""

from dataclasses import replace

import pytest

from services.channel.adapters.storage.quarantine import ChannelPart, OutcomesReplay
from services.channel.app.ports import Outgoing
from services.channel.app.quarantine import discard, release
from services.channel.app.store import QuarantineFilter
from services.channel.domain.actions import ChannelChoice
from services.channel.domain.contact import Permission, Reach
from services.channel.domain.policies import Policies
from services.channel.domain.quiet_hours import QuietHours
from services.channel.entrypoints.quarantine import QuarantineWatch
from services.runtime import metrics
from services.runtime.recovery import Gap, begin, mark_restored, read_recovery
from services.runtime.replay import Replay
from services.vocabulary.words import Category, Channel, MessageState, RefusalReason
from tests.fakes.channel import NOON, make_action
from tests.integration.channel.conftest import MakeRoad, Road
from tests.integration.channel.test_gates_on_storage import NIGHT
from tests.integration.channel.test_inbound import take, written

HOUR = 3_600_000_000
EVERYTHING = QuarantineFilter()
HELD_BACK = (Category.RETENTION, Category.SALES, Category.SURVEY)


async def recover(road: Road, *, hours: int = 2) -> Gap:
    """Restores (says so) and begins recovery: the gap ends now and began so many hours ago."""
    await mark_restored(road.database)
    now = road.clock.now_micros()
    gap = Gap(now - hours * HOUR, now, now - (hours + 1) * HOUR, now)
    async with road.database.transaction() as transaction:
        await begin(transaction, gap)
        await ChannelPart(road.clock).begin(transaction, gap, "r")
    return gap


async def held(road: Road) -> int:
    async with road.database.transaction() as transaction:
        return (await ChannelPart(road.clock).held(transaction)).quarantined


def outgoing(number: int) -> Outgoing:
    message = make_action(number)
    return Outgoing(
        message.action_id, 1, "device", "text", "", "", "", message.category, message.name, 0, again=False
    )


def of_gap(number: int, gap: Gap, **more):
    return replace(make_action(number, **more), event_micros=gap.end_micros - HOUR)


@pytest.mark.parametrize("category", HELD_BACK)
async def test_what_was_ready_to_be_sent_is_held_back_with_its_slot(road: Road, category) -> None:
    message = await road.take_one(make_action(1, category=category))
    await recover(road)

    assert await road.sender.turn() == 0

    stored = await road.stored(message)
    assert (stored.state, stored.reason) == (MessageState.QUARANTINED, RefusalReason.QUARANTINED)
    assert await road.steps(message) == ["accepted", "planned", "quarantined"]
    assert await road.slots() == 1
    assert await held(road) == 1


@pytest.mark.parametrize(
    ("category", "name"), [(Category.MANDATORY, "surcharge-notice"), (Category.SERVICE, "hello")]
)
async def test_what_may_be_said_twice_is_sent_and_counted(road: Road, category, name) -> None:
    stock = await road.take_one(make_action(1, category=category, name=name))
    gap = await recover(road)
    again = await road.take_one(of_gap(2, gap, category=category, name=name))

    assert await road.sender.turn() == 2

    assert {sent.message_id for sent in road.transport.sent} == {stock.message_id, again.message_id}
    assert all(sent.again for sent in road.transport.sent)
    assert (await road.totals())["recovery.sent_again"] == 2
    assert await held(road) == 0


@pytest.mark.parametrize("category", HELD_BACK)
async def test_an_action_of_the_gap_is_held_back_one_after_it_is_sent(road: Road, category) -> None:
    gap = await recover(road)
    before = await road.take_one(of_gap(1, gap, category=category))
    ahead = replace(make_action(2, category=category), event_micros=gap.end_micros + 300_000_000)
    at_the_edge = await road.take_one(ahead)
    after = await road.take_one(
        replace(make_action(3, category=category), event_micros=gap.end_micros + 300_000_001)
    )
    direct = await road.take_one(make_action(4, category=category))

    await road.sender.turn()

    assert [(await road.stored(one)).state.value for one in (before, at_the_edge, after, direct)] == [
        "quarantined",
        "quarantined",
        "sent",
        "sent",
    ]
    assert await road.slots() == 4
    assert (await road.totals())["recovery.quarantined"] == 2


async def test_a_repeat_of_what_the_database_knows_is_a_duplicate(road: Road) -> None:
    action = make_action(1, category=Category.SALES)
    await road.take_one(action)
    await road.sender.turn()
    gap = await recover(road)

    taken = await road.take(replace(action, event_micros=gap.end_micros - HOUR))

    assert taken[0].duplicate
    assert await held(road) == 0


async def test_what_waits_for_a_time_in_the_gap_is_held_back_when_it_comes(make_road: MakeRoad) -> None:
    road = make_road(Policies(quiet_hours=QuietHours(NIGHT)))
    road.clock.now = NOON + 10 * HOUR
    in_gap = await road.take_one(make_action(1, category=Category.SALES))
    road.clock.now = NOON + 24 * HOUR
    tomorrow = await road.take_one(
        replace(
            make_action(2, category=Category.SALES),
            channels=(ChannelChoice(Channel.SMS, HOUR),),
            decided_micros=road.clock.now,
        )
    )
    gap = await recover(road)
    road.clock.now += 10 * HOUR
    new = await road.take_one(of_gap(3, gap, category=Category.SALES))
    assert [one.state.value for one in (in_gap, tomorrow, new)] == ["deferred"] * 3
    async with road.database.transaction() as transaction:
        assert (await ChannelPart(road.clock).held(transaction)).waiting == 2

    road.clock.now += 14 * HOUR
    assert await road.due() == 3
    await road.sender.turn()

    states = [(await road.stored(one)).state.value for one in (in_gap, tomorrow, new)]
    assert states == ["quarantined", "sent", "quarantined"]


async def test_a_released_message_passes_the_last_gates_and_is_sent(road: Road) -> None:
    fine = await road.take_one(make_action(1, 1, category=Category.SALES))
    refused = await road.take_one(make_action(2, 2, category=Category.SALES))
    await recover(road)
    road.profile.reaches[2] = Reach(
        True, 0, {Channel.SMS: Permission(False, RefusalReason.NO_CONSENT, "sms-address-2")}
    )

    async with road.store.transaction() as tx:
        settled = await release(tx, road.clock, EVERYTHING)
    await road.sender.turn()

    assert (len(settled.messages), settled.remaining) == (2, 0)
    assert (await road.stored(fine)).state is MessageState.SENT
    assert (await road.stored(refused)).reason is RefusalReason.NO_CONSENT
    assert await road.slots() == 1
    assert (await road.totals())["recovery.released"] == 2


async def test_a_discarded_message_is_over_and_keeps_what_it_used_up(road: Road) -> None:
    message = await road.take_one(make_action(1, category=Category.SALES))
    await recover(road)

    async with road.store.transaction() as tx:
        settled = await discard(tx, road.clock, QuarantineFilter(message_ids=(message.message_id,)))
    await road.sender.turn()

    assert (len(settled.messages), settled.remaining) == (1, 0)
    stored = await road.stored(message)
    assert (stored.state, stored.reason) == (MessageState.FAILED, RefusalReason.HANDOVER_UNKNOWN)
    assert road.transport.sent == []
    assert await road.slots() == 1
    assert await road.told() == [("action.failed", "HANDOVER_UNKNOWN")]


async def test_what_is_held_back_is_counted_for_the_metrics(road: Road) -> None:
    watch = QuarantineWatch(road.store)
    await road.take(*(make_action(number, number, category=Category.SALES) for number in (1, 2)))
    await recover(road)
    await watch.look()
    assert metrics.QUARANTINED._value.get() == 2
    async with road.store.transaction() as tx:
        await discard(tx, road.clock, EVERYTHING)
    await watch.look()
    assert metrics.QUARANTINED._value.get() == 0


async def test_a_filter_narrows_what_is_settled(road: Road) -> None:
    for number, (category, name) in enumerate(
        [(Category.SALES, "one"), (Category.SALES, "two"), (Category.SURVEY, "one")]
    ):
        await road.take_one(make_action(number, number + 1, category=category, name=name))
    await recover(road)
    async with road.store.transaction() as tx:
        survey = await release(tx, road.clock, QuarantineFilter(category=Category.SURVEY))
        two = await discard(tx, road.clock, QuarantineFilter(name="two"))
        left = await tx.quarantined(EVERYTHING)
    assert [message.category for message in survey.messages] == [Category.SURVEY]
    assert [message.name for message in two.messages] == ["two"]
    assert left == 1


async def test_outcomes_since_the_replays_start_are_published_again(road: Road) -> None:
    early = await road.take_one(make_action(1))
    await road.sender.turn()
    road.clock.now += 24 * HOUR
    late = await road.take_one(make_action(2))
    await road.sender.turn()
    before = {event.id: fields["message"] for event, fields in await road.events()}
    await road.rows("DELETE FROM outbox RETURNING 1")
    await recover(road)
    replay = Replay(road.database, OutcomesReplay(road.store.within, road.store.sealer))

    while await replay.turn():
        pass

    again = {event.id: fields["message"] for event, fields in await road.events()}
    assert again == {event: message for event, message in before.items() if message == late.message_id}
    assert early.message_id not in again.values()
    assert (await road.totals())["recovery.handed_again.outcomes"] == 1
    async with road.database.transaction() as transaction:
        assert (await read_recovery(transaction)).replayed


async def test_what_customers_wrote_is_told_again_as_it_was_told(road: Road) -> None:
    message = await road.take_one(make_action(1, line="2"))
    await road.sender.turn()
    await take(road, written("before", "0"))
    road.clock.now += 50 * HOUR
    await take(road, written("and this?", "1"), written("of nobody", "2", sender="+33699999999"))
    before = [(event.id, event.line, fields) for event, fields in await road.events()][-1:]
    assert before[0][1:] == ("2", {"text": "and this?", "intent": "other", "action": message.action_id})
    await road.rows("DELETE FROM outbox RETURNING 1")
    await recover(road)
    replay = Replay(road.database, OutcomesReplay(road.store.within, road.store.sealer))
    while await replay.turn():
        pass
    told = [(event.id, event.line, fields) for event, fields in await road.events()]
    assert [one for one in told if "text" in one[2]] == before
    assert (await road.totals())["recovery.handed_again.replies"] == 1


async def test_the_inbox_begins_above_every_cursor_given_out_before_the_restore(road: Road) -> None:
    before = await road.inbox.put([outgoing(1)])
    await mark_restored(road.database)
    after = await road.inbox.put([outgoing(2)])
    assert list(before.values()) == [1]
    assert list(after.values()) == [(1 << 40) + 1]
