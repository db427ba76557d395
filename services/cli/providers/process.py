"""How a simulated provider runs as a process: address, ready line, stop on SIGTERM and SIGINT."""

import asyncio
import signal
import sys
from collections.abc import Callable
from pathlib import Path
from typing import Protocol

import click
import uvloop

from services.cli.providers.record import read_secret


class Provider(Protocol):
    """A server with a start and an end."""

    async def start(self, host: str, port: int) -> tuple[str, int]:
        """Listen; returns what it listens on."""
        ...

    async def stop(self) -> None:
        """Stop listening and close what is open."""
        ...


class ListenAddress(click.ParamType[tuple[str, int]]):
    """`host:port` as click reads it."""

    name = "host:port"

    def convert(
        self, value: object, param: click.Parameter | None, ctx: click.Context | None
    ) -> tuple[str, int]:
        """The host and the port, or a usage error that says what is right."""
        host, _, port = str(value).rpartition(":")
        if not host or not port.isdecimal() or int(port) > 65_535:
            self.fail(f"{value!r} is not an address; write for example 127.0.0.1:2775", param, ctx)
        return host, int(port)


class PasswordFile(click.ParamType[str]):
    """A file of mode 0600 whose content is a password."""

    name = "file"

    def convert(self, value: object, param: click.Parameter | None, ctx: click.Context | None) -> str:
        """The password, or a usage error that says what is wrong with the file."""
        try:
            return read_secret(Path(str(value)))
        except OSError as error:
            self.fail(error.strerror or str(error), param, ctx)


def run_provider(name: str, build: Callable[[], Provider], listen: tuple[str, int]) -> None:
    """Run until told to stop; prints `<name> ready <host>:<port>` when it takes connections."""
    uvloop.run(_serve(name, build(), listen))


async def _serve(name: str, provider: Provider, listen: tuple[str, int]) -> None:
    stop = asyncio.Event()
    loop = asyncio.get_running_loop()
    for number in (signal.SIGTERM, signal.SIGINT):
        loop.add_signal_handler(number, stop.set)
    try:
        host, port = await provider.start(*listen)
    except OSError as error:
        print(f"{name}: cannot listen on {listen[0]}:{listen[1]}: {error.strerror}", file=sys.stderr)
        raise SystemExit(1) from error
    print(f"{name} ready {host}:{port}", flush=True)
    try:
        await stop.wait()
    finally:
        await provider.stop()
