"""Events as they are kept, with the consents they tell of, and the events put on their way."""

from collections.abc import Mapping, Sequence

from services.profile.adapters.rows.ledger import LedgerRows
from services.profile.adapters.snapshots import event_batches, traces_of
from services.profile.app.ports import Handed, TakenEvent
from services.runtime.keys import Sealer
from services.runtime.streams import EVENTS
from services.runtime.totals import add_totals

_JSON = (b"{", b" ", b"\t", b"\n", b"\r")
"""With what an event's data begin unless they are sealed."""
_EVENT_COLUMNS = (
    "customer, sequence, time_micros, accepted_micros, type, source, event_id, line, hops, history, data"
)
_EVENT_TYPES = ("int8", "int8", "int8", "int8", "text", "text", "text", "text", "int2", "bool", "bytea")


class KeptRows(LedgerRows):
    """Tables `event`, `thing_event` and the exact totals, and what goes into the consent ledger with them."""

    async def keep(self, handed: Handed) -> None:
        """Write events and ledger, and put the events on their way, in this order."""
        await self._keep_events([item for item in handed.events if item.event.thing is None])
        await self._keep_thing_events([item for item in handed.events if item.event.thing is not None])
        await self.keep_ledger(handed.ledger)
        await self.hand_on(handed.events)

    async def hand_on(self, events: Sequence[TakenEvent]) -> None:
        """Put events on their way to the decision service."""
        store = self._store
        await store.outbox.put(
            self.transaction,
            EVENTS,
            event_batches(events, store.types, store.partitions),
            traces=traces_of(events, store.partitions),
        )

    async def _keep_events(self, items: Sequence[TakenEvent]) -> None:
        if items:
            await self.transaction.copy_rows(
                f"COPY event ({_EVENT_COLUMNS}, via) FROM STDIN (FORMAT BINARY)",
                (*_EVENT_TYPES, "int8"),
                [
                    (item.customer, item.sequence, *_event_row(item, self._data(item)), item.event.via)
                    for item in items
                ],
            )

    def _data(self, item: TakenEvent) -> bytes:
        types = self._store.types
        if not types.is_direct(item.event.type, item.event.fields):
            return item.event.data
        return types.sealer.seal(item.event.data, event_context(item.customer, item.sequence))

    async def _keep_thing_events(self, items: Sequence[TakenEvent]) -> None:
        if items:
            await self.transaction.copy_rows(
                f"COPY thing_event (thing, {_EVENT_COLUMNS.removeprefix('customer, ')}) "
                "FROM STDIN (FORMAT BINARY)",
                ("text", *_EVENT_TYPES[1:]),
                [
                    (item.event.thing.text, item.sequence, *_event_row(item, item.event.data))
                    for item in items
                    if item.event.thing is not None
                ],
            )

    async def count(self, totals: Mapping[str, int]) -> None:
        """Add to the exact totals."""
        await add_totals(self.transaction, totals)


def event_context(customer: int, sequence: int) -> str:
    """Where a sealed event stands."""
    return f"event/{customer}/{sequence}"


def open_event(sealer: Sealer, customer: int, sequence: int, data: bytes) -> bytes:
    """An event's data from its row, whether it stands sealed or not; SealError names the row."""
    if not data or data[:1] in _JSON:
        return data
    return sealer.open(data, event_context(customer, sequence))


def _event_row(item: TakenEvent, data: bytes) -> tuple[int, int, str, str, str, str, int, bool, bytes]:
    event = item.event
    return (
        event.time_micros,
        item.accepted_micros,
        event.type.name,
        event.source,
        event.id,
        item.line,
        event.hops,
        event.history,
        data,
    )
