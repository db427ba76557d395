"""Transactions, savepoints, binary parameters, COPY, wake-ups and counters on a real PostgreSQL."""

import asyncio
import gc
from collections.abc import Awaitable, Callable
from decimal import Decimal
from pathlib import Path

import psycopg
import pytest
from sqlalchemy import text

from services.runtime.database import Database, is_transient
from services.runtime.errors import StorageFullError, UnavailableError
from services.runtime.migrations import migrate
from services.runtime.totals import add_totals, read_totals
from tests.integration.runtime.conftest import MIGRATIONS, until

Count = Callable[[str], Awaitable[int]]


async def test_both_ways_into_one_transaction_are_rolled_back_together(database: Database, count: Count):
    with pytest.raises(ZeroDivisionError):  # noqa: PT012 - the transaction is what raises
        async with database.transaction() as tx:
            await tx.execute("INSERT INTO done (word) VALUES (%s)", ("raw",))
            await tx.connection.execute(text("INSERT INTO done (word) VALUES ('core')"))
            raise ZeroDivisionError
    assert await count("done") == 0


async def test_both_ways_into_one_transaction_are_committed_together(database: Database, count: Count):
    async with database.transaction() as tx:
        await tx.connection.execute(text("INSERT INTO done (word) VALUES ('core')"))
        assert await tx.execute("INSERT INTO done (word) VALUES (%s), (%s)", ("a", "b")) == 2
        assert await tx.rows("SELECT word FROM done ORDER BY position") == [("core",), ("a",), ("b",)]
    assert await count("done") == 3


@pytest.mark.parametrize(
    ("kind", "values"),
    [
        ("bigint", [1, 2**40, -5]),
        ("bigint", []),
        ("text", ["a", "", "Ünï"]),
        ("text", []),
        ("bytea", [b"\0\xff", b""]),
        ("float8", [1.5, -0.0]),
        ("boolean", [True, False]),
        ("numeric", [Decimal("12.50")]),
        ("bigint", [1, None]),
    ],
)
async def test_lists_travel_as_binary_arrays(database: Database, kind: str, values: list[object]):
    async with database.transaction() as tx:
        rows = await tx.rows(f"SELECT value FROM unnest(%s::{kind}[]) AS value", (values,))
    assert [row[0] for row in rows] == values


async def test_copy_writes_rows_in_the_same_transaction(database: Database, count: Count):
    async with database.transaction() as tx:
        await tx.copy_rows("COPY done (word) FROM STDIN (FORMAT BINARY)", ["text"], [("a",), ("b",)])
        assert len(await tx.rows("SELECT * FROM done")) == 2
    assert await count("done") == 2


async def test_a_savepoint_undoes_its_part_and_its_totals_alone(database: Database):
    async with database.transaction() as tx:
        await tx.execute("INSERT INTO done (word) VALUES ('kept')")
        await add_totals(tx, {"kept": 1})
        with pytest.raises(psycopg.errors.DivisionByZero):  # noqa: PT012 - so does a savepoint
            async with tx.savepoint():
                await tx.execute("INSERT INTO done (word) VALUES ('undone')")
                await add_totals(tx, {"kept": 5, "undone": 1})
                await tx.execute("SELECT 1/0")
        async with tx.savepoint():
            await tx.execute("INSERT INTO done (word) VALUES ('also kept')")
            await add_totals(tx, {"kept": 1})
    async with database.transaction() as tx:
        assert await tx.rows("SELECT word FROM done ORDER BY position") == [("kept",), ("also kept",)]
        assert await read_totals(tx) == {"kept": 2}


@pytest.mark.parametrize("way", ["raw", "core"])
async def test_a_full_disk_is_told_as_such(database: Database, count: Count, way: str):
    full = "DO $$ BEGIN RAISE SQLSTATE '53100' USING MESSAGE = 'could not extend file'; END $$"
    with pytest.raises(StorageFullError, match="disk is full") as caught:  # noqa: PT012 - the transaction raises
        async with database.transaction() as tx:
            await tx.execute("INSERT INTO done (word) VALUES (%s)", ("raw",))
            if way == "raw":
                await tx.execute(full)
            else:
                await tx.connection.execute(text(full))
    assert is_transient(caught.value)
    assert "free space" in caught.value.suggestion
    assert await count("done") == 0


async def test_totals_are_exact_under_concurrency(database: Database):
    async def add(number: int) -> None:
        async with database.transaction() as tx:
            await add_totals(tx, {"b": 1, "a": 2})
            await add_totals(tx, {"c": number % 2, "a": 1})

    await asyncio.gather(*(add(number) for number in range(60)))
    async with database.transaction() as tx:
        assert await read_totals(tx) == {"a": 180, "b": 60, "c": 30}


async def test_totals_of_a_transaction_that_fails_do_not_count(database: Database):
    with pytest.raises(ZeroDivisionError):  # noqa: PT012 - the transaction is what raises
        async with database.transaction() as tx:
            await add_totals(tx, {"a": 1})
            raise ZeroDivisionError
    async with database.transaction() as tx:
        assert await read_totals(tx) == {}


async def test_a_listener_hears_what_is_notified_after_a_commit(database: Database):
    heard = asyncio.Queue[str]()

    async def listen() -> None:
        async for payload in database.listen("news", sweep_seconds=60):
            heard.put_nowait(payload)

    listener = asyncio.create_task(listen())
    try:
        async with asyncio.timeout(10):
            await heard.get()  # connected
            async with database.transaction() as tx:
                tx.after_commit(lambda: database.notify("news"))
                assert heard.empty()
            await heard.get()
    finally:
        listener.cancel()


async def test_a_listener_comes_back_when_its_connection_is_cut(database: Database):
    heard = asyncio.Queue[str]()

    async def listen() -> None:
        async for payload in database.listen("news", sweep_seconds=60):
            heard.put_nowait(payload)

    listener = asyncio.create_task(listen())
    try:
        async with asyncio.timeout(20):
            await heard.get()
            await _cut_all_others(database)
            await heard.get()  # connected again: look at everything
            database.notify("news")
            await heard.get()
    finally:
        listener.cancel()


async def test_the_pool_recovers_when_all_its_connections_were_cut(database: Database, count: Count):
    async def hold(barrier: asyncio.Barrier) -> None:
        async with database.transaction() as tx:
            await tx.row("SELECT 1")
            await barrier.wait()

    barrier = asyncio.Barrier(3)
    await asyncio.gather(*(hold(barrier) for _ in range(3)))  # three connections lie in the pool
    await _cut_all_others(database)
    failures = 0
    for _ in range(5):
        try:
            await count("done")
        except UnavailableError:
            failures += 1
    assert failures <= 1
    assert await count("done") == 0


async def test_each_statement_is_committed_by_itself(database: Database, count: Count):
    with pytest.raises(ZeroDivisionError):  # noqa: PT012 - the block is what raises
        async with database.statements() as statements:
            await statements.execute("INSERT INTO done (word) VALUES (%s)", ("kept",))
            raise ZeroDivisionError
    assert await count("done") == 1
    async with database.statements() as statements:
        with pytest.raises(psycopg.errors.UndefinedTable):
            await statements.rows("SELECT * FROM nowhere")
        assert await statements.row("SELECT word FROM done") == ("kept",)


async def test_statements_find_another_connection_when_theirs_was_cut(database: Database):
    async with database.statements() as statements:
        ours = await statements.row("SELECT pg_backend_pid()")
    async with database.transaction() as tx:
        await tx.execute("SELECT pg_terminate_backend(%s)", ours)
    with pytest.raises(UnavailableError):
        async with database.statements() as statements:
            await statements.row("SELECT 1")
    async with database.statements() as statements:
        assert await statements.row("SELECT 1") == (1,)


async def test_a_connection_lost_in_the_commit_is_told_as_such(database: Database, count: Count):
    async with database.transaction() as tx:
        await tx.execute(
            "CREATE FUNCTION end_session() RETURNS trigger LANGUAGE plpgsql AS "
            "'BEGIN PERFORM pg_terminate_backend(pg_backend_pid()); RETURN NULL; END'"
        )
        await tx.execute(
            "CREATE CONSTRAINT TRIGGER at_commit AFTER INSERT ON done DEFERRABLE INITIALLY DEFERRED "
            "FOR EACH ROW EXECUTE FUNCTION end_session()"
        )
    with pytest.raises(UnavailableError):
        async with database.transaction() as tx:
            await tx.execute("INSERT INTO done (word) VALUES ('x')")
    assert await count("done") == 0


async def test_a_connection_lost_unnoticed_hides_no_other_failure(database: Database, count: Count):
    async def fail() -> None:
        async with database.transaction() as tx:
            await tx.row("SELECT 1")
            await _cut_all_others(database)
            raise LookupError

    with pytest.raises(LookupError):
        await fail()
    assert await count("done") == 0


async def test_a_cancelled_transaction_leaves_nothing_and_gives_its_connection_back(
    database: Database, count: Count
):
    async def work() -> None:
        async with database.transaction() as tx:
            await tx.execute("INSERT INTO done (word) VALUES ('half')")
            await tx.execute("SELECT pg_sleep(60)")

    async def sleeping() -> int:
        async with database.transaction() as tx:
            row = await tx.row(
                "SELECT count(*) FROM pg_stat_activity "
                "WHERE wait_event = 'PgSleep' AND datname = current_database()"
            )
        assert row is not None
        return int(row[0])

    async def one_sleeps() -> bool:
        return await sleeping() == 1

    async def nobody_sleeps() -> bool:
        return await sleeping() == 0

    for _ in range(12):  # more often than the pool has room
        task = asyncio.create_task(work())
        await until(one_sleeps)
        task.cancel()
        with pytest.raises(asyncio.CancelledError):
            await task
        await until(nobody_sleeps)
    assert await count("done") == 0


async def test_migrating_again_changes_nothing_and_two_at_once_do_not_meet(make_database):
    url = make_database()
    await asyncio.gather(*(asyncio.to_thread(migrate, url, MIGRATIONS) for _ in range(3)))
    await asyncio.to_thread(migrate, url, MIGRATIONS)
    database = Database(url)
    async with database.transaction() as tx:
        assert await tx.rows("SELECT version_num FROM alembic_version") == [("0001",)]
    await database.close()


async def _cut_all_others(database: Database) -> None:
    driver = await database.connect_driver()
    await driver.execute(
        "SELECT pg_terminate_backend(pid) FROM pg_stat_activity "
        "WHERE datname = current_database() AND pid <> pg_backend_pid()"
    )
    await driver.close()


async def test_a_connect_that_is_cancelled_leaves_nothing_open(make_database):
    def sockets():
        links = (entry for entry in Path("/proc/self/fd").iterdir() if entry.is_symlink())
        return sum("socket" in str(link.readlink()) for link in links)

    async def ask(database):
        async with database.transaction() as transaction:
            await transaction.row("SELECT 1")

    url = make_database()
    before = sockets()
    gc.disable()  # what only the collector would close would count
    try:
        for moment in range(6):
            database = Database(url)
            asking = [asyncio.create_task(ask(database)) for _ in range(5)]
            await asyncio.sleep(moment / 1000)
            for task in asking:
                task.cancel()
            await asyncio.gather(*asking, return_exceptions=True)
            await database.close()
        assert sockets() == before
    finally:
        gc.enable()
