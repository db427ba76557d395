"""An SMSC that cannot be reached for an hour at full load, over a real database and real SMPP."""

from collections.abc import AsyncIterator, Callable, Sequence

import pytest

from services.channel.adapters.smpp import SmppTransport
from services.channel.app.ports import Handed, Outgoing
from services.channel.app.send import BATCH
from services.channel.domain.actions import Action
from services.channel.domain.contact import Permission, Reach
from services.vocabulary.values import HOUR, MINUTE
from services.vocabulary.words import Category, Channel
from tests.fakes.channel import make_action
from tests.integration.channel.conftest import Road
from tests.integration.channel_adapters.conftest import make_transport, smsc_place  # noqa: F401 - fixtures
from tests.integration.channel_adapters.smsc_at_work import SmscAtWork

GREETING = "👩‍👩‍👧‍👦 مرحبا, שלום — ½ 𝔘𝔫𝔦 \u202eabc\u202c"
"""Joined emoji, two scripts from right to left, a letter outside the basic plane, marks of direction."""


@pytest.fixture
async def transport(
    smsc_place: SmscAtWork,  # noqa: F811
    make_transport: Callable[..., SmppTransport],  # noqa: F811
) -> AsyncIterator[SmppTransport]:
    await smsc_place.up()
    await smsc_place.down()  # its port is known, and nobody listens there
    return make_transport()


class Counting:
    """How many messages the sender holds in its hands at once."""

    def __init__(self, inner: SmppTransport) -> None:
        self.inner = inner
        self.channel, self.provider = inner.channel, inner.provider
        self.most = 0

    async def send(self, batch: Sequence[Outgoing]) -> Sequence[Handed]:
        self.most = max(self.most, len(batch))
        return await self.inner.send(batch)


def at_load(road: Road) -> list[Action]:
    """More than a batch that can wait, and behind it some that matter more."""
    road.profile.reaches |= {
        number: Reach(True, 0, {Channel.SMS: Permission(True, address=f"+33600{number:06d}")}, "UTC")
        for number in range(1, 221)
    }
    can_wait = [make_action(number, number, category=Category.SALES) for number in range(1, 171)]
    matters = [make_action(number, number, name=GREETING) for number in range(171, 221)]
    return [*can_wait, *matters]


async def test_an_hour_without_smsc_loses_and_doubles_nothing_and_what_matters_goes_first(
    road: Road,
    smsc_place: SmscAtWork,  # noqa: F811
    transport: SmppTransport,
) -> None:
    counting = Counting(transport)
    sender = road.another_sender(counting)  # type: ignore[arg-type]
    load = at_load(road)
    taken = [*await road.take(*load[:170]), *await road.take(*load[170:])]
    assert len(taken) == 220
    began = road.clock.now
    while road.clock.now < began + HOUR:
        for _ in range(3):
            await sender.turn()
        road.clock.now += 10 * MINUTE
        road.clock.wall += 10 * MINUTE
    assert smsc_place.entries() == []
    assert await road.rows("SELECT DISTINCT state FROM message") == [("planned",)]
    assert await road.slots() == 220
    assert counting.most <= BATCH  # however much waits, no more than that is in memory

    await smsc_place.up()
    for _ in range(40):
        await sender.turn()
        road.clock.wall += 10 * MINUTE
        if len(smsc_place.taken()) == 220:
            break
    assert sorted(smsc_place.taken()) == sorted(one.message.message_id for one in taken)  # each once
    service = {one.message.message_id for one in taken[170:]}
    assert service <= set(smsc_place.taken()[:BATCH])
    whole = {entry["message"] for entry in smsc_place.entries() if entry["reference"] in service}
    assert whole - {None} == {f"{GREETING} in words"}
    assert await road.rows("SELECT DISTINCT state FROM message") == [("sent",)]
