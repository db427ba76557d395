"""The channel service's database."""

from collections.abc import AsyncIterator, Callable, Sequence
from contextlib import asynccontextmanager
from typing import Any
from uuid import UUID

from services.channel.adapters.storage import rows
from services.channel.adapters.storage.transaction import PostgresTransaction
from services.channel.app.store import MessageFilter
from services.channel.domain.actions import Action
from services.channel.domain.messages import Change, Message
from services.runtime.database import Database, Transaction
from services.runtime.keys import Sealer
from services.runtime.operations import Progress
from services.runtime.outbox import Outbox

_MOST_REMEMBERED = 200_000


class PostgresStore:
    """Messages, slots, receipts. `read_action` turns a stored record into the action it was."""

    def __init__(
        self,
        database: Database,
        outbox: Outbox,
        read_action: Callable[[bytes], Action],
        sealer: Sealer,
        *,
        partitions: int = 64,
    ) -> None:
        self.database = database
        self._outbox = outbox
        self._read_action = read_action
        self._partitions = partitions
        self.sealer = sealer
        self._known: set[int] = set()

    @asynccontextmanager
    async def transaction(self) -> AsyncIterator[PostgresTransaction]:
        """One transaction."""
        async with self.database.transaction() as raw:
            yield self.within(raw)

    def within(self, raw: Transaction) -> PostgresTransaction:
        """The same, in a transaction that is open already."""
        return PostgresTransaction(
            raw,
            self._outbox,
            self._read_action,
            self._partitions,
            self.database.notify,
            self.sealer,
        )

    async def know_customers(self, customers: Sequence[int]) -> None:
        """Makes rows to lock, in a short transaction: two of them never wait for each other in a ring."""
        new = sorted(set(customers) - self._known)
        if not new:
            return
        async with self.database.transaction() as raw:
            await raw.execute(
                "INSERT INTO customer_gate SELECT unnest(%s::bigint[]) ORDER BY 1 ON CONFLICT DO NOTHING",
                (new,),
            )
        if len(self._known) > _MOST_REMEMBERED:
            self._known.clear()
        self._known.update(new)

    async def find(self, message_id: str) -> tuple[Message, list[Change]] | None:
        """A message with its history."""
        async with self.database.transaction() as raw:
            row = await raw.row(
                f"SELECT {rows.COLUMNS}, m.history FROM message m "  # noqa: S608
                "LEFT JOIN message_body b USING (customer, message_id) WHERE m.message_id = %s",
                (UUID(message_id),),
            )
        if row is None:
            return None
        return rows.read_message(row, self.sealer), rows.read_history(bytes(row[rows.WIDTH]))

    async def list(self, wanted: MessageFilter, before: int, limit: int) -> list[tuple[int, Message]]:
        """Messages with their numbers, newest first."""
        where = ["(%(before)s::bigint = 0 OR m.number < %(before)s)"]
        values: dict[str, Any] = {"before": before, "limit": limit}
        if wanted.customer:
            where.append("(m.customer = %(customer)s OR m.recipient = %(customer)s)")
            values["customer"] = wanted.customer
        if wanted.states:
            where.append("m.state = ANY(%(states)s::text[])")
            values["states"] = sorted(state.value for state in wanted.states)
        if wanted.channel is not None:
            where.append("m.channel = %(channel)s")
            values["channel"] = wanted.channel.value
        if wanted.reason is not None:
            where.append("m.reason = %(reason)s")
            values["reason"] = wanted.reason.value
        async with self.database.transaction() as raw:
            found = await raw.rows(
                f"SELECT {rows.COLUMNS}, m.number FROM message m "  # noqa: S608
                "LEFT JOIN message_body b USING (customer, message_id) "
                f"WHERE {' AND '.join(where)} ORDER BY m.number DESC LIMIT %(limit)s",
                values,
            )
        return [(row[rows.WIDTH], rows.read_message(row, self.sealer)) for row in found]

    async def progress(self, transaction: Transaction, now_micros: int) -> Progress:
        """How much is on its way, for the OperationsService."""
        found = await transaction.rows(
            """
            SELECT (SELECT count(*) FROM message WHERE state = 'planned')
                 + (SELECT count(*) FROM message WHERE state = 'sending')
                 + (SELECT count(*) FROM message
                    WHERE state IN ('accepted', 'deferred') AND due_micros <= %(now)s)
                 + (SELECT count(*) FROM message WHERE escalates_micros BETWEEN 1 AND %(now)s),
                   (SELECT count(*) FROM message
                    WHERE state IN ('accepted', 'deferred') AND due_micros > %(now)s),
                   (SELECT count(*) FROM receipt
                    WHERE state = '' AND message_id IS NOT NULL AND time_micros = 0)
            """,
            {"now": now_micros},
        )
        due, later, awaiting = found[0]
        return Progress(due_pending=due, planned=later, awaiting_receipt=awaiting)
