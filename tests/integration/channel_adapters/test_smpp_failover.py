"""Two SMSCs: the better one takes the messages, the other stands in for it, and nothing is said twice."""

import asyncio
from collections import Counter
from collections.abc import AsyncIterator, Sequence
from contextlib import AsyncExitStack
from dataclasses import dataclass, replace
from pathlib import Path

import pytest

from services.channel.adapters.smpp import Patience, SmppSettings, SmppTransport
from services.channel.app.ports import Handed, HandOver
from tests.integration.channel_adapters.smsc_at_work import QUICK, SmscAtWork, outgoing, until


@dataclass
class Pair:
    """The SMSCs `north`, of the better priority, and `south`, and a transport to both."""

    north: SmscAtWork
    south: SmscAtWork
    stack: AsyncExitStack

    def transport(self, binds: int = 1, priority: int = 2, **patience: float) -> SmppTransport:
        north = SmppSettings(
            host="127.0.0.1",
            port=self.north.port,
            system_id="rapport",
            password="secret12",
            name="north",
            sender="Rapport",
            binds=binds,
            limits=QUICK,
            shortest_pause=0.02,
            longest_pause=0.1,
        )
        south = replace(north, name="south", port=self.south.port, priority=priority)
        waits = Patience(**({"write": 2.0, "return_after": 0.3, "refuses_for": 0.2} | patience))
        transport = SmppTransport(south, north, patience=waits)
        self.stack.push_async_callback(transport.close)
        return transport


@pytest.fixture
async def pair(tmp_path: Path) -> AsyncIterator[Pair]:
    async with AsyncExitStack() as stack:
        north, south = SmscAtWork(tmp_path / "north.jsonl"), SmscAtWork(tmp_path / "south.jsonl")
        for place in (north, south):
            await place.up()
            stack.push_async_callback(place.down)
        yield Pair(north, south, stack)


def by(handed: Sequence[Handed]) -> Counter[tuple[str, HandOver]]:
    return Counter((item.provider, item.outcome) for item in handed)


async def both_bound(transport: SmppTransport) -> None:
    await until(lambda: all(smsc.up for smsc in transport.smscs))


async def test_the_next_takes_over_at_once_and_the_better_one_gets_them_back(pair: Pair) -> None:
    transport = pair.transport()
    batch = [outgoing(number) for number in range(200)]
    assert by(await transport.send(batch[:50])) == {("north", HandOver.ACCEPTED): 50}
    await both_bound(transport)
    await pair.north.down()
    await until(lambda: not transport.smscs[0].up)
    assert by(await transport.send(batch[50:100])) == {("south", HandOver.ACCEPTED): 50}
    await pair.north.up()
    await both_bound(transport)
    # Back, but not steady yet.
    assert by(await transport.send(batch[100:150])) == {("south", HandOver.ACCEPTED): 50}
    loop = asyncio.get_running_loop()
    await until(lambda: transport.smscs[0].steady(loop.time()))
    assert by(await transport.send(batch[150:])) == {("north", HandOver.ACCEPTED): 50}
    taken = pair.north.taken() + pair.south.taken()
    assert sorted(taken) == [message.message_id for message in batch]


async def test_receipts_name_the_smsc_that_took_the_message(pair: Pair) -> None:
    transport = pair.transport(priority=1)
    handed = await transport.send([outgoing(number) for number in range(100)])
    names = {(item.provider, item.provider_id) for item in handed}
    assert {name for name, _ in names} == {"north", "south"}  # of the same priority: they share
    found: set[tuple[str, str]] = set()
    async with asyncio.timeout(10):
        async for receipts in transport.receipts():
            found |= {(receipt.provider, receipt.provider_id) for receipt in receipts}
            if len(found) >= 100:
                break
    assert found == names


async def test_what_the_lost_one_may_have_taken_is_unknown_and_the_rest_goes_to_the_next(pair: Pair) -> None:
    transport = pair.transport()
    await transport.send([outgoing(999)])
    await both_bound(transport)
    assert pair.north.now is not None
    pair.north.now.faults.faults.drop_after = 30
    pair.north.now.faults.faults.refuse_binds = True
    batch = [outgoing(number) for number in range(100)]
    counted = by(await transport.send(batch))
    unknown = counted[("north", HandOver.UNKNOWN)]
    assert 0 < unknown <= QUICK.window
    assert counted[("south", HandOver.ACCEPTED)] == 100 - 30 - unknown + 1
    both = set(pair.north.taken()) & set(pair.south.taken())
    assert both == set()


async def test_a_message_of_which_the_lost_one_has_a_part_is_not_given_to_the_next(pair: Pair) -> None:
    transport = pair.transport(write=0.5)
    await transport.send([outgoing(999)])
    await both_bound(transport)
    north = pair.north.now
    assert north is not None
    north.faults.faults.per_second = 2
    sending = asyncio.ensure_future(transport.send([outgoing(1, "x" * 1_000)]))
    await until(lambda: any(entry["status"] for entry in pair.north.entries()))
    north.faults.faults.refuse_binds = True
    north.cut_links()
    assert by(await sending) == {("north", HandOver.TRANSIENT): 1}
    assert pair.south.entries() == []


async def test_an_unknown_one_goes_again_to_the_smsc_that_may_have_it(pair: Pair) -> None:
    transport = pair.transport()
    await transport.send([outgoing(999)])
    await both_bound(transport)
    assert pair.north.now is not None
    pair.north.now.faults.faults.silent = 1
    assert by(await transport.send([outgoing(1)])) == {("north", HandOver.UNKNOWN): 1}
    pair.north.now.cut_links()
    await until(lambda: not transport.smscs[0].up)
    await both_bound(transport)
    handed = await transport.send([outgoing(1, again=True), outgoing(2)])
    providers = {item.message_id[-1]: item.provider for item in handed}
    assert providers == {"1": "north", "2": "south"}


async def test_one_that_takes_nothing_for_long_is_left_alone_for_a_while(pair: Pair) -> None:
    transport = pair.transport()
    await transport.send([outgoing(999)])
    await both_bound(transport)
    assert pair.north.now is not None
    pair.north.now.faults.faults.throttle = 1_000_000
    handed = await transport.send([outgoing(number) for number in range(20)])
    assert by(handed) == {("south", HandOver.ACCEPTED): 20}
    pair.north.now.faults.faults.throttle = 0
    loop = asyncio.get_running_loop()
    await until(lambda: not transport.smscs[0].rests(loop.time()))
    assert by(await transport.send([outgoing(30)])) == {("north", HandOver.ACCEPTED): 1}


async def test_several_binds_share_the_messages_and_stand_in_for_each_other(pair: Pair) -> None:
    transport = pair.transport(binds=3)
    await transport.send([outgoing(999)])
    await until(lambda: transport.smscs[0].binds == 3)
    assert pair.north.now is not None
    assert pair.north.now.links == 3
    handed = await transport.send([outgoing(number) for number in range(200)])
    assert by(handed) == {("north", HandOver.ACCEPTED): 200}
