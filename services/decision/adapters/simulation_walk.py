"""One customer's past, decided again by one program: the code of live decisions on snapshots of that time."""

from __future__ import annotations

from dataclasses import dataclass, field, replace
from typing import TYPE_CHECKING

import orjson
from rapport.types.v1 import stream_pb2

from services.decision.adapters.handover import SOURCE, action_message, own_event_of
from services.decision.adapters.simulation_past import Look
from services.decision.adapters.situations import LazyActivity, pack_due, situation_of
from services.decision.adapters.workbench import ACTION_DUE, FREE_NOTHING, FREES_WHAT_IT_USED
from services.decision.app.ports import Decided, DueStep
from services.decision.app.simulation_jobs import World
from services.decision.domain.arbitration import Standing
from services.decision.domain.contacts import SENT
from services.decision.domain.decide import Question, evaluate, evaluation_of
from services.decision.domain.journeys import MOST_HOPS
from services.decision.domain.ledger import Account
from services.decision.domain.occasions import still_calls
from services.decision.domain.own_past import OwnEntry, OwnPast, OwnTrait
from services.decision.domain.run import run_if_asked
from services.decision.domain.settling import Asked
from services.decision.domain.simulated_course import Course, Moment, PlanDue
from services.decision.domain.simulation_funnel import Would, name_of, reason_of
from services.decision.domain.triggers import JOURNEY_DUE, TRIGGER_DUE
from services.vocabulary.ids import decision_id, own_event_id
from services.vocabulary.words import DISPATCHED_KINDS, ActionKind, ActionOutcome, Channel

if TYPE_CHECKING:
    from collections.abc import Mapping

    from services.decision.adapters.running import Running
    from services.decision.adapters.simulation_differing import SharingEngine
    from services.decision.adapters.simulation_past import Past
    from services.decision.app.simulation_jobs import Moment as MomentOf
    from services.decision.app.simulation_jobs import Span
    from services.decision.domain.arbitration import DecidedAction
    from services.decision.domain.decide import Evaluation, Planned
    from services.decision.domain.eligibility import Eligibility
    from services.decision.domain.simulated_course import Due, StepOfJourneyDue
    from services.decision.domain.situation import Situation
    from services.vocabulary.catalogue import Catalogue

CHANNEL = "channel"
_NOTHING = Standing()


class MissingMomentsError(Exception):
    """What was known of customers at these times has to be known first."""

    def __init__(self, moments: tuple[MomentOf, ...]) -> None:
        super().__init__(f"{len(moments)} moments are not known")
        self.moments = moments


@dataclass(frozen=True)
class Side:
    """One program with all that it takes to run it."""

    name: str
    running: Running
    engine: SharingEngine
    eligibility: Eligibility
    catalogue: Catalogue
    conversation_micros: int
    differing: frozenset[str] = frozenset()
    """Event types on which other rules run in the other world."""


@dataclass
class Walk:
    """One customer under one program: `take` the events in order, then `end`; then read what came of it."""

    side: Side
    past: Past
    span: Span
    moments: Mapping[MomentOf, bytes]
    world: World = field(default_factory=World)
    decided: set[str] = field(default_factory=set)
    """Actions that went to the gates."""
    refused: dict[str, str] = field(default_factory=dict)
    """Why others did not."""
    failed: list[str] = field(default_factory=list)
    """Types of events that could not be decided."""

    def __post_init__(self) -> None:
        """Begins with what is known of before."""
        self._accounts = {
            customer: Account(dict(one.slots), dict(one.won), dict(one.arms), dict(one.positions))
            for customer, one in self.past.accounts.items()
        }
        self._course = Course(self._accounts, self.side.conversation_micros)
        self._arms = {customer: dict(one.arms) for customer, one in self._accounts.items() if one.arms}
        self._own = OwnPast(self.side.catalogue, self.span.since_micros, foreign=self._foreign())
        self._made: set[str] = set()
        self._now = 0
        self._people: tuple[int, ...] = (self.past.customer,)

    def take(self, event: stream_pb2.TakenEvent, raw: bytes) -> None:
        """Takes the next event, after what falls due before it. Raises MissingMomentsError."""
        self._now = max(self._now, event.accepted_micros or event.time_micros)
        if self._course.has_plans:
            self._fall_due(min(self._now, self.span.until_micros - 1))
        try:
            self._take(event, raw)
        except MissingMomentsError:
            raise
        except Exception:  # noqa: BLE001  one event's fault must not cost the others
            self.failed.append(event.type)

    def end(self) -> None:
        """What falls due after the last event. Raises MissingMomentsError."""
        self._fall_due(self.span.until_micros - 1)

    def _foreign(self) -> frozenset[tuple[int, int]]:
        """Contacts within the time that no rule set of this program made."""
        ours = self.side.running.programs.base.by_name
        return frozenset(
            (time, sequence) for time, sequence, rule_set in self.past.contacts if rule_set not in ours
        )

    def _take(self, event: stream_pb2.TakenEvent, raw: bytes) -> None:
        if event.history or not event.customer:
            return
        if event.source == CHANNEL and event.type in FREES_WHAT_IT_USED:
            told = orjson.loads(event.data)
            if told.get("reason") not in FREE_NOTHING and told["action"] in self.decided:
                self._course.give_back((event.customer, *self._people), told["action"])
            return
        if event.type not in self.side.running.triggers or not raw or not self._happens(event):
            return
        snapshot = self.past.snapshot(raw)
        if event.type == TRIGGER_DUE and not self._still_calls(event, snapshot):
            return
        self._decide(event, snapshot, real=True)

    def _happens(self, event: stream_pb2.TakenEvent) -> bool:
        """Whether an event that we or the channel caused would have come in this world too."""
        if event.source == SOURCE:
            if event.type in {ACTION_DUE, JOURNEY_DUE}:
                return False  # falls due by our own plans
            return event.type == TRIGGER_DUE or event.id in self._made
        if event.source == CHANNEL and event.data:
            action = orjson.loads(event.data).get("action")
            return action is None or action in self.decided
        return True

    def _still_calls(self, event: stream_pb2.TakenEvent, snapshot: stream_pb2.Snapshot) -> bool:
        due = self.side.catalogue.event_type(TRIGGER_DUE).coerce(orjson.loads(event.data))
        rule_set = self.side.running.of(event.customer).rule_set(str(due["rule_set"]))
        occasion = None if rule_set is None else rule_set.occasion
        return still_calls(occasion, due, LazyActivity(snapshot.activity))

    def _decide(
        self, event: stream_pb2.TakenEvent, snapshot: stream_pb2.Snapshot, *, real: bool = False
    ) -> None:
        """What the rules ask for on an event, decided; a ``real`` one the other world sees as well."""
        self.world.funnel.events += 1
        evaluation = self._evaluated(event, snapshot, self._arms, real=real)
        if evaluation is None:
            return
        people = (event.customer, *snapshot.merged_customers)
        if self._course.assumed_wrongly(people, evaluation):
            stored = {event.customer: self._course.arms(people)}
            evaluation = self._evaluated(event, snapshot, stored, real=real)
        if evaluation is not None and evaluation.candidates:
            self._settle(event, snapshot, Asked(people, event.line, event.hops), evaluation)

    def _evaluated(
        self,
        event: stream_pb2.TakenEvent,
        snapshot: stream_pb2.Snapshot,
        stored: Mapping[int, Mapping[str, str]],
        *,
        real: bool,
    ) -> Evaluation | None:
        side, own = self.side, self._own
        arms = side.running.arms(event, stored)
        look = self.past.look if real else None
        situation = None if look is None else look.seen_by(own, arms)
        side.engine.known = {}
        if situation is None:
            situation = self._situation(event, snapshot, arms)
        elif look is not None and arms == look.situation.arms:
            if event.type not in side.differing:
                return look.evaluation
            side.engine.known = look.fired
        program = side.running.of(event.customer)
        outcome = run_if_asked(program, side.engine, situation)
        evaluation = None
        if outcome is not None:
            question = Question(_decision_of(event), situation)
            evaluation = evaluation_of(program, side.eligibility, question, outcome)
        if real:
            plain = not own.traits and not own.was_seen(situation)
            fired = side.engine.known
            self.past.look = Look(situation, evaluation, own.said, own.kinds, own.foreign, plain, fired)
        return evaluation

    def _situation(
        self, event: stream_pb2.TakenEvent, snapshot: stream_pb2.Snapshot, arms: Mapping[str, str]
    ) -> Situation:
        situation = situation_of(event, snapshot, self.side.catalogue, arms=arms)
        times = (
            {trait.name: trait.time_micros for trait in snapshot.traits if not trait.line}
            if self._own.traits
            else {}
        )
        self._own.over(situation, times)
        return situation

    def _settle(
        self,
        event: stream_pb2.TakenEvent,
        snapshot: stream_pb2.Snapshot,
        asked: Asked,
        evaluation: Evaluation,
        planned: Planned | None = None,
    ) -> None:
        self._people = asked.people
        decision = _decision_of(event)
        moment = Moment(decision, event.time_micros, event.sequence, self._now)
        unlimited = replace(evaluation, limits={}) if evaluation.limits else evaluation
        arbitration = self._course.decide(asked, unlimited, moment, planned)
        if not arbitration.actions:
            return  # nothing is left of what was asked for by journeys the customer is not in
        self.world.funnel.note(arbitration.actions, fell_due=planned is not None)
        one = Decided(
            decision_id=decision,
            customer=event.customer,
            event_id=event.id,
            source=event.source,
            event_type=event.type,
            event_micros=event.time_micros,
            sequence=event.sequence,
            decided_micros=self._now,
            program=self.side.running.version,
            line=event.line,
            hops=event.hops,
            evaluation=evaluation,
            standing=_NOTHING,
            arbitration=arbitration,
            material=b"",
            planned=planned,
        )
        for action in arbitration.actions:
            self._came(one, action, event, snapshot)

    def _came(
        self,
        one: Decided,
        action: DecidedAction,
        event: stream_pb2.TakenEvent,
        snapshot: stream_pb2.Snapshot,
    ) -> None:
        """What becomes of one action: to the gates, or back to ourselves."""
        candidate = action.candidate
        if candidate.kind in DISPATCHED_KINDS:
            self.world.asked.add(self.past.customer)
        if action.outcome is ActionOutcome.DISPATCHED:
            self.decided.add(candidate.action_id)
            self.refused.pop(candidate.action_id, None)
            self.world.would.append(
                Would(
                    self._now,
                    self.past.customer,
                    candidate.action_id,
                    name_of(action),
                    candidate.value,
                    candidate.cost,
                    not candidate.cost_from.detail,
                    candidate.expires_micros or 0,
                    action_message(one, action).SerializeToString(),
                )
            )
            self._own.add(SENT, OwnEntry(self._now, event.sequence, _as_sent(action)))
            return
        if action.outcome is ActionOutcome.REFUSED:
            self.refused[candidate.action_id] = reason_of(action)
        elif action.outcome is ActionOutcome.PLANNED:
            self.refused[candidate.action_id] = "planned"
        own = own_event_of(one, action)
        if own is not None:
            self._say_to_ourselves(own, action, event, snapshot)

    def _say_to_ourselves(
        self,
        own: stream_pb2.OwnEvent,
        action: DecidedAction,
        event: stream_pb2.TakenEvent,
        snapshot: stream_pb2.Snapshot,
    ) -> None:
        """An event of our own: what really happened comes by itself, the rest is taken here."""
        self._made.add(own.id)
        if own.id in self.past.own or own.hops > MOST_HOPS:
            return
        candidate, catalogue = action.candidate, self.side.catalogue
        if candidate.kind is ActionKind.SET and action.outcome is ActionOutcome.DONE:
            until = 0 if candidate.for_micros is None else event.time_micros + candidate.for_micros
            value = catalogue.traits[candidate.name].check(candidate.to_value)
            self._own.set(candidate.name, OwnTrait(value, self._now, until))
        if own.type in self.side.running.triggers:
            taken = _taken(own, event.customer, event.sequence + 1, self._now)
            self._decide(taken, snapshot)
        if candidate.kind is ActionKind.EMIT and action.outcome is ActionOutcome.DONE:
            fields = catalogue.event_type(own.type).coerce(orjson.loads(own.data))
            self._own.add(own.type, OwnEntry(self._now, event.sequence, fields))

    def _fall_due(self, until_micros: int) -> None:
        now = self._now
        while (due := self._course.next_due(until_micros)) is not None:
            self._now = due.micros
            if isinstance(due, PlanDue):
                self._plan_due(due)
            else:
                self._step_due(due)
        self._now = max(now, self._now)

    def _plan_due(self, due: PlanDue) -> None:
        own = stream_pb2.OwnEvent(
            id=own_event_id(ACTION_DUE, due.action_id, due.micros),
            source=SOURCE,
            type=ACTION_DUE,
            time_micros=due.micros,
            data=orjson.dumps({"action": due.action_id, "decision": due.decision_id}),
            hops=due.hops + 1,
            line=due.line,
        )
        event, snapshot = self._came_due(own, due)
        experiment, arm = due.planned.candidate.experiment, due.planned.candidate.arm
        people = (event.customer, *snapshot.merged_customers)
        arms = {experiment: self._course.arms(people).get(experiment, arm)} if experiment else {}
        evaluation = self._again(event, snapshot, arms, due.planned)
        asked = Asked(people, event.line, event.hops, due.action_id)
        self._settle(event, snapshot, asked, evaluation, due.planned)

    def _step_due(self, due: StepOfJourneyDue) -> None:
        step, position, customer = due.due, due.position, self._people[0]
        reached = (step.rule_set, step.key, customer, step.step, step.reached_micros)
        own = stream_pb2.OwnEvent(
            id=own_event_id(JOURNEY_DUE, *reached, position.started_sequence),
            source=SOURCE,
            type=JOURNEY_DUE,
            time_micros=due.micros,
            data=pack_due(DueStep(customer, step, position)),
            hops=position.hops,
            line=position.line,
        )
        event, snapshot = self._came_due(own, due)
        people = (event.customer, *snapshot.merged_customers)
        arms = self.side.running.arms(event, {event.customer: self._course.arms(people)})
        evaluation = self._again(event, snapshot, arms, None)
        if evaluation.candidates:
            asked = Asked(people, event.line, event.hops, due=step)
            self._settle(event, snapshot, asked, evaluation)
        else:
            self._course.leave(people, step)

    def _again(
        self,
        event: stream_pb2.TakenEvent,
        snapshot: stream_pb2.Snapshot,
        arms: Mapping[str, str],
        planned: Planned | None,
    ) -> Evaluation:
        side = self.side
        side.engine.known = {}
        question = Question(_decision_of(event), self._situation(event, snapshot, arms), planned)
        program = side.running.of(event.customer)
        return evaluate(program, side.engine, side.eligibility, question)[0]

    def _came_due(
        self, own: stream_pb2.OwnEvent, due: Due
    ) -> tuple[stream_pb2.TakenEvent, stream_pb2.Snapshot]:
        """The event of something due, with what was known then; as it really came, where it did."""
        real = self.past.own.get(own.id)
        if real is not None and real[1]:
            return real[0], self.past.snapshot(real[1])
        moment = (self._people[0], due.micros)
        raw = self.moments.get(moment)
        if raw is None:
            until = self.span.until_micros
            others = ((moment[0], micros) for micros in self._course.waiting() if micros < until)
            known = {moment, *others}
            raise MissingMomentsError(tuple(sorted(one for one in known if one not in self.moments)))
        snapshot = stream_pb2.Snapshot.FromString(raw)
        customer = snapshot.customer or moment[0]
        return _taken(own, customer, snapshot.sequence + 1, due.micros), snapshot


def _taken(own: stream_pb2.OwnEvent, customer: int, sequence: int, now: int) -> stream_pb2.TakenEvent:
    """An event of our own as the profile would have taken it."""
    return stream_pb2.TakenEvent(
        id=own.id,
        source=SOURCE,
        type=own.type,
        time_micros=own.time_micros,
        accepted_micros=now,
        data=own.data,
        customer=customer,
        line=own.line,
        sequence=sequence,
        hops=own.hops,
    )


def _decision_of(event: stream_pb2.TakenEvent) -> str:
    return decision_id(event.source, event.id, event.via or event.customer)


def _as_sent(action: DecidedAction) -> dict[str, str]:
    """What activity keeps of a message; by which channel is not known before the gates."""
    candidate = action.candidate
    chosen = next((one.channel for one in candidate.channels if one.channel is not None), Channel.SMS)
    channel = Channel.TASK if candidate.kind is ActionKind.TASK else chosen
    name = name_of(action)
    return {
        "rule_set": name.rule_set,
        "rule": name.rule,
        "name": name.name,
        "category": name.category,
        "channel": channel.value,
    }
