"""Inline SVG pictures of a simulation: what became of what was asked for, day by day, group by group."""

from __future__ import annotations

import math
from typing import TYPE_CHECKING, Any

from markupsafe import Markup

from services.cli.simulating.telling import day_words

if TYPE_CHECKING:
    from collections.abc import Iterable, Mapping, Sequence

DRAFT_COLOUR, LIVE_COLOUR = "#2f6fde", "#aab4c5"
WIDTH = 860
_LABEL = 250
_ROW = 46
_STEP = 84
_MOST_LOSSES = 2
_WIDEST = 44.0


def funnel(stages: Sequence[tuple[str, int, int | None, Sequence[tuple[str, int]]]]) -> Markup:
    """Stages from (label, with the drafts, live, what the drafts lose after it); None: no live world."""
    most = max((max(draft, live or 0) for _, draft, live, _ in stages), default=0) or 1
    room = WIDTH - _LABEL - 80
    parts = [_begin(_STEP * len(stages) - 30)]
    for place, (label, draft, live, lost) in enumerate(stages):
        y = _STEP * place + 4
        parts += [
            Markup("<text class='strong' x='{}' y='{}' text-anchor='end'>{}</text>").format(
                _LABEL - 14, y + 20, label
            ),
            _bar(y, draft, room * draft / most, DRAFT_COLOUR, 28),
        ]
        if live is not None:
            parts.append(_bar(y + 30, live, room * live / most, LIVE_COLOUR, 12))
        if lost and place + 1 < len(stages):
            parts.append(
                Markup("<text class='loss' x='{}' y='{}'>{}</text>").format(_LABEL, y + 64, _lost(lost))
            )
    return Markup("").join([*parts, Markup("</svg>")])


def pairs(rows: Sequence[tuple[str, int, int | None]]) -> Markup:
    """Bars from (label, with the drafts, live), on one common scale; None: there is no live world."""
    most = max((max(draft, live or 0) for _, draft, live in rows), default=0) or 1
    room = WIDTH - _LABEL - 90
    row = _ROW if rows and rows[0][2] is not None else 30
    parts = [_begin(row * len(rows) + 4)]
    for place, (label, draft, live) in enumerate(rows):
        y = row * place + 4
        middle = y + (22 if live is not None else 14)
        parts.append(
            Markup("<text x='{}' y='{}' text-anchor='end'>{}</text>").format(_LABEL - 14, middle, label)
        )
        parts.append(_bar(y, draft, room * draft / most, DRAFT_COLOUR, 18))
        if live is not None:
            parts.append(_bar(y + 20, live, room * live / most, LIVE_COLOUR, 12))
    return Markup("").join([*parts, Markup("</svg>")])


def daily(draft: Sequence[Mapping[str, Any]], live: Sequence[Mapping[str, Any]] | None, key: str) -> Markup:
    """A column a day for the drafts beside one for what is live; from rows with `day` and the key."""
    worlds = [{row["day"]: float(row[key]) for row in draft}]
    if live is not None:
        worlds.append({row["day"]: float(row[key]) for row in live})
    days = sorted({day for world in worlds for day in world})
    most = max((value for world in worlds for value in world.values()), default=0.0)
    if not most:
        return Markup("<p class='quiet'>Nothing.</p>")
    top = _round_up(most)
    height, left = 190, 64
    step = (WIDTH - left) / len(days)
    column = min(step * 0.72 / len(worlds), _WIDEST)
    parts = [_begin(height + 34)]
    for tick in (0.0, top / 2, top):
        y = height + 8 - height * tick / top
        parts += [
            Markup("<line x1='{}' x2='{}' y1='{:.1f}' y2='{:.1f}' stroke='#e3e6ec'/>").format(
                left - 6, WIDTH, y, y
            ),
            Markup("<text class='quiet' x='{}' y='{:.1f}' text-anchor='end'>{}</text>").format(
                left - 12, y + 4, _number(tick)
            ),
        ]
    every = max(1, -(-len(days) // 8))
    for place, day in enumerate(days):
        middle = left + (place + 0.5) * step
        x = middle - column * len(worlds) / 2
        for world, colour in zip(worlds, (DRAFT_COLOUR, LIVE_COLOUR), strict=False):
            value = world.get(day, 0.0)
            part = height * value / top
            parts.append(
                Markup(
                    "<rect x='{:.1f}' y='{:.1f}' width='{:.1f}' height='{:.1f}' rx='{}' fill='{}'>"
                    "<title>{}: {}</title></rect>"
                ).format(
                    x,
                    height + 8 - part,
                    max(column - 1, 0.6),
                    part,
                    2 if column > 8 else 0,
                    colour,
                    day_words(day),
                    _number(value),
                )
            )
            x += column
        if place % every == 0:
            parts.append(
                Markup("<text class='quiet' x='{:.1f}' y='{}' text-anchor='middle'>{}</text>").format(
                    middle, height + 28, day_words(day).rpartition(" ")[0]
                )
            )
    return Markup("").join([*parts, Markup("</svg>")])


def whiskers(rows: Sequence[Mapping[str, Any]]) -> Markup:
    """Shares of groups, each with its interval, and the share of all as a line across."""
    told = [row for row in rows if row["share"] is not None]
    customers = sum(row["customers"] for row in told)
    most = max((row["share"]["high"] for row in told), default=0.0) or 1.0
    room = WIDTH - _LABEL - 170
    height = 34 * len(told) + 24
    parts = [_begin(height)]
    if customers:
        x = _LABEL + room * sum(row["offered"] for row in told) / customers / most
        parts += [
            Markup(
                "<line x1='{:.1f}' x2='{:.1f}' y1='2' y2='{}' stroke='#8a94a6' stroke-dasharray='3 4'/>"
            ).format(x, x, height - 18),
            Markup("<text class='quiet' x='{:.1f}' y='{}' text-anchor='middle'>all customers</text>").format(
                x, height - 4
            ),
        ]
    for place, row in enumerate(told):
        y, share = 34 * place + 17, row["share"]
        low, value, high = (_LABEL + room * share[name] / most for name in ("low", "value", "high"))
        parts += [
            Markup("<text x='{}' y='{}' text-anchor='end'>{}</text>").format(
                _LABEL - 14, y + 5, row["group"]
            ),
            Markup(
                "<line x1='{:.1f}' x2='{:.1f}' y1='{}' y2='{}' stroke='{}' stroke-width='5' "
                "stroke-linecap='round'/>"
            ).format(low, high, y, y, LIVE_COLOUR),
            Markup("<circle cx='{:.1f}' cy='{}' r='7' fill='{}'/>").format(value, y, DRAFT_COLOUR),
            Markup("<text class='quiet' x='{:.1f}' y='{}'>{:.1%} of {:,}</text>").format(
                high + 14, y + 5, share["value"], row["customers"]
            ),
        ]
    return Markup("").join([*parts, Markup("</svg>")])


def _begin(height: int) -> Markup:
    return Markup("<svg viewBox='0 0 {} {}' width='100%' role='img'>").format(WIDTH, height)


def _bar(y: int, value: int, length: float, colour: str, height: int) -> Markup:
    length = max(3.0 if value else 0.0, length)
    return Markup("<rect x='{}' y='{}' width='{:.1f}' height='{}' rx='3' fill='{}'/>").format(
        _LABEL, y, length, height, colour
    ) + Markup("<text class='{}' x='{:.1f}' y='{}'>{:,}</text>").format(
        "strong" if height > 20 else "quiet", _LABEL + length + 8, y + height // 2 + 5, value
    )


def _lost(lost: Sequence[tuple[str, int]]) -> str:
    told = [f"{words} {count:,}" for words, count in lost[:_MOST_LOSSES]]
    rest = sum(count for _, count in lost[_MOST_LOSSES:])
    if rest:
        told.append(f"other reasons {rest:,}")
    return f"− {sum(_counts(lost)):,}:  " + ",  ".join(told)


def _counts(lost: Iterable[tuple[str, int]]) -> list[int]:
    return [count for _, count in lost]


def _round_up(value: float) -> float:
    """The next number that reads well at the top of an axis."""
    size = 10.0 ** math.floor(math.log10(value))
    return next(size * part for part in (1, 2, 4, 5, 6, 8, 10) if value <= size * part * 1.0001)


def _number(value: float) -> str:
    return f"{value:,.0f}" if value == round(value) or value >= 100 else f"{value:,.1f}"
