"""What SMSCs delivered is answered when the next batch is asked for, and not a moment before."""

from typing import TYPE_CHECKING, cast

import pytest

from services.channel.adapters.smpp_deliveries import Deliveries, Delivery

if TYPE_CHECKING:
    from services.channel.adapters.smpp_link import SmppLink


class Link:
    """As much of a link as the queue looks at."""

    bound = True


def put(queue: Deliveries[str], item: str, link: Link, answers: list[str]) -> None:
    queue.put(Delivery(item, cast("SmppLink", link), lambda _: answers.append(item)))


async def test_a_batch_is_answered_when_the_next_is_asked_for() -> None:
    queue, answers, link = Deliveries[str](10, forgets=True), list[str](), Link()
    put(queue, "a", link, answers)
    put(queue, "b", link, answers)
    batches = queue.batches()
    assert await anext(batches) == ["a", "b"]
    assert answers == []
    put(queue, "c", link, answers)
    assert await anext(batches) == ["c"]
    assert answers == ["a", "b"]


@pytest.mark.parametrize(("forgets", "left"), [(True, ["b"]), (False, ["a", "b"])])
async def test_what_a_lost_link_delivered_waits_to_come_again_or_is_kept(
    left: list[str], *, forgets: bool
) -> None:
    queue, answers, lost = Deliveries[str](10, forgets=forgets), list[str](), Link()
    put(queue, "a", lost, answers)
    put(queue, "b", Link(), answers)
    queue.link_lost(cast("SmppLink", lost))
    assert await anext(queue.batches()) == left


async def test_nobody_took_them_so_the_next_gets_them() -> None:
    queue, answers, link = Deliveries[str](2, forgets=True), list[str](), Link()
    put(queue, "a", link, answers)
    put(queue, "b", link, answers)
    assert queue.full
    failing = queue.batches()
    await anext(failing)
    assert not queue.full
    await failing.aclose()  # type: ignore[attr-defined]
    assert await anext(queue.batches()) == ["a", "b"]
    assert answers == []
