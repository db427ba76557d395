"""Tests of texts in PostgreSQL, until their providers have answered."""

from collections.abc import AsyncIterator, Sequence
from contextlib import asynccontextmanager
from typing import Final

from services.channel.adapters.storage.rates import take_rates
from services.channel.app.template_trials import Trial, TrialState
from services.channel.domain.rate import Grant, Wish
from services.runtime.database import Database, Transaction
from services.vocabulary.words import Channel

TRIALS_NOTICE = "channel_template_tests"
"""NOTIFY channel on which workers hear of a test; the payload is empty."""
WAITS_SECONDS: Final = 300
"""So long a test waits for a provider that is away."""
_SENDING_SECONDS: Final = 60
"""After so long without an outcome its sender must have died."""
_LATE = """
    UPDATE template_test SET state = 'failed', address = '', changed_at = now(),
        detail = CASE WHEN state = 'sending' THEN 'nobody knows whether it was sent'
                      WHEN detail <> '' THEN detail ELSE 'no provider took it in time' END
    WHERE channel = %(channel)s AND (
        (state = 'waiting' AND asked_at < now() - make_interval(secs => %(waits)s))
        OR (state = 'sending' AND changed_at < now() - make_interval(secs => %(sending)s)))
"""
_OLD = "DELETE FROM template_test WHERE changed_at < now() - interval '30 days'"
_CLAIM = """
    UPDATE template_test SET state = 'sending', changed_at = now() WHERE test_id IN (
        SELECT test_id FROM template_test WHERE channel = %(channel)s AND state = 'waiting'
        ORDER BY asked_at LIMIT %(limit)s FOR UPDATE SKIP LOCKED)
    RETURNING test_id::text, channel, address, text, subject, html, sender
"""
_SETTLE = """
    UPDATE template_test t SET state = s.state, detail = s.detail, changed_at = now(),
        address = CASE WHEN s.state = 'waiting' THEN t.address ELSE '' END
    FROM unnest(%(ids)s::text[]::uuid[], %(states)s::text[], %(details)s::text[])
        AS s (test_id, state, detail)
    WHERE t.test_id = s.test_id AND t.state = 'sending'
"""


class PostgresTrialsTransaction:
    """One transaction."""

    def __init__(self, raw: Transaction) -> None:
        self._raw = raw

    async def claim(self, channel: Channel, limit: int) -> Sequence[Trial]:
        """Those that wait, marked as being sent."""
        values = {"channel": channel.value, "waits": WAITS_SECONDS, "sending": _SENDING_SECONDS}
        await self._raw.execute(_OLD)
        await self._raw.execute(_LATE, values)
        if not limit:
            return []
        rows = await self._raw.rows(_CLAIM, {"channel": channel.value, "limit": limit})
        return [Trial(row[0], Channel(row[1]), *row[2:]) for row in rows]

    async def settle(self, outcomes: Sequence[tuple[str, TrialState]]) -> None:
        """Keeps what came of them."""
        await self._raw.execute(
            _SETTLE,
            {
                "ids": [test_id for test_id, _ in outcomes],
                "states": [outcome.state for _, outcome in outcomes],
                "details": [outcome.detail for _, outcome in outcomes],
            },
        )

    async def take_rates(self, wishes: Sequence[Wish]) -> dict[str, Grant]:
        """Takes from shared rates."""
        return await take_rates(self._raw, wishes)


class PostgresTrials:
    """The table of tests."""

    def __init__(self, database: Database) -> None:
        self._database = database

    @asynccontextmanager
    async def transaction(self) -> AsyncIterator[PostgresTrialsTransaction]:
        """One transaction."""
        async with self._database.transaction() as raw:
            yield PostgresTrialsTransaction(raw)

    async def waiting(self, channel: Channel) -> bool:
        """Whether any test waits or is being sent on the channel."""
        async with self._database.transaction() as raw:
            row = await raw.row(
                "SELECT 1 FROM template_test WHERE channel = %s AND state IN ('waiting', 'sending') LIMIT 1",
                (channel.value,),
            )
        return row is not None

    async def ask(self, raw: Transaction, test: Trial) -> None:
        """A test that waits from now on."""
        await raw.execute(
            "INSERT INTO template_test (test_id, channel, state, address, text, subject, html, sender) "
            "VALUES (%s::text::uuid, %s, 'waiting', %s, %s, %s, %s, %s)",
            (test.test_id, test.channel.value, test.address, test.text, test.subject, test.html, test.sender),
        )
        raw.after_commit(lambda: self._database.notify(TRIALS_NOTICE))

    async def state(self, test_id: str) -> TrialState | None:
        """Where a test stands; None: there is none."""
        async with self._database.transaction() as raw:
            row = await raw.row(
                "SELECT state, detail FROM template_test WHERE test_id = %s::text::uuid", (test_id,)
            )
        return None if row is None else TrialState(*row)
