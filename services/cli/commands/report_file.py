"""A provider's report as a file: CSV with a heading, or JSON lines; whatever its columns are called."""

import csv
import datetime as dt
from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any

import orjson
from rapport.channel.v1.reconciliation_pb2 import (
    REPORTED_STATE_DELIVERED,
    REPORTED_STATE_EN_ROUTE,
    REPORTED_STATE_EXPIRED,
    REPORTED_STATE_FAILED,
    REPORTED_STATE_UNSPECIFIED,
    ReportedState,
    ReportLine,
)

from services.cli.stack.errors import StackError

COLUMNS = ("id", "reference", "state", "time")
WORDS: dict[str, "ReportedState.ValueType"] = {
    "": REPORTED_STATE_UNSPECIFIED,
    "taken": REPORTED_STATE_UNSPECIFIED,
    **dict.fromkeys(
        ("delivrd", "delivered", "deliveredtoterminal", "read", "opened"), REPORTED_STATE_DELIVERED
    ),
    **dict.fromkeys(
        ("undeliv", "undelivered", "undeliverable", "failed", "rejectd", "rejected", "deleted", "bounced"),
        REPORTED_STATE_FAILED,
    ),
    **dict.fromkeys(("expired", "timeout"), REPORTED_STATE_EXPIRED),
    **dict.fromkeys(
        ("enroute", "en_route", "acceptd", "accepted", "sent", "buffered", "scheduled", "unknown"),
        REPORTED_STATE_EN_ROUTE,
    ),
}
"""States as SMPP 3.4 (appendix B) and common reports call them, in lower case."""
_MOST_ID = 200


@dataclass(frozen=True, slots=True)
class BadLine:
    """A line that could not be read."""

    line: int
    reason: str
    """What is wrong, without what the line holds: that may be a number or a name."""


@dataclass(slots=True)
class Form:
    """How a report is to be read."""

    columns: Mapping[str, str]
    """What the report calls `id`, `reference`, `state` and `time`; those not there are left out."""
    words: Mapping[str, "ReportedState.ValueType"] = field(default_factory=lambda: WORDS)
    delimiter: str = ","


@dataclass(slots=True)
class Reading:
    """What was read so far."""

    lines: int = 0
    octets: int = 0
    bad: int = 0
    earliest: dt.datetime | None = None
    latest: dt.datetime | None = None

    def saw(self, moment: dt.datetime) -> None:
        """A line tells this time."""
        self.earliest = moment if self.earliest is None else min(self.earliest, moment)
        self.latest = moment if self.latest is None else max(self.latest, moment)


Row = Mapping[str, Any]


def read_csv(lines: Iterable[bytes], form: Form, reading: Reading) -> Iterator[ReportLine | BadLine]:
    """The lines behind the heading. One line is one message: a quoted field holds no line break."""
    numbered = enumerate(lines, start=1)
    heading = _heading(numbered, form, reading)  # now, so that the caller hears at once what it lacks
    places = {name: heading.index(column) for name, column in form.columns.items() if column in heading}
    _check(places, form, heading)

    def row(line: str) -> Row:
        (cells,) = csv.reader([line], delimiter=form.delimiter, strict=True)
        if len(cells) != len(heading):
            raise ValueError(f"it has {len(cells)} fields, the heading has {len(heading)}")
        return {name: cells[place] for name, place in places.items()}

    return _read(numbered, row, form, reading)


def read_json(lines: Iterable[bytes], form: Form, reading: Reading) -> Iterator[ReportLine | BadLine]:
    """One object a line."""

    def row(line: str) -> Row:
        try:
            entry = orjson.loads(line)
        except orjson.JSONDecodeError:
            raise ValueError("it is no JSON") from None
        if not isinstance(entry, dict):
            raise ValueError("it is no JSON object")  # noqa: TRY004 - the line's fault, not ours
        return {
            name: "" if entry.get(column) is None else str(entry[column])
            for name, column in form.columns.items()
        }

    return _read(enumerate(lines, start=1), row, form, reading)


def _heading(numbered: Iterator[tuple[int, bytes]], form: Form, reading: Reading) -> Sequence[str]:
    for _, raw in numbered:
        reading.octets += len(raw)
        line = raw.decode("utf-8-sig", "replace").strip("\r\n")
        if line.strip():
            return [name.strip() for name in next(csv.reader([line], delimiter=form.delimiter))]
    raise StackError("The report is empty: it should begin with a heading that names its columns.")


def _check(places: Mapping[str, int], form: Form, heading: Sequence[str]) -> None:
    if "id" not in places and "reference" not in places:
        raise StackError(
            f"The report has no column {form.columns['id']!r} or {form.columns['reference']!r}; it has "
            f"{', '.join(heading)}. Say with --column id=… and --column reference=… what they are called, "
            "and with --delimiter what stands between them."
        )
    for name, column in form.columns.items():
        if name not in places and column != name:
            raise StackError(f"The report has no column {column!r}; it has {', '.join(heading)}.")


def _read(
    numbered: Iterable[tuple[int, bytes]], row: Callable[[str], Row], form: Form, reading: Reading
) -> Iterator[ReportLine | BadLine]:
    for number, raw in numbered:
        reading.octets += len(raw)
        if not raw.strip():
            continue
        reading.lines += 1
        try:
            line, moment = _line(number, row(raw.decode("utf-8").strip("\r\n")), form)
        except UnicodeDecodeError:
            reading.bad += 1
            yield BadLine(number, "it is not UTF-8")
        except (ValueError, csv.Error) as error:
            reading.bad += 1
            yield BadLine(number, str(error))
        else:
            if moment is not None:
                reading.saw(moment)
            yield line


def _line(number: int, row: Row, form: Form) -> tuple[ReportLine, dt.datetime | None]:
    provider_id, reference = row.get("id", "").strip(), row.get("reference", "").strip()
    if not provider_id and not reference:
        raise ValueError("it names no message: neither an id nor a reference")
    if max(len(provider_id), len(reference)) > _MOST_ID or "\0" in provider_id + reference:
        raise ValueError(f"an id has over {_MOST_ID} characters, or a NUL")
    word = row.get("state", "").strip().lower()
    if word not in form.words:
        shown = repr(word) if word.isalpha() and len(word) <= 20 else "of the line"
        raise ValueError(f"the state {shown} is not known; say with --word what it means")
    told = row.get("time", "").strip()
    moment = _moment(told) if told else None
    line = ReportLine(line=number, provider_id=provider_id, reference=reference, state=form.words[word])
    return line, moment


def _moment(told: str) -> dt.datetime:
    """ISO 8601 (UTC unless it says otherwise), or seconds, milliseconds or microseconds since 1970."""
    try:
        if told.isascii() and told.replace(".", "", 1).isdigit():
            number = float(told)
            for unit in (1e6, 1e3):
                if number >= 1e11 * (unit / 1e3):
                    return dt.datetime.fromtimestamp(number / unit, dt.UTC)
            return dt.datetime.fromtimestamp(number, dt.UTC)
        moment = dt.datetime.fromisoformat(told)
    except (ValueError, OverflowError, OSError):
        raise ValueError("the time is neither ISO 8601 nor a count since 1970") from None
    return moment if moment.tzinfo is not None else moment.replace(tzinfo=dt.UTC)


def word_meaning(told: str) -> tuple[str, "ReportedState.ValueType"]:
    """`NAME=delivered`; raises ValueError."""
    word, equals, meaning = told.partition("=")
    known = {"taken", "en_route", "delivered", "failed", "expired"}
    if not equals or meaning not in known:
        raise ValueError(f"say THEIRS=OURS with one of {', '.join(sorted(known))}")
    return word.strip().lower(), WORDS[meaning]
