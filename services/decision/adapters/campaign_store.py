"""Runs in PostgreSQL as people put their hands on them."""

from __future__ import annotations

import datetime as dt
from typing import TYPE_CHECKING

from services.decision.adapters.run_counts import RunCountStore
from services.decision.adapters.run_store import COLUMNS, RUNS_CHANNEL
from services.decision.app.run_ports import AudienceRun
from services.decision.domain.run_room import Spent

if TYPE_CHECKING:
    from services.decision.adapters.run_store import RunStore
    from services.decision.domain.occasions import Called, Opening
    from services.runtime.database import Database, Transaction


_COMES_BACK_WITHIN = dt.timedelta(minutes=1)
"""Whoever was called longer ago may never come: merged, erased, set aside."""


class CampaignStore(RunCountStore):
    """The RunControl port on PostgreSQL."""

    def __init__(self, database: Database, runs: RunStore) -> None:
        self._database = database
        self._runs = runs

    async def lock(self, transaction: Transaction, number: int) -> AudienceRun | None:
        """One run, kept from everybody else until the transaction ends; None: there is none."""
        row = await transaction.row(
            f"SELECT {COLUMNS} FROM audience_run WHERE number = %s FOR UPDATE",  # noqa: S608  our own words
            (number,),
        )
        return None if row is None else AudienceRun(*row)

    async def lock_under_way(self, transaction: Transaction, rule_set: str) -> list[AudienceRun]:
        """The open and paused runs of a rule set, the same; oldest first. Whoever else asks waits."""
        await transaction.execute(
            "SELECT pg_advisory_xact_lock(hashtextextended('runs of ' || %s, 0))", (rule_set,)
        )
        rows = await transaction.rows(
            f"SELECT {COLUMNS} FROM audience_run WHERE rule_set = %s "  # noqa: S608  our own words
            "AND state IN ('open', 'paused') ORDER BY number FOR UPDATE",
            (rule_set,),
        )
        return [AudienceRun(*row) for row in rows]

    async def start(self, transaction: Transaction, called: Called, opening: Opening) -> AudienceRun:
        """Opens a run, and tells workers of it."""
        await self._runs.open(transaction, called, [opening])
        row = await transaction.row(
            f"SELECT {COLUMNS} FROM audience_run WHERE rule_set = %s AND key = %s",  # noqa: S608  our own words
            (called.rule_set, called.key(opening.key)),
        )
        assert row is not None, "it was opened in this transaction"
        return AudienceRun(*row)

    async def change(self, transaction: Transaction, run: AudienceRun) -> None:
        """Writes a locked run's state, times, waiting, and who changed it; workers are told."""
        await transaction.execute(
            """
            UPDATE audience_run SET state = %(state)s, next_micros = %(next)s, marks = %(marks)s::bigint[],
                waits = %(waits)s, waits_for = %(waits_for)s, waits_micros = %(waits_micros)s,
                actor = %(actor)s, reason = %(reason)s, changed_micros = %(changed)s, leased_until = NULL
            WHERE number = %(number)s
            """,
            {
                "number": run.number,
                "state": run.state,
                "next": run.next_micros,
                "marks": list(run.marks),
                "waits": run.waits,
                "waits_for": run.waits_for,
                "waits_micros": run.waits_micros,
                "actor": run.actor,
                "reason": run.reason,
                "changed": run.changed_micros,
            },
        )
        transaction.after_commit(self._told)

    async def find(self, number: int) -> AudienceRun | None:
        """One run; None: there is none."""
        async with self._database.transaction() as transaction:
            row = await transaction.row(
                f"SELECT {COLUMNS} FROM audience_run WHERE number = %s",  # noqa: S608  our own words
                (number,),
            )
        return None if row is None else AudienceRun(*row)

    async def spent(self, rule_set: str, day: int) -> Spent:
        """What a rule set has used of its limits, on that day of the operator's calendar."""
        async with self._database.transaction() as transaction:
            row = await transaction.row(
                """
                SELECT
                    coalesce((SELECT spent FROM rule_set_limit WHERE rule_set = %(name)s), 0),
                    coalesce((SELECT actions FROM rule_set_day
                        WHERE rule_set = %(name)s AND day = %(day)s), 0),
                    (SELECT count(*) FROM run_call JOIN audience_run USING (number)
                        WHERE rule_set = %(name)s AND called > clock_timestamp() - %(back)s)
                """,
                {"name": rule_set, "day": day, "back": _COMES_BACK_WITHIN},
            )
        assert row is not None, "a row of three numbers"
        return Spent(*row)

    def _told(self) -> None:
        self._database.notify(RUNS_CHANNEL)
