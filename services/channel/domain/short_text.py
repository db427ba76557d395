"""How a text travels by SMS, told to its author: segments, room left, and what makes it longer."""

import unicodedata
from dataclasses import dataclass

from services.vocabulary.short_message import Coding, coding_of, decode_gsm7, decode_ucs2, encode_gsm7, split

_INSTEAD = {
    **dict.fromkeys("‘’‚‛′`´", "'"),
    **dict.fromkeys("“”„‟″«»", '"'),
    **dict.fromkeys("‐‑‒–—―−", "-"),
    **dict.fromkeys("\xa0\u2007\u2009\u202f\t", " "),
    "…": "...",
    "•": "-",
    "·": "-",
    "œ": "oe",
    "Œ": "OE",
    "™": "(TM)",
    "×": "x",
    "\u200b": "",
}
_ROOM = {Coding.GSM7: (160, 153), Coding.UCS2: (70, 67)}


@dataclass(frozen=True, slots=True)
class Forced:
    """A character that the GSM alphabet lacks, and what could stand in its place (None: nothing does)."""

    character: str
    instead: str | None


@dataclass(frozen=True, slots=True)
class ShortText:
    """How one text travels."""

    coding: Coding
    length: int
    """Septets, or UCS-2 units."""
    left: int
    """Of the last segment."""
    segments: tuple[str, ...]
    forced: tuple[Forced, ...]


def short_text(text: str) -> ShortText:
    """What the author of a text should know of it."""
    parts = split(text)
    wide = parts.coding is Coding.UCS2
    sizes = [len(payload) // 2 if wide else len(payload) for payload in parts.payloads]
    whole, part = _ROOM[parts.coding]
    decode = decode_ucs2 if wide else decode_gsm7
    return ShortText(
        coding=parts.coding,
        length=sum(sizes),
        left=(whole if len(sizes) == 1 else part) - sizes[-1],
        segments=tuple(decode(payload) for payload in parts.payloads),
        forced=tuple(Forced(character, _instead(character)) for character in _strangers(text)),
    )


def _strangers(text: str) -> list[str]:
    return [character for character in dict.fromkeys(text) if coding_of(character) is Coding.UCS2]


def _instead(character: str) -> str | None:
    known = _INSTEAD.get(character)
    if known is not None:
        return known
    base = unicodedata.normalize("NFKD", character)[:1]
    try:
        encode_gsm7(base)
    except ValueError:
        return None
    return base
