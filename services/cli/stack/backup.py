"""Backups of the local stack's databases with PostgreSQL's own programs, and databases restored from them."""

import json
import os
import subprocess
import tempfile
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from pathlib import Path

from psycopg import sql

from services.cli.stack.account import database_account
from services.cli.stack.errors import StackError
from services.cli.stack.layout import Layout
from services.cli.stack.leftovers import end_leftovers
from services.cli.stack.passwords import read_password
from services.cli.stack.postgres import ADMIN, PostgresServer
from services.cli.stack.processes import log_end
from services.cli.stack.programs import python_command, python_environment
from services.cli.stack.state import find_stack
from services.cli.stack.supervisor import held


def dump_of(folder: Path, service: str) -> Path:
    """The file of a backup that holds a service's database."""
    return folder / f"{service}.dump"


def back_up(folder: Path, into: Path, services: Sequence[str]) -> None:
    """Writes the databases of the stack that runs in `folder` into files of mode 0600; each is of one moment.

    Raises StackError when none runs, or PostgreSQL's program says no.
    """
    stack = find_stack(folder)
    server = _server(Layout(stack.folder), stack.database_home, stack.database_user)
    into.mkdir(mode=0o700, parents=True, exist_ok=True)
    for service in services:
        draft = into / f".{service}.draft"
        descriptor = os.open(draft, os.O_WRONLY | os.O_CREAT | os.O_TRUNC, 0o600)
        os.close(descriptor)
        _run(server, "pg_dump", "--format=custom", f"--file={draft}", f"--dbname={service}")
        draft.replace(dump_of(into, service))


def restore(folder: Path, backup: Path, services: Sequence[str]) -> None:
    """Replaces databases of a stopped stack by those of a backup, and notes that they were restored.

    Raises StackError when the stack runs, a file is missing, or PostgreSQL's program says no.
    """
    missing = [service for service in services if not dump_of(backup, service).is_file()]
    if missing:
        raise StackError(
            f"{backup} holds no backup of {', '.join(missing)}. Name what to restore with --service."
        )
    layout = Layout(folder)
    layout.prepare()
    try:
        choices = json.loads(layout.choices.read_text(encoding="utf-8"))
    except FileNotFoundError:
        raise StackError(f"{folder} was never used. Start Rapport in it once with `rapport up`.") from None
    with held(layout):
        end_leftovers(folder)
        server = _server(layout, Path(choices["database_home"]), choices["database_user"])
        server.start()
        try:
            for service in services:
                _replace(server, layout, service, dump_of(backup, service))
        finally:
            server.stop()


def _replace(server: PostgresServer, layout: Layout, service: str, dump: Path) -> None:
    password_file = layout.secret(f"database-{service}")
    with server.connect() as connection:
        connection.execute(sql.SQL("DROP DATABASE IF EXISTS {} WITH (FORCE)").format(sql.Identifier(service)))
    server.ensure_database(service, password_file=password_file)
    _run(
        server,
        "pg_restore",
        *("--exit-on-error", "--no-owner", f"--role={service}", f"--dbname={service}", str(dump)),
    )
    environment = {
        **python_environment(),
        "RAPPORT_DATABASE_URL": server.url(service, user=service),
        "RAPPORT_DATABASE_PASSWORD_FILE": str(password_file),
    }
    log = layout.log(f"{service}-migrate")
    with log.open("ab") as output:
        done = subprocess.run(
            python_command(f"services.{service}.main", "restored"),
            cwd="/",
            env=environment,
            stdin=subprocess.DEVNULL,
            stdout=output,
            stderr=subprocess.STDOUT,
            check=False,
        )
    if done.returncode:
        raise StackError(f"The restored database {service} could not be brought up to date. {log_end(log)}")


def _server(layout: Layout, home: Path, user: str) -> PostgresServer:
    return PostgresServer(
        home,
        password_file=layout.secret("database-admin"),
        log=layout.log("postgres"),
        account=database_account(user),
    )


def _run(server: PostgresServer, program: str, *arguments: str) -> None:
    """Runs one of PostgreSQL's programs as the administrator, with the password in a file for its moment."""
    with _password_file(server) as password_file:
        done = subprocess.run(
            [
                str(server.programs / program),
                *(f"--host={server.socket_folder}", f"--username={ADMIN}", "--no-password"),
                *arguments,
            ],
            env={"PATH": os.defpath, "LC_ALL": "C", "TZ": "UTC", "PGPASSFILE": str(password_file)},
            stdin=subprocess.DEVNULL,
            capture_output=True,
            check=False,
        )
    if done.returncode:
        told = done.stderr.decode("utf-8", errors="replace").strip().splitlines()
        raise StackError(f"{program} failed: {told[-1] if told else done.returncode}")


@contextmanager
def _password_file(server: PostgresServer) -> Iterator[Path]:
    password = read_password(server.password_file)
    escaped = password.replace("\\", "\\\\").replace(":", "\\:")
    with tempfile.NamedTemporaryFile("w", encoding="utf-8", prefix="rapport-") as file:
        file.write(f"*:*:*:{ADMIN}:{escaped}\n")
        file.flush()
        yield Path(file.name)
