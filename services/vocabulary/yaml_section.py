"""YAML as sections that know where they stand, so that every complaint names file and line."""

from collections.abc import Iterator
from dataclasses import dataclass, field
from datetime import date
from difflib import get_close_matches
from enum import StrEnum
from pathlib import Path
from typing import Any, TypeVar

from ruamel.yaml import YAML
from ruamel.yaml.comments import CommentedMap
from ruamel.yaml.constructor import DuplicateKeyError
from ruamel.yaml.error import MarkedYAMLError, YAMLError

from services.vocabulary.catalogue import CatalogueError
from services.vocabulary.values import (
    Money,
    ValueMistake,
    make_money,
    parse_date,
    parse_duration,
    parse_money,
)

Word = TypeVar("Word", bound=StrEnum)


@dataclass
class Mistakes:
    """Collects what is wrong, so that one reading names everything."""

    found: list[CatalogueError] = field(default_factory=list)

    def add(self, file: str, line: int, message: str, suggestion: str = "") -> None:
        """Notes one mistake; ``line`` counts from 1."""
        self.found.append(CatalogueError(file, line, message, suggestion))


@dataclass
class Section:
    """One mapping of a YAML file. Reading a key that does not fit notes a mistake and gives the default."""

    file: str
    line: int
    where: str
    content: CommentedMap
    mistakes: Mistakes
    asked: set[str] = field(default_factory=set)

    def line_of(self, key: object) -> int:
        """The line of a key, counted from 1; the section's own line if it has no such key."""
        try:
            return int(self.content.lc.key(key)[0]) + 1
        except (AttributeError, KeyError, TypeError):
            return self.line

    def wrong(self, key: object, message: str, suggestion: str = "") -> None:
        """Notes a mistake at a key."""
        path = f"{self.where}.{key}" if self.where else str(key)
        self.mistakes.add(self.file, self.line_of(key), f"{path} {message}", suggestion)

    def take(self, key: str) -> Any:
        """What stands at the key, None if nothing; the key counts as known."""
        self.asked.add(key)
        return self.content.get(key)

    def text(self, key: str, default: str = "") -> str:
        """A text."""
        found = self.take(key)
        if found is None:
            return default
        if not isinstance(found, str):
            self.wrong(key, "must be text", "write it in quotes")
            return default
        return str(found)

    def required_text(self, key: str) -> str:
        """A text that must be there."""
        found = self.text(key)
        if not found and self.content.get(key) is None:
            self.wrong(key, "is missing", "write it as text")
        return found

    def flag(self, key: str) -> bool:
        """True or false; false if nothing stands there."""
        found = self.take(key)
        if found is None:
            return False
        if not isinstance(found, bool):
            self.wrong(key, "must be true or false", "write one of the two without quotes")
            return False
        return found

    def whole(self, key: str, default: int | None = None) -> int | None:
        """A whole number."""
        found = self.take(key)
        if found is None:
            return default
        if isinstance(found, bool) or not isinstance(found, int):
            self.wrong(key, "must be a whole number", "write it without quotes: 3")
            return default
        return int(found)

    def number(self, key: str) -> float | None:
        """A number."""
        found = self.take(key)
        if found is None:
            return None
        if isinstance(found, bool) or not isinstance(found, int | float):
            self.wrong(key, "must be a number", "write it without quotes: 0.5")
            return None
        return float(found)

    def texts(self, key: str) -> tuple[str, ...]:
        """A list of texts."""
        found = self.take(key)
        if found is None:
            return ()
        if not isinstance(found, list) or not all(isinstance(item, str) for item in found):
            self.wrong(key, "must be a list of texts", "write [a, b]; put quotes around YES, NO and numbers")
            return ()
        return tuple(str(item) for item in found)

    def duration(self, key: str, default: int) -> int:
        """A length of time in microseconds."""
        found = self.take(key)
        if found is None or found == "":
            return default
        if not isinstance(found, str):
            self.wrong(key, "must be a length of time", "write 30d, 24h or 15m")
            return default
        try:
            return parse_duration(found)
        except ValueMistake as mistake:
            self.wrong(key, mistake.message, mistake.suggestion)
            return default

    def day(self, key: str) -> date | None:
        """A calendar day."""
        found = self.take(key)
        if found is None or type(found) is date:
            return found
        try:
            return parse_date(str(found))
        except ValueMistake as mistake:
            self.wrong(key, mistake.message, mistake.suggestion)
            return None

    def money(self, key: str) -> Money | None:
        """``12.50 EUR``, or a mapping with amount and currency."""
        found = self.take(key)
        if found is None:
            return None
        try:
            if isinstance(found, dict):
                return make_money(found.get("amount"), found.get("currency"))
            return parse_money(str(found))
        except ValueMistake as mistake:
            self.wrong(key, mistake.message, "write 12.50 EUR")
            return None

    def word(self, key: str, words: type[Word]) -> Word | None:
        """One word of a closed list."""
        text = self.text(key)
        if not text:
            return None
        try:
            return words(text)
        except ValueError:
            self.wrong(key, f"is {text!r}, which is not known", "write one of " + ", ".join(words))
            return None

    def section(self, key: str) -> "Section | None":
        """The mapping at a key."""
        found = self.take(key)
        return None if found is None else self._below(key, found)

    def sections(self) -> Iterator[tuple[str, "Section"]]:
        """Every key with the mapping at it; a key with nothing behind it has an empty one."""
        for key, found in self.content.items():
            below = self._below(key, CommentedMap() if found is None else found)
            if below is not None:
                yield str(key), below

    def done(self) -> None:
        """Every key that nobody asked for is a mistake."""
        for key in self.content:
            if key not in self.asked:
                near = get_close_matches(str(key), sorted(self.asked), n=1)
                known = ", ".join(sorted(self.asked))
                self.wrong(
                    key, "is not known here", f"did you mean {near[0]}?" if near else f"known are {known}"
                )

    def _below(self, key: object, found: object) -> "Section | None":
        if not isinstance(found, CommentedMap):
            self.wrong(key, "must be a mapping", "write key: value lines below it")
            return None
        where = f"{self.where}.{key}" if self.where else str(key)
        return Section(self.file, self.line_of(key), where, found, self.mistakes)


def parse(text: bytes) -> Any:
    """What a text of YAML 1.2 holds, with lines; nobody changes it. ruamel's errors where it is none."""
    reader = YAML(typ="rt")
    reader.version = (1, 2)
    return reader.load(text)


def read_yaml(path: Path, shown: str, mistakes: Mistakes) -> Section | None:
    """The file's mapping; None, with the mistakes noted, when it is no YAML or no mapping."""
    try:
        content = parse(path.read_bytes())
    except DuplicateKeyError as error:
        line = error.problem_mark.line + 1 if error.problem_mark is not None else 1
        mistakes.add(shown, line, "a key is given twice", "keep one of them")
        return None
    except MarkedYAMLError as error:
        mark = error.problem_mark or error.context_mark
        mistakes.add(
            shown, mark.line + 1 if mark is not None else 1, f"is no YAML: {error.problem or error.context}"
        )
        return None
    except (YAMLError, ValueError) as error:  # bytes that are no text, or a day that does not exist
        suggestion = "save it as UTF-8 text, and put quotes around what looks like a day and is none"
        mistakes.add(shown, 1, f"is no YAML: {type(error).__name__}", suggestion)
        return None
    if content is None:
        content = CommentedMap()
    if not isinstance(content, CommentedMap):
        mistakes.add(shown, 1, "must hold a mapping", "write name: {…} lines")
        return None
    return Section(shown, 1, "", content, mistakes)
