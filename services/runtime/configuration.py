"""Writes into the audit log which versions of its configuration files a service works with."""

import asyncio
from collections.abc import Callable, Hashable, Mapping
from contextlib import suppress
from pathlib import Path

from services.runtime.audit import Change, newest_audit, write_audit
from services.runtime.database import Database
from services.runtime.digests import Digests, digest_files
from services.runtime.errors import UnavailableError
from services.runtime.retention import RETENTION_FILE

ACCESS_FILE = "policies/access.yaml"
_LOCK = 0x5261_7070_03


class WatchedFile:
    """The digest of one file that is read again when it changes."""

    def __init__(self, folder: Path, name: str) -> None:
        self._folder = folder
        self._name = name
        self._seen: Hashable = None
        self._digests: Digests = {}

    def digests(self) -> Digests:
        """As it stands; read only if it changed since the last time."""
        try:
            status = (self._folder / self._name).stat()
        except OSError:
            return {}
        seen = (status.st_mtime_ns, status.st_size)
        if seen != self._seen:
            self._seen = seen
            self._digests = digest_files(self._folder, self._name)
        return self._digests


def file_sources(rules: Path) -> dict[str, Callable[[], Digests]]:
    """What every service reads of a rules folder: the catalogue once, two policies whenever they change."""
    catalogue = digest_files(rules, "catalogue/*.yaml")
    return {
        "catalogue": lambda: catalogue,
        "access": WatchedFile(rules, ACCESS_FILE).digests,
        "retention": WatchedFile(rules, RETENTION_FILE).digests,
    }


class ConfigurationLog:
    """Notes each change of what a role has loaded: `sources` gives, by name, the digests of its files.

    A role that starts notes nothing if the last entry, whichever role wrote it, says the same.
    """

    def __init__(
        self,
        database: Database,
        role: str,
        sources: Mapping[str, Callable[[], Digests]],
        *,
        every_seconds: float = 1.0,
    ) -> None:
        self._database = database
        self._role = role
        self._sources = sources
        self._every_seconds = every_seconds
        self._noted: dict[str, Digests] = {}

    async def run(self) -> None:
        """Look until cancelled; a database that is away is waited for."""
        while True:
            with suppress(UnavailableError):
                await self.note()
            await asyncio.sleep(self._every_seconds)

    async def note(self) -> int:
        """Write down what changed since the last look; how many entries."""
        written = 0
        for name, source in self._sources.items():
            digests = dict(source())
            if self._noted.get(name) != digests:
                written += await self._write(f"configuration/{name}", digests)
                self._noted[name] = digests
        return written

    async def _write(self, target: str, digests: Digests) -> bool:
        async with self._database.transaction() as transaction:
            await transaction.execute("SELECT pg_advisory_xact_lock(%s)", (_LOCK,))
            newest = await newest_audit(transaction, target)
            before = None if newest is None or newest.after is None else newest.after
            if digests == ({} if before is None else before["files"]):
                return False
            await write_audit(
                transaction,
                Change(
                    "configuration.load",
                    target,
                    before=None if before is None else {"files": before["files"]},
                    after={"files": digests, "role": self._role},
                ),
            )
        return True
