"""Processes by an identity that survives the reuse of process ids."""

import contextlib
import os
import signal
import subprocess
import time
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from pathlib import Path
from threading import Event

from services.cli.stack.account import Account
from services.cli.stack.errors import StackError

_PAUSE = 0.03  # seconds between two looks at something that is on its way
_SHOWN_LINES = 12
_SHOWN_BYTES = 16_384


@dataclass(frozen=True)
class Birth:
    """One process and no other: its id together with the moment at which it began, as the system tells it."""

    pid: int
    began: str

    @property
    def alive(self) -> bool:
        """Whether this very process still runs; a finished one not yet collected does not."""
        return began(self.pid) == self.began

    def send(self, number: int) -> None:
        """Sends the signal to this very process, to nobody if it is gone."""
        if self.alive:
            with contextlib.suppress(ProcessLookupError):
                os.kill(self.pid, number)


def birth_of(pid: int) -> Birth | None:
    """The process that has this id now; None if there is none."""
    moment = began(pid)
    return None if moment is None else Birth(pid, moment)


def began(pid: int) -> str | None:
    """When the process with this id began, as text to compare; None if it is gone."""
    if not Path("/proc/self/stat").exists():
        told = subprocess.run(
            ["ps", "-o", "stat=,lstart=", "-p", str(pid)], capture_output=True, text=True, check=False
        ).stdout.strip()
        return None if not told or told.startswith("Z") else told.split(None, 1)[1]
    try:
        fields = (
            Path(f"/proc/{pid}/stat").read_text(encoding="ascii", errors="replace").rpartition(")")[2].split()
        )
    except (FileNotFoundError, ProcessLookupError):
        return None
    if fields[0] in {"Z", "X"}:
        return None
    machine = Path("/proc/sys/kernel/random/boot_id").read_text(encoding="ascii").strip()
    return f"{machine}:{fields[19]}"


def stop_process(birth: Birth, *, gently: int = signal.SIGTERM, patience: float = 10.0) -> bool:
    """Asks the process to stop, waits at most `patience` seconds, then ends it; True if asking was enough."""
    birth.send(gently)
    if gone_within(birth, patience):
        return True
    birth.send(signal.SIGKILL)
    gone_within(birth, patience)
    return False


def gone_within(birth: Birth, seconds: float) -> bool:
    """Waits until the process is gone, at most this long; whether it is."""
    until = time.monotonic() + seconds
    while birth.alive:
        if time.monotonic() >= until:
            return False
        Event().wait(_PAUSE)
    return True


def start_process(
    command: list[str],
    *,
    log: Path,
    account: Account | None = None,
    environment: Mapping[str, str] | None = None,
    folder: str = "/",
) -> subprocess.Popen[bytes]:
    """Starts a program in a session of its own; what it prints goes to the end of the log file."""
    with log.open("ab") as output:
        return subprocess.Popen(
            command,
            cwd=folder,
            env=dict(environment or {"PATH": os.defpath}),
            stdin=subprocess.DEVNULL,
            stdout=output,
            stderr=subprocess.STDOUT,
            start_new_session=True,
            **(account.identity() if account else {}),
        )


def wait_ready(
    name: str,
    process: subprocess.Popen[bytes],
    ready: Callable[[], bool],
    *,
    log: Path,
    seconds: float = 60.0,
) -> None:
    """Returns when `ready` says so; a StackError with the log's end if the program stops or time runs out."""
    until = time.monotonic() + seconds
    while not ready():
        with contextlib.suppress(subprocess.TimeoutExpired):
            code = process.wait(timeout=_PAUSE)
            raise StackError(f"{name} stopped at once with exit code {code}. {log_end(log)}")
        if time.monotonic() >= until:
            raise StackError(f"{name} was not ready within {seconds:.0f} s. {log_end(log)}")


def log_end(log: Path) -> str:
    """The last lines of a log, with its place, for an error message."""
    try:
        with log.open("rb") as file:
            file.seek(max(0, log.stat().st_size - _SHOWN_BYTES))
            lines = file.read().decode("utf-8", errors="replace").splitlines()[-_SHOWN_LINES:]
    except FileNotFoundError:
        return f"There is no log at {log}."
    if not lines:
        return f"Its log {log} is empty."
    return "\n".join([f"The end of {log}:", *(f"  {line}" for line in lines)])
