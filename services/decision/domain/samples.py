"""Values that stand for all others: one of each region into which conditions divide what they look at.

Within a region no condition tells two values apart, so what holds for the one chosen holds for all.
"""

import math
from collections.abc import Callable, Iterable, Iterator, Sequence
from dataclasses import dataclass, field
from datetime import date
from decimal import Decimal
from itertools import combinations
from typing import Any

from services.decision.domain.language.types import Kind
from services.vocabulary.values import DAY, FORMATS

MOST_ITEMS = 4
"""So many items of a list are told apart; their subsets are looked at."""

_WHOLE = frozenset({Kind.INT, Kind.DATE, Kind.TIME, Kind.DURATION})
_NICE = (1, 10, 0, 100, 1000, 10_000, 100_000)
_OF_FORMAT: dict[str, tuple[str, ...]] = {
    "country": ("FR", "ES", "DE", "IT", "GB", "US", "JP"),
    "language": ("en", "fr", "de", "es", "it", "nl", "sv"),
    "zone": ("Europe/Paris", "UTC", "Europe/Lisbon", "America/New_York", "Asia/Tokyo"),
    "cycle": tuple(f"2026-{month:02}" for month in range(1, 13)),
}


@dataclass(frozen=True, slots=True)
class Possible:
    """What an expression can be at all. `words`: all its values, if few. `least` and `most`: included."""

    kind: Kind
    missing: bool = True
    words: tuple[str, ...] = ()
    format: str = ""
    least: float | None = None
    most: float | None = None


@dataclass(slots=True)
class Named:
    """What conditions compare an expression with: values, beginnings of texts, items of lists."""

    values: set[Any] = field(default_factory=set)
    starts: set[str] = field(default_factory=set)
    items: set[str] = field(default_factory=set)


def samples_of(possible: Possible, named: Named) -> tuple[Any, ...] | None:
    """One value of each region, None standing for a missing one; None instead of all: too many regions."""
    match possible.kind:
        case Kind.BOOL:
            found: list[Any] = [True, False]
        case Kind.LIST:
            if len(named.items) > MOST_ITEMS:
                return None
            found = list(_subsets(sorted(named.items)))
        case Kind.TEXT:
            found = list(_texts(possible, named))
        case _:
            found = list(_ordered(possible, named.values))
    return (*found, None) if possible.missing else tuple(found)


def _subsets(items: Sequence[str]) -> Iterator[tuple[str, ...]]:
    for size in range(1, len(items) + 1):
        yield from combinations(items, size)
    yield ()


def _texts(possible: Possible, named: Named) -> Iterator[str]:
    known = sorted({str(value) for value in named.values})
    if possible.words:
        yield from possible.words
        return
    fits = FORMATS[possible.format][0] if possible.format else None
    starts = sorted({*named.starts, ""})
    candidates = [*known, *starts, *(_OF_FORMAT.get(possible.format, ()))]
    candidates += [start + end for start in starts for end in _endings(start, {*known, *starts})]
    seen: set[tuple[str | None, frozenset[str]]] = set()
    for text in dict.fromkeys(candidates):
        region = (text if text in known else None, frozenset(s for s in starts if text.startswith(s)))
        if text and region not in seen and (fits is None or _fits(fits, text)):
            seen.add(region)
            yield text


def _endings(start: str, known: Iterable[str]) -> Iterator[str]:
    """Endings after which a text is none of those known, nor begins like a longer one of them."""
    yield from ("x" if start else "another", "~")
    taken = {text[len(start)] for text in known if text.startswith(start) and len(text) > len(start)}
    yield from (letter for letter in "abcdefghijklmnopqrstuvwxyz" if letter not in taken)


def _fits(fits: Callable[[str], object], text: str) -> bool:
    try:
        return bool(fits(text))
    except ValueError:
        return False


def _ordered(possible: Possible, values: Iterable[Any]) -> Iterator[Any]:
    kind = possible.kind
    whole = kind in _WHOLE
    edges = sorted({_as_number(value, kind) for value in values})
    least = None if possible.least is None else _as_number(possible.least, kind)
    most = None if possible.most is None else _as_number(possible.most, kind)
    step = DAY if kind in {Kind.TIME, Kind.DURATION} else 1
    for low, high in zip([None, *edges], [*edges, None], strict=True):
        for between in _between(low, high, least, most, step):
            if not whole or between == int(between):
                yield _of_number(between, kind)
                break
        if high is not None and _inside(high, least, most) and (not whole or high == int(high)):
            yield _of_number(high, kind)


def _between(low: Any, high: Any, least: Any, most: Any, step: int) -> Iterator[Any]:
    """Numbers above `low` and below `high`, the most telling first."""
    candidates: list[Any] = []
    if low is None and high is None:
        candidates += [number * step for number in _NICE]
    elif low is None:
        candidates += [high - step, high - 1, math.ceil(high) - 1]
    elif high is None:
        candidates += [low + step, low + 1, math.floor(low) + 1]
    else:
        middle = (low + high) / 2
        candidates += [low + step, math.floor(middle), math.floor(low) + 1, math.ceil(high) - 1, middle]
    candidates += [bound for bound in (least, most) if bound is not None]
    if least is not None and high is not None:
        candidates.append((least + high) / 2)
    if most is not None and low is not None:
        candidates.append((most + low) / 2)
    for number in candidates:
        if (low is None or number > low) and (high is None or number < high) and _inside(number, least, most):
            yield number


def _inside(number: Any, least: Any, most: Any) -> bool:
    return (least is None or number >= least) and (most is None or number <= most)


def _as_number(value: Any, kind: Kind) -> Any:
    if kind is Kind.MONEY:
        return value if isinstance(value, Decimal) else Decimal(str(value))
    return value.toordinal() if isinstance(value, date) else value


def _of_number(number: Any, kind: Kind) -> Any:
    if kind is Kind.DATE:
        return date.fromordinal(max(1, int(number)))
    if kind is Kind.NUMBER:
        return float(number)
    return number if kind is Kind.MONEY else int(number)
