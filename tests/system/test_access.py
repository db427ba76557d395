"""Every method of every running service refuses whoever has not shown that they may call it."""

import datetime as dt
import hmac
import json
import socket
import ssl
import uuid
from collections.abc import Callable, Iterator
from concurrent.futures import ThreadPoolExecutor
from contextlib import ExitStack
from dataclasses import dataclass, field
from typing import Any

import grpc
import jwt
import pytest
from google.protobuf.message_factory import GetMessageClass
from grpc_reflection.v1alpha.proto_reflection_descriptor_database import ProtoReflectionDescriptorDatabase
from jwt.utils import base64url_encode

from services.cli.stack.authority import Authority
from services.cli.stack.issuer import Issuer
from services.cli.stack.options import SERVICES
from services.cli.stack.trust import ensure_trust, issuer_of, wall_now
from services.cli.stack.trust_files import caller
from services.runtime.access_policy import all_scopes, declared_scopes, our_services
from services.runtime.settings import DEFAULT_TRUST_DOMAIN
from services.runtime.status import Failure, read_failure
from tests.system.conftest import Rapport, new_number, person, used

HOUR = dt.timedelta(hours=1)
OPEN = {"grpc.health.v1.Health", "grpc.reflection.v1alpha.ServerReflection"}
BROKEN = b"\x0a"
"""No message of any method: a field that was cut off. So nothing is done when the gate lets it through."""


@dataclass
class Doors:
    """The two ports of one service, and ways to come to them."""

    rapport: Rapport
    service: str
    stack: ExitStack = field(default_factory=ExitStack)

    def by_token(self, token: str | None = None, *, authorization: str | None = None) -> "Door":
        credentials = grpc.ssl_channel_credentials(caller(self.rapport.layout).authority.read_bytes())
        told = authorization or (f"Bearer {token}" if token else None)
        return self._door(self.rapport.stack.target(self.service), credentials, told)

    def by_certificate(self, authority: Authority | None, name: str = "decision") -> "Door":
        trusted = caller(self.rapport.layout).authority.read_bytes()
        if authority is None:
            credentials = grpc.ssl_channel_credentials(trusted)
        else:
            pair = authority.issue(name, wall_now())
            credentials = grpc.ssl_channel_credentials(trusted, pair.key, pair.certificate)
        return self._door(self.rapport.stack.address(self.service), credentials, None)

    def _door(self, target: str, credentials: grpc.ChannelCredentials, told: str | None) -> "Door":
        options = [("grpc.use_local_subchannel_pool", 1)]
        channel = self.stack.enter_context(grpc.secure_channel(target, credentials, options=options))
        return Door(channel, (("authorization", told),) if told else ())


@dataclass
class Door:
    """One way to call any method."""

    channel: grpc.Channel
    metadata: tuple[tuple[str, str], ...]

    def call(self, method: str, sent: bytes = BROKEN) -> Failure:
        # whatever a method's shape: one request, and the end
        answers = self.channel.stream_stream(method)(iter([sent]), metadata=self.metadata, timeout=10)
        with pytest.raises(grpc.RpcError) as raised:
            list(answers)
        return read_failure(raised.value)


@pytest.fixture(scope="module")
def methods(rapport: Rapport) -> dict[str, dict[str, str]]:
    """By service what it serves, as it says itself: each method's path and the scope it declares."""
    known = {service.full_name for service in our_services()}
    served: dict[str, dict[str, str]] = {}
    for service in SERVICES:
        with rapport.grpc_channel(service) as channel:
            names = set(ProtoReflectionDescriptorDatabase(channel).get_services()) - OPEN
        assert names <= known
        served[service] = {method: scope for name in names for method, scope in declared_scopes(name).items()}
    return served


@pytest.fixture(params=SERVICES)
def doors(request: pytest.FixtureRequest, rapport: Rapport) -> Iterator[Doors]:
    made = Doors(rapport, request.param)
    with made.stack:
        yield made


def sign(rapport: Rapport, scopes: Any = None, **changes: Any) -> str:
    issuer = changes.pop("issuer", None) or issuer_of(rapport.layout)
    begins = changes.pop("begins", wall_now())
    return issuer.sign("visitor", all_scopes() if scopes is None else scopes, begins, lasts=HOUR, **changes)


def unsigned(rapport: Rapport) -> str:
    claims = jwt.decode(sign(rapport), options={"verify_signature": False})
    return jwt.encode(claims, None, algorithm="none", headers={"kid": issuer_of(rapport.layout).key_id})


def signed_with_what_everybody_knows(rapport: Rapport) -> str:
    claims = jwt.decode(sign(rapport), options={"verify_signature": False})
    header = {"alg": "HS256", "typ": "JWT", "kid": issuer_of(rapport.layout).key_id}
    told = b".".join(base64url_encode(json.dumps(part).encode()) for part in (header, claims))
    known = rapport.layout.secret("jwks.json").read_bytes()
    return (told + b"." + base64url_encode(hmac.digest(known, told, "sha256"))).decode()


def like_ours(rapport: Rapport) -> str:
    """Signed by another key that claims to be ours."""
    claims = jwt.decode(sign(rapport), options={"verify_signature": False})
    other = Issuer.make()
    return jwt.encode(claims, other.key, algorithm="ES256", headers={"kid": issuer_of(rapport.layout).key_id})


BAD_TOKENS: dict[str, tuple[Callable[[Rapport], str], str]] = {
    "ended": (lambda rapport: sign(rapport, begins=wall_now() - 2 * HOUR), "ended"),
    "not yet": (lambda rapport: sign(rapport, nbf=int((wall_now() + HOUR).timestamp())), "yet"),
    "foreign key": (lambda rapport: sign(rapport, issuer=Issuer.make()), "kid"),
    "foreign key under our name": (like_ours, "signature"),
    "foreign issuer": (lambda rapport: sign(rapport, iss="https://elsewhere.example"), "iss"),
    "foreign audience": (lambda rapport: sign(rapport, aud="billing"), "aud"),
    "unsigned": (unsigned, "alg"),
    "signed with a public key as password": (signed_with_what_everybody_knows, "alg"),
    "garbage": (lambda _: "x.y.z", "no JWT"),
}


def test_every_method_declares_a_scope_and_is_served_somewhere(methods):
    declared = {
        f"/{service.full_name}/{method.name}" for service in our_services() for method in service.methods
    }
    served = {method: scope for each in methods.values() for method, scope in each.items()}
    assert set(served) == declared
    assert [method for method, scope in served.items() if not scope] == []


def test_no_method_answers_a_caller_without_credentials(doors: Doors, methods):
    nobody = doors.by_token()
    for method in methods[doors.service]:
        failure = nobody.call(method)
        assert (failure.status, failure.reason) == (grpc.StatusCode.UNAUTHENTICATED, "UNAUTHENTICATED"), (
            method
        )
        assert "Bearer" in failure.metadata["suggestion"]


@pytest.mark.parametrize("kind", BAD_TOKENS)
def test_no_method_takes_a_token_that_does_not_count(doors: Doors, methods, kind: str):
    make, why = BAD_TOKENS[kind]
    token = make(doors.rapport)
    door = doors.by_token(token)
    for method in methods[doors.service]:
        failure = door.call(method)
        assert failure.status is grpc.StatusCode.UNAUTHENTICATED, method
        assert why in failure.message
        assert token not in failure.message


def test_no_method_takes_other_authorization(doors: Doors, methods):
    for told in ("Basic b3BlcmF0b3I6", "Bearer", "Bearer "):
        door = doors.by_token(authorization=told)
        for method in methods[doors.service]:
            assert door.call(method).status is grpc.StatusCode.UNAUTHENTICATED, (told, method)


def test_each_method_needs_its_own_scope_and_no_other(doors: Doors, methods):
    for method, scope in methods[doors.service].items():
        every_other = [other for other in all_scopes() if other != scope]
        failure = doors.by_token(sign(doors.rapport, every_other)).call(method)
        assert failure.status is grpc.StatusCode.PERMISSION_DENIED, method
        assert (failure.reason, failure.metadata["scope"]) == ("SCOPE_MISSING", scope), method
        passed = doors.by_token(sign(doors.rapport, [scope])).call(method)
        # it came through the gate, and only then was found to be no message
        assert passed.status is grpc.StatusCode.INVALID_ARGUMENT, (method, passed)


def test_no_method_answers_a_certificate_of_a_foreign_authority_or_none(doors: Doors, methods):
    foreign = Authority.make(DEFAULT_TRUST_DOMAIN, wall_now())
    for door in (doors.by_certificate(foreign), doors.by_certificate(None)):
        for method in methods[doors.service]:
            failure = door.call(method)
            assert failure.status is grpc.StatusCode.UNAVAILABLE, method  # no connection at all
            assert failure.reason == ""


def test_a_certificate_counts_for_a_known_name_and_its_scopes_only(doors: Doors, methods):
    ours = authority_of(doors.rapport)
    stranger = doors.by_certificate(ours, "stranger")
    elsewhere = doors.by_certificate(Authority(ours.certificate, ours.key, "other.example"))
    decision = doors.by_certificate(ours, "decision")
    granted = {
        *("audiences.read", "gates.simulate", "history.read", "messages.read"),
        *("listened.write", "messages.reserve", "profiles.read"),
    }
    for method, scope in methods[doors.service].items():
        for door in (stranger, elsewhere):
            failure = door.call(method)
            assert failure.status is grpc.StatusCode.UNAUTHENTICATED, method
            assert "access.yaml" in failure.metadata["suggestion"]
        failure = decision.call(method)
        if scope in granted:
            assert failure.status is grpc.StatusCode.INVALID_ARGUMENT, method  # behind the gate
        else:
            assert failure.metadata["scope"] == scope, method


def test_a_method_that_is_not_there_is_told_to_known_callers_only(doors: Doors):
    method = "/rapport.profile.v1.ProfileService/Nothing"
    assert doors.by_token().call(method).status is grpc.StatusCode.UNAUTHENTICATED
    assert doors.by_certificate(authority_of(doors.rapport), "x").call(method).reason == "UNAUTHENTICATED"
    for known in (doors.by_token(sign(doors.rapport)), doors.by_certificate(authority_of(doors.rapport))):
        assert known.call(method).status is grpc.StatusCode.UNIMPLEMENTED


def test_reflection_needs_credentials_and_no_scope(doors: Doors):
    method = "/grpc.reflection.v1alpha.ServerReflection/ServerReflectionInfo"
    assert doors.by_token().call(method).status is grpc.StatusCode.UNAUTHENTICATED
    known = doors.by_token(sign(doors.rapport, []))
    assert known.call(method).status is grpc.StatusCode.INVALID_ARGUMENT


TOO_MANY = 20_001


def crowded(method: Any) -> Iterator[tuple[str, bytes]]:
    """Requests of a method with too many of one thing each, at the top or one level below: field, request."""
    for place in method.input_type.fields:
        request = GetMessageClass(method.input_type)()
        if "request_id" in method.input_type.fields_by_name:
            request.request_id = uuid.uuid4().hex
        if is_map(place):
            continue  # its keys are looked up one by one, and what is not known is refused
        if place.is_repeated and place.name != "states":  # no more of them are looked at than there are
            crowd(request, place)
            yield place.name, request.SerializeToString()
        elif place.message_type is not None and not place.is_repeated:
            for inner in place.message_type.fields:
                if inner.is_repeated and not is_map(inner):
                    crowd(getattr(request, place.name), inner)
                    yield f"{place.name}.{inner.name}", request.SerializeToString()


def is_map(place: Any) -> bool:
    return place.message_type is not None and place.message_type.GetOptions().map_entry


def crowd(message: Any, place: Any) -> None:
    entry = (
        GetMessageClass(place.message_type)()
        if place.message_type is not None
        else {place.CPPTYPE_STRING: "x", place.CPPTYPE_INT64: 1, place.CPPTYPE_ENUM: 1}[place.cpp_type]
    )
    getattr(message, place.name).extend([entry] * TOO_MANY)


def test_no_method_takes_lists_without_end(doors: Doors, methods):
    """20,001 of anything that a request lists are refused, and it is said how many there were."""
    operator = doors.by_token(sign(doors.rapport))
    tried = 0
    for service in our_services():
        for method in service.methods:
            path = f"/{service.full_name}/{method.name}"
            if path not in methods[doors.service] or method.client_streaming:
                continue  # a stream's batches are those of IngestEvents, behind its opening
            for place, request in crowded(method):
                failure = operator.call(path, request)
                assert failure.status is grpc.StatusCode.INVALID_ARGUMENT, (path, place, failure)
                assert str(TOO_MANY) in failure.message, (path, place, failure)
                tried += 1
    assert tried >= {"profile": 5, "channel": 3, "decision": 0}[doors.service]


def test_knocking_without_tls_leaves_nothing_in_the_log(doors: Doors):
    log = doors.rapport.layout.log(f"{doors.service}-server")
    before = log.stat().st_size
    for address in (doors.rapport.stack.address(doors.service), doors.rapport.stack.target(doors.service)):
        host, _, port = address.rpartition(":")
        with socket.create_connection((host, int(port)), timeout=10) as knock:
            knock.sendall(b"GET / HTTP/1.1\r\nHost: rapport\r\n\r\n")
            while knock.recv(1000):
                pass  # until it is closed
    with log.open("rb") as file:
        file.seek(before)
        for line in file:
            json.loads(line)


def shown(rapport: Rapport, service: str) -> str:
    """The certificate that a service shows now."""
    host, _, port = rapport.stack.target(service).rpartition(":")
    return ssl.get_server_certificate((host, int(port)))


def test_certificates_are_renewed_while_events_flow(rapport: Rapport, noon: dt.datetime):
    """Twice, the authority too; nothing is restarted, nothing refused, and messages go on arriving."""
    before = {service: shown(rapport, service) for service in SERVICES}
    restarts = {program.name: program.restarts for program in rapport.stack.programs}
    subjects = [f"msisdn:{new_number()}" for _ in range(2)]
    introduced = [told for subject in subjects for told in person(noon, subject, plan_data_mb=1000)]
    rapport.take(introduced)
    for number, subject in enumerate(subjects):
        with ThreadPoolExecutor() as pool:
            moment = noon + dt.timedelta(minutes=10 * number)
            busy = [used(moment + n * dt.timedelta(seconds=1), subject, 0.01) for n in range(300)]
            feeding = pool.submit(rapport.take, [*busy, used(moment + HOUR, subject, 600)])
            rapport.layout.secret("ca.key").unlink()
            ensure_trust(rapport.layout)
            feeding.result()
        assert [message["name"] for message in rapport.listing("messages", "list", "--subject", subject)] == [
            "quota-50"
        ]
    for service in SERVICES:
        assert shown(rapport, service) != before[service]
    assert {program.name: program.restarts for program in rapport.stack.programs} == restarts


def test_secrets_are_for_their_owner_only(rapport: Rapport):
    secrets = rapport.layout.secret("ca.key").parent
    assert secrets.stat().st_mode & 0o777 == 0o700
    modes = {path.name: path.stat().st_mode & 0o777 for path in secrets.iterdir()}
    assert {"ca.key", "operator.token", "bss.token", "profile.key"} <= set(modes)
    assert set(modes.values()) == {0o600}


def authority_of(rapport: Rapport) -> Authority:
    from services.cli.stack.authority import Pair

    pair = Pair(rapport.layout.secret("ca.crt").read_bytes(), rapport.layout.secret("ca.key").read_bytes())
    return Authority.read(pair, DEFAULT_TRUST_DOMAIN)
