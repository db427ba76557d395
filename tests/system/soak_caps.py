"""`make soak CASE=caps`: a million attempts by writers in several processes pass no cap in any window.

A PostgreSQL of its own; four processes with two writers each dispatch batches to the channel service's gates
for the same persons, some of whom have two ids, and one batch in twenty a second time. Sixty seconds of
business time go by in each second, so that the windows of a minute, an hour and a day slide meanwhile. In the
middle, while the writers go on, and at the end every window of every cap is counted anew from the slots, by
a query that has nothing to do with the code that gave them out.
"""

import argparse
import asyncio
import random
import shutil
import subprocess
import sys
import tempfile
import time
from collections.abc import Sequence
from dataclasses import dataclass, replace
from pathlib import Path

import click
import psycopg

from services.channel.app.profile import ContactQuestion
from services.channel.domain.actions import Action
from services.channel.domain.caps import Cap
from services.channel.domain.contact import Reach
from services.channel.domain.policies import Policies
from services.cli.stack.layout import CHECKOUT
from services.cli.stack.postgres import PostgresServer
from services.runtime.database import Database
from services.runtime.errors import UnavailableError
from services.runtime.migrations import migrate
from services.vocabulary.values import DAY, HOUR, MINUTE
from services.vocabulary.words import Category, Channel
from tests.fakes.channel import NOON, SetClock, make_action, reachable
from tests.integration.channel.conftest import MIGRATIONS, Road

PACE = 60
"""Seconds of business time in one of the machine's."""
BATCH = 250
PROCESSES, WRITERS = 4, 2
COMMERCIAL = frozenset({Category.SALES, Category.RETENTION})
ALL = frozenset({*COMMERCIAL, Category.SURVEY})
CAPS = (
    Cap("minute", 1, MINUTE, ALL, ALL),
    Cap("hour", 5, HOUR, ALL, ALL),
    Cap("day", 9, DAY, ALL, ALL),
    Cap("sms-hour", 3, HOUR, ALL, ALL, channels=frozenset({Channel.SMS})),
    Cap("survey-day", 1, DAY, frozenset({Category.SURVEY}), frozenset({Category.SURVEY})),
)
_PERSON = "CASE WHEN customer %% 10 < 2 THEN customer - customer %% 2 ELSE customer END"
"""The customers 10 and 11, 20 and 21 … are one person each; as SQL, with the percent signs doubled."""
_FULLEST = f"""
    SELECT coalesce(max(held), 0) FROM (
        SELECT count(*) OVER (
            PARTITION BY {_PERSON} ORDER BY time_micros
            RANGE BETWEEN %(before)s::bigint PRECEDING AND CURRENT ROW
        ) AS held
        FROM contact WHERE category = ANY(%(counts)s) AND channel = ANY(%(channels)s)
    ) AS windows
"""
_ROOM = f"""
    SELECT count(*) FROM contact
    WHERE {_PERSON} = %(person)s AND category = ANY(%(counts)s) AND channel = ANY(%(channels)s)
        AND time_micros > %(now)s - %(window)s AND time_micros <= %(now)s
"""
_LOOKED_AT = 2000
"""Refusals of which it is checked that there was no room."""


class PacedClock(SetClock):
    """Business time that goes faster than the machine's, alike in all processes."""

    def __init__(self, began: float) -> None:
        super().__init__()
        self._began = began

    def now_micros(self) -> int:
        return NOON + int((time.monotonic() - self._began) * PACE * 1_000_000)

    async def wait_until(self, micros: int, wake: asyncio.Event | None = None) -> None:
        """The gates wait for the first moment only, which has been."""


class Everybody:
    """Everybody may be reached; some have two ids."""

    async def check_contact(self, questions: Sequence[ContactQuestion]) -> Sequence[Reach]:
        return [
            replace(
                reachable(one.customer, merged=(one.customer ^ 1,) if one.customer % 10 < 2 else ()),
                asked_wall_micros=1,
            )
            for one in questions
        ]


def main(attempts: int, persons: int, seed: int, *, keep: bool = False) -> int:
    """0: no cap was passed, and nobody was refused who had room."""
    folder = Path(tempfile.mkdtemp(prefix="rapport-soak-"))
    folder.chmod(0o711)
    (folder / "secrets").mkdir(mode=0o700)
    server = PostgresServer(
        folder / "postgres", password_file=folder / "secrets" / "admin", log=folder / "log", durable=True
    )
    writers: list[subprocess.Popen[bytes]] = []
    try:
        server.start()
        with server.connect() as connection:
            connection.execute("CREATE DATABASE caps")
        url = server.url("caps", password_file=server.password_file)
        migrate(url, MIGRATIONS)
        began = time.monotonic()
        arguments = ["--writer", url, "--persons", str(persons), "--began", str(began)]
        each = attempts // (PROCESSES * WRITERS)
        for number in range(PROCESSES):
            own = ["--seed", str(seed * 1000 + number), "--attempts", str(each)]
            writers.append(
                subprocess.Popen(
                    [sys.executable, "-m", "tests.system.soak_caps", *arguments, *own], cwd=CHECKOUT
                )
            )
        with server.connect("caps") as connection:
            connection.autocommit = True
            return _watch(connection, writers, each * PROCESSES * WRITERS, began, seed)
    except KeyboardInterrupt:
        click.echo("ended early")
        return 1
    finally:
        for writer in writers:
            if writer.poll() is None:
                writer.terminate()
            writer.wait()
        server.stop()
        if not keep:
            shutil.rmtree(folder, ignore_errors=True)


def _watch(
    connection: psycopg.Connection[tuple],
    writers: Sequence[subprocess.Popen[bytes]],
    attempts: int,
    began: float,
    seed: int,
) -> int:
    said, looked, holds = began, False, True
    while any(writer.poll() is None for writer in writers):
        with _Patience():
            writers[0].wait(0.5)
        taken, repeated = _taken(connection)
        if time.monotonic() - said >= 10:
            said = time.monotonic()
            done = taken + repeated
            click.echo(f"{done:>9,} of {attempts:,} attempts, {done / (said - began):,.0f} a second", nl=True)
        if not looked and taken + repeated >= attempts // 2:
            looked = True
            holds = _count(connection, "in the middle, while they go on")
    seconds = time.monotonic() - began
    if any(writer.returncode for writer in writers):
        click.echo("a writer failed")
        return 1
    taken, repeated = _taken(connection)
    holds = _count(connection, "at the end") and holds
    holds = _account(connection, attempts, taken, repeated) and holds
    holds = _refusals(connection, seed) and holds
    click.echo(f"{attempts:,} attempts in {seconds:.0f} s: {attempts / seconds:,.0f} a second")
    click.echo(f"Verdict: {'no cap was passed' if holds else 'BROKEN'}")
    return 0 if holds else 1


class _Patience:
    """Waits for a process that may go on."""

    def __enter__(self) -> None:
        """Nothing to do."""

    def __exit__(self, kind: type[BaseException] | None, *_: object) -> bool:
        return kind is not None and issubclass(kind, subprocess.TimeoutExpired)


def _taken(connection: psycopg.Connection[tuple]) -> tuple[int, int]:
    rows = dict(
        connection.execute(
            "SELECT name, sum(value)::bigint FROM total WHERE name LIKE 'actions.%' GROUP BY name"
        ).fetchall()
    )
    return rows.get("actions.taken", 0), rows.get("actions.duplicate", 0)


def _count(connection: psycopg.Connection[tuple], when: str) -> bool:
    """The fullest window that there ever was, cap by cap."""
    holds = True
    click.echo(f"the fullest windows {when}:")
    for cap in CAPS:
        row = connection.execute(_FULLEST, {"before": cap.window_micros - 1, **_fills(cap)}).fetchone()
        assert row is not None
        within = row[0] <= cap.most
        holds = holds and within
        click.echo(f"  {cap.name:<11} {row[0]} of at most {cap.most}{'' if within else '  PASSED'}")
    return holds


def _account(connection: psycopg.Connection[tuple], attempts: int, taken: int, repeated: int) -> bool:
    """Every attempt became exactly one message or was a repeat; every message that passed has a slot."""
    rows = dict(connection.execute("SELECT state, count(*) FROM message GROUP BY state").fetchall())
    slots = connection.execute("SELECT count(*) FROM contact").fetchone()
    assert slots is not None
    passed, refused = rows.get("planned", 0), rows.get("refused", 0)
    click.echo(f"{passed:,} passed, {refused:,} refused, {repeated:,} repeats, {slots[0]:,} slots taken")
    even = passed + refused == taken and taken + repeated >= attempts and slots[0] == passed
    if not even or sum(rows.values()) != taken:
        click.echo(f"these do not add up: {rows}, {taken:,} taken, {attempts:,} attempts")
        return False
    return True


def _refusals(connection: psycopg.Connection[tuple], seed: int) -> bool:
    """Of some who were refused: the cap named really had no room at that moment."""
    rows = connection.execute(
        f"SELECT {_PERSON}, accepted_micros, detail FROM message WHERE state = 'refused' "
        "ORDER BY hashint8(number + %(seed)s) LIMIT %(limit)s",
        {"seed": seed, "limit": _LOOKED_AT},
    ).fetchall()
    wrong = 0
    for person, now, detail in rows:
        cap = next(cap for cap in CAPS if detail.startswith(f"cap {cap.name}: "))
        found = connection.execute(
            _ROOM, {"person": person, "now": now, "window": cap.window_micros, **_fills(cap)}
        ).fetchone()
        assert found is not None
        wrong += found[0] < cap.most
    click.echo(f"of {len(rows):,} refusals looked at {wrong:,} had room")
    return not wrong


def _fills(cap: Cap) -> dict[str, list[str]]:
    return {
        "counts": [category.value for category in cap.counts],
        "channels": [channel.value for channel in cap.channels or Channel],
    }


@dataclass
class Writer:
    """Dispatches its share, batch by batch."""

    road: Road
    random: random.Random
    persons: int
    before: Sequence[Action] = ()
    unanswered: int = 0

    async def run(self, attempts: int) -> None:
        """Until its share is done."""
        done = 0
        while done < attempts:
            size = min(BATCH, attempts - done)
            again = self.before and len(self.before) == size and self.random.random() < 0.05
            batch = self.before if again else [self._draw() for _ in range(size)]
            await self._take(batch)
            self.before = batch
            done += size

    async def _take(self, batch: Sequence[Action]) -> None:
        """Until it is taken: whoever brings a batch brings it again while the database does not answer."""
        while True:
            try:
                await self.road.take(*batch)
            except UnavailableError:
                self.unanswered += 1
                await asyncio.sleep(self.random.random())
            else:
                return

    def _draw(self) -> Action:
        draw = self.random
        # half of all goes to a hundredth of the persons
        most = self.persons // 100 if draw.random() < 0.5 else self.persons
        customer = 10 + draw.randrange(most)
        return make_action(
            f"{draw.getrandbits(96)}",
            customer,
            category=draw.choice((Category.SALES, Category.SALES, Category.RETENTION, Category.SURVEY)),
            channels=(draw.choice((Channel.SMS, Channel.EMAIL)),),
            priority=draw.randrange(100),
        )


async def write(url: str, began: float, persons: int, attempts: int, seed: int) -> None:
    """One process."""
    databases = [Database(url, pool_size=2) for _ in range(WRITERS)]
    writers = []
    for number, database in enumerate(databases):
        road = Road(database, Policies(caps=CAPS))
        road.clock, road.profile = PacedClock(began), Everybody()  # type: ignore[assignment]
        road.admission = road.another_admission()
        writers.append(Writer(road, random.Random(seed * 10 + number), persons))
    try:
        await asyncio.gather(*(writer.run(attempts) for writer in writers))
        if again := sum(writer.unanswered for writer in writers):
            click.echo(f"{again} batches were brought again: the database had not answered")
    finally:
        for database in databases:
            await database.close()


if __name__ == "__main__":
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--attempts", type=int, default=1_000_000)
    parser.add_argument("--persons", type=int, default=20_000)
    parser.add_argument("--seed", type=int, default=1)
    parser.add_argument("--keep", action="store_true")
    parser.add_argument("--writer", help=argparse.SUPPRESS)
    parser.add_argument("--began", type=float, help=argparse.SUPPRESS)
    told = parser.parse_args()
    if told.writer:
        asyncio.run(write(told.writer, told.began, told.persons, told.attempts, told.seed))
    else:
        sys.exit(main(told.attempts, told.persons, told.seed, keep=told.keep))
