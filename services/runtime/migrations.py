"""Brings a service's database to its newest shape, once, whoever starts first."""

from pathlib import Path
from typing import Any

import sqlalchemy
from alembic import command, context
from alembic.config import Config

_LOCK = 0x5261_7070_6F72  # one migration of a database at a time


def migrate(url: str, folder: Path | str) -> None:
    """Run all migrations in `folder` (env.py, versions/) that the database at `url` has not had."""
    engine = sqlalchemy.create_engine(url, poolclass=sqlalchemy.NullPool)
    try:
        with engine.connect() as connection:
            connection.exec_driver_sql("SELECT pg_advisory_lock(%s)", (_LOCK,))
            connection.commit()
            try:
                config = Config()
                config.set_main_option("script_location", str(folder).replace("%", "%%"))
                config.set_main_option("path_separator", "os")
                config.attributes["connection"] = connection
                command.upgrade(config, "head")
                connection.commit()
            finally:
                connection.rollback()
                connection.exec_driver_sql("SELECT pg_advisory_unlock(%s)", (_LOCK,))
                connection.commit()
    finally:
        engine.dispose()


def run_environment() -> None:
    """What a service's migrations/env.py calls; all migrations of one run are one transaction."""
    connection: Any = context.config.attributes.get("connection")
    if connection is None:
        raise RuntimeError("run migrations by `python -m services.<service>.main migrate`")
    context.configure(connection=connection, transactional_ddl=True, transaction_per_migration=False)
    with context.begin_transaction():
        context.run_migrations()
