"""The running stack's services as stubs, for every command that talks to them."""

from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING

from rapport.channel.v1.channel_pb2_grpc import ChannelServiceStub
from rapport.channel.v1.controls_pb2_grpc import ControlServiceStub
from rapport.channel.v1.quarantine_pb2_grpc import QuarantineServiceStub
from rapport.channel.v1.reconciliation_pb2_grpc import ReconciliationServiceStub
from rapport.channel.v1.suppression_pb2_grpc import SuppressionServiceStub
from rapport.channel.v1.templates_pb2_grpc import TemplateServiceStub
from rapport.decision.v1.campaign_pb2_grpc import CampaignServiceStub
from rapport.decision.v1.decision_pb2_grpc import DecisionServiceStub
from rapport.decision.v1.explanation_pb2_grpc import ExplanationServiceStub
from rapport.decision.v1.outcomes_pb2_grpc import OutcomeServiceStub
from rapport.decision.v1.release_pb2_grpc import ReleaseServiceStub
from rapport.decision.v1.rule_set_pb2_grpc import RuleSetServiceStub
from rapport.decision.v1.simulation_pb2_grpc import SimulationServiceStub
from rapport.operations.v1.operations_pb2_grpc import OperationsServiceStub
from rapport.operations.v1.readers_pb2_grpc import ReadersServiceStub
from rapport.operations.v1.recovery_pb2_grpc import RecoveryServiceStub
from rapport.privacy.v1.erasure_pb2_grpc import ErasureServiceStub
from rapport.privacy.v1.export_pb2_grpc import ExportServiceStub
from rapport.profile.v1.account_pb2_grpc import AccountServiceStub
from rapport.profile.v1.consent_pb2_grpc import ConsentServiceStub
from rapport.profile.v1.correction_pb2_grpc import CorrectionServiceStub
from rapport.profile.v1.identity_pb2_grpc import IdentityServiceStub
from rapport.profile.v1.profile_pb2_grpc import ProfileServiceStub
from rapport.profile.v1.timeline_pb2_grpc import TimelineServiceStub

from services.cli.stack.errors import StackError
from services.cli.stack.state import Stack, find_stack
from services.cli.stack.trust_files import OPERATOR, caller, token_file
from services.runtime.client import connect

if TYPE_CHECKING:  # these names stand in the stub files only
    from rapport.channel.v1.channel_pb2_grpc import ChannelServiceAsyncStub
    from rapport.channel.v1.controls_pb2_grpc import ControlServiceAsyncStub
    from rapport.channel.v1.quarantine_pb2_grpc import QuarantineServiceAsyncStub
    from rapport.channel.v1.reconciliation_pb2_grpc import ReconciliationServiceAsyncStub
    from rapport.channel.v1.suppression_pb2_grpc import SuppressionServiceAsyncStub
    from rapport.channel.v1.templates_pb2_grpc import TemplateServiceAsyncStub
    from rapport.decision.v1.campaign_pb2_grpc import CampaignServiceAsyncStub
    from rapport.decision.v1.decision_pb2_grpc import DecisionServiceAsyncStub
    from rapport.decision.v1.explanation_pb2_grpc import ExplanationServiceAsyncStub
    from rapport.decision.v1.outcomes_pb2_grpc import OutcomeServiceAsyncStub
    from rapport.decision.v1.release_pb2_grpc import ReleaseServiceAsyncStub
    from rapport.decision.v1.rule_set_pb2_grpc import RuleSetServiceAsyncStub
    from rapport.decision.v1.simulation_pb2_grpc import SimulationServiceAsyncStub
    from rapport.operations.v1.operations_pb2_grpc import OperationsServiceAsyncStub
    from rapport.operations.v1.readers_pb2_grpc import ReadersServiceAsyncStub
    from rapport.operations.v1.recovery_pb2_grpc import RecoveryServiceAsyncStub
    from rapport.privacy.v1.erasure_pb2_grpc import ErasureServiceAsyncStub
    from rapport.privacy.v1.export_pb2_grpc import ExportServiceAsyncStub
    from rapport.profile.v1.account_pb2_grpc import AccountServiceAsyncStub
    from rapport.profile.v1.consent_pb2_grpc import ConsentServiceAsyncStub
    from rapport.profile.v1.correction_pb2_grpc import CorrectionServiceAsyncStub
    from rapport.profile.v1.identity_pb2_grpc import IdentityServiceAsyncStub
    from rapport.profile.v1.profile_pb2_grpc import ProfileServiceAsyncStub
    from rapport.profile.v1.timeline_pb2_grpc import TimelineServiceAsyncStub

SERVICES = ("profile", "decision", "channel")


@dataclass(frozen=True, slots=True)
class Connections:
    """Stubs of everything that answers."""

    stack: Stack
    profile: "ProfileServiceAsyncStub"
    decision: "DecisionServiceAsyncStub"
    explanations: "ExplanationServiceAsyncStub"
    outcomes: "OutcomeServiceAsyncStub"
    rule_sets: "RuleSetServiceAsyncStub"
    releases: "ReleaseServiceAsyncStub"
    simulations: "SimulationServiceAsyncStub"
    campaigns: "CampaignServiceAsyncStub"
    channel: "ChannelServiceAsyncStub"
    operations: dict[str, "OperationsServiceAsyncStub"]
    """By service: profile, decision, channel."""
    recovery: dict[str, "RecoveryServiceAsyncStub"]
    """The same."""
    readers: dict[str, "ReadersServiceAsyncStub"]
    """The same."""
    timeline: "TimelineServiceAsyncStub"
    identities: "IdentityServiceAsyncStub"
    quarantine: "QuarantineServiceAsyncStub"
    controls: "ControlServiceAsyncStub"
    reconciliation: "ReconciliationServiceAsyncStub"
    suppressions: "SuppressionServiceAsyncStub"
    templates: "TemplateServiceAsyncStub"
    consents: "ConsentServiceAsyncStub"
    corrections: "CorrectionServiceAsyncStub"
    erasures: "ErasureServiceAsyncStub"
    exports: dict[str, "ExportServiceAsyncStub"]
    """By service: profile, decision, channel."""
    accounts: "AccountServiceAsyncStub"


@asynccontextmanager
async def connected(folder: Path | str | None = None, subject: str = OPERATOR) -> AsyncIterator[Connections]:
    """Connects to the stack that runs in this folder with somebody's token; StackError when none does."""
    stack = find_stack(folder)
    if not token_file(stack.layout, subject).is_file():
        raise StackError(
            f"{token_file(stack.layout, subject)} is not there. "
            f"Make one: rapport token --for {subject} --scope … --to {token_file(stack.layout, subject)}"
        )
    us = caller(stack.layout, subject)
    async with (
        connect(stack.profile_target, us, deadline_seconds=30) as profile,
        connect(stack.decision_target, us, deadline_seconds=60) as decision,
        connect(stack.channel_target, us, deadline_seconds=30) as channel,
    ):
        yield Connections(
            stack=stack,
            profile=ProfileServiceStub(profile),
            decision=DecisionServiceStub(decision),
            explanations=ExplanationServiceStub(decision),
            outcomes=OutcomeServiceStub(decision),
            rule_sets=RuleSetServiceStub(decision),
            releases=ReleaseServiceStub(decision),
            simulations=SimulationServiceStub(decision),
            campaigns=CampaignServiceStub(decision),
            channel=ChannelServiceStub(channel),
            operations={
                name: OperationsServiceStub(grpc_channel)
                for name, grpc_channel in zip(SERVICES, (profile, decision, channel), strict=True)
            },
            recovery={
                name: RecoveryServiceStub(grpc_channel)
                for name, grpc_channel in zip(SERVICES, (profile, decision, channel), strict=True)
            },
            readers={
                name: ReadersServiceStub(grpc_channel)
                for name, grpc_channel in zip(SERVICES, (profile, decision, channel), strict=True)
            },
            timeline=TimelineServiceStub(profile),
            identities=IdentityServiceStub(profile),
            quarantine=QuarantineServiceStub(channel),
            controls=ControlServiceStub(channel),
            reconciliation=ReconciliationServiceStub(channel),
            suppressions=SuppressionServiceStub(channel),
            templates=TemplateServiceStub(channel),
            consents=ConsentServiceStub(profile),
            corrections=CorrectionServiceStub(profile),
            erasures=ErasureServiceStub(profile),
            exports={
                name: ExportServiceStub(grpc_channel)
                for name, grpc_channel in zip(SERVICES, (profile, decision, channel), strict=True)
            },
            accounts=AccountServiceStub(profile),
        )
