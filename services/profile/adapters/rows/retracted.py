"""Events that were taken by mistake, and are taken back."""

from services.profile.adapters.rows.base import Rows
from services.profile.adapters.rows.kept import open_event
from services.profile.app.ports import KeptEvent
from services.runtime.audit import Change, write_audit


class RetractedRows(Rows):
    """Rows of `event` that are marked; nothing of them counts any more."""

    async def kept_event(self, customer: int, source: str, event_id: str) -> KeptEvent | None:
        """Looked for among the customer's own events only."""
        row = await self.transaction.row(
            "SELECT customer, sequence, type, time_micros, line, data, retracted_micros FROM event "
            "WHERE customer = %s AND source = %s AND event_id = %s",
            (customer, source, event_id),
        )
        if row is None:
            return None
        number, sequence, event_type, time_micros, line, data, retracted_micros = row
        opened = open_event(self._store.types.sealer, number, sequence, bytes(data))
        return KeptEvent(number, sequence, event_type, time_micros, line, opened, retracted_micros > 0)

    async def retract(self, event: KeptEvent, last_micros: int | None, now_micros: int) -> None:
        """Mark it, put the last time of its type right, and tell the audit log."""
        place = (event.customer, event.sequence)
        await self.transaction.execute(
            "UPDATE event SET retracted_micros = %s WHERE customer = %s AND sequence = %s",
            (max(now_micros, 1), *place),
        )
        if last_micros == 0:
            await self.transaction.execute(
                "DELETE FROM last_time WHERE type = %s AND customer = %s", (event.type, event.customer)
            )
        elif last_micros is not None:
            await self.transaction.execute(
                "UPDATE last_time SET time_micros = %s "
                "WHERE type = %s AND customer = %s AND time_micros > %s",
                (last_micros, event.type, event.customer, last_micros),
            )
        await write_audit(
            self.transaction,
            Change("event.retract", f"customer/{place[0]}/event/{place[1]}", after={"type": event.type}),
        )
