"""The other end of engine_process: takes jobs from a pipe, one after the other, until the pipe closes."""

from __future__ import annotations

import ctypes
import mmap
import os
import pickle
import signal
import sys
from pathlib import Path
from typing import TYPE_CHECKING, Any

from services.decision.adapters.arbitration_file import ArbitrationFile
from services.decision.adapters.engine_wire import HEADER, ITEM, PING
from services.decision.adapters.sieving_engine import SievingEngine
from services.decision.adapters.workbench import Workbench
from services.decision.adapters.yaml_reader import read_yaml
from services.runtime.garbage import collect_seldom
from services.vocabulary.catalogue import load_catalogue

if TYPE_CHECKING:
    from collections.abc import Callable, Mapping
    from typing import BinaryIO


_TRIM_THRESHOLD, _TOP_PAD, _MMAP_THRESHOLD = -1, -2, -3  # malloc.h
_KEPT = {_TRIM_THRESHOLD: 256 << 20, _TOP_PAD: 16 << 20, _MMAP_THRESHOLD: 256 << 20}


class Progress:
    """Tells the parent, through shared memory, which item is in work."""

    def __init__(self, descriptor: int) -> None:
        self._memory = mmap.mmap(descriptor, mmap.PAGESIZE)

    def at(self, item: int) -> None:
        """From now on, ``item`` is in work."""
        self._memory[: ITEM.size] = ITEM.pack(item)


def keep_memory() -> None:
    """Has glibc keep memory that was freed instead of giving it back to the system.

    The engine asks for all of a context's memory and frees it in every run; with shards of some eight to
    twelve
    rules each run would hand pages back and fault them in again, six times as long. Elsewhere nothing is
    done.
    """
    mallopt = getattr(ctypes.CDLL(None), "mallopt", None) if sys.platform.startswith("linux") else None
    if mallopt is not None:
        for parameter, value in _KEPT.items():
            mallopt(parameter, value)


def serve(descriptor: int, make_jobs: Callable[[Progress], Mapping[str, Callable[..., Any]]]) -> None:
    """Answers jobs until the parent closes the pipe.

    Standard output belongs to the protocol alone: whatever else prints goes to standard error.
    """
    keep_memory()
    signal.signal(signal.SIGINT, signal.SIG_IGN)  # the parent decides when it ends
    questions: BinaryIO = os.fdopen(os.dup(0), "rb")
    answers: BinaryIO = os.fdopen(os.dup(1), "wb")
    os.dup2(2, 1)
    jobs = {PING: lambda: None, **make_jobs(Progress(descriptor))}
    collect_seldom()
    while header := questions.read(HEADER.size):
        job, arguments = pickle.loads(questions.read(*HEADER.unpack(header)))  # noqa: S301  our own parent wrote it
        answer: tuple[bool, Any]
        try:
            answer = (True, jobs[job](*arguments))
        except Exception as error:  # noqa: BLE001  told to the parent, which decides
            answer = (False, f"{type(error).__name__}: {error}")
        frame = pickle.dumps(answer, protocol=pickle.HIGHEST_PROTOCOL)
        answers.write(HEADER.pack(len(frame)))
        answers.write(frame)
        answers.flush()


def make_jobs(rules_folder: Path) -> Callable[[Progress], Mapping[str, Callable[..., Any]]]:
    """The jobs of the product, for a rules folder."""

    def make(progress: Progress) -> Mapping[str, Callable[..., Any]]:
        catalogue = load_catalogue(rules_folder)
        policy = ArbitrationFile(rules_folder, catalogue)
        return Workbench(SievingEngine(), catalogue, read_yaml, progress, policy.current).jobs()

    return make


def command(rules_folder: Path) -> list[str]:
    """How the parent starts this program; it adds the descriptor of the shared memory."""
    return [sys.executable, "-m", "services.decision.adapters.engine_child", str(rules_folder)]


if __name__ == "__main__":
    serve(int(sys.argv[2]), make_jobs(Path(sys.argv[1])))
