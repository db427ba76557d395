"""A stack of the real parts that stand by themselves: servers and providers, without the three services."""

import json
import shutil
import subprocess
import sys
import tempfile
import time
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from pathlib import Path
from threading import Event

import pytest

from services.cli.stack.down import stop_stack
from services.cli.stack.layout import CHECKOUT
from services.cli.stack.options import SERVICES
from tests.commands import run_command

ROLES = [f"{service}-{role}" for service in SERVICES for role in ("server", "worker")]
BARE = [argument for role in ROLES for argument in ("--without", role)]
"""Options of `rapport up` that leave the three services out."""


def until(holds: Callable[[], object], *, seconds: float = 30.0) -> None:
    """Returns once the condition holds; fails when it does not within this time."""
    end = time.monotonic() + seconds
    while not holds():
        assert time.monotonic() < end, f"not within {seconds} s"
        Event().wait(0.05)


@dataclass(frozen=True)
class Rapport:
    """The `rapport` command on one folder."""

    folder: Path

    def command(self, name: str, *arguments: str) -> list[str]:
        return [sys.executable, "-m", "services.cli.main", name, "--folder", str(self.folder), *arguments]

    def run(self, name: str, *arguments: str) -> subprocess.CompletedProcess[str]:
        arguments = (name, "--folder", str(self.folder), *arguments)
        done = run_command(arguments, folder=CHECKOUT, seconds=120)
        return subprocess.CompletedProcess(
            done.args, done.returncode, done.stdout.decode(), done.stderr.decode()
        )

    def up(self, *arguments: str) -> subprocess.CompletedProcess[str]:
        return self.run("up", *BARE, *arguments)

    def status(self) -> dict:
        return json.loads(self.run("status", "--json").stdout)

    def program(self, name: str) -> dict:
        return next(program for program in self.status()["programs"] if program["name"] == name)

    def processes(self) -> dict[int, str]:
        """Every process whose command line, environment or working folder is of this stack."""
        found = {}
        for entry in Path("/proc").glob("[0-9]*"):
            try:
                line = (entry / "cmdline").read_bytes().replace(b"\0", b" ").decode()
                told = (entry / "environ").read_bytes().decode(errors="replace")
                place = str((entry / "cwd").readlink())
            except OSError:
                continue
            if str(self.folder) in line + told + place:
                found[int(entry.name)] = line
        return found


@pytest.fixture(scope="module")
def make_rapport() -> Iterator[Callable[[], Rapport]]:
    """Makes folders that PostgreSQL's account can enter; what runs in them is stopped at the end."""
    folders: list[Path] = []

    def make() -> Rapport:
        folder = Path(tempfile.mkdtemp(prefix="rapport-stack-"))
        folder.chmod(0o755)
        folders.append(folder)
        return Rapport(folder / "var")

    yield make
    for folder in folders:
        stop_stack(folder / "var")
        shutil.rmtree(folder)


@pytest.fixture
def rapport(make_rapport: Callable[[], Rapport]) -> Rapport:
    """The command on a folder that does not exist yet."""
    return make_rapport()


@pytest.fixture(scope="module")
def running(make_rapport: Callable[[], Rapport]) -> Rapport:
    """The command on a folder in which a stack runs; leave it running."""
    rapport = make_rapport()
    done = rapport.up()
    assert done.returncode == 0, done.stderr
    return rapport
