"""Decisions and what came of them in one order, for those who take them from a position on.

Both have numbers of one sequence, taken after the locks of the customer: those of one customer grow as things
come about. Transactions commit in another order than that of their numbers, so a number may become visible
when a higher one was read before. Therefore nothing is read beyond the *horizon*: a number of which it is
known that every transaction that took that or a lower one has ended. A transaction has its id before it takes
a number. So: look at the last number taken, then at the ids that exist; once all of those have ended, that
number is the horizon.

Ids are those of the whole PostgreSQL server, whichever database a transaction writes in. So the longest of
them holds up what is told, and nothing else: what was decided meanwhile comes when it has ended. Our own
services' transactions are ended when they do nothing for 15 s (`idle_in_transaction_session_timeout`), and
read-only ones, such as a backup's, have no id. How long it has been so shows in the gauge
`rapport_outcomes_oldest_seconds`.
"""

from __future__ import annotations

import asyncio
from typing import TYPE_CHECKING

from services.decision.adapters.decision_store import RECORDED_COLUMNS, recorded_of
from services.decision.adapters.outcome_store import NOTE_COLUMNS, note_of
from services.decision.app.tell_outcomes import PLACES, CameAbout, Consumer
from services.runtime.caller import current_caller
from services.runtime.errors import InvalidArgumentError

if TYPE_CHECKING:
    from services.runtime.clock import Clock
    from services.runtime.database import Database, Transaction

_MOST_COUNTED = 1_000_000
_NOTES = ", ".join(f"note.{name}" for name in NOTE_COLUMNS.split(", "))
_OLDEST = f"""
        least(
            (SELECT decided_micros FROM decision WHERE number > acknowledged / {PLACES}
                ORDER BY number LIMIT 1),
            (SELECT recorded_micros FROM action_outcome WHERE number > acknowledged / {PLACES}
                ORDER BY number LIMIT 1))
"""  # noqa: S608  numbers are our own
_CONSUMERS = f"""
    SELECT name, acknowledged, coalesce(acknowledged_micros, 0), stream_micros, caller,
        (SELECT count(*) FROM (
            SELECT FROM decision WHERE number > acknowledged / {PLACES}
            LIMIT {_MOST_COUNTED}) AS decided)
        + (SELECT count(*) FROM (
            SELECT FROM action_outcome WHERE number > acknowledged / {PLACES}
            LIMIT {_MOST_COUNTED}) AS noted),
        {_OLDEST}
    FROM outcome_consumer WHERE name > %(after)s ORDER BY name LIMIT %(most)s
"""  # noqa: S608  numbers are our own


class OutcomeFeed:
    """The Feed port on PostgreSQL."""

    def __init__(self, database: Database, clock: Clock) -> None:
        self._database = database
        self._clock = clock
        self._looking = asyncio.Lock()
        self._horizon = 0
        self._waits: tuple[int, int] | None = None  # a number, and the id below which all must have ended

    async def begin(self, name: str, stream: str, cursor: int, *, from_now: bool) -> tuple[int, int]:
        """Makes this the stream of the consumer that counts; where it begins, and where what is kept does."""
        horizon = await self._look()
        async with self._database.transaction() as transaction:
            last = await transaction.row("SELECT last_value FROM decision_number_seq")
            reached = (last[0] if last is not None else 0) * PLACES + PLACES - 1
            if not 0 <= cursor <= reached:
                raise InvalidArgumentError(
                    f"cursor is {cursor}, which nothing has reached",
                    field="cursor",
                    suggestion="the position of an outcome that was taken, or 0 for the last acknowledged",
                )
            now = self._clock.wall_micros()
            row = await transaction.row(
                """
                INSERT INTO outcome_consumer (name, acknowledged, stream, stream_micros, caller)
                VALUES (%(name)s, %(begin)s, %(stream)s::text::uuid, %(now)s, %(caller)s)
                ON CONFLICT (name) DO UPDATE SET
                    stream = excluded.stream, stream_micros = excluded.stream_micros,
                    caller = excluded.caller,
                    acknowledged = CASE WHEN %(cursor)s::bigint > 0 THEN %(cursor)s::bigint
                        ELSE outcome_consumer.acknowledged END
                RETURNING acknowledged
                """,
                {
                    "name": name,
                    "begin": cursor or (horizon * PLACES + PLACES - 1 if from_now else 0),
                    "cursor": cursor,
                    "stream": stream,
                    "now": now,
                    "caller": current_caller().name,
                },
            )
            assert row is not None
            return row[0], await _kept_after(transaction)

    async def read(self, after: int, most: int) -> list[CameAbout]:
        """What comes after a position, up to the horizon, in order; of the number it is in, all."""
        horizon = await self._look()
        values = {"number": after // PLACES, "horizon": horizon, "most": most}
        if after % PLACES == PLACES - 1:
            values["number"] += 1
        if values["number"] > horizon:
            return []
        async with self._database.transaction() as transaction:
            decisions = await transaction.rows(
                f"SELECT {RECORDED_COLUMNS} FROM decision "  # noqa: S608  columns are our own
                "WHERE number BETWEEN %(number)s AND %(horizon)s ORDER BY number LIMIT %(most)s",
                values,
            )
            notes = await transaction.rows(
                f"SELECT {_NOTES}, {RECORDED_COLUMNS.replace('number', 'decision.number')} "  # noqa: S608
                "FROM action_outcome AS note JOIN decision USING (customer, decision_id) "
                "WHERE note.number BETWEEN %(number)s AND %(horizon)s ORDER BY note.number LIMIT %(most)s",
                values,
            )
        found = [CameAbout(row[0], recorded_of(row)) for row in decisions]
        width = len(NOTE_COLUMNS.split(", "))
        found += [CameAbout(row[0], recorded_of(row[width:]), note_of(row[:width])) for row in notes]
        found.sort(key=lambda one: one.number)
        # where one of the two lists was cut, the other may go on beyond what it would have held
        ends = [rows[-1][0] for rows in (decisions, notes) if len(rows) == most]
        return [one for one in found if one.number <= min(ends)] if ends else found

    async def acknowledge(self, name: str, stream: str, position: int) -> bool:
        """Notes that everything up to a position was taken."""
        async with self._database.transaction() as transaction:
            # a word that is lost lets something come twice, which the consumer has to bear anyway
            await transaction.execute("SET LOCAL synchronous_commit = off")
            rows = await transaction.execute(
                """
                UPDATE outcome_consumer SET acknowledged = greatest(acknowledged, %(position)s),
                    acknowledged_micros = %(now)s
                WHERE name = %(name)s AND stream = %(stream)s::text::uuid
                """,
                {"name": name, "stream": stream, "position": position, "now": self._clock.wall_micros()},
            )
        return rows == 1

    async def counts(self, name: str, stream: str) -> bool:
        """Whether this stream is still the consumer's."""
        async with self._database.transaction() as transaction:
            row = await transaction.row(
                "SELECT FROM outcome_consumer WHERE name = %(name)s AND stream = %(stream)s::text::uuid",
                {"name": name, "stream": stream},
            )
        return row is not None

    async def consumers(self, after: str, most: int) -> list[Consumer]:
        """By name."""
        async with self._database.transaction() as transaction:
            kept = await _kept_after(transaction)
            rows = await transaction.rows(_CONSUMERS, {"after": after, "most": most})
        return [
            Consumer(name, acknowledged, told, began, caller, min(behind, _MOST_COUNTED), oldest or 0, kept)
            for name, acknowledged, told, began, caller, behind, oldest in rows
        ]

    async def oldest(self) -> dict[str, int]:
        """By consumer, when the oldest came about that it has not acknowledged; 0: it has all."""
        async with self._database.transaction() as transaction:
            rows = await transaction.rows(f"SELECT name, {_OLDEST} FROM outcome_consumer")  # noqa: S608
        return {name: oldest or 0 for name, oldest in rows}

    async def remove(self, transaction: Transaction, name: str) -> bool:
        """Forgets a consumer."""
        return await transaction.execute("DELETE FROM outcome_consumer WHERE name = %s", (name,)) == 1

    async def _look(self) -> int:
        """The horizon, moved on as far as is known."""
        async with self._looking, self._database.transaction() as transaction:
            last = await transaction.row(
                "SELECT last_value, is_called FROM decision_number_seq"
            )  # before the ids: whoever took a number has one by then
            ids = await transaction.row(
                "SELECT pg_snapshot_xmin(now)::text::bigint, pg_snapshot_xmax(now)::text::bigint "
                "FROM pg_current_snapshot() AS now"
            )
            assert last is not None
            assert ids is not None
            taken = last[0] if last[1] else last[0] - 1
            oldest, following = ids
            if self._waits is not None and oldest >= self._waits[1]:
                self._horizon = max(self._horizon, self._waits[0])
                self._waits = None
            if oldest == following:
                self._horizon, self._waits = max(self._horizon, taken), None
            elif self._waits is None and taken > self._horizon:
                self._waits = (taken, following)
            return self._horizon


async def _kept_after(transaction: Transaction) -> int:
    """The position before the first that is kept."""
    row = await transaction.row(
        """
        SELECT coalesce(
            least((SELECT min(number) FROM decision), (SELECT min(number) FROM action_outcome)),
            (SELECT last_value + 1 FROM decision_number_seq))
        """
    )
    assert row is not None
    return int(row[0]) * PLACES - 1
