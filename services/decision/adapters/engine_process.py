"""A child process that runs the rules engine, so that a crash in C costs nothing but a restart.

Parent and child speak over two pipes: a length, then a pickled job or answer. Both ends are this program and
the pipes are private to them, which is what makes pickle sound here. The child notes in memory shared with
the parent which item it is working on, so that the parent knows which one killed it.
"""

from __future__ import annotations

import asyncio
import contextlib
import mmap
import os
import pickle
import signal
import tempfile
from typing import TYPE_CHECKING, Any

import structlog

from services.decision.adapters.engine_wire import HEADER, ITEM, NO_ITEM, PING
from services.decision.domain.errors import EngineDiedError, EngineNotReadyError, JobFailedError
from services.runtime.metrics import ENGINE_RESTARTS

if TYPE_CHECKING:
    from collections.abc import Callable, Sequence
    from typing import IO

_GOING_SECONDS = 2.0
"""How long a child may take to end by itself."""

_log = structlog.get_logger(__name__)


class EngineProcess:
    """One child, started when first needed and again after it died; one job at a time.

    ``command`` gets one more argument: the file descriptor of the shared memory. ``deadline`` is how long, in
    seconds, a job may take before the child counts as dead; the first one after a start, and every set-up,
    may take ``first_deadline``. ``trial``: it is there to find out whether the engine
    survives, so that a child lost is an answer, and no warning.
    """

    def __init__(
        self,
        command: Sequence[str],
        *,
        deadline: float = 30.0,
        first_deadline: float = 60.0,
        trial: bool = False,
    ) -> None:
        self._command = tuple(command)
        self._trial = trial
        self._deadline = deadline
        self._first_deadline = max(first_deadline, deadline)
        self._lock = asyncio.Lock()
        self._child: asyncio.subprocess.Process | None = None
        self._file: IO[bytes] | None = None
        self._memory: mmap.mmap | None = None
        self._setup: tuple[str, tuple[Any, ...]] | None = None
        self.starts = 0
        self.lost = False
        """Whether the child was lost and nothing has been heard of another since."""

    async def set_up(
        self, job: str, *arguments: Any, holds: Callable[[Any], bool] = lambda _answer: True
    ) -> Any:
        """Runs a job now and, if ``holds`` says so of its answer, again after every restart before all else.

        That is how the live rules are loaded. If it does not hold, the set-up before stays the one to repeat.
        """
        async with self._lock:
            answer = await self._call(job, arguments, self._first_deadline)
            if holds(answer):
                self._setup = (job, arguments)
            return answer

    async def call(self, job: str, *arguments: Any) -> Any:
        """Runs one job in the child and returns its answer.

        Raises EngineDiedError when the child ended or overran its deadline (the next call starts it again),
        EngineNotReadyError when it did so before it came to this job, and JobFailedError when the job raised.
        """
        async with self._lock:
            return await self._call(job, arguments, self._deadline)

    async def ping(self) -> None:
        """Sees that a child runs and answers; starts one that was lost."""
        await self.call(PING)

    async def close(self) -> None:
        """Ends the child."""
        async with self._lock:
            await self._end()
            if self._memory is not None and self._file is not None:
                self._memory.close()
                self._file.close()
                self._memory = self._file = None

    @property
    def pid(self) -> int | None:
        """Process id of the child, None when it does not run."""
        return None if self._child is None else self._child.pid

    async def _call(self, job: str, arguments: tuple[Any, ...], deadline: float) -> Any:
        if self._child is None or self._child.returncode is not None:
            await self._start()
            if self._setup is None:
                deadline = self._first_deadline
            else:
                await self._set_up_again(*self._setup)
        return await self._exchange(job, arguments, deadline)

    async def _set_up_again(self, job: str, arguments: tuple[Any, ...]) -> None:
        """Runs the set-up in a new child; one that could not be set up must not be given a job."""
        try:
            await self._exchange(job, arguments, self._first_deadline)
        except EngineDiedError as died:
            raise EngineNotReadyError(f"the engine's process was lost in its set-up: {died}") from died
        except JobFailedError as failed:
            await self._end()
            raise EngineNotReadyError(f"the engine's process could not be set up: {failed}") from failed

    async def _exchange(self, job: str, arguments: tuple[Any, ...], deadline: float) -> Any:
        child, memory = self._child, self._memory
        assert child is not None
        assert child.stdin is not None
        assert child.stdout is not None
        assert memory is not None
        memory[: ITEM.size] = ITEM.pack(NO_ITEM)
        frame = pickle.dumps((job, arguments), protocol=pickle.HIGHEST_PROTOCOL)
        try:
            async with asyncio.timeout(deadline):
                child.stdin.writelines((HEADER.pack(len(frame)), frame))
                await child.stdin.drain()
                (length,) = HEADER.unpack(await child.stdout.readexactly(HEADER.size))
                answer = await child.stdout.readexactly(length)
        except (asyncio.IncompleteReadError, ConnectionError, TimeoutError, RuntimeError) as error:
            # RuntimeError: uvloop's word for a pipe that was closed already when we wrote
            item = self._item()
            overran = isinstance(error, TimeoutError)
            self.lost = True
            code = await self._end(stuck=overran)
            why = f"overran its {deadline} s" if overran else f"ended with code {code}"
            if self._trial:
                _log.info("engine did not survive a trial", job=job, why=why)
            else:
                _log.warning("engine process lost", job=job, item=item, why=why)
            raise EngineDiedError(f"the engine's process {why} in job {job}", item) from error
        except BaseException:
            # cancelled between question and answer: the pipe is out of step, so the child goes
            await asyncio.shield(self._end(stuck=True))
            raise
        self.lost = False
        done, value = pickle.loads(answer)  # noqa: S301  written by our own child
        if not done:
            raise JobFailedError(value, self._item())
        return value

    def _item(self) -> int | None:
        assert self._memory is not None
        (item,) = ITEM.unpack(self._memory[: ITEM.size])
        return None if item == NO_ITEM else int(item)

    async def _start(self) -> None:
        if self._memory is None:
            self._file = tempfile.TemporaryFile()  # noqa: SIM115  closed in close()
            self._file.truncate(mmap.PAGESIZE)
            self._memory = mmap.mmap(self._file.fileno(), mmap.PAGESIZE)
        assert self._file is not None
        descriptor = self._file.fileno()
        self._child = await asyncio.create_subprocess_exec(
            *self._command,
            str(descriptor),
            stdin=asyncio.subprocess.PIPE,
            stdout=asyncio.subprocess.PIPE,
            pass_fds=(descriptor,),
        )
        if self.starts:
            ENGINE_RESTARTS.inc()
        self.starts += 1

    async def _end(self, *, stuck: bool = False) -> int | None:
        """Ends the child, reaps it, and returns its exit code."""
        child, self._child = self._child, None
        if child is None:
            return None
        if stuck:
            _kill(child)
        assert child.stdin is not None
        child.stdin.close()
        try:
            # its questions ended or it is dead: it goes by itself
            async with asyncio.timeout(_GOING_SECONDS):
                return await child.wait()
        except TimeoutError:
            _kill(child)
            return await child.wait()
        finally:
            with contextlib.suppress(ConnectionError):
                await child.stdin.wait_closed()


def _kill(child: asyncio.subprocess.Process) -> None:
    """Not child.kill(), which may reap it before asyncio does and so lose its exit code."""
    if child.returncode is None:
        with contextlib.suppress(ProcessLookupError):
            os.kill(child.pid, signal.SIGKILL)
