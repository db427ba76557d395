"""Breaks parts of a running stack at random moments, the same ones for the same seed."""

import os
import random
import signal
import threading
import time
from collections import Counter
from collections.abc import Callable
from dataclasses import dataclass, field
from pathlib import Path
from typing import Self

from services.cli.stack.errors import StackError
from services.cli.stack.options import ROLES
from services.cli.stack.processes import Birth, birth_of
from tests.system.conftest import Rapport, until

PARTS = (*ROLES, "nats", "postgres")
"""What is killed: each role of each service, and what they stand on."""
INNER = ("engine", "database session")
"""Processes inside a part: the engine's child of a worker, one session of PostgreSQL."""
PROVIDERS = ("smsc", "smtp-sink")


@dataclass(frozen=True)
class Blow:
    """Something that was done to a part, so many seconds after the beginning."""

    seconds: float
    part: str
    act: str


@dataclass
class Disasters:
    """Deals blows until stopped, `pause` seconds apart; one in eight hits two parts at once.

    `parts` are dealt out like cards, so that none is spared. A stall is a SIGSTOP for up to `stall` seconds.
    With `start_again`, which starts the stack anew, one blow in twenty is a power cut or hits the supervisor.
    """

    rapport: Rapport
    seed: int
    parts: tuple[str, ...] = (*PARTS, *INNER)
    pause: tuple[float, float] = (2.0, 6.0)
    stall: float = 0.0
    """Longest stall; one blow in six is a stall instead of a kill. 0: none."""
    start_again: Callable[[], object] | None = None
    blows: list[Blow] = field(default_factory=list)

    def __post_init__(self) -> None:
        self._random = random.Random(self.seed)
        self._deck: list[str] = []
        self._stop = threading.Event()
        self._thread = threading.Thread(target=self._run, name="disasters", daemon=True)
        self._began = 0.0
        self._wakers: list[threading.Thread] = []
        self.failure: Exception | None = None

    def __enter__(self) -> Self:
        self._began = time.monotonic()
        self._thread.start()
        return self

    def __exit__(self, *_: object) -> None:
        self._stop.set()
        self._thread.join()
        for waker in self._wakers:
            waker.join()
        if self.failure is not None:
            raise self.failure

    @property
    def counted(self) -> dict[str, int]:
        """How often each part was hit."""
        return dict(sorted(Counter(f"{blow.part} {blow.act}" for blow in self.blows).items()))

    def _run(self) -> None:
        try:
            while not self._stop.wait(self._random.uniform(*self.pause)):
                if self.start_again is not None and self._random.random() < 1 / 20:
                    self._cut_power(self.start_again)
                    continue
                for _ in range(2 if self._random.random() < 1 / 8 else 1):
                    self._strike(self._draw())
        except Exception as error:  # noqa: BLE001 - told by __exit__
            self.failure = error

    def _cut_power(self, start_again: Callable[[], object]) -> None:
        seconds = time.monotonic() - self._began
        if self._random.random() < 0.5:
            self.blows.append(Blow(seconds, "everything", "killed at once"))
            power_cut(self.rapport)
        else:
            self.blows.append(Blow(seconds, "supervisor", "killed"))
            supervisor = self.rapport.stack.supervisor
            supervisor.send(signal.SIGKILL)
            until(lambda: not supervisor.alive)
        start_again()

    def _draw(self) -> str:
        if not self._deck:
            self._deck = list(self.parts)
            self._random.shuffle(self._deck)
        return self._deck.pop()

    def _strike(self, part: str) -> None:
        stalled = self.stall and part in PARTS and self._random.random() < 1 / 6
        seconds = self._random.uniform(0.5, self.stall) if stalled else 0.0
        victim = self._victim(part)
        if victim is None:
            self._deck.insert(0, part)  # its turn comes when it runs
            return
        if seconds:
            victim.send(signal.SIGSTOP)
            waker = threading.Thread(target=self._wake, args=(victim, seconds), daemon=True)
            waker.start()
            self._wakers.append(waker)
        else:
            victim.send(signal.SIGKILL)
        act = "stalled" if seconds else "killed"
        self.blows.append(Blow(time.monotonic() - self._began, part, act))

    def _wake(self, victim: Birth, seconds: float) -> None:
        self._stop.wait(seconds)
        victim.send(signal.SIGCONT)

    def _victim(self, part: str) -> Birth | None:
        """The process to hit; None when it does not run at this moment."""
        if part == "engine":
            return self._child("decision-worker", "services.decision.adapters.engine_child")
        if part == "database session":
            return self._child("postgres", " rapport")
        try:
            birth = self.rapport.stack.program(part).birth
        except StackError:
            return None
        return birth if birth is not None and birth.alive else None

    def _child(self, part: str, named: str) -> Birth | None:
        try:
            parent = self.rapport.stack.program(part).birth
        except StackError:
            return None
        if parent is None:
            return None
        found = children(parent.pid, named)
        return birth_of(self._random.choice(found)) if found else None


def children(parent: int, named: str) -> list[int]:
    """The process ids of a process's children whose command line has this in it."""
    try:
        listed = Path(f"/proc/{parent}/task/{parent}/children").read_text(encoding="ascii").split()
    except OSError:
        return []
    found = []
    for pid in map(int, listed):
        try:
            command = Path(f"/proc/{pid}/cmdline").read_bytes().replace(b"\0", b" ").decode(errors="replace")
        except OSError:
            continue
        if named in command:
            found.append(pid)
    return sorted(found)


def runs(rapport: Rapport) -> bool:
    """Whether the stack is up, as far as its supervisor knows."""
    try:
        return bool(rapport.stack.programs)
    except (StackError, OSError):
        return False


def all_run(rapport: Rapport) -> bool:
    """Whether every part of the stack is there and does its work."""
    try:
        return all(program.state == "running" and program.alive for program in rapport.stack.programs)
    except (StackError, OSError):
        return False


def wait_all_run(rapport: Rapport, *, seconds: float = 120.0) -> None:
    """Returns once every part runs and every service answers."""
    until(lambda: all_run(rapport), seconds=seconds)
    until(lambda: not any(told.failure for told in rapport.progress().values()), seconds=seconds)


def power_cut(rapport: Rapport) -> None:
    """Kills the supervisor and every part at once, as when a machine stops; its disk loses nothing."""
    stack = rapport.stack
    births = [stack.supervisor, *(program.birth for program in stack.programs if program.birth is not None)]
    for birth in births:
        birth.send(signal.SIGSTOP)  # so that none sees another one go
    sessions = [
        session
        for program in stack.programs
        if program.name == "postgres" and program.birth is not None
        for session in children(program.birth.pid, "postgres")
    ]
    engines = [
        engine
        for program in stack.programs
        if program.birth is not None
        for engine in children(program.birth.pid, "engine_child")
    ]
    for birth in births:
        birth.send(signal.SIGKILL)
    for pid in (*sessions, *engines):
        try:
            os.kill(pid, signal.SIGKILL)
        except ProcessLookupError:
            continue
    until(lambda: not any(birth.alive for birth in births))
