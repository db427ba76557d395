"""What all policy files have in common: YAML with lines, and mistakes that say where they are."""

from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any, TypeVar

from ruamel.yaml import YAML
from ruamel.yaml.comments import CommentedMap
from ruamel.yaml.error import MarkedYAMLError, YAMLError

from services.channel.domain.errors import PolicyError
from services.vocabulary.words import Category, Channel

Word = TypeVar("Word", Category, Channel)
_LONGEST_LINE = 1000
_DEEPEST = 20


@dataclass(frozen=True, slots=True)
class Document:
    """A policy that was put into force by a call instead of a file."""

    name: str
    """That of the file whose place it takes: caps.yaml."""
    text: str


Source = Path | Document
"""Where a policy is read from."""


class Mistakes:
    """Says where in a file something is wrong."""

    def __init__(self, source: Source) -> None:
        folder = source.parent.name if isinstance(source, Path) else "policies"
        self.place = f"{folder}/{source.name}"

    def at(self, line: int, wrong: str, right: str) -> PolicyError:
        """The error to raise; lines count from 1."""
        return PolicyError(f"{self.place}:{line}: {wrong}; {right}")


def read(source: Source) -> tuple[CommentedMap, Mistakes]:
    """The file's map, and what says where in it something is wrong; raises PolicyError."""
    mistakes = Mistakes(source)
    reader = YAML(typ="rt")
    try:
        text = source.text if isinstance(source, Document) else source.read_text(encoding="utf-8")
        _check_shape(text, mistakes)
        content = reader.load(text)
    except OSError as error:
        raise mistakes.at(1, f"cannot be read ({error.strerror})", "put the file there") from error
    except MarkedYAMLError as error:
        line = error.problem_mark.line + 1 if error.problem_mark is not None else 1
        raise mistakes.at(line, f"is not YAML ({error.problem})", "mend it") from error
    except (YAMLError, UnicodeDecodeError, RecursionError) as error:
        raise mistakes.at(
            1, "is not YAML (a character or a depth that it does not have)", "mend it"
        ) from error
    if not isinstance(content, CommentedMap):
        raise mistakes.at(1, "is not a map", "begin with a key such as caps: or quiet:")
    return content, mistakes


def _check_shape(text: str, mistakes: Mistakes) -> None:
    """Raises PolicyError for what the YAML reader would take minutes for: brackets in brackets."""
    depth = 0
    for number, line in enumerate(text.splitlines(), start=1):
        if len(line) > _LONGEST_LINE:
            raise mistakes.at(
                number, f"has {len(line)} characters", f"write lines of {_LONGEST_LINE} at most"
            )
        for mark in line:
            depth += (mark in "[{") - (mark in "]}")
            if depth > _DEEPEST:
                raise mistakes.at(number, "brackets are nested too deeply", f"nest {_DEEPEST} at most")
        depth = max(0, depth)


def line_of(content: CommentedMap, key: str) -> int:
    """The line on which a key stands; lines count from 1."""
    position = content.lc.data.get(key) if content.lc.data else None
    return int(position[0]) + 1 if position else 1


def only(
    content: Mapping[str, Any], allowed: tuple[str, ...], mistakes: Mistakes, lines: CommentedMap
) -> None:
    """Raises PolicyError for a key that is not allowed."""
    for key in content:
        if key not in allowed:
            raise mistakes.at(line_of(lines, key), f"{key!r} is unknown", f"use {', '.join(allowed)}")


def words(raw: CommentedMap, key: str, kind: type[Word], mistakes: Mistakes) -> frozenset[Word]:
    """The words of a list under a key, which must be there and not empty; raises PolicyError."""
    listed = raw[key]
    if not isinstance(listed, list) or not listed:
        raise mistakes.at(
            line_of(raw, key), f"{key} is not a list of words", f"write {key}: [{next(iter(kind))}]"
        )
    found = set()
    for word in listed:
        try:
            found.add(kind(str(word)))
        except ValueError as error:
            known = ", ".join(one.value for one in kind)
            raise mistakes.at(line_of(raw, key), f"{word!r} is unknown", f"use {known}") from error
    return frozenset(found)


def texts(raw: CommentedMap, key: str, mistakes: Mistakes) -> frozenset[str]:
    """The texts of a list under a key, which must not be empty; raises PolicyError."""
    listed = raw[key]
    if not isinstance(listed, list) or not listed or not all(isinstance(one, str) and one for one in listed):
        raise mistakes.at(line_of(raw, key), f"{key} is not a list of names", f"write {key}: [roaming]")
    return frozenset(listed)
