"""Event types that travel with a snapshot, positions of streams, and the clock that is fed."""

from typing import Any

from services.profile.adapters.audience import last_times
from services.profile.adapters.rows.base import Rows
from services.profile.app.ports import ListenedTypes
from services.runtime.audit import Change, write_audit

GATHERING_CHANNEL = "gathering"
"""Notified when something else is to be gathered from the profiles."""
_LISTENED_LOCK = 0x5261_7070_01


class ListenedRows(Rows):
    """Tables `listened`, `gathering`, `stream_position` and `clock`."""

    async def listened(self) -> ListenedTypes:
        """The list in force: a shared lock, taken before it is read, keeps it until this transaction ends."""
        await self.transaction.execute("SELECT pg_advisory_xact_lock_shared(%s)", (_LISTENED_LOCK,))
        return await self._read_listened()

    async def set_listened(
        self, types: frozenset[str], absence: frozenset[str] = frozenset()
    ) -> ListenedTypes:
        """Put lists in force; every transaction that read those before has ended by then."""
        await self.transaction.execute("SELECT pg_advisory_xact_lock(%s)", (_LISTENED_LOCK,))
        before = await self._read_listened()
        if before.version and (before.types, before.absence) == (types, absence):
            return before
        after = ListenedTypes(before.version + 1, types, absence)
        await self.transaction.execute(
            "INSERT INTO listened (one, version, types, absence) VALUES (true, %s, %s, %s) "
            "ON CONFLICT (one) DO UPDATE SET version = excluded.version, types = excluded.types, "
            "absence = excluded.absence",
            (after.version, sorted(types), sorted(absence)),
        )
        await self._gather(before.absence, absence)
        await write_audit(
            self.transaction,
            Change(
                "listened_types.set",
                "listened_types",
                before=_listened_state(before) if before.version else None,
                after=_listened_state(after),
            ),
        )
        return after

    async def _read_listened(self) -> ListenedTypes:
        row = await self.transaction.row("SELECT version, types, absence FROM listened")
        return ListenedTypes() if row is None else ListenedTypes(row[0], frozenset(row[1]), frozenset(row[2]))

    async def _gather(self, before: frozenset[str], after: frozenset[str]) -> None:
        """Have the last times of new types gathered, and those of types that are gone forgotten."""
        new, gone = sorted(after - before), sorted(before - after)
        if not (new or gone):
            return
        await self.transaction.execute(
            "INSERT INTO gathering (name, state) SELECT name, 'filling' FROM unnest(%s::text[]) AS name "
            "ON CONFLICT (name) DO UPDATE SET state = 'filling', reached = 0",
            ([last_times(name) for name in new],),
        )
        await self.transaction.execute(
            "UPDATE gathering SET state = 'leaving' WHERE name = ANY(%s::text[])",
            ([last_times(name) for name in gone],),
        )
        self.transaction.after_commit(self._gathering_changed)

    def _gathering_changed(self) -> None:
        self._store.database.notify(GATHERING_CHANNEL)

    async def stream_position(self, stream_id: str) -> int:
        """The last sequence acknowledged on a stream; 0: none."""
        row = await self.transaction.row(
            "SELECT acknowledged FROM stream_position WHERE stream_id = %s", (stream_id,)
        )
        return 0 if row is None else row[0]

    async def move_stream(self, stream_id: str, sequence: int) -> None:
        """Set the last sequence acknowledged; it never goes back."""
        await self.transaction.execute(
            "INSERT INTO stream_position (stream_id, acknowledged) VALUES (%s, %s) ON CONFLICT (stream_id) "
            "DO UPDATE SET acknowledged = greatest(stream_position.acknowledged, excluded.acknowledged)",
            (stream_id, sequence),
        )

    async def clock(self) -> int:
        """Business time as fed; 0: never."""
        row = await self.transaction.row("SELECT business_micros FROM clock")
        return 0 if row is None else row[0]

    async def set_clock(self, micros: int) -> int:
        """Move business time on; it never goes back."""
        rows = await self.transaction.rows(
            "INSERT INTO clock (one, business_micros) VALUES (true, %s) ON CONFLICT (one) "
            "DO UPDATE SET business_micros = greatest(clock.business_micros, excluded.business_micros) "
            "RETURNING business_micros",
            (micros,),
        )
        return int(rows[0][0])


def _listened_state(listened: ListenedTypes) -> dict[str, Any]:
    state: dict[str, Any] = {"version": listened.version, "types": sorted(listened.types)}
    return state | ({"absence_types": sorted(listened.absence)} if listened.absence else {})
