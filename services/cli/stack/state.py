"""What runs in a folder: written by its supervisor, read by every command that talks to the running stack."""

import json
import os
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from services.cli.stack.errors import StackError
from services.cli.stack.layout import DEFAULT_FOLDER, Layout
from services.cli.stack.passwords import write_private
from services.cli.stack.ports import LOOPBACK
from services.cli.stack.processes import Birth

_VERSION = 1


@dataclass
class ProgramState:
    """One program of the stack as its supervisor last saw it."""

    name: str
    state: str = "waiting"
    """waiting, starting, running, restarting or stopped."""
    birth: Birth | None = None
    restarts: int = 0
    port: int | None = None

    @property
    def alive(self) -> bool:
        """Whether its process runs at this moment."""
        return self.birth is not None and self.birth.alive

    def to_json(self) -> dict[str, Any]:
        """As it stands in the state file."""
        return {
            "name": self.name,
            "state": self.state,
            "pid": self.birth.pid if self.birth else None,
            "began": self.birth.began if self.birth else None,
            "restarts": self.restarts,
            "port": self.port,
        }


@dataclass
class Stack:
    """A local stack: where its parts answer and where its files are."""

    folder: Path
    state: str
    """starting, running or stopping."""
    clock: str
    rules: Path
    ports: dict[str, int]
    database_home: Path
    database_user: str
    database_socket: Path
    supervisor: Birth
    programs: list[ProgramState] = field(default_factory=list)

    @property
    def layout(self) -> Layout:
        """Its files."""
        return Layout(self.folder)

    @property
    def supervised(self) -> bool:
        """Whether its supervisor is alive; if not, what runs is left over from a crash."""
        return self.supervisor.alive

    @property
    def profile_target(self) -> str:
        """Where the profile service answers callers with a token, as host:port."""
        return self.target("profile")

    @property
    def decision_target(self) -> str:
        """Where the decision service answers callers with a token, as host:port."""
        return self.target("decision")

    @property
    def channel_target(self) -> str:
        """Where the channel service answers callers with a token, as host:port."""
        return self.target("channel")

    @property
    def nats_url(self) -> str:
        """Where NATS answers; user `rapport`, password in `layout.secret("nats")`."""
        return f"nats://{self.address('nats')}"

    def target(self, service: str) -> str:
        """Where a service answers callers with a token, as host:port."""
        return self.address(f"{service}-tokens")

    def address(self, name: str) -> str:
        """host:port by a name of PORT_NAMES; by a service's own: for callers with a certificate."""
        return f"{LOOPBACK}:{self.ports[name]}"

    def database_url(self, service: str) -> str:
        """The SQLAlchemy URL of a service's database; its password is in `database_password`."""
        return f"postgresql+psycopg://{service}@/{service}?host={self.database_socket}"

    def database_password(self, service: str) -> Path:
        """The file with the password of a service's database role."""
        return self.layout.secret(f"database-{service}")

    def program(self, name: str) -> ProgramState:
        """One of its programs by name; a StackError if it was left out."""
        for program in self.programs:
            if program.name == name:
                return program
        known = ", ".join(program.name for program in self.programs)
        raise StackError(f"No program {name} runs in {self.folder}. There are: {known}.")

    def write(self) -> None:
        """Puts this into the state file in one step."""
        told = {
            "version": _VERSION,
            "state": self.state,
            "clock": self.clock,
            "rules": str(self.rules),
            "ports": self.ports,
            "database": {
                "home": str(self.database_home),
                "user": self.database_user,
                "socket": str(self.database_socket),
            },
            "supervisor": {"pid": self.supervisor.pid, "began": self.supervisor.began},
            "programs": [program.to_json() for program in self.programs],
        }
        write_private(self.layout.state, json.dumps(told, indent=1) + "\n", flush=False)


def read_stack(folder: Path) -> Stack | None:
    """What the state file of this folder tells; None if nothing runs there and nothing is left over."""
    folder = folder.absolute()
    path = Layout(folder).state
    try:
        told = json.loads(path.read_text(encoding="utf-8"))
    except FileNotFoundError:
        return None
    except PermissionError as error:
        raise StackError(f"{path} cannot be read: it belongs to another user.") from error
    except ValueError as error:
        raise StackError(
            f"{path} is damaged. End what still runs there, remove the file, try again."
        ) from error
    if told.get("version") != _VERSION:
        raise StackError(f"{path} was written by another version of Rapport; stop the stack with that one.")
    return Stack(
        folder=folder,
        state=told["state"],
        clock=told["clock"],
        rules=Path(told["rules"]),
        ports=told["ports"],
        database_home=Path(told["database"]["home"]),
        database_user=told["database"]["user"],
        database_socket=Path(told["database"]["socket"]),
        supervisor=Birth(told["supervisor"]["pid"], told["supervisor"]["began"]),
        programs=[
            ProgramState(
                name=program["name"],
                state=program["state"],
                birth=Birth(program["pid"], program["began"]) if program["pid"] else None,
                restarts=program["restarts"],
                port=program["port"],
            )
            for program in told["programs"]
        ],
    )


def find_stack(folder: Path | str | None = None) -> Stack:
    """The stack that runs in this folder (the checkout's `var` when None); a StackError if none does."""
    place = Path(folder) if folder is not None else DEFAULT_FOLDER
    stack = read_stack(place)
    if stack is None:
        raise StackError(f"Rapport does not run in {os.fspath(place)}. Start it with: rapport up")
    if not stack.supervised:
        raise StackError(
            f"The supervisor of {os.fspath(place)} is gone (was the machine stopped?). "
            "Start again with: rapport up"
        )
    if stack.state != "running":
        raise StackError(f"Rapport in {os.fspath(place)} is {stack.state}. Look with: rapport status")
    return stack
