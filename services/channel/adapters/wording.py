"""Values in a customer's language: money, dates, times, lengths of time, numbers."""

from collections.abc import Mapping
from dataclasses import dataclass
from datetime import date, datetime
from decimal import Decimal
from functools import lru_cache
from zoneinfo import ZoneInfo, ZoneInfoNotFoundError

from services.vocabulary.values import DAY, HOUR, MINUTE, Money, Value, ValueType, micros_to_time

_SYMBOLS = {"EUR": "€", "GBP": "£", "USD": "$"}
_MOST_CHARACTERS = 1_000


@dataclass(frozen=True, slots=True)
class _Language:
    months: tuple[str, ...]
    decimal_sign: str
    symbol_first: bool
    first_day: str
    units: tuple[tuple[str, str], tuple[str, str], tuple[str, str]]
    """Day, hour, minute: one and several."""
    clock: str
    """What stands between a day and its time."""


_LANGUAGES: Mapping[str, _Language] = {
    "en": _Language(
        months=(
            "January",
            "February",
            "March",
            "April",
            "May",
            "June",
            "July",
            "August",
            "September",
            "October",
            "November",
            "December",
        ),
        decimal_sign=".",
        symbol_first=True,
        first_day="1",
        units=(("day", "days"), ("hour", "hours"), ("minute", "minutes")),
        clock=" at ",
    ),
    "fr": _Language(
        months=(
            "janvier",
            "février",
            "mars",
            "avril",
            "mai",
            "juin",
            "juillet",
            "août",
            "septembre",
            "octobre",
            "novembre",
            "décembre",
        ),
        decimal_sign=",",
        symbol_first=False,
        first_day="1er",
        units=(("jour", "jours"), ("heure", "heures"), ("minute", "minutes")),
        clock=" à ",
    ),
}


class ShownNumber(float):
    """A number that compares as one and reads as its language writes it."""

    _decimal_sign = "."

    @classmethod
    def of(cls, value: float, language: str) -> "ShownNumber":
        """The number for readers of a language."""
        shown = cls(value)
        shown._decimal_sign = _language(language).decimal_sign
        return shown

    def __str__(self) -> str:
        text = f"{self:.0f}" if self.is_integer() else f"{Decimal(repr(float(self))):f}"
        return text.replace(".", self._decimal_sign)


def shown(value: Value, value_type: ValueType | None, language: str, zone: str) -> object:
    """A value as a template gets it: text, whole numbers and yes/no as they are, all else ready to read.

    Long texts are cut, so that no parameter can blow up a message.
    """
    if isinstance(value, Money):
        return _money(value, language)
    if isinstance(value, bool):
        return value
    if isinstance(value, date):
        return _day(value, language)
    if isinstance(value, int):
        if value_type is ValueType.TIME:
            return _moment(value, language, zone)
        if value_type is ValueType.DURATION:
            return _length(value, language)
        return value
    if isinstance(value, float):
        return ShownNumber.of(value, language)
    if isinstance(value, tuple):
        return tuple(item[:_MOST_CHARACTERS] for item in value[:_MOST_CHARACTERS])
    return value[:_MOST_CHARACTERS]


def _language(language: str) -> _Language:
    return _LANGUAGES.get(language, _LANGUAGES["en"])


def _money(value: Money, language: str) -> str:
    words = _language(language)
    amount = f"{value.amount:f}" if value.amount.as_tuple().exponent else f"{value.amount:f}.00"
    whole, _, cents = amount.partition(".")
    amount = f"{whole}{words.decimal_sign}{cents:0<2}"
    symbol = _SYMBOLS.get(value.currency)
    if symbol is None:
        return f"{amount} {value.currency}"
    return f"{symbol}{amount}" if words.symbol_first else f"{amount} {symbol}"


def _day(value: date, language: str) -> str:
    if language not in _LANGUAGES:
        return value.isoformat()
    words = _language(language)
    number = words.first_day if value.day == 1 else str(value.day)
    return f"{number} {words.months[value.month - 1]} {value.year}"


def _moment(micros: int, language: str, zone: str) -> str:
    try:
        moment = micros_to_time(micros).astimezone(_zone(zone))
    except (OverflowError, ValueError):
        return ""
    joint = _LANGUAGES[language].clock if language in _LANGUAGES else " "
    return f"{_day(datetime.date(moment), language)}{joint}{moment:%H:%M}"


@lru_cache(maxsize=512)
def _zone(name: str) -> ZoneInfo:
    try:
        return ZoneInfo(name)
    except (ZoneInfoNotFoundError, ValueError):
        return ZoneInfo("UTC")


def _length(micros: int, language: str) -> str:
    units = _language(language).units
    for size, (one, several) in zip((DAY, HOUR, MINUTE), units, strict=True):
        if micros >= size and micros % size == 0:
            count = micros // size
            return f"{count} {one if count == 1 else several}"
    count = max(0, round(micros / MINUTE))
    one, several = units[2]
    return f"{count} {one if count == 1 else several}"
