"""A decision worker's parts on a real database, with helpers to make events and read what was decided."""

import itertools
from dataclasses import replace
from pathlib import Path

import orjson
import pytest
from rapport.types.v1 import stream_pb2

from services.decision.adapters import engine_child
from services.decision.adapters.arbitration_file import ArbitrationFile
from services.decision.adapters.catalogue_store import CatalogueStore
from services.decision.adapters.checker import ProcessChecker
from services.decision.adapters.checking import check_text
from services.decision.adapters.decision_store import PLANNED_CHANNEL, DecisionStore
from services.decision.adapters.engine_process import EngineProcess
from services.decision.adapters.evaluator import ProcessEvaluator
from services.decision.adapters.handover import EventSetAsides, OutboxHandOver, hand_again
from services.decision.adapters.journey_store import JOURNEYS_CHANNEL, JourneyStore
from services.decision.adapters.outcome_store import OutcomeStore
from services.decision.adapters.personal import ErasingStore
from services.decision.adapters.rule_set_store import PROGRAM_CHANNEL, RuleSetStore
from services.decision.adapters.run_store import RunStore
from services.decision.adapters.sieving_engine import SievingEngine
from services.decision.adapters.standings import StandingStore
from services.decision.adapters.workbench import Workbench
from services.decision.adapters.yaml_reader import read_yaml
from services.decision.app.decisions import LookBack
from services.decision.app.erasure import ErasePersons
from services.decision.app.fall_due import FallDue
from services.decision.app.follow_program import FollowProgram
from services.decision.app.outcomes import CloseLoop
from services.decision.app.ports import Wanted
from services.decision.app.release import Ready, ReleaseVersions
from services.decision.app.release_ports import Step, program_with
from services.decision.app.rule_sets import ManageRuleSets
from services.decision.app.take_events import TakeEvents
from services.decision.app.take_replies import TakeReplies
from services.decision.app.versions import source_of
from services.decision.domain.oracle import Oracle
from services.decision.domain.release import ReleaseRules
from services.decision.main import MIGRATIONS
from services.runtime.clock import EventClock
from services.runtime.consumer import Delivery
from services.runtime.database import Database
from services.runtime.dead_letters import DeadLetters
from services.runtime.outbox import Outbox
from services.runtime.totals import read_totals
from services.vocabulary.catalogue import load_catalogue
from services.vocabulary.values import parse_time
from services.vocabulary.wire import value_to_wire
from tests.fakes.listening import ListeningFake
from tests.fakes.messages import MessagesFake

ROOT = Path(__file__).parents[3]
RULES = ROOT / "rules"
LIVE = [(RULES / f"{name}.yaml").read_text() for name in ("open-complaint", "bill-shock", "dropped-calls")]
NOON = parse_time("2026-12-10T12:00:00Z")
HOUR = 3_600_000_000


CATALOGUE = load_catalogue(RULES)
_CHECKED = {}


def checked_once(catalogue, texts):
    """Compiling is what takes time here, and the same texts compile alike."""
    key = tuple(text if isinstance(text, str) else text.text for text in texts)
    if key not in _CHECKED:
        *beside, text = texts
        _CHECKED[key] = check_text(Oracle(), catalogue, read_yaml, beside, text, "text", 0, 0)
    return _CHECKED[key]


class Still:
    def at(self, item):
        pass


class EngineHere:
    """The jobs of the engine's process in this one: no child is started."""

    def __init__(self):
        policy = ArbitrationFile(RULES, CATALOGUE).current
        self._jobs = Workbench(SievingEngine(), CATALOGUE, read_yaml, Still(), policy).jobs()

    async def call(self, job, *arguments):
        return self._jobs[job](*arguments)

    async def set_up(self, job, *arguments, **_more):
        return await self.call(job, *arguments)

    async def close(self):
        pass


class Worker:
    """All that a decision worker is made of, without the stream."""

    def __init__(self, database, command, process=None):
        self.database = database
        self.clock = EventClock(NOON)
        self.catalogue = CATALOGUE
        self.outbox = Outbox(database)
        self.dead_letters = DeadLetters("decision", self.outbox, hand_again(self.outbox, 64))
        self.process = process or EngineProcess(command, deadline=20)
        self.evaluator = ProcessEvaluator(self.process)
        self.rule_sets = RuleSetStore(database)
        self.decisions = DecisionStore(database)
        self.hand_over = OutboxHandOver(self.outbox, 64)
        self.runs = RunStore(database)
        self.journeys = JourneyStore(database)
        self.listening = ListeningFake()
        checker = ProcessChecker(self.process, command)
        self.manage = ManageRuleSets(self.rule_sets, checker, self.clock)
        self.release = ReleaseVersions(
            self.rule_sets,
            checker,
            self.listening,
            self.clock,
            self.catalogue.version,
            ReleaseRules(approval=False, canary=False),
        )
        self.follow = FollowProgram(database, self.rule_sets, self.evaluator, channel=PROGRAM_CHANNEL)
        standings = StandingStore(self.journeys)
        store = OutcomeStore()
        self.close_loop = CloseLoop(self.clock, self.catalogue, standings, store, store, self.hand_over)
        self.take_events = TakeEvents(
            database,
            self.clock,
            self.evaluator,
            standings,
            self.decisions,
            self.hand_over,
            EventSetAsides(self.dead_letters),
            self.runs,
            ErasePersons(ErasingStore(), self.hand_over, self.clock),
            self.catalogue.conversation_micros,
            replies=TakeReplies(self.decisions, self.catalogue, self.close_loop),
        )
        self.due = FallDue(
            database, self.clock, self.decisions, self.hand_over.fell_due, channel=PLANNED_CHANNEL
        )
        self.steps = FallDue(
            database, self.clock, self.journeys, self.hand_over.steps_fell_due, channel=JOURNEYS_CHANNEL
        )
        self.catalogues = CatalogueStore(database)
        self.messages = MessagesFake()
        self.look_back = LookBack(
            self.decisions, self.rule_sets, self.evaluator, self.catalogues, self.messages
        )
        self._keys = itertools.count()

    async def close(self):
        await self.process.close()
        await self.database.close()

    async def put(self, text, file=""):
        checked = await self.manage.check(text, file)
        async with self.database.transaction() as transaction:
            return await self.manage.put(transaction, checked, text, file), checked

    async def activate(self, name, version=0):
        tried = await self.release.trial(name, version)
        if tried.ready is not None:
            async with self.database.transaction() as transaction:
                await self.release.activate(transaction, tried.ready)
            await self.follow.refresh()
        return tried

    async def install(self, *texts):
        """Makes texts live without a trial, for tests that are about something else."""
        for text in texts:
            live = await self.rule_sets.live()
            beside = list(live.sources)
            checked = checked_once(self.catalogue, (*beside, text))
            assert checked.rule_set is not None, [problem.sentence() for problem in checked.problems]
            async with self.database.transaction() as transaction:
                row = await self.rule_sets.add(
                    transaction, checked.rule_set, text, f"{checked.rule_set.name}.yaml", "tested", NOON
                )
                program = program_with(live, row.name, source_of(row), None)
                program = replace(
                    program,
                    listened=checked.listened,
                    absences=checked.absences,
                    schedules=checked.schedules,
                )
                await self.release.activate(transaction, Ready(row, program, Step("activate")))
        await self.follow.refresh()

    async def go_live(self, *texts):
        for text in texts:
            row, checked = await self.put(text)
            assert row is not None, [problem.sentence() for problem in checked.problems]
            tried = await self.activate(row.name)
            assert tried.ready is not None, [problem.sentence() for problem in tried.problems]

    def delivery(self, batch, key=""):
        payload = batch if isinstance(batch, bytes) else batch.SerializeToString()
        return Delivery(0, key or f"profile:{next(self._keys)}", payload)

    async def take(self, *events, key=""):
        """One message with these (event, snapshot) pairs."""
        delivery = self.delivery(batch_of(*events), key)
        await self.take_events.take([delivery])
        return delivery

    async def decided(self, **wanted):
        """Recorded decisions, oldest first."""
        return [one for _, one in reversed(await self.decisions.page(Wanted(**wanted)))]

    async def totals(self):
        async with self.database.transaction() as transaction:
            return await read_totals(transaction)

    async def sent(self, stream):
        """Messages of a stream in the outbox, taken out."""
        async with self.database.transaction() as transaction:
            rows = await transaction.rows(
                "WITH gone AS (DELETE FROM outbox WHERE stream = %(stream)s RETURNING id, payload) "
                "SELECT payload FROM gone ORDER BY id",
                {"stream": stream},
            )
        return [bytes(row[0]) for row in rows]

    async def actions(self):
        return [
            action
            for payload in await self.sent("ACTIONS")
            for action in stream_pb2.ActionBatch.FromString(payload).actions
        ]

    async def own_events(self):
        return [
            event
            for payload in await self.sent("OUTCOMES")
            for event in stream_pb2.OwnEventBatch.FromString(payload).events
        ]

    async def count(self, table):
        async with self.database.transaction() as transaction:
            return (await transaction.row(f"SELECT count(*) FROM {table}"))[0]


def event(
    event_type,
    *,
    event_id="e-1",
    customer=1,
    at=NOON,
    data=None,
    sequence=1,
    source="test",
    accepted=None,
    **more,
):
    return stream_pb2.TakenEvent(
        id=event_id,
        source=source,
        type=event_type,
        time_micros=at,
        accepted_micros=at if accepted is None else accepted,
        data=orjson.dumps(data or {}),
        customer=customer,
        sequence=sequence,
        **more,
    )


def snapshot(customer=1, traits=None, activity=(), sequence=1, **more):
    return stream_pb2.Snapshot(
        customer=customer,
        traits=[
            stream_pb2.Trait(name=name, value=value_to_wire(value), time_micros=1)
            for name, value in (traits or {}).items()
        ],
        activity=activity,
        sequence=sequence,
        **more,
    )


def activity(event_type, times, *, first_sequence=1, **columns):
    """Entries at these times (micros), with text columns by field."""
    deltas = [time - before for before, time in itertools.pairwise([0, *times])]
    packed = stream_pb2.TypeActivity(
        type=event_type, time_delta_micros=deltas, sequence_deltas=[first_sequence] + [1] * (len(times) - 1)
    )
    for field, values in columns.items():
        texts = sorted(set(values))
        packed.columns.add(
            field=field, texts=texts, text_indexes=[texts.index(value) + 1 for value in values]
        )
    return packed


def batch_of(*pairs):
    batch = stream_pb2.EventBatch()
    for taken, seen in pairs:
        added = batch.events.add()
        added.CopyFrom(taken)
        if seen is not None:
            batch.snapshots.append(seen.SerializeToString())
            added.snapshot = len(batch.snapshots)
    return batch


def exhausted(**more):
    """A customer who used up the allowance for the first time: the one-off top-up."""
    data = {"cycle": "2026-12", "days_left_in_cycle": 9, "surcharge_next": False} | more.pop("data", {})
    return event("usage.allowance_exhausted", data=data, **more)


@pytest.fixture
async def make_worker(make_database):
    workers = []

    def make(command=None, url=None, process=None):
        database = Database(url or make_database(MIGRATIONS), 4)
        worker = Worker(database, command or engine_child.command(RULES), process)
        workers.append(worker)
        return worker

    yield make
    for worker in workers:
        await worker.close()


@pytest.fixture
def make_worker_here(make_worker):
    """Makes workers whose engine is in this process."""
    return lambda: make_worker(process=EngineHere())


@pytest.fixture
async def worker(make_worker):
    """A worker on which the rule sets of rules/ are live."""
    worker = make_worker()
    await worker.install(*LIVE)
    return worker
