"""Inline SVG pictures of a simulation: two worlds side by side, and day by day."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

from markupsafe import Markup

if TYPE_CHECKING:
    from collections.abc import Mapping, Sequence

DRAFT_COLOUR, LIVE_COLOUR = "#2f6fde", "#a9b4c6"
WIDTH = 860
_LABEL = 240
_ROW = 46


def pairs(rows: Sequence[tuple[str, int, int | None]]) -> Markup:
    """Bars from (label, with the drafts, live), on one common scale; None: there is no live world."""
    most = max((max(draft, live or 0) for _, draft, live in rows), default=0) or 1
    room = WIDTH - _LABEL - 90
    parts = [Markup("<svg viewBox='0 0 {} {}' width='100%' role='img'>").format(WIDTH, _ROW * len(rows) + 4)]
    for place, (label, draft, live) in enumerate(rows):
        y = _ROW * place + 4
        middle = y + (22 if live is not None else 14)
        parts.append(
            Markup("<text x='{}' y='{}' text-anchor='end'>{}</text>").format(_LABEL - 12, middle, label)
        )
        parts.append(_bar(y, draft, room * draft / most, DRAFT_COLOUR))
        if live is not None:
            parts.append(_bar(y + 19, live, room * live / most, LIVE_COLOUR))
    return Markup("").join([*parts, Markup("</svg>")])


def daily(draft: Sequence[Mapping[str, Any]], live: Sequence[Mapping[str, Any]] | None, key: str) -> Markup:
    """A column a day for the drafts, with a line for what is live; from rows with `day` and the key."""
    counts = {row["day"]: float(row[key]) for row in draft}
    beside = None if live is None else {row["day"]: float(row[key]) for row in live}
    days = sorted({*counts, *(beside or {})})
    if not days:
        return Markup("<p class='quiet'>Nothing would be sent.</p>")
    most = max([*counts.values(), *(beside or {}).values()]) or 1
    height, left = 200, 64
    step = (WIDTH - left) / len(days)
    parts = [Markup("<svg viewBox='0 0 {} {}' width='100%' role='img'>").format(WIDTH, height + 30)]
    for tick in (0.0, most / 2, most):
        y = height - height * 0.92 * tick / most
        parts += [
            Markup("<line x1='{}' x2='{}' y1='{:.1f}' y2='{:.1f}' stroke='#e3e6ec'/>").format(
                left - 6, WIDTH, y, y
            ),
            Markup("<text class='quiet' x='{}' y='{:.1f}' text-anchor='end'>{}</text>").format(
                left - 12, y + 4, _number(tick)
            ),
        ]
    points = []
    for place, day in enumerate(days):
        x = left + place * step
        value = counts.get(day, 0.0)
        part = height * 0.92 * value / most
        parts.append(
            Markup(
                "<rect x='{:.1f}' y='{:.1f}' width='{:.1f}' height='{:.1f}' fill='{}'>"
                "<title>{}: {}</title></rect>"
            ).format(
                x, height - part, min(max(step * 0.8, 0.8), 60.0), part, DRAFT_COLOUR, day, _number(value)
            )
        )
        if beside is not None:
            points.append(
                f"{x + min(step * 0.4, 30.0):.1f},{height - height * 0.92 * beside.get(day, 0.0) / most:.1f}"
            )
        if place % max(1, -(-len(days) // 7)) == 0:
            parts.append(
                Markup("<text class='quiet' x='{:.1f}' y='{}'>{}</text>").format(x, height + 20, day)
            )
    if points:
        parts.append(
            Markup("<polyline points='{}' fill='none' stroke='#5a6475' stroke-width='2'/>").format(
                " ".join(points)
            )
        )
        if len(points) == 1:
            across, down = points[0].split(",")
            parts.append(Markup("<circle cx='{}' cy='{}' r='4' fill='#5a6475'/>").format(across, down))
    return Markup("").join([*parts, Markup("</svg>")])


def whiskers(rows: Sequence[Mapping[str, Any]]) -> Markup:
    """Shares of groups, each with its interval."""
    told = [row for row in rows if row["share"] is not None]
    most = max((row["share"]["high"] for row in told), default=0.0) or 1.0
    room = WIDTH - _LABEL - 190
    parts = [Markup("<svg viewBox='0 0 {} {}' width='100%' role='img'>").format(WIDTH, 30 * len(told) + 4)]
    for place, row in enumerate(told):
        y, share = 30 * place + 16, row["share"]
        low, value, high = (_LABEL + room * share[name] / most for name in ("low", "value", "high"))
        parts += [
            Markup("<text x='{}' y='{}' text-anchor='end'>{}</text>").format(
                _LABEL - 12, y + 5, row["group"]
            ),
            Markup("<line x1='{:.1f}' x2='{:.1f}' y1='{}' y2='{}' stroke='{}' stroke-width='3'/>").format(
                low, high, y, y, LIVE_COLOUR
            ),
            Markup("<circle cx='{:.1f}' cy='{}' r='6' fill='{}'/>").format(value, y, DRAFT_COLOUR),
            Markup("<text class='quiet' x='{:.1f}' y='{}'>{:.1%} of {:,}</text>").format(
                high + 12, y + 5, share["value"], row["customers"]
            ),
        ]
    return Markup("").join([*parts, Markup("</svg>")])


def _bar(y: int, value: int, length: float, colour: str) -> Markup:
    length = max(2.0 if value else 0.0, length)
    return Markup("<rect x='{}' y='{}' width='{:.1f}' height='17' rx='3' fill='{}'/>").format(
        _LABEL, y, length, colour
    ) + Markup("<text class='quiet' x='{:.1f}' y='{}'>{:,}</text>").format(_LABEL + length + 8, y + 13, value)


def _number(value: float) -> str:
    return f"{value:,.0f}" if value == round(value) or value >= 100 else f"{value:,.1f}"
