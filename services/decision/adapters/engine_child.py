"""The other end of engine_process: takes jobs from a pipe, one after the other, until the pipe closes."""

from __future__ import annotations

import gc
import mmap
import os
import pickle
import signal
import sys
from pathlib import Path
from typing import TYPE_CHECKING, Any

from services.decision.adapters.engine import DurableEngine
from services.decision.adapters.engine_process import HEADER, ITEM
from services.decision.adapters.workbench import Workbench
from services.decision.adapters.yaml_reader import read_yaml
from services.vocabulary.catalogue import load_catalogue

if TYPE_CHECKING:
    from collections.abc import Callable, Mapping
    from typing import BinaryIO


class Progress:
    """Tells the parent, through shared memory, which item is in work."""

    def __init__(self, descriptor: int) -> None:
        self._memory = mmap.mmap(descriptor, mmap.PAGESIZE)

    def at(self, item: int) -> None:
        """From now on, ``item`` is in work."""
        self._memory[: ITEM.size] = ITEM.pack(item)


def serve(descriptor: int, make_jobs: Callable[[Progress], Mapping[str, Callable[..., Any]]]) -> None:
    """Answers jobs until the parent closes the pipe.

    Standard output belongs to the protocol alone: whatever else prints goes to standard error.
    """
    signal.signal(signal.SIGINT, signal.SIG_IGN)  # the parent decides when it ends
    questions: BinaryIO = os.fdopen(os.dup(0), "rb")
    answers: BinaryIO = os.fdopen(os.dup(1), "wb")
    os.dup2(2, 1)
    jobs = make_jobs(Progress(descriptor))
    gc.freeze()
    gc.set_threshold(50_000, 20, 100)  # what a job makes is gone by counting; cycles are rare
    while header := questions.read(HEADER.size):
        job, arguments = pickle.loads(questions.read(*HEADER.unpack(header)))  # noqa: S301  our own parent wrote it
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
        bench = Workbench(DurableEngine(), load_catalogue(rules_folder), read_yaml, progress)
        return bench.jobs()

    return make


def command(rules_folder: Path) -> list[str]:
    """How the parent starts this program; it adds the descriptor of the shared memory."""
    return [sys.executable, "-m", "services.decision.adapters.engine_child", str(rules_folder)]


if __name__ == "__main__":
    serve(int(sys.argv[2]), make_jobs(Path(sys.argv[1])))
