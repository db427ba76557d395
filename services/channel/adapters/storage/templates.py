"""Versions of texts in PostgreSQL, and the one in force of each."""

import asyncio
from collections.abc import Sequence
from typing import Any

import structlog

from services.channel.adapters.templates import JinjaRenderer, Text
from services.channel.app.template_versions import digest
from services.channel.domain.errors import InvalidTemplateError
from services.channel.domain.templates import FILE_VERSION, TextKey, TextVersion
from services.runtime.audit import Change, write_audit
from services.runtime.database import Database, Transaction
from services.vocabulary.words import Channel

TEMPLATES_NOTICE = "channel_templates"
"""NOTIFY channel on which every process hears of a version put in force; the payload is empty."""
_THIS = "name = %(name)s AND locale = %(locale)s AND channel = %(channel)s"
_VERSIONS = f"""
    SELECT version, source, author, (extract(epoch FROM saved_at) * 1000000)::bigint,
        version = coalesce((SELECT a.version FROM template_active a
            WHERE a.name = v.name AND a.locale = v.locale AND a.channel = v.channel), 0)
    FROM template_version v WHERE {_THIS}
"""  # noqa: S608 - our own condition
_ACTIVE = """
    SELECT a.name, a.locale, a.channel, a.version FROM template_active a
"""
_SOURCES = """
    SELECT v.name, v.locale, v.channel, v.version, v.source
    FROM unnest(%(names)s::text[], %(locales)s::text[], %(channels)s::text[], %(versions)s::int[])
        AS wanted (name, locale, channel, version)
    JOIN template_version v USING (name, locale, channel, version)
"""
_log = structlog.get_logger(__name__)


class PostgresVersions:
    """Versions in one transaction."""

    def __init__(self, raw: Transaction, database: Database) -> None:
        self._raw = raw
        self._database = database

    async def lock(self, key: TextKey) -> None:
        """Until the end of the transaction."""
        await self._raw.execute("SELECT pg_advisory_xact_lock(hashtextextended(%s, 0))", (f"template/{key}",))

    async def newest(self, key: TextKey) -> TextVersion | None:
        """The version saved last."""
        found = await self.history(key, 0, 1)
        return found[0] if found else None

    async def get(self, key: TextKey, version: int) -> TextVersion | None:
        """One version."""
        row = await self._raw.row(f"{_VERSIONS} AND version = %(version)s", _values(key, version=version))
        return None if row is None else TextVersion(key, *row)

    async def history(self, key: TextKey, before: int, limit: int) -> Sequence[TextVersion]:
        """Newest first."""
        rows = await self._raw.rows(
            f"{_VERSIONS} AND (%(before)s::int = 0 OR version < %(before)s) "
            "ORDER BY version DESC LIMIT %(limit)s",
            _values(key, before=before, limit=limit),
        )
        return [TextVersion(key, *row) for row in rows]

    async def add(self, key: TextKey, version: int, source: str, author: str) -> None:
        """Keeps a version."""
        await self._raw.execute(
            "INSERT INTO template_version (name, locale, channel, version, source, author) "
            "VALUES (%(name)s, %(locale)s, %(channel)s, %(version)s, %(source)s, %(author)s)",
            _values(key, version=version, source=source, author=author),
        )
        after = {"version": version, "digest": digest(source)}
        await write_audit(self._raw, Change("templates.save", f"template/{key}", None, after))

    async def in_force(self, key: TextKey) -> int:
        """The version in force."""
        row = await self._raw.row(
            f"SELECT version FROM template_active WHERE {_THIS}",  # noqa: S608 - our own condition
            _values(key),
        )
        return FILE_VERSION if row is None else int(row[0])

    async def activate(self, key: TextKey, version: int, before: int, by: str) -> None:
        """Puts a version in force."""
        if version == FILE_VERSION:
            await self._raw.execute(
                f"DELETE FROM template_active WHERE {_THIS}",  # noqa: S608 - our own condition
                _values(key),
            )
        else:
            await self._raw.execute(
                """
                INSERT INTO template_active (name, locale, channel, version, activated_by)
                VALUES (%(name)s, %(locale)s, %(channel)s, %(version)s, %(by)s)
                ON CONFLICT (name, locale, channel) DO UPDATE SET
                    version = excluded.version, activated_by = excluded.activated_by, activated_at = now()
                """,
                _values(key, version=version, by=by),
            )
        change = Change("templates.activate", f"template/{key}", {"version": before}, {"version": version})
        await write_audit(self._raw, change)
        self._raw.after_commit(lambda: self._database.notify(TEMPLATES_NOTICE))

    async def newest_numbers(self) -> dict[TextKey, int]:
        """The newest version of every text that has any."""
        rows = await self._raw.rows(
            "SELECT name, locale, channel, max(version) FROM template_version GROUP BY name, locale, channel"
        )
        return {TextKey(name, locale, Channel(channel)): newest for name, locale, channel, newest in rows}


class TemplateKeeper:
    """Keeps a renderer at the versions in force; one that cannot be used leaves what was in force before."""

    def __init__(self, database: Database, renderer: JinjaRenderer) -> None:
        self._database = database
        self._renderer = renderer
        self._seen: dict[TextKey, int] = {}
        self._texts: dict[TextKey, Text] = {}

    async def refresh(self) -> bool:
        """Looks what is in force; True when that changed."""
        async with self._database.transaction() as raw:
            rows = await raw.rows(_ACTIVE)
            active = {
                TextKey(name, locale, Channel(channel)): version for name, locale, channel, version in rows
            }
            if active == self._seen:
                return False
            new = {key: version for key, version in active.items() if self._seen.get(key) != version}
            sources = await raw.rows(_SOURCES, _wanted(new)) if new else []
        texts = {key: text for key, text in self._texts.items() if key in active}
        for name, locale, channel, version, source in sources:
            key = TextKey(name, locale, Channel(channel))
            try:
                texts[key] = await asyncio.to_thread(self._renderer.compile, source, str(version))
            except InvalidTemplateError as error:
                _log.error("template.unusable", template=str(key), version=version, problem=str(error))
        self._renderer.put(texts)
        self._texts, self._seen = texts, active
        _log.info("templates_in_force", versions=len(texts))
        return True


def _wanted(new: dict[TextKey, int]) -> dict[str, list[Any]]:
    return {
        "names": [key.name for key in new],
        "locales": [key.locale for key in new],
        "channels": [key.channel.value for key in new],
        "versions": list(new.values()),
    }


def _values(key: TextKey, **more: Any) -> dict[str, Any]:
    return {"name": key.name, "locale": key.locale, "channel": key.channel.value, **more}
