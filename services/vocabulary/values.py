"""Typed values: what a trait, an event field or an action parameter can hold, and how JSON becomes one."""

import re
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from datetime import UTC, date, datetime, timedelta
from decimal import Decimal, InvalidOperation
from enum import StrEnum
from functools import lru_cache
from typing import TypeAlias
from zoneinfo import ZoneInfo, ZoneInfoNotFoundError

SECOND = 1_000_000
MINUTE = 60 * SECOND
HOUR = 60 * MINUTE
DAY = 24 * HOUR
WEEK = 7 * DAY

_EPOCH = datetime(1970, 1, 1, tzinfo=UTC)
_MICROSECOND = timedelta(microseconds=1)
_INT64_MAX = 2**63 - 1
_LONGEST = 36_525 * DAY
_UNITS = {"s": SECOND, "m": MINUTE, "h": HOUR, "d": DAY, "w": WEEK}
_DURATION = re.compile(r"([0-9]{1,9})\s?([smhdw])")
_TIME = re.compile(
    r"[0-9]{4}-[0-9]{2}-[0-9]{2}[Tt ][0-9]{2}:[0-9]{2}:[0-9]{2}(\.[0-9]{1,9})?([Zz]|[+-][0-9]{2}:[0-9]{2})"
)
_DATE = re.compile(r"[0-9]{4}-[0-9]{2}-[0-9]{2}")
_AMOUNT = re.compile(r"-?[0-9]{1,15}(\.[0-9]{1,6})?")
_CURRENCY = re.compile(r"[A-Z]{3}")
_CYCLE = re.compile(r"[0-9]{4}-(0[1-9]|1[0-2])")
_COUNTRY = re.compile(r"[A-Z]{2}")
_LANGUAGE = re.compile(r"[a-z]{2,3}(-[A-Z][a-z]{3})?(-([A-Z]{2}|[0-9]{3}))?")


class ValueType(StrEnum):
    """The types of the catalogue."""

    TEXT = "text"
    INT = "int"
    NUMBER = "number"
    MONEY = "money"
    BOOL = "bool"
    TIME = "time"
    DATE = "date"
    DURATION = "duration"
    ENUM = "enum"
    LIST = "list"
    MAP = "map"


@dataclass(frozen=True, slots=True, order=False)
class Money:
    """An exact amount in one currency (ISO 4217); amounts of two currencies are never compared."""

    amount: Decimal
    currency: str

    def __str__(self) -> str:
        """Amount, a space, currency: ``12.50 EUR``."""
        return f"{self.amount:f} {self.currency}"


Value: TypeAlias = str | int | float | bool | Money | date | tuple[str, ...]
"""text and enum: str; int: int; number: float; time and duration: int microseconds; list: tuple of str."""

FieldValue: TypeAlias = Value | Mapping[str, Value | None]
"""A value, or (type ``map``) traits by name, None taking a trait away."""

Check: TypeAlias = Callable[[object], Value]
"""Turns JSON into a value; raises ValueMistake."""

FieldCheck: TypeAlias = Callable[[object], FieldValue]
"""The same for a field of an event, which may also hold traits by name."""


class ValueMistake(ValueError):  # noqa: N818 - a mistake in what somebody sent, not a failure of ours
    """What was given does not fit its type; ``suggestion`` says what would."""

    def __init__(self, message: str, suggestion: str = "") -> None:
        """Both texts name no value that could identify a person."""
        super().__init__(message)
        self.message = message
        self.suggestion = suggestion


class FieldError(ValueError):
    """A field that does not fit the catalogue: where, what is wrong, what would be right."""

    def __init__(self, field: str, message: str, suggestion: str = "") -> None:
        """``field`` is a dotted path such as ``data.mb``."""
        super().__init__(f"{field}: {message}" + (f"; {suggestion}" if suggestion else ""))
        self.field = field
        self.message = message
        self.suggestion = suggestion


def time_to_micros(moment: datetime) -> int:
    """Microseconds since 1970-01-01T00:00:00Z of a moment that has a zone."""
    return (moment - _EPOCH) // _MICROSECOND


def micros_to_time(micros: int) -> datetime:
    """The moment in UTC."""
    return _EPOCH + timedelta(microseconds=micros)


def parse_time(text: str) -> int:
    """RFC 3339 to microseconds; raises ValueMistake. Digits past the microsecond are cut off."""
    if _TIME.fullmatch(text) is None:
        raise ValueMistake(
            "is not a time of RFC 3339", "write it as 2026-11-02T08:15:00Z, with Z or an offset"
        )
    try:
        return time_to_micros(datetime.fromisoformat(text.upper()))
    except (ValueError, OverflowError):
        raise ValueMistake("is not a time that exists", "check month, day, hour, minute and second") from None


def format_time(micros: int) -> str:
    """RFC 3339 in UTC, with as many digits as there are: ``2026-11-02T08:15:00Z``."""
    return micros_to_time(micros).isoformat().replace("+00:00", "Z")


def parse_date(text: str) -> date:
    """ISO 8601 calendar day; raises ValueMistake."""
    if _DATE.fullmatch(text) is None:
        raise ValueMistake("is not a date", "write it as 2026-11-02")
    try:
        return date.fromisoformat(text)
    except ValueError:
        raise ValueMistake("is not a day that exists", "check month and day") from None


def parse_duration(text: str) -> int:
    """``45s``, ``30m`` (minutes), ``24h``, ``7d`` or ``2w`` to microseconds; raises ValueMistake."""
    match = _DURATION.fullmatch(text.strip())
    if match is None:
        raise ValueMistake(
            "is not a length of time", "write a number and one of s, m (minutes), h, d, w: 24h"
        )
    micros = int(match[1]) * _UNITS[match[2]]
    if micros > _LONGEST:
        raise ValueMistake("is longer than a hundred years", "write a shorter time")
    return micros


def format_duration(micros: int) -> str:
    """The shortest text that ``parse_duration`` reads back; parts below a second are cut off."""
    for unit in ("d", "h", "m"):
        if micros and micros % _UNITS[unit] == 0:
            return f"{micros // _UNITS[unit]}{unit}"
    return f"{micros // SECOND}s"


def parse_money(text: str) -> Money:
    """``15000 EUR`` (as written in rule sets) to Money; raises ValueMistake."""
    amount, _, currency = text.strip().partition(" ")
    return make_money(amount, currency.strip())


def make_money(amount: object, currency: object) -> Money:
    """Checks both parts; raises ValueMistake. The amount is decimal text with at most six decimals."""
    if not isinstance(amount, str) or _AMOUNT.fullmatch(amount) is None:
        raise ValueMistake(
            "has an amount that is not decimal text", 'write {"amount": "12.50", "currency": "EUR"}'
        )
    if not isinstance(currency, str) or _CURRENCY.fullmatch(currency) is None:
        raise ValueMistake("has no ISO 4217 currency", 'write {"amount": "12.50", "currency": "EUR"}')
    try:
        return Money(Decimal(amount), currency)
    except InvalidOperation:  # pragma: no cover - the pattern admits nothing that Decimal refuses
        raise ValueMistake("has an amount that is not decimal text") from None


@lru_cache(maxsize=1024)
def zone(name: str) -> ZoneInfo:
    """The time zone of that IANA name; raises ValueMistake."""
    try:
        return ZoneInfo(name)
    except (ZoneInfoNotFoundError, ValueError, OSError):
        raise ValueMistake("is not a time zone of the IANA list", "write it as Europe/Paris") from None


# --- one check per type ---------------------------------------------------------------------------------


def _type_name(raw: object) -> str:
    names = {
        str: "text",
        bool: "true or false",
        int: "a whole number",
        float: "a number",
        list: "a list",
        dict: "an object",
    }
    return names.get(type(raw), type(raw).__name__)


def check_text(raw: object) -> str:
    """Text without NUL (PostgreSQL stores none)."""
    if not isinstance(raw, str):
        raise ValueMistake(f"is {_type_name(raw)}, not text", "write it in quotes")
    if "\0" in raw:
        raise ValueMistake("has a NUL character", "leave it out")
    return raw


def check_int(raw: object) -> int:
    """A whole number of 64 bits; ``3.0`` is one, ``"3"`` and true are not."""
    if type(raw) is int:
        if -_INT64_MAX <= raw <= _INT64_MAX:
            return raw
        raise ValueMistake("does not fit 64 bits", "send a smaller number")
    if type(raw) is float and raw.is_integer() and abs(raw) < 2**53:
        return int(raw)
    raise ValueMistake(f"is {_type_name(raw)}, not a whole number", "write it without quotes or decimals: 3")


def check_number(raw: object) -> float:
    """A finite number; ``"3.5"`` and true are none."""
    kind = type(raw)
    if kind is float:
        if raw - raw == 0.0:  # type: ignore[operator]  # not NaN, not infinite
            return raw  # type: ignore[return-value]
        raise ValueMistake("is not finite", "send a finite number")
    if kind is int:
        if -_INT64_MAX <= raw <= _INT64_MAX:  # type: ignore[operator]
            return float(raw)  # type: ignore[arg-type]
        raise ValueMistake("does not fit 64 bits", "send a smaller number")
    raise ValueMistake(f"is {_type_name(raw)}, not a number", "write it without quotes: 120.5")


def check_money(raw: object) -> Money:
    """``{"amount": "12.50", "currency": "EUR"}``."""
    if not isinstance(raw, dict) or raw.keys() != {"amount", "currency"}:
        raise ValueMistake(
            "is not money: an object with amount and currency", 'write {"amount": "12.50", "currency": "EUR"}'
        )
    return make_money(raw["amount"], raw["currency"])


def check_bool(raw: object) -> bool:
    """True or false; 0, 1 and texts are neither."""
    if raw is True or raw is False:
        return raw
    raise ValueMistake(f"is {_type_name(raw)}, not true or false", "write true or false, without quotes")


def check_time(raw: object) -> int:
    """RFC 3339 text to microseconds."""
    return parse_time(check_text(raw))


def check_date(raw: object) -> date:
    """ISO 8601 text to a day."""
    return parse_date(check_text(raw))


def check_duration(raw: object) -> int:
    """``24h`` to microseconds."""
    return parse_duration(check_text(raw))


def check_list(raw: object) -> tuple[str, ...]:
    """A JSON list of texts."""
    if not isinstance(raw, list | tuple):
        raise ValueMistake(f"is {_type_name(raw)}, not a list of texts", 'write ["a", "b"]')
    return tuple([check_text(item) for item in raw])


_CHECKS: dict[ValueType, Check] = {
    ValueType.TEXT: check_text,
    ValueType.INT: check_int,
    ValueType.NUMBER: check_number,
    ValueType.MONEY: check_money,
    ValueType.BOOL: check_bool,
    ValueType.TIME: check_time,
    ValueType.DATE: check_date,
    ValueType.DURATION: check_duration,
    ValueType.ENUM: check_text,
    ValueType.LIST: check_list,
}

FORMATS: dict[str, tuple[Callable[[str], object], str]] = {
    "zone": (zone, "write a name of the IANA list: Europe/Paris"),
    "cycle": (_CYCLE.fullmatch, "write a billing cycle as YYYY-MM: 2026-11"),
    "country": (_COUNTRY.fullmatch, "write two capital letters of ISO 3166: ES"),
    "language": (_LANGUAGE.fullmatch, "write a language as fr, fr-CA or zh-Hant"),
}
"""Shapes a text can be held to, by name in the catalogue, with what would be right."""


def value_check(
    value_type: ValueType,
    *,
    enum: tuple[str, ...] = (),
    text_format: str = "",
    least: float | None = None,
    most: float | None = None,
) -> Check:
    """The check for one field or trait, made once and called for every value.

    Raises ValueMistake when called with what does not fit.
    """
    check = _CHECKS[value_type]
    if enum:
        return _enum_check(enum)
    if text_format:
        return _format_check(text_format)
    if least is not None or most is not None:
        return _range_check(check, least, most)
    return check


def _enum_check(enum: tuple[str, ...]) -> Check:
    allowed = {word: word for word in enum}

    def check(raw: object) -> Value:
        found = allowed.get(raw) if isinstance(raw, str) else None
        if found is None:
            raise ValueMistake("is none of the words allowed", "write one of " + ", ".join(enum))
        return found

    return check


def _format_check(name: str) -> Check:
    fits, suggestion = FORMATS[name]

    def check(raw: object) -> Value:
        text = check_text(raw)
        if not fits(text):
            raise ValueMistake(f"is not a {name}", suggestion)
        return text

    return check


def _range_check(inner: Check, least: float | None, most: float | None) -> Check:
    low = float("-inf") if least is None else least
    high = float("inf") if most is None else most

    def check(raw: object) -> Value:
        value = inner(raw)
        if not low <= value <= high:  # type: ignore[operator]
            bounds = [
                f"at least {least:g}" if least is not None else "",
                f"at most {most:g}" if most is not None else "",
            ]
            raise ValueMistake("is out of range", "send a number of " + " and ".join(b for b in bounds if b))
        return value

    return check


def to_json(value: FieldValue, value_type: ValueType | None = None) -> object:
    """The JSON form of a value; the type tells times and durations (both int) from whole numbers."""
    if isinstance(value, str | float | bool):
        return value
    if isinstance(value, Money):
        return {"amount": f"{value.amount:f}", "currency": value.currency}
    if isinstance(value, date):
        return value.isoformat()
    if isinstance(value, tuple):
        return list(value)
    if isinstance(value, Mapping):
        return {name: None if item is None else to_json(item) for name, item in value.items()}
    if value_type is ValueType.TIME and isinstance(value, int):
        return format_time(value)
    if value_type is ValueType.DURATION and isinstance(value, int):
        return format_duration(value)
    return value
