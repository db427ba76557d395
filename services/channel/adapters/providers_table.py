"""One map of the providers file, read key by key; each mistake says its line and what would be right."""

import re
from enum import StrEnum
from pathlib import Path
from typing import TypeVar

from ruamel.yaml.comments import CommentedMap

from services.channel.adapters.policies.reading import Mistakes, line_of, only
from services.channel.domain.errors import PolicyError
from services.vocabulary.values import SECOND, parse_duration

Word = TypeVar("Word", bound=StrEnum)
_TON_NPI = re.compile(r"([0-7])/([0-9]|1[0-9])")


class Table:
    """A map under a name."""

    def __init__(self, raw: CommentedMap, name: str, mistakes: Mistakes, folder: Path, line: int = 1) -> None:
        """`folder`: where files lie that are named without one."""
        self.folder = folder
        self.raw = raw
        self.name = name
        self.mistakes = mistakes
        self.line = line

    def only(self, *allowed: str) -> None:
        """Raises PolicyError for a key that is not allowed."""
        only(self.raw, allowed, self.mistakes, self.raw)

    def wrong(self, key: str, what: str, right: str) -> PolicyError:
        """The error about a key's value, which is not repeated: it may be secret."""
        return self.mistakes.at(line_of(self.raw, key), f"{key} of {self.name} {what}", right)

    def table(self, key: str) -> "Table | None":
        """The map under a key; None: there is none."""
        return self.part(key) if self.raw.get(key) is not None else None

    def part(self, key: str) -> "Table":
        """The map under a key that is there."""
        found = self.raw[key]
        line = line_of(self.raw, key)
        if not isinstance(found, CommentedMap):
            raise self.mistakes.at(line, f"{key} is not a map", "write `name: value` lines under it")
        return Table(found, key, self.mistakes, self.folder, line)

    def text(self, key: str, *, longest: int = 255) -> str:
        """A text; empty: there is none."""
        found = self.raw.get(key)
        if found is None:
            return ""
        if not isinstance(found, str | int) or isinstance(found, bool) or len(str(found)) > longest:
            raise self.wrong(key, "is not a text", f"write up to {longest} characters, numbers in quotes")
        return str(found)

    def needed(self, key: str, *, longest: int = 255) -> str:
        """A text that must be there."""
        found = self.text(key, longest=longest)
        if not found:
            raise self.mistakes.at(self.line, f"{self.name} has no {key}", "write it")
        return found

    def number(self, key: str, usual: int, *, least: int, most: int) -> int:
        """A whole number."""
        found = self.raw.get(key, usual)
        if not isinstance(found, int) or isinstance(found, bool) or not least <= found <= most:
            raise self.wrong(key, "is not right", f"write a whole number from {least} to {most}")
        return int(found)

    def flag(self, key: str, *, default: bool) -> bool:
        """True or false."""
        found = self.raw.get(key, default)
        if not isinstance(found, bool):
            raise self.wrong(key, "is not right", "write true or false")
        return found

    def seconds(self, key: str, usual: float) -> float:
        """A length of time, 1 s to a day."""
        if key not in self.raw:
            return usual
        try:
            micros = parse_duration(str(self.raw[key]))
        except ValueError as error:
            raise self.wrong(key, "is no length of time", "write 15s, 2m") from error
        if not SECOND <= micros <= 86_400 * SECOND:
            raise self.wrong(key, "is not right", "write 1s to 24h")
        return micros / SECOND

    def one_of(self, key: str, words: tuple[str, ...]) -> str:
        """One of some words; the first when nothing is said."""
        found = str(self.raw.get(key, words[0]))
        if found not in words:
            raise self.wrong(key, "is unknown", f"use {' or '.join(words)}")
        return found

    def word(self, key: str, kind: type[Word], usual: Word) -> Word:
        """One of the words of an enumeration."""
        return kind(self.one_of(key, (usual.value, *(one.value for one in kind if one is not usual))))

    def address(self, key: str) -> tuple[str, int]:
        """`host:port`, which must be there."""
        host, _, port = self.needed(key).rpartition(":")
        if not host or not port.isdecimal() or not 0 < int(port) < 65_536:
            raise self.wrong(key, "is no address", "say host:port")
        return host.strip("[]"), int(port)

    def ton_npi(self, key: str, usual: tuple[int, int]) -> tuple[int, int]:
        """Type of number and numbering plan."""
        if key not in self.raw:
            return usual
        found = _TON_NPI.fullmatch(str(self.raw[key]))
        if found is None:
            raise self.wrong(key, "is no type and plan", "write type/plan such as 1/1 (SMPP 3.4 §5.2.5)")
        return int(found[1]), int(found[2])

    def file(self, key: str) -> str | None:
        """The path of a file, which must be there if it is named."""
        named = self.text(key)
        if not named:
            return None
        path = self.folder / named
        if not path.is_file():
            raise self.wrong(key, "names a file that is not there", "name one that this user may read")
        return str(path)

    def secret(self, key: str) -> str:
        """What a file holds, without its line end."""
        self.needed(key)
        path = self.file(key)
        try:
            return Path(path or "").read_text(encoding="utf-8").rstrip("\r\n")
        except (OSError, ValueError) as error:
            raise self.wrong(key, "cannot be read", "name a text file that this user may read") from error
