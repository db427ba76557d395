"""Where customers stand in journeys, in PostgreSQL."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

from services.decision.app.ports import DueStep
from services.decision.domain.journeys import Position, StepDue

if TYPE_CHECKING:
    from collections.abc import Mapping, Sequence

    from services.decision.domain.journeys import PositionName
    from services.runtime.database import Database, Transaction
    from services.runtime.statements import Statements

JOURNEYS_CHANNEL = "journeys"
"""Notified when somebody has reached a step that falls due, so that the due loop looks for its time."""

_COLUMNS = (
    "step, reached_micros, due_micros, started_micros, started_sequence, start_type, fields, line, hops"
)


class JourneyStore:
    """The Steps port on PostgreSQL; it also reads and writes for the standing of the customers of a batch."""

    def __init__(self, database: Database) -> None:
        self._database = database

    async def read(
        self, transaction: Statements, customers: Sequence[int]
    ) -> list[tuple[int, PositionName, Position]]:
        """Where these customers stand."""
        rows = await transaction.rows(
            f"SELECT customer, rule_set, key, {_COLUMNS} FROM journey_position "  # noqa: S608  columns are our own
            "WHERE customer = ANY(%(customers)s::bigint[])",
            {"customers": list(customers)},
        )
        return [(row[0], (row[1], row[2]), Position(*row[3:])) for row in rows]

    async def write(
        self, transaction: Transaction, written: Mapping[tuple[int, PositionName], Position | None]
    ) -> None:
        """Writes where customers stand now; None: they stand nowhere."""
        gone = [key for key, position in written.items() if position is None]
        if gone:
            await transaction.execute(
                """
                DELETE FROM journey_position USING
                    unnest(%(customers)s::bigint[], %(rule_sets)s::text[], %(keys)s::text[])
                    AS row (customer, rule_set, key)
                WHERE journey_position.customer = row.customer AND journey_position.rule_set = row.rule_set
                    AND journey_position.key = row.key
                """,
                _names(gone),
            )
        there = [(key, position) for key, position in written.items() if position is not None]
        if not there:
            return
        await transaction.execute(
            f"""
            INSERT INTO journey_position (customer, rule_set, key, state, {_COLUMNS})
            SELECT customer, rule_set, key, CASE WHEN step = '' THEN 'ended' ELSE 'waiting' END, {_COLUMNS}
            FROM unnest(%(customers)s::bigint[], %(rule_sets)s::text[], %(keys)s::text[], %(steps)s::text[],
                %(reached)s::bigint[], %(due)s::bigint[], %(started)s::bigint[], %(sequences)s::bigint[],
                %(starts)s::text[], %(fields)s::text[], %(lines)s::text[], %(hops)s::integer[])
                AS row (customer, rule_set, key, {_COLUMNS})
            ON CONFLICT (customer, rule_set, key) DO UPDATE SET state = excluded.state, step = excluded.step,
                reached_micros = excluded.reached_micros, due_micros = excluded.due_micros,
                started_micros = excluded.started_micros, started_sequence = excluded.started_sequence,
                start_type = excluded.start_type, fields = excluded.fields, line = excluded.line,
                hops = excluded.hops
            """,  # noqa: S608  columns are our own
            {
                **_names([key for key, _ in there]),
                "steps": [position.step for _, position in there],
                "reached": [position.reached_micros for _, position in there],
                "due": [position.due_micros for _, position in there],
                "started": [position.started_micros for _, position in there],
                "sequences": [position.started_sequence for _, position in there],
                "starts": [position.start for _, position in there],
                "fields": [position.fields for _, position in there],
                "lines": [position.line for _, position in there],
                "hops": [position.hops for _, position in there],
            },
        )
        if any(not position.ended for _, position in there):
            transaction.after_commit(self._reached)

    async def take_due(self, transaction: Transaction, now_micros: int, most: int) -> list[DueStep]:
        """Claims steps whose time has come, the longest due first."""
        rows = await transaction.rows(
            f"""
            UPDATE journey_position SET state = 'asked'
            WHERE (customer, rule_set, key) IN (
                SELECT customer, rule_set, key FROM journey_position
                WHERE state = 'waiting' AND due_micros <= %(now)s
                ORDER BY due_micros LIMIT %(most)s FOR UPDATE SKIP LOCKED
            )
            RETURNING customer, rule_set, key, {_COLUMNS}
            """,  # noqa: S608  columns are our own
            {"now": now_micros, "most": most},
        )
        due = [due_step(row) for row in rows]
        return sorted(due, key=lambda step: (step.position.due_micros, step.customer, step.due.rule_set))

    async def next_due(self) -> int | None:
        """When the next step falls due; None: nobody waits."""
        async with self._database.transaction() as transaction:
            row = await transaction.row(
                "SELECT min(due_micros) FROM journey_position WHERE state = 'waiting'"
            )
        return None if row is None else row[0]

    async def count_due(self, transaction: Transaction, now_micros: int) -> tuple[int, int]:
        """Customers at a step that was not decided yet: those whose time has come, and the others."""
        row = await transaction.row(
            """
            SELECT count(*) FILTER (WHERE state = 'asked' OR due_micros <= %(now)s),
                count(*) FILTER (WHERE state = 'waiting' AND due_micros > %(now)s)
            FROM journey_position WHERE state <> 'ended'
            """,
            {"now": now_micros},
        )
        return (0, 0) if row is None else (row[0], row[1])

    async def asked(self, transaction: Transaction, after: tuple[int, str, str], most: int) -> list[DueStep]:
        """Steps that were claimed and not decided yet, for recovery; ``after``: the last one seen."""
        rows = await transaction.rows(
            f"""
            SELECT customer, rule_set, key, {_COLUMNS} FROM journey_position
            WHERE state = 'asked' AND (customer, rule_set, key) > (%s, %s, %s)
            ORDER BY customer, rule_set, key LIMIT %s
            """,  # noqa: S608  columns are our own
            (*after, most),
        )
        return [due_step(row) for row in rows]

    def _reached(self) -> None:
        self._database.notify(JOURNEYS_CHANNEL)


def due_step(row: Sequence[Any]) -> DueStep:
    """A row of the table."""
    customer, rule_set, key = row[:3]
    position = Position(*row[3:])
    return DueStep(customer, StepDue(rule_set, key, position.step, position.reached_micros), position)


def _names(keys: Sequence[tuple[int, PositionName]]) -> dict[str, Any]:
    return {
        "customers": [customer for customer, _ in keys],
        "rule_sets": [name[0] for _, name in keys],
        "keys": [name[1] for _, name in keys],
    }
