"""All that stands in a database, as text, to look for what must not."""

from typing import Any

import psycopg
from psycopg import sql
from sqlalchemy.engine import make_url

_TABLES = "SELECT tablename FROM pg_tables WHERE schemaname = 'public' ORDER BY 1"


async def everything_in(url: str) -> list[tuple[str, str]]:
    """Each table with each of its rows; bytes as the characters they would be in Latin 1."""
    parts = make_url(url)
    told: Any = parts.translate_connect_args(username="user", database="dbname") | dict(parts.query)
    found: list[tuple[str, str]] = []
    async with await psycopg.AsyncConnection.connect(**told) as connection:
        tables = await (await connection.execute(_TABLES)).fetchall()
        for (table,) in tables:
            rows = await connection.execute(sql.SQL("SELECT * FROM {}").format(sql.Identifier(table)))
            found += [(table, " ".join(map(_text, row))) for row in await rows.fetchall()]
    return found


def _text(value: object) -> str:
    return bytes(value).decode("latin-1") if isinstance(value, bytes | memoryview) else str(value)
