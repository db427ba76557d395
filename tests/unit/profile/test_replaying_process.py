"""The children that tell the past: one that is lost is said, one that nobody listens to any more is ended."""

import asyncio
import os
import sys
from contextlib import aclosing

import pytest

from services.profile.adapters.replaying_process import ReplayProcesses
from services.profile.app.replaying import Share
from services.profile.domain.replaying import FOREVER, Wanted
from services.runtime.errors import UnavailableError
from services.runtime.settings import Settings

WANTED = Wanted(0, FOREVER, frozenset({"a"}))
DIES = "import sys; sys.stdin.buffer.read(4)"


def processes(program: str, most: int = 1) -> ReplayProcesses:
    return ReplayProcesses([sys.executable, "-S", "-E", "-c", program], Settings("profile"), most)


async def test_a_lost_child_is_said_with_what_to_do():
    for _ in range(2):  # and its place is free again
        with pytest.raises(UnavailableError, match="was lost") as lost:
            _ = [page async for page in processes(DIES).pages(Share(), WANTED)]
        assert "last position" in (lost.value.suggestion or "")


async def test_who_leaves_ends_the_child_and_frees_its_place(tmp_path):
    written = tmp_path / "pid"
    program = f"import os, sys; open({str(written)!r}, 'w').write(str(os.getpid())); sys.stdin.buffer.read()"
    children = processes(program)

    async def listen() -> None:
        async with aclosing(children.pages(Share(), WANTED)) as pages:
            async for _ in pages:
                pass

    for _ in range(2):
        written.unlink(missing_ok=True)
        listener = asyncio.create_task(listen())
        async with asyncio.timeout(20):
            while not (written.exists() and written.read_text()):  # noqa: ASYNC110
                await asyncio.sleep(0.01)
        listener.cancel()
        with pytest.raises(asyncio.CancelledError):
            await listener
        with pytest.raises(ProcessLookupError):
            os.kill(int(written.read_text()), 0)
