"""The programs of the local stack: how each is started, when it is ready, how it is asked to stop."""

import os
import signal
import sys
from collections.abc import Callable, Mapping
from dataclasses import dataclass, field
from pathlib import Path

from services.cli.stack import nats as nats_stack
from services.cli.stack import postgres as postgres_stack
from services.cli.stack.account import Account
from services.cli.stack.layout import CHECKOUT, Layout
from services.cli.stack.nats import NatsServer
from services.cli.stack.options import SERVICES, StackOptions
from services.cli.stack.passwords import ensure_password
from services.cli.stack.ports import LOOPBACK, listens
from services.cli.stack.postgres import PostgresServer
from services.cli.stack.probes import READY, RECOVERY, Liveness, misses, serves
from services.cli.stack.trust import trust_environment

SMSC_SYSTEM_ID = "rapport"
SMTP_USER = "rapport"
SMTP_FROM = "service@operator.example"
ROLE_STOP_SECONDS = 40.0
"""Longer than RAPPORT_DRAIN_SECONDS and what closing takes."""
GIVEN_UP_SECONDS = 3.0
"""What hangs will not hear that it is to stop."""


@dataclass(frozen=True)
class Program:
    """One program; programs of a lower stage are ready before those of a higher one are started."""

    name: str
    stage: int
    command: tuple[str, ...]
    ready: Callable[[int], bool]
    """Whether it does its work; given is the size that its log had when it was started."""
    environment: Mapping[str, str] = field(default_factory=lambda: {"PATH": os.defpath})
    needs_restart: Callable[[], str] | None = None
    """Why it must be started again although it runs; "": it must not. Asked every few seconds."""
    account: Account | None = None
    port: int | None = None
    ready_seconds: float = 90.0
    stop_signal: int = signal.SIGTERM
    stop_seconds: float = 25.0
    """How long it may take to stop before it is ended."""
    given_up_seconds: float | None = None
    """The same for one that needs a restart; None: as long as else."""


@dataclass(frozen=True)
class Blueprint:
    """Everything that the programs of one stack are told about each other."""

    options: StackOptions
    layout: Layout
    clock: str
    ports: Mapping[str, int]
    postgres: PostgresServer
    nats: NatsServer

    def programs(self) -> list[Program]:
        """All programs of this stack but those left out."""
        everything = [
            Program(
                name="postgres",
                stage=0,
                command=tuple(self.postgres.command()),
                ready=lambda _start: self.postgres.is_ready(),
                account=self.postgres.account,
                ready_seconds=600.0,  # after a crash it may have much to read again
                stop_signal=postgres_stack.STOP_SIGNAL,
                stop_seconds=60.0,
            ),
            Program(
                name="nats",
                stage=0,
                command=tuple(self.nats.command()),
                ready=lambda _start: self.nats.is_ready(),
                needs_restart=self.nats.needs_restart,
                port=self.ports["nats"],
                stop_signal=nats_stack.STOP_SIGNAL,
            ),
            self._provider(
                "smsc",
                "smsc",
                *("--system-id", SMSC_SYSTEM_ID),
                *("--receipt-delay", "0.01"),
                *("--mobile", str(self.layout.mobile("smsc"))),
            ),
            self._provider("smtp-sink", "smtp_sink", "--user", SMTP_USER),
            *(self._server(service) for service in SERVICES),
            *(self._worker(service) for service in SERVICES),
        ]
        return [program for program in everything if program.name not in self.options.without]

    def migration(self, service: str) -> tuple[list[str], dict[str, str]]:
        """The command that brings a service's database up to date, and its environment."""
        folder = CHECKOUT / "services" / service / "migrations"
        command = python_command("services.runtime.migrating", service, str(folder))
        return command, self._service_environment(service)

    def database_password(self, service: str) -> Path:
        """The file with the password of a service's database role."""
        return self.layout.secret(f"database-{service}")

    def _server(self, service: str) -> Program:
        port = self.ports[service]
        return Program(
            name=f"{service}-server",
            stage=2,
            command=tuple(python_command(f"services.{service}.main", "server")),
            ready=self._ready(f"{service}-server"),
            needs_restart=self._liveness(f"{service}-server"),
            stop_seconds=ROLE_STOP_SECONDS,
            given_up_seconds=GIVEN_UP_SECONDS,
            environment={
                **self._role_environment(service, "server"),
                "RAPPORT_LISTEN": f"{LOOPBACK}:{port}",
                "RAPPORT_TOKEN_LISTEN": self._address(f"{service}-tokens"),
            },
            port=port,
        )

    def _worker(self, service: str) -> Program:
        name = f"{service}-worker"
        return Program(
            name=name,
            stage=2,
            command=tuple(python_command(f"services.{service}.main", "worker")),
            ready=self._ready(name),
            needs_restart=self._liveness(name),
            stop_seconds=ROLE_STOP_SECONDS,
            given_up_seconds=GIVEN_UP_SECONDS,
            environment=self._role_environment(service, "worker"),
        )

    def _provider(self, name: str, module: str, *arguments: str) -> Program:
        port = self.ports[name]
        ensure_password(self.layout.secret(name), octets=6)  # SMPP 3.4 allows 8 characters
        return Program(
            name=name,
            stage=1,
            command=tuple(
                python_command(
                    f"services.cli.providers.{module}",
                    *("--listen", f"{LOOPBACK}:{port}"),
                    *("--record", str(self.layout.record(name))),
                    *("--faults", str(self.layout.faults(name))),
                    *("--password-file", str(self.layout.secret(name))),
                    *arguments,
                )
            ),
            ready=lambda _start: listens(port),
            environment=python_environment(),
            port=port,
            stop_seconds=5.0,
        )

    def _ready(self, role: str) -> Callable[[int], bool]:
        target = self._address(f"{role}-health")
        return lambda _start: serves(target, READY) or misses(target, RECOVERY)

    def _liveness(self, role: str) -> Liveness:
        return Liveness(self._address(f"{role}-health"), self.options.liveness_seconds)

    def _role_environment(self, service: str, role: str) -> dict[str, str]:
        return {
            **self._service_environment(service),
            "RAPPORT_HEALTH_LISTEN": self._address(f"{service}-{role}-health"),
            "RAPPORT_METRICS_LISTEN": self._address(f"{service}-{role}-metrics"),
        }

    def _address(self, name: str) -> str:
        return f"{LOOPBACK}:{self.ports[name]}"

    def _service_environment(self, service: str) -> dict[str, str]:
        told = {
            "DATABASE_URL": self.postgres.url(service, user=service),
            "DATABASE_PASSWORD_FILE": str(self.database_password(service)),
            **trust_environment(self.layout, service),
            "NATS_URL": self.nats.address,
            "NATS_USER": self.nats.user,
            "NATS_PASSWORD_FILE": str(self.nats.password_file),
            **{f"{peer.upper()}_TARGET": f"{LOOPBACK}:{self.ports[peer]}" for peer in SERVICES},
            "CLOCK": self.clock,
            "RELEASE": "alone",  # one person's own machine; the history of each version says so
            "RULES_FOLDER": str(self.options.rules),
            "SMSC": f"{LOOPBACK}:{self.ports['smsc']}",
            "SMSC_SYSTEM_ID": SMSC_SYSTEM_ID,
            "SMSC_PASSWORD_FILE": str(self.layout.secret("smsc")),
            "SMTP": f"{LOOPBACK}:{self.ports['smtp-sink']}",
            "SMTP_USER": SMTP_USER,
            "SMTP_PASSWORD_FILE": str(self.layout.secret("smtp-sink")),
            "SMTP_FROM": SMTP_FROM,
            "SMTP_TLS": "never",
            **{name.upper(): value for name, value in self.options.settings.items()},
        }
        return {**python_environment(), **{f"RAPPORT_{name}": value for name, value in told.items()}}


def python_command(module: str, *arguments: str) -> list[str]:
    """The command line that runs a module of ours with this Python."""
    return [sys.executable, "-P", "-m", module, *arguments]


def python_environment() -> dict[str, str]:
    """All that our own programs need of the environment; nothing of ours is inherited by chance."""
    return {
        "PATH": os.defpath,
        "LC_ALL": "C.UTF-8",
        "PYTHONPATH": os.pathsep.join([str(CHECKOUT), str(CHECKOUT / "proto")]),
        "PYTHONUNBUFFERED": "1",
    }
