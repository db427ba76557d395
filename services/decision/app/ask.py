"""Answers a question about one customer at once: the best actions now."""

from __future__ import annotations

from dataclasses import dataclass, replace
from typing import TYPE_CHECKING

from services.decision.app.jobs import AskedNow
from services.decision.app.ports import Decided
from services.decision.app.totals import counted, measure
from services.decision.domain.arbitration import rank_of
from services.decision.domain.decide import assumed_wrongly, decide, standing_that_counts
from services.decision.domain.replaying import with_gates
from services.runtime.errors import ConflictError, NotFoundError
from services.runtime.together import Together
from services.runtime.totals import add_totals
from services.vocabulary.words import (
    DISPATCHED_KINDS,
    ActionKind,
    ActionOutcome,
    Category,
    Channel,
    RefusalReason,
)

if TYPE_CHECKING:
    from collections.abc import Collection, Mapping, Sequence

    from services.decision.app.jobs import Answered
    from services.decision.app.outcome_ports import Plans, Waiting
    from services.decision.app.ports import (
        Asker,
        Decisions,
        FreshSnapshot,
        Gates,
        HandOver,
        Standings,
    )
    from services.decision.domain.arbitration import Standing
    from services.decision.domain.decide import Evaluation
    from services.decision.domain.ledger import Ledger
    from services.runtime.clock import Clock
    from services.runtime.database import Database, Transaction

_ROUNDS = 4
"""How often the gates are asked: each refusal lets the next best come forward."""

_MOST_TOGETHER = 64
"""Customers whose standing is read at once."""

_WITHOUT_CONTACT = frozenset({Category.MANDATORY, Category.SERVICE})
_UNREACHABLE = (RefusalReason.CONSENT_UNKNOWN, "the channel service could not be reached")


@dataclass(frozen=True, slots=True)
class Answer:
    """What was decided, why, and whether the gates were asked and let it through.

    ``waiting``: what was planned earlier for the customer. ``held``: ids of the actions that the gates let
    through, whose slots are taken.
    """

    decided: Decided
    because: Mapping[str, tuple[str, ...]]
    reserved: bool
    waiting: tuple[Waiting, ...] = ()
    held: frozenset[str] = frozenset()


class Ask:
    """The use case of Decide. PEEK binds nobody; PRESENT reserves at the gates first, then records."""

    def __init__(
        self,
        database: Database,
        clock: Clock,
        asker: Asker,
        standings: Standings,
        decisions: Decisions,
        hand_over: HandOver,
        gates: Gates,
        plans: Plans,
        conversation_micros: int,
    ) -> None:
        self._database = database
        self._clock = clock
        self._asker = asker
        self._standings = standings
        self._decisions = decisions
        self._hand_over = hand_over
        self._gates = gates
        self._plans = plans
        self._conversation = conversation_micros
        self._together = Together(self._read, most=_MOST_TOGETHER)

    async def peek(self, event: bytes, snapshot: FreshSnapshot) -> Answer:
        """The answer as it would be now."""
        ledger, waiting = await self._together.ask(snapshot)
        answered = await self._evaluated(event, snapshot, ledger, recorded=False)
        await self._read_limits(answered.evaluated.evaluation, ledger)
        return Answer(self._decide(answered, ledger, {}), answered.because, reserved=False, waiting=waiting)

    async def prepare(
        self, event: bytes, snapshot: FreshSnapshot, request_id: str, channel: Channel | None
    ) -> Answer:
        """The answer after the gates were asked; nothing is recorded yet.

        Fails closed: when the gates cannot be asked, only mandatory and service actions remain.
        """
        ledger, plans = await self._together.ask(snapshot)
        answered = await self._evaluated(event, snapshot, ledger, recorded=True)
        await self._read_limits(answered.evaluated.evaluation, ledger)
        refusals: dict[str, tuple[RefusalReason, str]] = {}
        passed: set[str] = set()
        for number in range(_ROUNDS):
            decided = self._decide(answered, ledger, refusals)
            waiting = to_present(decided) - passed
            if not waiting:
                break
            refused = await self._gates.reserve(f"{request_id}/{number}", decided, channel)
            if refused is None:
                refusals |= {
                    candidate.action_id: _UNREACHABLE
                    for candidate in answered.evaluated.evaluation.candidates
                    if candidate.kind in DISPATCHED_KINDS and candidate.category not in _WITHOUT_CONTACT
                }
                decided = self._decide(answered, ledger, refusals)
                return Answer(decided, answered.because, False, plans, frozenset(passed))
            passed |= waiting - refused.keys()
            refusals |= refused
        else:
            rest = to_present(decided) - passed
            refusals |= dict.fromkeys(rest, (RefusalReason.CAPPED, "no further action was tried"))
        decided = self._decide(answered, ledger, refusals)
        return Answer(decided, answered.because, True, plans, frozenset(passed))

    async def record(self, transaction: Transaction, answer: Answer, snapshot: FreshSnapshot) -> Answer:
        """Writes the answer, decided again under the customer's lock.

        Raises ConflictError when the event was decided before, or another decision came in between and took
        what this one rested on.
        """
        ledger = await self._locked(transaction, snapshot)
        if ledger.erased:
            raise NotFoundError("this customer was erased meanwhile", field="subject")
        before = answer.decided
        if await self._decisions.known(transaction, [before.decision_id]):
            raise ConflictError(
                "this event was decided before", field="event.id", suggestion="list the decision, or ask anew"
            )
        await self._standings.lock_limits(
            transaction, ledger, before.evaluation.limits, (), self._clock.now_micros()
        )
        whole = ledger.standing(snapshot.people, before.evaluation.households)
        evaluation = with_gates(before.evaluation, before.gates)
        standing = self._standing(whole, evaluation, ledger)
        arbitration = decide(evaluation, standing, self._conversation)
        if arbitration.actions != before.arbitration.actions:
            raise ConflictError(
                "another decision about this customer came in between", suggestion="ask again"
            )
        ledger.enter(before.customer, arbitration, dict(evaluation.arms))
        ledger.move(snapshot.people, arbitration.moves, before.line, before.hops)
        decided = replace(before, standing=standing, arbitration=arbitration, presented=True)
        await self._standings.write(transaction, ledger, self._clock.now_micros())
        await self._free(transaction, answer, answer.held - to_present(decided))
        if decided.arbitration.actions:
            await self._decisions.write(transaction, [decided])
            await self._hand_over.hand_on(transaction, [decided])
            await add_totals(transaction, counted([decided]))
            measure(transaction, [decided])
        return replace(answer, decided=decided)

    async def give_up(self, answer: Answer) -> None:
        """Gives back what was reserved for an answer that could not be recorded, and was shown to nobody.

        Only for a decision that nobody else can make: its event has an id of this request alone.
        """
        if answer.held:
            async with self._database.transaction() as transaction:
                if not await self._decisions.known(transaction, [answer.decided.decision_id]):
                    await self._free(transaction, answer, answer.held)

    async def _free(self, transaction: Transaction, answer: Answer, actions: Collection[str]) -> None:
        if actions:
            customer = answer.decided.customer
            await self._hand_over.give_back(transaction, [(customer, one) for one in sorted(actions)])

    async def _read(self, snapshots: Sequence[FreshSnapshot]) -> Sequence[tuple[Ledger, tuple[Waiting, ...]]]:
        """What several customers' earlier decisions left, each for itself, and what is planned for them."""
        people = sorted({person for snapshot in snapshots for person in snapshot.people})
        accounts = {account for snapshot in snapshots for account in _accounts(snapshot)}
        now = self._clock.now_micros()
        async with self._database.statements() as statements:
            ledger = await self._standings.read(
                statements,
                sorted(accounts),
                now - 2 * self._conversation,
                now + 2 * self._conversation,
                journeys=True,
            )
            plans = await self._plans.waiting(statements, people)
        return [
            (
                ledger.part(_accounts(snapshot)),
                tuple(plan for plan in plans if plan.customer in snapshot.people),
            )
            for snapshot in snapshots
        ]

    async def _locked(self, transaction: Transaction, snapshot: FreshSnapshot) -> Ledger:
        now = self._clock.now_micros()
        return await self._standings.lock(
            transaction,
            sorted(_accounts(snapshot)),
            now - 2 * self._conversation,
            now + 2 * self._conversation,
            journeys=True,
        )

    async def _evaluated(
        self, event: bytes, snapshot: FreshSnapshot, ledger: Ledger, *, recorded: bool
    ) -> Answered:
        arms = ledger.standing(snapshot.people).arms
        return await self._asker.ask(AskedNow(event, snapshot.raw, arms, recorded))

    async def _read_limits(self, evaluation: Evaluation, ledger: Ledger) -> None:
        if evaluation.limits:
            async with self._database.transaction() as transaction:
                await self._standings.read_limits(
                    transaction, ledger, evaluation.limits, self._clock.now_micros()
                )

    def _standing(self, whole: Standing, evaluation: Evaluation, ledger: Ledger) -> Standing:
        """What counts; an answer is there at once, so that no pace spreads it."""
        rooms = ledger.rooms(evaluation.limits, self._clock.now_micros(), (), paced=False)
        return replace(standing_that_counts(whole, evaluation), rooms=rooms)

    def _decide(
        self, answered: Answered, ledger: Ledger, refusals: Mapping[str, tuple[RefusalReason, str]]
    ) -> Decided:
        item = answered.evaluated
        whole = ledger.standing(item.people, item.evaluation.households)
        assert not assumed_wrongly(item.evaluation, whole)
        standing = self._standing(whole, item.evaluation, ledger)
        arbitration = decide(with_gates(item.evaluation, refusals), standing, self._conversation)
        return Decided(
            decision_id=item.decision_id,
            customer=item.customer,
            event_id=item.event_id,
            source=item.source,
            event_type=item.event_type,
            event_micros=item.event_micros,
            sequence=item.sequence,
            decided_micros=self._clock.now_micros(),
            program=answered.program,
            line=item.line,
            hops=item.hops,
            evaluation=item.evaluation,
            standing=standing,
            arbitration=arbitration,
            material=item.material,
            gates=dict(refusals),
            catalogue=item.catalogue,
        )


def _accounts(snapshot: FreshSnapshot) -> set[int]:
    """Under whom what was decided is kept: the person, those merged into it, the household."""
    return {*snapshot.people, *([snapshot.household] if snapshot.household else [])}


def to_present(decided: Decided) -> set[str]:
    """Ids of the dispatched actions that the caller would show; a task goes its usual way."""
    return {
        action.candidate.action_id
        for action in decided.arbitration.actions
        if action.outcome is ActionOutcome.DISPATCHED and action.candidate.kind is not ActionKind.TASK
    }


def best_first(decided: Decided) -> list[int]:
    """Positions of the actions: what is done before what is refused, then as arbitration ranks them."""
    actions = decided.arbitration.actions

    def rank(position: int) -> tuple[bool, tuple[int, float, int, int, str]]:
        return actions[position].outcome is ActionOutcome.REFUSED, rank_of(actions[position])

    return sorted(range(len(actions)), key=rank)
