"""One population at every level: the bare engine, our engine, a decision, and the other engines."""

import gc
import mmap
import tempfile
import time
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from typing import Any

from rapport.types.v1 import stream_pb2

from bench.engine.bare import BareShard
from bench.engine.others import OtherEngine
from bench.engine.plain import PlainRules
from bench.engine.population import Population
from services.decision.adapters.engine_child import Progress
from services.decision.adapters.records import Record, pack_record
from services.decision.adapters.sieving_engine import SievingEngine
from services.decision.adapters.situations import situation_of
from services.decision.adapters.workbench import Workbench
from services.decision.adapters.yaml_reader import read_yaml
from services.decision.app.jobs import AskedNow, Evaluated, Source
from services.decision.domain.arbitration import Standing
from services.decision.domain.compiler import compile_program
from services.decision.domain.decide import decide, standing_that_counts
from services.decision.domain.engine import Property
from services.decision.domain.explain import label_of, sentence_of
from services.decision.domain.problems import Severity
from services.decision.domain.program import Program, Properties, RuleSetText, Shard
from services.decision.domain.run import run_program
from services.runtime.garbage import collect_seldom
from services.vocabulary.catalogue import Catalogue

_NOBODY = Standing()
_WARM_UP_SECONDS = 2.0


@dataclass(frozen=True, slots=True)
class Cost:
    """Microseconds of processor time an event."""

    bare: float
    engine: float
    decision: float
    worker: float
    others: Mapping[str, float]
    rules: float
    """Rules that an event's type triggers, on average."""
    fired: float
    """Rules that fire for an event, on average."""


def compiled(sources: Sequence[Source], catalogue: Catalogue) -> Program:
    """The program; a benchmark whose rules do not compile ends."""
    texts = [RuleSetText(source.file, source.text, source.version) for source in sources]
    compilation = compile_program(texts, catalogue, read_yaml)
    if compilation.program is None:
        raise SystemExit(f"the rules of the benchmark do not compile: {compilation.errors}")
    return compilation.program


def make_workbench(sources: Sequence[Source], catalogue: Catalogue) -> Workbench:
    """The inside of the engine's process, with these rules live."""
    with tempfile.TemporaryFile() as file:
        file.truncate(mmap.PAGESIZE)
        workbench = Workbench(SievingEngine(), catalogue, read_yaml, Progress(file.fileno()))
    loaded = workbench.load(1, sources)
    mistakes = [problem for problem in loaded.problems if problem.severity is Severity.ERROR]
    if mistakes:
        raise SystemExit(f"the rules of the benchmark do not compile: {mistakes}")
    return workbench


def recorded(item: Evaluated, conversation_micros: int) -> bytes:
    """What the worker does with what its engine's process answered: decides, and packs the record."""
    standing = standing_that_counts(_NOBODY, item.evaluation)
    arbitration = decide(item.evaluation, standing, conversation_micros)
    record = Record(
        item.evaluation, standing, arbitration.actions, line=item.line, hops=item.hops, sequence=item.sequence
    )
    return pack_record(record)


class Levels:
    """A population, ready to run at every level."""

    def __init__(self, population: Population, catalogue: Catalogue, others: Sequence[OtherEngine]) -> None:
        self._population = population
        self._catalogue = catalogue
        self._workbench = make_workbench(population.sources, catalogue)
        program = compiled(population.sources, catalogue)
        self._engine = SievingEngine()
        self._bare: dict[str, BareShard] = {}
        self._wire: list[tuple[bytes, bytes]] = []
        self._ready: list[list[tuple[Shard, Properties]]] = []
        self._texts: list[list[tuple[BareShard, str, tuple[str, ...]]]] = []
        self._told: dict[str, list[tuple[str, Any]]] = {other.name: [] for other in others}
        self._others = others
        self._fired = self._looked_at = 0
        plain = {event_type: PlainRules(program, event_type) for event_type in program.triggers}
        for other in others:
            other.load(list(plain.values()))
        for number, (event, packed) in enumerate(population.each()):
            self._add(number, event, packed, program, plain[event.type])

    def measure(self, rounds: int) -> Cost:
        """Every level in turn, so many rounds, of which the fastest counts: what disturbs only ever adds."""
        runs: dict[str, Callable[[], None]] = {
            "bare": self._run_bare,
            "engine": self._run_engine,
            "decision": self._run_decisions,
            "worker": self._run_worker,
        }
        for other in self._others:
            runs[other.name] = self._run_other(other)
        for run in runs.values():
            _warm_up(run)
        gc.collect()
        collect_seldom()  # as the engine's process does
        best = dict.fromkeys(runs, float("inf"))
        events = self._population.events
        for _ in range(rounds):
            for other in self._others:
                other.refresh()
            for name, run in runs.items():
                began = time.process_time()
                run()
                best[name] = min(best[name], (time.process_time() - began) * 1e6 / events)
        return Cost(
            best["bare"],
            best["engine"],
            best["decision"],
            best["worker"],
            {other.name: best[other.name] for other in self._others},
            self._looked_at / events,
            self._fired / events,
        )

    def close(self) -> None:
        """Gives the networks' memory back."""
        self._engine.close()
        for bare in self._bare.values():
            bare.close()

    def _add(
        self, number: int, event: stream_pb2.TakenEvent, packed: bytes, program: Program, plain: PlainRules
    ) -> None:
        """Prepares one event for all; every engine must fire the same rules for it."""
        snapshot = stream_pb2.Snapshot.FromString(packed)
        situation = situation_of(event, snapshot, self._catalogue, arms={})
        outcome = run_program(program, self._engine, situation)
        expected = sorted(rule.key for rule in outcome.rules)
        self._fired += len(expected)
        self._looked_at += len(plain.actions)
        alone = stream_pb2.TakenEvent.FromString(event.SerializeToString())
        alone.snapshot = 0
        self._wire.append((alone.SerializeToString(), packed))
        shards = program.shards_for(event.type)
        self._ready.append([(shard, shard.properties_of(situation)) for shard in shards])
        self._texts.append(
            [self._prepared(shard, f"{number:x}", properties) for shard, properties in self._ready[-1]]
        )
        for other in self._others:
            told = other.prepared(plain, plain.snapshot(situation))
            self._told[other.name].append((event.type, told))
            found = sorted(other.run(event.type, told))
            if found != expected:
                raise SystemExit(f"{other.name} fires {found}, ours {expected}, for event {number}")

    def _prepared(
        self, shard: Shard, session: str, properties: Mapping[str, Property]
    ) -> tuple[BareShard, str, tuple[str, ...]]:
        bare = self._bare.get(shard.key)
        if bare is None:
            bare = self._bare[shard.key] = BareShard(shard)
        return bare, session, bare.prepared(session, dict(properties), ())

    def _run_bare(self) -> None:
        for shards in self._texts:
            for bare, session, prepared in shards:
                bare.run(session, prepared)

    def _run_engine(self) -> None:
        run = self._engine.run
        for shards in self._ready:
            for shard, properties in shards:
                run(shard, properties)

    def _run_decisions(self) -> None:
        """From the bytes of event and snapshot to the record, and each action's reasons in a sentence."""
        conversation = self._catalogue.conversation_micros
        for event, snapshot in self._wire:
            (answered,) = self._workbench.ask([AskedNow(event, snapshot, {})])
            assert not isinstance(answered, str)
            item = answered.evaluated
            standing = standing_that_counts(_NOBODY, item.evaluation)
            actions = decide(item.evaluation, standing, conversation).actions
            names = {action.candidate.action_id: label_of(action.candidate) for action in actions}
            sentence_of(actions, answered.because, names)
            record = Record(item.evaluation, standing, actions, line=item.line, sequence=item.sequence)
            pack_record(record)

    def _run_worker(self) -> None:
        """From messages of a hundred events to their records, each explained only when somebody asks."""
        conversation = self._catalogue.conversation_micros
        for payload in self._population.batches:
            for item in self._workbench.evaluate([payload]).items:
                if not isinstance(item, Evaluated):
                    raise SystemExit(f"an event of the benchmark was set aside: {item}")
                recorded(item, conversation)

    def _run_other(self, other: OtherEngine) -> Callable[[], None]:
        told = self._told[other.name]

        def run() -> None:
            for event_type, prepared in told:
                other.run(event_type, prepared)

        return run


def _warm_up(run: Callable[[], None]) -> None:
    """Lets it load, compile and, in Java, compile again what it has seen often."""
    began = time.process_time()
    while time.process_time() - began < _WARM_UP_SECONDS:
        run()
