"""Decisions and planned actions in PostgreSQL."""

from __future__ import annotations

from functools import lru_cache
from typing import TYPE_CHECKING, Any
from uuid import UUID

from services.decision.adapters.records import (
    Record,
    pack_candidate,
    pack_record,
    unpack_candidate,
    unpack_record,
)
from services.decision.app.ports import DuePlan, Plan, Recorded
from services.decision.domain.decide import Planned
from services.vocabulary.words import ActionOutcome

if TYPE_CHECKING:
    from collections.abc import Iterable, Mapping, Sequence

    from services.decision.app.ports import Decided, Wanted
    from services.decision.domain.arbitration import DecidedAction
    from services.runtime.database import Database, Transaction

_uuid = lru_cache(maxsize=8192)(UUID)


class DecisionStore:
    """The Decisions port on PostgreSQL."""

    def __init__(self, database: Database) -> None:
        self._database = database

    async def known(self, transaction: Transaction, decision_ids: Sequence[str]) -> set[str]:
        """Those of the ids that were decided before; exact under the customers' locks."""
        if not decision_ids:
            return set()
        rows = await transaction.rows(
            "SELECT id FROM decision_lookup WHERE id = ANY(%(ids)s::uuid[])",
            {"ids": [_uuid(known) for known in decision_ids]},
        )
        return {str(row[0]) for row in rows}

    async def write(self, transaction: Transaction, decided: Sequence[Decided]) -> None:
        """Writes decisions with their actions and look-ups, and the plans among them."""
        await transaction.copy_rows(
            "COPY decision (customer, decision_id, event_id, event_source, event_type, event_micros, "
            "decided_micros, program, catalogue, material, record) FROM STDIN (FORMAT BINARY)",
            ["int8", "uuid", "text", "text", "text", "int8", "int8", "int8", "text", "bytea", "bytea"],
            (_decision_row(one) for one in decided),
        )
        actions = [(one, action) for one in decided for action in one.arbitration.actions]
        await transaction.copy_rows(
            "COPY decision_action (customer, decision_id, action_id, rule_set, rule, outcome, reason) "
            "FROM STDIN (FORMAT BINARY)",
            ["int8", "uuid", "uuid", "text", "text", "text", "text"],
            (
                (
                    one.customer,
                    _uuid(one.decision_id),
                    _uuid(action.candidate.action_id),
                    action.candidate.rule_set,
                    action.candidate.rule,
                    action.outcome.value,
                    "" if action.reason is None else action.reason.value,
                )
                for one, action in actions
            ),
        )
        found = {one.decision_id: one for one in decided} | {
            action.candidate.action_id: one for one, action in actions
        }
        await transaction.execute(
            """
            INSERT INTO decision_lookup (id, customer, decision_id)
            SELECT * FROM unnest(%(ids)s::uuid[], %(customers)s::bigint[], %(decisions)s::uuid[])
            ON CONFLICT (id) DO UPDATE SET decision_id = excluded.decision_id
            """,
            {
                "ids": [_uuid(known) for known in found],
                "customers": [one.customer for one in found.values()],
                "decisions": [_uuid(one.decision_id) for one in found.values()],
            },
        )
        await self._write_plans(transaction, actions)
        again = {
            action.candidate.action_id for _, action in actions if action.outcome is ActionOutcome.PLANNED
        }
        done = [
            _uuid(one.planned.candidate.action_id)
            for one in decided
            if one.planned is not None and one.planned.candidate.action_id not in again
        ]
        if done:
            await transaction.execute(
                "UPDATE planned_action SET state = 'done' WHERE action_id = ANY(%(ids)s::uuid[])",
                {"ids": done},
            )

    async def plans(self, action_ids: Sequence[str]) -> Mapping[str, Plan]:
        """Planned actions by id."""
        async with self._database.transaction() as transaction:
            rows = await transaction.rows(
                """
                SELECT customer, action_id, decision_id, since_micros, since_sequence, state, line, hops,
                candidate FROM planned_action WHERE action_id = ANY(%(ids)s::uuid[])
                """,
                {"ids": [_uuid(known) for known in action_ids]},
            )
        return {
            str(action): Plan(
                customer=customer,
                decision_id=str(decision),
                planned=Planned(unpack_candidate(candidate), since, sequence),
                line=line,
                hops=hops,
                done=state == "done",
            )
            for customer, action, decision, since, sequence, state, line, hops, candidate in rows
        }

    async def still_waiting(self, transaction: Transaction, action_ids: Sequence[str]) -> set[str]:
        """Those of the plans that were not taken back meanwhile; exact under the customers' locks."""
        rows = await transaction.rows(
            "SELECT action_id FROM planned_action WHERE action_id = ANY(%(ids)s::uuid[]) AND state <> 'done'",
            {"ids": [_uuid(known) for known in action_ids]},
        )
        return {str(row[0]) for row in rows}

    async def take_due(self, transaction: Transaction, now_micros: int, most: int) -> list[DuePlan]:
        """Claims planned actions whose time has come, the longest due first."""
        rows = await transaction.rows(
            """
            UPDATE planned_action SET state = 'asked'
            WHERE action_id IN (
                SELECT action_id FROM planned_action
                WHERE state = 'planned' AND due_micros <= %(now)s
                ORDER BY due_micros LIMIT %(most)s FOR UPDATE SKIP LOCKED
            )
            RETURNING customer, action_id, decision_id, due_micros, line, hops
            """,
            {"now": now_micros, "most": most},
        )
        due = [DuePlan(row[0], str(row[1]), str(row[2]), row[3], row[4], row[5]) for row in rows]
        return sorted(due, key=lambda plan: (plan.due_micros, plan.customer, plan.action_id))

    async def next_due(self) -> int | None:
        """When the next planned action falls due; None: nothing is planned."""
        async with self._database.transaction() as transaction:
            row = await transaction.row("SELECT min(due_micros) FROM planned_action WHERE state = 'planned'")
        return None if row is None else row[0]

    async def count_plans(self, transaction: Transaction, now_micros: int) -> tuple[int, int]:
        """Plans not yet decided again: those whose time has come, and the others."""
        row = await transaction.row(
            """
            SELECT count(*) FILTER (WHERE state = 'asked' OR due_micros <= %(now)s),
                count(*) FILTER (WHERE state = 'planned' AND due_micros > %(now)s)
            FROM planned_action WHERE state <> 'done'
            """,
            {"now": now_micros},
        )
        return (0, 0) if row is None else (row[0], row[1])

    async def find(self, known_id: str) -> Recorded | None:
        """By decision id, or by action id its newest decision."""
        async with self._database.transaction() as transaction:
            rows = await transaction.rows(
                f"""
                SELECT {RECORDED_COLUMNS}, material
                FROM decision JOIN decision_lookup USING (customer, decision_id)
                WHERE decision_lookup.id = %(id)s::uuid
                """,  # noqa: S608  columns are our own
                {"id": _uuid(known_id)},
            )
        return recorded_of(rows[0][:-1], bytes(rows[0][-1])) if rows else None

    async def page(self, wanted: Wanted) -> list[tuple[int, Recorded]]:
        """Newest first, each with its number; without material."""
        async with self._database.transaction() as transaction:
            rows = await transaction.rows(
                f"""
                SELECT {RECORDED_COLUMNS} FROM decision
                WHERE (%(before)s::bigint = 0 OR number < %(before)s)
                    AND (cardinality(%(customers)s::bigint[]) = 0 OR customer = ANY(%(customers)s::bigint[]))
                    AND (%(event_type)s::text = '' OR event_type = %(event_type)s)
                    AND event_micros >= %(from)s
                    AND (%(until)s::bigint = 0 OR event_micros < %(until)s)
                    AND (%(rule_set)s::text = '' AND %(reason)s::text = '' OR EXISTS (
                        SELECT FROM decision_action AS action
                        WHERE action.customer = decision.customer
                            AND action.decision_id = decision.decision_id
                            AND (%(rule_set)s = '' OR action.rule_set = %(rule_set)s)
                            AND (%(reason)s = '' OR action.reason = %(reason)s)))
                ORDER BY number DESC LIMIT %(size)s
                """,  # noqa: S608  columns are our own
                {
                    "before": wanted.before,
                    "customers": list(wanted.customers),
                    "event_type": wanted.event_type,
                    "rule_set": wanted.rule_set,
                    "reason": wanted.reason,
                    "from": wanted.from_micros,
                    "until": wanted.until_micros,
                    "size": wanted.size,
                },
            )
        return [(row[0], recorded_of(row)) for row in rows]

    async def _write_plans(
        self, transaction: Transaction, actions: Iterable[tuple[Decided, DecidedAction]]
    ) -> None:
        planned = [(one, action) for one, action in actions if action.outcome is ActionOutcome.PLANNED]
        again = [_uuid(one.planned.candidate.action_id) for one, action in planned if one.planned is not None]
        if again:
            # its turn under a pace comes later still: the plan is made anew
            await transaction.execute(
                "DELETE FROM planned_action WHERE action_id = ANY(%(ids)s::uuid[])", {"ids": again}
            )
        rows = [
            (
                one.customer,
                _uuid(action.candidate.action_id),
                _uuid(one.decision_id),
                action.candidate.planned_micros,
                one.event_micros if one.planned is None else one.planned.since_micros,
                one.sequence if one.planned is None else one.planned.since_sequence,
                "planned",
                one.line,
                one.hops,
                pack_candidate(action.candidate),
            )
            for one, action in planned
        ]
        if rows:
            await transaction.copy_rows(
                "COPY planned_action (customer, action_id, decision_id, due_micros, since_micros, "
                "since_sequence, state, line, hops, candidate) FROM STDIN (FORMAT BINARY)",
                ["int8", "uuid", "uuid", "int8", "int8", "int8", "text", "text", "int4", "bytea"],
                rows,
            )
            transaction.after_commit(self._planned)

    def _planned(self) -> None:
        self._database.notify(PLANNED_CHANNEL)


PLANNED_CHANNEL = "planned"
"""Notified when something was planned, so that the due loop looks for its time."""


RECORDED_COLUMNS = (
    "number, decision.customer, decision.decision_id, event_id, event_source, event_type, event_micros, "
    "decided_micros, program, catalogue, record"
)


def recorded_of(row: Sequence[Any], material: bytes = b"") -> Recorded:
    """A row of RECORDED_COLUMNS."""
    _, customer, decision, event_id, source, event_type, event_micros, decided, *rest = row
    program, catalogue, packed = rest
    record = unpack_record(bytes(packed))
    return Recorded(
        decision_id=str(decision),
        customer=customer,
        event_id=event_id,
        source=source,
        event_type=event_type,
        event_micros=event_micros,
        decided_micros=decided,
        program=program,
        evaluation=record.evaluation,
        standing=record.standing,
        actions=record.actions,
        material=material,
        planned=record.planned,
        gates=record.gates,
        line=record.line,
        presented=record.presented,
        catalogue=catalogue,
    )


def _decision_row(one: Decided) -> tuple[object, ...]:
    record = Record(
        one.evaluation,
        one.standing,
        one.arbitration.actions,
        planned=one.planned,
        gates=one.gates,
        line=one.line,
        hops=one.hops,
        sequence=one.sequence,
        presented=one.presented,
    )
    return (
        one.customer,
        _uuid(one.decision_id),
        one.event_id,
        one.source,
        one.event_type,
        one.event_micros,
        one.decided_micros,
        one.program,
        one.catalogue,
        one.material,
        pack_record(record),
    )
