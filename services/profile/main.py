"""Puts the profile service together: `python -m services.profile.main server|worker|migrate`."""

import sys
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from functools import partial
from pathlib import Path

import orjson

from services.profile.adapters.audience import AudienceReader
from services.profile.adapters.catalogue_types import Types
from services.profile.adapters.chaining import Chaining
from services.profile.adapters.gathering import Gathering
from services.profile.adapters.old_keys import OldKeys
from services.profile.adapters.past_packing import PastSnapshots
from services.profile.adapters.personal import tables as personal_tables
from services.profile.adapters.postgres import GATHERING_CHANNEL, PostgresStore, PostgresWork
from services.profile.adapters.pruning import DormantActivity, Events, EventsByType
from services.profile.adapters.replay import EventsReplay
from services.profile.adapters.replaying_process import ReplayProcesses
from services.profile.adapters.sealing import sealed_parts
from services.profile.adapters.snapshots import SnapshotPacker
from services.profile.app.changes import Changes
from services.profile.app.corrections import Corrections
from services.profile.app.erasure import Erasures
from services.profile.app.identities import Identities, Suggested
from services.profile.app.intake import Intake
from services.profile.app.joining import Joining
from services.profile.app.merging import Merging
from services.profile.app.ports import Work
from services.profile.app.questions import Questions
from services.profile.app.replaying import Replaying
from services.profile.app.take_events import EventTaker
from services.profile.app.watching import Watching
from services.profile.consent_parts import check_purposes, make_consents
from services.profile.domain.events import CheckedEvent, EventChecker
from services.profile.entrypoints.account_servicer import AccountServicer
from services.profile.entrypoints.audience_servicer import AudienceServicer
from services.profile.entrypoints.clock_keeper import ClockKeeper
from services.profile.entrypoints.correction_servicer import CorrectionServicer
from services.profile.entrypoints.erasure_servicer import ErasureServicer
from services.profile.entrypoints.errors import PROFILE_ERRORS
from services.profile.entrypoints.history_servicer import HistoryServicer
from services.profile.entrypoints.identity_servicer import IdentityServicer
from services.profile.entrypoints.outcomes import OutcomesHandler, SetAside
from services.profile.entrypoints.servicer import ProfileServicer
from services.profile.entrypoints.timeline_servicer import TimelineServicer
from services.profile.replaying_child import command as replaying_command
from services.profile.settings import SERVICE, ProfileSettings
from services.runtime.access_log import ACCESS_LOG
from services.runtime.backlog import Backlog, BacklogLimits, InHand
from services.runtime.clock import EventClock, WallClock, make_clock
from services.runtime.clock_follower import ClockFollower
from services.runtime.configuration import ConfigurationLog, file_sources
from services.runtime.consumer import StreamConsumer
from services.runtime.data_keys import DataKeys, open_data_keys
from services.runtime.database import Database, Transaction
from services.runtime.dead_letters import DeadLetters
from services.runtime.export_service import ExportService
from services.runtime.housekeeping import Housekeeping
from services.runtime.opening import open_bus, open_database
from services.runtime.operations import OperationsService, Progress
from services.runtime.outbox import Outbox, Relay
from services.runtime.partitions import settle_partitions
from services.runtime.process import Role, run_service
from services.runtime.prune import DEAD_LETTERS, Pruner
from services.runtime.readers_service import ReadersService
from services.runtime.recovery import await_recovery
from services.runtime.recovery_service import RecoveryService
from services.runtime.replay import Replay
from services.runtime.resealing import Resealing
from services.runtime.retention import read_event_retention, read_retention
from services.runtime.server import Served, build_server
from services.runtime.settings import Settings
from services.runtime.streams import OUTCOMES, Bus
from services.runtime.watch import BacklogWatch
from services.vocabulary.catalogue import Catalogue, load_catalogue

MIGRATIONS = Path(__file__).parent / "migrations"
ONCE_RESTORED = ("SELECT setval('customer_id', last_value + 1000000000) FROM customer_id",)
"""The other services may know customers that the backup does not: their ids are nobody else's."""


class NothingDue:
    """The profile plans nothing."""

    async def progress(self, transaction: Transaction, now_micros: int) -> Progress:
        """Nothing is due, ever."""
        del transaction, now_micros
        return Progress()


@dataclass(frozen=True, slots=True)
class Parts:
    """What both roles are made of."""

    catalogue: Catalogue
    database: Database
    bus: Bus
    clock: WallClock | EventClock
    store: PostgresStore
    packer: SnapshotPacker
    taker: EventTaker
    checker: EventChecker
    questions: Questions
    changes: Changes
    merging: Merging
    set_aside: SetAside
    dead_letters: DeadLetters
    pruner: Pruner
    data_keys: DataKeys


async def build_parts(role: Role) -> Parts:
    """Connect to everything and put together what both roles share."""
    settings = role.settings
    catalogue = load_catalogue(settings.rules_folder)
    check_purposes(catalogue)
    database = await open_database(role, MIGRATIONS)
    bus = await open_bus(role, needed=settings.role == "worker")
    await role.reach("partitions", lambda: settle_partitions(database, bus.jetstream, settings.partitions))
    clock = make_clock(settings.clock)
    if isinstance(clock, EventClock):
        role.supervise("clock", ClockFollower(bus.nats, bus.jetstream, clock).run)
    files = file_sources(settings.rules_folder)
    role.supervise("configuration", ConfigurationLog(database, settings.role, files).run)
    backlog = BacklogWatch(database, bus, OUTCOMES, partitions=settings.partitions)
    role.supervise("backlog", backlog.run)
    outbox = Outbox(database, partitions=settings.partitions)
    sealer, data_keys = await open_data_keys(role, database)
    types = Types(catalogue, sealer)
    mac = partial(sealer.ring.mac, "consent ledger")
    store = PostgresStore(database, outbox, types, partitions=settings.partitions, mac=mac)
    packer = SnapshotPacker(types)
    taker = EventTaker(catalogue, packer)
    wall = isinstance(clock, WallClock)
    checker = EventChecker(catalogue, orjson.loads, orjson.dumps, wall)
    questions = Questions(catalogue, packer)
    set_aside = SetAside(store, taker, checker, clock)
    dead_letters = DeadLetters(
        SERVICE, outbox, set_aside.take_again, partitions=settings.partitions, sealer=sealer
    )
    set_aside.dead_letters = dead_letters
    return Parts(
        catalogue=catalogue,
        database=database,
        bus=bus,
        clock=clock,
        store=store,
        packer=packer,
        taker=taker,
        checker=checker,
        questions=questions,
        merging=Merging(catalogue, questions, checker, packer, orjson.dumps),
        changes=Changes(catalogue, taker, questions, packer, orjson.dumps, wall=wall),
        data_keys=data_keys,
        set_aside=set_aside,
        dead_letters=dead_letters,
        pruner=_pruner(settings, database, clock, types),
    )


def _pruner(settings: Settings, database: Database, clock: WallClock | EventClock, types: Types) -> Pruner:
    """Everything that the profile keeps for a time only."""
    rules = settings.rules_folder
    by_type = EventsByType(clock, partial(read_event_retention, rules, types.catalogue.events))
    activity = DormantActivity(clock, types)

    def policy() -> dict[str, int]:
        return read_retention(rules) | {by_type.name: by_type.shortest(), activity.name: activity.shortest()}

    return Pruner(database, clock, [Events(), by_type, activity, ACCESS_LOG, DEAD_LETTERS], policy)


async def build_server_role(role: Role) -> None:
    """Answers over gRPC."""
    own = ProfileSettings.of(role.settings)
    parts = await build_parts(role)

    async def clock_moved(micros: int) -> None:
        if keeper is not None:
            await keeper.moved(micros)

    async def set_aside(work: Work, event: CheckedEvent, error: Exception) -> None:
        assert isinstance(work, PostgresWork)
        await parts.set_aside.ingested(work.transaction, event, error)

    keeper: ClockKeeper | None = None
    if isinstance(parts.clock, EventClock):
        keeper = ClockKeeper(parts.store, parts.bus.jetstream, parts.clock)
        await keeper.restore()
        role.supervise("clock-keeper", keeper.run)
    servicer = ProfileServicer(
        database=parts.database,
        store=parts.store,
        intake=Intake(parts.store, parts.taker, parts.clock.now_micros, set_aside, lanes=own.lanes),
        checker=parts.checker,
        questions=parts.questions,
        changes=parts.changes,
        clock=parts.clock,
        errors=PROFILE_ERRORS,
        clock_moved=clock_moved,
        room=Backlog(parts.database, parts.bus, BacklogLimits.of(role.settings)).check,
        in_hand=InHand(role.settings.ingest_bytes),
    )
    operations = OperationsService(
        SERVICE,
        OUTCOMES,
        database=parts.database,
        bus=parts.bus,
        clock=parts.clock,
        dead_letters=parts.dead_letters,
        source=NothingDue(),
        pruner=parts.pruner,
        errors=PROFILE_ERRORS,
    )
    recovery = RecoveryService(SERVICE, database=parts.database, clock=parts.clock, errors=PROFILE_ERRORS)
    audiences = AudienceServicer(
        parts.database, parts.catalogue, AudienceReader(parts.catalogue.default_zone)
    )
    consents = make_consents(parts.store, parts.catalogue, parts.taker, parts.questions, parts.clock)
    watching = Watching(parts.store)
    role.supervise("watching", watching.run)
    timelines = TimelineServicer(
        store=parts.store,
        catalogue=parts.catalogue,
        questions=parts.questions,
        watching=watching,
        clock=parts.clock,
    )
    identities = IdentityServicer(
        database=parts.database,
        store=parts.store,
        questions=parts.questions,
        merging=parts.merging,
        identities=Identities(parts.catalogue),
        clock=parts.clock,
        errors=PROFILE_ERRORS,
    )
    readers = ReadersService(parts.database)
    corrections = CorrectionServicer(
        database=parts.database,
        store=parts.store,
        corrections=Corrections(parts.questions, parts.checker),
        clock=parts.clock,
        errors=PROFILE_ERRORS,
    )
    accounts = AccountServicer(store=parts.store, questions=parts.questions, clock=parts.clock)
    served = [
        servicer.served(),
        audiences.served(),
        consents.served(),
        corrections.served(),
        *_privacy(parts),
        accounts.served(),
        timelines.served(),
        identities.served(),
        _history(parts, role.settings, own.replays).served(),
        operations.served(),
        readers.served(),
        recovery.served(),
    ]
    server = build_server(role.settings, served, PROFILE_ERRORS)
    role.on_drain(server.stop)
    await server.start()
    role.ready["address"] = server.address
    role.ready["token_address"] = server.token_address


def _history(parts: Parts, settings: Settings, processes: int) -> HistoryServicer:
    """The past as it was: of a few customers from here, of all from processes beside this one."""
    rules = settings.rules_folder

    def kept() -> tuple[int, Mapping[str, int]]:
        return read_retention(rules).get("events", 0), read_event_retention(rules, parts.catalogue.events)

    replaying = Replaying(parts.store, parts.catalogue, PastSnapshots(parts.store.types), orjson.loads)
    beside = ReplayProcesses(replaying_command(), settings, processes)
    return HistoryServicer(parts.database, replaying, beside.pages, parts.clock, kept)


def _privacy(parts: Parts) -> list[Served]:
    """What persons may ask for: all that is known of them, and that it be erased."""

    async def people(
        transaction: Transaction, subject: str
    ) -> tuple[Sequence[int], Mapping[str, Sequence[object]]]:
        work = parts.store.join(transaction)
        found = await parts.questions.people(work, subject)
        return found, await work.beside(found)

    erasures = Erasures(parts.catalogue, parts.questions)
    return [
        ErasureServicer(parts.database, parts.store.join, erasures, parts.clock, PROFILE_ERRORS).served(),
        ExportService(
            SERVICE,
            database=parts.database,
            clock=parts.clock,
            tables=personal_tables(parts.store.types),
            people=people,
        ).served(),
    ]


async def build_worker_role(role: Role) -> None:
    """Takes OUTCOMES, and publishes what both roles have put into the outbox."""
    parts = await build_parts(role)
    await await_recovery(role, parts.database)
    handler = OutcomesHandler(
        database=parts.database,
        store=parts.store,
        taker=parts.taker,
        checker=parts.checker,
        changes=parts.changes,
        erasures=Erasures(parts.catalogue, parts.questions),
        erasing=parts.store.join,
        set_aside=parts.set_aside,
        clock=parts.clock,
    )
    partitions = role.settings.partitions
    consumer = StreamConsumer(parts.bus, OUTCOMES, handler, partitions=partitions)
    relay = Relay(SERVICE, parts.database, parts.bus.jetstream, partitions=partitions)
    gathering = Gathering(parts.database, channel=GATHERING_CHANNEL)
    role.supervise("gathering", gathering.run)
    types = parts.store.types
    resealing = Resealing(parts.database, parts.data_keys, types.sealer, sealed_parts(types))
    role.supervise("resealing", resealing.run)
    role.supervise("chaining", Chaining(parts.store, parts.clock).run)
    role.supervise("old-keys", OldKeys(parts.database, parts.clock).run)
    role.supervise("joining", Joining(parts.store, Suggested(parts.merging), parts.clock).run)
    role.supervise("housekeeping", Housekeeping(parts.database).run)
    role.supervise("prune", parts.pruner.run)
    role.supervise("outcomes", consumer.run, stop=consumer.stop)
    role.supervise("relay", relay.run)
    replayer = EventsReplay(parts.store, parts.changes, parts.checker, parts.clock)
    role.supervise("replay", Replay(parts.database, replayer).run)


def main() -> int:
    """The exit status."""
    return run_service(
        SERVICE,
        {"server": build_server_role, "worker": build_worker_role},
        MIGRATIONS,
        once_restored=ONCE_RESTORED,
    )


if __name__ == "__main__":
    sys.exit(main())
