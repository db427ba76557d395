"""Values in a customer's language, as Unicode CLDR has it (by Babel): money, dates, times, numbers, lists."""

import re
from collections.abc import Iterable
from datetime import date, datetime
from decimal import Decimal
from functools import cached_property, lru_cache
from typing import Any, Literal
from zoneinfo import ZoneInfo, ZoneInfoNotFoundError

from babel.core import Locale
from babel.dates import format_date, format_time
from babel.lists import format_list
from babel.numbers import format_currency, format_decimal, format_percent

from services.channel.adapters.templating.locales import cldr_locale
from services.vocabulary.values import DAY, HOUR, MINUTE, SECOND, Money, Value, ValueType, micros_to_time

MOST_CHARACTERS = 1_000
"""Of a text that comes as a value; what is longer is cut."""
MOST_ITEMS = 100
"""Of a list that comes as a value."""
FORMATS = ("short", "medium", "long", "full")

_KEPT = 256
# What no name and no note needs, but who deceives does: control characters, marks that turn the direction of
# reading, and characters without width. Joiners stay where scripts and emoji need them.
_HIDDEN = re.compile(
    "[\\x00-\\x08\\x0b-\\x1f\\x7f-\\x9f\\xad\\u061c\\u115f\\u1160\\u180e\\u200b\\u200e\\u200f\\u2028-\\u202e"
    "\\u2060-\\u206f\\u3164\\ufeff\\uffa0\\ufff0-\\ufffb\\ud800-\\udfff\\U000e0000-\\U000e0fff]"
    "|(?<![\\u0590-\\U0010ffff])[\\u200c\\u200d]+"
)
# CLDR parts a currency that is written in letters from its digits (currencySpacing); Babel does not.
_GLUED = re.compile("(?<=[A-Z])(?=[0-9])")
# Narrow and no-break blanks and typographic signs would cost an SMS half of its characters.
_FOR_SMS = str.maketrans({"\xa0": " ", "\u202f": " ", "\u2009": " ", "’": "'", "−": "-"})
_UNITS = ((DAY, "day"), (HOUR, "hour"), (MINUTE, "minute"), (SECOND, "second"))

DateFormat = Literal["short", "medium", "long", "full"]


class Shown(str):
    """A value ready to be read, which filters can still write in another way."""

    value: Value
    type: ValueType | None
    __slots__ = ("type", "value")

    @classmethod
    def of(cls, text: str, value: Value, value_type: ValueType | None) -> "Shown":
        """The text for a value."""
        shown = cls(text)
        shown.value, shown.type = value, value_type
        return shown


class ShownNumber(float):
    """A number that compares as one and reads as its language writes it."""

    text: str
    __slots__ = ("text",)

    @classmethod
    def of(cls, value: float, text: str) -> "ShownNumber":
        """The number with its text."""
        shown = cls(value)
        shown.text = text
        return shown

    def __str__(self) -> str:
        return self.text


class Words:
    """How one language, in one zone, says values; `plain`: without what only costs room in an SMS.

    Amounts, days and numbers that were said are remembered, since most messages of a campaign say the same.
    """

    def __init__(self, tag: str, zone: str, *, plain: bool = False) -> None:
        self.tag = tag
        self._zone = _zone(zone)
        self._plain = plain
        self._money = lru_cache(_KEPT)(self._say_money)
        self._number = lru_cache(_KEPT)(self._say_number)
        self._day = lru_cache(_KEPT)(self._say_day)

    @cached_property
    def locale(self) -> Locale:
        """What CLDR knows of the language."""
        return cldr_locale(self.tag)

    def warm_up(self) -> None:
        """Loads what CLDR knows of the language (some milliseconds), so that no message waits for it."""
        self.money(Money(Decimal("0.5"), "EUR"))
        self.percent(0.5)
        self.moment(0)
        self.duration(DAY)
        self.list(("a", "b", "c"))

    def shown(self, value: Value, value_type: ValueType | None) -> object:
        """A value as a template gets it: whole numbers and yes/no as they are, all else ready to read.

        Long texts and lists are cut, and what cannot be seen is taken out of them.
        """
        if isinstance(value, str):
            return clean(value)
        if isinstance(value, bool):
            return value
        if isinstance(value, Money):
            return Shown.of(self.money(value), value, ValueType.MONEY)
        if isinstance(value, date):
            return Shown.of(self.day(value, "long"), value, ValueType.DATE)
        if isinstance(value, int):
            if value_type is ValueType.TIME:
                return Shown.of(self.moment(value), value, value_type)
            if value_type is ValueType.DURATION:
                return Shown.of(self.duration(value), value, value_type)
            return value
        if isinstance(value, float):
            return ShownNumber.of(value, self.number(value, grouped=False))
        return tuple([clean(item) for item in value[:MOST_ITEMS]])

    def money(self, value: Money) -> str:
        """`€12.50`, `12,50 €`."""
        return self._money(value.amount, value.currency)

    def number(self, value: float, decimals: int | None = None, *, grouped: bool = True) -> str:
        """`1,234.5`, `1 234,5`; all decimals there are, unless their number is given."""
        return self._number(value, decimals, grouped)

    def percent(self, value: float, decimals: int = 0) -> str:
        """0.8 is `80%`, `80 %`."""
        pattern = self.locale.percent_formats[None].pattern
        if decimals:
            pattern = pattern.replace("0%", "0." + "0" * decimals + "%", 1).replace(
                "0\xa0%", "0." + "0" * decimals + "\xa0%", 1
            )
        return self._fit(format_percent(_exact(value), format=pattern, locale=self.locale))

    def day(self, value: date, form: DateFormat) -> str:
        """`1 December 2026`, in the order and with the names of the language."""
        return self._day(value, form)

    def local(self, micros: int) -> datetime | None:
        """The moment on the recipient's clock; None: beyond the calendar."""
        try:
            return micros_to_time(micros).astimezone(self._zone)
        except (OverflowError, ValueError):
            return None

    def time(self, moment: datetime, form: DateFormat = "short") -> str:
        """`7:00 PM`, `19:00`."""
        return self._fit(format_time(moment, form, tzinfo=moment.tzinfo, locale=self.locale))

    def moment(self, micros: int, form: DateFormat = "long") -> str:
        """Day and time in the recipient's zone; empty: beyond the calendar."""
        moment = self.local(micros)
        if moment is None:
            return ""
        joint = str(self.locale.datetime_formats[form])
        day = self.day(datetime.date(moment), form)
        return joint.replace("'", "").replace("{1}", day).replace("{0}", self.time(moment))

    def duration(self, micros: int) -> str:
        """In the largest unit that says it in whole numbers: `2 days`, `90 minutes`."""
        for size, unit in _UNITS:
            if micros >= size and micros % size == 0:
                return self._length(micros // size, unit)
        if 0 < micros < MINUTE:
            return self._length(max(1, round(micros / SECOND)), "second")
        return self._length(max(0, round(micros / MINUTE)), "minute")

    def list(self, items: Iterable[object], style: Literal["standard", "or"] = "standard") -> str:
        """`a, b and c`."""
        return self._fit(format_list([str(item) for item in items], style, self.locale))

    def plural(self, count: float) -> str:
        """The plural form that the number takes, such as `one`, `few` or `other`."""
        return str(self.locale.plural_form(_exact(count)))

    def _fit(self, text: str) -> str:
        return text.translate(_FOR_SMS) if self._plain else text

    def _say_money(self, amount: Decimal, currency: str) -> str:
        text = format_currency(amount, currency, locale=self.locale)
        return self._fit(_GLUED.sub("\xa0", text))

    def _say_number(self, value: float, decimals: int | None, grouped: bool) -> str:  # noqa: FBT001 - cached
        number = _exact(value)
        if decimals is not None:
            number = round(number, decimals)
        places = max(0, -int(number.as_tuple().exponent)) if decimals is None else decimals
        pattern = "#,##0." + "0" * places if places else "#,##0"
        return self._fit(
            format_decimal(number, pattern, self.locale, decimal_quantization=False, group_separator=grouped)
        )

    def _say_day(self, value: date, form: DateFormat) -> str:
        text = format_date(value, form, self.locale)
        if value.day == 1 and self.locale.language == "fr" and form != "short":
            text = text.replace("1 ", "1er ", 1)  # CLDR lacks the one ordinal that French dates have
        return self._fit(text)

    def _length(self, count: int, unit: str) -> str:
        form = self.plural(count)
        for language in (self.locale, cldr_locale("en")):
            patterns: Any = language.unit_display_names  # loads the data
            patterns = language._data["unit_patterns"][f"duration-{unit}"]  # noqa: SLF001 - Babel has no other way
            for width in ("long", "short"):
                known = patterns.get(width, {})
                pattern = known.get(form) or known.get("other")
                if pattern:
                    return self._fit(pattern.replace("{0}", self.number(count, grouped=False)))
        return f"{count} {unit}"


@lru_cache(maxsize=256)
def words_of(tag: str, zone: str, *, plain: bool) -> Words:
    """The words of a language in a zone, kept with what they said before."""
    return Words(tag, zone, plain=plain)


def clean(text: str) -> str:
    """A text that came as a value: cut, and without what cannot be seen."""
    text = text[:MOST_CHARACTERS]
    return text if text.isascii() and text.isprintable() else _HIDDEN.sub("", text)


@lru_cache(maxsize=512)
def _zone(name: str) -> ZoneInfo:
    try:
        return ZoneInfo(name)
    except (ZoneInfoNotFoundError, ValueError, OSError):
        return ZoneInfo("UTC")


def _exact(value: float) -> Decimal:
    """The number as it is written, without what binary adds: 2.0 is 2."""
    number = Decimal(repr(float(value))) if isinstance(value, float) else Decimal(value)
    return Decimal(int(number)) if number == number.to_integral_value() else number
