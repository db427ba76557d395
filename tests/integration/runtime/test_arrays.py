"""Lists as binary arrays, read back by the real database."""

from typing import Any

import pytest

from services.runtime.database import Database

_WIDEST = [-(1 << 63), -1, 0, 1, 40_000, (1 << 63) - 1]


@pytest.mark.parametrize(
    ("kind", "values"),
    [
        ("bigint", _WIDEST),
        ("int", [0, -(1 << 31), (1 << 31) - 1]),
        ("smallint", [7]),
        ("numeric", [1 << 63, -1]),
        ("boolean", [True, False, True]),
        ("text", ["", "é", 'a\\b"c{,}NULL', "é", "😀"]),
        ("text", [None, "x"]),
        ("bigint", [None, 3]),
        ("bytea", [b"", b"\x00\xff", b"\x00\xff"]),
        ("double precision", [0.5, -2.0]),
        ("bigint", []),
        ("text", []),
    ],
)
async def test_a_list_arrives_as_it_was(make_database: Any, kind: str, values: list[Any]) -> None:
    database = Database(make_database())
    try:
        async with database.transaction() as raw:
            for times in range(7):  # the statement is prepared on the way
                found = await raw.rows(
                    f"SELECT value FROM unnest(%s::{kind}[]) WITH ORDINALITY AS row (value, n) ORDER BY n",
                    (values,),
                )
                assert [row[0] for row in found] == values, times
    finally:
        await database.close()


async def test_uuids_come_as_text(make_database: Any) -> None:
    database = Database(make_database())
    wanted = ["a57cf5f7-44fb-4a3a-96b9-0e1b5e3f8a10"]
    try:
        async with database.transaction() as raw:
            assert await raw.rows("SELECT (unnest(%s::text[]::uuid[]))::text", (wanted,)) == [(wanted[0],)]
    finally:
        await database.close()
