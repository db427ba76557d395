"""The channel service alone: gate decisions, text messages and mails a second, beside what each is built on.

Usage: python -m bench.channel [--json FILE] [--seconds N] [--only gates|sms|email …]
"""

import argparse
import multiprocessing
import sys
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from multiprocessing.connection import Connection
from pathlib import Path
from typing import Any

from bench.channel_peers import PASSWORD, SYSTEM_ID, count_in_sql, mail_plainly, provider, submit_bare
from bench.channel_worker import Done, Work, run_work
from bench.cost import all_processes, cost_by_program
from bench.measure import Measure, table, write_json
from bench.plain_sql import bench_server
from services.cli.stack.layout import CHECKOUT
from services.cli.stack.postgres import PostgresServer
from services.runtime.migrations import migrate
from services.vocabulary.words import Category, Channel

PARTS = ("gates", "sms", "email")
PROCESSES = 2
WRITERS = 8
"""Transactions at a time, over all processes."""
CUSTOMERS = 200_000
MIX = (
    *([Category.SERVICE] * 5),
    *([Category.SALES] * 3),
    Category.RETENTION,
    Category.SURVEY,
)
"""What the gates judge: half of it is capped as commercial, so that some is refused."""
_FOLDER = CHECKOUT / "var" / "bench" / "channel"
_PATIENCE_SECONDS = 120.0
_COMMERCIAL_DAY = """
    SELECT count(*) FROM (SELECT customer FROM contact WHERE category IN ('sales', 'retention')
                          GROUP BY customer HAVING count(*) > 1) AS over
"""


@dataclass(frozen=True, slots=True)
class Ran:
    """What one part's processes reached together."""

    per_second: float
    decisions: int
    planned: int
    costs: dict[str, float]
    """Microseconds of processor a message (or decision), by program."""


def measure_gates(server: PostgresServer, seconds: float) -> list[Measure]:
    """Decisions a second by eight writers, and a plain counter's updates by as many."""
    ran = _run_fresh(
        server,
        lambda place, url: Work(place, url, CUSTOMERS, seconds, WRITERS // PROCESSES, MIX),
        lambda done: sum(one.decisions for one in done),
    )
    with server.connect("channel") as connection:
        row = connection.execute(_COMMERCIAL_DAY).fetchone()
        if row is None or row[0]:
            raise SystemExit("customers got more than their caps allow")
    _say(f"  {ran.decisions:,} decisions, {ran.planned:,} passed; no cap was passed")
    _tell_costs(ran)
    _say(f"a counter in plain SQL, {WRITERS} writers")
    counted = _count_plainly(server, seconds)
    return [Measure("channel.gates_per_s", ran.per_second, "decisions/s", "plain_sql_counter", counted)]


def measure_sms(server: PostgresServer, seconds: float) -> list[Measure]:
    """Text messages a second from the action to the SMSC's committed answer, and the library's submits."""
    with provider("smsc", _FOLDER) as port:
        _say("the bare SMPP library")
        bare = submit_bare(port, min(5.0, seconds))
    with provider("smsc", _FOLDER) as port:
        _say(f"text messages, {PROCESSES} processes")
        ran = _run_sending(server, seconds, Channel.SMS, port)
    return [Measure("channel.sms_per_s", ran.per_second, "messages/s", "bare_smpp", bare)]


def measure_emails(server: PostgresServer, seconds: float) -> list[Measure]:
    """Mails a second from the action to the relay's committed answer, and a plain client's."""
    with provider("smtp_sink", _FOLDER) as port:
        _say("plain SMTP")
        plain = mail_plainly(port, min(5.0, seconds))
        _say(f"mails, {PROCESSES} processes")
        ran = _run_sending(server, seconds, Channel.EMAIL, port)
    return [Measure("channel.emails_per_s", ran.per_second, "mails/s", "plain_smtp", plain)]


def _run_sending(server: PostgresServer, seconds: float, channel: Channel, port: int) -> Ran:
    ran = _run_fresh(
        server,
        lambda place, url: Work(
            place,
            url,
            CUSTOMERS,
            seconds,
            1,
            (Category.SERVICE,),
            channel,
            port,
            SYSTEM_ID,
            PASSWORD,
        ),
        lambda done: sum(one.planned for one in done),
    )
    with server.connect("channel") as connection:
        row = connection.execute("SELECT count(*) FROM message WHERE state = 'sent'").fetchone()
    if row is None or row[0] != ran.planned:
        raise SystemExit(f"{ran.planned:,} messages were planned, and {row} are sent")
    _say(f"  {ran.planned:,} messages, every one committed as sent")
    _tell_costs(ran)
    return ran


def _run_fresh(
    server: PostgresServer, work_of: Callable[[int, str], Work], counted: Callable[[Sequence[Done]], int]
) -> Ran:
    """Runs the processes over a fresh database of the channel service."""
    with server.connect("postgres") as connection:
        connection.execute("DROP DATABASE IF EXISTS channel WITH (FORCE)")
        connection.execute("CREATE DATABASE channel")
    url = server.url("channel", password_file=server.password_file)
    migrate(url, CHECKOUT / "services" / "channel" / "migrations")
    with server.connect("channel") as connection:
        connection.execute("INSERT INTO customer_gate SELECT generate_series(1, %s)", (CUSTOMERS,))
        connection.execute("VACUUM (ANALYZE) customer_gate")
        connection.execute("CHECKPOINT")
    before = _postgres_seconds(server)
    with _processes(run_work, [(work_of(place, url),) for place in range(PROCESSES)]) as pipes:
        done: list[Done] = _go(pipes)
    postgres = _postgres_seconds(server) - before
    number = max(1, counted(done))
    return Ran(
        per_second=number / max(one.seconds for one in done),
        decisions=sum(one.decisions for one in done),
        planned=sum(one.planned for one in done),
        costs={
            "our processes": sum(one.cpu_seconds for one in done) / number * 1e6,
            "PostgreSQL": postgres / number * 1e6,
        },
    )


def _postgres_seconds(server: PostgresServer) -> float:
    pid = int((server.cluster / "postmaster.pid").read_text(encoding="ascii").split(maxsplit=1)[0])
    return sum(cost_by_program({"postgres": pid}, all_processes()).values())


def _count_plainly(server: PostgresServer, seconds: float) -> float:
    with server.connect("postgres") as connection:
        connection.execute("DROP DATABASE IF EXISTS counter WITH (FORCE)")
        connection.execute("CREATE DATABASE counter")
    with server.connect("counter") as connection:
        connection.execute(
            "CREATE TABLE counter (customer bigint PRIMARY KEY, count int NOT NULL) WITH (fillfactor = 70)"
        )
        connection.execute("INSERT INTO counter SELECT generate_series(1, %s), 0", (CUSTOMERS,))
        connection.execute("VACUUM (ANALYZE) counter")
        connection.execute("CHECKPOINT")
    url = server.url("counter", password_file=server.password_file).replace("+psycopg", "")
    short = min(5.0, seconds)
    told = [(url, place, WRITERS // PROCESSES, CUSTOMERS, short) for place in range(PROCESSES)]
    with _processes(count_in_sql, told) as pipes:
        counts: list[int] = _go(pipes)
    return sum(counts) / short


@contextmanager
def _processes(target: Callable[..., None], told: Sequence[tuple[Any, ...]]) -> Iterator[list[Connection]]:
    """So many processes that have said they are ready."""
    spawn = multiprocessing.get_context("spawn")
    pipes = [spawn.Pipe() for _ in told]
    processes = [
        spawn.Process(target=target, args=(*arguments, theirs))
        for arguments, (_, theirs) in zip(told, pipes, strict=True)
    ]
    for process in processes:
        process.start()
    ours = [mine for mine, _ in pipes]
    try:
        for pipe in ours:
            _hear(pipe)
        yield ours
        for process in processes:
            process.join(_PATIENCE_SECONDS)
    finally:
        for process in processes:
            process.kill()


def _go(pipes: Sequence[Connection]) -> list[Any]:
    for pipe in pipes:
        pipe.send("go")
    return [_hear(pipe) for pipe in pipes]


def _hear(pipe: Connection) -> Any:
    if not pipe.poll(_PATIENCE_SECONDS):
        raise SystemExit("a process of the benchmark did not answer")
    return pipe.recv()


def _tell_costs(ran: Ran) -> None:
    told = ", ".join(f"{name} {micros:.0f} µs" for name, micros in ran.costs.items())
    _say(f"  {ran.per_second:,.0f}/s; processor for each: {told}")


def _say(line: str) -> None:
    print(line, flush=True)


def run(parts: Sequence[str], seconds: float) -> list[Measure]:
    """The parts in their order."""
    found: list[Measure] = []
    with bench_server(_FOLDER) as server:
        if "gates" in parts:
            _say(f"the gates, {WRITERS} writers in {PROCESSES} processes, {CUSTOMERS:,} customers")
            found += measure_gates(server, seconds)
        if "sms" in parts:
            found += measure_sms(server, seconds)
        if "email" in parts:
            found += measure_emails(server, seconds)
    return found


def main() -> int:
    """The exit status."""
    parser = argparse.ArgumentParser(
        prog="python -m bench.channel", description=(__doc__ or "").partition("\n")[0]
    )
    parser.add_argument("--json", type=Path, help="write the figures to this file")
    parser.add_argument("--seconds", type=float, default=10.0, help="how long each part is fed (10)")
    parser.add_argument("--only", nargs="+", choices=PARTS, default=PARTS, help="these parts alone")
    told = parser.parse_args()
    found = run(told.only, told.seconds)
    _say(table(found))
    if told.json is not None:
        write_json(found, told.json)
    return 0


if __name__ == "__main__":
    sys.exit(main())
