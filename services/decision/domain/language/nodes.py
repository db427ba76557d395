"""What a reader of rule files hands over: values with the place where each was written."""

from collections.abc import Callable, Iterator
from dataclasses import dataclass


@dataclass(frozen=True, slots=True)
class Scalar:
    """One value. `text` as written, without quotes; `value` as YAML 1.2 understands it.

    `quoted`: written in quotes, so always a text.
    """

    line: int
    column: int
    text: str
    value: str | int | float | bool | None
    quoted: bool = False


@dataclass(frozen=True, slots=True)
class Listing:
    """A list, in order."""

    line: int
    column: int
    items: tuple["Node", ...]


@dataclass(frozen=True, slots=True)
class Block:
    """Keys with values, in order; no key twice."""

    line: int
    column: int
    entries: tuple[tuple[Scalar, "Node"], ...]

    def __iter__(self) -> Iterator[tuple[Scalar, "Node"]]:
        """Key and value, in order."""
        return iter(self.entries)

    def get(self, name: str) -> "Node | None":
        """The value of a key; None when it is not there."""
        return next((value for key, value in self.entries if key.text == name), None)


Node = Scalar | Listing | Block


@dataclass(frozen=True, slots=True)
class Mistake:
    """Something that makes a file unreadable, or readable in a way its author cannot have meant."""

    line: int
    column: int
    text: str
    message: str
    suggestion: str
    check: str


@dataclass(frozen=True, slots=True)
class Document:
    """A file read: its root (None: empty or unreadable) and all mistakes found on the way."""

    root: Node | None
    mistakes: tuple[Mistake, ...] = ()


ReadYaml = Callable[[str], Document]


def plain(node: Node) -> object:
    """The values alone, as JSON would hold them; a list is a list, a block a dict."""
    match node:
        case Scalar(value=value):
            return value
        case Listing(items=items):
            return [plain(item) for item in items]
        case Block(entries=entries):
            return {key.text: plain(value) for key, value in entries}


def brief(node: Node) -> str:
    """A few words of what was written, for messages."""
    match node:
        case Scalar(text=text):
            return text if len(text) <= 60 else text[:57] + "…"
        case Listing(items=items):
            return "[" + brief(items[0]) + (", …]" if len(items) > 1 else "]") if items else "[]"
        case Block(entries=entries):
            return "{" + (f"{entries[0][0].text}: …" if entries else "") + "}"


def node_of(value: object) -> Node:
    """A node of what JSON holds: the reverse of `plain`, without a place."""
    match value:
        case dict():
            return Block(
                0, 0, tuple((Scalar(0, 0, str(key), str(key)), node_of(each)) for key, each in value.items())
            )
        case list() | tuple():
            return Listing(0, 0, tuple(map(node_of, value)))
        case bool():
            return Scalar(0, 0, "true" if value else "false", value)
        case int() | float() | None:
            return Scalar(0, 0, "" if value is None else repr(value), value)
        case _:
            return Scalar(0, 0, str(value), str(value), quoted=True)
