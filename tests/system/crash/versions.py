"""Two versions of the product side by side: roles of each, run by hand over one stack's databases and log."""

import io
import json
import signal
import subprocess
import sys
import tarfile
from collections.abc import Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any, Self

from services.cli.stack.layout import CHECKOUT
from services.cli.stack.options import SERVICES
from services.cli.stack.passwords import ensure_password
from services.cli.stack.ports import LOOPBACK, free_port
from services.cli.stack.postgres import PostgresServer
from tests.system.conftest import Rapport, until

_OWN_PORTS = ("RAPPORT_HEALTH_LISTEN", "RAPPORT_METRICS_LISTEN")
_TRUST_LAYER = "services/runtime/access.py"
# Run by a version's own code: how it would start its parts on a stack's folder.
_TELL = """
import json, sys
from pathlib import Path
from services.cli.stack.account import database_account
from services.cli.stack.layout import Layout
from services.cli.stack.nats import NatsServer
from services.cli.stack.options import StackOptions
from services.cli.stack.postgres import PostgresServer
from services.cli.stack.programs import Blueprint

folder, rules = Path(sys.argv[1]), Path(sys.argv[2])
layout = Layout(folder)
stack = json.loads(layout.state.read_text(encoding="utf-8"))
ports = stack["ports"]
postgres = PostgresServer(
    Path(stack["database"]["home"]), password_file=layout.secret("database-admin"),
    log=layout.log("postgres"), account=database_account(stack["database"]["user"]),
)
nats = NatsServer(
    layout.nats, password_file=layout.secret("nats"), log=layout.log("nats"), port=ports["nats"]
)
options = StackOptions(folder=folder, rules=rules)
blueprint = Blueprint(options, layout, stack["clock"], ports, postgres, nats)
told = {
    program.name: [list(program.command), dict(program.environment)]
    for program in blueprint.programs()
    if program.name.endswith(("-server", "-worker"))
}
for service in ("profile", "decision", "channel"):
    told[f"{service}-migrate"] = blueprint.migration(service)
print(json.dumps(told))
"""


class NoHistoryError(Exception):
    """There is no older version here to begin with."""


@dataclass(frozen=True)
class Version:
    """A version of the product, in a folder of its own."""

    name: str
    checkout: Path

    def commands(self, rapport: Rapport) -> dict[str, tuple[list[str], dict[str, str]]]:
        """How it would run each role, and the migration of each service, on this stack."""
        told = subprocess.run(
            [sys.executable, "-P", "-c", _TELL, str(rapport.folder), str(self.checkout / "rules")],
            cwd="/",
            env={"PYTHONPATH": f"{self.checkout}:{self.checkout / 'proto'}"},
            capture_output=True,
            check=False,
        )
        assert told.returncode == 0, told.stderr.decode()
        return {
            name: (command, environment) for name, (command, environment) in json.loads(told.stdout).items()
        }


def version_before_newest_migration(folder: Path) -> Version:
    """The commit before the one that added the newest migration, unpacked in `folder`.

    NoHistoryError where the history is not there or reaches no version that asks callers for credentials, and
    where the newest migration makes roles of the version before fail (RENAMES), which are stopped first then.
    """
    added = _git(
        *("log", "--diff-filter=A", "--format=%H", "--max-count=1", "--"),
        *(f"services/{service}/migrations/versions/*.py" for service in SERVICES),
    )
    commit = _git("rev-parse", "--verify", "--quiet", f"{added}^") if added else ""
    if not commit:
        raise NoHistoryError("the history of this checkout holds no commit before the newest migration")
    if not _git("ls-tree", commit, "--", _TRUST_LAYER):
        raise NoHistoryError("before the newest migration callers needed no credentials yet")
    if "+RENAMES = " in _git("show", "--format=", added, "--", "services/*/migrations/versions/*.py"):
        raise NoHistoryError("roles of the version before must fail over the newest migration")
    archive = subprocess.run(["git", "archive", commit], cwd=CHECKOUT, capture_output=True, check=True).stdout
    with tarfile.open(fileobj=io.BytesIO(archive)) as files:
        files.extractall(folder, filter="data")
    return Version("old", folder)


def _git(*arguments: str) -> str:
    try:
        done = subprocess.run(["git", *arguments], cwd=CHECKOUT, capture_output=True, check=False, text=True)
    except FileNotFoundError:
        return ""
    return done.stdout.strip() if done.returncode == 0 else ""


@dataclass
class Roles:
    """The roles that run over a stack that was started without any."""

    rapport: Rapport
    running: dict[tuple[str, str], subprocess.Popen[bytes]] = field(default_factory=dict)
    """By version and role."""

    def __enter__(self) -> Self:
        return self

    def __exit__(self, *_: object) -> None:
        for process in self.running.values():
            process.kill()
            process.wait()

    def make_databases(self) -> None:
        """What the stack leaves out when it runs no service."""
        stack = self.rapport.stack
        server = PostgresServer(
            stack.database_home,
            password_file=self.rapport.layout.secret("database-admin"),
            log=self.rapport.layout.log("postgres"),
        )
        for service in SERVICES:
            password_file = stack.database_password(service)
            ensure_password(password_file)
            server.ensure_database(service, password_file=password_file)

    def migrate(self, version: Version) -> None:
        """Brings the databases to the shape of a version."""
        commands = version.commands(self.rapport)
        for service in SERVICES:
            command, environment = commands[f"{service}-migrate"]
            done = subprocess.run(command, cwd="/", env=environment, capture_output=True, check=False)
            assert done.returncode == 0, done.stderr.decode()

    def start(self, version: Version, names: Sequence[str]) -> None:
        """Starts roles of a version, and returns when all of them are ready."""
        commands = version.commands(self.rapport)
        marks = {name: self._begin(version, name, *commands[name]) for name in names}
        for name, (log, start) in marks.items():
            process = self.running[version.name, name]
            until(lambda p=process, g=log, s=start: p.poll() is not None or _is_ready(g, s), seconds=90)
            assert process.poll() is None, f"{name} did not start: {log.read_text(encoding='utf-8')[-2000:]}"

    def _begin(
        self, version: Version, name: str, command: list[str], environment: dict[str, str]
    ) -> tuple[Path, int]:
        log = self.rapport.layout.log(f"{name}-{version.name}")
        log.touch()
        start = log.stat().st_size
        # both versions of a role on one machine cannot have the ports of one
        own = {port: f"{LOOPBACK}:{free_port()}" for port in _OWN_PORTS if environment.get(port)}
        with log.open("ab") as output:
            self.running[version.name, name] = subprocess.Popen(
                command,
                cwd="/",
                env=environment | own,
                stdin=subprocess.DEVNULL,
                stdout=output,
                stderr=output,
                start_new_session=True,
            )
        return log, start

    def end(self, version: Version, name: str, *, gently: bool) -> None:
        """Ends a role: asked to, which it must survive well, or killed in the middle of its work."""
        process = self.running.pop((version.name, name))
        assert process.poll() is None, f"{name} of the {version.name} version ended by itself"
        process.send_signal(signal.SIGTERM if gently else signal.SIGKILL)
        code: Any = process.wait(timeout=60)
        assert code == (0 if gently else -signal.SIGKILL), f"{name} ended with {code}"

    def all_run(self) -> bool:
        """Whether none has ended by itself."""
        return all(process.poll() is None for process in self.running.values())


def _is_ready(log: Path, start: int) -> bool:
    with log.open("rb") as file:
        file.seek(start)
        return any(line.startswith(b'{"ready": true') for line in file)
