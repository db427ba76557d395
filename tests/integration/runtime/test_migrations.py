"""Migrations of a database in use: nobody waits long for them, and they wait for whoever is at work."""

import asyncio
import shutil
import textwrap

import psycopg
import pytest
from sqlalchemy.engine import make_url
from sqlalchemy.exc import OperationalError

from services.runtime.migrations import migrate
from tests.integration.runtime.conftest import MIGRATIONS, until

SECOND = """
from alembic import op

from services.runtime.migrations import build_index

revision = "0002"
down_revision = "0001"


def upgrade():
    build_index(op, "done_word", "ON done (word)")
    op.execute("ALTER TABLE done ADD COLUMN note text")
"""


@pytest.fixture
def two_migrations(tmp_path):
    folder = tmp_path / "migrations"
    shutil.copytree(MIGRATIONS, folder, ignore=shutil.ignore_patterns("__pycache__"))
    (folder / "versions" / "0002_note.py").write_text(textwrap.dedent(SECOND), encoding="utf-8")
    return folder


async def connect(url):
    told = make_url(url)
    return await psycopg.AsyncConnection.connect(
        host=told.query["host"], user=told.username, password=told.password, dbname=told.database
    )


async def columns_and_indexes(connection):
    cursor = await connection.execute(
        "SELECT attname FROM pg_attribute WHERE attrelid = 'done'::regclass AND attnum > 0 "
        "UNION ALL SELECT relname FROM pg_index JOIN pg_class ON oid = indexrelid "
        "WHERE indrelid = 'done'::regclass AND indisvalid"
    )
    found = {row[0] for row in await cursor.fetchall()}
    await connection.rollback()
    return found


async def test_who_comes_after_a_migration_that_waits_for_a_table_soon_gets_it(make_database, two_migrations):
    url = make_database(MIGRATIONS)
    holder, other = await connect(url), await connect(url)
    # a reader that stays: the index is built beside it, the column has to wait for it
    await holder.execute("SELECT count(*) FROM done")
    migrating = asyncio.create_task(asyncio.to_thread(migrate, url, two_migrations, patience_seconds=15))

    async def waits():
        cursor = await other.execute(
            "SELECT 1 FROM pg_locks WHERE relation = 'done'::regclass AND NOT granted"
        )
        row = await cursor.fetchone()
        await other.rollback()
        return row is not None

    for _ in range(2):  # it tries more than once, and each time lets others through
        await until(waits)
        async with asyncio.timeout(4):
            await other.execute("INSERT INTO done (word) VALUES ('came later')")
            await other.commit()
    assert not migrating.done()
    await holder.rollback()
    async with asyncio.timeout(20):
        await migrating
    assert {"note", "done_word"} <= await columns_and_indexes(other)
    await holder.close()
    await other.close()


async def test_a_migration_that_never_gets_its_table_says_so_and_leaves_nothing_half_done(
    make_database, two_migrations
):
    url = make_database(MIGRATIONS)
    holder = await connect(url)
    await holder.execute("SELECT count(*) FROM done")
    with pytest.raises(OperationalError, match="lock timeout"):
        await asyncio.to_thread(migrate, url, two_migrations, patience_seconds=0.0)
    assert "note" not in await columns_and_indexes(holder)
    await asyncio.to_thread(migrate, url, two_migrations)
    assert {"note", "done_word"} <= await columns_and_indexes(holder)
    await holder.close()
