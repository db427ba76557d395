"""Runs, the times of schedules, and pairs that stay open, in PostgreSQL."""

from __future__ import annotations

from typing import TYPE_CHECKING
from uuid import UUID

from services.decision.adapters.run_counts import RunCountStore
from services.decision.app.run_ports import AudienceRun, Call
from services.decision.domain.occasions import CANARY, Looked
from services.vocabulary.ids import derived_id

if TYPE_CHECKING:
    from collections.abc import Mapping, Sequence

    from services.decision.app.jobs import PairOpened, ThingHappened
    from services.decision.domain.occasions import Called, Opening
    from services.decision.domain.run_room import Room
    from services.runtime.database import Database, Transaction

RUNS_CHANNEL = "runs"
"""Notified when a run was opened."""
PAIRS_CHANNEL = "pairs"
"""Notified when a check of a pair was planned."""
COLUMNS = (
    "number, rule_set, version, kind, name, zone, due_micros, next_micros, after_micros, until_micros, "
    f"page_token, state, asked, pages, hops, data, starts_with(key, '{CANARY} ') AS canary, walked, marks, "
    "waits, waits_for, waits_micros, actor, reason, changed_micros"
)
"""Of an AudienceRun, in its order."""
_OPEN = f"""
    INSERT INTO audience_run (rule_set, key, version, kind, name, zone, due_micros, next_micros, after_micros,
        until_micros, hops, data)
    VALUES (%(rule_set)s, %(key)s, %(version)s, %(kind)s, %(name)s, %(zone)s, %(due)s, %(due)s, %(after)s,
        %(until)s, %(hops)s, %(data)s)
    ON CONFLICT (rule_set, key) DO NOTHING RETURNING {COLUMNS}
"""  # noqa: S608  columns are our own


class RunStore(RunCountStore):
    """The Runs and RunCounts ports on PostgreSQL."""

    def __init__(self, database: Database) -> None:
        self._database = database

    # the times of schedules

    async def lock_times(self, transaction: Transaction, program: int) -> bool:
        """Whether that is the newest program; nobody else looks at times before the transaction ends."""
        await transaction.execute(
            "INSERT INTO looked_at_times (one, program) VALUES (true, 0) ON CONFLICT DO NOTHING"
        )
        await transaction.row("SELECT program FROM looked_at_times FOR UPDATE")
        newest = await transaction.row("SELECT coalesce(max(version), 0) FROM program")
        return newest is not None and newest[0] == program

    async def times(self, transaction: Transaction) -> dict[tuple[str, str], Looked]:
        """How far times were looked at, by rule set and zone."""
        rows = await transaction.rows(
            "SELECT rule_set, zone, looked_micros, silence, silence_micros FROM schedule_time"
        )
        return {(rule_set, zone): Looked(*looked) for rule_set, zone, *looked in rows}

    async def activated(self, transaction: Transaction, rule_sets: Sequence[str]) -> dict[str, int]:
        """When these rule sets went live, in their live version."""
        rows = await transaction.rows(
            "SELECT name, activated_micros FROM rule_set "
            "WHERE state = 'live' AND name = ANY(%s::text[]) AND activated_micros IS NOT NULL",
            (list(rule_sets),),
        )
        return {name: micros for name, micros in rows}  # noqa: C416 - rows are wider tuples to the type checker

    async def looked(
        self, transaction: Transaction, program: int, times: Mapping[tuple[str, str], tuple[Looked, int]]
    ) -> None:
        """Keeps how far times were looked at, and the next times, for that program; forgets all others."""
        keys = sorted(times)
        given = {
            "rule_sets": [rule_set for rule_set, _ in keys],
            "zones": [zone for _, zone in keys],
            "looked": [times[key][0].until_micros for key in keys],
            "next": [times[key][1] for key in keys],
            "silences": [times[key][0].silence for key in keys],
            "silent": [times[key][0].silence_until for key in keys],
        }
        await transaction.execute(
            "DELETE FROM schedule_time WHERE (rule_set, zone) NOT IN "
            "(SELECT * FROM unnest(%(rule_sets)s::text[], %(zones)s::text[]))",
            given,
        )
        await transaction.execute(
            """
            INSERT INTO schedule_time (rule_set, zone, looked_micros, next_micros, silence, silence_micros)
            SELECT * FROM unnest(%(rule_sets)s::text[], %(zones)s::text[], %(looked)s::bigint[],
                %(next)s::bigint[], %(silences)s::text[], %(silent)s::bigint[])
            ON CONFLICT (rule_set, zone) DO UPDATE SET looked_micros = excluded.looked_micros,
                next_micros = excluded.next_micros, silence = excluded.silence,
                silence_micros = excluded.silence_micros
            """,
            given,
        )
        await transaction.execute("UPDATE looked_at_times SET program = %s", (program,))

    # runs

    async def open(self, transaction: Transaction, called: Called, openings: Sequence[Opening]) -> int:
        """Opens runs that are not known; how many."""
        opened = 0
        for opening in openings:
            rows = await transaction.rows(
                _OPEN,
                {
                    "rule_set": called.rule_set,
                    "key": called.key(opening.key),
                    "version": called.version,
                    "kind": called.kind,
                    "name": opening.name,
                    "zone": opening.zone,
                    "due": opening.due_micros,
                    "after": opening.after_micros,
                    "until": opening.until_micros,
                    "hops": 0,
                    "data": "",
                },
            )
            opened += len(rows)
        if opened:
            transaction.after_commit(self._runs_opened)
        return opened

    async def open_things(self, transaction: Transaction, happened: Sequence[ThingHappened]) -> int:
        """Opens a run for each rule set that is called for by what happened to a thing; how many are new."""
        opened = 0
        for one in happened:
            for called in one.called:
                rows = await transaction.rows(
                    _OPEN,
                    {
                        "rule_set": called.rule_set,
                        "key": called.key(f"thing {derived_id('thing', one.source, one.event_id)}"),
                        "version": called.version,
                        "kind": "thing",
                        "name": one.event_id,
                        "zone": "",
                        "due": one.event_micros,
                        "after": 0,
                        "until": 0,
                        "hops": one.hops,
                        "data": one.data,
                    },
                )
                opened += len(rows)
        if opened:
            transaction.after_commit(self._runs_opened)
        return opened

    async def claim(self, now_micros: int) -> AudienceRun | None:
        """A run whose next page is due, kept from others for some seconds; None: there is none.

        By the database's own clock: a worker that dies with it leaves it to the others.
        """
        async with self._database.transaction() as transaction:
            row = await transaction.row(
                f"""
                UPDATE audience_run SET leased_until = clock_timestamp() + interval '5 s'
                WHERE number = (
                    SELECT number FROM audience_run
                    WHERE state = 'open' AND next_micros <= %s
                        AND (leased_until IS NULL OR leased_until < clock_timestamp())
                    ORDER BY next_micros, number LIMIT 1 FOR UPDATE SKIP LOCKED)
                RETURNING {COLUMNS}
                """,  # noqa: S608  columns are our own
                (now_micros,),
            )
        return None if row is None else AudienceRun(*row)

    async def postpone(self, run: AudienceRun) -> None:
        """Keeps a run from everybody for a second."""
        async with self._database.transaction() as transaction:
            await transaction.execute(
                "UPDATE audience_run SET leased_until = clock_timestamp() + interval '1 s' WHERE number = %s",
                (run.number,),
            )

    async def wait(self, run: AudienceRun, room: Room, now_micros: int, until_micros: int) -> None:
        """Has a run wait for room, and look again then; one that was moved meanwhile is left alone."""
        async with self._database.transaction() as transaction:
            await transaction.execute(
                """
                UPDATE audience_run SET waits = %(waits)s, waits_for = %(waits_for)s,
                    waits_micros = CASE WHEN waits_micros = 0 THEN %(now)s ELSE waits_micros END,
                    next_micros = %(until)s, leased_until = NULL
                WHERE number = %(number)s AND state = 'open' AND pages = %(pages)s
                """,
                {
                    "waits": "" if room.waits is None else room.waits.value,
                    "waits_for": room.detail,
                    "now": now_micros,
                    "until": until_micros,
                    "number": run.number,
                    "pages": run.pages,
                },
            )

    async def move(self, transaction: Transaction, run: AudienceRun, after: AudienceRun) -> bool:
        """Writes how far a run has come; False: somebody else has moved it."""
        rows = await transaction.execute(
            "UPDATE audience_run SET page_token = %(token)s, state = %(state)s, asked = %(asked)s, "
            "pages = %(pages)s, next_micros = %(next)s, leased_until = NULL, walked = %(walked)s, "
            "marks = %(marks)s::bigint[], waits = %(waits)s, waits_for = %(waits_for)s, "
            "waits_micros = %(waits_micros)s "
            "WHERE number = %(number)s AND state = 'open' AND pages = %(before)s",
            {
                "token": after.page_token,
                "state": after.state,
                "asked": after.asked,
                "pages": after.pages,
                "next": after.next_micros,
                "walked": after.walked,
                "marks": list(after.marks),
                "waits": after.waits,
                "waits_for": after.waits_for,
                "waits_micros": after.waits_micros,
                "number": run.number,
                "before": run.pages,
            },
        )
        return rows == 1

    async def next_page(self) -> int | None:
        """For when the next page of any run is planned; None: no run is open."""
        async with self._database.transaction() as transaction:
            row = await transaction.row("SELECT min(next_micros) FROM audience_run WHERE state = 'open'")
        return None if row is None else row[0]

    async def page(self, before: int, size: int, *, rule_set: str = "", state: str = "") -> list[AudienceRun]:
        """Runs, the newest first; `before`: number of the last one seen, 0: from the newest."""
        async with self._database.transaction() as transaction:
            rows = await transaction.rows(
                f"""
                SELECT {COLUMNS} FROM audience_run
                WHERE (%(before)s::bigint = 0 OR number < %(before)s)
                    AND (%(rule_set)s::text = '' OR rule_set = %(rule_set)s)
                    AND (%(state)s::text = '' OR state = %(state)s)
                ORDER BY number DESC LIMIT %(size)s
                """,  # noqa: S608  columns are our own
                {"before": before, "size": size, "rule_set": rule_set, "state": state},
            )
        return [AudienceRun(*row) for row in rows]

    # pairs

    async def open_pairs(self, transaction: Transaction, opened: Sequence[PairOpened]) -> int:
        """Plans checks of pairs that are not known; how many."""
        rows = await transaction.rows(
            """
            INSERT INTO open_pair (id, rule_set, customer, run, opened_micros, due_micros, line, hops, data)
            SELECT * FROM unnest(%(ids)s::uuid[], %(rule_sets)s::text[], %(customers)s::bigint[],
                %(runs)s::text[], %(opened)s::bigint[], %(due)s::bigint[], %(lines)s::text[],
                %(hops)s::int[], %(data)s::text[])
            ON CONFLICT (id) DO NOTHING RETURNING id
            """,
            {
                "ids": [UUID(derived_id("pair", one.rule_set, one.run, one.customer)) for one in opened],
                "rule_sets": [one.rule_set for one in opened],
                "customers": [one.customer for one in opened],
                "runs": [one.run for one in opened],
                "opened": [one.opened_micros for one in opened],
                "due": [one.due_micros for one in opened],
                "lines": [one.line for one in opened],
                "hops": [one.hops for one in opened],
                "data": [one.data for one in opened],
            },
        )
        if rows:
            transaction.after_commit(self._pairs_opened)
        return len(rows)

    async def take_pairs(self, transaction: Transaction, now_micros: int, most: int) -> list[Call]:
        """Claims checks whose time has come, the longest due first."""
        rows = await transaction.rows(
            """
            UPDATE open_pair SET state = 'checked'
            WHERE id IN (
                SELECT id FROM open_pair WHERE state = 'planned' AND due_micros <= %(now)s
                ORDER BY due_micros LIMIT %(most)s FOR UPDATE SKIP LOCKED)
            RETURNING customer, rule_set, run, due_micros, opened_micros, data, hops, line
            """,
            {"now": now_micros, "most": most},
        )
        return sorted(
            (Call(*row) for row in rows), key=lambda call: (call.time_micros, call.customer, call.run)
        )

    async def next_pair(self) -> int | None:
        """When the next check falls due; None: there is none."""
        async with self._database.transaction() as transaction:
            row = await transaction.row("SELECT min(due_micros) FROM open_pair WHERE state = 'planned'")
        return None if row is None else row[0]

    # progress

    async def count_due(self, transaction: Transaction, now_micros: int) -> tuple[int, int]:
        """Runs and checks whose time has come, with times not yet looked at; and those for later."""
        row = await transaction.row(
            """
            SELECT
                (SELECT count(*) FROM audience_run WHERE state = 'open' AND next_micros <= %(now)s)
                + (SELECT count(*) FROM open_pair WHERE state = 'planned' AND due_micros <= %(now)s)
                + (SELECT count(*) FROM schedule_time WHERE next_micros <= %(now)s)
                + (SELECT count(*) FROM (SELECT version FROM program ORDER BY version DESC LIMIT 1) AS newest
                    JOIN program USING (version)
                    WHERE program.schedules > 0 AND program.version > coalesce(
                        (SELECT looked_at_times.program FROM looked_at_times), 0)),
                (SELECT count(*) FROM audience_run WHERE state = 'open' AND next_micros > %(now)s)
                + (SELECT count(*) FROM open_pair WHERE state = 'planned' AND due_micros > %(now)s)
            """,
            {"now": now_micros},
        )
        return (0, 0) if row is None else (row[0], row[1])

    async def behind(self, now_micros: int) -> tuple[int, float]:
        """Open runs whose time has come, and how many seconds the one most behind is behind."""
        async with self._database.transaction() as transaction:
            row = await transaction.row(
                "SELECT count(*), min(next_micros) FROM audience_run "
                "WHERE state = 'open' AND next_micros <= %s",
                (now_micros,),
            )
        count, oldest = (0, None) if row is None else row
        return count, 0.0 if oldest is None else (now_micros - oldest) / 1_000_000

    async def held(self) -> dict[str, tuple[int, int]]:
        """Runs that were begun and are asked no further, by why: how many, and since when in micros."""
        async with self._database.transaction() as transaction:
            rows = await transaction.rows(
                """
                SELECT why, count(*), min(since) FROM (
                    SELECT waits AS why, waits_micros AS since FROM audience_run
                        WHERE state = 'open' AND waits <> ''
                    UNION ALL
                    SELECT state, changed_micros FROM audience_run WHERE state = 'paused'
                ) AS held GROUP BY why
                """
            )
        return {why: (count, since) for why, count, since in rows}

    def _runs_opened(self) -> None:
        self._database.notify(RUNS_CHANNEL)

    def _pairs_opened(self) -> None:
        self._database.notify(PAIRS_CHANNEL)


async def call_again(transaction: Transaction, since_micros: int) -> dict[str, int]:
    """Begin again with runs and checks since then, for recovery; how many."""
    runs = await transaction.execute(
        "UPDATE audience_run SET state = 'open', page_token = '', asked = 0, pages = pages + 1, "
        "next_micros = due_micros, walked = 0, marks = '{}' WHERE state = 'done' AND next_micros >= %s",
        (since_micros,),
    )
    pairs = await transaction.execute(
        "UPDATE open_pair SET state = 'planned' WHERE state = 'checked' AND due_micros >= %s", (since_micros,)
    )
    return {"runs": runs, "pairs": pairs}
