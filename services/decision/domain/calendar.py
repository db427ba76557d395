"""Days and billing cycles in a customer's zone."""

from datetime import date, datetime, time
from functools import lru_cache

from services.vocabulary.values import micros_to_time, time_to_micros, zone

_EPOCH = date(1970, 1, 1).toordinal()
_LONGEST = (31, 28, 31, 30, 31, 30, 31, 31, 30, 31, 30, 31)


def local(micros: int, zone_name: str) -> datetime:
    """The moment on the customer's clock."""
    return micros_to_time(micros).astimezone(zone(zone_name))


def day_number(day: date) -> int:
    """Days since 1970-01-01."""
    return day.toordinal() - _EPOCH


def day_of(number: int) -> date:
    """The calendar day of a day number."""
    return date.fromordinal(number + _EPOCH)


@lru_cache(maxsize=4096)
def local_day(micros: int, zone_name: str) -> int:
    """The day number of a moment in a zone."""
    return local(micros, zone_name).toordinal() - _EPOCH


@lru_cache(maxsize=16_384)
def day_start(number: int, zone_name: str) -> int:
    """The first moment of a local day, in micros."""
    return time_to_micros(datetime.combine(day_of(number), time(), zone(zone_name)))


@lru_cache(maxsize=16_384)
def cycle_of(number: int, cycle_day: int) -> int:
    """The billing cycle (year * 12 + month - 1 of its first day) in which a local day falls."""
    day = day_of(number)
    index = day.year * 12 + day.month - 1
    return index if number >= cycle_start(index, cycle_day) else index - 1


@lru_cache(maxsize=4096)
def cycle_start(index: int, cycle_day: int) -> int:
    """The day number on which a cycle begins: `cycle_day`, or the month's last day when it is shorter."""
    year, month = divmod(index, 12)
    longest = _LONGEST[month]
    if month == 1 and (year % 4 == 0 and (year % 100 != 0 or year % 400 == 0)):
        longest = 29
    return day_number(date(year, month + 1, min(max(cycle_day, 1), longest)))


@lru_cache(maxsize=4096)
def cycle_label(index: int) -> str:
    """A cycle as events name it: YYYY-MM of its first day."""
    year, month = divmod(index, 12)
    return f"{year:04d}-{month + 1:02d}"


def cycle_index(label: str) -> int | None:
    """The cycle that a label names; None when it is no label."""
    year, dash, month = label.partition("-")
    if dash and len(year) == 4 and year.isdigit() and month.isdigit() and 1 <= int(month) <= 12:
        return int(year) * 12 + int(month) - 1
    return None
