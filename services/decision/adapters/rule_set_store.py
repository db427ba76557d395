"""Versions of rule sets and what was live together, in PostgreSQL."""

from __future__ import annotations

from hashlib import sha256
from typing import TYPE_CHECKING, Any

from services.decision.app.jobs import Source
from services.decision.app.ports import LiveProgram, RuleSetRow
from services.runtime.audit import Change, write_audit

if TYPE_CHECKING:
    from collections.abc import Sequence

    from services.decision.app.jobs import Described
    from services.decision.app.rule_sets import ReadyToLive
    from services.runtime.database import Database, Transaction

PROGRAM_CHANNEL = "program"
"""Notified when another program went live."""

_COLUMNS = (
    "name, version, state, title, owner, stage, triggers, rules, created_micros, activated_micros, "
    "file, source"
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
            SELECT version, names, versions, listened, absences FROM program
            WHERE %(version)s::bigint IS NULL OR version = %(version)s ORDER BY version DESC LIMIT 1
            """,
            {"version": version},
        )
        if row is None:
            return LiveProgram(0, (), ())
        number, names, versions, listened, absences = row
        rows = await transaction.rows(
            """
            SELECT rule_set.name, rule_set.version, file, source
            FROM rule_set JOIN unnest(%(names)s::text[], %(versions)s::int[]) AS member (name, version)
                USING (name, version)
            ORDER BY rule_set.name
            """,
            {"names": list(names), "versions": list(versions)},
        )
        sources = tuple(Source(*source) for source in rows)
        return LiveProgram(number, sources, tuple(listened), tuple(absences))

    async def version(self) -> int:
        """The number of the program that is live; 0: none yet."""
        async with self._database.transaction() as transaction:
            row = await transaction.row("SELECT max(version) FROM program")
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
        """By name, then version; without ``all_versions`` of each the live one and the newest."""
        name, version = after or ("", 0)
        async with self._database.transaction() as transaction:
            rows = await transaction.rows(
                f"""
                SELECT {_COLUMNS} FROM rule_set AS one
                WHERE (name, version) > (%(name)s, %(version)s) AND (%(all)s OR state = 'live'
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
        if newest and _row(newest[0]).source == source:
            return _row(newest[0])
        rows = await transaction.rows(
            f"""
            INSERT INTO rule_set (name, version, state, source, file, title, owner, stage, triggers, rules,
                created_micros)
            VALUES (%(name)s, %(version)s, %(state)s, %(source)s, %(file)s, %(title)s, %(owner)s, %(stage)s,
                %(triggers)s, %(rules)s, %(now)s)
            RETURNING {_COLUMNS}
            """,  # noqa: S608  columns are our own
            {
                "name": described.name,
                "version": _row(newest[0]).version + 1 if newest else 1,
                "state": state,
                "source": source,
                "file": file,
                "title": described.title,
                "owner": described.owner,
                "stage": described.stage,
                "triggers": list(described.triggers),
                "rules": described.rules,
                "now": now_micros,
            },
        )
        row = _row(rows[0])
        await write_audit(
            transaction,
            Change(
                "rules.put",
                f"rule_set/{row.name}",
                before=_state(_row(newest[0])) if newest else None,
                after=_state(row),
            ),
        )
        return row

    async def go_live(
        self, transaction: Transaction, ready: ReadyToLive, catalogue: str, now_micros: int
    ) -> RuleSetRow | None:
        """Makes a version live beside those it was tried beside; None: another activation came in between."""
        row, after = ready.row, ready.after
        await transaction.execute("LOCK TABLE program IN EXCLUSIVE MODE")
        newest = await transaction.row("SELECT coalesce(max(version), 0) FROM program")
        if newest is None or newest[0] != after.version:
            return None
        retired = await transaction.rows(
            "UPDATE rule_set SET state = 'retired' "  # noqa: S608  columns are our own
            f"WHERE name = %(name)s AND state = 'live' RETURNING {_COLUMNS}",
            {"name": row.name},
        )
        rows = await transaction.rows(
            f"UPDATE rule_set SET state = 'live', activated_micros = %(now)s "  # noqa: S608  columns are our own
            f"WHERE name = %(name)s AND version = %(version)s RETURNING {_COLUMNS}",
            {"name": row.name, "version": row.version, "now": now_micros},
        )
        members = {source.name: source.version for source in after.sources} | {row.name: row.version}
        ((program,),) = await transaction.rows(
            """
            INSERT INTO program (names, versions, listened, absences, schedules, catalogue, activated_micros)
            VALUES (%(names)s, %(versions)s, %(listened)s, %(absences)s, %(schedules)s, %(catalogue)s,
                %(now)s)
            RETURNING version
            """,
            {
                "names": list(members),
                "versions": list(members.values()),
                "listened": sorted(ready.listened),
                "absences": sorted(ready.absences),
                "schedules": ready.schedules,
                "catalogue": catalogue,
                "now": now_micros,
            },
        )
        live = _row(rows[0])
        before = _row(retired[0]) if retired else None
        changes = [
            Change(
                "rules.activate",
                f"rule_set/{row.name}",
                before=None if before is None else _state(before) | {"state": "live"},
                after=_state(live) | {"program": program},
            )
        ]
        if before is not None and before.version != live.version:
            was = _state(before)
            changes.append(
                Change("rules.retire", f"rule_set/{row.name}", before=was | {"state": "live"}, after=was)
            )
        await write_audit(transaction, *changes)
        transaction.after_commit(self._went_live)
        return live

    def _went_live(self) -> None:
        self._database.notify(PROGRAM_CHANNEL)


def _state(row: RuleSetRow) -> dict[str, Any]:
    """A version as the audit log knows it; the text itself stays in the table."""
    return {
        "version": row.version,
        "state": row.state,
        "sha256": sha256(row.source.encode()).hexdigest()[:32],
    }


def _row(row: Sequence[Any]) -> RuleSetRow:
    name, version, state, title, owner, stage, triggers, rules, created, activated, file, source = row
    return RuleSetRow(
        name,
        version,
        state,
        title,
        owner,
        stage,
        tuple(triggers),
        rules,
        created,
        activated or 0,
        file,
        source,
    )
