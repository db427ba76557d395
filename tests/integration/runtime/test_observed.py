"""What a worker counts of its batches, and the trace that goes from the outbox through a stream and on."""

import asyncio
from contextlib import asynccontextmanager

import grpc
import pytest
from opentelemetry.sdk.trace.export.in_memory_span_exporter import InMemorySpanExporter

from services.runtime import tracing
from services.runtime.client import connect
from services.runtime.consumer import StreamConsumer, take_messages
from services.runtime.dead_letters import DeadLetters
from services.runtime.outbox import Outbox, Relay
from services.runtime.server import Served, build_server
from services.runtime.settings import Settings
from services.runtime.streams import ACTIONS, EVENTS, subject
from tests.fakes.counting import counted
from tests.fakes.trust import declare, trust
from tests.integration.runtime.conftest import PARTITIONS, until
from tests.integration.runtime.recorder import Recorder

FIRST = f"00-{'a' * 32}-{'1' * 16}-01"
SECOND = f"00-{'b' * 32}-{'2' * 16}-01"


def more(before, *names):
    now = counted()
    return [now.get(name, 0) - before.get(name, 0) for name in names]


@asynccontextmanager
async def running(*parts):
    tasks = [asyncio.create_task(part.run()) for part in parts]
    try:
        yield
    finally:
        for task in tasks:
            task.cancel()
        await asyncio.gather(*tasks, return_exceptions=True)


async def test_items_are_counted_as_done_set_aside_and_repeated_once_each(database, bus):
    async def resend(*_):
        raise AssertionError

    letters = DeadLetters("test", Outbox(database, partitions=PARTITIONS), resend, partitions=PARTITIONS)
    async with database.transaction() as tx:
        assert await take_messages(tx, ["test:seen"]) == {"test:seen"}
    before = counted()
    for key, payload in (("test:new", b"a poison b"), ("test:seen", b"c d"), ("test:bad", b"poison poison")):
        await bus.jetstream.publish(subject(EVENTS, 1), payload, headers={"Nats-Msg-Id": key})

    async def drained():
        return (await bus.jetstream.stream_info(EVENTS)).state.messages == 0

    async with running(StreamConsumer(bus, EVENTS, Recorder(database, letters), partitions=PARTITIONS)):
        await until(drained)
    assert more(
        before,
        ("rapport_items_total", "done", EVENTS),
        ("rapport_items_total", "set_aside", EVENTS),
        ("rapport_items_total", "repeated", EVENTS),
        ("rapport_batch_items_sum", EVENTS),
        ("rapport_batch_seconds_count", EVENTS),
    ) == [2, 3, 2, 7, 3]


class HandsOn(Recorder):
    """Puts one action on for each message, as the decision service does."""

    async def handle(self, deliveries):
        async with self._database.transaction() as tx:
            await take_messages(tx, [delivery.key for delivery in deliveries])
            await Outbox(self._database, partitions=PARTITIONS).put(
                tx, ACTIONS, [(delivery.partition, b"action") for delivery in deliveries]
            )


@pytest.fixture
def exported():
    exporter = InMemorySpanExporter()
    tracing.start_tracing(Settings(service="test", trace_ratio=1.0), exporter)
    yield exporter
    tracing.stop_tracing()


async def test_a_trace_goes_from_the_outbox_through_the_stream_and_on(database, bus, exported):
    outbox = Outbox(database, partitions=PARTITIONS)
    for partition, parent in ((0, FIRST), (1, SECOND), (2, "")):
        with tracing.spans("call", {partition: parent}, by_partition=True):
            async with database.transaction() as tx:
                await outbox.put(tx, EVENTS, [(partition, b"event")])
    headers = {}

    async def all_there():
        state = (await bus.jetstream.stream_info(ACTIONS)).state
        for number in range(state.first_seq, state.last_seq + 1) if state.messages else ():
            message = await bus.jetstream.get_msg(ACTIONS, number)
            headers[int(message.subject.rsplit(".", 1)[1])] = (message.headers or {}).get("traceparent")
        return len(headers) == 3

    relay = Relay("test", database, bus.jetstream, partitions=PARTITIONS)
    consumer = StreamConsumer(bus, EVENTS, HandsOn(database), partitions=PARTITIONS)
    async with running(relay, consumer):
        await until(all_there)
    tracing.stop_tracing()
    spans = exported.get_finished_spans()
    calls = {span.context.trace_id: span for span in spans if span.name == "call"}
    worked = {span.context.trace_id: span for span in spans if span.name == "EVENTS process"}
    assert calls.keys() == worked.keys() == {int("a" * 32, 16), int("b" * 32, 16)}
    for trace_id, span in worked.items():
        assert span.parent.span_id == calls[trace_id].context.span_id
    first, second = worked[int("a" * 32, 16)].context, worked[int("b" * 32, 16)].context
    assert headers == {
        0: f"00-{'a' * 32}-{first.span_id:016x}-01",
        1: f"00-{'b' * 32}-{second.span_id:016x}-01",
        2: None,
    }


async def answer(request, context):
    if request == b"unknown":
        raise RuntimeError("+33612345678 broke it")
    if request == b"never":
        await asyncio.Event().wait()
    if request == b"onward":
        return await PEER[0].unary_unary("/test.v1.Observed/Answer")(b"")
    del context
    return request


async def answers(request, context):
    yield await answer(request, context)


PEER = []
declare("test.v1.Observed", ("Answer", "Answers"))
OBSERVED = Served(
    "test.v1.Observed",
    lambda server: server.add_generic_rpc_handlers(
        (
            grpc.method_handlers_generic_handler(
                "test.v1.Observed",
                {
                    "Answer": grpc.unary_unary_rpc_method_handler(answer),
                    "Answers": grpc.unary_stream_rpc_method_handler(answers),
                },
            ),
        )
    ),
)


@pytest.fixture
async def server():
    server = build_server(Settings(service="test", **trust().settings()), [OBSERVED], {})
    await server.start()
    yield server
    await server.stop(0)


@pytest.fixture
async def connection(server):
    async with trust().connect(server.token_address) as connection:
        yield connection


async def test_calls_are_counted_by_method_and_code_also_when_refused_or_cut_off(server, connection):
    before = counted()
    unary = connection.unary_unary("/test.v1.Observed/Answer")
    assert await unary(b"hello") == b"hello"
    assert [part async for part in connection.unary_stream("/test.v1.Observed/Answers")(b"hello")] == [
        b"hello"
    ]
    for request, options, code in (
        (b"unknown", {}, grpc.StatusCode.INTERNAL),
        (b"never", {"timeout": 0.1}, grpc.StatusCode.DEADLINE_EXCEEDED),
    ):
        with pytest.raises(grpc.aio.AioRpcError) as raised:
            await unary(request, **options)
        assert raised.value.code() is code
    async with connect(server.token_address, trust().token(())) as nobody:
        with pytest.raises(grpc.aio.AioRpcError) as raised:
            await nobody.unary_unary("/test.v1.Observed/Answer")(b"hello")
    assert raised.value.code() is grpc.StatusCode.PERMISSION_DENIED
    with pytest.raises(grpc.aio.AioRpcError) as raised:
        await connection.unary_unary("/test.v1.Observed/+33612345678")(b"hello")
    name = "rapport_rpc_seconds_count"
    one, many = "test.v1.Observed/Answer", "test.v1.Observed/Answers"

    async def all_counted():
        return more(
            before,
            (name, "OK", one),
            (name, "OK", many),
            (name, "INTERNAL", one),
            (name, "DEADLINE_EXCEEDED", one),
            (name, "PERMISSION_DENIED", one),
            ("rapport_rpc_in_flight", one),
        ) == [1, 1, 1, 1, 1, 0]

    await until(all_counted)
    assert "+336" not in str(counted().keys())


async def test_a_call_goes_on_with_its_callers_trace_to_the_next_server(server, connection, exported):
    async with trust().connect(server.token_address) as peer:
        PEER[:] = [peer]
        unary = connection.unary_unary("/test.v1.Observed/Answer")
        await unary(b"onward", metadata=(("traceparent", FIRST),))
        with pytest.raises(grpc.aio.AioRpcError):
            await unary(b"unknown", metadata=(("traceparent", SECOND),))
    await server.stop(10)  # a caller may see the end of a call before the server has noted it
    tracing.stop_tracing()
    spans = exported.get_finished_spans()
    inner, outer = (span for span in spans if span.context.trace_id == int("a" * 32, 16))
    assert (outer.name, outer.kind.name) == ("test.v1.Observed/Answer", "SERVER")
    assert f"{outer.parent.span_id:016x}" == "1" * 16
    assert inner.parent.span_id == outer.context.span_id
    (broken,) = (span for span in spans if span.context.trace_id == int("b" * 32, 16))
    assert (broken.status.description, broken.attributes["rpc.grpc.status"]) == ("INTERNAL", "INTERNAL")
    assert all("+336" not in span.to_json() for span in spans)
