"""Texts of templates and their versions."""

from dataclasses import dataclass, field
from typing import Protocol

from services.vocabulary.words import Channel


@dataclass(frozen=True, slots=True, order=True)
class TextKey:
    """One text: of a template, in a language, on a channel."""

    name: str
    locale: str
    channel: Channel

    def __str__(self) -> str:
        """`plan-upgrade/fr.sms`, as the file is named."""
        return f"{self.name}/{self.locale}.{self.channel.value}"


FILE_VERSION = 0
"""The file of rules/templates, in force where no saved version is."""


@dataclass(frozen=True, slots=True)
class TextVersion:
    """One saved version."""

    key: TextKey
    version: int
    """From 1."""
    source: str
    author: str
    saved_micros: int
    """On the wall's clock."""
    in_force: bool = False


@dataclass(frozen=True, slots=True)
class Plural:
    """One use of the filter `plural`."""

    line: int
    forms: frozenset[str]


@dataclass(frozen=True, slots=True)
class Used:
    """What a template asks for and says."""

    parameters: dict[str, int] = field(default_factory=dict)
    """Names that the action must give, with the line of their first use."""
    optional: frozenset[str] = frozenset()
    """Those of them that are asked for with `is defined` or `default`."""
    traits: frozenset[str] = frozenset()
    plurals: tuple[Plural, ...] = ()
    texts: tuple[tuple[int, str], ...] = ()
    """Fixed texts with their lines."""


class CompiledText(Protocol):
    """A text that can be filled."""

    @property
    def source(self) -> str:
        """What its author wrote."""

    @property
    def version(self) -> str:
        """A number, `draft`, or `file:` and the beginning of the file's digest."""

    @property
    def used(self) -> Used:
        """What it asks for and says."""

    @property
    def has_subject(self) -> bool:
        """Whether it has a subject."""


@dataclass(frozen=True, slots=True)
class TextWarning:
    """Something that the author should look at; `code` is a stable word."""

    code: str
    message: str
