"""Brings a service's database to its newest shape, once, whoever starts first."""

from pathlib import Path
from time import monotonic
from typing import Any

import psycopg
import sqlalchemy
import structlog
from alembic import command, context
from alembic.config import Config
from sqlalchemy.exc import OperationalError

_LOCK = 0x5261_7070_6F72  # one migration of a database at a time
_ASK_AGAIN_SECONDS = 0.2
_QUEUE_SECONDS = 2
"""How long a change may wait for a table: all who come later to the table wait behind it."""
_REST_SECONDS = 1.0  # in which those who waited get through before it is tried again
_log = structlog.get_logger(__name__)


def migrate(url: str, folder: Path | str, *, patience_seconds: float = 600.0) -> None:
    """Run all migrations in `folder` (env.py, versions/) that the database at `url` has not had.

    The database may be in use: a table that somebody holds is not waited for longer than two seconds at a
    time, and what was begun is undone meanwhile; sqlalchemy.exc.OperationalError when patience ends.
    """
    engine = sqlalchemy.create_engine(url, poolclass=sqlalchemy.NullPool)
    try:
        with engine.connect() as connection:
            _lock(connection)
            try:
                config = Config()
                config.set_main_option("script_location", str(folder).replace("%", "%%"))
                config.set_main_option("path_separator", "os")
                config.attributes["connection"] = connection
                _upgrade(connection, config, patience_seconds)
            finally:
                connection.rollback()
                connection.exec_driver_sql("SELECT pg_advisory_unlock(%s)", (_LOCK,))
                connection.commit()
    finally:
        engine.dispose()


def _upgrade(connection: sqlalchemy.Connection, config: Config, patience_seconds: float) -> None:
    end = monotonic() + patience_seconds
    while True:
        try:
            _queue_at_most(connection, _QUEUE_SECONDS)
            connection.commit()
            command.upgrade(config, "head")
            connection.commit()
        except OperationalError as error:
            connection.rollback()
            if not isinstance(error.orig, psycopg.errors.LockNotAvailable) or monotonic() > end:
                raise
            _log.info("migration_waits", reason="a table is held by a transaction")
            _pause(connection, _REST_SECONDS)
        else:
            return


def _queue_at_most(connection: Any, seconds: int) -> None:
    connection.exec_driver_sql(f"SET lock_timeout = '{seconds}s'")


def _pause(connection: sqlalchemy.Connection, seconds: float) -> None:
    connection.exec_driver_sql("SELECT pg_sleep(%s)", (seconds,))
    connection.commit()


def build_index(op: Any, name: str, definition: str) -> None:
    """Make an index without keeping writers from the table; call it first in a migration.

    It is built outside of any transaction: what the run did before is committed, and one that an interrupted
    run left behind unfinished is made anew.
    """
    finished = op.get_bind().exec_driver_sql(
        "SELECT indisvalid FROM pg_index WHERE indexrelid = to_regclass(%s)", (name,)
    )
    if finished.scalar():
        return
    with op.get_context().autocommit_block():
        op.execute("SET lock_timeout = 0")  # it waits for every transaction there is, and nobody for it
        op.execute(f"DROP INDEX CONCURRENTLY IF EXISTS {name}")
        op.execute(f"CREATE INDEX CONCURRENTLY {name} {definition}")
        op.execute(f"SET lock_timeout = '{_QUEUE_SECONDS}s'")


def _lock(connection: sqlalchemy.Connection) -> None:
    """Wait for the lock by asking again: a statement that waits holds up an index that is being built."""
    while True:
        locked = connection.exec_driver_sql("SELECT pg_try_advisory_lock(%s)", (_LOCK,)).scalar()
        connection.commit()
        if locked:
            return
        _pause(connection, _ASK_AGAIN_SECONDS)


def run_environment() -> None:
    """What a service's migrations/env.py calls; all migrations of one run are one transaction."""
    connection: Any = context.config.attributes.get("connection")
    if connection is None:
        raise RuntimeError("run migrations by `python -m services.<service>.main migrate`")
    context.configure(connection=connection, transactional_ddl=True, transaction_per_migration=False)
    with context.begin_transaction():
        context.run_migrations()
