"""Events and the consent ledger as they are kept, and the events put on their way."""

from collections.abc import Mapping, Sequence
from typing import Any

from services.profile.adapters.rows.base import Rows
from services.profile.adapters.snapshots import event_batches, traces_of
from services.profile.app.ports import Handed, LedgerEntry, TakenEvent
from services.profile.domain.consent import Consent
from services.runtime.audit import Change, write_audit
from services.runtime.streams import EVENTS
from services.runtime.totals import add_totals

_EVENT_COLUMNS = (
    "customer, sequence, time_micros, accepted_micros, type, source, event_id, line, hops, history, data"
)
_EVENT_TYPES = ("int8", "int8", "int8", "int8", "text", "text", "text", "text", "int2", "bool", "bytea")


class KeptRows(Rows):
    """Tables `event`, `thing_event`, `consent_ledger` and the exact totals."""

    async def keep(self, handed: Handed) -> None:
        """Write events and ledger, and put the events on their way, in this order."""
        await self._keep_events([item for item in handed.events if item.event.thing is None])
        await self._keep_thing_events([item for item in handed.events if item.event.thing is not None])
        await self._keep_ledger(handed.ledger)
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
                f"COPY event ({_EVENT_COLUMNS}) FROM STDIN (FORMAT BINARY)",
                _EVENT_TYPES,
                [(item.customer, item.sequence, *_event_row(item)) for item in items],
            )

    async def _keep_thing_events(self, items: Sequence[TakenEvent]) -> None:
        if items:
            await self.transaction.copy_rows(
                f"COPY thing_event (thing, {_EVENT_COLUMNS.removeprefix('customer, ')}) "
                "FROM STDIN (FORMAT BINARY)",
                ("text", *_EVENT_TYPES[1:]),
                [
                    (item.event.thing.text, item.sequence, *_event_row(item))
                    for item in items
                    if item.event.thing is not None
                ],
            )

    async def _keep_ledger(self, entries: Sequence[LedgerEntry]) -> None:
        if entries:
            await self.transaction.copy_rows(
                "COPY consent_ledger (customer, purpose, channel, state, said_by, time_micros, "
                "expiry_micros, evidence, wording, source, event_id) FROM STDIN (FORMAT BINARY)",
                ("int8", "text", "text", "text", "text", "int8", "int8", "text", "text", "text", "text"),
                [
                    (
                        entry.customer,
                        entry.consent.purpose.value,
                        None if entry.consent.channel is None else entry.consent.channel.value,
                        entry.consent.state.value,
                        entry.consent.by.value,
                        entry.consent.time_micros,
                        entry.consent.expiry_micros,
                        entry.evidence,
                        entry.wording,
                        entry.source,
                        entry.event_id,
                    )
                    for entry in entries
                ],
            )
            await write_audit(self.transaction, *map(_consent_change, entries))

    async def count(self, totals: Mapping[str, int]) -> None:
        """Add to the exact totals."""
        await add_totals(self.transaction, totals)


def _consent_change(entry: LedgerEntry) -> Change:
    """A line of the ledger as the audit log knows it: whose by id, and what counted before and since."""
    channel = "all" if entry.consent.channel is None else entry.consent.channel.value
    after = _consent_state(entry.after) or {}
    if entry.after != entry.consent:
        after["without_effect"] = _consent_state(entry.consent)
    return Change(
        "consent.record",
        f"customer/{entry.customer}/consent/{entry.consent.purpose.value}/{channel}",
        before=_consent_state(entry.before),
        after=after | {"source": entry.source},
        actor=entry.actor,
    )


def _consent_state(consent: Consent | None) -> dict[str, Any] | None:
    if consent is None:
        return None
    return {
        "state": consent.state.value,
        "by": consent.by.value,
        "time_micros": consent.time_micros,
        "expiry_micros": consent.expiry_micros,
    }


def _event_row(item: TakenEvent) -> tuple[int, int, str, str, str, str, int, bool, bytes]:
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
        event.data,
    )
