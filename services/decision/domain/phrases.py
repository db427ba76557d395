"""Pieces of the rule language as English phrases: paths, lengths of time, conditions."""

from __future__ import annotations

import re
from typing import TYPE_CHECKING

from services.decision.domain.language.ast import (
    All,
    AnyOf,
    Arithmetic,
    ArmIs,
    Comparison,
    Condition,
    Contains,
    Crosses,
    EntryField,
    Exists,
    FactIs,
    Literal,
    NoneOf,
    NowBetween,
    OneOf,
    StartsWith,
    TodayIs,
    Within,
)
from services.decision.domain.language.types import Kind, show

if TYPE_CHECKING:
    from collections.abc import Iterable

    from services.decision.domain.language.ast import Expression

DAYS = ("Monday", "Tuesday", "Wednesday", "Thursday", "Friday", "Saturday", "Sunday")
_UNITS = {"s": "second", "m": "minute", "h": "hour", "d": "day", "w": "week"}
_LENGTH = re.compile(r"([0-9]+)\s?([smhdw])")
_SPAN = re.compile(r"([0-9]+) (day|cycle)s?")
_PLACE = re.compile(r"\{\s*([a-z]+\.[A-Za-z0-9_.-]+)\s*\}")
_WHOSE = {
    "event": "the event's",
    "ask": "the question's",
    "profile": "the customer's",
    "household": "the household's",
}
_SIGNS = {"+": "plus", "-": "minus", "*": "times", "/": "divided by"}
_ORDER = {"<": "less than", "<=": "at most", ">": "more than", ">=": "at least"}
_ALSO = "(or is not known)"
_WHEN = {"<": "before", "<=": "no later than", ">": "after", ">=": "no earlier than"}


def named(name: str) -> str:
    """A name that its author chose, as words: “bad day”."""
    return f"“{name.replace('_', ' ')}”"


def path_words(path: str) -> str:
    """What a path stands for: the customer's better plan."""
    root, _, rest = path.partition(".")
    name = rest.replace("_", " ")
    if root == "windows":
        return named(rest)
    if root == "context":
        thing, _, attribute = rest.partition(".")
        return f"the {thing.replace('_', ' ')}'s {attribute.replace('_', ' ')}"
    if path == "event.type":
        return "the event"
    return f"{_WHOSE.get(root, root)} {name}"


def length_words(text: str) -> str:
    """A written length of time in full: 72 hours; anything else as it is."""
    found = _LENGTH.fullmatch(text)
    if found:
        return _counted(int(found[1]), _UNITS[found[2]])
    found = _SPAN.fullmatch(text)
    if found:
        return _counted(int(found[1]), "calendar day" if found[2] == "day" else "billing cycle")
    return text


def _counted(number: int, unit: str) -> str:
    return f"{number} {unit}" + ("" if number == 1 else "s")


def text_words(text: str) -> str:
    """A text with its places said: "ran out in [months exhausted] of the last 6 months"."""
    whole = _PLACE.fullmatch(text)
    if whole:
        return path_words(whole[1])
    return _PLACE.sub(lambda place: f"[{path_words(place[1]).strip('“”')}]", text)


def joined(phrases: Iterable[str], last: str = "and") -> str:
    """One, two and three; with a semicolon between phrases that have commas themselves."""
    found = list(phrases)
    if len(found) < 2:
        return "".join(found)
    comma = ";" if any("," in phrase for phrase in found) else ","
    tail = f"{comma} {last} " if len(found) > 2 or comma == ";" else f" {last} "
    return f"{comma} ".join(found[:-1]) + tail + found[-1]


def expression_words(expression: Expression, *, inner: bool = False) -> str:
    """An expression: the customer's usual bill times 1.5."""
    match expression:
        case Literal(kind=kind, source=source):
            return length_words(source) if kind is Kind.DURATION else source
        case EntryField(name=name):
            return f"its {name.replace('_', ' ')}"
        case Arithmetic(operator=operator, left=left, right=right):
            left_words, right_words = (expression_words(each, inner=True) for each in (left, right))
            text = f"{left_words} {_SIGNS[operator]} {right_words}"
            return f"({text})" if inner else text
        case _:
            return path_words(expression.source)


def condition_words(condition: Condition) -> str:
    """A condition as part of a sentence, after "if"."""
    match condition:
        case All(parts=parts):
            return group_words("all", [condition_words(part) for part in parts])
        case AnyOf(parts=parts):
            return group_words("any", [condition_words(part) for part in parts])
        case NoneOf(parts=parts):
            return group_words("none", [condition_words(part) for part in parts])
        case FactIs(key=key, negated=negated):
            return f"{named(key.rpartition('/')[2])} {'does not hold' if negated else 'holds'}"
        case Comparison():
            return _comparison(condition)
        case OneOf(left=left, values=values, negated=negated):
            written = [show(value, left.kind) for value in values]
            choices = f"neither {joined(written, 'nor')} {_ALSO}" if negated else joined(written, "or")
            return f"{expression_words(left)} is {choices}"
        case Exists(left=left, negated=negated):
            return f"{expression_words(left)} is {'not known' if negated else 'known'}"
        case _:
            return _other_words(condition)


def group_words(group: str, phrases: list[str]) -> str:
    """Conditions of which all, any or none must hold, inside a sentence."""
    if not phrases:
        return "nothing at all is asked" if group != "any" else "never"
    if group == "none":
        return (
            f"it is not so that {phrases[0]}"
            if len(phrases) == 1
            else f"none of these is so: ({joined(phrases, 'or')})"
        )
    if len(phrases) == 1:
        return phrases[0]
    return f"({joined(phrases)})" if group == "all" else f"either ({joined(phrases, 'or')})"


def _comparison(condition: Comparison) -> str:
    left, right = expression_words(condition.left), expression_words(condition.right)
    match condition.operator:
        case "is":
            return f"{left} is {right}"
        case "is not":
            return f"{left} is not {right} {_ALSO}"
        case operator if condition.left.kind in {Kind.TIME, Kind.DATE}:
            return f"{left} is {_WHEN[operator]} {right}"
        case operator:
            return f"{left} is {_ORDER[operator]} {right}"


def _other_words(condition: Condition) -> str:
    match condition:
        case Contains(left=left, values=values, paths=paths):
            return f"{expression_words(left)} contain {_choices(values, paths)}"
        case StartsWith(left=left, values=values, paths=paths):
            return f"{expression_words(left)} begins with {_choices(values, paths)}"
        case Within(left=left, direction=direction, source=source):
            return f"{expression_words(left)} lies within the {direction} {length_words(source.split()[-1])}"
        case NowBetween(start=start, end=end):
            return f"it is between {_clock(start)} and {_clock(end)} on the customer's clock"
        case TodayIs(days=days, negated=negated):
            names = joined((DAYS[day] for day in sorted(days)), "or")
            return f"today {'is not' if negated else 'is'} a {names} where the customer is"
        case ArmIs(arms=arms, negated=negated):
            return f"the customer is {'not ' if negated else ''}in the arm {joined(sorted(arms), 'or')}"
        case Crosses(window=window, threshold=threshold):
            limit = expression_words(threshold)
            return f"{path_words(window.source)} reaches {limit} with this event, and was below it before"
        case _:  # pragma: no cover - all others are above
            raise TypeError(f"no such condition: {condition!r}")


def _choices(values: Iterable[str], paths: Iterable[Expression]) -> str:
    return joined([*values, *map(expression_words, paths)], "or")


def _clock(minute: int) -> str:
    return f"{minute // 60:02d}:{minute % 60:02d}"
