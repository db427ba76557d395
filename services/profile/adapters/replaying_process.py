"""Child processes that make the past anew, so that what is live never waits for it; one for each replay.

The child gets one question and answers with pages until it is over. Both ends are this program and the pipes
are private to them, which is what makes pickle sound here.
"""

import asyncio
import contextlib
import pickle
import struct
from collections.abc import AsyncGenerator, Sequence
from dataclasses import dataclass
from typing import Final

from services.profile.app.replaying import Page, Share
from services.profile.domain.replaying import Wanted
from services.runtime.errors import UnavailableError
from services.runtime.settings import Settings

HEADER: Final = struct.Struct("<I")
_GO_ON: Final = "go on from the last position"


@dataclass(frozen=True, slots=True)
class Question:
    """What a child is to tell, and where it finds it."""

    settings: Settings
    share: Share
    wanted: Wanted


@dataclass(frozen=True, slots=True)
class Over:
    """A child's last word. `why`: what went wrong, empty: nothing; `away`: the database did not answer."""

    why: str = ""
    away: bool = False


class ReplayProcesses:
    """At most so many children at once; who asks for another waits."""

    def __init__(self, command: Sequence[str], settings: Settings, most: int) -> None:
        self._command = tuple(command)
        self._settings = settings
        self._free = asyncio.Semaphore(most)

    async def pages(self, share: Share, wanted: Wanted) -> AsyncGenerator[Page]:
        """As `Replaying.pages`; UnavailableError when the child or its database was lost."""
        async with self._free:
            child = await asyncio.create_subprocess_exec(
                *self._command, stdin=asyncio.subprocess.PIPE, stdout=asyncio.subprocess.PIPE
            )
            try:
                question = Question(self._settings, share, wanted)
                async with contextlib.aclosing(_told(child, question)) as pages:
                    async for page in pages:
                        yield page
            finally:
                with contextlib.suppress(ProcessLookupError):
                    child.kill()
                await asyncio.shield(child.wait())


async def _told(child: asyncio.subprocess.Process, question: Question) -> AsyncGenerator[Page]:
    assert child.stdin is not None
    assert child.stdout is not None
    frame = pickle.dumps(question, protocol=pickle.HIGHEST_PROTOCOL)
    try:
        child.stdin.writelines((HEADER.pack(len(frame)), frame))
        await child.stdin.drain()
        while True:
            (length,) = HEADER.unpack(await child.stdout.readexactly(HEADER.size))
            answer = pickle.loads(await child.stdout.readexactly(length))  # noqa: S301  our own child's
            if isinstance(answer, Over):
                break
            yield answer
    except (asyncio.IncompleteReadError, ConnectionError) as error:
        raise UnavailableError("the process that tells the past was lost", suggestion=_GO_ON) from error
    if answer.away:
        raise UnavailableError("the profile's database does not answer", suggestion=_GO_ON)
    if answer.why:
        raise RuntimeError(f"the process that tells the past failed: {answer.why}")
