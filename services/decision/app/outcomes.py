"""What comes of a decision afterwards: a customer's answer to an offer, and a plan that is taken back."""

from __future__ import annotations

from dataclasses import dataclass
from datetime import UTC, datetime, timedelta
from typing import TYPE_CHECKING
from zoneinfo import ZoneInfo

from services.decision.domain.answers import (
    Answer,
    Fulfilment,
    Noted,
    NotRecorded,
    cannot_follow,
    cannot_have_answer,
    fulfilment_of,
    killed,
)
from services.runtime.audit import Change, write_audit
from services.runtime.caller import current_caller

if TYPE_CHECKING:
    from collections.abc import Sequence

    from services.decision.app.outcome_ports import Answers, AnswersHandOver, Plans, Waiting
    from services.decision.app.ports import Recorded, Standings
    from services.decision.domain.arbitration import Candidate, DecidedAction
    from services.decision.domain.ledger import Ledger
    from services.runtime.clock import Clock
    from services.runtime.database import Transaction
    from services.vocabulary.catalogue import Catalogue

_EPOCH = datetime(1970, 1, 1, tzinfo=UTC)
_NEEDS_VALIDITY = frozenset({Answer.PRESENTED, Answer.ACCEPTED})


@dataclass(frozen=True, slots=True)
class Told:
    """What somebody says that a customer answered; ``agent`` empty: the caller talked to them.

    ``said_micros``: when the customer said so, in business time; 0: now. ``seen``: they answered to what they
    had read, so that it was presented whether or not somebody said so.
    """

    action_id: str
    answer: Answer
    reason: str = ""
    agent: str = ""
    said_micros: int = 0
    seen: bool = False


@dataclass(frozen=True, slots=True)
class Closed:
    """What became of an answer: recorded, or why not; ``earlier``: what was recorded before.

    ``fulfilment``: what an acceptance asks for. ``given_back``: it was never presented, and used up nothing.
    """

    refusal: NotRecorded | None = None
    detail: str = ""
    earlier: Noted | None = None
    fulfilment: Fulfilment | None = None
    offer: str = ""
    given_back: bool = False


@dataclass(frozen=True, slots=True)
class TakenBack:
    """The plans that were ended; none: nothing waited any more."""

    plans: tuple[Waiting, ...]


class CloseLoop:
    """The use cases of RecordOutcome and CancelPlanned."""

    def __init__(
        self,
        clock: Clock,
        catalogue: Catalogue,
        standings: Standings,
        answers: Answers,
        plans: Plans,
        hand_over: AnswersHandOver,
    ) -> None:
        self._clock = clock
        self._catalogue = catalogue
        self._standings = standings
        self._answers = answers
        self._plans = plans
        self._hand_over = hand_over

    async def record(self, transaction: Transaction, recorded: Recorded | None, told: Told) -> Closed:
        """Writes an answer to an action of this decision, or says why not. ``recorded`` None: none has it."""
        action = _action_of(recorded, told.action_id)
        if recorded is None or action is None:
            return _unknown()
        against = cannot_have_answer(action)
        if against is not None:
            return Closed(*against)
        ledger = await self._lock(transaction, [recorded.customer], [told.action_id])
        if recorded.customer in ledger.erased:
            return _unknown()
        earlier = await self._answers.of_action(transaction, recorded.customer, told.action_id)
        conflict = cannot_follow(earlier, told.answer)
        if conflict is not None:
            return Closed(*conflict)
        said_micros = told.said_micros or self._clock.now_micros()
        needs = told.answer in _NEEDS_VALIDITY
        expired = self._expired(action.candidate, said_micros) if needs else ""
        if expired:
            return Closed(NotRecorded.EXPIRED, expired, earlier[-1] if earlier else None)
        fulfilment = None
        if told.answer is Answer.ACCEPTED:
            offer = self._catalogue.offers.get(action.candidate.name)
            fulfilment = fulfilment_of(action.candidate, offer, self._catalogue)
        note = self._note(recorded, action.candidate, told, fulfilment)
        given_back = not told.seen and _never_presented(recorded, earlier, told.answer)
        if given_back:
            await self._hand_over.give_back(transaction, [(recorded.customer, told.action_id)])
            ledger.give_back((recorded.customer,), told.action_id)
            await self._standings.write(transaction, ledger, self._clock.now_micros())
        await self._answers.add(transaction, [note])
        await self._hand_over.answered(transaction, [note])
        await write_audit(
            transaction,
            Change(
                "outcome.record",
                _target(note),
                before={"outcome": earlier[-1].answer.value} if earlier else None,
                after={"outcome": note.answer.value, "offer": note.offer, "agent": note.agent},
            ),
        )
        return Closed(
            None,
            fulfilment.lacking if fulfilment else "",
            earlier[-1] if earlier else None,
            fulfilment,
            note.offer,
            given_back,
        )

    async def cancel(
        self, transaction: Transaction, wanted: Sequence[Waiting], reason: str, agent: str
    ) -> TakenBack:
        """Ends these plans as far as they still wait when their customers are locked.

        One that was decided meanwhile is left as it was decided.
        """
        if not wanted:
            return TakenBack(())
        ids = [plan.action_id for plan in wanted]
        ledger = await self._lock(transaction, [plan.customer for plan in wanted], ids)
        ended = await self._plans.take_back(transaction, ids)
        plans = tuple(plan for plan in wanted if plan.action_id in ended)
        now, who = self._clock.now_micros(), agent or current_caller().name
        notes = [
            Noted(
                customer=plan.customer,
                action_id=plan.action_id,
                decision_id=plan.decision_id,
                answer=Answer.CANCELLED,
                offer=plan.candidate.name,
                reason=reason,
                agent=who,
                line=plan.line,
                recorded_micros=now,
                data=killed(plan.candidate),
            )
            for plan in plans
        ]
        for plan in plans:
            ledger.give_back((plan.customer,), plan.action_id)
        await self._standings.write(transaction, ledger, now)
        await self._answers.add(transaction, notes)
        await self._hand_over.answered(transaction, notes)
        await write_audit(
            transaction,
            *(
                Change(
                    "plan.cancel",
                    _target(note),
                    before={"due_micros": plan.due_micros, "rule_set": plan.candidate.rule_set},
                    after={"reason": reason, "agent": who},
                )
                for note, plan in zip(notes, plans, strict=True)
            ),
        )
        return TakenBack(plans)

    async def _lock(
        self, transaction: Transaction, customers: Sequence[int], action_ids: Sequence[str]
    ) -> Ledger:
        """The customers' standing, with what these actions have taken of it, locked as by the worker."""
        now = self._clock.now_micros()
        households = await self._standings.households_of(transaction, action_ids)
        people = sorted({*customers, *households.values()})
        ledger = await self._standings.lock(transaction, people, now, now)
        ledger.households = households
        await self._standings.lock_limits(transaction, ledger, (), action_ids, now)
        return ledger

    def _note(
        self, recorded: Recorded, candidate: Candidate, told: Told, fulfilment: Fulfilment | None
    ) -> Noted:
        return Noted(
            customer=recorded.customer,
            action_id=told.action_id,
            decision_id=recorded.decision_id,
            answer=told.answer,
            offer=candidate.name,
            reason=told.reason,
            agent=told.agent or current_caller().name,
            line=recorded.line,
            recorded_micros=self._clock.now_micros(),
            fulfil="" if fulfilment is None else fulfilment.type,
            data={} if fulfilment is None else fulfilment.data,
        )

    def _expired(self, candidate: Candidate, at_micros: int) -> str:
        """Why the offer was not valid then, on the operator's day; empty: it was."""
        if candidate.expires_micros is not None and candidate.expires_micros <= at_micros:
            return "its validity has ended"
        offer = self._catalogue.offers.get(candidate.name)
        if offer is None:
            return "the catalogue no longer has this offer"
        zone = ZoneInfo(self._catalogue.default_zone)
        day = (_EPOCH + timedelta(microseconds=at_micros)).astimezone(zone).date()
        return "" if offer.valid_on(day) else "the offer is not valid on this day"


def _action_of(recorded: Recorded | None, action_id: str) -> DecidedAction | None:
    actions = () if recorded is None else recorded.actions
    return next((action for action in actions if action.candidate.action_id == action_id), None)


def _never_presented(recorded: Recorded, earlier: Sequence[Noted], answer: Answer) -> bool:
    """Whether a no comes to what the caller held and never showed; what the channel said, it said."""
    no = answer in {Answer.DECLINED, Answer.NOT_NOW}
    return no and recorded.presented and not earlier


def _unknown() -> Closed:
    detail = "no decision kept has this action; what was only looked at (PEEK) can have no outcome"
    return Closed(NotRecorded.UNKNOWN_ACTION, detail)


def _target(note: Noted) -> str:
    return f"customer/{note.customer}/action/{note.action_id}"
