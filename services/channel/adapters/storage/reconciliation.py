"""Hand-overs as the database knows them, for a comparison with a provider's report."""

from collections.abc import AsyncIterator, Callable, Sequence
from contextlib import AbstractAsyncContextManager, asynccontextmanager
from typing import Any

from services.channel.domain.reconciliation import HandedOver
from services.runtime.database import Database, Transaction
from services.vocabulary.words import MessageState, RefusalReason

_COLUMNS = "m.number, m.customer, m.message_id::text, m.state, m.reason, m.sent_micros > 0"
# One step per provider along the primary key, however many receipts each has.
_PROVIDERS = """
    WITH RECURSIVE step (provider) AS (
        (SELECT provider FROM receipt ORDER BY provider LIMIT 1)
        UNION ALL
        SELECT (SELECT r.provider FROM receipt r WHERE r.provider > step.provider
                ORDER BY r.provider LIMIT 1)
        FROM step WHERE step.provider IS NOT NULL
    )
    SELECT provider FROM step WHERE provider IS NOT NULL
"""


class PostgresBook:
    """Reads along the primary key of the receipts: a comparison never walks through all messages."""

    def __init__(self, raw: Transaction) -> None:
        self._raw = raw

    async def providers(self) -> list[str]:
        """Every provider that anything was ever handed to."""
        return [provider for (provider,) in await self._raw.rows(_PROVIDERS)]

    async def by_provider_ids(self, provider: str, provider_ids: Sequence[str]) -> dict[str, HandedOver]:
        """Messages by the provider's ids."""
        found = await self._raw.rows(
            f"SELECT r.provider_id, {_COLUMNS} FROM receipt r "  # noqa: S608 - our own columns
            "JOIN message m USING (customer, message_id) "
            "WHERE r.provider = %s AND r.provider_id = ANY(%s::text[])",
            (provider, list(provider_ids)),
        )
        return {row[0]: _handed(row[1:]) for row in found}

    async def by_message_ids(self, message_ids: Sequence[str]) -> dict[str, HandedOver]:
        """Messages by our ids."""
        found = await self._raw.rows(
            f"SELECT {_COLUMNS} FROM message m WHERE m.message_id = ANY(%s::text[]::uuid[])",  # noqa: S608
            (list(message_ids),),
        )
        return {row[2]: _handed(row) for row in found}

    async def awaited(self, provider: str, message_ids: Sequence[str]) -> dict[str, str]:
        """The provider's ids of those whose final state we miss."""
        found = await self._raw.rows(
            "SELECT message_id::text, provider_id FROM receipt WHERE provider = %s AND state = '' "
            "AND message_id IS NOT NULL AND message_id = ANY(%s::text[]::uuid[])",
            (provider, list(message_ids)),
        )
        return dict(found)

    async def handed_between(
        self, provider: str, from_micros: int, to_micros: int, after: str, limit: int
    ) -> tuple[list[tuple[str, HandedOver]], int, str]:
        """A page of what was handed over in that time."""
        found = await self._raw.rows(
            f"SELECT r.provider_id, {_COLUMNS}, m.sent_micros "  # noqa: S608 - our own columns
            "FROM (SELECT provider_id, customer, message_id FROM receipt "
            "      WHERE provider = %s AND provider_id > %s ORDER BY provider_id LIMIT %s) r "
            "LEFT JOIN message m USING (customer, message_id) ORDER BY r.provider_id",
            (provider, after, limit),
        )
        page = [
            (row[0], _handed(row[1:-1]))
            for row in found
            if row[1] is not None and from_micros <= row[-1] <= to_micros
        ]
        return page, len(found), found[-1][0] if len(found) == limit else ""


def open_books(database: Database) -> Callable[[], AbstractAsyncContextManager[PostgresBook]]:
    """Opens the book of this database."""

    @asynccontextmanager
    async def books() -> AsyncIterator[PostgresBook]:
        async with database.transaction() as raw:
            yield PostgresBook(raw)

    return books


def _handed(row: Sequence[Any]) -> HandedOver:
    number, customer, message_id, state, reason, was_sent = row
    return HandedOver(
        number, customer, message_id, MessageState(state), RefusalReason(reason) if reason else None, was_sent
    )
