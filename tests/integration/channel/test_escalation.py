"""`channels: [app, sms after 2h]`: who follows when the first did not reach the customer."""

from dataclasses import replace

import pytest

from services.channel.app.escalate import escalate
from services.channel.app.ports import Handed, HandOver, InboxEntry
from services.channel.app.receipts import take_seen
from services.channel.domain.actions import Action, ChannelChoice
from services.channel.domain.caps import Cap
from services.channel.domain.messages import Message
from services.channel.domain.policies import Policies
from services.vocabulary import ids
from services.vocabulary.values import DAY, HOUR
from services.vocabulary.words import Category, Channel, MessageState
from tests.fakes.channel import SetTransport, always, make_action, reachable
from tests.integration.channel.conftest import MakeRoad, Road

_BOTH = (Channel.APP, Channel.SMS, Channel.EMAIL)


def first_then_sms(road: Road, number: int = 1, first: Channel = Channel.APP, **more: object) -> Action:
    action = make_action(number, number, decided_micros=road.clock.now, **more)
    road.profile.reaches[number] = reachable(number, channels=_BOTH)
    return replace(action, channels=(ChannelChoice(first), ChannelChoice(Channel.SMS, 2 * HOUR)))


async def send(road: Road, action: Action, first: Channel = Channel.APP) -> tuple[Message, SetTransport]:
    message = await road.take_one(action)
    app = SetTransport(first)
    await road.another_sender(app).turn()
    return message, app


async def after(road: Road, micros: int) -> int:
    """So much later: how many text messages were sent."""
    road.clock.now += micros
    road.clock.wall += micros
    while await escalate(road.store, road.admission, road.clock) + await road.due():
        pass
    while await road.sender.turn():
        pass
    return len(road.transport.sent)


def second(action: Action) -> str:
    return ids.later_message_id(action.action_id, 2 * HOUR)


async def test_what_was_not_delivered_in_time_is_followed_once(make_road: MakeRoad) -> None:
    every = frozenset(Category)
    road = make_road(Policies(caps=(Cap("day", 1, DAY, every, every),)))
    action = first_then_sms(road)
    message, app = await send(road, action)
    assert len(app.sent) == 1
    assert await after(road, 2 * HOUR - 1) == 0
    assert await after(road, 1) == 1, "its own first message does not count against it"
    assert await after(road, HOUR) == 1
    followed = await road.stored(second(action))
    assert (followed.state, followed.channel) == (MessageState.SENT, Channel.SMS)
    assert (await road.stored(message)).state is MessageState.SENT
    assert await road.rows("SELECT message_id::text FROM contact") == [(second(action),)]
    assert [kind for kind, _ in await road.told()] == ["action.sent", "action.sent"]

    # the app shows it at last: both reached the customer
    await take_seen(road.store, road.clock, [InboxEntry(1, 1, message.message_id)])
    assert await road.slots() == 2


async def test_what_was_delivered_in_time_is_not_followed(road: Road) -> None:
    action = first_then_sms(road)
    message, _ = await send(road, action)
    await take_seen(road.store, road.clock, [InboxEntry(1, 1, message.message_id)])
    assert await after(road, 3 * HOUR) == 0
    assert await road.store.find(second(action)) is None


async def test_a_mail_that_was_taken_counts_as_delivered_and_one_that_failed_is_followed(road: Road) -> None:
    taken = first_then_sms(road, 1, Channel.EMAIL)
    failed = first_then_sms(road, 2, Channel.EMAIL)
    await send(road, taken, Channel.EMAIL)
    bounced = await road.take_one(failed)
    refusing = SetTransport(Channel.EMAIL)
    refusing.answer = always(HandOver.PERMANENT, "no such mailbox")
    await road.another_sender(refusing).turn()
    assert (await road.stored(bounced)).state is MessageState.FAILED
    assert await after(road, 2 * HOUR) == 1
    assert road.transport.sent[0].customer == 2


async def test_what_was_not_even_handed_over_goes_to_the_next_channel_itself(road: Road) -> None:
    action = first_then_sms(road, 1, Channel.EMAIL)
    message = await road.take_one(action)
    away = SetTransport(Channel.EMAIL)
    away.answer = always(HandOver.TRANSIENT, "not connected")
    sender = road.another_sender(away)
    await sender.turn()
    assert await after(road, 2 * HOUR) == 1
    stored = await road.stored(message)
    assert (stored.state, stored.channel) == (MessageState.SENT, Channel.SMS)
    assert await sender.turn() == 0
    assert await road.slots() == 1


async def test_the_next_channel_passes_all_gates(road: Road) -> None:
    action = first_then_sms(road, category=Category.SALES, expires_micros=road.clock.now + DAY)
    await send(road, action)
    road.profile.reaches[1] = reachable(1, channels=(Channel.APP,))
    assert await after(road, 2 * HOUR) == 0
    refused = await road.stored(second(action))
    assert refused.state is MessageState.REFUSED
    assert await road.slots() == 1, "the first keeps its place"


async def test_a_crash_between_looking_and_following_repeats_nothing(
    road: Road, monkeypatch: pytest.MonkeyPatch
) -> None:
    action = first_then_sms(road)
    await send(road, action)
    road.clock.now += 2 * HOUR
    with monkeypatch.context() as patched:
        patched.setattr(type(road.admission), "take", _crash)
        with pytest.raises(RuntimeError):
            await escalate(road.store, road.admission, road.clock)
    assert await road.store.find(second(action)) is None
    assert await after(road, HOUR) == 1


async def _crash(*_: object) -> None:
    raise RuntimeError("killed")


async def test_an_unknown_hand_over_that_must_not_be_repeated_is_not_followed(road: Road) -> None:
    action = first_then_sms(
        road, 1, Channel.EMAIL, category=Category.SALES, expires_micros=road.clock.now + DAY
    )
    await road.take_one(action)
    silent = SetTransport(Channel.EMAIL)
    silent.answer = lambda message: Handed(message.message_id, HandOver.UNKNOWN)
    await road.another_sender(silent).turn()
    assert await after(road, 2 * HOUR) == 0
