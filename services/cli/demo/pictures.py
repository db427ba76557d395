"""Inline SVG pictures for the demo's report."""

from collections.abc import Mapping, Sequence

from markupsafe import Markup

COLOURS = {"sms": "#2f6fde", "email": "#e08a1e", "app": "#1c9a73", "task": "#8a63d2", "push": "#c2487c"}
WIDTH = 760
LABEL_WIDTH = 230


def bars(rows: Sequence[tuple[str, int, str]]) -> Markup:
    """Horizontal bars from (label, value, colour), on one common scale."""
    most = max((value for _, value, _ in rows), default=0) or 1
    room = WIDTH - LABEL_WIDTH - 80
    parts = [Markup("<svg viewBox='0 0 {} {}' width='100%' role='img'>").format(WIDTH, 30 * len(rows) + 6)]
    for index, (label, value, colour) in enumerate(rows):
        y = 30 * index + 4
        length = max(2.0 if value else 0.0, room * value / most)
        parts += [
            Markup("<text x='{}' y='{}' text-anchor='end'>{}</text>").format(LABEL_WIDTH - 10, y + 15, label),
            Markup("<rect x='{}' y='{}' width='{:.1f}' height='20' rx='3' fill='{}'/>").format(
                LABEL_WIDTH, y, length, colour
            ),
            Markup("<text class='quiet' x='{:.1f}' y='{}'>{:,}</text>").format(
                LABEL_WIDTH + length + 8, y + 15, value
            ),
        ]
    return Markup("").join([*parts, Markup("</svg>")])


def stacked_weeks(weeks: Mapping[str, Mapping[str, int]]) -> Markup:
    """One column a week (key: its Monday), a part per channel, with scale and legend."""
    if not weeks:
        return Markup("<p>Nothing was said.</p>")
    order = sorted(weeks)
    channels = [channel for channel in COLOURS if any(weeks[week].get(channel) for week in order)]
    most = max(sum(weeks[week].values()) for week in order) or 1
    height, step = 240, (WIDTH - 60) / len(order)
    parts = [Markup("<svg viewBox='0 0 {} {}' width='100%' role='img'>").format(WIDTH, height + 56)]
    for tick in (0, most // 2, most):
        y = height - height * 0.92 * tick / most
        parts += [
            Markup("<line x1='48' x2='{}' y1='{:.1f}' y2='{:.1f}' stroke='#e3e6ec'/>").format(WIDTH, y, y),
            Markup("<text class='quiet' x='42' y='{:.1f}' text-anchor='end'>{:,}</text>").format(y + 4, tick),
        ]
    for index, week in enumerate(order):
        x, y = 52 + index * step, float(height)
        for channel in channels:
            count = weeks[week].get(channel, 0)
            part = height * 0.92 * count / most
            y -= part
            parts.append(
                Markup(
                    "<rect x='{:.1f}' y='{:.1f}' width='{:.1f}' height='{:.1f}' fill='{}'>"
                    "<title>week of {}: {:,} by {}</title></rect>"
                ).format(x, y, step * 0.78, part, COLOURS[channel], week, count, channel)
            )
        if index % max(1, len(order) // 6) == 0:
            parts.append(
                Markup("<text class='quiet' x='{:.1f}' y='{}'>{}</text>").format(x, height + 18, week)
            )
    for index, channel in enumerate(channels):
        x = 52 + 110 * index
        parts += [
            Markup("<rect x='{}' y='{}' width='12' height='12' rx='2' fill='{}'/>").format(
                x, height + 34, COLOURS[channel]
            ),
            Markup("<text x='{}' y='{}'>{}</text>").format(x + 18, height + 45, channel),
        ]
    return Markup("").join([*parts, Markup("</svg>")])
