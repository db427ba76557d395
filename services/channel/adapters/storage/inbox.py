"""The in-app inbox in PostgreSQL."""

from collections.abc import Mapping, Sequence

from services.channel.app.ports import InboxEntry, Outgoing
from services.runtime.database import Database

INBOX_NOTICE = "channel_inbox"
"""NOTIFY channel on which watchers hear of new entries."""

_LOCK = 0x696E_626F_78


class PostgresInbox:
    """Entries get their cursors one transaction after the other: none appears behind a reader.

    After a restore they begin above all that were given out before: a reader may know those.
    """

    def __init__(self, database: Database) -> None:
        self._database = database

    async def put(self, batch: Sequence[Outgoing]) -> Mapping[str, int]:
        """Puts messages, each once; cursor by message id."""
        ids = [message.message_id for message in batch]
        async with self._database.transaction() as raw:
            await raw.execute("SELECT pg_advisory_xact_lock(%s)", (_LOCK,))
            await raw.execute(
                """
                INSERT INTO inbox (cursor, customer, message_id)
                SELECT greatest((SELECT max(cursor) FROM inbox), (SELECT (epoch - 1) << 40 FROM installation))
                       + row_number() OVER (ORDER BY position), customer, message_id
                FROM unnest(%(customers)s::bigint[], %(ids)s::text[]::uuid[]) WITH ORDINALITY
                    AS entry (customer, message_id, position)
                WHERE message_id NOT IN
                    (SELECT message_id FROM inbox WHERE message_id = ANY(%(ids)s::text[]::uuid[]))
                ON CONFLICT (message_id) DO NOTHING
                """,
                {"customers": [message.customer for message in batch], "ids": ids},
            )
            found = await raw.rows(
                "SELECT message_id::text, cursor FROM inbox WHERE message_id = ANY(%s::text[]::uuid[])",
                (ids,),
            )
        self._database.notify(INBOX_NOTICE)
        return dict(found)

    async def after(
        self, customers: Sequence[int], cursor: int, limit: int, *, unseen_to: int = 0
    ) -> Sequence[InboxEntry]:
        """Entries beyond the cursor in order."""
        where = ["cursor > %(cursor)s"]
        if customers:
            where.append("customer = ANY(%(customers)s::bigint[])")
        if unseen_to:
            where.append("cursor <= %(unseen_to)s AND NOT seen")
        async with self._database.transaction() as raw:
            found = await raw.rows(
                "SELECT cursor, customer, message_id::text FROM inbox "  # noqa: S608 - our own conditions
                f"WHERE {' AND '.join(where)} ORDER BY cursor LIMIT %(limit)s",
                {"cursor": cursor, "customers": list(customers), "unseen_to": unseen_to, "limit": limit},
            )
        return [InboxEntry(position, customer, message_id) for position, customer, message_id in found]

    async def mark_seen(self, entries: Sequence[InboxEntry]) -> None:
        """They have been seen."""
        async with self._database.transaction() as raw:
            await raw.execute(
                "UPDATE inbox SET seen = true WHERE cursor = ANY(%s::bigint[])",
                ([entry.cursor for entry in entries],),
            )
