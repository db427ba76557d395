"""What a file's cell means as JSON of a type: text becomes a number, money, a day, true or false."""

import datetime as dt
from collections.abc import Callable
from decimal import Decimal, InvalidOperation
from functools import lru_cache
from typing import Any
from zoneinfo import ZoneInfo

from services.cli.importing.mapping import Cell, TimeOf
from services.vocabulary.values import ValueMistake, ValueType, parse_time, time_to_micros, zone

Convert = Callable[[Any], Any]
"""Raises ValueMistake, whose texts hold no value."""

_TRUE = {"true", "t", "yes", "y", "1"}
_FALSE = {"false", "f", "no", "n", "0"}


def converter(value_type: ValueType, cell: Cell, currency: str) -> Convert:
    """Turns what a cell holds (never nothing) into the JSON that the catalogue checks."""
    match value_type:
        case ValueType.INT:
            return lambda raw: _whole(_scaled(raw, cell.times))
        case ValueType.NUMBER:
            return lambda raw: float(_scaled(raw, cell.times))
        case ValueType.MONEY:
            return lambda raw: _money(_scaled(raw, cell.times), cell.currency or currency)
        case ValueType.BOOL:
            return _truth
        case ValueType.DATE:
            return lambda raw: _day(raw, cell.format).isoformat()
        case ValueType.TIME:
            return _moment
        case ValueType.LIST:
            return lambda raw: _items(raw, cell.separator or ";")
        case _:
            return lambda raw: cell.prefix + text_of(raw)


def text_of(raw: Any) -> str:
    """A cell as text: as a CSV file would hold it."""
    if isinstance(raw, str):
        return raw
    if isinstance(raw, bool):
        return "true" if raw else "false"
    if isinstance(raw, dt.date | dt.datetime):
        return raw.isoformat()
    if isinstance(raw, float) and raw.is_integer() and abs(raw) < 2**53:
        return str(int(raw))
    return str(raw)


def _scaled(raw: Any, times: float | None) -> Decimal:
    if isinstance(raw, bool):
        raise ValueMistake("is true or false, not a number")
    try:
        number = Decimal(text_of(raw).strip())
    except InvalidOperation:
        raise ValueMistake("is not a number", "write it with a point: 12.50") from None
    if not number.is_finite():
        raise ValueMistake("is not a finite number")
    return number if times is None else number * Decimal(str(times))


def _whole(number: Decimal) -> int:
    if number != number.to_integral_value():
        raise ValueMistake("is not a whole number")
    return int(number)


def _money(number: Decimal, currency: str) -> dict[str, str]:
    return {"amount": f"{round(number, 6).normalize():f}", "currency": currency}


def _truth(raw: Any) -> bool:
    if isinstance(raw, bool):
        return raw
    word = text_of(raw).strip().lower()
    if word in _TRUE:
        return True
    if word in _FALSE:
        return False
    raise ValueMistake("is neither true nor false", "say in values: which words are true")


def _items(raw: Any, separator: str) -> list[str]:
    if isinstance(raw, list | tuple):
        return [text_of(item) for item in raw]
    return [part.strip() for part in text_of(raw).split(separator) if part.strip()]


def _day(raw: Any, text_format: str) -> dt.date:
    if isinstance(raw, dt.datetime):
        return raw.date()
    if isinstance(raw, dt.date):
        return raw
    text = text_of(raw).strip()
    try:
        if text_format:
            return dt.datetime.strptime(text, text_format).date()  # noqa: DTZ007 - a day has no zone
        return dt.date.fromisoformat(text[:10])
    except ValueError:
        raise ValueMistake("is not a day", "write it as 2026-11-02, or say its format") from None


def _moment(raw: Any) -> str:
    if isinstance(raw, dt.datetime) and raw.tzinfo is not None:
        return raw.isoformat()
    text = text_of(raw).strip()
    parse_time(text)
    return text


def moments(time: TimeOf) -> Callable[[Any], int]:
    """Turns what the time's column holds into microseconds since 1970; raises ValueMistake."""
    where = zone(time.zone or "UTC")
    if time.format in {"seconds", "millis"}:
        unit = Decimal(1_000_000 if time.format == "seconds" else 1_000)
        return lambda raw: int(_scaled(raw, None) * unit)
    noon = dt.time(time.hour)

    def read(raw: Any) -> int:
        if isinstance(raw, dt.datetime):
            return time_to_micros(raw if raw.tzinfo is not None else raw.replace(tzinfo=where))
        if isinstance(raw, dt.date):
            return _day_micros(raw, noon, where)
        text = text_of(raw).strip()
        try:
            if time.format:
                found = dt.datetime.strptime(text, time.format)  # noqa: DTZ007 - the zone comes below
                if found.tzinfo is None and not _tells_hour(time.format):
                    return _day_micros(found.date(), noon, where)
            elif len(text) <= 10:
                return _day_micros(dt.date.fromisoformat(text), noon, where)
            else:
                found = dt.datetime.fromisoformat(text)
            return time_to_micros(found if found.tzinfo is not None else found.replace(tzinfo=where))
        except (ValueError, OverflowError):
            raise ValueMistake(
                "is not a time", "write it as 2026-11-02 or 2026-11-02 08:15:00, or say its format"
            ) from None

    return read


def _tells_hour(text_format: str) -> bool:
    return any(word in text_format for word in ("%H", "%I", "%c", "%X"))


@lru_cache(maxsize=8192)
def _day_micros(day: dt.date, hour: dt.time, where: ZoneInfo) -> int:
    return time_to_micros(dt.datetime.combine(day, hour, where))
