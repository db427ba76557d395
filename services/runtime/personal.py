"""What a service's tables hold of persons: how each is shown to the person, and what an erasure leaves of it.

Every table of a service stands in its list, or among those that hold nothing of persons, with the reason.
A test walks the schema, so that none is forgotten.
"""

from collections.abc import AsyncIterator, Callable, Iterable, Mapping, Sequence
from dataclasses import dataclass
from datetime import UTC, date, datetime
from decimal import Decimal
from typing import Any, Final
from uuid import UUID

import orjson

from services.runtime.database import Transaction
from services.vocabulary.values import format_time

ERASURE_FINISHED: Final = "erasure.finished"
"""The own event by which a service tells the profile service what it erased."""
Row = dict[str, Any]
_ROWS: Final = 200
_MICROS: Final = "_micros"
_MINE = "customer = ANY(%(customers)s::bigint[])"
_THEIRS = "recipient = ANY(%(customers)s::bigint[])"


def as_it_is(row: Row) -> Iterable[Row]:
    """One entry from each row."""
    return (row,)


@dataclass(frozen=True, slots=True)
class Shown:
    """A section of the export: a SELECT, and what becomes of each of its rows.

    `$mine` in it is the condition that `customer` is one of the person's ids, `$theirs` the same of
    `recipient`.

    A column `…_micros` is shown as a time; `read` gives the entries of a row and says so of anything else.
    """

    section: str
    query: str
    read: Callable[[Row], Iterable[Row]] = as_it_is


@dataclass(frozen=True, slots=True)
class Personal:
    """A table with rows of persons.

    `shown`, else `hidden` says why the export does not show it. `erase`: statements (with `$mine`), whose
    rows are counted; `kept` says what an erasure leaves, and why, and `keeps` names the columns of texts and
    bytes that stay as they were.
    """

    name: str
    shown: Sequence[Shown] = ()
    hidden: str = ""
    erase: Sequence[str] = ()
    kept: str = ""
    keeps: frozenset[str] = frozenset()


def deleted(name: str) -> tuple[str, ...]:
    """The statement that deletes a person's rows of a table that has a column `customer`."""
    return (f"DELETE FROM {name} WHERE $mine",)  # noqa: S608 - our own words


DEAD_LETTERS: Final = Personal(
    "dead_letter", hidden="its events are among those shown", erase=deleted("dead_letter")
)
AUDIT: Final = Personal(
    "audit_entry",
    hidden="who changed what, by the ids of customers; consents are shown from the ledger itself",
    kept="append-only: the operator's proof of what its people did; names customers by bare ids alone",
    keeps=frozenset({"actor", "action", "target", "before", "after", "request_id"}),
)
OUTBOX: Final = Personal(
    "outbox",
    hidden="on its way for moments; where it arrives it is shown",
    kept="what is on its way goes before the erasure, and is erased where it arrives",
    keeps=frozenset({"stream", "payload", "trace"}),
)
REQUESTS: Final = Personal(
    "request_key",
    hidden="first answers, to be given again to whoever repeats a request; gone after 30 days",
    kept="gone after 30 days, within the month that the law gives (GDPR art. 12 (3))",
    keeps=frozenset({"rpc", "request_id", "digest", "response"}),
)
READERS: Final = Personal(
    "access_entry",
    shown=(
        Shown(
            "readers",
            "SELECT time, caller, method, reason FROM access_entry WHERE $mine ORDER BY number",
        ),
    ),
    kept="who read whom, by a bare id, for those who ask later; goes with the retention class `access_log`",
    keeps=frozenset({"caller", "method", "reason"}),
)
EVERYWHERE: Final = (READERS, DEAD_LETTERS, AUDIT, OUTBOX, REQUESTS)
"""Tables of every service that may hold something of persons."""
NOBODYS: Final[Mapping[str, str]] = {
    "taken_message": "keys of stream messages",
    "total": "numbers",
    "installation": "states of the installation",
    "recovery": "states of the installation",
    "alembic_version": "the version of the schema",
}
"""Tables of every service that hold nothing of persons, and what they hold."""


async def show(
    transaction: Transaction,
    tables: Iterable[Personal],
    customers: Sequence[int],
    values: Mapping[str, Any],
) -> AsyncIterator[tuple[str, list[Row]]]:
    """All sections in order, some entries at a time; an empty section comes once, empty.

    `values`: what queries name beside the ids.
    """
    for table in tables:
        for shown in table.shown:
            some = False
            async with transaction.driver.cursor(name="shown", binary=True) as cursor:
                await cursor.execute(_said(shown.query), {**values, "customers": list(customers)})
                names = [column.name for column in cursor.description or ()]
                while rows := await cursor.fetchmany(_ROWS):
                    some = True
                    yield (
                        shown.section,
                        [
                            plain(entry)
                            for row in rows
                            for entry in shown.read(dict(zip(names, row, strict=True)))
                        ],
                    )
            if not some:
                yield shown.section, []


async def erase(
    transaction: Transaction, tables: Iterable[Personal], values: Mapping[str, Any]
) -> dict[str, int]:
    """Run every table's statements, in order; rows by table, those with none left out."""
    erased: dict[str, int] = {}
    for table in tables:
        for statement in table.erase:
            rows = await transaction.execute(_said(statement), values)
            if rows:
                erased[table.name] = erased.get(table.name, 0) + rows
    return erased


def _said(statement: str) -> str:
    return statement.replace("$mine", _MINE).replace("$theirs", _THEIRS)


def finished_data(erasure: str, service: str, rows: Mapping[str, int]) -> bytes:
    """The data of an `erasure.finished`: rows by table as `table=number`."""
    erased = [f"{table}={count}" for table, count in sorted(rows.items())]
    return orjson.dumps({"erasure": erasure, "service": service, "erased": erased})


def plain(entry: Row) -> Row:
    """An entry as JSON can say it: times as texts, none of 0."""
    told: Row = {}
    for name, value in entry.items():
        if name.endswith(_MICROS):
            moment = name.removesuffix(_MICROS)
            told[moment if moment == "time" else f"{moment}_time"] = format_time(value) if value else None
        else:
            told[name] = _value(value)
    return told


def _value(value: Any) -> Any:
    if isinstance(value, UUID | Decimal):
        return str(value)
    if isinstance(value, datetime):
        return value.astimezone(UTC).isoformat().replace("+00:00", "Z")
    if isinstance(value, date):
        return value.isoformat()
    if isinstance(value, list | tuple):
        return [_value(item) for item in value]
    if isinstance(value, dict):
        return {key: _value(item) for key, item in value.items()}
    if isinstance(value, bytes | memoryview):
        raise TypeError("bytes are not shown as they are: the section must read them")
    return value
