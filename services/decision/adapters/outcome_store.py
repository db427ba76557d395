"""What came of actions after they were decided, and plans that wait, in PostgreSQL."""

from __future__ import annotations

from functools import lru_cache
from typing import TYPE_CHECKING, Any
from uuid import UUID

import orjson

from services.decision.adapters.records import unpack_candidate
from services.decision.app.outcome_ports import Waiting
from services.decision.domain.answers import Answer, Noted

if TYPE_CHECKING:
    from collections.abc import Sequence

    from services.runtime.database import Transaction
    from services.runtime.statements import Statements

_uuid = lru_cache(maxsize=1024)(UUID)
NOTE_COLUMNS = (
    "number, customer, action_id, decision_id, outcome, offer, reason, agent, line, fulfil, data, "
    "recorded_micros"
)
_PLAN = "SELECT customer, action_id, decision_id, due_micros, line, candidate FROM planned_action"


class OutcomeStore:
    """The Answers and Plans ports on PostgreSQL."""

    async def of_action(self, transaction: Transaction, customer: int, action_id: str) -> list[Noted]:
        """Oldest first."""
        rows = await transaction.rows(
            f"SELECT {NOTE_COLUMNS} FROM action_outcome "  # noqa: S608  columns are our own
            "WHERE customer = %(customer)s AND action_id = %(action)s ORDER BY number",
            {"customer": customer, "action": _uuid(action_id)},
        )
        return [note_of(row) for row in rows]

    async def add(self, transaction: Transaction, notes: Sequence[Noted]) -> None:
        """Writes them; their numbers are of the sequence of decisions."""
        for note in notes:
            await transaction.execute(
                f"INSERT INTO action_outcome ({NOTE_COLUMNS}) "  # noqa: S608  columns are our own
                "VALUES (nextval('decision_number_seq'), %(customer)s, %(action)s, %(decision)s, "
                "%(outcome)s, %(offer)s, %(reason)s, %(agent)s, %(line)s, %(fulfil)s, %(data)s, "
                "%(recorded)s)",
                {
                    "customer": note.customer,
                    "action": _uuid(note.action_id),
                    "decision": _uuid(note.decision_id),
                    "outcome": note.answer.value,
                    "offer": note.offer,
                    "reason": note.reason,
                    "agent": note.agent,
                    "line": note.line,
                    "fulfil": note.fulfil,
                    "data": orjson.dumps(note.data).decode(),
                    "recorded": note.recorded_micros,
                },
            )

    async def waiting(self, transaction: Statements, customers: Sequence[int]) -> list[Waiting]:
        """Plans of these customers, by the time at which they fall due."""
        rows = await transaction.rows(
            f"{_PLAN} WHERE customer = ANY(%(customers)s::bigint[]) AND state <> 'done' "
            "ORDER BY due_micros, action_id",
            {"customers": list(customers)},
        )
        return [_waiting(row) for row in rows]

    async def find(self, transaction: Transaction, action_id: str) -> Waiting | None:
        """A plan that waits."""
        row = await transaction.row(
            f"{_PLAN} WHERE action_id = %(id)s AND state <> 'done'", {"id": _uuid(action_id)}
        )
        return None if row is None else _waiting(row)

    async def take_back(self, transaction: Transaction, action_ids: Sequence[str]) -> set[str]:
        """Ends those that wait."""
        rows = await transaction.rows(
            "UPDATE planned_action SET state = 'done' "
            "WHERE action_id = ANY(%(ids)s::uuid[]) AND state <> 'done' RETURNING action_id",
            {"ids": [_uuid(known) for known in action_ids]},
        )
        return {str(row[0]) for row in rows}


def note_of(row: Sequence[Any]) -> Noted:
    """A row of NOTE_COLUMNS."""
    number, customer, action, decision, outcome, offer, reason, agent, line, fulfil, data, recorded = row
    return Noted(
        customer=customer,
        action_id=str(action),
        decision_id=str(decision),
        answer=Answer(outcome),
        offer=offer,
        reason=reason,
        agent=agent,
        line=line,
        recorded_micros=recorded,
        fulfil=fulfil,
        data=orjson.loads(data),
        number=number,
    )


def _waiting(row: Sequence[Any]) -> Waiting:
    customer, action, decision, due, line, candidate = row
    return Waiting(customer, str(action), str(decision), due, line, unpack_candidate(candidate))
