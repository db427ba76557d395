"""The SMPP transport against the simulated SMSC over TCP: nothing lost, nothing doubled, nothing guessed."""

import asyncio
import ssl
from collections import Counter
from collections.abc import Callable, Sequence
from dataclasses import replace

import pytest

from services.channel.adapters.smpp import SmppTransport
from services.channel.adapters.smpp_delivered import Dialect, ReceiptIds
from services.channel.app.ports import Handed, HandOver, Receipt, ReceiptState
from services.cli.providers.smpp_wire import RESPONSE, Command, write_frame
from services.cli.providers.smsc import ServerTls, Smsc
from services.vocabulary.words import Channel
from tests.fakes.trust import trust
from tests.integration.channel_adapters.smsc_at_work import QUICK, SmscAtWork, outgoing, until

MakeTransport = Callable[..., SmppTransport]


def outcomes(handed: Sequence[Handed]) -> Counter[HandOver]:
    return Counter(item.outcome for item in handed)


async def collect(transport: SmppTransport, count: int) -> list[Receipt]:
    """The first `count` receipts; the last batch is answered too."""
    found: list[Receipt] = []
    async with asyncio.timeout(10):
        async for batch in transport.receipts():
            found.extend(batch)
            if len(found) >= count:
                break
    return found


@pytest.mark.usefixtures("smsc")
async def test_a_batch_beyond_the_window_is_taken_whole(
    smsc_place: SmscAtWork, make_transport: MakeTransport
) -> None:
    transport = make_transport()
    batch = [outgoing(number) for number in range(256)]
    handed = await transport.send(batch)
    assert transport.channel is Channel.SMS
    assert outcomes(handed) == {HandOver.ACCEPTED: 256}
    assert sorted(smsc_place.taken()) == sorted(message.message_id for message in batch)
    provider_ids = {item.message_id: item.provider_id for item in handed}
    assert provider_ids == {entry["reference"]: entry["id"] for entry in smsc_place.entries()}


@pytest.mark.usefixtures("smsc")
async def test_what_the_smsc_sees(smsc_place: SmscAtWork, make_transport: MakeTransport) -> None:
    transport = make_transport()
    long_text = "Prix : 12,50 € – déjà payé 😜 " * 12
    await transport.send(
        [
            outgoing(1, "Hello {you} €", validity_micros=90_000_000),
            outgoing(2, long_text, sender="+33600000000"),
            outgoing(3, "x" * 161, sender="38080"),
        ]
    )
    whole = {entry["reference"][-1]: entry for entry in smsc_place.entries() if entry["message"] is not None}
    assert whole["1"]["message"] == "Hello {you} €"
    assert whole["1"]["validity"] == "000000000130000R"
    assert whole["1"]["registered_delivery"] == 1
    assert whole["1"]["source"] == "Rapport"
    assert whole["1"]["destination"] == "33600000001"
    assert whole["2"]["message"] == long_text
    assert whole["2"]["source"] == "33600000000"
    assert whole["2"]["parts"] == 6
    assert whole["3"]["message"] == "x" * 161
    assert whole["3"]["parts"] == 2
    asked = [entry["registered_delivery"] for entry in smsc_place.entries() if entry["reference"][-1] == "2"]
    assert asked == [0, 0, 0, 0, 0, 1]


async def test_a_refused_number_does_not_spoil_the_others(
    smsc: Smsc, smsc_place: SmscAtWork, make_transport: MakeTransport
) -> None:
    smsc.faults.faults.reject = {"33600000007": 0x0B}
    handed = await make_transport().send([outgoing(number) for number in range(20)])
    refused = [item for item in handed if item.outcome is not HandOver.ACCEPTED]
    assert [(item.message_id[-2:], item.outcome) for item in refused] == [("07", HandOver.PERMANENT)]
    assert "0x0B" in refused[0].detail
    assert "336" not in refused[0].detail
    assert len(smsc_place.taken()) == 19


@pytest.mark.usefixtures("smsc")
async def test_messages_that_cannot_be_sent_are_refused_here(
    smsc_place: SmscAtWork, make_transport: MakeTransport
) -> None:
    handed = await make_transport().send(
        [
            outgoing(1, address="0612345678"),
            outgoing(2, sender="A sender that is too long"),
            outgoing(3, "x" * 153 * 256),
            outgoing(4),
        ]
    )
    assert [item.outcome for item in sorted(handed, key=lambda item: item.message_id)] == [
        HandOver.PERMANENT,
        HandOver.PERMANENT,
        HandOver.PERMANENT,
        HandOver.ACCEPTED,
    ]
    assert len(smsc_place.entries()) == 1


async def test_throttled_submits_go_again_at_a_lower_rate(
    smsc: Smsc, smsc_place: SmscAtWork, make_transport: MakeTransport
) -> None:
    smsc.faults.faults.throttle = 20
    transport = make_transport()
    batch = [outgoing(number) for number in range(25)]
    handed = await transport.send(batch)
    assert outcomes(handed) == {HandOver.ACCEPTED: 25}
    assert 0 < transport.smscs[0].rate < 100
    assert sorted(smsc_place.taken()) == [message.message_id for message in batch]
    assert len(smsc_place.entries()) == 45


async def test_an_smsc_that_throttles_on_gives_the_batch_back(
    smsc: Smsc, smsc_place: SmscAtWork, make_transport: MakeTransport
) -> None:
    smsc.faults.faults.throttle = 10_000
    transport = make_transport(write=0.3)
    batch = [outgoing(number) for number in range(100)]
    handed = await transport.send(batch)
    assert outcomes(handed) == {HandOver.TRANSIENT: 100}
    assert len(smsc_place.entries()) < 60
    assert smsc_place.taken() == []


async def test_an_answer_that_never_comes_is_unknown(
    smsc: Smsc, smsc_place: SmscAtWork, make_transport: MakeTransport
) -> None:
    smsc.faults.faults.silent = 3
    handed = await make_transport().send([outgoing(number) for number in range(10)])
    assert outcomes(handed) == {HandOver.UNKNOWN: 3, HandOver.ACCEPTED: 7}
    assert len(smsc_place.taken()) == 10


async def test_a_link_dropped_in_the_window_leaves_only_the_written_ones_unknown(
    smsc: Smsc, smsc_place: SmscAtWork, make_transport: MakeTransport
) -> None:
    transport = make_transport()
    await transport.send([outgoing(999)])
    smsc.faults.faults.drop_after = 30
    batch = [outgoing(number) for number in range(100)]
    handed = await transport.send(batch)
    counted = outcomes(handed)
    assert len(handed) == 100
    assert 0 < counted[HandOver.UNKNOWN] <= 20
    assert counted[HandOver.TRANSIENT] >= 100 - 30 - 20
    taken = set(smsc_place.taken())
    by_outcome = {item.message_id: item.outcome for item in handed}
    # What is called transient was not taken; what is called accepted was.
    assert not taken & {key for key, outcome in by_outcome.items() if outcome is HandOver.TRANSIENT}
    assert {key for key, outcome in by_outcome.items() if outcome is HandOver.ACCEPTED} <= taken
    await until(lambda: transport.bound)
    again = [message for message in batch if by_outcome[message.message_id] is HandOver.TRANSIENT]
    assert outcomes(await transport.send(again)) == {HandOver.ACCEPTED: len(again)}
    assert max(Counter(smsc_place.taken()).values()) == 1


async def test_an_smsc_down_at_start_and_back_later(
    smsc_place: SmscAtWork, make_transport: MakeTransport
) -> None:
    await smsc_place.up()
    await smsc_place.down()
    transport = make_transport(first_bind=0.05)
    batch = [outgoing(number) for number in range(50)]
    assert outcomes(await transport.send(batch)) == {HandOver.TRANSIENT: 50}
    assert smsc_place.entries() == []
    await smsc_place.up()
    async with asyncio.timeout(10):  # who only sends does not keep it from connecting
        while outcomes(await transport.send(batch)) == {HandOver.TRANSIENT: 50}:
            pass
    assert sorted(smsc_place.taken()) == [message.message_id for message in batch]


@pytest.mark.usefixtures("smsc")
async def test_wrong_password_is_not_connected(make_transport: MakeTransport) -> None:
    transport = make_transport(password="wrong", first_bind=0.5)
    assert outcomes(await transport.send([outgoing(1)])) == {HandOver.TRANSIENT: 1}
    assert not transport.bound


async def test_an_smsc_that_hangs_is_given_up_and_found_again(
    smsc: Smsc, make_transport: MakeTransport
) -> None:
    transport = make_transport()
    await transport.send([outgoing(1)])
    smsc.faults.faults.deaf = True
    handed = await transport.send([outgoing(2)])
    assert outcomes(handed) == {HandOver.UNKNOWN: 1}
    await until(lambda: not transport.bound)
    smsc.faults.faults.deaf = False
    await until(lambda: transport.bound)
    assert outcomes(await transport.send([outgoing(3)])) == {HandOver.ACCEPTED: 1}


async def test_receipts_say_what_became_of_each_message(smsc: Smsc, make_transport: MakeTransport) -> None:
    smsc.faults.faults.stat = {
        "33600000001": "UNDELIV",
        "33600000002": "EXPIRED",
        "33600000003": "none",
        "33600000004": "ACCEPTD",
    }
    transport = make_transport()
    handed = await transport.send([outgoing(number) for number in range(30)])
    ids = {item.provider_id: int(item.message_id[-2:]) for item in handed}
    receipts = await collect(transport, 28)
    states = {ids[receipt.provider_id]: receipt.state for receipt in receipts}
    assert states[1] is ReceiptState.FAILED
    assert states[2] is ReceiptState.EXPIRED
    assert set(states) == set(range(30)) - {3, 4}
    assert Counter(states.values())[ReceiptState.DELIVERED] == 26
    assert all(receipt.provider == transport.provider == "smsc" for receipt in receipts)
    assert all(receipt.time_micros for receipt in receipts)
    assert [receipt.detail for receipt in receipts if ids[receipt.provider_id] == 1] == [
        "receipt UNDELIV, error 001"
    ]


async def test_a_receipt_is_confirmed_only_when_the_next_batch_is_asked_for(
    smsc: Smsc, smsc_place: SmscAtWork, make_transport: MakeTransport
) -> None:
    transport = make_transport()
    await transport.send([outgoing(1)])
    stream = transport.receipts()
    first = await anext(stream)
    confirmed = smsc_place.settings.record.with_name("smsc.jsonl.receipts")
    assert confirmed.read_text() == ""
    smsc.cut_links()
    await until(lambda: not transport.bound)
    # Not committed when the link broke: it comes again over the next link.
    second = await anext(stream)
    assert [receipt.provider_id for receipt in second] == [receipt.provider_id for receipt in first]
    waiting = asyncio.ensure_future(anext(stream))
    await until(lambda: confirmed.read_text().count("\n") == 1)
    waiting.cancel()


@pytest.mark.usefixtures("smsc")
async def test_a_consumer_that_fails_gets_its_receipts_again(make_transport: MakeTransport) -> None:
    transport = make_transport()
    await transport.send([outgoing(1)])
    failing = transport.receipts()
    first = await anext(failing)
    await failing.aclose()  # type: ignore[attr-defined]
    async with asyncio.timeout(5):
        assert await anext(transport.receipts()) == first


async def test_receipts_survive_a_restart_of_the_smsc(
    smsc_place: SmscAtWork, make_transport: MakeTransport
) -> None:
    await smsc_place.up()
    transport = make_transport()
    handed = await transport.send([outgoing(number) for number in range(5)])
    await smsc_place.down()
    await until(lambda: not transport.bound)
    await smsc_place.up()
    receipts = await collect(transport, 5)
    assert {receipt.provider_id for receipt in receipts} >= {item.provider_id for item in handed}


async def test_close_unbinds_after_the_answers(
    smsc: Smsc, smsc_place: SmscAtWork, make_transport: MakeTransport
) -> None:
    transport = make_transport()
    sending = asyncio.ensure_future(transport.send([outgoing(number) for number in range(20)]))
    await until(lambda: smsc.links == 1)
    await transport.close()
    handed = await sending
    assert len(handed) == 20
    accepted = {item.message_id for item in handed if item.outcome is HandOver.ACCEPTED}
    assert accepted == set(smsc_place.taken())
    await until(lambda: smsc.links == 0)
    assert outcomes(await transport.send([outgoing(1)])) == {HandOver.TRANSIENT: 1}


@pytest.mark.parametrize(
    ("dialect", "ids"),
    [
        ("text", "same"),
        ("parameters", "same"),
        ("short", "same"),
        ("decimal", "decimal"),
        ("both", "decimal"),
    ],
)
async def test_receipts_of_every_dialect_find_their_messages(
    smsc: Smsc, make_transport: MakeTransport, dialect: str, ids: str
) -> None:
    smsc.faults.faults.dialect = dialect
    transport = make_transport(dialect=Dialect(receipt_ids=ReceiptIds(ids)))
    handed = await transport.send([outgoing(number) for number in range(3)])
    receipts = await collect(transport, 3)
    assert {receipt.provider_id for receipt in receipts} == {item.provider_id for item in handed}


async def test_a_bind_that_answers_nothing_holds_up_no_other(
    smsc: Smsc, smsc_place: SmscAtWork, make_transport: MakeTransport
) -> None:
    transport = make_transport(binds=2, limits=replace(QUICK, answer=1.5))
    await transport.send([outgoing(999)])
    await until(lambda: transport.smscs[0].binds == 2)
    smsc.faults.faults.deaf_links = 1
    stuck = asyncio.ensure_future(transport.send([outgoing(number) for number in range(60)]))
    await until(lambda: len(smsc_place.taken()) == 41)  # the other 20 fill the window of the deaf one
    later = await transport.send([outgoing(number) for number in range(100, 120)])
    assert outcomes(later) == {HandOver.ACCEPTED: 20}
    assert not stuck.done()
    assert outcomes(await stuck) == {HandOver.ACCEPTED: 40, HandOver.UNKNOWN: 20}


async def test_a_throttling_smsc_gets_what_it_takes(
    smsc: Smsc, smsc_place: SmscAtWork, make_transport: MakeTransport
) -> None:
    smsc.faults.faults.per_second = 150
    transport = make_transport()
    handed = await transport.send([outgoing(number) for number in range(200)])
    assert outcomes(handed)[HandOver.ACCEPTED] >= 150
    throttled = sum(entry["status"] != 0 for entry in smsc_place.entries())
    assert throttled <= 60
    assert max(Counter(smsc_place.taken()).values()) == 1


async def test_one_that_says_yes_and_hangs_up_is_not_stormed(
    make_transport: MakeTransport, smsc_place: SmscAtWork
) -> None:
    binds = 0

    async def say_yes(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        nonlocal binds
        await reader.readexactly(16)
        binds += 1
        writer.write(write_frame(RESPONSE | Command.BIND_TRANSCEIVER, 1, b"\0"))
        writer.close()

    server = await asyncio.start_server(say_yes, "127.0.0.1", 0)
    smsc_place.port = server.sockets[0].getsockname()[1]
    transport = make_transport(longest_pause=0.2, shortest_pause=0.05, first_bind=0.1)
    for _ in range(10):
        handed = await transport.send([outgoing(1)])
        assert set(outcomes(handed)) <= {HandOver.TRANSIENT, HandOver.UNKNOWN}
    assert 0 < binds <= 20
    await transport.close()
    server.close()
    await server.wait_closed()


@pytest.mark.parametrize("ours", [True, False])
async def test_tls_checks_both_ends(
    smsc_place: SmscAtWork, make_transport: MakeTransport, *, ours: bool
) -> None:
    server, client = trust().certificate("smsc"), trust().certificate("channel")
    smsc_place.settings = replace(
        smsc_place.settings, tls=ServerTls(server.chain, server.key, client.authority)
    )
    await smsc_place.up()
    context = ssl.create_default_context(cafile=server.authority)
    if ours:
        context.load_cert_chain(client.chain, client.key)
    transport = make_transport(tls=context, server_name="localhost", first_bind=0.5)
    handed = await transport.send([outgoing(1)])
    assert outcomes(handed) == {HandOver.ACCEPTED if ours else HandOver.TRANSIENT: 1}


async def test_a_transmitter_with_a_receiver_beside_it(smsc: Smsc, make_transport: MakeTransport) -> None:
    transport = make_transport(transceiver=False, binds=2)
    handed = await transport.send([outgoing(number) for number in range(10)])
    receipts = await collect(transport, 10)
    assert {receipt.provider_id for receipt in receipts} == {item.provider_id for item in handed}
    await until(lambda: smsc.links == 4)
    assert transport.smscs[0].binds == 2
    await transport.close()
    await until(lambda: smsc.links == 0)


async def test_tls_refuses_another_name(smsc_place: SmscAtWork, make_transport: MakeTransport) -> None:
    server = trust().certificate("smsc")
    smsc_place.settings = replace(smsc_place.settings, tls=ServerTls(server.chain, server.key))
    await smsc_place.up()
    context = ssl.create_default_context(cafile=server.authority)
    transport = make_transport(tls=context, server_name="smsc.other.example", first_bind=0.5)
    assert outcomes(await transport.send([outgoing(1)])) == {HandOver.TRANSIENT: 1}
    assert not transport.bound
