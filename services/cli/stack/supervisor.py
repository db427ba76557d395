"""The process that runs a local stack: starts it in order, keeps it running, stops it in order.

`rapport up` starts it, reads its reports (JSON lines on its standard output) until all is ready, and goes.
"""

import asyncio
import contextlib
import fcntl
import json
import os
import signal
import subprocess
import sys
import time
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import structlog

from services.cli.stack.account import database_account
from services.cli.stack.errors import FolderInUseError, PortTakenError, StackError
from services.cli.stack.keeper import Keeper
from services.cli.stack.layout import Layout
from services.cli.stack.leftovers import end_leftovers
from services.cli.stack.nats import NatsServer
from services.cli.stack.options import PORT_NAMES, StackOptions
from services.cli.stack.passwords import write_private
from services.cli.stack.ports import claim, free_port, is_taken
from services.cli.stack.postgres import PostgresServer
from services.cli.stack.processes import birth_of, log_end
from services.cli.stack.programs import Blueprint
from services.cli.stack.state import Stack
from services.cli.stack.trust import ensure_trust
from services.runtime.log import configure_logging, describe_failure

_TRUST_SECONDS = 6 * 3600.0
"""How often certificates and tokens are looked at; what ends within 30 days is renewed."""
_log = structlog.get_logger(__name__)


class CallerGoneError(StackError):
    """Nobody reads the reports any more: `rapport up` was ended before all was ready."""


class Reports:
    """What `rapport up` is told while the stack starts."""

    def __init__(self) -> None:
        self._open = True

    def tell(self, **report: Any) -> None:
        """One line; a CallerGoneError if nobody listens."""
        if not self._open:
            return
        try:
            sys.stdout.write(json.dumps(report) + "\n")
            sys.stdout.flush()
        except BrokenPipeError as error:
            self.close()
            raise CallerGoneError("`rapport up` was ended before all was ready.") from error

    def close(self) -> None:
        """Lets the caller go."""
        if self._open:
            self._open = False
            nothing = os.open(os.devnull, os.O_WRONLY)
            os.dup2(nothing, sys.stdout.fileno())
            os.close(nothing)


class Supervisor:
    """Runs one stack from start to stop."""

    def __init__(self, options: StackOptions, reports: Reports) -> None:
        self._options = options
        self._reports = reports
        self._layout = Layout(options.folder)
        self._stop = asyncio.Event()
        self._stack: Stack | None = None
        self._postgres: PostgresServer | None = None
        self._keepers: list[Keeper] = []

    async def run(self) -> None:
        """Starts all, reports that it is ready, waits for a signal, stops all."""
        loop = asyncio.get_running_loop()
        for number in (signal.SIGTERM, signal.SIGINT):
            loop.add_signal_handler(number, self._stop.set)
        try:
            blueprint = await asyncio.to_thread(self._prepare)
            starting = asyncio.create_task(self._start(blueprint))
            stopping = asyncio.create_task(self._stop.wait())
            await asyncio.wait({starting, stopping}, return_when=asyncio.FIRST_COMPLETED)
            stopping.cancel()
            if not starting.done():
                starting.cancel()
                await asyncio.gather(starting, return_exceptions=True)
                raise StackError("Stopped before all was ready.")
            starting.result()
            self._become("running")
            self._reports.tell(ready=True)
            self._reports.close()
            _log.info("stack_running", folder=str(self._layout.folder))
            await self._keep_trust()
        finally:
            await self._stop_all()

    async def _keep_trust(self) -> None:
        """Renews what certificates and tokens end soon, until the stack is to stop."""
        while True:
            with contextlib.suppress(TimeoutError):
                await asyncio.wait_for(self._stop.wait(), _TRUST_SECONDS)
                return
            try:
                await asyncio.to_thread(ensure_trust, self._layout)
            except OSError as error:
                _log.error("trust_not_renewed", **describe_failure(error))

    async def _start(self, blueprint: Blueprint) -> None:
        programs = blueprint.programs()
        begun = time.monotonic()
        for stage in sorted({program.stage for program in programs}):
            keepers = [
                Keeper(program, self._layout.log(program.name), self._save)
                for program in programs
                if program.stage == stage
            ]
            self._keepers.extend(keepers)
            async with asyncio.TaskGroup() as group:
                for keeper in keepers:
                    group.create_task(self._start_one(keeper, begun))
            if stage == 0 and "postgres" not in self._options.without:
                await self._make_databases(blueprint)

    async def _start_one(self, keeper: Keeper, begun: float) -> None:
        await keeper.start()
        self._reports.tell(program=keeper.program.name, seconds=round(time.monotonic() - begun, 1))

    def _prepare(self) -> Blueprint:
        left = end_leftovers(self._layout.folder)
        if left:
            self._reports.tell(note=f"ended what a crash had left running: {', '.join(left)}")
        choices = self._choose()
        ports = self._choose_ports()
        account = database_account(choices["database_user"])
        postgres = PostgresServer(
            Path(choices["database_home"]),
            password_file=self._layout.secret("database-admin"),
            log=self._layout.log("postgres"),
            account=account,
        )
        nats = NatsServer(
            self._layout.nats,
            password_file=self._layout.secret("nats"),
            log=self._layout.log("nats"),
            port=ports["nats"],
        )
        self._postgres = postgres
        postgres.prepare()
        nats.prepare()
        ensure_trust(self._layout)
        supervisor = birth_of(os.getpid())
        assert supervisor is not None
        self._stack = Stack(
            folder=self._layout.folder,
            state="starting",
            clock=choices["clock"],
            rules=self._options.rules,
            ports=ports,
            database_home=postgres.home,
            database_user=account.name,
            database_socket=postgres.socket_folder,
            supervisor=supervisor,
        )
        if postgres.home.parent != self._layout.folder:
            self._reports.tell(
                note=f"the database's account {account.name} cannot enter {self._layout.folder}, "
                f"so its files are in {postgres.home}"
            )
        self._save()
        return Blueprint(self._options, self._layout, choices["clock"], ports, postgres, nats)

    def _choose(self) -> dict[str, str]:
        """What was chosen when this folder was first used: clock, place and account of the database."""
        try:
            choices: dict[str, str] = json.loads(self._layout.choices.read_text(encoding="utf-8"))
        except FileNotFoundError:
            account = database_account(self._options.database_user)
            choices = {
                "clock": self._options.clock or "wall",
                "database_user": account.name,
                "database_home": str(self._layout.database_home(account)),
            }
            write_private(self._layout.choices, json.dumps(choices, indent=1) + "\n")
        if self._options.clock not in {None, choices["clock"]}:
            raise StackError(
                f"{self._layout.folder} lives on the clock {choices['clock']!r} since it was first used, "
                f"and its times would not fit {self._options.clock!r}. "
                f"Say --clock {choices['clock']}, or name another folder with --folder."
            )
        return choices

    def _choose_ports(self) -> dict[str, int]:
        base = self._options.port_base
        if base is not None:
            ports = {name: base + index for index, name in enumerate(PORT_NAMES)}
            taken = [f"{port} (for {name})" for name, port in ports.items() if is_taken(port)]
            if taken:
                raise PortTakenError(
                    f"Another program listens on port {', '.join(taken)}. "
                    "End it, or say another --port-base, or none to take free ports."
                )
            return ports
        try:
            last: dict[str, int] = json.loads(self._layout.ports.read_text(encoding="utf-8"))
        except (FileNotFoundError, ValueError):
            last = {}
        ports = {}
        for name in PORT_NAMES:
            port = last.get(name)
            if port is None or port in ports.values() or is_taken(port) or not claim(port):
                port = free_port()
            ports[name] = port
        write_private(self._layout.ports, json.dumps(ports) + "\n", flush=False)
        return ports

    async def _make_databases(self, blueprint: Blueprint) -> None:
        begun = time.monotonic()
        async with asyncio.TaskGroup() as group:
            for service in blueprint.options.services():
                group.create_task(asyncio.to_thread(self._make_database, blueprint, service))
        self._reports.tell(program="databases", seconds=round(time.monotonic() - begun, 1))

    def _make_database(self, blueprint: Blueprint, service: str) -> None:
        blueprint.postgres.ensure_database(service, password_file=blueprint.database_password(service))
        command, environment = blueprint.migration(service)
        log = self._layout.log(f"{service}-migrate")
        with log.open("ab") as output:
            done = subprocess.run(
                command,
                cwd="/",
                env=environment,
                stdin=subprocess.DEVNULL,
                stdout=output,
                stderr=subprocess.STDOUT,
                check=False,
            )
        if done.returncode:
            raise StackError(f"The database {service} could not be brought up to date. {log_end(log)}")

    async def _stop_all(self) -> None:
        self._become("stopping")
        for stage in sorted({keeper.program.stage for keeper in self._keepers}, reverse=True):
            await asyncio.gather(
                *(keeper.stop() for keeper in self._keepers if keeper.program.stage == stage)
            )
        if self._postgres is not None:
            self._postgres.forget_socket()
        self._layout.state.unlink(missing_ok=True)
        self._stack = None
        _log.info("stack_stopped", folder=str(self._layout.folder))

    def _become(self, state: str) -> None:
        if self._stack is not None:
            self._stack.state = state
            self._save()

    def _save(self) -> None:
        if self._stack is not None:
            self._stack.programs = [keeper.state for keeper in self._keepers]
            try:
                self._stack.write()
            except OSError as error:  # a full disk must not end what keeps the programs running
                _log.error("state_not_written", error=error.strerror)


@contextmanager
def held(layout: Layout) -> Iterator[None]:
    """Holds the folder; a FolderInUseError if another process does."""
    with layout.lock.open("a+", encoding="utf-8") as file:
        try:
            fcntl.flock(file, fcntl.LOCK_EX | fcntl.LOCK_NB)
        except BlockingIOError as error:
            file.seek(0)
            holder = file.read().strip() or "unknown"
            raise FolderInUseError(
                f"{layout.folder} is in use by another `rapport up` (process {holder}). See it with "
                "`rapport status`, stop it with `rapport down`, or name another folder with --folder."
            ) from error
        file.truncate(0)
        file.write(f"{os.getpid()}\n")
        file.flush()
        yield


def main() -> None:
    """Runs the stack that the only argument, made by `StackOptions.to_json`, describes."""
    options = StackOptions.from_json(sys.argv[1])
    configure_logging("stack", "supervisor")
    reports = Reports()
    try:
        with held(Layout(options.folder)):
            asyncio.run(Supervisor(options, reports).run())
    except CallerGoneError:
        raise SystemExit(1) from None
    except StackError as error:
        _fail(reports, error)
    except BaseExceptionGroup as group:
        known, unknown = group.split(StackError)
        if known is None or unknown is not None:
            raise
        _fail(reports, _first(known))


def _first(group: BaseExceptionGroup[StackError]) -> StackError:
    found: BaseException = group
    while isinstance(found, BaseExceptionGroup):
        found = found.exceptions[0]
    assert isinstance(found, StackError)
    return found


def _fail(reports: Reports, error: StackError) -> None:
    reports.tell(failed=str(error), reason=type(error).__name__)
    raise SystemExit(1)


if __name__ == "__main__":
    main()
