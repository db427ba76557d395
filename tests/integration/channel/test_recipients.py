"""Who is written to: the payer instead of the user, and households whose members share a cap."""

import asyncio
from dataclasses import replace

from services.channel.app.ports import HandOver
from services.channel.domain.caps import Cap
from services.channel.domain.contact import SuppressedFor
from services.channel.domain.policies import Policies
from services.channel.domain.suppression import Suppression
from services.vocabulary.values import DAY, HOUR
from services.vocabulary.words import Category, Channel, MessageState, RefusalReason
from tests.fakes.channel import always, make_action, reachable
from tests.integration.channel.conftest import MakeRoad, Road

COMMERCIAL = frozenset({Category.SALES, Category.RETENTION})
USER, PAYER, HOUSEHOLD = 1, 50, 900


def cap(most: int, **kwargs: object) -> Cap:
    return Cap("tested", most, DAY, COMMERCIAL, COMMERCIAL, **kwargs)  # type: ignore[arg-type]


def sales(number: int, customer: int = USER, **kwargs: object):
    return make_action(number, customer, category=Category.SALES, **kwargs)  # type: ignore[arg-type]


def at_home(road: Road, *customers: int) -> None:
    for customer in customers:
        road.profile.reaches[customer] = reachable(customer, household=HOUSEHOLD)


def paid_by(road: Road, payer: int, **kwargs: object) -> None:
    """All that is asked for the user's payer is answered about this one."""
    road.profile.by_category[USER, Category.SALES] = replace(
        reachable(payer, **kwargs),  # type: ignore[arg-type]
        recipient=payer,
    )


async def test_of_eight_members_at_once_a_household_cap_of_two_lets_two_pass(make_road: MakeRoad) -> None:
    road = make_road(Policies(caps=(cap(2, household=True),)))
    at_home(road, *range(1, 9))
    admissions = [road.another_admission() for _ in range(8)]
    taken = await asyncio.gather(
        *(road.take(sales(number, number + 1), admission=one) for number, one in enumerate(admissions)),
    )
    messages = [batch[0].message for batch in taken]
    assert [message.state for message in messages].count(MessageState.PLANNED) == 2
    refused = next(message for message in messages if message.state is MessageState.REFUSED)
    assert (refused.reason, refused.detail) == (RefusalReason.CAPPED, "cap tested: 2 of at most 2 in 1d")
    # what one of them did not get after all, another may have
    road.transport.answer = always(HandOver.PERMANENT)
    await road.sender.turn()
    assert (await road.take_one(sales(100, 8))).state is MessageState.PLANNED


async def test_members_in_one_batch_share_the_cap_and_strangers_do_not(make_road: MakeRoad) -> None:
    road = make_road(Policies(caps=(cap(1, household=True),)))
    at_home(road, 1, 2)
    taken = await road.take(sales(1, 1), sales(2, 2), sales(3, 3), sales(4, 3))
    states = [one.message.state.value for one in taken]
    assert states == ["planned", "refused", "planned", "refused"]
    # what somebody got before they moved in counts, too
    at_home(road, 3)
    road.clock.now += HOUR
    assert (await road.take_one(sales(5, 3))).detail.startswith("cap tested: 2 of at most 1")


async def test_caps_suppression_and_inbox_are_the_payers_and_the_outcome_is_told_of_the_user(
    make_road: MakeRoad,
) -> None:
    road = make_road(Policies(caps=(cap(1),)))
    paid_by(road, PAYER)
    message = await road.take_one(sales(1, to_payer=True))
    assert (message.state, message.customer, message.person) == (MessageState.PLANNED, USER, PAYER)
    assert message.wording is not None
    assert message.wording.address == f"sms-address-{PAYER}"
    assert await road.rows("SELECT customer FROM contact") == [(PAYER,)]
    # the user's own cap is free, the payer's is not
    road.profile.by_category.clear()
    assert (await road.take_one(sales(2))).state is MessageState.PLANNED
    assert (await road.take_one(sales(3, PAYER))).reason is RefusalReason.CAPPED
    await road.sender.turn()
    assert {sent.customer for sent in road.transport.sent} == {USER, PAYER}
    assert {event.customer for event, _ in await road.events() if event.type == "action.sent"} == {USER}
    async with road.store.transaction() as tx:
        (heard,) = await tx.sent_to((PAYER,), Channel.SMS, 0)
        assert [one.message_id for one in await tx.sent_to((USER,), Channel.SMS, 0)] != [heard.message_id]
        await tx.suppress([Suppression(PAYER, Channel.SMS, SuppressedFor.UNSUBSCRIBED, 1, "", "")])
    paid_by(road, PAYER)
    road.clock.now += 2 * DAY
    assert (await road.take_one(sales(4, to_payer=True))).reason is RefusalReason.SUPPRESSED


async def test_without_the_payers_consent_nothing_goes_to_anybody(make_road: MakeRoad) -> None:
    road = make_road(Policies())
    said_no = reachable(PAYER)
    refused = {channel: replace(one, allowed=False) for channel, one in said_no.permissions.items()}
    no = {channel: replace(one, reason=RefusalReason.NO_CONSENT) for channel, one in refused.items()}
    road.profile.by_category[USER, Category.SALES] = replace(said_no, permissions=no, recipient=PAYER)
    message = await road.take_one(sales(1, to_payer=True))
    assert (message.state, message.reason) == (MessageState.REFUSED, RefusalReason.NO_CONSENT)


async def test_who_pays_since_gets_it_and_not_who_paid_when_it_was_worded(make_road: MakeRoad) -> None:
    road = make_road(Policies(caps=(cap(1),)))
    paid_by(road, PAYER)
    message = await road.take_one(sales(1, to_payer=True))
    paid_by(road, PAYER + 1)
    road.clock.wall += 60_000_000
    await road.sender.turn()
    assert not road.transport.sent
    assert await road.slots() == 0
    await road.due()
    await road.sender.turn()
    stored = await road.stored(message)
    assert (stored.state, stored.person) == (MessageState.SENT, PAYER + 1)
    assert road.transport.sent[0].address == f"sms-address-{PAYER + 1}"
    assert await road.rows("SELECT customer FROM contact") == [(PAYER + 1,)]
