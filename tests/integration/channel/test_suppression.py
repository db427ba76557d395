"""The suppression list over a real database: several reasons, who lifts what, one record of each change."""

import asyncio

import pytest

from services.channel.app.suppression import lift, opt_in, opt_out
from services.channel.domain.contact import SuppressedFor
from services.channel.domain.suppression import LiftedBy
from services.runtime.audit import AuditFilter, list_audit
from services.vocabulary.words import Category, Channel, MessageState, RefusalReason
from tests.fakes.channel import make_action, reachable
from tests.integration.channel.conftest import Road

SMS = Channel.SMS


async def out(road: Road, reason: SuppressedFor, customer: int = 1, **kwargs: str) -> bool:
    async with road.store.transaction() as tx:
        return await opt_out(
            tx, road.clock, customer=customer, channel=SMS, reason=reason, evidence="a proof", **kwargs
        )


async def back(road: Road, by: LiftedBy, customer: int = 1, **kwargs: str) -> bool:
    async with road.store.transaction() as tx:
        return await opt_in(tx, road.clock, customer=customer, channel=SMS, by=by, **kwargs)


async def standing(road: Road, customer: int = 1) -> frozenset[SuppressedFor]:
    async with road.store.transaction() as tx:
        return (await tx.suppressed([customer])).get((customer, SMS), frozenset())


async def test_a_reason_is_kept_once_however_often_it_comes(road: Road) -> None:
    came = await asyncio.gather(*(out(road, SuppressedFor.UNSUBSCRIBED, said="STOP") for _ in range(8)))
    assert sorted(came) == [False] * 7 + [True]
    async with road.database.transaction() as raw:
        (entry,) = await list_audit(raw, AuditFilter(target="customer/1"))
    assert (entry.action, entry.actor) == ("suppression.add", "customer/1")
    assert entry.after == {"reason": "unsubscribed", "evidence": "a proof"}
    ((event, fields),) = await road.events()
    assert (event.type, event.customer, fields) == ("message.replied", 1, {"text": "STOP", "intent": "stop"})
    assert (await road.totals())["suppression.added.unsubscribed"] == 1


async def test_lifting_one_reason_leaves_the_others(road: Road) -> None:
    for reason in SuppressedFor:
        assert await out(road, reason)
    async with road.store.transaction() as tx:
        by_staff = await lift(tx, road.clock, customer=1, channel=SMS, by=LiftedBy.STAFF)
    own = frozenset({SuppressedFor.UNSUBSCRIBED, SuppressedFor.COMPLAINED})
    assert by_staff.standing == own
    assert by_staff.lifted == frozenset(SuppressedFor) - own
    assert not await back(road, LiftedBy.STAFF)
    assert await standing(road) == own
    assert await back(road, LiftedBy.PERSON, said="START")
    assert not await back(road, LiftedBy.PERSON, said="START")
    assert await standing(road) == {SuppressedFor.COMPLAINED}
    assert [fields["intent"] for _, fields in await road.events()] == ["start"]


async def test_an_opt_out_and_an_opt_in_at_the_same_moment_are_told_as_two(road: Road) -> None:
    for _ in range(2):
        await out(road, SuppressedFor.UNSUBSCRIBED, said="STOP")
        await back(road, LiftedBy.PERSON, said="START")
    assert len({event.id for event, _ in await road.events()}) == 4


async def test_what_is_told_names_the_action_of_the_message_that_was_answered(road: Road) -> None:
    message = await road.take_one(make_action(1))
    await out(road, SuppressedFor.UNSUBSCRIBED, said="one click", message_id=message.message_id)
    event, fields = (await road.events())[-1]
    assert (event.type, fields["action"]) == ("message.replied", message.action_id)


@pytest.mark.parametrize("merged_later", [False, True])
async def test_a_merge_lifts_no_opt_out(road: Road, *, merged_later: bool) -> None:
    sales = make_action(1, category=Category.SALES)
    if not merged_later:
        await out(road, SuppressedFor.UNSUBSCRIBED, customer=2)
        road.profile.reaches[1] = reachable(1, merged=(2,))
    message = await road.take_one(sales)
    if merged_later:  # between the gates and the hand-over, under the other id
        assert message.state is MessageState.PLANNED
        await out(road, SuppressedFor.UNSUBSCRIBED, customer=2)
        road.profile.reaches[1] = reachable(1, merged=(2,))
        road.clock.wall += 3_000_000
        await road.sender.turn()
    assert (await road.stored(message)).reason is RefusalReason.SUPPRESSED
    assert road.transport.sent == []


async def test_the_version_before_is_told_the_strictest_reason(road: Road) -> None:
    known: list[list[tuple]] = []
    for change in (
        out(road, SuppressedFor.UNSUBSCRIBED),
        out(road, SuppressedFor.BOUNCED),
        back(road, LiftedBy.STAFF),
        back(road, LiftedBy.PERSON),
    ):
        await change
        known.append(await road.rows("SELECT reason FROM suppression"))
    assert known == [[("unsubscribed",)], [("bounced",)], [("unsubscribed",)], []]
