"""Reads CSV, Parquet and JSON with DuckDB: in the order of the file, in little memory whatever its size."""

import csv
import gzip
import tempfile
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import duckdb

from services.cli.importing.mapping import Mapping
from services.cli.stack.errors import StackError

_ROWS = 2_000
_MEMORY = "256MB"
_OBJECT_BYTES = 16 * 1024 * 1024
_ENDINGS = {
    ".csv": "csv",
    ".tsv": "csv",
    ".txt": "csv",
    ".parquet": "parquet",
    ".json": "json",
    ".ndjson": "json",
    ".jsonl": "json",
}
_PYTHON_ENCODINGS = {"utf-8": "utf-8-sig", "utf-16": "utf-16", "latin-1": "latin-1"}
_ENCODING = "it is not of the encoding that the mapping says; say encoding: utf-8, utf-16 or latin-1"
_LINE = 1024 * 1024
_BROKEN = {
    "INVALID ENCODING": "holds bytes that are not of the encoding; say encoding: latin-1, or mend the file",
    "TOO MANY COLUMNS": "has more columns than the head",
    "MISSING COLUMNS": "has fewer columns than the head",
    "UNQUOTED VALUE": "has a quote that does not end",
    "LINE SIZE OVER MAXIMUM": "is longer than 2 MB",
}


@dataclass(slots=True)
class Unreadable:
    """Rows that are none, by number from 1, with what is wrong with them."""

    rows: list[tuple[int, str]] = field(default_factory=list)

    def number(self, place: int) -> int:
        """The number in the file of the row that was read as number `place`."""
        number = place
        for row, _ in self.rows:
            if row > number:
                break
            number += 1
        return number


class File:
    """One open file. Rows are numbered from 1, the head not counted."""

    def __init__(self, connection: duckdb.DuckDBPyConnection, path: Path, reader: str) -> None:
        self._connection = connection
        self._path = path
        self._reader = reader
        self._kind = reader.partition("(")[0]
        self.columns: tuple[str, ...] = tuple(
            row[0] for row in self._ask(f"DESCRIBE {self._select('*', '')}")
        )

    def rows(self) -> Iterator[tuple[Any, ...]]:
        """All rows that can be read, in order, only a few thousand of them in memory."""
        more = ", ignore_errors=true" if self._kind == "read_csv" else ""
        try:
            found = self._connection.execute(self._select("*", more), self._given)
            while rows := found.fetchmany(_ROWS):
                yield from rows
        except duckdb.Error as error:
            raise StackError(f"{self._path.name} cannot be read further: {_shown(error)}") from None

    def unreadable(self) -> Unreadable:
        """The rows that `rows` leaves out; reads the file once."""
        if self._kind != "read_csv":
            return Unreadable()
        nothing = " AND ".join(f"{_quoted(column)} IS NULL" for column in self.columns)  # looks at each
        self._ask(self._select(f"count_if({nothing})", ", store_rejects=true, rejects_limit=100000"))
        found = self._connection.execute(
            "SELECT line, min(error_type::VARCHAR) FROM reject_errors GROUP BY line ORDER BY line"
        ).fetchall()
        return Unreadable(
            [
                (int(line) - 1, _BROKEN.get(kind, f"cannot be read: {str(kind).lower()}"))
                for line, kind in found
            ]
        )

    def repeated(self, columns: Sequence[str]) -> tuple[int, list[int]]:
        """How many rows repeat an earlier one in these columns (none: in all), and the first few of them."""
        key = ", ".join(_quoted(column) for column in (columns or self.columns))
        more = ", ignore_errors=true" if self._kind == "read_csv" else ""
        numbered = self._select(f"row_number() OVER () AS number, hash({key}) AS key", more)
        rows = self._ask(
            "SELECT count(*) - 1, min(number), max(number) "  # noqa: S608  as above
            f"FROM ({numbered}) GROUP BY key HAVING count(*) > 1 ORDER BY 2"
        )
        return sum(row[0] for row in rows), [row[2] for row in rows[:20]]

    def _select(self, what: str, more: str) -> str:
        """`what` is made of quoted names and our own words, the reader of quoted options."""
        return f"SELECT {what} FROM {self._reader.format(more=more)}"  # noqa: S608

    @property
    def _given(self) -> list[str]:
        return [str(self._path)]

    def _ask(self, sql: str) -> list[tuple[Any, ...]]:
        try:
            return self._connection.execute(sql, self._given).fetchall()
        except duckdb.Error as error:
            raise StackError(f"{self._path.name} cannot be read: {_shown(error)}") from None


@contextmanager
def opened(path: Path, mapping: Mapping) -> Iterator[File]:
    """A file, opened as its mapping or its ending says; StackError when it cannot be read so."""
    with tempfile.TemporaryDirectory(prefix="rapport-import-") as folder:
        connection = duckdb.connect(
            config={
                "memory_limit": _MEMORY,
                "threads": 1,
                "temp_directory": folder,
                "preserve_insertion_order": True,
                "autoinstall_known_extensions": False,
                "autoload_known_extensions": False,
            }
        )
        try:
            yield File(connection, path, _reader(path, mapping))
        finally:
            connection.close()


def _reader(path: Path, mapping: Mapping) -> str:
    endings = [ending.lower() for ending in path.suffixes if ending.lower() != ".gz"]
    kind = mapping.format or (_ENDINGS.get(endings[-1], "") if endings else "")
    match kind:
        case "csv":
            return _csv(path, mapping)
        case "parquet":
            return "read_parquet(?{more})"
        case "json":
            return (
                "read_json(?, sample_size=-1, map_inference_threshold=-1, convert_strings_to_integers=false, "
                f"maximum_object_size={_OBJECT_BYTES}{{more}})"
            )
    raise StackError(f"{path.name} has no ending that says what it is. Write format: csv, parquet or json.")


def _csv(path: Path, mapping: Mapping) -> str:
    """The head is read here: DuckDB would guess from rows that may be broken what parts the columns."""
    quote = mapping.quote or '"'
    encoding = _PYTHON_ENCODINGS.get(mapping.encoding.lower())
    if encoding is None:
        known = ", ".join(_PYTHON_ENCODINGS)
        raise StackError(
            f"encoding: {mapping.encoding} is not known; say one of {known}, or convert the file"
        )
    text = _head(path, encoding)
    if "\ufffd" in text:
        raise StackError(f"{path.name} cannot be read: {_ENCODING}")
    delimiter = mapping.delimiter or max(",;\t|", key=text.count)
    columns = next(csv.reader([text], delimiter=delimiter, quotechar=quote), [])
    if not any(columns):
        raise StackError(f"{path.name} has no head: its first line names the columns")
    twice = sorted({column for column in columns if columns.count(column) > 1})
    if twice:
        raise StackError(f"{path.name} names the column {twice[0]} twice; give each its own name")
    named = ", ".join(f"{_text(column)}: 'VARCHAR'" for column in columns)
    said = {"encoding": mapping.encoding, "delim": delimiter, "quote": quote, "escape": quote}
    options = "".join(f", {name}={_text(value)}" for name, value in said.items())
    return f"read_csv(?, auto_detect=false, header=true, columns={{{{{named}}}}}{options}{{more}})"


def _head(path: Path, encoding: str) -> str:
    """The first line; what is not of the encoding stands there as U+FFFD."""
    open_file = gzip.open if path.suffix.lower() == ".gz" else open
    try:
        with open_file(path, "rt", encoding=encoding, errors="replace", newline="") as file:
            return str(file.readline(_LINE)).rstrip("\r\n")
    except (UnicodeError, OSError, EOFError):
        return "\ufffd"


def _text(value: str) -> str:
    return "'" + value.replace("'", "''").replace("{", "{{").replace("}", "}}") + "'"


def _quoted(column: str) -> str:
    return '"' + column.replace('"', '""') + '"'


def _shown(error: duckdb.Error) -> str:
    """What is wrong, without a line of the file in it."""
    text = str(error)
    if " encoded" in text or "unicode" in text.lower():
        return _ENCODING
    first = text.partition("\n")[0]
    return first if ":" not in first[30:] and '"' not in first else first[:30].partition(":")[0]
