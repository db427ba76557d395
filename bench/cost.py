"""Where the time goes: processor seconds of every program of a stack, with all its children."""

import os
from collections.abc import Iterable, Mapping
from dataclasses import dataclass
from pathlib import Path

from services.cli.stack.state import Stack

PROC = Path("/proc")
TICKS = os.sysconf("SC_CLK_TCK")
_POSTGRES = "postgres"


@dataclass(frozen=True, slots=True)
class ProcessCost:
    """One process at one moment."""

    pid: int
    parent: int
    own_ticks: int
    """User and system time of its own."""
    reaped_ticks: int
    """The same of children that have ended and were waited for."""
    title: str
    """Its command line; PostgreSQL's processes write there whom they serve."""


def read_process(pid: int, proc: Path = PROC) -> ProcessCost | None:
    """What /proc tells of a process; None when it is gone."""
    try:
        fields = (proc / str(pid) / "stat").read_text(encoding="ascii", errors="replace").rpartition(")")[2]
        title = (proc / str(pid) / "cmdline").read_bytes()
    except (FileNotFoundError, ProcessLookupError):
        return None
    told = fields.split()
    user, system, user_reaped, system_reaped = (int(ticks) for ticks in told[11:15])
    words = title.replace(b"\0", b" ").decode("utf-8", errors="replace").strip()
    return ProcessCost(pid, int(told[1]), user + system, user_reaped + system_reaped, words)


def all_processes(proc: Path = PROC) -> list[ProcessCost]:
    """Every process of the machine."""
    pids = (int(entry.name) for entry in proc.iterdir() if entry.name.isdecimal())
    return [process for pid in pids if (process := read_process(pid, proc)) is not None]


def cost_by_program(
    roots: Mapping[str, int], processes: Iterable[ProcessCost], databases: Iterable[str] = ()
) -> dict[str, float]:
    """Processor seconds so far by program, its descendants included.

    PostgreSQL's are told apart by the database that they serve: `postgres: profile`, …, and `postgres` for
    what serves all (log writer, checkpointer, vacuum).
    """
    known = {process.pid: process for process in processes}
    names = set(databases)
    program_of = {pid: name for name, pid in roots.items()}
    costs = dict.fromkeys(roots, 0.0)
    for process in known.values():
        name = _program(process, known, program_of)
        if name is None:
            continue
        if name == _POSTGRES:
            name = _served(process.title, names)
        costs[name] = costs.get(name, 0.0) + (process.own_ticks + process.reaped_ticks) / TICKS
    return costs


def _program(
    process: ProcessCost, known: Mapping[int, ProcessCost], program_of: Mapping[int, str]
) -> str | None:
    current: ProcessCost | None = process
    while current is not None:
        name = program_of.get(current.pid)
        if name is not None:
            return name
        current = known.get(current.parent)
    return None


def _served(title: str, databases: set[str]) -> str:
    # a backend calls itself: postgres, its role, its database, its client, what it does
    words = title.split()
    if len(words) > 3 and words[0] == "postgres:" and words[2] in databases:
        return f"{_POSTGRES}: {words[2]}"
    return _POSTGRES


def stack_cost(stack: Stack) -> dict[str, float]:
    """Processor seconds so far of everything in this stack, by program; this very process is `bench`."""
    roots = {program.name: program.birth.pid for program in stack.programs if program.birth is not None}
    costs = cost_by_program(roots, all_processes(), databases=("profile", "decision", "channel"))
    own = os.times()
    return {**costs, "bench": own.user + own.system}


def spent(before: Mapping[str, float], after: Mapping[str, float]) -> dict[str, float]:
    """What was used between two looks, the largest first; what ended in between counts as nothing."""
    used = {name: max(0.0, seconds - before.get(name, 0.0)) for name, seconds in after.items()}
    return dict(sorted(used.items(), key=lambda item: -item[1]))


def cost_table(used: Mapping[str, float], events: int, seconds: float) -> str:
    """For people: per program processor seconds, microseconds per event, and share of the whole."""
    whole = sum(used.values()) or 1.0
    lines = [f"{'':<20}{'cpu s':>8}{'µs/event':>10}{'share':>8}"]
    lines += [
        f"{name:<20}{value:>8.2f}{value / events * 1e6:>10.1f}{value / whole:>8.1%}"
        for name, value in used.items()
        if value >= 0.005
    ]
    cores = os.cpu_count() or 1
    lines.append(
        f"{'together':<20}{whole:>8.2f}{whole / events * 1e6:>10.1f}"
        f"   {whole / seconds:.2f} of {cores} cores over {seconds:.1f} s"
    )
    return "\n".join(lines)
