"""A proxy of our own between callers and a part: it lets bytes through, or makes them wait, by who calls."""

import asyncio
import contextlib
import socket
import struct
import threading
from collections.abc import Callable, Coroutine, Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Self

_CHUNK = 65_536
_LOOPBACK = "127.0.0.1"


@dataclass(frozen=True)
class Pair:
    """Two parts that talk to each other: who calls, and what is called."""

    caller: str
    called: str

    def __str__(self) -> str:
        return f"{self.caller} to {self.called}"


class Proxies:
    """Proxies in a thread of their own; `name_of` tells which part a process id belongs to.

    A stalled pair loses nothing: what is written waits in the proxy and in the buffers behind it, in both
    directions, connections that exist and connections that are made meanwhile alike.
    """

    def __init__(self, name_of: Callable[[int], str]) -> None:
        self._name_of = name_of
        self._loop = asyncio.new_event_loop()
        self._thread = threading.Thread(target=self._loop.run_forever, name="proxies", daemon=True)
        self._stalled: set[Pair] = set()
        self._changed = asyncio.Event()
        self._servers: list[asyncio.Server] = []
        self._links: dict[asyncio.Task[None], Pair] = {}
        self.seen: set[Pair] = set()
        """Every pair that has talked through us."""

    def __enter__(self) -> Self:
        self._thread.start()
        return self

    def __exit__(self, *_: object) -> None:
        self._do(self._close())
        self._loop.call_soon_threadsafe(self._loop.stop)
        self._thread.join()
        self._loop.close()

    def tcp(self, called: str, port: int, to_port: int) -> None:
        """Listens on the port of this machine and goes on to the other one."""

        async def connect() -> tuple[asyncio.StreamReader, asyncio.StreamWriter]:
            return await asyncio.open_connection(_LOOPBACK, to_port)

        async def listen() -> None:
            take = self._taker(called, connect)
            self._servers.append(await asyncio.start_server(take, _LOOPBACK, port))

        self._do(listen())

    def unix(self, called: str, path: Path, to_path: Path) -> None:
        """Listens on the socket's path and goes on to the other one."""

        async def connect() -> tuple[asyncio.StreamReader, asyncio.StreamWriter]:
            return await asyncio.open_unix_connection(str(to_path))

        async def listen() -> None:
            take = self._taker(called, connect)
            self._servers.append(await asyncio.start_unix_server(take, str(path)))

        self._do(listen())

    @contextmanager
    def stalled(self, *pairs: Pair) -> Iterator[None]:
        """Nothing passes between these for as long as the block runs."""
        self._loop.call_soon_threadsafe(self._change, self._stalled | set(pairs))
        try:
            yield
        finally:
            self._loop.call_soon_threadsafe(self._change, self._stalled - set(pairs))

    def cut(self, *pairs: Pair) -> None:
        """Breaks their connections; what waits in the proxy, in either direction, is lost."""

        async def cut() -> None:
            for link, pair in self._links.items():
                if pair in pairs:
                    link.cancel()

        self._do(cut())

    def _change(self, stalled: set[Pair]) -> None:
        self._stalled = stalled
        self._changed.set()
        self._changed = asyncio.Event()

    def _do(self, work: Coroutine[Any, Any, None]) -> None:
        asyncio.run_coroutine_threadsafe(work, self._loop).result(30)

    async def _close(self) -> None:
        for server in self._servers:
            server.close()
        for link in self._links:
            link.cancel()
        await asyncio.gather(*self._links, return_exceptions=True)

    def _taker(
        self,
        called: str,
        connect: Callable[[], Coroutine[Any, Any, tuple[asyncio.StreamReader, asyncio.StreamWriter]]],
    ) -> Callable[[asyncio.StreamReader, asyncio.StreamWriter], None]:
        async def link(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
            task = asyncio.current_task()
            assert task is not None
            try:
                caller = self._name_of(_process_of(writer.get_extra_info("socket")))
                pair = self._links[task] = Pair(caller, called)
                self.seen.add(pair)
                await self._open(pair)
                to_reader, to_writer = await connect()
            except BaseException as error:
                writer.transport.abort()
                if isinstance(error, OSError):
                    return
                raise
            ways = [
                asyncio.create_task(self._pass(pair, reader, to_writer)),
                asyncio.create_task(self._pass(pair, to_reader, writer)),
            ]
            try:
                await asyncio.wait(ways)
            finally:
                for way in ways:
                    way.cancel()
                writer.transport.abort()
                to_writer.transport.abort()

        def take(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
            task = asyncio.get_running_loop().create_task(link(reader, writer))
            self._links[task] = Pair("?", called)
            task.add_done_callback(lambda task: self._links.pop(task, None))

        return take

    async def _open(self, pair: Pair) -> None:
        while pair in self._stalled:
            await self._changed.wait()

    async def _pass(self, pair: Pair, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        with contextlib.suppress(OSError):
            while data := await reader.read(_CHUNK):
                await self._open(pair)
                writer.write(data)
                await writer.drain()
            await self._open(pair)
        with contextlib.suppress(OSError):
            writer.write_eof()


def _process_of(connection: socket.socket) -> int:
    """The process at the other end; 0 when it cannot be told any more."""
    if connection.family == socket.AF_UNIX:
        told = connection.getsockopt(socket.SOL_SOCKET, socket.SO_PEERCRED, struct.calcsize("3i"))
        return int(struct.unpack("3i", told)[0])
    inode = _inode_of(connection.getpeername()[1])
    return 0 if inode is None else _holder_of(f"socket:[{inode}]")


def _inode_of(port: int) -> str | None:
    """The socket of this machine that is connected from this port."""
    for table in ("/proc/net/tcp", "/proc/net/tcp6"):  # gRPC's sockets are of both families
        for line in Path(table).read_text(encoding="ascii").splitlines():
            fields = line.split()
            if fields[1].endswith(f"0100007F:{port:04X}") and fields[3] == "01":
                return fields[9]
    return None


def _holder_of(link: str) -> int:
    for folder in Path("/proc").glob("[0-9]*/fd"):
        with contextlib.suppress(OSError):
            for descriptor in list(folder.iterdir()):
                with contextlib.suppress(OSError):
                    if str(descriptor.readlink()) == link:
                        return int(folder.parent.name)
    return 0
