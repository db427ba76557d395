"""What a supervisor that was killed, or a machine that stopped, left behind in a folder."""

import contextlib
import os
import signal
from pathlib import Path

from services.cli.stack import postgres
from services.cli.stack.layout import Layout
from services.cli.stack.processes import gone_within, stop_process
from services.cli.stack.state import ProgramState, read_stack

_PATIENCE = 20.0


def end_leftovers(folder: Path) -> list[str]:
    """Stops the processes that the state file names and that are still the same ones; the names of those.

    Call it only when no supervisor holds the folder. A process id that another process has got meanwhile is
    recognised by its time of start, and left alone.
    """
    stack = read_stack(folder)
    if stack is None:
        return []
    alive = [program for program in reversed(stack.programs) if program.alive]
    last = {"postgres", "nats"}
    for group in (
        [program for program in alive if program.name not in last],
        [program for program in alive if program.name in last],
    ):
        _end(group)
    Layout(stack.folder).state.unlink(missing_ok=True)
    return [program.name for program in alive]


def _end(programs: list[ProgramState]) -> None:
    births = [(program.name, program.birth) for program in programs if program.birth is not None]
    for name, birth in births:
        birth.send(postgres.STOP_SIGNAL if name == "postgres" else signal.SIGTERM)
    for name, birth in births:
        if not gone_within(birth, _PATIENCE):
            stop_process(birth, patience=1.0)
        if name != "postgres":
            with contextlib.suppress(ProcessLookupError, PermissionError):
                os.killpg(birth.pid, signal.SIGKILL)
