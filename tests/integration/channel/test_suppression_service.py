"""What staff may do with the suppression list, over a real database."""

from typing import Any, cast

import pytest
from rapport.channel.v1 import channel_pb2, suppression_pb2
from rapport.types.v1 import vocabulary_pb2

from services.channel.app.opt_in_link import OptInLinks
from services.channel.app.suppression import opt_out
from services.channel.app.ways_out import follow
from services.channel.domain.contact import SuppressedFor
from services.channel.domain.inbound import Owner
from services.channel.domain.links import LinkKeys, Links
from services.channel.entrypoints.suppression import SuppressionServicer
from services.channel.entrypoints.translate import action_record
from services.runtime.errors import ConflictError, InvalidArgumentError, NotFoundError, RequestReusedError
from services.vocabulary.words import Category, Channel
from tests.fakes.channel import make_action, reachable
from tests.integration.channel.conftest import Road

SMS = vocabulary_pb2.CHANNEL_SMS
NUMBER = "msisdn:+33612345678"
KEYS = LinkKeys([b"k" * 32])
CONTEXT = cast("Any", None)
Item = suppression_pb2.SuppressionItem
UNSUBSCRIBED = suppression_pb2.SUPPRESSION_REASON_UNSUBSCRIBED
BOUNCED = suppression_pb2.SUPPRESSION_REASON_BOUNCED
MANUAL = suppression_pb2.SUPPRESSION_REASON_MANUAL
ADDED, STOOD = suppression_pb2.SUPPRESSION_STATUS_ADDED, suppression_pb2.SUPPRESSION_STATUS_STOOD
UNKNOWN, WRONG = suppression_pb2.SUPPRESSION_STATUS_UNKNOWN, suppression_pb2.SUPPRESSION_STATUS_WRONG


def servicer(road: Road, *, links: bool = True) -> SuppressionServicer:
    road.profile.numbers.setdefault(NUMBER, Owner((1, 9)))  # 9 was merged into 1
    made = OptInLinks(road.admission, Links(KEYS, "https://links.example"), action_record, road.clock)
    return SuppressionServicer(
        road.database, road.store.within, road.store, road.profile, made if links else None, road.clock
    )


async def add(road: Road, request_id: str, *items: Item) -> list[int]:
    request = suppression_pb2.SuppressRequest(request_id=request_id, items=items)
    return [one.status for one in (await servicer(road).Suppress(request, CONTEXT)).results]


async def lift(road: Road, request_id: str = "l") -> suppression_pb2.LiftSuppressionResponse:
    request = suppression_pb2.LiftSuppressionRequest(request_id=request_id, subject=NUMBER, channel=SMS)
    return await servicer(road).LiftSuppression(request, CONTEXT)


async def stop(road: Road, customer: int = 1) -> None:
    async with road.store.transaction() as tx:
        await opt_out(
            tx,
            road.clock,
            customer=customer,
            channel=Channel.SMS,
            reason=SuppressedFor.UNSUBSCRIBED,
            evidence="inbound 1",
        )


async def test_staff_put_channels_on_the_list_item_by_item(road: Road) -> None:
    items = [
        Item(subject=NUMBER, channel=SMS, evidence="ticket 42"),
        Item(subject=NUMBER, channel=SMS),
        Item(subject="msisdn:+33699999999", channel=SMS),
        Item(subject=NUMBER, channel=vocabulary_pb2.CHANNEL_TASK),
        Item(subject=NUMBER, channel=SMS, evidence="wrote from +33612345678"),
        Item(subject=NUMBER, channel=SMS, reason=UNSUBSCRIBED),
    ]
    assert await add(road, "a", *items) == [ADDED, STOOD, UNKNOWN, WRONG, WRONG, ADDED]
    assert await add(road, "a", *items) == [ADDED, STOOD, UNKNOWN, WRONG, WRONG, ADDED]  # the same answer
    assert await add(road, "b", items[0]) == [STOOD]
    with pytest.raises(RequestReusedError):
        await add(road, "a", items[0])
    with pytest.raises(InvalidArgumentError, match="empty"):
        await add(road, "c")
    assert await road.rows("SELECT actor, action FROM audit_entry") == [("system", "suppression.add")] * 2
    refused = await road.take_one(make_action(1, category=Category.MANDATORY, name="surcharge-notice"))
    assert refused.detail == "sms is suppressed for this customer: manual"


async def test_staff_lift_what_is_theirs_and_are_told_why_not_the_rest(road: Road) -> None:
    await add(road, "a", Item(subject=NUMBER, channel=SMS), Item(subject=NUMBER, channel=SMS, reason=BOUNCED))
    await stop(road, customer=9)  # under another id of the person
    answer = await lift(road)
    assert sorted(answer.lifted) == [BOUNCED, MANUAL]
    assert list(answer.standing) == [UNSUBSCRIBED]
    assert "only the person lifts that: by START" in answer.detail
    again = await lift(road, "l2")
    assert (list(again.lifted), list(again.standing)) == ([], [UNSUBSCRIBED])


async def test_an_opt_out_from_another_system_is_not_lifted_by_those_who_imported_it(road: Road) -> None:
    await add(road, "a", Item(subject=NUMBER, channel=SMS, reason=UNSUBSCRIBED))
    assert list((await lift(road)).lifted) == []


async def test_a_link_opens_the_channel_again_for_the_person_whom_it_was_sent_to(road: Road) -> None:
    await stop(road, customer=9)
    road.profile.reaches[1] = reachable(1, merged=(9,))
    request = suppression_pb2.SendOptInLinkRequest(request_id="s", subject=NUMBER, channel=SMS)
    answer = await servicer(road).SendOptInLink(request, CONTEXT)
    assert answer.state == channel_pb2.MESSAGE_STATE_PLANNED
    assert (await servicer(road).SendOptInLink(request, CONTEXT)).message_id == answer.message_id
    await road.sender.turn()
    assert [one.name for one in road.transport.sent] == ["opt-in-link"]
    address = road.renderer.rendered[1].parameters["link"]  # for each id one is ready
    assert isinstance(address, str)
    token = address.removeprefix("https://links.example/l/")
    link = KEYS.read_token(token, road.clock.now)
    assert link is not None
    assert await follow(road.store, road.clock, link)
    assert list((await lift(road)).standing) == []


async def test_no_link_is_sent_to_one_who_has_not_opted_out_or_where_none_is_served(road: Road) -> None:
    await add(road, "a", Item(subject=NUMBER, channel=SMS))
    request = suppression_pb2.SendOptInLinkRequest(request_id="s", subject=NUMBER, channel=SMS)
    answer = await servicer(road).SendOptInLink(request, CONTEXT)
    assert (answer.message_id, answer.customer) == ("", 1)
    assert "has not opted out of sms" in answer.detail
    with pytest.raises(ConflictError, match="serves no links"):
        await servicer(road, links=False).SendOptInLink(request, CONTEXT)
    request.via = vocabulary_pb2.CHANNEL_APP
    with pytest.raises(InvalidArgumentError, match="does not go out by app"):
        await servicer(road).SendOptInLink(request, CONTEXT)


async def test_the_list_comes_in_pages_newest_first_and_narrowed(road: Road) -> None:
    for customer in (1, 2, 3):
        await stop(road, customer)
    await add(road, "a", Item(subject=NUMBER, channel=vocabulary_pb2.CHANNEL_EMAIL))

    async def page(**narrowed: Any) -> suppression_pb2.ListSuppressionsResponse:
        request = suppression_pb2.ListSuppressionsRequest(**narrowed)
        return await servicer(road).ListSuppressions(request, CONTEXT)

    first = await page(page_size=3)
    assert [entry.customer for entry in first.suppressions] == [1, 3, 2]
    rest = await page(page_size=3, page_token=first.next_page_token)
    assert ([entry.customer for entry in rest.suppressions], rest.next_page_token) == ([1], "")
    assert [entry.channel for entry in (await page(subject=NUMBER, channel=SMS)).suppressions] == [SMS]
    assert [entry.reason for entry in (await page(reason=MANUAL)).suppressions] == [MANUAL]
    for wrong in ({"page_size": -1}, {"page_token": "x"}, {"channel": 99}):
        with pytest.raises(InvalidArgumentError):
            await page(**wrong)
    with pytest.raises(NotFoundError):
        await page(subject="msisdn:+33600000000")
