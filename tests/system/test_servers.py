"""Every server answers health and reflection, and says its errors richly."""

import grpc
import pytest
from google.protobuf.descriptor_pool import DescriptorPool
from google.protobuf.message_factory import GetMessageClass
from google.rpc import error_details_pb2
from grpc_health.v1 import health_pb2, health_pb2_grpc
from grpc_reflection.v1alpha.proto_reflection_descriptor_database import ProtoReflectionDescriptorDatabase
from grpc_status.rpc_status import from_call

SERVICES = {
    "profile": [
        "rapport.profile.v1.AccountService",
        "rapport.profile.v1.AudienceService",
        "rapport.profile.v1.ConsentService",
        "rapport.profile.v1.CorrectionService",
        "rapport.profile.v1.HistoryService",
        "rapport.profile.v1.IdentityService",
        "rapport.privacy.v1.ErasureService",
        "rapport.profile.v1.ProfileService",
        "rapport.profile.v1.TimelineService",
    ],
    "decision": [
        "rapport.decision.v1.CampaignService",
        "rapport.decision.v1.DecisionService",
        "rapport.decision.v1.ExplanationService",
        "rapport.decision.v1.OutcomeService",
        "rapport.decision.v1.ReleaseService",
        "rapport.decision.v1.RuleSetService",
        "rapport.decision.v1.SimulationService",
    ],
    "channel": [
        "rapport.channel.v1.ChannelService",
        "rapport.channel.v1.ControlService",
        "rapport.channel.v1.QuarantineService",
        "rapport.channel.v1.ReconciliationService",
        "rapport.channel.v1.SimulationService",
        "rapport.channel.v1.SuppressionService",
        "rapport.channel.v1.TemplateService",
    ],
}
OPERATIONS = [
    "rapport.operations.v1.OperationsService",
    "rapport.operations.v1.ReadersService",
    "rapport.operations.v1.RecoveryService",
    "rapport.privacy.v1.ExportService",
]
INFRASTRUCTURE = ["grpc.health.v1.Health", "grpc.reflection.v1alpha.ServerReflection"]

# calls to be refused, as one would type them into grpcurl: server, method, fields, status, field at fault
REFUSED = [
    (
        "profile",
        "rapport.profile.v1.ProfileService/GetProfile",
        {"subject": "phone:1"},
        grpc.StatusCode.INVALID_ARGUMENT,
        "subject",
    ),
    (
        "profile",
        "rapport.profile.v1.ProfileService/RecordConsent",
        {"subject": "crm:1"},
        grpc.StatusCode.INVALID_ARGUMENT,
        "request_id",
    ),
    (
        "decision",
        "rapport.decision.v1.DecisionService/ExplainDecision",
        {"decision_id": "00000000-0000-4000-8000-000000000000"},
        grpc.StatusCode.NOT_FOUND,
        "decision_id",
    ),
    (
        "decision",
        "rapport.decision.v1.RuleSetService/ActivateRuleSet",
        {"request_id": "system-test-1", "name": "nobody-wrote-it"},
        grpc.StatusCode.NOT_FOUND,
        "name",
    ),
    (
        "channel",
        "rapport.channel.v1.ChannelService/GetMessage",
        {"message_id": "no-id"},
        grpc.StatusCode.INVALID_ARGUMENT,
        "message_id",
    ),
    (
        "channel",
        "rapport.operations.v1.OperationsService/ListDeadLetters",
        {"page_size": -1},
        grpc.StatusCode.INVALID_ARGUMENT,
        "page_size",
    ),
]


@pytest.mark.parametrize("service", SERVICES)
def test_health_is_told_for_the_server_and_each_of_its_services(rapport, service):
    with rapport.grpc_channel(service) as grpc_channel:
        stub = health_pb2_grpc.HealthStub(grpc_channel)
        for name in ("", *SERVICES[service], *OPERATIONS):
            answer = stub.Check(health_pb2.HealthCheckRequest(service=name), timeout=5)
            assert answer.status == health_pb2.HealthCheckResponse.SERVING, name
        with pytest.raises(grpc.RpcError) as caught:
            stub.Check(health_pb2.HealthCheckRequest(service="no.such.Service"), timeout=5)
        assert caught.value.code() is grpc.StatusCode.NOT_FOUND


@pytest.mark.parametrize("service", SERVICES)
def test_reflection_lists_every_service(rapport, service):
    with rapport.grpc_channel(service) as grpc_channel:
        database = ProtoReflectionDescriptorDatabase(grpc_channel)
        assert sorted(database.get_services()) == sorted([*INFRASTRUCTURE, *SERVICES[service], *OPERATIONS])


@pytest.mark.parametrize(("service", "method", "fields", "status", "field"), REFUSED)
def test_a_refused_call_says_what_where_and_what_would_be_right(
    rapport, service, method, fields, status, field
):
    with rapport.grpc_channel(service) as grpc_channel:
        pool = DescriptorPool(ProtoReflectionDescriptorDatabase(grpc_channel))
        name, _, called = method.partition("/")
        described = pool.FindServiceByName(name).FindMethodByName(called)
        request = GetMessageClass(described.input_type)(**fields)
        call = grpc_channel.unary_unary(
            f"/{method}",
            request_serializer=lambda message: message.SerializeToString(),
            response_deserializer=GetMessageClass(described.output_type).FromString,
        )
        with pytest.raises(grpc.RpcError) as caught:
            call(request, timeout=10)
    assert caught.value.code() is status
    told = from_call(caught.value)
    info, bad = error_details_pb2.ErrorInfo(), error_details_pb2.BadRequest()
    assert told.details[0].Unpack(info)
    assert info.domain == "rapport"
    assert info.reason == info.reason.upper() != ""
    assert info.metadata["field"] == field
    assert info.metadata["suggestion"]
    assert told.details[1].Unpack(bad)
    assert [violation.field for violation in bad.field_violations] == [field]
