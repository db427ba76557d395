"""Takes batches of events and decides: what the rules ask for, then, in one transaction, what is done."""

from __future__ import annotations

from collections import Counter
from dataclasses import replace
from functools import partial
from typing import TYPE_CHECKING

import structlog

from services.decision.app.jobs import (
    Batch,
    CameBack,
    DueQuestion,
    Erased,
    Evaluated,
    FellDue,
    GivenBack,
    Item,
    Left,
    PairOpened,
    Replied,
    SetAside,
    ThingHappened,
    Told,
)
from services.decision.app.ports import Decided
from services.decision.app.run_progress import came_back, decisions_of, outcomes_of
from services.decision.app.totals import counted, measure
from services.decision.domain.decide import Planned, assumed_wrongly
from services.decision.domain.settling import Asked, settle
from services.runtime.consumer import take_messages
from services.runtime.database import is_transient
from services.runtime.metrics import ENGINE_SET_ASIDE
from services.runtime.totals import add_totals

if TYPE_CHECKING:
    from collections.abc import Callable, Mapping, Sequence

    from services.decision.app.erasure import ErasePersons
    from services.decision.app.ports import Decisions, Evaluator, HandOver, Plan, SetAsides, Standings
    from services.decision.app.run_ports import RunsTaken
    from services.decision.app.run_progress import Counts
    from services.decision.app.take_replies import TakeReplies
    from services.decision.domain.arbitration import Standing
    from services.decision.domain.ledger import Ledger
    from services.runtime.clock import Clock
    from services.runtime.consumer import Delivery
    from services.runtime.database import Database, Transaction

_log = structlog.get_logger(__name__)
_NOT_OF_CUSTOMERS = (PairOpened, ThingHappened, CameBack, Told)
"""Items for which no customer is locked and nothing is decided."""


class ArmsDifferError(Exception):
    """Customers are stored in other arms than the evaluation assumed; ``arms`` by customer and experiment."""

    def __init__(self, arms: dict[int, dict[str, str]]) -> None:
        super().__init__(f"{len(arms)} customers are stored in another arm")
        self.arms = arms


class TakeEvents:
    """The worker's use case. Evaluation, which needs the engine, comes before the transaction."""

    def __init__(
        self,
        database: Database,
        clock: Clock,
        evaluator: Evaluator,
        standings: Standings,
        decisions: Decisions,
        hand_over: HandOver,
        set_asides: SetAsides,
        runs: RunsTaken,
        erasures: ErasePersons,
        conversation_micros: int,
        killed: Callable[[SetAside], None] | None = None,
        replies: TakeReplies | None = None,
    ) -> None:
        """``killed`` is told of each event that was set aside because it ended the engine's process.

        ``replies`` takes what customers write in answer to offers; None: nothing follows from it here.
        """
        self._database = database
        self._clock = clock
        self._evaluator = evaluator
        self._standings = standings
        self._decisions = decisions
        self._hand_over = hand_over
        self._set_asides = set_asides
        self._runs = runs
        self._erasures = erasures
        self._conversation = conversation_micros
        self._killed = killed
        self._replies = replies

    async def take(self, deliveries: Sequence[Delivery]) -> None:
        """Decides all events of these messages in one transaction; a message taken before changes nothing."""
        await self._take(deliveries, singly=False)

    async def take_singly(self, delivery: Delivery) -> None:
        """The same for one message; an event that fails alone is set aside with its input."""
        await self._take([delivery], singly=True)

    async def _take(self, deliveries: Sequence[Delivery], *, singly: bool) -> None:
        payloads = [delivery.payload for delivery in deliveries]
        stored: dict[int, dict[str, str]] = {}
        while True:
            batch = await self._evaluator.evaluate(payloads, stored)
            items, plans = await self._with_due(batch, stored)
            if self._replies is not None:
                items = await self._replies.looked_up(items)
            try:
                async with self._database.transaction() as transaction:
                    await self._write(transaction, deliveries, batch, items, plans, singly=singly)
            except ArmsDifferError as differ:
                for customer, arms in differ.arms.items():
                    stored.setdefault(customer, {}).update(arms)
                continue
            return

    async def _with_due(
        self, batch: Batch, stored: Mapping[int, Mapping[str, str]]
    ) -> tuple[list[Item], Mapping[str, Plan]]:
        """Evaluates planned actions that fell due, with their plans; what is done or unknown is left out."""
        due = [item for item in batch.items if isinstance(item, FellDue)]
        if not due:
            return list(batch.items), {}
        plans = await self._decisions.plans([item.action_id for item in due])
        questions = [
            DueQuestion(item, plans[item.action_id].planned)
            for item in due
            if item.action_id in plans and not plans[item.action_id].done
        ]
        evaluated = await self._evaluator.evaluate_due(questions, stored) if questions else ()
        others = [item for item in batch.items if not isinstance(item, FellDue)]
        return sorted([*others, *evaluated], key=lambda item: item.item), plans

    async def _write(
        self,
        transaction: Transaction,
        deliveries: Sequence[Delivery],
        batch: Batch,
        items: Sequence[Item],
        plans: Mapping[str, Plan],
        *,
        singly: bool,
    ) -> None:
        new = await take_messages(transaction, [delivery.key for delivery in deliveries])
        seen = first = 0
        fresh: list[Item] = []
        for delivery, count in zip(deliveries, batch.counts, strict=True):
            if delivery.key in new:
                new.remove(delivery.key)
                seen += count
                fresh.extend(item for item in items if first <= item.item < first + count)
            first += count
        counts: Counter[str] = Counter({"events.seen": seen})
        await self._open(transaction, fresh, counts)
        of_runs: Counts = Counter()
        fresh = await came_back(transaction, self._runs, fresh, of_runs)
        told = [item for item in fresh if isinstance(item, Told)]
        of_runs.update(await outcomes_of(transaction, self._runs, told))
        fresh = [item for item in fresh if not isinstance(item, _NOT_OF_CUSTOMERS)]
        if fresh and singly:
            await self._lock(transaction, fresh)
            for item in fresh:
                counts.update(await self._write_alone(transaction, item, batch.program, plans, of_runs))
        elif fresh:
            counts.update(await self._write_items(transaction, fresh, batch.program, plans, of_runs))
        counts["events.nothing"] = seen - counts["decisions"] - counts["events.set_aside"]
        await self._runs.count(transaction, of_runs)
        await add_totals(transaction, counts)
        measure(transaction, (), nothing=counts["events.nothing"])

    async def _open(self, transaction: Transaction, items: Sequence[Item], counts: Counter[str]) -> None:
        """Plans checks of pairs, and opens runs for those whom a thing concerns."""
        opened = [item for item in items if isinstance(item, PairOpened)]
        if opened:
            counts["pairs.opened"] += await self._runs.open_pairs(transaction, opened)
        happened = [item for item in items if isinstance(item, ThingHappened)]
        if happened:
            counts["runs.opened"] += await self._runs.open_things(transaction, happened)

    async def _write_alone(
        self,
        transaction: Transaction,
        item: Item,
        program: int,
        plans: Mapping[str, Plan],
        of_runs: Counts,
    ) -> Counter[str]:
        """Writes what came of one event; if that fails, the event is set aside instead."""
        try:
            async with transaction.savepoint():
                return await self._write_items(transaction, [item], program, plans, of_runs)
        except ArmsDifferError:
            raise
        except Exception as error:
            passes = is_transient(error) or transaction.driver.closed  # then it is not the event's fault
            if passes or not isinstance(item, (Evaluated, Replied)):
                raise
            reason = f"{type(error).__name__} while written"
            if isinstance(item, Replied):
                aside = replace(item.aside, reason=reason)
                _log.warning("event_set_aside", event_type=aside.event_type, error=type(error).__name__)
                await self._set_asides.set_aside(transaction, aside)
                return Counter({"events.set_aside": 1})
            _log.warning("event_set_aside", event_type=item.event_type, error=type(error).__name__)
            await self._set_asides.set_aside_evaluated(transaction, item, reason)
            return Counter({"events.set_aside": 1})

    async def _write_items(
        self,
        transaction: Transaction,
        items: Sequence[Item],
        program: int,
        plans: Mapping[str, Plan],
        of_runs: Counts,
    ) -> Counter[str]:
        """Locks the customers, decides in order, and writes everything; returns the totals to add.

        What came of those whom runs asked is added to ``of_runs`` once all is written.
        """
        counts: Counter[str] = Counter()
        ledger = await self._lock(transaction, items)
        known = await self._decisions.known(
            transaction, [item.decision_id for item in items if isinstance(item, Evaluated)]
        )
        fell_due = [item.planned for item in items if isinstance(item, Evaluated) and item.planned]
        waiting = await self._decisions.still_waiting(transaction, fell_due) if fell_due else set()
        differ: dict[int, dict[str, str]] = {}
        decided: list[Decided] = []
        asked: list[tuple[Evaluated, Decided]] = []
        erased: list[Erased] = []
        for item in items:
            match item:
                case Evaluated() if item.customer in ledger.erased:
                    counts["events.erased"] += 1
                case Evaluated() if item.planned and item.planned not in waiting:
                    pass  # it was taken back while it was on its way
                case GivenBack():
                    ledger.give_back(item.people, item.action_id)
                case SetAside():
                    await self._set_asides.set_aside(transaction, item)
                    counts["events.set_aside"] += 1
                    if item.killed_engine:
                        transaction.after_commit(partial(ENGINE_SET_ASIDE.inc))
                        if self._killed is not None:
                            transaction.after_commit(partial(self._killed, item))
                case Evaluated() if item.decision_id not in known:
                    known.add(item.decision_id)
                    standing = ledger.standing(item.people, item.evaluation.households)
                    if assumed_wrongly(item.evaluation, standing):
                        differ[item.customer] = dict(standing.arms)
                    else:
                        one = self._decide(item, standing, ledger, program, plans)
                        asked.append((item, one))
                        # nothing is left of what was asked for by journeys the customer is not in
                        decided += [one] if one.arbitration.actions else []
                case Replied() if self._replies is not None:
                    counts.update(await self._replies.take(transaction, item))
                case Left():
                    ledger.leave(item.people, item.due)
                case Erased():
                    erased.append(item)
                case _:
                    pass
        if differ:
            raise ArmsDifferError(differ)
        await self._standings.write(transaction, ledger, self._clock.now_micros())
        if decided:
            await self._decisions.write(transaction, decided)
            await self._hand_over.hand_on(transaction, decided)
            counts.update(counted(decided))
            measure(transaction, decided)
        found = await decisions_of(transaction, self._runs, asked)
        for gone in erased:  # after all that came before them
            await self._erasures.erase(transaction, gone)
        of_runs.update(found)
        return counts

    def _decide(
        self, item: Evaluated, whole: Standing, ledger: Ledger, program: int, plans: Mapping[str, Plan]
    ) -> Decided:
        now = self._clock.now_micros()
        asked = Asked(item.people, item.line, item.hops, item.planned, item.due)
        standing, arbitration = settle(ledger, asked, item.evaluation, whole, now, self._conversation)
        planned: Planned | None = plans[item.planned].planned if item.planned else None
        return Decided(
            decision_id=item.decision_id,
            customer=item.customer,
            event_id=item.event_id,
            source=item.source,
            event_type=item.event_type,
            event_micros=item.event_micros,
            sequence=item.sequence,
            decided_micros=now,
            program=program,
            line=item.line,
            hops=item.hops,
            evaluation=item.evaluation,
            standing=standing,
            arbitration=arbitration,
            material=item.material,
            planned=planned,
            catalogue=item.catalogue,
        )

    async def _lock(self, transaction: Transaction, items: Sequence[Item]) -> Ledger:
        people: set[int] = set()
        times: list[int] = []
        journeys = False
        for item in items:
            if isinstance(item, Evaluated):
                people.update(item.people, item.evaluation.households)
                times.append(item.evaluation.circumstances.time_micros)
                journeys |= any(candidate.journey is not None for candidate in item.evaluation.candidates)
            elif isinstance(item, Left):
                people.update(item.people)
                journeys = True
            elif isinstance(item, (Erased, GivenBack)):
                people.update(item.people)
            elif isinstance(item, Replied) and item.recorded is not None:
                people.add(item.recorded.customer)
        limits = {name for item in items if isinstance(item, Evaluated) for name in item.evaluation.limits}
        actions = [item.action_id for item in items if isinstance(item, GivenBack)]
        actions += [item.planned for item in items if isinstance(item, Evaluated) and item.planned]
        from_micros = min(times, default=0) - self._conversation
        to_micros = max(times, default=0) + self._conversation
        households = await self._standings.households_of(transaction, actions)
        people.update(households.values())
        ledger = await self._standings.lock(
            transaction, sorted(people), from_micros, to_micros, journeys=journeys
        )
        ledger.households = households
        await self._standings.lock_limits(transaction, ledger, limits, actions, self._clock.now_micros())
        return ledger
