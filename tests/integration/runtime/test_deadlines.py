"""Deadlines pass down the road, and streams end when their server drains: real servers and clients."""

import asyncio
from contextlib import asynccontextmanager

import grpc
import pytest

from services.runtime.deadline import seconds_left, within
from services.runtime.server import Served, build_server
from services.runtime.settings import Settings
from services.runtime.status import read_failure
from tests.fakes.trust import declare, trust

METHODS = {
    "Ask": grpc.unary_unary_rpc_method_handler,
    "Pour": grpc.unary_stream_rpc_method_handler,
    "Talk": grpc.stream_stream_rpc_method_handler,
}


@asynccontextmanager
async def serving(name, **behaviours):
    service = f"test.v1.{name}"
    declare(service, tuple(METHODS))
    handlers = {method: METHODS[method](behaviour) for method, behaviour in behaviours.items()}
    served = Served(
        service,
        lambda server: server.add_generic_rpc_handlers(
            (grpc.method_handlers_generic_handler(service, handlers),)
        ),
    )
    server = build_server(Settings(service="test", **trust().settings()), [served], {})
    await server.start()
    try:
        async with trust().connect(server.token_address) as connection:
            yield server, connection
    finally:
        await server.stop(0)


async def test_a_call_made_for_another_gets_less_than_what_is_left_of_it():
    told = []

    async def inner(request, context):
        told.append(context.time_remaining())
        return request

    async with serving("Inner", Ask=inner) as (_, to_inner):

        async def outer(request, context):
            del context
            told.append(seconds_left())
            return await to_inner.unary_unary("/test.v1.Inner/Ask")(request)

        async with serving("Outer", Ask=outer) as (_, to_outer):
            await to_outer.unary_unary("/test.v1.Outer/Ask")(b"", timeout=5)
    assert 4 < told[0] < 4.96
    assert 3.5 < told[1] < told[0] * 0.96


async def test_nothing_limits_a_call_made_for_nobody():
    assert seconds_left() is None
    assert within(7.0) == 7.0
    assert within(None) is None


async def test_an_answer_that_does_not_come_is_told_in_time_and_the_work_is_let_go():
    let_go = asyncio.Event()

    async def never(request, context):
        del request, context
        try:
            await asyncio.Event().wait()
        finally:
            let_go.set()

    async with serving("Never", Ask=never) as (_, to_inner):

        async def outer(request, context):
            del context
            return await to_inner.unary_unary("/test.v1.Never/Ask")(request)

        async with serving("Waiting", Ask=outer) as (_, connection):
            began = asyncio.get_running_loop().time()
            with pytest.raises(grpc.aio.AioRpcError) as raised:
                await connection.unary_unary("/test.v1.Waiting/Ask")(b"", timeout=0.5)
            took = asyncio.get_running_loop().time() - began
            async with asyncio.timeout(5):
                await let_go.wait()
    assert raised.value.code() is grpc.StatusCode.DEADLINE_EXCEEDED
    assert took < 1.5


async def test_the_server_itself_says_that_the_time_is_over_and_what_to_do():
    async def never(request, context):
        del request, context
        await asyncio.Event().wait()

    async with serving("Lingering", Ask=never) as (_, connection):
        with pytest.raises(grpc.aio.AioRpcError) as raised:
            await connection.unary_unary("/test.v1.Lingering/Ask")(b"", timeout=2)
    failure = read_failure(raised.value)
    assert failure.reason == "DEADLINE_EXCEEDED"
    assert "request_id" in failure.metadata["suggestion"]


async def test_a_drain_lets_the_batch_in_work_be_answered_and_then_ends_the_stream():
    in_work, go_on, taken = asyncio.Event(), asyncio.Event(), []

    async def talk(requests, context):
        del context
        async for request in requests:
            in_work.set()
            await go_on.wait()
            taken.append(request)
            yield request

    async with serving("Talking", Talk=talk) as (server, connection):
        call = connection.stream_stream("/test.v1.Talking/Talk")()
        await call.write(b"first")
        await in_work.wait()
        ending = asyncio.create_task(server.stop(10))
        await call.write(b"second")
        go_on.set()
        assert await call.read() == b"first"
        with pytest.raises(grpc.aio.AioRpcError) as raised:
            await call.read()
        await ending
    assert read_failure(raised.value).reason == "UNAVAILABLE"
    assert "stopped" in read_failure(raised.value).message
    assert taken[0] == b"first"


async def test_a_drain_ends_a_stream_that_waits_for_something_to_tell():
    async def pour(request, context):
        del context
        yield request
        await asyncio.Event().wait()

    async with serving("Pouring", Pour=pour) as (server, connection):
        call = connection.unary_stream("/test.v1.Pouring/Pour")(b"drop")
        assert await call.read() == b"drop"
        async with asyncio.timeout(5):
            await server.stop(30)
            with pytest.raises(grpc.aio.AioRpcError) as raised:
                await call.read()
    assert raised.value.code() is grpc.StatusCode.UNAVAILABLE
