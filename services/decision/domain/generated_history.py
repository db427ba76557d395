"""Histories made up for a window: events that bring it to about a value, some where versions differ."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

from services.decision.domain.generated_values import near, writer
from services.decision.domain.language.ast import (
    Comparison,
    EntryField,
    Literal,
    OneOf,
    expressions_of,
    leaves_of,
    walk,
)
from services.decision.domain.language.types import Kind, kind_of
from services.vocabulary.catalogue import CYCLE_DAYS
from services.vocabulary.values import DAY, HOUR, SECOND, ValueMistake, format_duration

if TYPE_CHECKING:
    import random
    from collections.abc import Iterator, Sequence

    from services.decision.domain.language.ast import Window
    from services.vocabulary.catalogue import Catalogue, Field

_MOST_EVENTS = 12


def events_for(
    window: Window, amount: Any, others: Sequence[Window], catalogue: Catalogue, chance: random.Random
) -> Iterator[dict[str, Any]]:
    """Events as tests write them. ``others``: what the window is in each version; ``amount``: its value."""
    spans = sorted({_span(each) for each in others})
    fields = catalogue.events[window.type].fields
    count = 1
    if window.function in {"count", "distinct"} and isinstance(amount, int):
        count = min(max(amount, 0), _MOST_EVENTS)
    edges = [edge for span in spans for edge in (span - HOUR, span + HOUR)]
    for number in range(count):
        ago = chance.choice((*edges, HOUR, HOUR * (number + 2), spans[0] * (number + 1) // (count + 1)))
        if window.function == "since" and isinstance(amount, int):
            ago = amount
        event: dict[str, Any] = {"type": window.type, "ago": format_duration(max(ago, SECOND))}
        if window.field:
            each = amount if window.function != "distinct" else f"v{number}"
            _put(event, fields[window.field], number if _numeric(fields[window.field], each) else each)
        for name, value in _asked_by_where(others, chance):
            _put(event, fields[name], value)
        yield event


def _numeric(field: Field, value: Any) -> bool:
    """Whether a made-up text stands where a number belongs."""
    return isinstance(value, str) and kind_of(field.type) is not Kind.TEXT


def _put(event: dict[str, Any], field: Field, value: Any) -> None:
    """The field with that value, if the catalogue lets it stand there."""
    kind = kind_of(field.type)
    if kind is None:
        return
    try:
        written = writer(kind)(value)
        if kind is not Kind.MONEY:
            field.check(written)
    except (ValueMistake, AttributeError, TypeError):
        return
    event[field.name] = written


def _asked_by_where(windows: Sequence[Window], chance: random.Random) -> Iterator[tuple[str, Any]]:
    """Fields that a window's `where` asks for, with values at what it asks."""
    for window in windows:
        for part in walk(window.where) if window.where is not None else ():
            names = [
                leaf.name
                for each in expressions_of(part)
                for leaf in leaves_of(each)
                if isinstance(leaf, EntryField)
            ]
            match part:
                case Comparison(right=Literal(value=wanted, kind=kind)) if names:
                    yield names[0], chance.choice(near(wanted, kind))
                case OneOf(values=values) if names:
                    yield names[0], chance.choice(values)
                case _:
                    pass


def _span(window: Window) -> int:
    """About how far a window reaches back, in micros."""
    days = {"days": 1, "cycles": CYCLE_DAYS}.get(window.over)
    if window.over == "ever":
        return 30 * DAY
    return window.before + (window.last if days is None else window.last * days * DAY)
