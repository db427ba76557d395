"""What has been read of a catalogue so far, and the types that its files write."""

import re
from collections.abc import Container
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from services.vocabulary.catalogue import (
    EventType,
    Offer,
    Question,
    Tariff,
    Template,
    ThingKind,
    Topic,
    Trait,
)
from services.vocabulary.identity_rules import IdentityKind
from services.vocabulary.purposes import Controller, PurposeTerms
from services.vocabulary.values import FORMATS, Check, Value, ValueMistake, ValueType, value_check
from services.vocabulary.words import Purpose
from services.vocabulary.yaml_section import Mistakes, Section

NAME = re.compile(r"[a-z][a-z0-9_]*(\.[a-z][a-z0-9_]*)*")
HYPHENATED = re.compile(r"[a-z][a-z0-9_.-]*")
_TYPE = re.compile(r"(?P<type>[a-z]+)(\((?P<inside>[^()]*)\))?(?P<required>\*)?")


@dataclass
class Draft:
    """A catalogue in the making; later parts refer to earlier ones. ``digest`` takes every file read."""

    rules: Path
    digest: Any
    mistakes: Mistakes = field(default_factory=Mistakes)
    topics: dict[str, Topic] = field(default_factory=dict)
    traits: dict[str, Trait] = field(default_factory=dict)
    things: dict[str, ThingKind] = field(default_factory=dict)
    identities: dict[str, IdentityKind] = field(default_factory=dict)
    events: dict[str, EventType] = field(default_factory=dict)
    questions: dict[str, Question] = field(default_factory=dict)
    tariffs: dict[str, Tariff] = field(default_factory=dict)
    templates: dict[str, Template] = field(default_factory=dict)
    offers: dict[str, Offer] = field(default_factory=dict)
    purposes: dict[Purpose, PurposeTerms] = field(default_factory=dict)
    controller: Controller = field(default_factory=Controller)

    def take(self, path: Path) -> str:
        """Counts the file into the digest; the path as errors show it."""
        self.digest.update(str(path.relative_to(self.rules)).encode() + b"\0" + path.read_bytes() + b"\0")
        return self.shown(path)

    def shown(self, path: Path) -> str:
        """A path as errors show it: from the rules folder on, without where that folder is."""
        return str(path.relative_to(self.rules.parent))


class TypeExpression:
    """``money``, ``number*`` or ``enum(a, b)*``: type, words and whether it is required."""

    def __init__(self, text: str) -> None:
        """Raises ValueMistake."""
        match = _TYPE.fullmatch(text.strip())
        if match is None:
            raise ValueMistake(
                f"has the type {text!r}, which cannot be read", "write text, number*, enum(a, b)"
            )
        try:
            self.type = ValueType(match["type"])
        except ValueError:
            raise ValueMistake(
                f"has the unknown type {match['type']!r}", "types are " + ", ".join(ValueType)
            ) from None
        inside = match["inside"]
        self.required = match["required"] is not None
        self.least: float | None = None
        self.most: float | None = None
        self.enum: tuple[str, ...] = ()
        if self.type is ValueType.ENUM:
            self.enum = tuple(word.strip() for word in (inside or "").split(",") if word.strip())
            if not self.enum:
                raise ValueMistake("is an enum without words", "write enum(a, b)")
        elif self.type is ValueType.LIST:
            if inside not in {None, "text"}:
                raise ValueMistake("is a list of something other than text", "write list(text)")
        elif inside is not None:
            raise ValueMistake(f"is {self.type} with brackets", f"write {self.type}")


def read_type(section: Section, key: str, text: str, *, with_map: bool = False) -> TypeExpression | None:
    """The type written at a key; None, with the mistake noted, when it is none.

    ``with_map``: traits by name are possible here, on one line.
    """
    try:
        expression = TypeExpression(text)
    except ValueMistake as mistake:
        section.wrong(key, mistake.message, mistake.suggestion)
        return None
    if expression.type is ValueType.MAP and not with_map:
        section.wrong(key, "is a map", "only a field of an event can be one, on one line: traits: map")
        return None
    return expression


def read_check(section: Section, expression: TypeExpression) -> tuple[Check, str]:
    """The check that type, format and bounds ask for, and the name of the format."""
    text_format = section.text("format")
    if text_format and (text_format not in FORMATS or expression.type is not ValueType.TEXT):
        section.wrong("format", f"is {text_format!r}", "write one of " + ", ".join(FORMATS) + ", for a text")
        text_format = ""
    least, most = section.number("least"), section.number("most")
    if (least is not None or most is not None) and expression.type not in {
        ValueType.INT,
        ValueType.NUMBER,
    }:
        section.wrong("type", f"is {expression.type}, which has no least and most", "write int or number")
        least = most = None
    expression.least, expression.most = least, most
    check = value_check(
        expression.type, enum=expression.enum, text_format=text_format, least=least, most=most
    )
    return check, text_format


def read_default(section: Section, check: Check) -> Value | None:
    """What a field holds that is left out; None: nothing."""
    raw = section.take("default")
    if raw is None:
        return None
    try:
        return check(raw)
    except ValueMistake as mistake:
        section.wrong("default", mistake.message, mistake.suggestion)
        return None


def is_new(file: Section, name: str, known: Container[str], shape: re.Pattern[str], at: str = "") -> bool:
    """Whether a name is well formed and not yet taken; if not, the mistake is noted."""
    if shape.fullmatch(name) is None:
        file.wrong(
            at or name, f"has the name {name!r}", "write lower-case words, digits, dots and underscores"
        )
        return False
    if name in known:
        file.wrong(at or name, f"describes {name} a second time", "keep one of them")
        return False
    return True
