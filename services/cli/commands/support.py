"""What the commands share: options, running a coroutine with its errors said well, listings."""

import datetime as dt
import functools
import re
import sys
from collections.abc import Callable, Coroutine, Iterable, Mapping, Sequence
from pathlib import Path
from typing import Any, ParamSpec, TypeVar

import click
import grpc
import orjson
import uvloop
from google.protobuf.timestamp_pb2 import Timestamp

from services.cli.quiet import StillBusyError
from services.cli.stack.errors import StackError
from services.cli.stack.layout import DEFAULT_FOLDER
from services.runtime.status import read_failure

P = ParamSpec("P")
R = TypeVar("R")

folder_option = click.option(
    "--folder",
    type=click.Path(path_type=Path, file_okay=False),
    default=DEFAULT_FOLDER,
    help="The folder given to `rapport up`.  [default: var in the checkout]",
)
json_option = click.option("--json", "as_json", is_flag=True, help="One JSON object a line.")
reason_option = click.option(
    "--reason", default="", help="What you look for, for the access log: a case's number, no personal data."
)
limit_option = click.option(
    "--limit", type=click.IntRange(1), default=50, show_default=True, help="At most this many."
)


def runs(function: Callable[P, Coroutine[Any, Any, R]]) -> Callable[P, R]:
    """Runs a command's coroutine; a failed call ends in what was wrong, where, and what would be right."""

    @functools.wraps(function)
    def run(*args: P.args, **kwargs: P.kwargs) -> R:
        try:
            return uvloop.run(function(*args, **kwargs))
        except grpc.RpcError as error:
            failure = read_failure(error)
            if failure.status is grpc.StatusCode.UNAVAILABLE and not failure.reason:
                raise StackError("The service does not answer. Look with: rapport status") from None
            raise StackError(failure.message or failure.status.name) from None
        except StillBusyError as error:
            raise StackError(str(error)) from None

    return run


_WHOLE = re.compile(r"[0-9a-f]{8}-[0-9a-f-]{27}|\d{4}-\d\d-\d\dT\S+")
"""Ids and times: cells that are told whole on one line where there is room."""
_WIDE = 200
"""The width of tables that no terminal shows."""


def print_json(entry: Mapping[str, Any]) -> None:
    """One object on one line."""
    click.echo(orjson.dumps(entry).decode())


def print_table(columns: Sequence[str], rows: Iterable[Sequence[object]], *, empty: str) -> None:
    """A table for people; `empty` is said when there is no row."""
    from rich.console import Console  # not for those who want JSON
    from rich.table import Table

    table = Table(header_style="bold", box=None, pad_edge=False)
    cells = [["" if cell is None else str(cell) for cell in row] for row in rows]
    for place, column in enumerate(columns):
        whole = any(_WHOLE.fullmatch(row[place]) for row in cells)
        longest = max((len(row[place]) for row in cells), default=0)
        least = max((len(word) for word in column.split()), default=0)
        table.add_column(column, no_wrap=whole, overflow="fold", min_width=max(least, min(longest, 10)))
    for row in cells:
        table.add_row(*row)
    if table.row_count:
        Console(soft_wrap=True, width=None if sys.stdout.isatty() else _WIDE).print(table)
    else:
        click.echo(empty)


def iso(stamp: Timestamp) -> str | None:
    """RFC 3339 in UTC; None for a time that is not set."""
    if not stamp.seconds and not stamp.nanos:
        return None
    text = stamp.ToDatetime(dt.UTC).isoformat()
    return text.replace("+00:00", "Z")


def enum_word(name: str, prefix: str) -> str:
    """An enum value without its prefix, in lower case; empty for the unspecified one."""
    word = name.removeprefix(prefix)
    return "" if word == "UNSPECIFIED" else word.lower()
