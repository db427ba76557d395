"""One running stack for all system tests that can share it; each test has days and customers of its own."""

import datetime as dt
import json
import shutil
import subprocess
import sys
import tempfile
import time
from collections.abc import Callable, Iterable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from threading import Event
from typing import Any

import grpc
import pytest
from holidays import country_holidays

from services.cli.providers.record import read_record
from services.cli.stack.calls import open_channel
from services.cli.stack.down import stop_stack
from services.cli.stack.layout import CHECKOUT, Layout
from services.cli.stack.options import StackOptions
from services.cli.stack.processes import Birth
from services.cli.stack.progress import Progress, advance_clock, read_progress
from services.cli.stack.state import Stack, find_stack
from services.cli.stack.trust_files import caller
from services.cli.stack.up import start_stack
from tests.commands import run_command
from tests.fakes.otlp import Collector
from tests.integration.leftovers import mark_ours, owner_of
from tests.system.crash.small_disk import unmount_under
from tests.system.personal_data import numbers_in_logs

START = dt.datetime(2026, 10, 5, tzinfo=dt.UTC)
"""All shipped rule sets are active from here to the end of March 2027."""
RULE_SETS = sorted((CHECKOUT / "rules").glob("*.yaml"))
PREFIX = "rapport-system-"
_SUNDAY = 6
_HOLIDAYS = country_holidays("FR")


def until(holds: Callable[[], object], *, seconds: float = 60.0) -> None:
    """Returns once the condition holds; fails when it does not within this time."""
    end = time.monotonic() + seconds
    while not holds():
        assert time.monotonic() < end, f"not within {seconds} s"
        Event().wait(0.2)  # each look asks processes that have work to do


@dataclass(frozen=True)
class Rapport:
    """The `rapport` command on the folder of a running stack."""

    folder: Path

    def command(self, *arguments: str) -> list[str]:
        return [sys.executable, "-m", "services.cli.main", *arguments, "--folder", str(self.folder)]

    def __call__(
        self, *arguments: str, stdin: bytes = b"", seconds: float = 120, folder: bool = True
    ) -> subprocess.CompletedProcess[str]:
        """Runs a command to its end; `folder=False` for one that needs nothing to run."""
        told = ("--folder", str(self.folder)) if folder else ()
        done = run_command((*arguments, *told), folder=CHECKOUT, stdin=stdin, seconds=seconds)
        return subprocess.CompletedProcess(
            done.args, done.returncode, done.stdout.decode(), done.stderr.decode()
        )

    @contextmanager
    def running(self, *arguments: str) -> Iterator[subprocess.Popen[str]]:
        """A command at work; ended if it still runs when the block is left."""
        with subprocess.Popen(
            self.command(*arguments),
            cwd=CHECKOUT,
            stdin=subprocess.DEVNULL,
            stdout=subprocess.PIPE,
            stderr=subprocess.PIPE,
            text=True,
        ) as process:
            try:
                yield process
            finally:
                process.kill()

    def listing(self, *arguments: str) -> list[dict[str, Any]]:
        """What a command prints with --json."""
        done = self(*arguments, "--json")
        assert done.returncode == 0, done.stderr
        return [json.loads(line) for line in done.stdout.splitlines()]

    def ingest(self, events: Iterable[dict[str, Any]], *arguments: str) -> dict[str, Any]:
        """Feeds events and waits until all has gone down the road; the report."""
        done = self("ingest", "-", "--wait", "--json", *arguments, stdin=lines(events))
        assert done.returncode in {0, 1}, done.stderr
        assert done.stdout, done.stderr
        return json.loads(done.stdout)

    def take(self, events: Iterable[dict[str, Any]], *arguments: str) -> None:
        """Feeds events that must all be accepted."""
        report = self.ingest(events, *arguments)
        assert report["accepted"] == report["read"], report

    @property
    def stack(self) -> Stack:
        return find_stack(self.folder)

    @property
    def layout(self) -> Layout:
        return Layout(self.folder)

    def progress(self) -> dict[str, Progress]:
        return {told.service: told for told in read_progress(self.stack)}

    def total(self, service: str, name: str) -> int:
        """One of a service's totals; -1 while it does not answer."""
        told = self.progress()[service]
        return -1 if told.failure else told.totals.get(name, 0)

    def received(self, provider: str) -> list[dict[str, Any]]:
        """What a simulated provider holds: its whole messages."""
        entries = read_record(self.layout.record(provider))
        return [entry for entry in entries if provider != "smsc" or entry["message"] is not None]

    def faults(self, provider: str, **faults: object) -> None:
        """What a simulated provider does wrong from now on."""
        path = self.layout.faults(provider)
        fresh = path.with_suffix(".new")
        fresh.write_text(json.dumps(faults), encoding="utf-8")
        fresh.replace(path)

    def birth(self, program: str) -> Birth:
        birth = self.stack.program(program).birth
        assert birth is not None
        return birth

    def noon(self) -> dt.datetime:
        """Moves business time to the next working day's 10:00 UTC, by day everywhere in Europe; that time.

        On Sundays and public holidays French law lets nothing commercial be sent.
        """
        now = self.progress()["profile"].business_time or START
        noon = now.replace(hour=10, minute=0, second=0, microsecond=0) + dt.timedelta(days=1)
        while noon.weekday() == _SUNDAY or noon.date() in _HOLIDAYS:
            noon += dt.timedelta(days=1)
        return advance_clock(self.stack, noon)

    def grpc_channel(self, service: str) -> grpc.Channel:
        return open_channel(self.stack.target(service), caller(self.layout))


def lines(events: Iterable[dict[str, Any]]) -> bytes:
    return b"".join(json.dumps(event).encode() + b"\n" for event in events)


_serial = iter(range(1, 1_000_000))


def event(
    kind: str, moment: dt.datetime, subject: str, fields: dict[str, Any] | None = None, **attributes: Any
) -> dict[str, Any]:
    """One CloudEvent with an id that no other has."""
    told = {
        "specversion": "1.0",
        "id": f"s-{next(_serial)}",
        "source": "system-tests",
        "type": kind,
        "time": moment.isoformat().replace("+00:00", "Z"),
        "subject": subject,
        "data": fields or {},
    }
    return {**told, **attributes}


def new_number() -> str:
    """A subscriber number that no other test has."""
    return f"+336{next(_serial):08d}"


def person(moment: dt.datetime, subject: str, *purposes: str, **traits: object) -> list[dict[str, Any]]:
    """A customer's introduction: traits, and purposes agreed to."""
    found = [event("profile.updated", moment, subject, {"traits": {"cycle_day": 1, **traits}})]
    found += [
        event("consent.changed", moment, subject, {"purpose": purpose, "state": "granted", "by": "person"})
        for purpose in purposes
    ]
    return found


def used(moment: dt.datetime, subject: str, mb: float) -> dict[str, Any]:
    return event("usage.data_used", moment, subject, {"mb": mb})


@contextmanager
def stacks() -> Iterator[Callable[..., Rapport]]:
    """Starts stacks in folders of their own; all are stopped at the end."""
    folders: list[Path] = []

    def make(
        *,
        rule_sets: Iterable[Path] = (),
        start: dt.datetime | None = START,
        prepare: Callable[[Path], object] = lambda _folder: None,
        **options: Any,
    ) -> Rapport:
        folder = Path(tempfile.mkdtemp(prefix=PREFIX))
        folder.chmod(0o755)  # PostgreSQL's account comes in
        mark_ours(folder)
        folders.append(folder)
        prepare(folder / "var")
        clock = "events" if start is not None else "wall"
        stack = start_stack(
            StackOptions(folder=folder / "var", rules=CHECKOUT / "rules", clock=clock, **options)
        )
        if start is not None and "profile-server" not in options.get("without", ()):
            advance_clock(stack, start)
        rapport = Rapport(folder / "var")
        if rule_sets:
            done = rapport("rules", "activate", *map(str, rule_sets))
            assert done.returncode == 0, done.stderr
        return rapport

    try:
        yield make
    finally:
        named = []
        for folder in folders:
            stop_stack(folder / "var")
            named += numbers_in_logs(folder / "var")
            unmount_under(folder)
            shutil.rmtree(folder)
    assert named == [], "whatever a test does, no subscriber number reaches a log"


@pytest.fixture(scope="session", autouse=True)
def swept() -> None:
    """Nothing is left of a test run that was killed."""
    _sweep()


@pytest.fixture(scope="module")
def make_stack() -> Iterator[Callable[..., Rapport]]:
    """Starts stacks for the tests of one module."""
    with stacks() as make:
        yield make


@pytest.fixture(scope="session")
def traces() -> Iterator[Collector]:
    """Where the shared stack's traces go: those of callers who bring one, and now and then another."""
    collector = Collector()
    collector.start()
    yield collector
    collector.stop()


@pytest.fixture(scope="session")
def rapport(traces: Collector) -> Iterator[Rapport]:
    """The command on the shared stack: everything runs, all shipped rule sets are live. Leave it running."""
    settings = {"otlp_endpoint": traces.endpoint, "trace_ratio": "0.05"}
    with stacks() as make:
        yield make(rule_sets=RULE_SETS, settings=settings)


@pytest.fixture(scope="session")
def counted() -> Iterator[Rapport]:
    """The command on a stack for runs that give account of everything: nothing else happens on it."""
    with stacks() as make:
        yield make(rule_sets=RULE_SETS)


@pytest.fixture
def noon(rapport: Rapport) -> dt.datetime:
    """A business day that no earlier test has touched, at 10:00 UTC; business time stands there."""
    return rapport.noon()


def _sweep() -> None:
    """Stops what a killed test run left behind."""
    for folder in Path(tempfile.gettempdir()).glob(f"{PREFIX}*"):
        owner = owner_of(folder)
        if owner is not None and not owner.alive:
            stop_stack(folder / "var")
            unmount_under(folder)
            shutil.rmtree(folder, ignore_errors=True)
