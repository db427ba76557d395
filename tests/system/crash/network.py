"""A stack whose parts all reach each other through proxies."""

import json
import os
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from itertools import pairwise
from pathlib import Path

from services.cli.stack.errors import StackError
from services.cli.stack.options import PORT_NAMES, ROLES
from services.cli.stack.ports import LOOPBACK, claim, free_port, is_taken
from tests.system.conftest import Rapport, until
from tests.system.crash.books import open_database
from tests.system.crash.proxy import Pair, Proxies

FEEDER = "feeder"
"""Whoever feeds from this process."""
_SOCKET = ".s.PGSQL.5432"

PAIRS = (
    *(Pair(role, "postgres") for role in ROLES),
    *(Pair(role, "nats") for role in ROLES),
    Pair("channel-server", "profile"),
    Pair("channel-worker", "profile"),
    Pair("decision-server", "profile"),
    Pair("decision-server", "channel"),
    Pair("channel-worker", "smsc"),
    Pair("channel-worker", "smtp-sink"),
    Pair(FEEDER, "profile"),
)
"""Every two parts that talk to each other."""


@dataclass
class Network:
    """The stack, the way in for a feeder behind a proxy, and what stalls whom."""

    rapport: Rapport
    feed_from: Rapport
    proxies: Proxies


def port_base() -> int:
    """The first of so many free ports in a row that every part gets one known beforehand."""
    while True:
        base = free_port()
        row = range(base + 1, base + len(PORT_NAMES))
        if row.stop <= 30_000 and all(not is_taken(port) and claim(port) for port in row):
            return base


@contextmanager
def network(start: Callable[..., Rapport]) -> Iterator[Network]:
    """Starts a stack with a proxy before every part; `start` takes StackOptions' fields."""
    base = port_base()
    ports = {name: base + index for index, name in enumerate(PORT_NAMES)}
    before = {
        name: _apart(base) for name in ("nats", "smsc", "smtp-sink", "profile", "channel", "profile-tokens")
    }
    settings = {
        "nats_url": f"nats://{LOOPBACK}:{before['nats']}",
        "smsc": f"{LOOPBACK}:{before['smsc']}",
        "smtp": f"{LOOPBACK}:{before['smtp-sink']}",
        "profile_target": f"{LOOPBACK}:{before['profile']}",
        "channel_target": f"{LOOPBACK}:{before['channel']}",
    }
    names: dict[int, str] = {os.getpid(): FEEDER}
    stack: list[Rapport] = []

    def name_of(pid: int) -> str:
        if pid not in names and stack:
            try:
                programs = stack[0].stack.programs
            except StackError:
                programs = []
            names.update({program.birth.pid: program.name for program in programs if program.birth})
        return names.get(pid) or _role_of(pid)

    with Proxies(name_of) as proxies:
        for name, port in before.items():
            proxies.tcp(name.removesuffix("-tokens"), port, ports[name])
        rapport = start(port_base=base, settings=settings)
        stack.append(rapport)
        _before_postgres(rapport, proxies)
        yield Network(rapport, _way_in(rapport, before), proxies)


def _apart(base: int) -> int:
    """A free port that is none of the stack's own."""
    while base <= (port := free_port()) < base + len(PORT_NAMES):
        pass
    return port


def _role_of(pid: int) -> str:
    """The role that a process runs, by its command line: `… -m services.channel.main worker`."""
    try:
        words = Path(f"/proc/{pid}/cmdline").read_bytes().decode(errors="replace").split("\0")
    except OSError:
        return "?"
    for word, after in pairwise(words):
        if word.startswith("services.") and word.endswith(".main"):
            return f"{word.split('.')[1]}-{after}"
    return "?"


def _before_postgres(rapport: Rapport, proxies: Proxies) -> None:
    """Takes the place of PostgreSQL's socket, and ends the sessions that go past us."""
    socket = rapport.stack.database_socket / _SOCKET
    behind = socket.with_name(".s.behind")
    socket.rename(behind)
    proxies.unix("postgres", socket, behind)
    for service in ("profile", "decision", "channel"):
        with open_database(rapport.stack, service) as connection:
            connection.execute(
                "SELECT pg_terminate_backend(pid) FROM pg_stat_activity "
                "WHERE usename = current_user AND pid <> pg_backend_pid()"
            )
    until(lambda: {Pair(role, "postgres") for role in ROLES} <= proxies.seen)


def _way_in(rapport: Rapport, before: dict[str, int]) -> Rapport:
    """The stack's folder as a feeder sees it that reaches the profile service through the proxy."""
    folder = rapport.folder.parent / "feeder"
    (folder / "run").mkdir(parents=True)
    for entry in rapport.folder.iterdir():
        if entry.name != "run":
            (folder / entry.name).symlink_to(entry)
    told = json.loads(rapport.layout.state.read_text(encoding="utf-8"))
    for name in ("profile", "profile-tokens"):
        told["ports"][name] = before[name]
    (folder / "run" / "stack.json").write_text(json.dumps(told), encoding="utf-8")
    return Rapport(folder)
