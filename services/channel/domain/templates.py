"""Texts of templates and their versions."""

from dataclasses import dataclass

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
