"""The gates over a real database: caps under concurrency, quiet hours, suppression, duplicates."""

import asyncio
from collections.abc import Sequence
from dataclasses import replace
from datetime import datetime
from zoneinfo import ZoneInfo

import pytest

from services.channel.app.ports import HandOver
from services.channel.app.profile import ContactQuestion
from services.channel.domain.caps import Cap, Reserve, SalesShare
from services.channel.domain.choice import Dropped
from services.channel.domain.contact import Contact, Permission, Reach, SuppressedFor
from services.channel.domain.policies import Policies
from services.channel.domain.quiet_hours import QuietHours, QuietWindow, Week
from services.channel.domain.suppression import Suppression
from services.vocabulary.values import DAY, HOUR, MINUTE, time_to_micros
from services.vocabulary.words import Category, Channel, MessageState, RefusalReason
from tests.fakes.channel import NOON, always, make_action, reachable
from tests.integration.channel.conftest import MakeRoad, Road

COMMERCIAL = frozenset({Category.SALES, Category.RETENTION})
NIGHT = Week(((QuietWindow(21 * 60, 8 * 60),),) * 7)


def cap(most: int, window: int = DAY, **kwargs: object) -> Cap:
    limits = kwargs.pop("limits", COMMERCIAL)
    counts = kwargs.pop("counts", limits)
    return Cap("tested", most, window, limits, counts, **kwargs)  # type: ignore[arg-type]


def sales(number: int, customer: int = 1, **kwargs: object):
    return make_action(number, customer, category=Category.SALES, **kwargs)  # type: ignore[arg-type]


async def test_twenty_at_once_against_a_cap_of_one_let_one_pass(make_road: MakeRoad) -> None:
    road = make_road(Policies(caps=(cap(1),)))
    admissions = [road.another_admission() for _ in range(20)]
    taken = await asyncio.gather(
        *(road.take(sales(number), admission=one) for number, one in enumerate(admissions)),
    )
    states = [batch[0].message.state for batch in taken]
    assert states.count(MessageState.PLANNED) == 1
    assert states.count(MessageState.REFUSED) == 19
    assert await road.slots() == 1
    refused = next(batch[0].message for batch in taken if batch[0].message.state is MessageState.REFUSED)
    assert (refused.reason, refused.detail) == (RefusalReason.CAPPED, "cap tested: 1 of at most 1 in 1d")


async def test_the_share_of_sales_is_exact_however_many_are_decided_at_once(make_road: MakeRoad) -> None:
    road = make_road(Policies(sales_share=SalesShare(0.5, DAY)))
    assert (await road.take_one(make_action(100, 1, category=Category.SERVICE))).state is MessageState.PLANNED
    admissions = [road.another_admission() for _ in range(5)]
    taken = await asyncio.gather(
        *(road.take(sales(number), admission=one) for number, one in enumerate(admissions)),
    )
    states = [batch[0].message.state for batch in taken]
    assert (states.count(MessageState.PLANNED), states.count(MessageState.REFUSED)) == (1, 4)
    refused = next(batch[0].message for batch in taken if batch[0].message.state is MessageState.REFUSED)
    told = "at most 50% of contacts in 1d may be sales; with this one 2 of 3 would be"
    assert (refused.reason, refused.detail) == (RefusalReason.CAPPED, told)
    (one,) = await road.admission.prepare([sales(50)])
    async with road.store.transaction() as tx:
        (choice,) = await road.admission.reserve(tx, [one], Channel.SMS)
    assert isinstance(choice, Dropped)
    assert (choice.reason, choice.detail) == (RefusalReason.CAPPED, told)
    await road.take_one(make_action(101, 1, category=Category.SERVICE))
    batch = await road.take(sales(60, score=1.0), sales(61, score=2.0))
    assert [each.message.state for each in batch] == [MessageState.REFUSED, MessageState.PLANNED]


async def test_twenty_in_one_batch_against_a_cap_of_one_let_the_best_pass(make_road: MakeRoad) -> None:
    road = make_road(Policies(caps=(cap(1),)))
    taken = await road.take(*(sales(number, score=float(number % 13)) for number in range(20)))
    passed = [place for place, one in enumerate(taken) if one.message.state is MessageState.PLANNED]
    assert passed == [12]


async def test_merged_customers_are_one_person_under_concurrency(make_road: MakeRoad) -> None:
    road = make_road(Policies(caps=(cap(1),)))
    for one, other in ((1, 2), (2, 1)):
        road.profile.reaches[one] = reachable(one, merged=(other,))
    admissions = [road.another_admission() for _ in range(10)]
    taken = await asyncio.gather(
        *(road.take(sales(number, 1 + number % 2), admission=one) for number, one in enumerate(admissions)),
    )
    assert [batch[0].message.state for batch in taken].count(MessageState.PLANNED) == 1


async def test_a_refused_action_consumes_nothing(make_road: MakeRoad) -> None:
    caps = (replace(cap(5, MINUTE), name="minute"), replace(cap(6, HOUR), name="hour"))
    road = make_road(Policies(caps=caps))
    states = [(await road.take_one(sales(number))).state for number in range(8)]
    assert [state.value for state in states] == ["planned"] * 5 + ["refused"] * 3
    assert await road.slots() == 5
    road.clock.now += MINUTE
    states = [(await road.take_one(sales(10 + number))).state for number in range(3)]
    assert [state.value for state in states] == ["planned", "refused", "refused"]


async def test_a_slot_given_back_goes_to_the_next_action(make_road: MakeRoad) -> None:
    road = make_road(Policies(caps=(cap(1),)))
    await road.take_one(sales(1))
    assert (await road.take_one(sales(2))).state is MessageState.REFUSED
    road.transport.answer = always(HandOver.PERMANENT)
    await road.sender.turn()
    assert (await road.take_one(sales(3))).state is MessageState.PLANNED


async def test_caps_survive_a_restart(make_road: MakeRoad) -> None:
    road = make_road(Policies(caps=(cap(1),)))
    await road.take_one(sales(1))
    again = Road(road.database, road.policies, road.clock)
    assert (await again.take_one(sales(2))).state is MessageState.REFUSED


async def test_contacts_of_other_systems_count_for_messages_and_for_what_callers_present(
    make_road: MakeRoad,
) -> None:
    road = make_road(Policies(caps=(cap(2),)))
    elsewhere = Contact(9, "", Channel.CALL, Category.SALES, "", NOON - HOUR)
    road.profile.reaches[1] = reachable(1, merged=(9,), contacts=(elsewhere,))
    assert (await road.take_one(sales(1))).state is MessageState.PLANNED
    (one,) = await road.admission.prepare([sales(2)])
    async with road.store.transaction() as tx:
        (choice,) = await road.admission.reserve(tx, [one], Channel.APP)
    assert isinstance(choice, Dropped)
    assert (choice.reason, choice.next_micros) == (RefusalReason.NO_ADDRESS, None)
    road.profile.reaches[1] = reachable(
        1, channels=(Channel.APP, Channel.SMS), merged=(9,), contacts=(elsewhere,)
    )
    (one,) = await road.admission.prepare([sales(2)])
    async with road.store.transaction() as tx:
        (choice,) = await road.admission.reserve(tx, [one], Channel.APP)
    assert isinstance(choice, Dropped)
    assert (choice.reason, choice.next_micros) == (RefusalReason.CAPPED, NOON + 23 * HOUR)
    assert choice.detail == "cap tested: 2 of at most 2 in 1d"
    refused = await road.take_one(sales(3))
    assert (refused.state, refused.reason) == (MessageState.REFUSED, RefusalReason.CAPPED)


async def test_the_last_slot_waits_for_what_matters_and_topics_are_kept(make_road: MakeRoad) -> None:
    topical = cap(2, topics=frozenset({"roaming"}), reserve=Reserve(1, from_priority=80))
    road = make_road(Policies(caps=(topical,)))
    taken = [
        (await road.take_one(sales(number, topic=topic, priority=priority))).state.value
        for number, (topic, priority) in enumerate(
            [("roaming", 0), ("roaming", 79), ("billing", 0), ("roaming", 80), ("roaming", 80)]
        )
    ]
    assert taken == ["planned", "refused", "planned", "planned", "refused"]
    assert await road.slots() == 3


async def test_service_over_its_cap_waits_and_leaves_when_there_is_room(make_road: MakeRoad) -> None:
    service = frozenset({Category.SERVICE})
    road = make_road(Policies(caps=(cap(1, HOUR, limits=service),)))
    await road.take_one(make_action(1))
    road.clock.now += 10 * MINUTE
    waiting = await road.take_one(make_action(2))
    assert (waiting.state, waiting.reason) == (MessageState.DEFERRED, RefusalReason.CAPPED)
    assert waiting.due_micros == NOON + HOUR
    assert await road.due() == 0
    road.clock.now = NOON + HOUR
    assert await road.due() == 1
    assert (await road.stored(waiting)).state is MessageState.PLANNED
    assert await road.told() == [("action.deferred", "CAPPED")]


async def test_one_channel_capped_takes_the_next_one(make_road: MakeRoad) -> None:
    road = make_road(Policies(caps=(cap(1, channels=frozenset({Channel.SMS})),)))
    both = (Channel.SMS, Channel.EMAIL)
    assert (await road.take_one(sales(1, channels=both))).channel is Channel.SMS
    assert (await road.take_one(sales(2, channels=both))).channel is Channel.EMAIL


async def test_quiet_hours_hold_a_message_until_they_end(make_road: MakeRoad) -> None:
    road = make_road(Policies(quiet_hours=QuietHours(NIGHT)))
    road.profile.reaches[1] = reachable(1, zone="Europe/Paris")
    road.clock.now = NOON + 9 * HOUR  # 21:00 UTC is night in Paris
    message = await road.take_one(sales(1, expires_micros=NOON + 3 * DAY))
    assert (message.state, message.reason) == (MessageState.DEFERRED, RefusalReason.QUIET_HOURS)
    assert await road.slots() == 0  # it holds no slot while it waits
    road.clock.now = message.due_micros - 1
    assert await road.due() == 0
    road.clock.now += 1
    assert await road.due() == 1
    assert await road.due() == 0
    await road.sender.turn()
    assert len(road.transport.sent) == 1
    assert await road.steps(message) == ["accepted", "deferred", "planned", "sending", "sent"]


@pytest.mark.parametrize(("night", "morning"), [("2027-03-27", "2027-03-28"), ("2026-10-24", "2026-10-25")])
async def test_over_a_change_of_the_clocks_a_message_leaves_once_and_in_the_local_morning(
    make_road: MakeRoad, night: str, morning: str
) -> None:
    road = make_road(Policies(quiet_hours=QuietHours(NIGHT)))
    road.profile.reaches[1] = reachable(1, zone="Europe/Paris")
    paris = ZoneInfo("Europe/Paris")

    def at(day: str, hour: int) -> int:
        return time_to_micros(datetime.fromisoformat(day).replace(hour=hour, tzinfo=paris))

    road.clock.now = at(night, 22)
    message = await road.take_one(sales(1))
    assert message.due_micros == at(morning, 8)
    for hour in (0, 1, 2, 3, 4, 7, 8, 9):
        road.clock.now = at(morning, hour)
        await road.due()
        await road.sender.turn()
        assert len(road.transport.sent) == (hour >= 8)
    assert await road.steps(message) == ["accepted", "deferred", "planned", "sending", "sent"]


async def test_what_expires_before_the_morning_is_refused_at_once(make_road: MakeRoad) -> None:
    road = make_road(Policies(quiet_hours=QuietHours(NIGHT)))
    road.clock.now = NOON + 10 * HOUR
    message = await road.take_one(sales(1, expires_micros=road.clock.now + HOUR))
    assert (message.state, message.reason) == (MessageState.REFUSED, RefusalReason.QUIET_HOURS)


async def test_all_days_closed_means_nothing_is_sent(make_road: MakeRoad) -> None:
    closed = QuietHours(Week(closed=frozenset(range(7))))
    road = make_road(Policies(quiet_hours=closed))
    message = await road.take_one(make_action(1))
    assert (message.state, message.reason) == (MessageState.REFUSED, RefusalReason.QUIET_HOURS)


async def test_a_message_that_waited_into_the_night_waits_for_the_morning(make_road: MakeRoad) -> None:
    road = make_road(Policies(quiet_hours=QuietHours(NIGHT), caps=(cap(1),)))
    message = await road.take_one(sales(1))
    road.transport.answer = always(HandOver.TRANSIENT)
    await road.sender.turn()
    road.clock.now += 10 * HOUR
    road.clock.wall += 60_000_000
    road.transport.answer = road.transport.accept
    await road.sender.turn()
    stored = await road.stored(message)
    assert (stored.state, len(road.transport.sent)) == (MessageState.DEFERRED, 1)
    assert await road.slots() == 0
    road.clock.now = stored.due_micros
    await road.due()
    await road.sender.turn()
    assert (await road.stored(message)).state is MessageState.SENT
    assert await road.slots() == 1


async def test_when_due_all_gates_are_asked_again(make_road: MakeRoad) -> None:
    road = make_road(Policies(quiet_hours=QuietHours(NIGHT)))
    road.clock.now = NOON + 10 * HOUR
    message = await road.take_one(sales(1))
    road.profile.reaches[1] = Reach(
        True, 0, {Channel.SMS: Permission(False, RefusalReason.NO_CONSENT, "sms-address-1")}
    )
    road.clock.now = message.due_micros
    await road.due()
    stored = await road.stored(message)
    assert (stored.state, stored.reason) == (MessageState.REFUSED, RefusalReason.NO_CONSENT)


async def test_due_twice_by_two_workers_is_sent_once(make_road: MakeRoad) -> None:
    road = make_road(Policies(quiet_hours=QuietHours(NIGHT)))
    road.clock.now = NOON + 10 * HOUR
    taken = await road.take(*(sales(number, number) for number in range(1, 40)))
    road.clock.now = taken[0].message.due_micros
    assert sum(await asyncio.gather(*(road.due() for _ in range(4)))) == 39
    while await road.sender.turn():
        pass
    assert len(road.transport.sent) == 39
    assert len({one.customer for one in road.transport.sent}) == 39


async def test_a_suppressed_channel_is_never_chosen(road: Road) -> None:
    async with road.store.transaction() as tx:
        await tx.suppress([Suppression(1, Channel.SMS, SuppressedFor.UNSUBSCRIBED, NOON)])
        await tx.suppress([Suppression(1, Channel.EMAIL, SuppressedFor.BOUNCED, NOON)])
    taken = await road.take(
        sales(1, channels=(Channel.SMS, Channel.EMAIL)),
        make_action(2, channels=(Channel.SMS, Channel.EMAIL)),
        sales(3, 2),
    )
    first, service, other = (one.message for one in taken)
    assert (first.state, first.reason) == (MessageState.REFUSED, RefusalReason.SUPPRESSED)
    assert service.channel is Channel.SMS  # an opt-out does not stop service
    assert other.state is MessageState.PLANNED  # and does not stop the batch


async def test_suppressed_after_the_gates_is_not_sent(road: Road) -> None:
    message = await road.take_one(sales(1))
    async with road.store.transaction() as tx:
        await tx.suppress([Suppression(1, Channel.SMS, SuppressedFor.UNSUBSCRIBED, NOON)])
    await road.sender.turn()
    assert road.transport.sent == []
    assert (await road.stored(message)).reason is RefusalReason.SUPPRESSED


async def test_an_action_is_taken_once_whoever_brings_it(make_road: MakeRoad) -> None:
    road = make_road(Policies(caps=(cap(5),)))
    admissions = [road.another_admission() for _ in range(8)]
    taken = await asyncio.gather(*(road.take(sales(1), admission=one) for one in admissions))
    assert [batch[0].duplicate for batch in taken].count(False) == 1
    assert len({batch[0].message.message_id for batch in taken}) == 1
    twice = await road.take(sales(2), sales(2))
    assert [one.duplicate for one in twice] == [False, True]
    assert await road.slots() == 2
    totals = await road.totals()
    assert (totals["actions.taken"], totals["actions.duplicate"]) == (2, 8)


async def test_each_refusal_is_told_with_its_reason(make_road: MakeRoad) -> None:
    road = make_road(Policies(caps=(cap(0),)))
    road.profile.reaches[2] = Reach(True, 0, {Channel.SMS: Permission(True)})
    road.renderer.missing.add(("unwritten", Channel.SMS))
    await road.take_one(sales(1, 1))
    await road.take_one(sales(2, 2))
    await road.take_one(make_action(3, 3, name="unwritten"))
    await road.take_one(make_action(4, 4, expires_micros=NOON))
    await road.take_one(make_action(5, 5, category=Category.MANDATORY))
    assert await road.told() == [
        ("action.refused", "CAPPED"),
        ("action.refused", "NO_ADDRESS"),
        ("action.refused", "NO_TEMPLATE"),
        ("action.expired", "EXPIRED"),
        ("action.refused", "NO_TEMPLATE"),  # mandatory without a ground
    ]
    events = await road.events()
    assert len({event.id for event, _ in events}) == 5
    assert events[0][1]["category"] == "sales"


async def test_a_mandatory_message_with_its_ground_passes_the_night(make_road: MakeRoad) -> None:
    road = make_road(Policies(quiet_hours=QuietHours(NIGHT)))
    road.clock.now = NOON + 10 * HOUR
    notice = make_action(1, category=Category.MANDATORY, name="surcharge-notice")
    assert (await road.take_one(notice)).state is MessageState.PLANNED
    await road.sender.turn()
    assert len(road.transport.sent) == 1


async def test_what_is_old_is_asked_for_in_one_call_and_a_withdrawal_stops_its_own_message_only(
    road: Road,
) -> None:
    messages = [await road.take_one(sales(number, number)) for number in range(1, 6)]
    no = Permission(False, RefusalReason.NO_CONSENT, "sms-address-3")
    road.profile.reaches[3] = Reach(True, 0, {Channel.SMS: no})
    calls: list[int] = []
    ask = road.profile.check_contact

    async def counted(questions: Sequence[ContactQuestion]) -> Sequence[Reach]:
        calls.append(len(questions))
        return await ask(questions)

    road.profile.check_contact = counted  # type: ignore[method-assign]
    road.clock.wall += 2_000_000
    await road.sender.turn()
    assert calls == [5]
    assert sorted(one.customer for one in road.transport.sent) == [1, 2, 4, 5]
    assert (await road.stored(messages[2])).reason is RefusalReason.NO_CONSENT
