"""The reference for speed over gRPC: an empty unary method on grpc.aio and uvloop in a process of its own.

Usage: python -m bench.empty_grpc [seconds]
"""

import asyncio
import subprocess
import sys
import time
from dataclasses import dataclass, replace

import grpc
import uvloop
from google.protobuf.empty_pb2 import Empty

from bench.cost import TICKS, read_process
from services.cli.stack.programs import python_command, python_environment

METHOD = "/bench.Reference/Empty"
CALLERS = 64


@dataclass(frozen=True, slots=True)
class EmptyCalls:
    """What the reference reached."""

    calls_per_s: float
    callers: int
    calls: int = 0
    server_cpu_us: float = 0.0
    """Processor time that the server spent on one."""


async def _answer(_request: Empty, _context: object) -> Empty:
    return Empty()


async def serve() -> None:
    """Serves the empty method on a free port, told on standard output, until standard input ends."""
    server = grpc.aio.server()
    handler = grpc.unary_unary_rpc_method_handler(
        _answer, request_deserializer=Empty.FromString, response_serializer=Empty.SerializeToString
    )
    service, _, method = METHOD[1:].partition("/")
    server.add_generic_rpc_handlers((grpc.method_handlers_generic_handler(service, {method: handler}),))
    port = server.add_insecure_port("127.0.0.1:0")
    await server.start()
    print(port, flush=True)
    await asyncio.to_thread(sys.stdin.read)
    await server.stop(None)


async def call_for(port: int, seconds: float, callers: int = CALLERS) -> EmptyCalls:
    """How many calls concurrent callers get answered in that time, after a warm-up of a fifth of it."""
    counts = [0] * callers
    async with grpc.aio.insecure_channel(f"127.0.0.1:{port}") as grpc_channel:
        call = grpc_channel.unary_unary(
            METHOD, request_serializer=Empty.SerializeToString, response_deserializer=Empty.FromString
        )
        end = time.perf_counter() + seconds * 1.2

        async def caller(place: int) -> None:
            request = Empty()
            while time.perf_counter() < end:
                await call(request)
                counts[place] += 1

        tasks = [asyncio.create_task(caller(place)) for place in range(callers)]
        await asyncio.sleep(seconds * 0.2)
        before, began = sum(counts), time.perf_counter()
        await asyncio.gather(*tasks)
        took = time.perf_counter() - began
    return EmptyCalls((sum(counts) - before) / took, callers, sum(counts))


def measure_empty_grpc(seconds: float) -> EmptyCalls:
    """Starts the server, calls it, stops it."""
    with subprocess.Popen(
        python_command("bench.empty_grpc", "serve"),
        env=python_environment(),
        stdin=subprocess.PIPE,
        stdout=subprocess.PIPE,
        text=True,
    ) as server:
        assert server.stdout is not None
        assert server.stdin is not None
        port = int(server.stdout.readline())
        try:
            before = _cpu_seconds(server.pid)
            found = uvloop.run(call_for(port, seconds))
            spent = _cpu_seconds(server.pid) - before
            return replace(found, server_cpu_us=spent / found.calls * 1e6)
        finally:
            server.stdin.close()


def _cpu_seconds(pid: int) -> float:
    found = read_process(pid)
    return 0.0 if found is None else found.own_ticks / TICKS


if __name__ == "__main__":
    if sys.argv[1:] == ["serve"]:
        uvloop.run(serve())
    else:
        print(measure_empty_grpc(float(sys.argv[1]) if sys.argv[1:] else 5.0))
