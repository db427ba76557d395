"""Lays out the text of a rule set: reads it with its comments, and makes sure that nothing was lost."""

import io
import re
from bisect import bisect_right
from collections.abc import Iterator, Sequence
from dataclasses import dataclass, field

from ruamel.yaml import YAML
from ruamel.yaml.nodes import MappingNode, ScalarNode, SequenceNode

from services.decision.adapters.yaml_reader import read_yaml
from services.decision.domain.language.layout import Commented, Entries, Entry, Word, lay_out
from services.decision.domain.language.nodes import Block, Listing, Mistake, Node, Scalar

_HASH = re.compile(r"(?:^|(?<=\s))#")
"""Begins a comment, unless it stands in a word."""


class CannotLayOut(ValueError):  # noqa: N818 - says what cannot be done
    """The text cannot be laid out; `mistakes` says why, where its author can put it right."""

    def __init__(self, mistakes: Sequence[Mistake], message: str = "") -> None:
        super().__init__(message or "the file cannot be read")
        self.mistakes = tuple(mistakes)


def laid_out(text: str) -> str:
    """The text in its canonical layout, with the same meaning and every comment. Raises CannotLayOut."""
    before = read_yaml(text)
    if before.mistakes or before.root is None:
        raise CannotLayOut(before.mistakes)
    if not isinstance(before.root, Block):
        raise CannotLayOut((), "a rule set is a block of keys; begin with `ruleset: a-name`")
    reader = _Reader(text)
    comments = sorted(comment.text for comment in reader.comments())
    after = lay_out(reader.read())
    kept = sorted(comment.text for comment in _Reader(after).comments())
    if _meaning(read_yaml(after).root) != _meaning(before.root) or kept != comments:
        raise CannotLayOut((), "laying it out would change it: write it more simply, or leave it as it is")
    return after


def _meaning(node: Node | None) -> object:
    """What a text says, without places and without the order of keys."""
    match node:
        case Scalar(text=text, value=value):
            return (type(value).__name__, value, text)
        case Listing(items=items):
            return [_meaning(item) for item in items]
        case Block(entries=entries):
            return {key.text: _meaning(value) for key, value in entries}
        case None:
            return None


@dataclass(slots=True)
class _Comment:
    line: int
    column: int
    text: str
    own_line: bool


@dataclass(slots=True)
class _Item:
    """An entry with where it begins and ends (line, column), before its comments are known."""

    key: Word | None
    value: "Word | _Items"
    start: tuple[int, int]
    end: tuple[int, int]
    depth: int
    before: list[str] = field(default_factory=list)
    beside: list[_Comment] = field(default_factory=list)

    def entry(self) -> Entry:
        more = [comment.text for comment in self.beside[1:]]
        first = self.beside[0] if self.beside else None
        value = self.value if isinstance(self.value, Word) else self.value.entries()
        return Entry(
            self.key,
            value,
            (*self.before, *more),
            first.text if first else "",
            first.column if first else 0,
        )


@dataclass(slots=True)
class _Items:
    keyed: bool
    flow: bool
    items: list[_Item]
    column: int
    after: list[str] = field(default_factory=list)

    def entries(self) -> Entries:
        return Entries(self.keyed, self.flow, tuple(item.entry() for item in self.items), tuple(self.after))


class _Reader:
    """Reads one text that is known to be readable."""

    def __init__(self, text: str) -> None:
        self._text = text
        self._lines = text.splitlines()
        self._starts = [0]
        for line in text.splitlines(keepends=True):
            self._starts.append(self._starts[-1] + len(line))
        self._items: list[_Item] = []
        self._words: list[tuple[int, int]] = []
        self._root = self._entries(YAML(typ="safe", pure=True).compose(io.StringIO(text)), 0)

    def read(self) -> Commented:
        self._items.sort(key=lambda item: (item.start, item.depth))
        foot = tuple(self._attach())
        return Commented(self._root.entries(), foot)

    # --- the tree ----------------------------------------------------------------------------------------

    def _entries(self, node: object, depth: int) -> _Items:
        assert isinstance(node, SequenceNode | MappingNode)
        items: list[_Item] = []
        for child in node.value:
            key, value = child if isinstance(node, MappingNode) else (None, child)
            first = value if key is None else key
            item = _Item(
                None if key is None else self._word(key),
                self._word(value) if isinstance(value, ScalarNode) else self._entries(value, depth + 1),
                (first.start_mark.line, first.start_mark.column),
                self._end(key, value),
                depth,
            )
            items.append(item)
        self._items += items
        column = node.start_mark.column
        return _Items(isinstance(node, MappingNode), bool(node.flow_style), items, column)

    def _word(self, node: ScalarNode) -> Word:
        start, end = node.start_mark.index, node.end_mark.index
        if node.style in {"|", ">"}:
            start = self._text.find("\n", start)
        self._words.append((start, end))
        return Word(node.value, plain=node.style is None)

    def _end(self, key: ScalarNode | None, value: object) -> tuple[int, int]:
        """Where an entry ends: behind its last word, or the bracket that closes it."""
        assert isinstance(value, ScalarNode | SequenceNode | MappingNode)
        if isinstance(value, ScalarNode):
            empty = value.start_mark.index == value.end_mark.index and key is not None
            mark = key.end_mark if empty and key is not None else value.end_mark
            return mark.line, mark.column
        if value.flow_style or not value.value:
            return value.end_mark.line, value.end_mark.column
        last = value.value[-1]
        return self._end(*last) if isinstance(value, MappingNode) else self._end(None, last)

    # --- comments ----------------------------------------------------------------------------------------

    def comments(self) -> Iterator[_Comment]:
        """All comments, in order."""
        words = sorted(self._words)
        starts = [start for start, _ in words]
        for number, line in enumerate(self._lines):
            offset = self._starts[number]
            for match in _HASH.finditer(line):
                place = bisect_right(starts, offset + match.start()) - 1
                if place < 0 or offset + match.start() >= words[place][1]:
                    own = not line[: match.start()].strip()
                    yield _Comment(number, match.start(), line[match.start() :].rstrip(), own)
                    break

    def _attach(self) -> list[str]:
        """Gives every comment and empty line to the entry it belongs to; what is left stands at the end."""
        by_line = {comment.line: comment for comment in self.comments()}
        waiting: list[str] = []
        for number, line in enumerate(self._lines):
            comment = by_line.get(number)
            beginning = [item for item in self._items if item.start[0] == number]
            if beginning:
                beginning[0].before += waiting
                waiting = []
            if comment is not None and comment.own_line:
                waiting = self._own_line(comment, waiting)
            elif comment is not None:
                waiting = self._beside(comment, beginning, waiting)
            elif not line.strip() and not self._inside_word(number):
                waiting.append("")
        return waiting

    def _inside_word(self, number: int) -> bool:
        return any(start < self._starts[number] < end for start, end in self._words)

    def _own_line(self, comment: _Comment, waiting: list[str]) -> list[str]:
        """A comment deeper than what follows belongs to the end of what stands before it."""
        at = (comment.line, comment.column)
        following = next((item for item in self._items if item.start > at), None)
        column = self._column(following) if following else -1
        home = self._home(comment) if comment.column > column else None
        if home is None:
            return [*waiting, comment.text]
        home.after += [*waiting, comment.text]
        return []

    def _column(self, item: _Item) -> int:
        """Where the line of an item begins; for an item of a list its dash."""
        line = self._lines[item.start[0]]
        return len(line) - len(line.lstrip())

    def _home(self, comment: _Comment) -> _Items | None:
        """The innermost list or block before a comment that begins no further right than it."""
        found, inside = None, self._root
        while not inside.flow and inside.items:
            earlier = [item for item in inside.items if item.start < (comment.line, comment.column)]
            if not earlier:
                break
            found = inside if inside is not self._root else None
            value = earlier[-1].value
            if isinstance(value, Word) or value.flow or value.column > comment.column:
                break
            inside = value
        return found

    def _beside(self, comment: _Comment, beginning: Sequence[_Item], waiting: list[str]) -> list[str]:
        at = (comment.line, comment.column)
        begun = [item for item in beginning if item.start < at]
        ended = [item for item in begun if item.end <= at]
        closed = [item for item in self._items if item.end[0] == comment.line and item.end <= at]
        if ended:
            least = min(item.depth for item in ended)
            [item for item in ended if item.depth == least][-1].beside.append(comment)
        elif begun:
            begun[-1].beside.append(comment)
        elif closed:
            min(closed, key=lambda item: (-item.end[1], item.depth)).beside.append(comment)
        else:
            return [*waiting, comment.text]
        return waiting
