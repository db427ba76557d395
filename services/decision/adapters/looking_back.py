"""Inside the engine's process: recorded decisions run again, with rules and catalogue of their time."""

from __future__ import annotations

from collections import OrderedDict
from typing import TYPE_CHECKING, Any

from rapport.types.v1 import stream_pb2

from services.decision.adapters.catalogue_files import open_catalogue
from services.decision.adapters.material import unpack_material
from services.decision.adapters.records import Input, unpack_record
from services.decision.adapters.running import Running, compile_sources
from services.decision.adapters.situations import LazyActivity, situation_of, trigger_key
from services.decision.app.jobs import Replayed, Verified
from services.decision.domain.absent import absences, asking_for, described
from services.decision.domain.care import Afterwards, care_sentence, reasons_for_care
from services.decision.domain.decide import find_action
from services.decision.domain.eligibility import Eligibility
from services.decision.domain.errors import NotReplayableError
from services.decision.domain.explain import because_of, steps_of
from services.decision.domain.expressions import FACTS
from services.decision.domain.problems import Severity
from services.decision.domain.regulator import (
    ConsentWord,
    Looking,
    Used,
    data_kept,
    data_used,
    regulator_sentence,
)
from services.decision.domain.replaying import (
    arbitration_differs,
    first_difference,
    run_again,
    run_by_todays_policy,
)
from services.decision.domain.tree import plan_node, tree_of
from services.vocabulary.ids import decision_id
from services.vocabulary.wire import CHANNELS, CONSENT_BY, CONSENT_STATES, PURPOSES

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator, Mapping, Sequence

    from services.decision.adapters.sieving_engine import SievingEngine
    from services.decision.app.jobs import ProgramThen
    from services.decision.app.ports import Recorded
    from services.decision.domain.absent import Absence, Asking
    from services.decision.domain.decide import Evaluation
    from services.decision.domain.program import ActionRule, Program
    from services.decision.domain.replaying import Again, Difference
    from services.decision.domain.run import Outcome
    from services.decision.domain.situation import Situation
    from services.vocabulary.catalogue import Catalogue

_PROGRAMS = 4
_CATALOGUES = 2
_NOTHING_AFTER = Afterwards()


class LookingBack:
    """The jobs about the past. Keeps the last few programs compiled."""

    def __init__(self, engine: SievingEngine, catalogue: Catalogue, read_yaml: Callable[[str], Any]) -> None:
        self._engine = engine
        self._catalogue = catalogue
        self._read_yaml = read_yaml
        self._catalogues: OrderedDict[str, Catalogue] = OrderedDict()
        self._programs: OrderedDict[tuple[int, str], tuple[Running, Eligibility]] = OrderedDict()

    def jobs(self) -> dict[str, Callable[..., Any]]:
        """By the names under which the parent asks for them."""
        return {
            "replay": self.replay,
            "verify": self.verify,
            "asking": self.asking,
            "absent": self.absent,
        }

    def replay(
        self, then: ProgramThen, remembered: Recorded, action_id: str, afterwards: Afterwards = _NOTHING_AFTER
    ) -> Replayed:
        """Runs a recorded decision again and says why it came out so; the sentences may be of one action."""
        asked = [
            action
            for action in remembered.actions
            if not action_id or action.candidate.action_id == action_id
        ]
        try:
            running, eligibility = self.running(then)
        except NotReplayableError as error:
            differs = arbitration_differs(remembered, self._catalogue.conversation_micros)
            alone = "comes out the same" if differs is None else f"does not: {differs.sentence}"
            return Replayed(
                problem=f"{error}; arbitration over the candidates as recorded {alone}",
                care=care_sentence(self._catalogue, asked, {}, afterwards),
            )
        program, situation, decision, snapshot = _situation(
            running, remembered.material, remembered.evaluation.arms
        )
        again = run_again(program, self._engine, eligibility, decision, situation, remembered)
        difference = first_difference(remembered, again)
        catalogue, outcome = program.catalogue, again.outcome
        used = _used(program, again, remembered, situation, snapshot)
        sentence = regulator_sentence(
            catalogue, asked, remembered.decided_micros, used, afterwards.stopped, afterwards.waiting
        )
        if outcome is None:
            assert remembered.planned is not None
            node = plan_node(program, remembered.planned, situation, again.evaluation.candidates[0])
            care = care_sentence(catalogue, asked, {}, afterwards)
            return Replayed(difference=difference, nodes=(node,), regulator=sentence, care=care)
        reasons = dict(reasons_of(program, outcome, situation, again.evaluation))
        in_words = dict(reasons_of(program, outcome, situation, again.evaluation, reasons_for_care))
        return Replayed(
            difference=difference,
            steps=steps_of(program, outcome, situation),
            because=reasons,
            nodes=tree_of(program, outcome, situation),
            regulator=sentence,
            care=care_sentence(catalogue, asked, in_words, afterwards),
        )

    def verify(self, then: ProgramThen, rows: Sequence[tuple[bytes, bytes]]) -> Verified:
        """Runs recorded decisions (material and record) again; which of them differ, with the field."""
        try:
            running, eligibility = self.running(then)
        except NotReplayableError as error:
            return Verified(0, (), {str(error): len(rows)})
        equal, different, failed = 0, [], dict[str, int]()
        for position, (material, packed) in enumerate(rows):
            try:
                difference = self._difference(running, eligibility, material, packed)
            except Exception as error:  # noqa: BLE001  one decision's fault must not hide the others
                reason = f"it could not be run again: {type(error).__name__}"
                failed[reason] = failed.get(reason, 0) + 1
                continue
            if difference is None:
                equal += 1
            else:
                different.append((position, difference.field))
        return Verified(equal, tuple(different), failed)

    def _difference(
        self, running: Running, eligibility: Eligibility, material: bytes, packed: bytes
    ) -> Difference | None:
        """The first field that came out otherwise; None: the decision is the same.

        Nearly all come out letter for letter as they were written; only the others are looked at field by
        field, with the policy of then.
        """
        given = Input(packed)
        program, situation, decision, _ = _situation(running, material, given.arms)
        again = run_by_todays_policy(program, self._engine, eligibility, decision, situation, given)
        if given.came_to(again.evaluation, again.actions):
            return None
        remembered = unpack_record(packed)
        program, situation, decision, _ = _situation(running, material, given.arms)
        again = run_again(program, self._engine, eligibility, decision, situation, remembered)
        return first_difference(remembered, again)

    def asking(self, then: ProgramThen, wanted: str) -> tuple[Asking, ...]:
        """The rules that ask for it, and what calls for them."""
        running, _ = self.running(then)
        found = {
            (rule.key, rule.version): described(program, rule)
            for program in running.programs.variants
            for rule in asking_for(program, wanted)
        }
        return tuple(found.values())

    def absent(self, then: ProgramThen, wanted: str, event: bytes, snapshot: bytes) -> tuple[Absence, ...]:
        """Why each of them did not ask for it at that event; only those that the event calls."""
        running, _ = self.running(then)
        taken = stream_pb2.TakenEvent.FromString(event)
        program = running.of(taken.customer)
        seen = stream_pb2.Snapshot.FromString(snapshot)
        if not taken.sequence:
            taken.sequence = _sequence_of(taken, seen)
        key, arms = trigger_key(taken), running.arms(taken, {})
        called = [
            rule for rule in asking_for(program, wanted) if key in program.by_name[rule.rule_set].triggers
        ]
        situation = situation_of(taken, seen, program.catalogue, arms=arms)
        return tuple(absences(program, self._engine, called, situation))

    def running(self, then: ProgramThen) -> tuple[Running, Eligibility]:
        """What was live then, with the catalogue of then. Raises NotReplayableError."""
        catalogue = self._catalogue_then(then)
        key = (then.version, catalogue.version)
        found = self._programs.get(key)
        if found is None:
            compiled = compile_sources(then.sources, catalogue, self._read_yaml)
            if compiled.programs is None:
                first = next(problem for problem in compiled.problems if problem.severity is Severity.ERROR)
                where = f"{first.file}:{first.line}"
                raise NotReplayableError(
                    f"the rule sets of that time no longer compile: {where}: {first.message}"
                )
            running = Running(then.version, compiled.programs)
            found = self._programs[key] = (running, Eligibility(catalogue))
            while len(self._programs) > _PROGRAMS:
                self._programs.popitem(last=False)
            self._engine.keep_only(
                [shard for known, _ in self._programs.values() for shard in known.shards()]
            )
        self._programs.move_to_end(key)
        return found

    def _catalogue_then(self, then: ProgramThen) -> Catalogue:
        if not then.catalogue or then.catalogue == self._catalogue.version:
            return self._catalogue
        if then.files is None:
            raise NotReplayableError(
                f"the catalogue of that time ({then.catalogue}) was not kept; today's is another"
            )
        found = self._catalogues.get(then.catalogue)
        if found is None:
            found = self._catalogues[then.catalogue] = open_catalogue(then.files)
            while len(self._catalogues) > _CATALOGUES:
                self._catalogues.popitem(last=False)
        if found.version != then.catalogue:
            raise NotReplayableError(
                f"the catalogue kept as {then.catalogue} is read as {found.version} by this release"
            )
        return found


def _situation(
    running: Running, material: bytes, arms: Mapping[str, str]
) -> tuple[Program, Situation, str, stream_pb2.Snapshot]:
    """What a decision looked at, and the program that decided for its customer."""
    packed_event, packed_snapshot = unpack_material(material)
    event = stream_pb2.TakenEvent.FromString(packed_event)
    snapshot = stream_pb2.Snapshot.FromString(packed_snapshot)
    program = running.of(event.customer)
    situation = situation_of(event, snapshot, program.catalogue, arms=arms)
    decision = decision_id(event.source, event.id, event.via or event.customer)
    return program, situation, decision, snapshot


def _sequence_of(event: stream_pb2.TakenEvent, snapshot: stream_pb2.Snapshot) -> int:
    """Where the event stands among the customer's, by its time; one that is not kept stands at the end."""
    kept = LazyActivity(snapshot.activity).get(event.type)
    if kept is not None:
        for time, sequence in zip(kept.times, kept.sequences, strict=True):
            if time == event.time_micros:
                return int(sequence)
    return snapshot.sequence + 1


def reasons_of(
    program: Program,
    outcome: Outcome,
    situation: Situation,
    evaluation: Evaluation,
    said: Callable[[Program, Outcome, Situation, ActionRule], tuple[str, ...]] = because_of,
) -> Iterator[tuple[str, tuple[str, ...]]]:
    """Why each candidate, by its action's id, was asked for."""
    rules = {(rule.rule_set, rule.rule): rule for rule in (*outcome.rules, *outcome.withheld)}
    for candidate in evaluation.candidates:
        rule = rules.get((candidate.rule_set, candidate.rule))
        if rule is not None:
            yield candidate.action_id, said(program, outcome, situation, rule)


def _used(
    program: Program, again: Again, remembered: Recorded, situation: Situation, snapshot: stream_pb2.Snapshot
) -> Used:
    outcome, planned = again.outcome, remembered.planned
    named = frozenset(kind for kind in program.catalogue.things if situation.event.get(kind) is not None)
    event = Looking(situation.event_type, named)
    if outcome is not None:
        data = data_used(program, outcome.rules, outcome.fact_rules, event)
    else:
        assert planned is not None
        asked = planned.candidate
        found = find_action(program, asked.rule_set, asked.rule, asked.position)
        facts = situation.cache.get(FACTS, ())
        shared = [fact for each in program.rule_sets for fact in each.facts if fact.fact in facts]
        data = data_kept(program, None if found is None else found[1].keep, shared, event)
    return Used(data, tuple(_words(snapshot)), situation.withheld)


def _words(snapshot: stream_pb2.Snapshot) -> Iterator[ConsentWord]:
    for entry in snapshot.consents:
        purpose, state = PURPOSES.from_wire(entry.purpose), CONSENT_STATES.from_wire(entry.state)
        if purpose is not None and state is not None:
            yield ConsentWord(
                purpose,
                CHANNELS.from_wire(entry.channel),
                state,
                CONSENT_BY.from_wire(entry.by),
                entry.time_micros,
            )
