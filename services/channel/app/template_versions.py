"""Versions of texts: saved as drafts, put in force, and rolled back."""

import hashlib
from collections.abc import Sequence
from typing import Protocol

from services.channel.app.preview import Previews
from services.channel.domain.errors import TemplateChangedError, UnknownTemplateError
from services.channel.domain.templates import (
    FILE_VERSION,
    CompiledText,
    TextKey,
    TextVersion,
)


class TemplateVersions(Protocol):
    """Versions in one transaction of the database."""

    async def lock(self, key: TextKey) -> None:
        """Nobody else saves or activates a version of this text until the end."""

    async def newest(self, key: TextKey) -> TextVersion | None:
        """The version saved last."""

    async def get(self, key: TextKey, version: int) -> TextVersion | None:
        """One version."""

    async def history(self, key: TextKey, before: int, limit: int) -> Sequence[TextVersion]:
        """Versions below the number `before` (0: all), newest first."""

    async def add(self, key: TextKey, version: int, source: str, author: str) -> None:
        """Keeps a version, and notes it in the audit log."""

    async def in_force(self, key: TextKey) -> int:
        """The version in force; FILE_VERSION: the file."""

    async def activate(self, key: TextKey, version: int, before: int, by: str) -> None:
        """Puts a version in force (FILE_VERSION: the file again), tells all processes, notes it."""

    async def newest_numbers(self) -> dict[TextKey, int]:
        """The newest version of every text that has any."""


async def save(versions: TemplateVersions, key: TextKey, source: str, *, expected: int, author: str) -> int:
    """Keeps a version of a text that was checked before; its number.

    Raises TemplateChangedError when the newest version is not the one that the author saw.
    """
    await versions.lock(key)
    newest = await versions.newest(key)
    number = newest.version if newest is not None else FILE_VERSION
    if number != expected:
        seen = f"version {expected}" if expected else "no version"
        now = f"version {number} by {newest.author}" if newest is not None else "no version"
        raise TemplateChangedError(
            f"{key}: {seen} was expected to be the newest, but there is {now}; look at it first"
        )
    await versions.add(key, number + 1, source, author)
    return number + 1


async def activate(
    versions: TemplateVersions,
    previews: Previews[CompiledText],
    key: TextKey,
    version: int,
    *,
    has_file: bool,
    by: str,
) -> int:
    """Puts a version in force, or the file again; the version in force before.

    Raises UnknownTemplateError for one that there is not, InvalidTemplateError for one that cannot be used:
    the rules for templates, or the parameters of its template, may have changed since it was saved.
    """
    await versions.lock(key)
    if version == FILE_VERSION:
        if not has_file:
            raise UnknownTemplateError(f"there is no file {key}.j2; name a saved version")
    else:
        found = await versions.get(key, version)
        if found is None:
            raise UnknownTemplateError(
                f"{key} has no version {version}; rapport templates history lists them"
            )
        await previews.check(key, found.source)
    before = await versions.in_force(key)
    await versions.activate(key, version, before, by)
    return before


def digest(source: str) -> str:
    """What the audit log remembers of a text."""
    return hashlib.sha256(source.encode()).hexdigest()[:32]
