"""Puts the decision service together: `python -m services.decision.main server|worker|migrate`."""

from __future__ import annotations

import asyncio
import os
import sys
from functools import partial
from pathlib import Path
from typing import TYPE_CHECKING

import structlog

from services.decision.adapters import engine_child, simulation_child
from services.decision.adapters.arbitration_file import ArbitrationFile
from services.decision.adapters.audience_peer import AudiencePeer
from services.decision.adapters.campaign_store import CampaignStore
from services.decision.adapters.catalogue_files import pack_catalogue
from services.decision.adapters.catalogue_store import CatalogueStore
from services.decision.adapters.checker import ProcessChecker, ProcessSurvival
from services.decision.adapters.decision_store import PLANNED_CHANNEL, DecisionStore
from services.decision.adapters.engine_process import EngineProcess
from services.decision.adapters.evaluator import ProcessEvaluator
from services.decision.adapters.handover import EventSetAsides, OutboxHandOver, hand_again
from services.decision.adapters.journey_store import JOURNEYS_CHANNEL, JourneyStore
from services.decision.adapters.outcome_feed import OutcomeFeed
from services.decision.adapters.outcome_store import OutcomeStore
from services.decision.adapters.outcome_watch import OutcomeWatch
from services.decision.adapters.past_peers import HistoryPeer, MessagesPeer
from services.decision.adapters.peers import ChannelPeer, ProfilePeer
from services.decision.adapters.personal import PERSONAL, ErasingStore
from services.decision.adapters.progress import PlansProgress
from services.decision.adapters.pruning import prunables
from services.decision.adapters.record_reader import ProcessVerifier, RecordReader
from services.decision.adapters.replay import DecisionPart, DecisionsReplay
from services.decision.adapters.room_peer import RoomPeer
from services.decision.adapters.rule_set_store import PROGRAM_CHANNEL, RuleSetStore
from services.decision.adapters.run_store import PAIRS_CHANNEL, RUNS_CHANNEL, RunStore
from services.decision.adapters.run_watch import RunWatch
from services.decision.adapters.simulation_peers import ReplayPeer, SimulatedGatesPeer
from services.decision.adapters.simulation_store import KnownBefore, SimulationStore
from services.decision.adapters.standings import StandingStore
from services.decision.app.ask import Ask
from services.decision.app.ask_audiences import AskAudiences
from services.decision.app.campaigns import ControlRuns
from services.decision.app.check_pairs import CheckPairs
from services.decision.app.decisions import LookBack
from services.decision.app.erasure import ErasePersons
from services.decision.app.fall_due import FallDue
from services.decision.app.find_room import FindRoom
from services.decision.app.follow_program import FollowProgram
from services.decision.app.keep_schedule import KeepSchedule
from services.decision.app.open_runs import OpenRuns
from services.decision.app.outcomes import CloseLoop
from services.decision.app.release import ReleaseVersions
from services.decision.app.replace_broken import BlameKillers, ReplaceBroken
from services.decision.app.review import ReviewVersions
from services.decision.app.rule_sets import ManageRuleSets
from services.decision.app.simulate import SimulateRules
from services.decision.app.take_events import TakeEvents
from services.decision.app.take_replies import TakeReplies
from services.decision.app.verify import VerifyDecisions
from services.decision.app.why_not import WhyNot
from services.decision.domain.errors import EngineDiedError
from services.decision.entrypoints.campaign_servicer import CampaignServicer
from services.decision.entrypoints.decision_servicer import DecisionServicer
from services.decision.entrypoints.errors import ERRORS
from services.decision.entrypoints.events import EventsHandler
from services.decision.entrypoints.explanation_servicer import ExplanationServicer
from services.decision.entrypoints.outcome_servicer import OutcomeServicer
from services.decision.entrypoints.release_servicer import ReleaseServicer
from services.decision.entrypoints.rule_set_servicer import RuleSetServicer
from services.decision.entrypoints.simulation_servicer import SimulationServicer
from services.decision.settings import DecisionSettings
from services.runtime.client import connect
from services.runtime.clock import EventClock, make_clock
from services.runtime.clock_follower import ClockFollower
from services.runtime.configuration import ConfigurationLog, file_sources
from services.runtime.consumer import StreamConsumer
from services.runtime.credentials import CertificateFiles
from services.runtime.dead_letters import DeadLetters
from services.runtime.errors import UnavailableError
from services.runtime.export_service import ExportService
from services.runtime.housekeeping import Housekeeping
from services.runtime.lag import Lag
from services.runtime.metrics import ENGINE_RESTARTS, ENGINE_SET_ASIDE, RELEASE_TROUBLE, show
from services.runtime.opening import depend_on_service, open_bus, open_database
from services.runtime.operations import OperationsService
from services.runtime.outbox import Outbox, Relay
from services.runtime.partitions import settle_partitions
from services.runtime.process import run_service
from services.runtime.prune import Pruner
from services.runtime.readers_service import ReadersService
from services.runtime.recovery import await_recovery
from services.runtime.recovery_service import RecoveryService
from services.runtime.replay import Replay
from services.runtime.retention import read_retention
from services.runtime.server import build_server
from services.runtime.streams import EVENTS, Bus
from services.runtime.watch import BacklogWatch
from services.vocabulary.catalogue import load_catalogue

if TYPE_CHECKING:
    import grpc

    from services.decision.app.ports import LiveProgram
    from services.runtime.clock import Clock
    from services.runtime.database import Database
    from services.runtime.process import Role
    from services.runtime.settings import Settings

_log = structlog.get_logger(__name__)
SERVICE = "decision"
MIGRATIONS = Path(__file__).parent / "migrations"
ONCE_RESTORED = (
    "SELECT setval('program_version_seq', coalesce(max(version), 0) + 1000000) FROM program",
    "SELECT setval('decision_number_seq', last_value + 1000000000) FROM decision_number_seq",
)
"""The profile may remember answers about programs that the backup does not know; those who take outcomes have
positions beyond it, and must be told what is decided anew after them.
"""
_ENGINE_LOOK_SECONDS = 0.5
SIMULATION_SECONDS = 300.0
"""Some hundred customers' pasts, in a process to which all others go before."""
ENGINE_SECONDS = 10.0
"""A batch takes some hundredths; while one hangs, every partition of the worker waits."""


class Parts:
    """What both roles have."""

    def __init__(self, role: Role, database: Database, bus: Bus, clock: Clock) -> None:
        settings = role.settings
        self.database = database
        self.bus = bus
        self.clock = clock
        self.catalogue = load_catalogue(settings.rules_folder)
        self.outbox = Outbox(self.database, partitions=settings.partitions)
        self.dead_letters = DeadLetters(
            SERVICE,
            self.outbox,
            hand_again(self.outbox, settings.partitions),
            partitions=settings.partitions,
        )
        self.pruner = Pruner(
            database,
            clock,
            prunables(self.catalogue.conversation_micros),
            partial(read_retention, settings.rules_folder),
        )
        self.command = engine_child.command(settings.rules_folder)
        self.process = EngineProcess(self.command, deadline=ENGINE_SECONDS)
        self.evaluator = ProcessEvaluator(self.process)
        self.rule_sets = RuleSetStore(self.database)
        self.catalogues = CatalogueStore(database)
        self.journeys = JourneyStore(database)
        self.standings = StandingStore(self.journeys)
        self.decisions = DecisionStore(self.database)
        self.runs = RunStore(self.database)
        self.outcomes = OutcomeStore()
        self.campaigns = CampaignStore(self.database, self.runs)
        self.hand_over = OutboxHandOver(self.outbox, settings.partitions)
        self.close_loop = CloseLoop(
            clock, self.catalogue, self.standings, self.outcomes, self.outcomes, self.hand_over
        )
        self.follow = FollowProgram(self.database, self.rule_sets, self.evaluator, channel=PROGRAM_CHANNEL)
        connection = connect(settings.profile_target, CertificateFiles.of(settings))
        role.on_close(connection.close)
        self.replacing = ReplaceBroken(
            database,
            self.rule_sets,
            ProcessChecker(self.process, self.command),
            ProfilePeer(connection),
            clock,
            self.catalogue.version,
        )
        self.follow.on_broken(self._mend)

    async def _mend(self, live: LiveProgram, died: EngineDiedError | None) -> bool:
        if died is None:
            return await self.replacing.mend(live)
        return await self.replacing.take_back_last(live, f"loading it ended the rules engine ({died})")


def _policy_refused(mistakes: list[str]) -> None:
    _log.error("arbitration_policy_refused", mistakes=mistakes)


async def _parts(role: Role) -> Parts:
    settings = role.settings
    database = await open_database(role, MIGRATIONS)
    bus = await open_bus(role, needed=settings.role == "worker")
    await role.reach("partitions", lambda: settle_partitions(database, bus.jetstream, settings.partitions))
    clock = make_clock(settings.clock)
    if isinstance(clock, EventClock):
        role.supervise("clock", ClockFollower(bus.nats, bus.jetstream, clock).run)
    parts = Parts(role, database, bus, clock)
    await parts.catalogues.keep(parts.catalogue.version, pack_catalogue(settings.rules_folder))
    role.on_close(parts.process.close)
    await role.reach("engine", lambda: _load(parts.follow))
    role.supervise("program", parts.follow.run)
    policy = ArbitrationFile(settings.rules_folder, parts.catalogue, refused=_policy_refused)
    files = {**file_sources(settings.rules_folder), "arbitration": policy.digests}
    role.supervise("configuration", ConfigurationLog(database, settings.role, files).run)
    show(ENGINE_RESTARTS, ENGINE_SET_ASIDE)
    backlog = BacklogWatch(database, bus, EVENTS, partitions=settings.partitions)
    role.supervise("backlog", backlog.run)
    role.supervise("engine", lambda: _keep_engine(parts.process))
    role.depend("engine", lambda: _see_engine(parts.process))
    return parts


async def _load(follow: FollowProgram) -> None:
    """Loads what is live for the first time; an engine that does not come up is waited for."""
    try:
        await follow.refresh()
    except EngineDiedError as error:
        raise UnavailableError("the rules engine does not start with the live rule sets") from error


async def _keep_engine(process: EngineProcess) -> None:
    """Brings a lost engine back though nobody asks it: a server that is not ready is not asked."""
    while True:
        if process.lost:
            await process.ping()
        await asyncio.sleep(_ENGINE_LOOK_SECONDS)


async def _see_engine(process: EngineProcess) -> None:
    if process.lost:
        raise UnavailableError("the rules engine's process was lost")


async def build_worker(role: Role) -> None:
    """Decides events, lets planned actions fall due, and relays the outbox."""
    parts = await _parts(role)
    await await_recovery(role, parts.database)
    settings = role.settings
    survives = ProcessSurvival(parts.command, ENGINE_SECONDS)
    blame = BlameKillers(parts.rule_sets, parts.replacing, survives)
    take_events = TakeEvents(
        parts.database,
        parts.clock,
        parts.evaluator,
        parts.standings,
        parts.decisions,
        parts.hand_over,
        EventSetAsides(parts.dead_letters),
        parts.runs,
        ErasePersons(ErasingStore(), parts.hand_over, parts.clock),
        parts.catalogue.conversation_micros,
        blame.note,
        TakeReplies(parts.decisions, parts.catalogue, parts.close_loop),
    )
    role.supervise("blame", blame.run)
    consumer = StreamConsumer(parts.bus, EVENTS, EventsHandler(take_events), partitions=settings.partitions)
    role.supervise("events", consumer.run, stop=consumer.stop)
    due = FallDue(
        parts.database, parts.clock, parts.decisions, parts.hand_over.fell_due, channel=PLANNED_CHANNEL
    )
    role.supervise("due", due.run)
    _supervise_runs(role, parts)
    steps = FallDue(
        parts.database, parts.clock, parts.journeys, parts.hand_over.steps_fell_due, channel=JOURNEYS_CHANNEL
    )
    role.supervise("journeys", steps.run)
    feed = OutcomeFeed(parts.database, parts.clock)
    role.supervise("outcomes-seen", OutcomeWatch(feed, parts.clock).run)
    relay = Relay(SERVICE, parts.database, parts.bus.jetstream, partitions=settings.partitions)
    role.supervise("relay", relay.run)
    role.supervise("replay", Replay(parts.database, DecisionsReplay(parts.hand_over, parts.journeys)).run)
    role.supervise("housekeeping", Housekeeping(parts.database).run)
    role.supervise("prune", parts.pruner.run)


def _supervise_runs(role: Role, parts: Parts) -> None:
    """What calls for rule sets beside events: schedules, absences, things, and pairs that stay open."""
    certificate = CertificateFiles.of(role.settings)
    connection = connect(role.settings.profile_target, certificate)
    channel_connection = connect(role.settings.channel_target, certificate)
    role.on_close(connection.close)
    role.on_close(channel_connection.close)
    # without the profile's word nobody is called; events are decided all the same
    depend_on_service(role, "profile", connection, needed=False)
    audiences = AudiencePeer(connection, parts.catalogue.currency)
    opening = OpenRuns(
        parts.database, parts.clock, parts.runs, audiences, parts.follow, parts.catalogue.default_zone
    )
    asking = AskAudiences(
        parts.database,
        parts.clock,
        parts.runs,
        audiences,
        parts.hand_over,
        parts.follow,
        Lag(parts.database, parts.bus, parts.clock),
        FindRoom(parts.campaigns, RoomPeer(channel_connection)),
        parts.catalogue,
        channel=RUNS_CHANNEL,
    )
    pairs = CheckPairs(parts.database, parts.clock, parts.runs, parts.hand_over, channel=PAIRS_CHANNEL)
    role.supervise("times", opening.run)
    role.supervise("runs", asking.run)
    role.supervise("pairs", pairs.run)
    role.supervise("runs-seen", RunWatch(parts.runs, parts.clock).run)


async def build_server_role(role: Role) -> None:
    """Answers questions, looks back, and keeps the rule sets."""
    parts = await _parts(role)
    settings = role.settings
    certificate = CertificateFiles.of(settings)
    profile_connection = connect(settings.profile_target, certificate)
    channel_connection = connect(settings.channel_target, certificate)
    profile = ProfilePeer(profile_connection)
    role.on_close(profile_connection.close)
    role.on_close(channel_connection.close)
    depend_on_service(role, "profile", profile_connection)
    # without the gates' word nothing commercial is presented; the rest is answered
    depend_on_service(role, "channel", channel_connection, needed=False)
    # checks of drafts never wait behind questions, nor questions behind checks
    checks = EngineProcess(parts.command)
    role.on_close(checks.close)
    conversation = parts.catalogue.conversation_micros
    messages = MessagesPeer(channel_connection)
    decisions = DecisionServicer(
        parts.database,
        parts.clock,
        parts.catalogue,
        profile,
        Ask(
            parts.database,
            parts.clock,
            parts.evaluator,
            parts.standings,
            parts.decisions,
            parts.hand_over,
            ChannelPeer(channel_connection),
            parts.outcomes,
            conversation,
        ),
        LookBack(parts.decisions, parts.rule_sets, ProcessEvaluator(checks), parts.catalogues, messages),
        ERRORS,
    )
    outcomes = OutcomeServicer(
        parts.database,
        profile,
        parts.decisions,
        parts.outcomes,
        parts.close_loop,
        OutcomeFeed(parts.database, parts.clock),
        ERRORS,
    )
    checker = ProcessChecker(checks, parts.command)
    release = ReleaseVersions(
        parts.rule_sets,
        checker,
        profile,
        parts.clock,
        parts.catalogue.version,
        DecisionSettings.of(settings).release_rules(parts.catalogue),
    )
    explanations = ExplanationServicer(
        parts.database,
        parts.clock,
        WhyNot(
            parts.clock,
            profile,
            parts.decisions,
            parts.rule_sets,
            parts.catalogues,
            ProcessEvaluator(checks),
            HistoryPeer(profile_connection, profile),
            messages,
        ),
        VerifyDecisions(
            RecordReader(parts.database),
            parts.rule_sets,
            parts.catalogues,
            lambda: ProcessVerifier(parts.command),
            os.cpu_count() or 1,
        ),
    )
    rule_sets = RuleSetServicer(
        parts.database,
        ManageRuleSets(parts.rule_sets, checker, parts.clock),
        release,
        parts.runs,
        ERRORS,
        refresh=parts.follow.refresh,
    )
    releasing = ReleaseServicer(
        parts.database,
        release,
        ReviewVersions(parts.rule_sets, checker, SimulationStore(parts.database), parts.clock),
        ERRORS,
        refresh=parts.follow.refresh,
    )
    keeping = KeepSchedule(parts.database, parts.clock, parts.rule_sets, release, parts.follow.refresh)
    role.supervise("schedule", keeping.run)
    show(RELEASE_TROUBLE)
    operations = OperationsService(
        SERVICE,
        EVENTS,
        database=parts.database,
        bus=parts.bus,
        clock=parts.clock,
        dead_letters=parts.dead_letters,
        source=PlansProgress(parts.decisions, parts.runs, parts.journeys),
        pruner=parts.pruner,
        errors=ERRORS,
    )
    recovery = RecoveryService(
        SERVICE,
        database=parts.database,
        clock=parts.clock,
        errors=ERRORS,
        part=DecisionPart(parts.rule_sets, profile),
    )
    export = ExportService(SERVICE, database=parts.database, clock=parts.clock, tables=PERSONAL)
    campaigns = CampaignServicer(
        parts.database, ControlRuns(parts.database, parts.clock, parts.campaigns, parts.follow), ERRORS
    )
    served = [
        decisions.served(),
        outcomes.served(),
        explanations.served(),
        rule_sets.served(),
        releasing.served(),
        _simulating(parts, settings, profile_connection, channel_connection).served(),
        campaigns.served(),
        export.served(),
        operations.served(),
        ReadersService(parts.database).served(),
        recovery.served(),
    ]
    server = build_server(settings, served, ERRORS)
    role.on_drain(server.stop)
    await server.start()
    role.ready["listen"] = server.address
    role.ready["token_address"] = server.token_address


def _simulating(
    parts: Parts, settings: Settings, profile: grpc.aio.Channel, channel: grpc.aio.Channel
) -> SimulationServicer:
    """Simulations, each in processes of its own."""
    command = simulation_child.command(settings.rules_folder)
    simulations = SimulationStore(parts.database)
    simulate = SimulateRules(
        parts.rule_sets,
        ReplayPeer(profile),
        KnownBefore(parts.database, parts.catalogue.conversation_micros),
        SimulatedGatesPeer(channel),
        simulations,
        lambda: EngineProcess(command, deadline=SIMULATION_SECONDS),
        parts.clock,
        parts.catalogue,
        DecisionSettings.of(settings).simulation_processes,
    )
    return SimulationServicer(simulate, simulations, parts.clock, parts.catalogue)


def main() -> int:
    """Runs the role named on the command line; the exit status."""
    return run_service(
        SERVICE,
        {"server": build_server_role, "worker": build_worker},
        MIGRATIONS,
        once_restored=ONCE_RESTORED,
    )


if __name__ == "__main__":
    sys.exit(main())
