"""A filled text as a terminal shows it: each segment in a frame of its own, then what it costs."""

import unicodedata
from collections.abc import Iterator

from rapport.channel.v1 import templates_pb2
from rich.cells import cell_len

_WIDTH = 64
_CODINGS = {"gsm7": "GSM 7-bit", "ucs2": "UCS-2"}


def framed(text: templates_pb2.FilledText) -> str:
    """The whole of it, a line each."""
    return "\n".join(_lines(text))


def _lines(text: templates_pb2.FilledText) -> Iterator[str]:
    yield text.template
    if text.missing:
        yield f"  would not be said: {text.missing}"
    else:
        if text.sender:
            yield f"  from     {text.sender}"
        if text.subject:
            yield f"  subject  {text.subject}"
        if text.HasField("short_message"):
            yield from _segments(text.short_message)
        else:
            yield from _frame("text", text.text)
        if text.html:
            yield from _frame("html", text.html)
        if text.cost:
            yield f"  cost     {text.cost} {text.currency}"
    for warning in text.warnings:
        yield f"  ! {warning.message}"
    yield ""


def _segments(short: templates_pb2.ShortMessage) -> Iterator[str]:
    count = len(short.segments)
    for number, segment in enumerate(short.segments, start=1):
        yield from _frame(f"segment {number} of {count}", segment)
    coding = _CODINGS.get(short.coding, short.coding)
    yield f"  length   {short.length} in {coding}, {short.left} left in the last segment"
    for forced in short.forced:
        shown = forced.character if forced.character.isprintable() else f"U+{ord(forced.character):04X}"
        name = unicodedata.name(forced.character, "a character without a name").lower()
        instead = f"; {forced.suggestion} would do" if forced.suggestion else ""
        yield f"  UCS-2    because of {shown} ({name}){instead}"


def _frame(title: str, text: str) -> Iterator[str]:
    yield f"  ┌ {title} {'─' * max(1, _WIDTH - len(title))}┐"
    for line in text.split("\n"):
        for part in _folded(line):
            yield f"  │ {part}{' ' * (_WIDTH - cell_len(part))} │"
    yield f"  └{'─' * (_WIDTH + 2)}┘"


def _folded(line: str) -> Iterator[str]:
    """The line in parts that fit into the frame, broken between words where that is possible."""
    while cell_len(line) > _WIDTH:
        end = _WIDTH
        while cell_len(line[:end]) > _WIDTH:
            end -= 1
        blank = line.rfind(" ", 0, end + 1)
        end = blank if blank > 0 else end
        yield line[:end]
        line = line[end:].removeprefix(" ")
    yield line
