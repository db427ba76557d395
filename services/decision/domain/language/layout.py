"""How a rule set is laid out: keys in the order of the grammar, one condition a line, comments kept.

Works on the text as a tree with its comments; what the text means is not looked at and never changed.
"""

from __future__ import annotations

import json
import re
from dataclasses import dataclass, field, replace
from typing import TYPE_CHECKING

from services.decision.domain.language import grammar
from services.decision.domain.language.forms import (
    Anything,
    BlockOf,
    Conditions,
    Either,
    ListOf,
    Named,
    OneOrList,
    Refer,
)

if TYPE_CHECKING:
    from collections.abc import Iterator, Sequence

    from services.decision.domain.language.forms import Form

WIDTH = 110
_WIDEST_GAP = 40
_WORD = re.compile(r"[A-Za-z_][A-Za-z0-9_.-]*")
_OTHER_THAN_TEXT = frozenset({"true", "false", "null", "yes", "no", "on", "off", "y", "n"})
_CONDITION = Refer("condition")
_COLUMNS: dict[str, Form] = {"do": OneOrList(Refer("action")), "once": Refer("once")}


@dataclass(frozen=True, slots=True)
class Word:
    """One value. `plain`: written without quotes, with this very text. `kept`: its quotes mean something."""

    text: str
    plain: bool
    kept: bool = False


@dataclass(frozen=True, slots=True)
class Entries:
    """A block or a list (`keyed` says which). `flow`: written in brackets. `after`: comments at its end."""

    keyed: bool
    flow: bool
    items: tuple[Entry, ...]
    after: tuple[str, ...] = ()


@dataclass(frozen=True, slots=True)
class Entry:
    """A key with its value, or an item of a list, and the comments that belong to it.

    `before`: whole lines, an empty one for empty lines. `beside`: at the end of its first line, from the
    column `at` on if there is room.
    """

    key: Word | None
    value: Word | Entries
    before: tuple[str, ...] = ()
    beside: str = ""
    at: int = 0


@dataclass(frozen=True, slots=True)
class Commented:
    """A whole file: its root, and comments that no entry follows."""

    root: Entries
    foot: tuple[str, ...] = field(default=())


def lay_out(document: Commented) -> str:
    """The text in its canonical layout: the same for every order of keys and every way of writing it."""
    root = _ordered(document.root, grammar.RULE_SET)
    lines = [*_block(root, 0), *_squeezed(document.foot)]
    while lines and not lines[0]:
        lines.pop(0)
    return "\n".join(lines) + "\n"


# --- the order of keys ------------------------------------------------------------------------------------


def _ordered(entries: Entries, form: Form) -> Entries:
    """The same, with the keys that the grammar knows in its order, and others after them."""
    form = _form_of(entries, form)
    items = list(entries.items)
    if isinstance(form, BlockOf):
        known = {name: place for place, name in enumerate(form.names)}
        items.sort(key=lambda item: known.get(_name(item), len(known)))
    inside = tuple(replace(item, value=_inside(entries, form, item)) for item in items)
    broken = isinstance(form, Conditions) and not _one_plain(entries)
    if isinstance(form, ListOf) and isinstance(form.item, BlockOf) and items:
        broken = True  # one rule, fact or test a line, or more lines each
    return replace(entries, items=inside, flow=entries.flow and not broken)


def _name(item: Entry) -> str:
    return item.key.text if item.key else ""


def _one_plain(conditions: Entries) -> bool:
    return len(conditions.items) < 2 and all(isinstance(item.value, Word) for item in conditions.items)


def _form_of(entries: Entries, form: Form) -> Form:
    """What the grammar says of this block or list, where it leaves a choice."""
    match form:
        case Refer(name="condition"):
            return _CONDITION
        case Refer(name="action"):
            names = {_name(item) for item in entries.items}
            kind = next((kind for kind in grammar.ACTIONS if kind.value in names), None)
            return grammar.ACTIONS[kind] if kind else Anything()
        case Refer(name=name):
            return _form_of(entries, grammar.PARTS.get(name, Anything()))
        case OneOrList(item=item):
            return _form_of(entries, item) if entries.keyed else ListOf(item)
        case Either(forms=forms):
            found = [_form_of(entries, each) for each in forms]
            kinds = (BlockOf, Named) if entries.keyed else (ListOf, Conditions)
            fits = [each for each in found if isinstance(each, kinds)]
            names = {_name(item) for item in entries.items}
            blocks = [each for each in fits if isinstance(each, BlockOf)]
            # of several kinds of block the one that has most of these keys
            best = max(blocks, key=lambda block: len(names & set(block.names)), default=None)
            return best or next(iter(fits), Anything())
        case _:
            return form


def _inside(entries: Entries, form: Form, item: Entry) -> Word | Entries:
    """The value of one entry, in order."""
    if isinstance(item.value, Word):
        return item.value
    name = _name(item)
    inner: Form = Anything()
    match form:
        case BlockOf(keys=keys):
            if form is grammar.TABLE and name == "rows":
                return _rows(item.value, entries)
            inner = next((key.form for key in keys if key.name == name), inner)
        case Named(value=value):
            inner = value
        case ListOf(item=each):
            inner = each
        case Conditions():
            inner = _CONDITION
        case Refer() if name in grammar.GROUPS:
            inner = Conditions()
        case _:
            pass
    return _ordered(item.value, inner)


def _rows(rows: Entries, table: Entries) -> Entries:
    """The rows of a table, whose cells are what the columns say."""
    columns = next((item.value for item in table.items if _name(item) == "columns"), None)
    heads = columns.items if isinstance(columns, Entries) else ()
    forms = [_COLUMNS.get(head.value.text) if isinstance(head.value, Word) else None for head in heads]

    def cells(row: Entry) -> Entry:
        if isinstance(row.value, Word):
            return row
        inside = tuple(
            replace(cell, value=_ordered(cell.value, form or Anything()))
            if isinstance(cell.value, Entries)
            else replace(cell, value=replace(cell.value, kept=True))  # "any" in quotes is a text
            for cell, form in zip(row.value.items, [*forms, *[None] * len(row.value.items)], strict=False)
        )
        return replace(row, value=replace(row.value, items=inside))

    return replace(rows, items=tuple(cells(row) for row in rows.items), flow=rows.flow and not rows.items)


# --- lines ------------------------------------------------------------------------------------------------


def _block(entries: Entries, indent: int) -> Iterator[str]:
    """The lines of a block or list that is not written in brackets."""
    space = " " * indent
    for place, entry in enumerate(entries.items):
        lines = _keyed(entry, indent) if entries.keyed else _dashed(entry, indent)
        before = [*entry.before, *lines.before]
        if not place:
            before = _without_first_gap(before)
        yield from (space + line if line else "" for line in _squeezed(before))
        yield _beside(space + lines.first, lines)
        yield from lines.rest
    yield from (space + line if line else "" for line in _squeezed(entries.after))


@dataclass(frozen=True, slots=True)
class _Lines:
    """An entry: comments before it, its first line without indent, the others, and what stands beside it."""

    before: tuple[str, ...]
    first: str
    rest: tuple[str, ...]
    beside: str
    at: int


def _keyed(entry: Entry, indent: int) -> _Lines:
    assert entry.key is not None
    key = _word(entry.key) + ":"
    return _entry(entry, key, indent, indent + 2)


def _dashed(entry: Entry, indent: int) -> _Lines:
    """An item of a list: what it holds begins behind the dash."""
    value = entry.value
    if isinstance(value, Word) or _on_one_line(value, indent + 2) is not None or not value.items:
        return _entry(entry, "-", indent, indent + 2)
    first, *others = value.items
    inner = _keyed(first, indent + 2) if value.keyed else _dashed(first, indent + 2)
    hidden = (inner.beside,) if entry.beside and inner.beside else ()
    rest = (*inner.rest, *_block(replace(value, items=tuple(others)), indent + 2)) if others else inner.rest
    after = () if others else tuple(_block(replace(value, items=()), indent + 2))
    return _Lines(
        before=(*_without_first_gap([*first.before, *inner.before]), *hidden),
        first=f"- {inner.first}",
        rest=(*rest, *after),
        beside=entry.beside or inner.beside,
        at=entry.at if entry.beside else inner.at,
    )


def _entry(entry: Entry, head: str, indent: int, inside: int) -> _Lines:
    value = entry.value
    if isinstance(value, Word):
        text = _word(value)
        if "\n" in text:
            first, *more = text.split("\n")
            rest = tuple(" " * inside + line if line else "" for line in more)
            return _Lines((), f"{head} {first}", rest, entry.beside, entry.at)
        return _Lines((), f"{head} {text}".rstrip(), (), entry.beside, entry.at)
    line = _on_one_line(value, indent + len(head) + 1)
    if line is not None:
        return _Lines((), f"{head} {line}", (), entry.beside, entry.at)
    return _Lines((), head, tuple(_block(value, inside)), entry.beside, entry.at)


def _beside(line: str, lines: _Lines) -> str:
    if not lines.beside:
        return line
    gap = lines.at - len(line)
    return f"{line}{' ' * (gap if 2 <= gap <= _WIDEST_GAP else 2)}{lines.beside}"


def _without_first_gap(lines: Sequence[str]) -> list[str]:
    found = list(lines)
    while found and not found[0]:
        found.pop(0)
    return found


def _squeezed(lines: Sequence[str]) -> list[str]:
    """Never two empty lines one after the other."""
    return [line for place, line in enumerate(lines) if line or not place or lines[place - 1]]


# --- values -----------------------------------------------------------------------------------------------


def _on_one_line(entries: Entries, column: int) -> str | None:
    """In brackets, when its author wrote it so and it fits; None when it has to be spread over lines."""
    if entries.items and not entries.flow:
        return None
    text = _in_brackets(entries)
    return text if text is not None and column + len(text) <= WIDTH else None


def _in_brackets(entries: Entries) -> str | None:
    if entries.after or (entries.items and not entries.flow):
        return None
    texts = []
    for entry in entries.items:
        comments = [line for line in entry.before if line]
        if comments or entry.beside:
            return None
        text = _word(entry.value) if isinstance(entry.value, Word) else _in_brackets(entry.value)
        if text is None or "\n" in text:
            return None
        texts.append(f"{_word(entry.key)}: {text}".rstrip() if entry.key else text)
    inside = ", ".join(texts)
    return f"{{{inside}}}" if entries.keyed else f"[{inside}]"


def _word(word: Word) -> str:
    """A value as it is written: without quotes if it is one word, in double quotes otherwise."""
    text = word.text
    if word.plain and "\n" not in text:
        return text
    if not word.kept and _WORD.fullmatch(text) and text.lower() not in _OTHER_THAN_TEXT:
        return text
    if _fits_a_block(text):
        kept = "|" if text.endswith("\n") else "|-"
        return kept + "\n" + text.removesuffix("\n")
    if ('"' in text or "\\" in text) and text.isprintable():
        return "'" + text.replace("'", "''") + "'"
    return json.dumps(text, ensure_ascii=False)


def _fits_a_block(text: str) -> bool:
    lines = text.removesuffix("\n").split("\n")
    return (
        "\n" in text
        and all(line.isprintable() and line == line.rstrip() for line in lines)
        and bool(lines[0])
        and bool(lines[-1])
        and not lines[0].startswith(" ")
    )
