"""What runs inside the engine's process: the live program, and every job that needs it or the engine."""

from __future__ import annotations

from dataclasses import replace
from typing import TYPE_CHECKING, Any

import orjson
from rapport.types.v1 import stream_pb2

from services.decision.adapters.checking import check_text
from services.decision.adapters.looking_back import LookingBack, reasons_of
from services.decision.adapters.material import pack_material
from services.decision.adapters.running import Running, compile_sources, compile_whole, differences_of
from services.decision.adapters.situations import LazyActivity, situation_of, unpack_due
from services.decision.app.jobs import (
    Answered,
    AskedNow,
    Batch,
    CameBack,
    Checked,
    Erased,
    Evaluated,
    FellDue,
    GivenBack,
    Item,
    Left,
    Loaded,
    PairOpened,
    Replied,
    SetAside,
    ThingHappened,
    Told,
)
from services.decision.domain.decide import Question, evaluate, evaluation_of
from services.decision.domain.eligibility import Eligibility
from services.decision.domain.occasions import Called, by_value, pair_run, still_calls
from services.decision.domain.run import run_if_asked
from services.decision.domain.triggers import JOURNEY_DUE, TRIGGER_DUE, OpenPair, pack_happening
from services.vocabulary.ids import decision_id

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator, Mapping, Sequence

    from services.decision.adapters.engine_child import Progress
    from services.decision.adapters.sieving_engine import SievingEngine
    from services.decision.app.jobs import DueQuestion, Source
    from services.decision.app.release_ports import Compiled
    from services.decision.domain.decide import Evaluation
    from services.decision.domain.journeys import StepDue
    from services.decision.domain.run import Outcome
    from services.decision.domain.situation import Situation
    from services.vocabulary.arbitration_policy import ArbitrationPolicy
    from services.vocabulary.catalogue import Catalogue

ACTION_DUE = "action.due"
CUSTOMER_ERASED = "customer.erased"
FREES_WHAT_IT_USED = frozenset({"action.refused", "action.expired"})
"""Own events after which an action was certainly not said."""
TELLS_OUTCOME = FREES_WHAT_IT_USED | {"action.sent", "action.failed"}
"""Own events of the channel's that runs over audiences count."""
REPLIED = "message.replied"
"""What customers write, told by the channel service with what they want and which action they answer."""

FREE_NOTHING = frozenset({"HANDOVER_UNKNOWN", "NO_LONGER_TRUE"})
"""Reasons of the channel after which one was perhaps said, or was answered before it was."""


class Workbench:
    """The live program of one engine process. Not to be shared between threads."""

    def __init__(
        self,
        engine: SievingEngine,
        catalogue: Catalogue,
        read_yaml: Callable[[str], Any],
        progress: Progress,
        policy: Callable[[], ArbitrationPolicy] | None = None,
    ) -> None:
        self._engine = engine
        self._policy = policy
        self._catalogue = catalogue
        self._eligibility = Eligibility(catalogue)
        self._read_yaml = read_yaml
        self._progress = progress
        self._running: Running | None = None

    def jobs(self) -> dict[str, Callable[..., Any]]:
        """The jobs by the names under which the parent asks for them."""
        return {
            "load": self.load,
            "evaluate": self._up_to_date(self.evaluate),
            "evaluate_due": self._up_to_date(self.evaluate_due),
            "ask": self._up_to_date(self.ask),
            "check": self.check,
            "compile": self.compile,
            "differences": self.differences,
            **LookingBack(self._engine, self._catalogue, self._read_yaml).jobs(),
        }

    def _up_to_date(self, job: Callable[..., Any]) -> Callable[..., Any]:
        """A job that decides by the policy of arbitration that is in force when it begins."""
        policy = self._policy
        if policy is None:
            return job

        def run(*arguments: Any) -> Any:
            self._eligibility.policy = policy()
            return job(*arguments)

        return run

    def load(self, version: int, sources: Sequence[Source]) -> Loaded:
        """Makes a version of the whole program the live one, canaries too; on errors the one before stays."""
        compiled = compile_sources(sources, self._catalogue, self._read_yaml)
        programs = compiled.programs
        if programs is None:
            return Loaded(compiled.problems)
        self._running = Running(version, programs)
        self._engine.keep_only(self._running.shards())
        return Loaded(
            compiled.problems,
            tuple(sorted(programs.listened)),
            tuple(sorted(programs.triggers)),
            self._running.called,
        )

    def evaluate(
        self,
        payloads: Sequence[bytes],
        stored_arms: Mapping[int, Mapping[str, str]] | None = None,
    ) -> Batch:
        """Evaluates messages of EVENTS; ``stored_arms``: by customer, where hashing says otherwise.

        Without a program it refuses: events would seem to trigger nothing and be gone.
        """
        running = self._loaded()
        counts: list[int] = []
        items: list[Item] = []
        first = 0
        for payload in payloads:
            batch = stream_pb2.EventBatch.FromString(payload)
            counts.append(len(batch.events))
            snapshots: dict[int, stream_pb2.Snapshot] = {}
            for item, event in enumerate(batch.events, start=first):
                self._progress.at(item)
                try:
                    if event.type in running.calling:
                        items.extend(self._called(item, event))
                    if event.type == TRIGGER_DUE or event.type in TELLS_OUTCOME:
                        items.extend(_for_runs(item, event))
                    if event.type == REPLIED:
                        items.extend(_replied(item, event, batch))
                    found = self._one(item, event, batch, snapshots, stored_arms or {})
                except Exception as error:  # noqa: BLE001  one event's fault must not cost the others
                    found = set_aside(item, event, batch, f"{type(error).__name__}: {error}")
                if found is not None:
                    items.append(found)
            first += len(batch.events)
        return Batch(tuple(counts), tuple(items), running.version)

    def evaluate_due(
        self,
        questions: Sequence[DueQuestion],
        stored_arms: Mapping[int, Mapping[str, str]] | None = None,
    ) -> tuple[Item, ...]:
        """Evaluates planned actions that fell due; progress counts positions in ``questions``."""
        items: list[Item] = []
        for position, question in enumerate(questions):
            self._progress.at(position)
            due = question.fell_due
            event = stream_pb2.TakenEvent.FromString(due.event)
            try:
                snapshot = stream_pb2.Snapshot.FromString(due.snapshot)
                evaluated, _, _ = self._evaluated(
                    due.item, event, due.event, due.snapshot, snapshot, stored_arms or {}, question
                )
                items.append(evaluated)
            except Exception as error:  # noqa: BLE001  one event's fault must not cost the others
                items.append(set_due_aside(due, f"{type(error).__name__}: {error}"))
        return tuple(items)

    def ask(self, questions: Sequence[AskedNow]) -> tuple[Answered | str, ...]:
        """Answers questions asked now, each for itself; in place of an answer, what was wrong with it."""
        found: list[Answered | str] = []
        for position, asked in enumerate(questions):
            self._progress.at(position)
            try:
                found.append(self._answer(asked))
            except Exception as error:  # noqa: BLE001  one question's fault must not cost the others
                found.append(f"{type(error).__name__}: {error}")
        return tuple(found)

    def _answer(self, asked: AskedNow) -> Answered:
        """The event counts as the customer's newest; arms as stored."""
        taken = stream_pb2.TakenEvent.FromString(asked.event)
        seen = stream_pb2.Snapshot.FromString(asked.snapshot)
        running = self._loaded()
        stored = {taken.customer: asked.arms}
        evaluated, outcome, situation = self._evaluated(
            0, taken, asked.event, asked.snapshot, seen, stored, None, recorded=asked.recorded
        )
        because = {}
        if outcome is not None:
            program = running.of(taken.customer)
            because = dict(reasons_of(program, outcome, situation, evaluated.evaluation))
        return Answered(evaluated, because, running.version)

    def check(self, context: Sequence[Source], text: str, file: str, version: int, generated: int) -> Checked:
        """Compiles a text beside others, runs its tests, and tries it on generated snapshots."""
        return check_text(
            self._engine, self._catalogue, self._read_yaml, context, text, file, version, generated
        )

    def compile(self, sources: Sequence[Source]) -> Compiled:
        """Compiles all that is to run together; nothing is loaded."""
        return compile_whole(sources, self._catalogue, self._read_yaml)

    def differences(self, context: Sequence[Source], old: Source, new: Source) -> tuple[str, ...]:
        """What differs between two versions of a rule set, a sentence each."""
        return differences_of(context, old, new, self._catalogue, self._read_yaml)

    def _loaded(self) -> Running:
        """What is loaded; LookupError when nothing is."""
        if self._running is None:
            raise LookupError("no program is loaded")
        return self._running

    def _called(self, item: int, event: stream_pb2.TakenEvent) -> Iterator[Item]:
        """What an event calls for later or of others: checks of pairs it opens, those a thing concerns."""
        if event.history:
            return
        running = self._loaded()
        if event.thing:
            live = running.things.get(event.type, ())
        else:
            opened = running.of(event.customer).opens_pairs.get(event.type, ())
            live = tuple(one for each in opened if (one := Called.of(each)) is not None)
        called = [one for one in live if event.accepted_micros - event.time_micros <= one.late_micros]
        if not called:
            return
        fields = orjson.loads(event.data) if event.data else {}
        data = pack_happening(event.type, fields)
        if event.thing:
            active = tuple(one for one in called if one.active_at(event.time_micros))
            if active:
                yield ThingHappened(item, event.id, event.source, event.time_micros, event.hops, data, active)
            return
        for one in called:
            assert isinstance(one.occasion, OpenPair)
            by = by_value(one.occasion, fields)
            if by and event.customer:
                yield PairOpened(
                    item=item,
                    customer=event.customer,
                    rule_set=one.rule_set,
                    run=pair_run(by, event.time_micros),
                    opened_micros=event.time_micros,
                    due_micros=event.time_micros + one.occasion.for_micros,
                    line=event.line,
                    hops=event.hops,
                    data=data,
                )

    def _still_calls(self, event: stream_pb2.TakenEvent, snapshot: stream_pb2.Snapshot) -> bool:
        """Whether there is still reason for what was to be decided by now."""
        due = self._catalogue.event_type(TRIGGER_DUE).coerce(orjson.loads(event.data))
        rule_set = self._loaded().of(event.customer).rule_set(str(due["rule_set"]))
        occasion = None if rule_set is None else rule_set.occasion
        return still_calls(occasion, due, LazyActivity(snapshot.activity))

    def _one(
        self,
        item: int,
        event: stream_pb2.TakenEvent,
        batch: stream_pb2.EventBatch,
        snapshots: dict[int, stream_pb2.Snapshot],
        stored_arms: Mapping[int, Mapping[str, str]],
    ) -> Item | None:
        """What one event of a message comes to; None: it triggered nothing."""
        if event.history or not event.customer:
            return None
        if event.type == CUSTOMER_ERASED:
            return _erased(item, event)
        if event.type in FREES_WHAT_IT_USED:
            given_back = _given_back(item, event)
            if given_back is not None:
                return given_back
        due = unpack_due(event.data) if event.type == JOURNEY_DUE and event.source == "decision" else None
        if due is not None:
            return self._step_due(item, event, batch, due, stored_arms)
        if not event.snapshot:
            return None
        raw = batch.snapshots[event.snapshot - 1]
        if event.type == ACTION_DUE and event.source == "decision":
            action = orjson.loads(event.data)["action"]
            return FellDue(item, event.customer, action, _alone(event), raw)
        if event.type not in self._loaded().triggers:
            return None
        snapshot = snapshots.get(event.snapshot)
        if snapshot is None:
            snapshot = snapshots[event.snapshot] = stream_pb2.Snapshot.FromString(raw)
        if event.type == TRIGGER_DUE and not self._still_calls(event, snapshot):
            return None
        arms = self._loaded().arms(event, stored_arms)
        situation = situation_of(event, snapshot, self._catalogue, arms=arms)
        program = self._loaded().of(event.customer)
        outcome = run_if_asked(program, self._engine, situation)
        if outcome is None:
            return None
        question = Question(decision_id(event.source, event.id, event.via or event.customer), situation)
        evaluation = evaluation_of(program, self._eligibility, question, outcome)
        if not evaluation.candidates:
            return None
        return self._as_item(item, event, question, evaluation, b"", raw, snapshot)

    def _step_due(
        self,
        item: int,
        event: stream_pb2.TakenEvent,
        batch: stream_pb2.EventBatch,
        due: StepDue,
        stored_arms: Mapping[int, Mapping[str, str]],
    ) -> Item:
        """A journey's step whose time has come. Where no rule goes on from it, the customer leaves."""
        if not event.snapshot:
            return Left(item, event.customer, _known_as(event), due)
        raw = batch.snapshots[event.snapshot - 1]
        snapshot = stream_pb2.Snapshot.FromString(raw)
        evaluated, _, _ = self._evaluated(item, event, b"", raw, snapshot, stored_arms, None)
        if not evaluated.evaluation.candidates:
            return Left(item, event.customer, evaluated.people, due)
        return replace(evaluated, due=due)

    def _evaluated(
        self,
        item: int,
        event: stream_pb2.TakenEvent,
        packed_event: bytes,
        packed_snapshot: bytes,
        snapshot: stream_pb2.Snapshot,
        stored_arms: Mapping[int, Mapping[str, str]],
        due: DueQuestion | None,
        *,
        recorded: bool = True,
    ) -> tuple[Evaluated, Outcome | None, Situation]:
        if due is None:
            arms = self._loaded().arms(event, stored_arms)
        else:
            experiment, arm = due.planned.candidate.experiment, due.planned.candidate.arm
            stored = stored_arms.get(event.customer, {})
            arms = {experiment: stored.get(experiment, arm)} if experiment else {}
        situation = situation_of(event, snapshot, self._catalogue, arms=arms)
        decision = decision_id(event.source, event.id, event.via or event.customer)
        question = Question(decision, situation, None if due is None else due.planned)
        program = self._loaded().of(event.customer)
        evaluation, outcome = evaluate(program, self._engine, self._eligibility, question)
        evaluated = self._as_item(
            item, event, question, evaluation, packed_event, packed_snapshot, snapshot, recorded=recorded
        )
        return evaluated, outcome, situation

    def _as_item(
        self,
        item: int,
        event: stream_pb2.TakenEvent,
        question: Question,
        evaluation: Evaluation,
        packed_event: bytes,
        packed_snapshot: bytes,
        snapshot: stream_pb2.Snapshot,
        *,
        recorded: bool = True,
    ) -> Evaluated:
        material = b""
        if evaluation.candidates and recorded:
            material = pack_material(packed_event or _alone(event), packed_snapshot)
        return Evaluated(
            item=item,
            decision_id=question.decision_id,
            event_id=event.id,
            source=event.source,
            event_type=event.type,
            event_micros=event.time_micros,
            sequence=event.sequence,
            customer=event.customer,
            people=(event.customer, *snapshot.merged_customers),
            line=event.line,
            hops=event.hops,
            evaluation=evaluation,
            material=material,
            planned="" if question.planned is None else question.planned.candidate.action_id,
            catalogue=self._catalogue.version,
        )


def set_aside(item: int, event: stream_pb2.TakenEvent, batch: stream_pb2.EventBatch, reason: str) -> SetAside:
    """An event with its snapshot, on its way to the dead letters."""
    alone = stream_pb2.EventBatch(events=[event])
    if event.snapshot:
        alone.snapshots.append(batch.snapshots[event.snapshot - 1])
        alone.events[0].snapshot = 1
    return SetAside(item, event.customer, event.id, event.type, alone.SerializeToString(), reason)


def set_due_aside(due: FellDue, reason: str) -> SetAside:
    """The same for a planned action that fell due."""
    event = stream_pb2.TakenEvent.FromString(due.event)
    event.snapshot = 1
    return set_aside(due.item, event, stream_pb2.EventBatch(snapshots=[due.snapshot]), reason)


def _alone(event: stream_pb2.TakenEvent) -> bytes:
    """The event without its place in a message."""
    copy = stream_pb2.TakenEvent()
    copy.CopyFrom(event)
    copy.snapshot = 0
    return copy.SerializeToString(deterministic=True)


def _erased(item: int, event: stream_pb2.TakenEvent) -> Erased | None:
    """A person to erase; the event's own data says nothing of it, so that nobody else can."""
    if not event.HasField("erasure"):
        return None
    erasure = event.erasure
    return Erased(
        item=item,
        event_id=event.id,
        customer=event.customer,
        people=tuple({event.customer, *erasure.customers}),
        erasure_id=erasure.erasure_id,
        erased_micros=erasure.erased_micros,
        erasure=erasure.SerializeToString(),
    )


def _given_back(item: int, event: stream_pb2.TakenEvent) -> GivenBack | None:
    """What the channel's refusal frees.

    An unknown hand-over may have been said, and what the customer answered before it was said is settled:
    they free nothing.
    """
    if event.source != "channel":
        return None
    told = orjson.loads(event.data)
    if told.get("reason") in FREE_NOTHING:
        return None
    return GivenBack(item, event.customer, told["action"], _known_as(event))


def _for_runs(item: int, event: stream_pb2.TakenEvent) -> Iterator[Item]:
    """What a run over an audience counts: a customer it called comes, the channel tells of an action."""
    if not event.customer or event.history:
        return
    if event.type == TRIGGER_DUE:
        if event.source == "decision":
            yield CameBack(item, event.customer, event.id)
    elif event.source == "channel":
        told = orjson.loads(event.data)
        yield Told(item, event.customer, told["action"], event.type, told.get("reason", ""))


def _replied(item: int, event: stream_pb2.TakenEvent, batch: stream_pb2.EventBatch) -> Iterator[Replied]:
    """A yes or no to what an action said; only the channel service knows what was answered."""
    if event.history or not event.customer or event.source != "channel":
        return
    told = orjson.loads(event.data)
    if told.get("action") and told["intent"] in {"yes", "no"}:
        yield Replied(
            item,
            event.customer,
            told["action"],
            told["intent"] == "yes",
            event.time_micros,
            set_aside(item, event, batch, ""),
        )


def _known_as(event: stream_pb2.TakenEvent) -> tuple[int, ...]:
    """The customer, and the id under which the event came if that one was merged."""
    return (event.customer, event.via) if event.via else (event.customer,)
