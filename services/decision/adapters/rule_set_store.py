"""Versions of rule sets and what was live together, in PostgreSQL."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

from services.decision.app.jobs import Source
from services.decision.app.ports import LiveProgram, RuleSetRow
from services.decision.app.release_ports import Step, StepTaken
from services.decision.app.versions import digest_of
from services.runtime.audit import Change, write_audit
from services.runtime.caller import current_caller
from services.runtime.errors import NotFoundError
from services.vocabulary.values import format_time

if TYPE_CHECKING:
    from collections.abc import Sequence

    from services.decision.app.jobs import Described
    from services.decision.app.release_ports import NewProgram
    from services.runtime.database import Database, Transaction

PROGRAM_CHANNEL = "program"
"""Notified when another program went live."""

_COLUMNS = (
    "name, version, state, title, owner, stage, triggers, rules, created_micros, "
    "coalesce(activated_micros, 0), file, source, author, submitter, approver, canary_share, "
    "coalesce(scheduled_micros, 0), scheduler, taken_back, differences, compared_version, simulation_id"
)


class RuleSetStore:
    """The RuleSets port on PostgreSQL."""

    def __init__(self, database: Database) -> None:
        self._database = database

    async def live(self, version: int | None = None) -> LiveProgram:
        """What is live now, or was as that version of the program."""
        async with self._database.transaction() as transaction:
            return await self.live_in(transaction, version)

    async def live_in(self, transaction: Transaction, version: int | None = None) -> LiveProgram:
        """The same inside a transaction."""
        row = await transaction.row(
            """
            SELECT version, names, versions, listened, absences, schedules, catalogue, canary_names,
                canary_versions, canary_shares
            FROM program
            WHERE %(version)s::bigint IS NULL OR version = %(version)s ORDER BY version DESC LIMIT 1
            """,
            {"version": version},
        )
        if row is None:
            return LiveProgram(0, (), ())
        number, names, versions, listened, absences, schedules, catalogue, *canaries = row
        sources = await _sources(transaction, names, versions, [0] * len(names))
        return LiveProgram(
            number,
            sources,
            tuple(listened),
            tuple(absences),
            await _sources(transaction, *canaries) if canaries[0] else (),
            catalogue,
            schedules,
        )

    async def before(self, version: int) -> LiveProgram:
        """What ran before a version of the program; version 0: nothing did."""
        async with self._database.transaction() as transaction:
            row = await transaction.row(
                "SELECT max(version) FROM program WHERE version < %(version)s", {"version": version}
            )
            if row is None or row[0] is None:
                return LiveProgram(0, (), ())
            return await self.live_in(transaction, row[0])

    async def trouble(self) -> dict[str, int]:
        """Rule sets of which a version was replaced, or a scheduled activation refused, and nobody came."""
        async with self._database.transaction() as transaction:
            rows = await transaction.rows(
                """
                SELECT kind, count(DISTINCT step.name)
                FROM unnest(ARRAY['replace', 'refused']) AS kind
                LEFT JOIN rule_set_step AS step ON step.action = kind AND step.number > coalesce(
                    (SELECT max(number) FROM rule_set_step AS later WHERE later.name = step.name
                        AND later.action IN ('activate', 'schedule', 'rollback', 'retire')), 0)
                GROUP BY kind
                """
            )
        return {str(kind): int(count) for kind, count in rows}

    async def version(self) -> int:
        """The number of the program that is live; 0: none yet."""
        async with self._database.transaction() as transaction:
            row = await transaction.row("SELECT max(version) FROM program")
        return 0 if row is None or row[0] is None else row[0]

    async def version_at(self, time_micros: int) -> int:
        """The number of the program that was live at that business time; 0: none was."""
        async with self._database.transaction() as transaction:
            row = await transaction.row(
                "SELECT max(version) FROM program WHERE activated_micros <= %(time)s", {"time": time_micros}
            )
        return 0 if row is None or row[0] is None else row[0]

    async def context(self) -> tuple[Source, ...]:
        """Of each rule set the live version, else the newest: what a new text is checked beside."""
        async with self._database.transaction() as transaction:
            rows = await transaction.rows(
                """
                SELECT DISTINCT ON (name) name, version, file, source FROM rule_set
                ORDER BY name, (state = 'live') DESC, version DESC
                """
            )
        return tuple(Source(*row) for row in rows)

    async def find(self, name: str, version: int) -> RuleSetRow | None:
        """One version; 0: the newest."""
        async with self._database.transaction() as transaction:
            rows = await transaction.rows(
                f"SELECT {_COLUMNS} FROM rule_set WHERE name = %(name)s "  # noqa: S608  columns are our own
                "AND (%(version)s = 0 OR version = %(version)s) ORDER BY version DESC LIMIT 1",
                {"name": name, "version": version},
            )
        return _row(rows[0]) if rows else None

    async def page(self, after: tuple[str, int] | None, size: int, *, all_versions: bool) -> list[RuleSetRow]:
        """By name, then version; without ``all_versions`` of each the live one, the canary and the newest."""
        name, version = after or ("", 0)
        async with self._database.transaction() as transaction:
            rows = await transaction.rows(
                f"""
                SELECT {_COLUMNS} FROM rule_set AS one
                WHERE (name, version) > (%(name)s, %(version)s) AND (%(all)s OR state IN ('live', 'canary')
                    OR version = (SELECT max(version) FROM rule_set WHERE name = one.name))
                ORDER BY name, version LIMIT %(size)s
                """,  # noqa: S608  columns are our own
                {"name": name, "version": version, "all": all_versions, "size": size},
            )
        return [_row(row) for row in rows]

    async def add(
        self,
        transaction: Transaction,
        described: Described,
        source: str,
        file: str,
        state: str,
        now_micros: int,
    ) -> RuleSetRow:
        """Stores the next version; the same text as the newest version is that version."""
        await transaction.execute(
            "SELECT pg_advisory_xact_lock(hashtext(%(name)s))", {"name": described.name}
        )
        newest = await transaction.rows(
            f"SELECT {_COLUMNS} FROM rule_set WHERE name = %(name)s ORDER BY version DESC LIMIT 1",  # noqa: S608
            {"name": described.name},
        )
        before = _row(newest[0]) if newest else None
        if before is not None and before.source == source:
            return before
        rows = await transaction.rows(
            f"""
            INSERT INTO rule_set (name, version, state, source, file, title, owner, stage, triggers, rules,
                created_micros, author)
            VALUES (%(name)s, %(version)s, %(state)s, %(source)s, %(file)s, %(title)s, %(owner)s, %(stage)s,
                %(triggers)s, %(rules)s, %(now)s, %(author)s)
            RETURNING {_COLUMNS}
            """,  # noqa: S608  columns are our own
            {
                "name": described.name,
                "version": 1 if before is None else before.version + 1,
                "state": state,
                "source": source,
                "file": file,
                "title": described.title,
                "owner": described.owner,
                "stage": described.stage,
                "triggers": list(described.triggers),
                "rules": described.rules,
                "now": now_micros,
                "author": current_caller().name,
            },
        )
        row = _row(rows[0])
        await write_step(transaction, row, "", Step("put"), now_micros)
        await write_audit(
            transaction,
            Change(
                "rules.put",
                f"rule_set/{row.name}",
                before=None if before is None else _told(before),
                after=state_of(row),
            ),
        )
        return row

    async def hold(self, transaction: Transaction, name: str, version: int) -> RuleSetRow:
        """One version, which nobody else moves on before the transaction ends. Raises NotFoundError."""
        await transaction.execute("SELECT pg_advisory_xact_lock(hashtext(%(name)s))", {"name": name})
        rows = await transaction.rows(
            f"SELECT {_COLUMNS} FROM rule_set "  # noqa: S608  columns are our own
            "WHERE name = %(name)s AND version = %(version)s FOR UPDATE",
            {"name": name, "version": version},
        )
        if not rows:
            raise NotFoundError(f"there is no rule set {name} version {version}", field="version")
        return _row(rows[0])

    async def move(
        self, transaction: Transaction, row: RuleSetRow, after: RuleSetRow, step: Step, now_micros: int
    ) -> RuleSetRow:
        """Writes what became of a version by a step, with its place in the history and the audit log."""
        await transaction.execute(
            """
            UPDATE rule_set SET state = %(state)s, submitter = %(submitter)s, approver = %(approver)s,
                canary_share = %(share)s, scheduled_micros = nullif(%(scheduled)s, 0),
                scheduler = %(scheduler)s, taken_back = %(taken_back)s,
                activated_micros = nullif(%(activated)s, 0), differences = %(differences)s,
                compared_version = %(compared)s, simulation_id = %(simulation)s
            WHERE name = %(name)s AND version = %(version)s
            """,
            {
                "name": row.name,
                "version": row.version,
                "state": after.state,
                "submitter": after.submitter,
                "approver": after.approver,
                "share": after.canary_share,
                "scheduled": after.scheduled_micros,
                "scheduler": after.scheduler,
                "taken_back": after.taken_back,
                "activated": after.activated_micros,
                "differences": list(after.differences),
                "compared": after.compared_version,
                "simulation": after.simulation_id,
            },
        )
        await write_step(transaction, after, row.state, step, now_micros)
        more: dict[str, Any] = {"program": step.program} if step.program else {}
        if after.canary_share:
            more["canary_share"] = after.canary_share / 10_000
        if after.scheduled_micros:
            more["scheduled"] = format_time(after.scheduled_micros)
        if step.comment:
            more["comment"] = step.comment
        change = Change(
            f"rules.{step.action}",
            f"rule_set/{row.name}",
            before=_before(row, after, step),
            after=state_of(after) | more,
            actor=step.actor,
        )
        await write_audit(transaction, change)
        return after

    async def begin(
        self, transaction: Transaction, program: NewProgram, catalogue: str, now_micros: int
    ) -> int:
        """Has another program run from now on; 0: another one came in between.

        Every worker hears of it with the commit.
        """
        await transaction.execute("LOCK TABLE program IN EXCLUSIVE MODE")
        newest = await transaction.row("SELECT coalesce(max(version), 0) FROM program")
        if newest is None or newest[0] != program.after:
            return 0
        ((number,),) = await transaction.rows(
            """
            INSERT INTO program (names, versions, listened, absences, schedules, catalogue, activated_micros,
                canary_names, canary_versions, canary_shares)
            VALUES (%(names)s, %(versions)s, %(listened)s, %(absences)s, %(schedules)s, %(catalogue)s,
                %(now)s, %(canary_names)s, %(canary_versions)s, %(canary_shares)s)
            RETURNING version
            """,
            {
                "names": [source.name for source in program.sources],
                "versions": [source.version for source in program.sources],
                "listened": sorted(program.listened),
                "absences": sorted(program.absences),
                "schedules": program.schedules,
                "catalogue": catalogue,
                "now": now_micros,
                "canary_names": [source.name for source in program.canaries],
                "canary_versions": [source.version for source in program.canaries],
                "canary_shares": [source.share for source in program.canaries],
            },
        )
        transaction.after_commit(self._went_live)
        return int(number)

    async def in_state(self, transaction: Transaction, name: str, state: str) -> RuleSetRow | None:
        """The version of a rule set that is live, or a canary; None: none is. Held as by `hold`."""
        rows = await transaction.rows(
            f"SELECT {_COLUMNS} FROM rule_set WHERE name = %(name)s AND state = %(state)s "  # noqa: S608
            "ORDER BY version DESC LIMIT 1 FOR UPDATE",
            {"name": name, "state": state},
        )
        return _row(rows[0]) if rows else None

    async def good_before(self, name: str) -> list[RuleSetRow]:
        """Versions that were live, are no longer, and were not taken back; the last one first."""
        async with self._database.transaction() as transaction:
            rows = await transaction.rows(
                f"SELECT {_COLUMNS} FROM rule_set WHERE name = %(name)s AND state <> 'live' "  # noqa: S608
                "AND NOT taken_back AND activated_micros IS NOT NULL "
                "ORDER BY activated_micros DESC, version DESC",
                {"name": name},
            )
        return [_row(row) for row in rows]

    async def steps(self, name: str, version: int) -> list[StepTaken]:
        """What became of a version, oldest first."""
        async with self._database.transaction() as transaction:
            rows = await transaction.rows(
                "SELECT action, actor, time_micros, from_state, to_state, comment, program "
                "FROM rule_set_step WHERE name = %(name)s AND version = %(version)s ORDER BY number",
                {"name": name, "version": version},
            )
        return [StepTaken(*row) for row in rows]

    async def scheduled(self, now_micros: int) -> list[RuleSetRow]:
        """Versions whose time to go live has come, the longest due first."""
        async with self._database.transaction() as transaction:
            rows = await transaction.rows(
                f"SELECT {_COLUMNS} FROM rule_set WHERE scheduled_micros <= %(now)s "  # noqa: S608
                "ORDER BY scheduled_micros, name LIMIT 100",
                {"now": now_micros},
            )
        return [_row(row) for row in rows]

    def _went_live(self) -> None:
        self._database.notify(PROGRAM_CHANNEL)


async def write_step(
    transaction: Transaction, row: RuleSetRow, from_state: str, step: Step, now_micros: int
) -> None:
    """A line in the history of a version, which the row shows as it stands after it."""
    await transaction.execute(
        """
        INSERT INTO rule_set_step (name, version, action, actor, time_micros, from_state, to_state, comment,
            program)
        VALUES (%(name)s, %(version)s, %(action)s, %(actor)s, %(now)s, %(from)s, %(to)s, %(comment)s,
            %(program)s)
        """,
        {
            "name": row.name,
            "version": row.version,
            "action": step.action,
            "actor": step.actor or current_caller().name,
            "now": now_micros,
            "from": from_state,
            "to": row.state,
            "comment": step.comment,
            "program": step.program,
        },
    )


async def _sources(
    transaction: Transaction, names: Sequence[str], versions: Sequence[int], shares: Sequence[int]
) -> tuple[Source, ...]:
    """These versions with their texts, by name."""
    rows = await transaction.rows(
        """
        SELECT rule_set.name, rule_set.version, file, source, member.share
        FROM rule_set
        JOIN unnest(%(names)s::text[], %(versions)s::int[], %(shares)s::int[])
            AS member (name, version, share) USING (name, version)
        ORDER BY rule_set.name
        """,
        {"names": list(names), "versions": list(versions), "shares": list(shares)},
    )
    return tuple(Source(*source) for source in rows)


def _before(row: RuleSetRow, after: RuleSetRow, step: Step) -> dict[str, Any] | None:
    """What stood in its place: of a version that goes live the one that was.

    Of one that changes its state only that, so that the entry names the version.
    """
    if after.state != "live" or row.state == "live":
        return {"state": row.state}
    return None if step.instead is None else state_of(step.instead)


def state_of(row: RuleSetRow) -> dict[str, Any]:
    """A version as the audit log knows it; the text itself stays in the table."""
    return {
        **_told(row),
        "state": row.state,
    }


def _told(row: RuleSetRow) -> dict[str, Any]:
    return {"version": row.version, "sha256": digest_of(row.source)}


def _row(row: Sequence[Any]) -> RuleSetRow:
    values: list[Any] = [tuple(value) if isinstance(value, list) else value for value in row]
    return RuleSetRow(*values)
