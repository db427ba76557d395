"""Puts the channel service together: `python -m services.channel.main server|worker|migrate`."""

import asyncio
import sys
from dataclasses import dataclass
from functools import partial
from pathlib import Path

from services.channel.adapters.inbox import InboxTransport
from services.channel.adapters.policies.folder import PolicyFolder
from services.channel.adapters.profile import GrpcProfile, reach_from_wire
from services.channel.adapters.smpp import SmppTransport, see_bound
from services.channel.adapters.storage.controls import CONTROLS_NOTICE, ControlWatch, PostgresControls
from services.channel.adapters.storage.erasing import PostgresErasing
from services.channel.adapters.storage.inbox import INBOX_NOTICE, PostgresInbox
from services.channel.adapters.storage.personal import tables
from services.channel.adapters.storage.pruning import prunables
from services.channel.adapters.storage.quarantine import ChannelPart, OutcomesReplay
from services.channel.adapters.storage.reconciliation import open_books
from services.channel.adapters.storage.sealed import sealed_parts
from services.channel.adapters.storage.store import PostgresStore
from services.channel.adapters.storage.template_trials import TRIALS_NOTICE, PostgresTrials
from services.channel.adapters.storage.templates import TEMPLATES_NOTICE, PostgresVersions, TemplateKeeper
from services.channel.adapters.storage.transaction import PLANNED_NOTICE
from services.channel.adapters.templates import JinjaRenderer, Text
from services.channel.app.admit import Admission
from services.channel.app.erasure import ErasePersons
from services.channel.app.inbound import InboundDesk
from services.channel.app.opt_in_link import OptInLinks
from services.channel.app.ports import Transport
from services.channel.app.preview import Previews
from services.channel.app.send import Sender
from services.channel.app.speech import Speech
from services.channel.app.template_trials import TRIED, Recipients, TrialSender
from services.channel.domain.rate import provider_pace
from services.channel.entrypoints.actions import ActionsHandler, resend_action
from services.channel.entrypoints.controls import ControlServicer
from services.channel.entrypoints.errors import CHANNEL_ERRORS
from services.channel.entrypoints.loops import (
    CareLoop,
    DueLoop,
    HeldLoop,
    InboundLoop,
    ReceiptLoop,
    SenderLoop,
    keep_policies,
    ring,
    wake_senders,
)
from services.channel.entrypoints.quarantine import QuarantineServicer, QuarantineWatch
from services.channel.entrypoints.reconciliation import ReconciliationServicer
from services.channel.entrypoints.servicer import ChannelServicer, InboxBell
from services.channel.entrypoints.simulation import SimulationServicer
from services.channel.entrypoints.suppression import SuppressionServicer
from services.channel.entrypoints.template_loops import keep_templates, send_trials
from services.channel.entrypoints.templates import TemplateServicer
from services.channel.entrypoints.translate import action_from_record, action_record
from services.channel.mail_parts import links, mail_transport, mailbox_loop, web_endpoint
from services.channel.mail_settings import MailSettings
from services.channel.settings import SERVICE, ChannelSettings
from services.channel.sms_parts import sms_transport
from services.runtime.client import connect
from services.runtime.clock import EventClock, WallClock, make_clock
from services.runtime.clock_follower import ClockFollower
from services.runtime.configuration import ConfigurationLog, file_sources
from services.runtime.consumer import StreamConsumer
from services.runtime.credentials import CertificateFiles
from services.runtime.data_keys import DataKeys, open_data_keys
from services.runtime.database import Database
from services.runtime.dead_letters import DeadLetters
from services.runtime.digests import digest_files
from services.runtime.export_service import ExportService
from services.runtime.housekeeping import Housekeeping
from services.runtime.metrics import CAP_SECONDS, show
from services.runtime.opening import depend_on_service, open_bus, open_database
from services.runtime.operations import OperationsService
from services.runtime.outbox import Outbox, Relay
from services.runtime.partitions import settle_partitions
from services.runtime.process import Role, run_service
from services.runtime.prune import Pruner
from services.runtime.readers_service import ReadersService
from services.runtime.recovery import await_recovery
from services.runtime.recovery_service import RecoveryService
from services.runtime.replay import Replay
from services.runtime.resealing import Resealing
from services.runtime.retention import read_retention
from services.runtime.server import build_server
from services.runtime.streams import ACTIONS, Bus
from services.runtime.watch import BacklogWatch
from services.vocabulary.catalogue import load_catalogue
from services.vocabulary.words import Channel

MIGRATIONS = Path(__file__).parent / "migrations"
_POLICY_SECONDS = 1.0


@dataclass(frozen=True, slots=True)
class Parts:
    """What both roles are made of."""

    database: Database
    bus: Bus
    clock: WallClock | EventClock
    store: PostgresStore
    data_keys: DataKeys
    profile: GrpcProfile
    policies: PolicyFolder
    controls: ControlWatch
    admission: Admission
    speech: Speech
    desk: InboundDesk
    renderer: JinjaRenderer
    previews: Previews[Text]
    inbox: PostgresInbox
    dead_letters: DeadLetters
    language: str
    pruner: Pruner


async def build_parts(role: Role) -> Parts:
    """Connects to everything and puts together what both roles share."""
    settings = role.settings
    catalogue = load_catalogue(settings.rules_folder)
    policies = PolicyFolder(settings.rules_folder / "policies", catalogue.default_zone, catalogue.country)
    renderer = JinjaRenderer(
        settings.rules_folder / "templates",
        catalogue.default_locale,
        catalogue.default_zone,
    )
    database = await open_database(role, MIGRATIONS)
    bus = await open_bus(role, needed=settings.role == "worker")
    await role.reach("partitions", lambda: settle_partitions(database, bus.jetstream, settings.partitions))
    controls = ControlWatch(database, policies)
    await role.reach("controls", controls.load)  # before anything is judged
    role.supervise("controls", controls.run)
    clock = make_clock(settings.clock)
    if isinstance(clock, EventClock):
        role.supervise("clock", ClockFollower(bus.nats, bus.jetstream, clock).run)
    templates = digest_files(settings.rules_folder, "templates/*/*.j2")
    files = file_sources(settings.rules_folder) | {
        "templates": lambda: templates,
        "policies": policies.digests,
    }
    role.supervise("configuration", ConfigurationLog(database, settings.role, files).run)
    show(CAP_SECONDS)
    keeper = TemplateKeeper(database, renderer)
    await role.reach("templates", keeper.refresh)
    role.supervise("templates", lambda: keep_templates(database, TEMPLATES_NOTICE, keeper.refresh))
    backlog = BacklogWatch(database, bus, ACTIONS, partitions=settings.partitions)
    role.supervise("backlog", backlog.run)
    outbox = Outbox(database, partitions=settings.partitions)
    sealer, data_keys = await open_data_keys(role, database)
    store = PostgresStore(database, outbox, action_from_record, sealer, partitions=settings.partitions)
    grpc_channel = connect(settings.profile_target, CertificateFiles.of(settings))
    role.on_close(grpc_channel.close)
    depend_on_service(role, "profile", grpc_channel)
    profile = GrpcProfile(grpc_channel, clock)
    speech = Speech(catalogue, renderer)
    admission = Admission(store, profile, speech, policies.current, clock)
    return Parts(
        database=database,
        bus=bus,
        clock=clock,
        store=store,
        data_keys=data_keys,
        profile=profile,
        policies=policies,
        controls=controls,
        admission=admission,
        speech=speech,
        desk=InboundDesk(
            store,
            profile,
            admission,
            catalogue,
            lambda: policies.current().replies,
            action_record,
            clock,
        ),
        renderer=renderer,
        previews=Previews(catalogue, renderer, policies.current),
        inbox=PostgresInbox(database),
        language=catalogue.default_locale,
        dead_letters=DeadLetters(
            SERVICE,
            outbox,
            resend_action(outbox, settings.partitions),
            partitions=settings.partitions,
            sealer=sealer,
        ),
        pruner=Pruner(
            database, clock, prunables(policies.current), partial(read_retention, settings.rules_folder)
        ),
    )


async def build_server_role(role: Role) -> None:
    """Answers over gRPC."""
    parts = await build_parts(role)
    bell = InboxBell()
    role.supervise("inbox-bell", lambda: ring(parts.database, INBOX_NOTICE, bell.ring))
    role.supervise(
        "policies",
        lambda: keep_policies(parts.policies.refresh, lambda: asyncio.sleep(_POLICY_SECONDS)),
    )
    servicer = ChannelServicer(
        database=parts.database,
        within=parts.store.within,
        store=parts.store,
        admission=parts.admission,
        inbox=parts.inbox,
        bell=bell,
        clock=parts.clock,
    )
    controls = ControlServicer(
        database=parts.database,
        within=PostgresControls,
        policies=parts.policies,
        clock=parts.clock,
        tell=partial(parts.database.notify, CONTROLS_NOTICE),
    )
    operations = OperationsService(
        SERVICE,
        ACTIONS,
        database=parts.database,
        bus=parts.bus,
        clock=parts.clock,
        dead_letters=parts.dead_letters,
        source=parts.store,
        pruner=parts.pruner,
        errors=CHANNEL_ERRORS,
    )
    quarantine = QuarantineServicer(parts.database, parts.store.within, parts.clock)
    recovery = RecoveryService(
        SERVICE,
        database=parts.database,
        clock=parts.clock,
        errors=CHANNEL_ERRORS,
        part=ChannelPart(parts.clock),
    )
    reconciliation = ReconciliationServicer(
        parts.database, parts.store, open_books(parts.database), parts.clock
    )
    simulation = SimulationServicer(
        parts.database,
        policies=parts.policies.imagine,
        read_reach=reach_from_wire,
        speech=parts.speech,
        profile=parts.profile,
        store=parts.store,
    )
    served = [
        servicer.served(),
        controls.served(),
        quarantine.served(),
        reconciliation.served(),
        simulation.served(),
        _suppression(role, parts).served(),
        _templates(role, parts).served(),
        ExportService(
            SERVICE, database=parts.database, clock=parts.clock, tables=tables(parts.store.sealer)
        ).served(),
        operations.served(),
        ReadersService(parts.database).served(),
        recovery.served(),
    ]
    await _serve_web(role, parts)
    server = build_server(role.settings, served, CHANNEL_ERRORS)
    role.on_drain(server.stop)
    await server.start()
    role.ready["address"] = server.address
    role.ready["token_address"] = server.token_address


def _suppression(role: Role, parts: Parts) -> SuppressionServicer:
    """The suppression list, with links to opt in where links are served."""
    served = links(MailSettings.of(role.settings))
    return SuppressionServicer(
        parts.database,
        parts.store.within,
        parts.store,
        parts.profile,
        None if served is None else OptInLinks(parts.admission, served, action_record, parts.clock),
        parts.clock,
    )


def _templates(role: Role, parts: Parts) -> TemplateServicer:
    """For those who write what is said."""
    return TemplateServicer(
        parts.database,
        lambda raw: PostgresVersions(raw, parts.database),
        parts.previews,
        parts.renderer.file,
        PostgresTrials(parts.database),
        Recipients(ChannelSettings.of(role.settings).test_recipients),
    )


async def _serve_web(role: Role, parts: Parts) -> None:
    """Answers links on a port of their own, where there is one."""
    mail = MailSettings.of(role.settings)
    endpoint = web_endpoint(mail, parts.store, parts.profile, parts.clock, language=parts.language)
    if endpoint is None:
        return
    role.on_drain(endpoint.stop)
    await endpoint.start(mail.web_listen, cert_file=mail.web_cert_file, key_file=mail.web_key_file)
    role.ready["web"] = endpoint.address


async def build_worker_role(role: Role) -> None:
    """Takes actions, sends messages, and publishes what both roles have put into the outbox."""
    own, mail = ChannelSettings.of(role.settings), MailSettings.of(role.settings)
    parts = await build_parts(role)
    await await_recovery(role, parts.database)
    partitions = role.settings.partitions
    erasing = PostgresErasing(Outbox(parts.database, partitions=partitions), partitions)
    erasures = ErasePersons(parts.store, parts.store.within, erasing, parts.clock)
    handler = ActionsHandler(
        parts.database, parts.store.within, parts.admission, erasures, parts.dead_letters, parts.clock
    )
    consumer = StreamConsumer(parts.bus, ACTIONS, handler, partitions=partitions)
    loops: list[SenderLoop] = []
    trials: list[TrialSender] = []
    for transport in _transports(own, mail, parts):
        role.on_close(transport.close)
        if isinstance(transport, SmppTransport):
            role.depend("smsc", partial(see_bound, transport), needed=False)  # messages wait for it
        pace = provider_pace(transport.channel.value, _per_second(own, transport.channel))
        if transport.channel in TRIED:
            trials.append(TrialSender(PostgresTrials(parts.database), transport, pace))
        loop = SenderLoop(
            Sender(
                parts.store,
                parts.profile,
                transport,
                parts.policies.current,
                parts.clock,
                pace=pace,
                lane_of=mail.domains.lane_of if transport.channel is Channel.EMAIL else None,
            ),
        )
        loops.append(loop)
        name = transport.channel.value
        role.supervise(f"send-{name}", loop.run, stop=loop.stop)
        role.supervise(f"receipts-{name}", ReceiptLoop(parts.store, transport, parts.clock).run)
        role.supervise(f"inbound-{name}", InboundLoop(parts.desk, transport).run)
    emptied = mailbox_loop(mail, parts.store, parts.clock)
    if emptied is not None:
        mailbox, mailbox_reading = emptied
        role.on_close(mailbox.close)
        role.supervise("mailbox", mailbox_reading.run)
    role.supervise("wake-senders", lambda: wake_senders(parts.database, PLANNED_NOTICE, loops))
    role.supervise("trials", lambda: send_trials(parts.database, TRIALS_NOTICE, trials))
    role.supervise("due", DueLoop(parts.store, parts.admission, parts.clock).run)
    role.supervise("held", HeldLoop(parts.store, parts.clock, parts.controls.switches_changed).run)
    role.supervise("care", CareLoop(parts.store, parts.clock, parts.policies.refresh).run)
    relay = Relay(SERVICE, parts.database, parts.bus.jetstream, partitions=partitions)
    role.supervise("relay", relay.run)
    role.supervise("quarantine", QuarantineWatch(parts.store).run)
    role.supervise(
        "replay", Replay(parts.database, OutcomesReplay(parts.store.within, parts.store.sealer)).run
    )
    sealer = parts.store.sealer
    resealing = Resealing(parts.database, parts.data_keys, sealer, sealed_parts(sealer))
    role.supervise("resealing", resealing.run)
    role.supervise("housekeeping", Housekeeping(parts.database).run)
    role.supervise("prune", parts.pruner.run)
    role.supervise("actions", consumer.run, stop=consumer.stop)


def _transports(own: ChannelSettings, mail: MailSettings, parts: Parts) -> list[Transport]:
    transports: list[Transport] = [InboxTransport(parts.inbox)]
    sms = sms_transport(own)
    if sms is not None:
        transports.append(sms)
    if mail.relays:
        transports.append(mail_transport(mail, parts.clock))
    return transports


def _per_second(own: ChannelSettings, channel: Channel) -> int:
    match channel:
        case Channel.SMS:
            return own.sms_per_second
        case Channel.EMAIL:
            return own.email_per_second
        case _:
            return 0


def main() -> int:
    """The exit status."""
    return run_service(SERVICE, {"server": build_server_role, "worker": build_worker_role}, MIGRATIONS)


if __name__ == "__main__":
    sys.exit(main())
