"""Catalogues of the past in PostgreSQL, so that old decisions can be run again."""

from __future__ import annotations

from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from services.runtime.database import Database


class CatalogueStore:
    """The KeptCatalogues port on PostgreSQL. What is kept once stays: it is small, and names no person."""

    def __init__(self, database: Database) -> None:
        self._database = database

    async def keep(self, version: str, files: bytes) -> None:
        """Keeps a catalogue that a role works with; the same again changes nothing."""
        async with self._database.transaction() as transaction:
            await transaction.execute(
                "INSERT INTO catalogue_kept (version, files) VALUES (%(version)s, %(files)s) "
                "ON CONFLICT DO NOTHING",
                {"version": version, "files": files},
            )

    async def files(self, version: str) -> bytes | None:
        """The files of that version, packed; None: they are not kept."""
        async with self._database.transaction() as transaction:
            row = await transaction.row(
                "SELECT files FROM catalogue_kept WHERE version = %(version)s", {"version": version}
            )
        return None if row is None else bytes(row[0])
