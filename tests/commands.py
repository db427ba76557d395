"""The `rapport` command in a process of its own that need not import everything anew.

A new interpreter spends most of a command's time on imports, and the suite gives hundreds of commands. Here
each runs in a child forked from a process that has imported them all: with standard streams, a working
folder, a clean end and an exit code like those of `python -m services.cli.main`, which is started as such
wherever a test uses `command` of its stack.
"""

import multiprocessing
import os
import subprocess
import sys
import tempfile
import threading
from collections.abc import Sequence
from multiprocessing.connection import wait
from pathlib import Path

from services.cli.main import COMMANDS

_context = multiprocessing.get_context("forkserver")
_context.set_forkserver_preload(
    sorted({"services.cli.main", *(target.partition(":")[0] for target, _ in COMMANDS.values())})
)
_one_at_a_time = threading.Lock()
"""Starting one looks after those that ended, which must not happen in two threads at once."""


def run_command(
    arguments: Sequence[str], *, folder: Path, stdin: bytes = b"", seconds: float
) -> subprocess.CompletedProcess[bytes]:
    """Runs `rapport` with these arguments in a folder to its end; like `subprocess.run`, never refused."""
    with tempfile.TemporaryDirectory(prefix="rapport-command-") as place:
        streams = [Path(place) / name for name in ("stdin", "stdout", "stderr")]
        streams[0].write_bytes(stdin)
        process = _context.Process(target=_run, args=(list(arguments), str(folder), [*map(str, streams)]))
        with _one_at_a_time:
            process.start()
        ended = wait([process.sentinel], seconds)
        with _one_at_a_time:
            if not ended:
                process.kill()
            process.join()
        if not ended:
            raise subprocess.TimeoutExpired(list(arguments), seconds)
        assert process.exitcode is not None
        return subprocess.CompletedProcess(
            list(arguments), process.exitcode, streams[1].read_bytes(), streams[2].read_bytes()
        )


def _run(arguments: list[str], folder: str, streams: list[str]) -> None:
    from services.cli.main import run

    os.chdir(folder)
    for number, stream in enumerate(streams):
        opened = os.open(stream, os.O_RDONLY if number == 0 else os.O_WRONLY | os.O_CREAT | os.O_APPEND)
        os.dup2(opened, number)
        os.close(opened)
    # for the process's life, as an interpreter opens them
    sys.stdin = open(0, encoding="utf-8", closefd=False)  # noqa: SIM115
    sys.stdout = open(1, "w", encoding="utf-8", closefd=False)  # noqa: SIM115
    sys.stderr = open(2, "w", 1, encoding="utf-8", errors="backslashreplace", closefd=False)  # noqa: SIM115
    sys.argv = ["rapport", *arguments]
    run(arguments)
