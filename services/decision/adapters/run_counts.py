"""What comes of those whom runs asked, counted in PostgreSQL."""

from __future__ import annotations

from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from collections.abc import Collection, Mapping, Sequence

    from services.decision.app.run_ports import Call
    from services.runtime.database import Transaction

_SHARDS = 8


class RunCountStore:
    """The RunCounts port on PostgreSQL."""

    async def note_calls(self, transaction: Transaction, number: int, calls: Sequence[Call]) -> None:
        """Keeps that this run made these calls, until they come back."""
        if calls:
            await transaction.execute(
                "INSERT INTO run_call (event_id, number, customer) "
                "SELECT event_id, %(number)s, customer "
                "FROM unnest(%(ids)s::text[], %(customers)s::bigint[]) AS made (event_id, customer) "
                "ON CONFLICT DO NOTHING",
                {
                    "number": number,
                    "ids": [call.event_id for call in calls],
                    "customers": [call.customer for call in calls],
                },
            )

    async def take_calls(self, transaction: Transaction, event_ids: Collection[str]) -> dict[str, int]:
        """Of these calls those that a run made, with its number; they have come back now."""
        if not event_ids:
            return {}
        rows = await transaction.rows(
            "DELETE FROM run_call WHERE event_id = ANY(%(ids)s::text[]) RETURNING event_id, number",
            {"ids": sorted(event_ids)},
        )
        return dict(rows)

    async def runs_of(self, transaction: Transaction, action_ids: Collection[str]) -> dict[str, int]:
        """Of these actions those that a run called for, with its number."""
        if not action_ids:
            return {}
        rows = await transaction.rows(
            "SELECT action_id::text, number FROM run_action WHERE action_id = ANY(%(ids)s::text[]::uuid[])",
            {"ids": sorted(action_ids)},
        )
        return dict(rows)

    async def note_actions(self, transaction: Transaction, runs: Mapping[str, int]) -> None:
        """Keeps which run called for these actions."""
        if runs:
            await transaction.execute(
                "INSERT INTO run_action (action_id, number) SELECT action::uuid, number "
                "FROM unnest(%(actions)s::text[], %(numbers)s::bigint[]) AS noted (action, number) "
                "ON CONFLICT DO NOTHING",
                {"actions": list(runs), "numbers": list(runs.values())},
            )

    async def count(self, transaction: Transaction, counts: Mapping[tuple[int, str], int]) -> None:
        """Adds to what is counted of runs, by number and word, in order; of one no longer kept nothing is."""
        added = sorted((key, value) for key, value in counts.items() if value)
        if added:
            await transaction.execute(
                """
                INSERT INTO run_count (number, what, shard, value)
                SELECT number, what, %(shard)s, value
                FROM unnest(%(numbers)s::bigint[], %(words)s::text[], %(values)s::bigint[])
                    AS added (number, what, value)
                WHERE EXISTS (SELECT FROM audience_run WHERE audience_run.number = added.number)
                ORDER BY number, what
                ON CONFLICT (number, what, shard) DO UPDATE SET value = run_count.value + excluded.value
                """,
                {
                    "shard": transaction.driver.info.backend_pid % _SHARDS,
                    "numbers": [number for (number, _), _ in added],
                    "words": [word for (_, word), _ in added],
                    "values": [value for _, value in added],
                },
            )

    async def counted(self, transaction: Transaction, numbers: Sequence[int]) -> dict[int, dict[str, int]]:
        """What was counted of these runs, by number and word."""
        found: dict[int, dict[str, int]] = {}
        for number, word, value in await transaction.rows(
            "SELECT number, what, sum(value)::bigint FROM run_count WHERE number = ANY(%s::bigint[]) "
            "GROUP BY number, what ORDER BY number, what",
            (list(numbers),),
        ):
            found.setdefault(number, {})[word] = value
        return found
