"""A real gRPC server and client: errors with details, health, reflection, limits, operations."""

import asyncio
from collections.abc import AsyncIterator

import grpc
import pytest
from grpc_health.v1 import health_pb2, health_pb2_grpc
from grpc_reflection.v1alpha import reflection_pb2, reflection_pb2_grpc
from rapport.operations.v1 import operations_pb2 as pb
from rapport.operations.v1 import operations_pb2_grpc as pb_grpc

from services.runtime.clock import EventClock
from services.runtime.database import Database, Transaction
from services.runtime.dead_letters import DeadLetters
from services.runtime.errors import ErrorKind, NotFoundError, SettingError
from services.runtime.operations import OperationsService, Progress
from services.runtime.outbox import Outbox
from services.runtime.prune import Pruner
from services.runtime.server import Served, Server, build_server
from services.runtime.settings import Settings
from services.runtime.status import read_failure
from services.runtime.streams import EVENTS, Bus
from services.runtime.totals import add_totals
from tests.fakes.trust import declare, trust
from tests.integration.runtime.conftest import PARTITIONS


class TooManyCapsError(Exception):
    """An error of a service's own, mapped by its own table."""


ERRORS = {TooManyCapsError: ErrorKind(grpc.StatusCode.FAILED_PRECONDITION, "TOO_MANY_CAPS")}


def fail(request: bytes) -> None:
    if request == b"field":
        raise NotFoundError("there is no customer 7", field="customer", suggestion="give one that exists")
    if request == b"own":
        raise TooManyCapsError("over the limit")
    if request == b"unknown":
        raise RuntimeError("+33612345678 broke it")


async def unary_unary(request, context):
    del context
    fail(request)
    return request


async def unary_stream(request, context):
    del context
    yield b"first"
    fail(request)
    yield request


async def stream_unary(requests, context):
    del context
    seen = b""
    async for request in requests:
        fail(request)
        seen += request
    return seen


async def stream_stream(requests, context):
    del context
    async for request in requests:
        fail(request)
        yield request


ECHO = Served(
    "test.v1.Echo",
    lambda server: server.add_generic_rpc_handlers(
        (
            grpc.method_handlers_generic_handler(
                "test.v1.Echo",
                {
                    "UU": grpc.unary_unary_rpc_method_handler(unary_unary),
                    "US": grpc.unary_stream_rpc_method_handler(unary_stream),
                    "SU": grpc.stream_unary_rpc_method_handler(stream_unary),
                    "SS": grpc.stream_stream_rpc_method_handler(stream_stream),
                },
            ),
        )
    ),
)


declare("test.v1.Echo", ("UU", "US", "SU", "SS"))
declare("test.v1.Slow", ("Never",))


@pytest.fixture
async def server() -> AsyncIterator[Server]:
    server = build_server(Settings(service="test", **trust().settings()), [ECHO], ERRORS)
    await server.start()
    yield server
    await server.stop(0)


@pytest.fixture
async def connection(server: Server) -> AsyncIterator[grpc.aio.Channel]:
    async with trust().connect(server.token_address) as connection:
        yield connection


async def call(connection: grpc.aio.Channel, kind: str, request: bytes) -> list[bytes]:
    method = f"/test.v1.Echo/{kind}"
    if kind == "UU":
        return [await connection.unary_unary(method)(request)]
    if kind == "US":
        return [answer async for answer in connection.unary_stream(method)(request)]
    if kind == "SU":
        return [await connection.stream_unary(method)(iter([request]))]
    return [answer async for answer in connection.stream_stream(method)(iter([request]))]


KINDS = ["UU", "US", "SU", "SS"]


@pytest.mark.parametrize("kind", KINDS)
async def test_answers_pass_as_they_are(connection: grpc.aio.Channel, kind: str):
    assert (await call(connection, kind, b"hello"))[-1] == b"hello"


@pytest.mark.parametrize("kind", KINDS)
async def test_a_known_error_says_reason_field_and_what_would_be_right(
    connection: grpc.aio.Channel, kind: str
):
    with pytest.raises(grpc.aio.AioRpcError) as raised:
        await call(connection, kind, b"field")
    failure = read_failure(raised.value)
    assert failure.status is grpc.StatusCode.NOT_FOUND
    assert failure.reason == "NOT_FOUND"
    assert failure.message == "customer: there is no customer 7; give one that exists"
    assert failure.metadata == {"field": "customer", "suggestion": "give one that exists"}
    assert failure.fields == (("customer", "there is no customer 7; give one that exists"),)


async def test_a_services_own_error_is_told_by_its_table(connection: grpc.aio.Channel):
    with pytest.raises(grpc.aio.AioRpcError) as raised:
        await call(connection, "UU", b"own")
    failure = read_failure(raised.value)
    assert (failure.status, failure.reason) == (grpc.StatusCode.FAILED_PRECONDITION, "TOO_MANY_CAPS")


@pytest.mark.parametrize("kind", KINDS)
async def test_an_unknown_error_shows_a_correlation_id_and_nothing_else(
    connection: grpc.aio.Channel, kind: str
):
    with pytest.raises(grpc.aio.AioRpcError) as raised:
        await call(connection, kind, b"unknown")
    failure = read_failure(raised.value)
    assert failure.status is grpc.StatusCode.INTERNAL
    assert failure.message == f"internal error {failure.metadata['correlation_id']}"
    assert "33612345678" not in str(raised.value)


async def test_a_message_over_the_limit_is_refused_with_the_limit(connection: grpc.aio.Channel):
    with pytest.raises(grpc.aio.AioRpcError) as raised:
        await connection.unary_unary("/test.v1.Echo/UU")(b"x" * (5 * 1024 * 1024))
    assert raised.value.code() is grpc.StatusCode.RESOURCE_EXHAUSTED
    assert str(4 * 1024 * 1024) in (raised.value.details() or "")


@pytest.mark.parametrize("name", ["", "test.v1.Echo"])
async def test_health_is_told_by_service(connection: grpc.aio.Channel, name: str):
    answer = await health_pb2_grpc.HealthStub(connection).Check(health_pb2.HealthCheckRequest(service=name))
    assert answer.status == health_pb2.HealthCheckResponse.SERVING


async def test_who_watches_health_hears_that_the_server_goes(server: Server, connection: grpc.aio.Channel):
    watch = health_pb2_grpc.HealthStub(connection).Watch(
        health_pb2.HealthCheckRequest(service="test.v1.Echo")
    )
    heard = aiter(watch)
    assert (await anext(heard)).status == health_pb2.HealthCheckResponse.SERVING
    stopping = asyncio.create_task(server.stop(5))
    assert (await anext(heard)).status == health_pb2.HealthCheckResponse.NOT_SERVING
    with pytest.raises(StopAsyncIteration):
        await anext(heard)  # it ended by itself, and is not told to come again
    await stopping


async def test_who_watches_a_name_that_is_not_there_is_told_so(connection: grpc.aio.Channel):
    watch = health_pb2_grpc.HealthStub(connection).Watch(health_pb2.HealthCheckRequest(service="nobody"))
    assert (await anext(aiter(watch))).status == health_pb2.HealthCheckResponse.SERVICE_UNKNOWN
    watch.cancel()


async def test_reflection_lists_the_services(connection: grpc.aio.Channel):
    stub = reflection_pb2_grpc.ServerReflectionStub(connection)
    calls = stub.ServerReflectionInfo(iter([reflection_pb2.ServerReflectionRequest(list_services="")]))
    names = [service.name async for answer in calls for service in answer.list_services_response.service]
    assert "test.v1.Echo" in names


async def test_a_port_that_is_taken_is_said(server: Server):
    with pytest.raises(SettingError) as raised:
        build_server(Settings(service="test", **trust().settings() | {"listen": server.address}), [ECHO], {})
    assert server.address in raised.value.message


async def test_a_call_without_a_deadline_gets_the_connections(server: Server):
    async def never(request, context):
        del request, context
        await asyncio.Event().wait()

    del server
    slow = Served(
        "test.v1.Slow",
        lambda grpc_server: grpc_server.add_generic_rpc_handlers(
            (
                grpc.method_handlers_generic_handler(
                    "test.v1.Slow", {"Never": grpc.unary_unary_rpc_method_handler(never)}
                ),
            )
        ),
    )
    sleeping = build_server(Settings(service="test", **trust().settings()), [slow], {})
    await sleeping.start()
    async with trust().connect(sleeping.token_address, deadline_seconds=0.2) as connection:
        with pytest.raises(grpc.aio.AioRpcError) as raised:
            await connection.unary_unary("/test.v1.Slow/Never")(b"")
    await sleeping.stop(0)
    assert raised.value.code() is grpc.StatusCode.DEADLINE_EXCEEDED


class Planned:
    """A service that has seven actions planned, two of them due at or after 1,000."""

    async def progress(self, transaction: Transaction, now_micros: int) -> Progress:
        del transaction
        return Progress(due_pending=2 if now_micros >= 1_000 else 0, planned=7, awaiting_receipt=1)


@pytest.fixture
async def operations(database: Database, bus: Bus) -> AsyncIterator[pb_grpc.OperationsServiceStub]:
    outbox = Outbox(database, partitions=PARTITIONS)

    async def resend(tx: Transaction, kind: str, payload: bytes) -> None:
        del kind
        await outbox.put(tx, EVENTS, [(0, payload)])

    letters = DeadLetters("test", outbox, resend, partitions=PARTITIONS)
    service = OperationsService(
        "test",
        EVENTS,
        database=database,
        bus=bus,
        clock=EventClock(1_000),
        dead_letters=letters,
        source=Planned(),
        pruner=Pruner(database, EventClock(1_000), [], dict),
        errors={},
    )
    async with database.transaction() as tx:
        for number in range(5):
            await letters.add(
                tx,
                kind="event",
                item_id=f"e-{number}",
                item_type="t",
                customer=number,
                payload=b"p",
                reason="bad",
            )
        await add_totals(tx, {"events.accepted": 3})
    await bus.jetstream.publish("rapport.events.1", b"waiting")
    server = build_server(Settings(service="test", **trust().settings()), [service.served()], {})
    await server.start()
    async with trust().connect(server.token_address) as connection:
        yield pb_grpc.OperationsServiceStub(connection)
    await server.stop(0)


async def test_progress_counts_everything_on_its_way(operations: pb_grpc.OperationsServiceStub):
    answer = await operations.GetProgress(pb.GetProgressRequest())
    assert answer.service == "test"
    assert answer.business_time.ToMicroseconds() == 1_000
    assert (answer.stream_pending, answer.outbox_pending, answer.dead_letters) == (1, 5, 5)
    assert (answer.due_pending, answer.planned, answer.awaiting_receipt) == (2, 7, 1)
    assert dict(answer.totals) == {"events.accepted": 3}


async def test_dead_letters_are_listed_in_pages_newest_first(operations: pb_grpc.OperationsServiceStub):
    seen, token = [], ""
    while True:
        page = await operations.ListDeadLetters(pb.ListDeadLettersRequest(page_size=2, page_token=token))
        seen += [letter.item_id for letter in page.dead_letters]
        token = page.next_page_token
        if not token:
            break
    assert seen == ["e-4", "e-3", "e-2", "e-1", "e-0"]


async def test_a_dead_letter_is_sent_again_once_per_request(operations: pb_grpc.OperationsServiceStub):
    [letter] = (await operations.ListDeadLetters(pb.ListDeadLettersRequest(page_size=1))).dead_letters
    request = pb.ResendDeadLetterRequest(request_id="r-1", dead_letter_id=letter.dead_letter_id)
    first, again = await operations.ResendDeadLetter(request), await operations.ResendDeadLetter(request)
    assert first == again
    assert first.dead_letter.HasField("resend_time")
    progress = await operations.GetProgress(pb.GetProgressRequest())
    assert (progress.outbox_pending, progress.dead_letters) == (6, 4)


@pytest.mark.parametrize("letter", ["999", "x", ""])
async def test_a_dead_letter_that_is_not_there_is_said(
    operations: pb_grpc.OperationsServiceStub, letter: str
):
    with pytest.raises(grpc.aio.AioRpcError) as raised:
        await operations.ResendDeadLetter(pb.ResendDeadLetterRequest(request_id="r", dead_letter_id=letter))
    assert [field for field, _ in read_failure(raised.value).fields] == ["dead_letter_id"]


@pytest.mark.parametrize(("size", "token"), [(-1, ""), (1, "x")])
async def test_a_page_that_cannot_be_is_refused(
    operations: pb_grpc.OperationsServiceStub, size: int, token: str
):
    with pytest.raises(grpc.aio.AioRpcError) as raised:
        await operations.ListDeadLetters(pb.ListDeadLettersRequest(page_size=size, page_token=token))
    assert raised.value.code() is grpc.StatusCode.INVALID_ARGUMENT
