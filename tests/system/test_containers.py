"""The image, built from a local base, and all parts in containers as the dev overlay says: messages arrive.

Skipped, with the reason, where no container engine runs or no base image can be had.
"""

import asyncio
import datetime as dt
import json
import ssl
import uuid
from copy import deepcopy
from types import SimpleNamespace
from urllib.error import URLError
from urllib.request import urlopen

import grpc
import pytest
from grpc_health.v1 import health_pb2, health_pb2_grpc
from rapport.decision.v1.rule_set_pb2_grpc import RuleSetServiceStub
from rapport.operations.v1.operations_pb2_grpc import OperationsServiceStub
from rapport.profile.v1.profile_pb2_grpc import ProfileServiceStub

from k8s.check.kustomize import render
from k8s.check.manifests import name_of, of_kind, pod_spec
from k8s.check.references import listed_secrets
from k8s.images import CHECKOUT, ImageError, build, engine
from k8s.secrets import made
from services.cli.commands.rules import activate_files
from services.cli.feed import FeedReport, advance, feed, read_events
from services.cli.quiet import wait_quiet
from services.cli.stack.authority import Authority
from services.cli.stack.issuer import Issuer
from services.cli.stack.trust import wall_now
from services.runtime.access_policy import all_scopes
from services.runtime.client import TokenFiles, connect
from services.runtime.settings import DEFAULT_TRUST_DOMAIN
from tests.system.conftest import RULE_SETS, START, lines, new_number, person, until, used
from tests.system.containers import bases
from tests.system.containers.pods import Pods

pytestmark = pytest.mark.timeout(1800)  # the first time bases are made and packages fetched
OVERLAY = CHECKOUT / "k8s/overlays/dev"
IMAGE = "rapport:test"
SERVICES = ("profile", "decision", "channel")
ROLES = tuple(f"{service}-{role}" for service in SERVICES for role in ("server", "worker"))
CUSTOMERS = 20
LOCAL = ("localhost", "127.0.0.1")
HOUR = dt.timedelta(hours=1)
NOON = START + 10 * HOUR  # by day, when messages are sent


@pytest.fixture(scope="module")
def client():
    try:
        client = engine()
    except ImageError as error:
        pytest.skip(str(error))
    yield client
    client.close()


@pytest.fixture(scope="module")
def image(client, pytestconfig):
    """The image of all services."""
    told = bases.bases(client)
    local = told["BASE"] == bases.RUNTIME
    wheels = bases.wheels(pytestconfig.cache.mkdir("rapport-wheels")) if local else None
    before = client.images.list(IMAGE)
    build(client, IMAGE, bases=told, wheels=wheels)
    for old in before:
        if old.id != client.images.get(IMAGE).id:
            client.images.remove(old.id)
    return IMAGE


@pytest.fixture(scope="module")
def pods(client, image, tmp_path_factory):
    folder = tmp_path_factory.mktemp("containers")
    issuer = Issuer.make()
    authority = Authority.make(DEFAULT_TRUST_DOMAIN, wall_now())
    manifests = deepcopy(render(OVERLAY))
    (told,) = (m for m in of_kind(manifests, "ConfigMap") if name_of(m).startswith("rapport-settings-"))
    told["data"]["RAPPORT_RELEASE"] = "alone"  # this test is everybody
    told["data"]["RAPPORT_CLOCK"] = "events"  # else the hour of the day would decide what is sent
    secrets = {
        name_of(found): {key: text.encode() for key, text in found["stringData"].items()}
        for found in made(listed_secrets(OVERLAY), {"rapport-jwks": issuer.key_set()})
    }
    for certificate in of_kind(manifests, "Certificate"):
        spec = certificate["spec"]
        if spec.get("isCA"):
            continue
        pair = authority.issue(name_of(certificate), wall_now(), hosts=(*spec["dnsNames"], *LOCAL))
        secrets[spec["secretName"]] = {
            "tls.crt": pair.certificate,
            "tls.key": pair.key,
            "ca.crt": authority.pair().certificate,
        }
    (folder / "ca.crt").write_bytes(authority.pair().certificate)
    (folder / "token").write_text(issuer.sign("tester", all_scopes(), wall_now(), lasts=HOUR))
    for part in ("tls.crt", "tls.key"):
        (folder / part).write_bytes(secrets["channel-tls"][part])
    servers = bases.servers(client)
    pods = Pods(
        client,
        manifests,
        secrets,
        folder,
        f"rapport-{uuid.uuid4().hex[:8]}",
        {"rapport": image, "nats": servers, "postgres": servers},
    )
    try:
        start(pods)
        yield pods
    finally:
        pods.remove()


def start(pods):
    """Everything at once: each waits for what it needs."""
    for role in ROLES:
        publish = (8086, 9443, 8444) if role.endswith("server") else (8086, 9443)
        pods.run(role, publish=publish)
    pods.run("smsc")
    for number in range(3):
        pods.run("nats", number=number, program=["nats-server"])
    pods.run("postgres", program=["run-postgres"])
    for service in SERVICES:
        migrate(pods, service)
    for role in ROLES:
        until(lambda role=role: serves(pods, role, "ready"), seconds=180)


def migrate(pods, service):
    """As a Job does: again, until it succeeds."""
    job = pods.run(f"migrate-{service}")

    def done():
        job.reload()
        return job.attrs["State"]["Status"] == "exited" and job.attrs["State"]["ExitCode"] == 0

    until(done, seconds=120)


def serves(pods, role, name):
    """The probe of a role."""
    with grpc.insecure_channel(f"127.0.0.1:{pods.port(f'{role}-0', 8086)}") as grpc_channel:
        try:
            answer = health_pb2_grpc.HealthStub(grpc_channel).Check(
                health_pb2.HealthCheckRequest(service=name), timeout=2
            )
        except grpc.RpcError:
            return False
    return answer.status == health_pb2.HealthCheckResponse.SERVING


def received(pods):
    """What the simulated SMSC got."""
    done = pods.containers["smsc-0"].exec_run(["cat", "/tmp/received.ndjson"])
    assert done.exit_code == 0, done.output
    return [json.loads(line) for line in done.output.splitlines()]


async def send(pods, events):
    """Makes the shipped rule sets live, feeds events, and waits until all has gone down the road."""
    us = TokenFiles(pods.folder / "token", pods.folder / "ca.crt")
    targets = [f"localhost:{pods.port(f'{service}-server-0', 8444)}" for service in SERVICES]
    async with (
        connect(targets[0], us, deadline_seconds=30) as profile,
        connect(targets[1], us, deadline_seconds=60) as decision,
        connect(targets[2], us, deadline_seconds=30) as channel,
    ):
        stubs = SimpleNamespace(
            profile=ProfileServiceStub(profile),
            rule_sets=RuleSetServiceStub(decision),
            operations={
                name: OperationsServiceStub(way)
                for name, way in zip(SERVICES, (profile, decision, channel), strict=True)
            },
        )
        await advance(stubs, int(NOON.timestamp() * 1_000_000))
        await activate_files(stubs, RULE_SETS, say=lambda _line: None)
        report = FeedReport()
        await feed(stubs, read_events(events.splitlines(keepends=True), report), report, stream_id="c")
        await wait_quiet(stubs, receipts=True)
    return report


def test_the_image_holds_no_compiler_and_no_installer(client, image):
    look = "for p in cc gcc ld make pip pip3; do command -v $p; done; id -u; python -V"
    said = client.containers.run(image, ["-c", look], entrypoint="sh", remove=True).decode().split()
    assert said[0] == "10001"
    assert said[1] == "Python"


def test_messages_arrive(pods):
    numbers = [new_number() for _ in range(CUSTOMERS)]
    events = []
    for number in numbers:
        subject = f"msisdn:{number}"
        events += [*person(NOON, subject, plan_data_mb=1000), used(NOON + HOUR, subject, 600)]
    report = asyncio.run(send(pods, lines(events)))
    assert (report.accepted, report.rejections) == (len(events), [])
    got = received(pods)
    assert sorted(entry["destination"] for entry in got) == sorted(number.lstrip("+") for number in numbers)
    assert all("half" in entry["message"] for entry in got)


def test_metrics_are_told_to_a_certificate_alone(pods):
    trusting = ssl.create_default_context(cafile=pods.folder / "ca.crt")
    url = f"https://localhost:{pods.port('channel-worker-0', 9443)}/metrics"
    with pytest.raises((ssl.SSLError, URLError, ConnectionError)):
        urlopen(url, context=trusting, timeout=20)
    trusting.load_cert_chain(pods.folder / "tls.crt", pods.folder / "tls.key")
    with urlopen(url, context=trusting, timeout=20) as answer:
        told = answer.read().decode()
    assert 'rapport_ready{role="worker",service="channel"} 1.0' in told


def test_the_roles_end_in_their_grace_and_come_back(pods):
    for role in ROLES:
        assert serves(pods, role, "live")
        grace = pod_spec(pods.workload(role))["terminationGracePeriodSeconds"]
        container = pods.containers[f"{role}-0"]
        container.stop(timeout=grace)
        container.reload()
        state = container.attrs["State"]
        assert (state["ExitCode"], state["OOMKilled"]) == (0, False), pods.log(f"{role}-0")[-2000:]
        assert "Read-only file system" not in pods.log(f"{role}-0")
        container.start()
    for role in ROLES:
        until(lambda role=role: serves(pods, role, "ready"), seconds=120)
