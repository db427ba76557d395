"""Decisions, and plans that fell due, handed on again in recovery."""

from __future__ import annotations

from typing import TYPE_CHECKING, Protocol

import orjson

from services.decision.adapters.outcome_store import NOTE_COLUMNS, note_of
from services.decision.adapters.records import unpack_record
from services.decision.adapters.run_store import call_again
from services.decision.app.outcome_ports import AnswersHandOver
from services.decision.app.ports import Decided, DuePlan, HandOver
from services.decision.domain.arbitration import Arbitration
from services.runtime.recovery_service import Held
from services.runtime.replay import Step, first_number
from services.vocabulary.ids import derived_id

if TYPE_CHECKING:
    from collections.abc import Sequence
    from typing import Any

    from services.decision.adapters.journey_store import JourneyStore
    from services.decision.app.ports import Listening, RuleSets
    from services.runtime.database import Transaction
    from services.runtime.recovery import Gap

_ROWS = 200
_EARLIER_MICROS = 600_000_000
"""Decisions get their numbers nearly, not wholly, in the order of their times."""
_ANSWERS = "answers"
_PLANS = "plans"
_STEPS = "steps"
_DECISIONS = """
    SELECT number, customer, decision_id, event_id, event_source, event_type, event_micros, decided_micros,
        program, record
    FROM decision WHERE number >= %s ORDER BY number LIMIT %s
"""
_NOTED = f"""
    SELECT {NOTE_COLUMNS}, outcome IN ('declined', 'not_now') AND NOT EXISTS (
        SELECT FROM action_outcome AS before
        WHERE before.customer = action_outcome.customer AND before.action_id = action_outcome.action_id
            AND before.number < action_outcome.number)
    FROM action_outcome
    WHERE number > %s AND recorded_micros >= %s ORDER BY number LIMIT %s
"""  # noqa: S608  columns are our own
_ASKED = """
    SELECT customer, action_id, decision_id, due_micros, line, hops FROM planned_action
    WHERE state = 'asked' AND (due_micros, action_id) > (%s, %s::uuid) ORDER BY due_micros, action_id LIMIT %s
"""
_CALLS = "calls"
_NO_ID = "00000000-0000-0000-0000-000000000000"


class HandsAgain(HandOver, AnswersHandOver, Protocol):
    """What puts all of it into the outbox."""


class DecisionsReplay:
    """First the decisions since the replay's start, by number, and what came of them since then.

    Then all plans and journeys' steps that wait.

    At last runs and checks of pairs since then begin again: whoever was called is called by the same id. What
    the others have of it they know by its ids: the channel its actions, the profile its own events.
    """

    def __init__(self, hand_over: HandsAgain, journeys: JourneyStore) -> None:
        self._hand_over = hand_over
        self._journeys = journeys

    async def step(self, transaction: Transaction, gap: Gap, position: str) -> Step:
        """The next few hundred decisions, plans, or steps of journeys; or all runs and checks."""
        if position == _CALLS:
            return Step("", await call_again(transaction, gap.replay_start_micros))
        if position.startswith(_STEPS):
            return await self._steps(transaction, position)
        if position.startswith(_ANSWERS):
            return await self._answers(transaction, gap, int(position.removeprefix(_ANSWERS)))
        if position.startswith(_PLANS):
            return await self._plans(transaction, position)
        since = gap.replay_start_micros
        number = int(position or 0) or await first_number(
            transaction, "decision", "decided_micros", since - _EARLIER_MICROS
        )
        rows = await transaction.rows(_DECISIONS, (number, _ROWS))
        decided = [one for one in map(_decided, rows) if one.decided_micros >= since]
        await self._hand_over.hand_on(transaction, decided)
        following = str(rows[-1][0] + 1) if len(rows) == _ROWS else f"{_ANSWERS} 0"
        return Step(following, {"decisions": len(decided)})

    async def _answers(self, transaction: Transaction, gap: Gap, after: int) -> Step:
        rows = await transaction.rows(_NOTED, (after, gap.replay_start_micros, _ROWS))
        notes = [note_of(row[:-1]) for row in rows]
        await self._hand_over.answered(transaction, notes)
        # a no that came first: the channel frees what was reserved, and leaves alone what it said itself
        freed = [(note.customer, note.action_id) for note, row in zip(notes, rows, strict=True) if row[-1]]
        await self._hand_over.give_back(transaction, freed)
        following = f"{_ANSWERS} {notes[-1].number}" if len(notes) == _ROWS else f"{_PLANS} 0 {_NO_ID}"
        return Step(following, {"answers": len(notes)})

    async def _plans(self, transaction: Transaction, position: str) -> Step:
        _, due, action = position.split(" ")
        rows = await transaction.rows(_ASKED, (int(due), action, _ROWS))
        plans = [DuePlan(row[0], str(row[1]), str(row[2]), row[3], row[4], row[5]) for row in rows]
        await self._hand_over.fell_due(transaction, plans)
        done = len(plans) < _ROWS
        following = _STEPS if done else f"{_PLANS} {plans[-1].due_micros} {plans[-1].action_id}"
        return Step(following, {"plans": len(plans)})

    async def _steps(self, transaction: Transaction, position: str) -> Step:
        after = orjson.loads(position.removeprefix(_STEPS) or '[0, "", ""]')
        steps = await self._journeys.asked(transaction, (after[0], after[1], after[2]), _ROWS)
        await self._hand_over.steps_fell_due(transaction, steps)
        following = _CALLS
        if len(steps) == _ROWS:
            last = steps[-1]
            following = _STEPS + orjson.dumps([last.customer, last.due.rule_set, last.due.key]).decode()
        return Step(following, {"steps": len(steps)})


class DecisionPart:
    """The decision service's part in recovery: a profile restored may not know what rules listen to."""

    def __init__(self, rule_sets: RuleSets, listening: Listening) -> None:
        self._rule_sets = rule_sets
        self._listening = listening

    async def begin(self, transaction: Transaction, gap: Gap, request_id: str) -> None:
        """Tells the profile what the live program listens to. Raises UnavailableError."""
        del transaction, gap
        live = await self._rule_sets.live()
        if live.version:
            await self._listening.set_listened(
                live.listened, live.absences, derived_id("listened", "recovery", request_id)
            )

    async def held(self, transaction: Transaction) -> Held:
        """Nothing is held back here."""
        del transaction
        return Held()


def _decided(row: Sequence[Any]) -> Decided:
    _, customer, decision, event_id, source, event_type, event_micros, decided_micros, program, packed = row
    record = unpack_record(bytes(packed))
    return Decided(
        decision_id=str(decision),
        customer=customer,
        event_id=event_id,
        source=source,
        event_type=event_type,
        event_micros=event_micros,
        sequence=record.sequence,
        decided_micros=decided_micros,
        program=program,
        line=record.line,
        hops=record.hops,
        evaluation=record.evaluation,
        standing=record.standing,
        arbitration=Arbitration(record.actions, {}, ()),
        material=b"",
        planned=record.planned,
        gates=record.gates,
        presented=record.presented,
    )
