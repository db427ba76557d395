"""A service's data keys: kept wrapped in its database, read by all its processes, wrapped anew, replaced."""

import asyncio
import secrets
from contextlib import suppress
from dataclasses import dataclass
from pathlib import Path
from typing import Final

import structlog

from services.runtime.audit import Change, write_audit
from services.runtime.credentials import file_stamp
from services.runtime.database import Database, Transaction
from services.runtime.errors import ConflictError, SettingError, UnavailableError
from services.runtime.keys import KEY_BYTES, Keyring, Sealer, SealError
from services.runtime.process import Role

RIPE_SECONDS: Final = 10.0
"""So long a new data key is only read by all processes before the first of them seals by it."""
_SETTLED: Final = 3
"""After so many times that long nobody seals by the data key before."""
_LOCK: Final = 0x5261_7070_06
_SELECT: Final = """
    SELECT number, wrapping, wrapped, lookup_check,
        made_at < clock_timestamp() - make_interval(secs => %s),
        (extract(epoch FROM made_at) * 1000000)::bigint
    FROM data_key WHERE wrapped IS NOT NULL ORDER BY number
"""
_log = structlog.get_logger(__name__)


@dataclass(frozen=True, slots=True)
class DataKey:
    """One data key as the database has it; `ripe`: every process knows it by now."""

    number: int
    wrapping: str
    wrapped: bytes
    lookup_check: bytes
    ripe: bool
    made_micros: int


class DataKeys:
    """Keeps a `Sealer` at what the database and the keys file hold."""

    def __init__(
        self,
        database: Database,
        sealer: Sealer,
        service: str,
        path: str,
        *,
        every_seconds: float = 1.0,
        ripe_seconds: float = RIPE_SECONDS,
    ) -> None:
        self._database = database
        self._sealer = sealer
        self._service = service
        self._path = Path(path)
        self._stamp = file_stamp(self._path)
        self._every_seconds = every_seconds
        self._ripe_seconds = ripe_seconds
        self._plain: dict[int, bytes] = {}

    async def begin(self) -> None:
        """Read the data keys, and make the first one; SettingError: the look-up key is another's."""
        async with self._database.transaction() as transaction:
            if not await self.known(transaction):
                await transaction.execute("SELECT pg_advisory_xact_lock(%s)", (_LOCK,))
                if not await self.known(transaction):
                    await self._add(transaction)
            self._load(await self.known(transaction))

    async def run(self) -> None:
        """Read them again until cancelled."""
        while True:
            await asyncio.sleep(self._every_seconds)
            with suppress(UnavailableError):
                await self.refresh()

    async def refresh(self) -> None:
        """What the file and the database hold now; what is wrong with them leaves the old in force."""
        self._read_file()
        async with self._database.transaction() as transaction:
            known = await self.known(transaction)
        try:
            self._load(known)
        except (SealError, SettingError) as error:
            _log.error("data_keys_not_taken", error=error.message)

    async def known(self, transaction: Transaction) -> list[DataKey]:
        """All that are not destroyed, the oldest first."""
        rows = await transaction.rows(_SELECT, (self._ripe_seconds,))
        return [DataKey(*row) for row in rows]

    async def rotate(self, transaction: Transaction) -> int:
        """Begin with a new data key; gives its number. ConflictError: one before is still being left."""
        await transaction.execute("SELECT pg_advisory_xact_lock(%s)", (_LOCK,))
        if len(await self.known(transaction)) > 1:
            raise ConflictError(
                "values are still being sealed anew", suggestion="wait until one data key is left"
            )
        number = await self._add(transaction)
        await write_audit(transaction, Change("keys.rotate", f"data_key/{number}", after={"number": number}))
        return number

    async def follow(self) -> None:
        """Begin with a new data key if the keys file wants one, once nothing is left of the one before."""
        async with self._database.transaction() as transaction:
            known = await self.known(transaction)
            if len(known) == 1 and known[0].number < self._sealer.ring.generation:
                await self.rotate(transaction)

    async def wrap_again(self) -> int:
        """Wrap by the current wrapping key what another one wrapped; how many."""
        async with self._database.transaction() as transaction:
            ring = self._sealer.ring
            stale = [key for key in await self.known(transaction) if key.wrapping != ring.current]
            for key in stale:
                plain = ring.unwrap(key.wrapping, key.wrapped, data_key_context(self._service, key.number))
                name, wrapped = ring.wrap(plain, data_key_context(self._service, key.number))
                await transaction.execute(
                    "UPDATE data_key SET wrapping = %s, wrapped = %s WHERE number = %s AND wrapping = %s",
                    (name, wrapped, key.number, key.wrapping),
                )
                change = Change(
                    "keys.wrap",
                    f"data_key/{key.number}",
                    before={"wrapping": key.wrapping},
                    after={"wrapping": name},
                )
                await write_audit(transaction, change)
        if stale:
            _log.info("data_keys_wrapped_again", count=len(stale))
        return len(stale)

    async def settled(self, transaction: Transaction, number: int) -> bool:
        """Whether nobody seals by a data key before this one any more, however slowly they read."""
        row = await transaction.row(
            "SELECT (SELECT count(*) FROM data_key WHERE wrapped IS NOT NULL) = 1 "
            "OR made_at < clock_timestamp() - make_interval(secs => %s) FROM data_key WHERE number = %s",
            (_SETTLED * self._ripe_seconds, number),
        )
        return row is not None and bool(row[0])

    async def destroy_before(self, transaction: Transaction, number: int) -> None:
        """Forget the data keys before one, by which nothing is sealed any more; only their numbers stay."""
        rows = await transaction.rows(
            "UPDATE data_key SET wrapped = NULL, destroyed_at = clock_timestamp() "
            "WHERE number < %s AND wrapped IS NOT NULL RETURNING number",
            (number,),
        )
        for (gone,) in rows:
            await write_audit(
                transaction, Change("keys.destroy", f"data_key/{gone}", before={"number": gone})
            )
            _log.info("data_key_destroyed", number=gone)

    async def _add(self, transaction: Transaction) -> int:
        row = await transaction.row("SELECT coalesce(max(number), 0) + 1 FROM data_key")
        assert row is not None
        number = int(row[0])
        ring = self._sealer.ring
        name, wrapped = ring.wrap(secrets.token_bytes(KEY_BYTES), data_key_context(self._service, number))
        await transaction.execute(
            "INSERT INTO data_key (number, wrapping, wrapped, lookup_check) VALUES (%s, %s, %s, %s)",
            (number, name, wrapped, self._check(ring)),
        )
        return number

    def _load(self, known: list[DataKey]) -> None:
        ring = self._sealer.ring
        plain: dict[int, bytes] = {}
        for key in known:
            if key.lookup_check != self._check(ring):
                raise SettingError(
                    "the keys file's look-up key is not the one this database was filled with",
                    field="RAPPORT_KEYS_FILE",
                    suggestion="give this installation's own keys file: by another, nobody would be found",
                )
            at_hand = self._plain.get(key.number)
            if at_hand is None:
                at_hand = ring.unwrap(key.wrapping, key.wrapped, data_key_context(self._service, key.number))
            plain[key.number] = at_hand
        self._plain = plain
        ripe = [key.number for key in known if key.ripe]
        self._sealer.load(plain, max(ripe) if ripe else min(plain))

    def _read_file(self) -> None:
        stamp = file_stamp(self._path)
        if stamp == self._stamp:
            return
        self._stamp = stamp
        try:
            ring = Keyring.read(str(self._path))
        except SettingError as error:
            _log.error("keys_file_not_taken", error=error.message)
            return
        if ring.lookup_key != self._sealer.ring.lookup_key:
            _log.error("keys_file_not_taken", error="its look-up key is another")
            return
        self._sealer.ring = ring
        _log.info("keys_file_taken", current=ring.current, keys=len(ring.wrapping))

    @staticmethod
    def _check(ring: Keyring) -> bytes:
        return ring.mac("look-up key", b"")


def data_key_context(service: str, number: int) -> str:
    """What a wrapped data key is bound to."""
    return f"{service}/data_key/{number}"


async def open_data_keys(role: Role, database: Database) -> tuple[Sealer, DataKeys]:
    """A role's sealer, kept up to date while it runs; SettingError without a keys file that fits."""
    path = role.settings.keys_file
    sealer = Sealer(Keyring.read(path))
    keys = DataKeys(database, sealer, role.settings.service, path)
    await role.reach("data keys", keys.begin)
    role.supervise("data-keys", keys.run)
    return sealer, keys
