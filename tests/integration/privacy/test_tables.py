"""No table is forgotten: each is shown and erased, or it is said why not; and an erasure leaves no text."""

from pathlib import Path
from uuid import uuid4

import pytest
from sqlalchemy.exc import DBAPIError

from services.channel.adapters.storage import personal as channel
from services.channel.adapters.storage.erasing import PostgresErasing
from services.channel.app.erasure import Erasure
from services.decision.adapters import personal as decision
from services.decision.app.jobs import Erased
from services.profile.adapters import personal as profile
from services.profile.adapters.catalogue_types import Types
from services.profile.adapters.postgres import PostgresStore
from services.runtime.database import Database
from services.runtime.outbox import Outbox
from services.vocabulary.catalogue import load_catalogue
from services.vocabulary.words import Channel
from tests.fakes.keys import sealer

ROOT = Path(__file__).parents[3]
MARK = "what-is-theirs"
MARKED = (MARK, MARK.encode().hex())
THEIRS, OTHERS = 7, 8
_COLUMNS = """
    SELECT table_name, column_name, udt_name, is_identity = 'YES' FROM information_schema.columns
    WHERE table_schema = 'public' ORDER BY table_name, ordinal_position
"""


def types() -> Types:
    return Types(load_catalogue(ROOT / "rules"), sealer())


async def erase_profile(database, transaction):
    store = PostgresStore(database, Outbox(database), types())
    return await store.join(transaction).erase_rows([THEIRS], [MARK.encode()], [MARK])


async def erase_decision(_database, transaction):
    return await decision.ErasingStore().erase(transaction, Erased(0, "e", THEIRS, (THEIRS,), "x", 1, b""))


async def erase_channel(database, transaction):
    address = (Channel.SMS, b"look-up")
    erasing = PostgresErasing(Outbox(database), 64)
    return await erasing.erase(transaction, Erasure("k", "x", THEIRS, (THEIRS,), 1, (address,)))


SERVICES = {
    "profile": (profile.tables(types()), profile.NOBODYS, erase_profile),
    "decision": (decision.PERSONAL, decision.NOBODYS, erase_decision),
    "channel": (channel.PERSONAL, channel.NOBODYS, erase_channel),
}


@pytest.fixture(params=SERVICES)
async def service(request, make_database):
    database = Database(make_database(ROOT / "services" / request.param / "migrations"))
    yield database, *SERVICES[request.param]
    await database.close()


async def columns_of(transaction):
    found: dict[str, list[tuple[str, str, bool]]] = {}
    for table, column, kind, generated in await transaction.rows(_COLUMNS):
        found.setdefault(table, []).append((column, kind, generated))
    return found


def value_of(column, kind, customer, same):
    if column in {"customer", "id"} and kind == "int8":
        return customer
    return {
        "text": MARK,
        "bytea": MARK.encode(),
        "uuid": same,
        "int8": 1,
        "int4": 1,
        "int2": 1,
        "bool": False,
        "numeric": 1,
        "float8": 1,
        "_text": [MARK],
        "_int8": [customer],
        "jsonb": f'{{"text": "{MARK}"}}',
        "timestamptz": "2026-11-22T12:00:00Z",
    }[kind]


async def fill_what_they_need(transaction, columns):
    """The first of each thing that is nobody's and to which rows of persons belong."""
    await fill(transaction, {name: columns[name] for name in ("audience_run",) if name in columns}, OTHERS)


async def fill(transaction, columns, customer):
    """A row of this customer in every table, in whatever order they need each other."""
    same = str(uuid4())
    waiting = list(columns)
    while waiting:
        failed = []
        for table in waiting:
            named = [(name, kind) for name, kind, generated in columns[table] if not generated]
            names = ", ".join(name for name, _ in named)
            values = ", ".join(
                f"%s::text::{kind}" if kind in {"jsonb", "timestamptz", "uuid"} else "%s" for _, kind in named
            )
            given = [value_of(name, kind, customer, same) for name, kind in named]
            try:
                async with transaction.savepoint():
                    await transaction.execute(f"INSERT INTO {table} ({names}) VALUES ({values})", given)
            except DBAPIError as error:
                failed.append((table, error))
        if len(failed) == len(waiting):
            raise failed[0][1]
        waiting = [table for table, _ in failed]


async def test_every_table_is_shown_and_erased_or_it_is_said_why_not(service):
    database, tables, nobodys, _ = service
    async with database.transaction() as transaction:
        there = set(await columns_of(transaction))
    listed = [table.name for table in tables]
    assert sorted(there - {*listed, *nobodys}) == [], "say in personal.py what these hold of persons"
    assert sorted({*listed, *nobodys} - there) == [], "these are gone"
    assert len(listed) == len(set(listed))
    assert not set(listed) & set(nobodys)
    for table in tables:
        assert table.shown or table.hidden, f"{table.name}: show it, or say why not"
        assert table.erase or table.kept, f"{table.name}: erase it, or say why not"


async def test_an_erasure_leaves_no_row_and_no_text_but_those_that_are_named(service):
    database, tables, nobodys, erase = service
    by_name = {table.name: table for table in tables}
    async with database.transaction() as transaction:
        columns = {name: found for name, found in (await columns_of(transaction)).items() if name in by_name}
        if "gathering" in nobodys:
            await transaction.execute(
                "INSERT INTO gathering (name, state) VALUES (%s, 'ready')", (f"last:{MARK}",)
            )
        await fill_what_they_need(transaction, await columns_of(transaction))
        await fill(transaction, columns, THEIRS)
        erased = await erase(database, transaction)
        for name, found in columns.items():
            table = by_name[name]
            left = await transaction.rows(f"SELECT to_jsonb(t)::text FROM {name} AS t")
            if table.erase and not table.kept:
                assert erased[name] >= 1, f"{name}: nothing was counted"
                assert not left or name == "inbox", f"{name}: a row is left"
            others = ", ".join(f"t.{column}::text" for column, *_ in found if column not in table.keeps)
            for (text,) in await transaction.rows(f"SELECT concat_ws(' ', {others}) FROM {name} AS t"):
                assert not any(mark in text for mark in MARKED), f"{name}: a text is left"


async def test_nobody_elses_rows_are_touched(service):
    database, tables, _, erase = service
    async with database.transaction() as transaction:
        whole = await columns_of(transaction)
        # those of which a row can be told to be somebody else's
        columns = {
            table.name: whole[table.name]
            for table in tables
            if {"customer", "id"} & {name for name, *_ in whole[table.name]} and table.name != "outbox"
        }
        await fill_what_they_need(transaction, whole)
        await fill(transaction, columns, OTHERS)
        before = {
            name: await transaction.rows(f"SELECT to_jsonb(t)::text FROM {name} AS t") for name in columns
        }
        await erase(database, transaction)
        after = {
            name: await transaction.rows(f"SELECT to_jsonb(t)::text FROM {name} AS t") for name in columns
        }
        for name in columns:
            assert set(before[name]) <= set(after[name]), name
