"""Keeps one program of the stack running: starts it, sees when it is ready, brings it back, stops it."""

import asyncio
import contextlib
import os
import signal
from asyncio.subprocess import Process
from collections.abc import Callable
from pathlib import Path

import structlog

from services.cli.stack.errors import StackError
from services.cli.stack.processes import birth_of, log_end
from services.cli.stack.programs import Program
from services.cli.stack.state import ProgramState

_PAUSE = 0.2  # seconds between two looks at a program that starts
_WATCH_PAUSE = 3.0  # seconds between two looks at one that runs
_FIRST_BACKOFF = 0.2
_LONGEST_BACKOFF = 10.0
_SETTLED_SECONDS = 30.0  # a program that ran this long starts its back-off anew
_TRIES_AT_FIRST = 3
_LONGEST_LOG = 50_000_000

_log = structlog.get_logger(__name__)


class Keeper:
    """One program and its life; `changed` is called at each change of its state."""

    def __init__(self, program: Program, log: Path, changed: Callable[[], None]) -> None:
        self.program = program
        self.state = ProgramState(program.name, port=program.port)
        self._log_file = log
        self._changed = changed
        self._stopping = asyncio.Event()
        self._ready = asyncio.Event()
        self._failures = 0
        self._task: asyncio.Task[None] | None = None

    async def start(self) -> None:
        """Starts it and returns when it is ready; a StackError with its log's end if it does not get so."""
        seconds = self.program.ready_seconds
        self._task = asyncio.create_task(self._keep(), name=self.program.name)
        ready = asyncio.create_task(self._ready.wait())
        try:
            await asyncio.wait({ready, self._task}, timeout=seconds, return_when=asyncio.FIRST_COMPLETED)
        finally:
            ready.cancel()
        if not self._ready.is_set():
            why = "does not start" if self._task.done() else f"is not ready after {seconds:.0f} s"
            raise StackError(f"{self.program.name} {why}. {log_end(self._log_file)}")

    async def stop(self) -> None:
        """Asks it to stop, waits as long as the program may take, ends it then."""
        self._stopping.set()
        if self._task is not None:
            await self._task

    async def _keep(self) -> None:
        while not self._stopping.is_set():
            began = asyncio.get_running_loop().time()
            code = await self._run_once()
            if self._stopping.is_set():
                break
            if asyncio.get_running_loop().time() - began > _SETTLED_SECONDS:
                self._failures = 0
            self._failures += 1
            _log.warning("program_died", program=self.program.name, exit_code=code, failures=self._failures)
            if not self._ready.is_set() and self._failures >= _TRIES_AT_FIRST:
                break
            self.state.restarts += 1
            self._become("restarting")
            pause = min(_LONGEST_BACKOFF, _FIRST_BACKOFF * 2 ** (self._failures - 1))
            with contextlib.suppress(TimeoutError):
                await asyncio.wait_for(self._stopping.wait(), pause)
        self._become("stopped")

    async def _run_once(self) -> int:
        """Runs it until it ends by itself or is to stop; its exit code, negative for a signal."""
        self._turn_log()
        with self._log_file.open("ab") as output:
            start = self._log_file.stat().st_size
            try:
                process = await asyncio.create_subprocess_exec(
                    *self.program.command,
                    cwd="/",
                    env=dict(self.program.environment),
                    stdin=asyncio.subprocess.DEVNULL,
                    stdout=output,
                    stderr=asyncio.subprocess.STDOUT,
                    start_new_session=True,
                    **(self.program.account.identity() if self.program.account else {}),
                )
            except OSError as error:
                output.write(f"cannot start {self.program.command[0]}: {error.strerror}\n".encode())
                return -1
        self.state.birth = birth_of(process.pid)
        self._become("starting")
        useless = asyncio.create_task(self._until_restart_is_needed())
        waits = {
            asyncio.create_task(process.wait()),
            asyncio.create_task(self._stopping.wait()),
            useless,
        }
        watch = asyncio.create_task(self._watch(start))
        try:
            await asyncio.wait(waits, return_when=asyncio.FIRST_COMPLETED)
            if process.returncode is None:
                await self._end(process, given_up=useless.done())
        finally:
            for task in (watch, *waits):
                task.cancel()
            await asyncio.gather(watch, *waits, return_exceptions=True)
            _end_group(process.pid)
        self.state.birth = None
        return await process.wait()

    async def _watch(self, start: int) -> None:
        while not await asyncio.to_thread(self.program.ready, start):  # noqa: ASYNC110 - it cannot tell us
            await asyncio.sleep(_PAUSE)
        self._ready.set()
        self._become("running")

    async def _until_restart_is_needed(self) -> None:
        """Returns when the program is of no more use as it runs; waits for ever where that cannot be told."""
        if self.program.needs_restart is None:
            await asyncio.Event().wait()
            return
        why = ""
        while not why:
            await asyncio.sleep(_WATCH_PAUSE)
            why = await asyncio.to_thread(self.program.needs_restart)
        _log.warning("program_needs_restart", program=self.program.name, why=why)

    async def _end(self, process: Process, *, given_up: bool) -> None:
        seconds = self.program.stop_seconds
        if given_up and self.program.given_up_seconds is not None:
            seconds = self.program.given_up_seconds
        with contextlib.suppress(ProcessLookupError):
            process.send_signal(self.program.stop_signal)
        try:
            await asyncio.wait_for(process.wait(), seconds)
        except TimeoutError:
            _log.warning("program_killed", program=self.program.name, seconds=seconds)
            with contextlib.suppress(ProcessLookupError):
                process.kill()
            await process.wait()

    def _turn_log(self) -> None:
        with contextlib.suppress(FileNotFoundError):
            if self._log_file.stat().st_size > _LONGEST_LOG:
                self._log_file.replace(self._log_file.with_suffix(".1.log"))

    def _become(self, state: str) -> None:
        self.state.state = state
        self._changed()


def _end_group(leader: int) -> None:
    """Ends what a program that is gone left behind in its session's first process group."""
    with contextlib.suppress(ProcessLookupError, PermissionError):
        os.killpg(leader, signal.SIGKILL)
