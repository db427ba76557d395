"""What subscribers write reaches us once, whole, and is confirmed only when it was taken."""

import asyncio
from collections.abc import Callable
from dataclasses import replace
from pathlib import Path

from services.channel.adapters.smpp import SmppTransport
from services.channel.app.ports import Inbound
from services.cli.providers.mobile import Mobile, written_by
from services.cli.providers.smsc import Smsc
from services.vocabulary.words import Channel
from tests.integration.channel_adapters.smsc_at_work import SmscAtWork, until

MakeTransport = Callable[..., SmppTransport]


async def take(transport: SmppTransport, count: int) -> list[Inbound]:
    """The first `count` messages; the last batch is confirmed too."""
    found: list[Inbound] = []
    stream = transport.inbound()
    async with asyncio.timeout(10):
        while len(found) < count:
            found.extend(await anext(stream))
    asking = asyncio.ensure_future(anext(stream))
    await asyncio.sleep(0)
    asking.cancel()
    return found


async def test_what_subscribers_write_comes_whole(smsc: Smsc, make_transport: MakeTransport) -> None:
    transport = make_transport()
    long_text = "Je voudrais être rappelé 😀 " * 10
    smsc.write([*written_by("33612345678", "38080", "STOP"), *written_by("33612345679", "38080", long_text)])
    smsc.write([Mobile("33612345670", "38080", "قف".encode("utf-16-be"), 8, payload=True)])
    found = await take(transport, 3)
    assert {(item.sender, item.text) for item in found} == {
        ("+33612345678", "STOP"),
        ("+33612345679", long_text),
        ("+33612345670", "قف"),
    }
    assert {(item.provider, item.channel, item.recipient) for item in found} == {
        ("smsc", Channel.SMS, "38080")
    }
    assert len({item.key for item in found}) == 3
    parts = len(written_by("1", "2", long_text))
    await until(lambda: smsc.mobiles_taken == 2 + parts)


async def test_it_is_confirmed_only_when_the_next_batch_is_asked_for(
    smsc: Smsc, make_transport: MakeTransport
) -> None:
    transport = make_transport()
    stream = transport.inbound()
    waiting = asyncio.ensure_future(anext(stream))
    smsc.write(written_by("33612345678", "38080", "STOP"))
    (first,) = await waiting
    assert smsc.mobiles_taken == 0
    smsc.cut_links()
    # Not committed when the link broke: it comes again, under the same key.
    (second,) = await anext(stream)
    assert second == first
    asking = asyncio.ensure_future(anext(stream))
    await until(lambda: smsc.mobiles_taken == 1)
    smsc.write(written_by("33612345678", "38080", "STOP"))
    (third,) = await asking
    assert third == replace(first, key=third.key)
    assert third.key != first.key


async def test_before_anybody_asks_the_smsc_keeps_it(smsc: Smsc, make_transport: MakeTransport) -> None:
    transport = make_transport()
    receipts = asyncio.ensure_future(anext(transport.receipts()))
    await until(lambda: smsc.links == 1)
    smsc.write(written_by("33612345678", "38080", "STOP"))
    (found,) = await take(transport, 1)
    assert found.text == "STOP"
    receipts.cancel()


async def test_the_simulated_smsc_reads_what_is_appended_to_a_file(
    smsc_place: SmscAtWork, make_transport: MakeTransport, tmp_path: Path
) -> None:
    mobile = tmp_path / "mobile.jsonl"
    smsc_place.settings = replace(smsc_place.settings, mobile=mobile)
    await smsc_place.up()
    transport = make_transport()
    mobile.write_text('{"source": "33612345678", "destination": "38080", "text": "HELP"}\n')
    (found,) = await take(transport, 1)
    assert (found.sender, found.text) == ("+33612345678", "HELP")
