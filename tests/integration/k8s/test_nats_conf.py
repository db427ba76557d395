"""Three real servers with the cluster's own configuration: TLS, users, rights, streams on all three."""

import asyncio
import signal
import subprocess

import pytest
from nats.errors import Error as NatsError
from nats.js.errors import NoStreamResponseError

from services.cli.stack.authority import Authority
from services.cli.stack.layout import CHECKOUT
from services.cli.stack.nats import NatsServer
from services.cli.stack.ports import free_port
from services.cli.stack.trust import wall_now
from services.runtime.errors import SettingError, UnavailableError
from services.runtime.settings import Settings
from services.runtime.streams import ACTIONS, EVENTS, OUTCOMES, Message, connect_bus, ensure_streams
from tests.fakes.trust import trust

PARTITIONS = 2
USERS = ("profile", "decision", "channel")


class Cluster:
    """nats-0, nats-1 and nats-2 on this machine, each with ports and folders of its own."""

    def __init__(self, folder):
        self.folder = folder
        self.files = trust().certificate("nats")
        self.ports = [free_port() for _ in range(3)]
        routes, probes = [free_port() for _ in range(3)], [free_port() for _ in range(3)]
        (folder / "nats-users").mkdir()
        lines = [f'{user.upper()}_PASSWORD: "{user}-password"\n' for user in USERS]
        (folder / "nats-users/passwords.conf").write_text("".join(lines))
        text = (CHECKOUT / "k8s/base/nats.conf").read_text()
        self.configurations = []
        for number in range(3):
            home = folder / f"nats-{number}"
            home.mkdir()
            own = text
            # only where things are differs from a pod
            for there, here in (
                ("0.0.0.0:4222", f"127.0.0.1:{self.ports[number]}"),
                ("0.0.0.0:6222", f"127.0.0.1:{routes[number]}"),
                ("127.0.0.1:8222", f"127.0.0.1:{probes[number]}"),
                *((f"nats-{n}.nats-routes:6222", f"localhost:{routes[n]}") for n in range(3)),
                ("/etc/nats-tls/tls.crt", str(self.files.chain)),
                ("/etc/nats-tls/tls.key", str(self.files.key)),
                ("/etc/nats-tls/ca.crt", str(self.files.authority)),
                ("store_dir: /data", f'store_dir: "{home}"'),
            ):
                assert there in own
                own = own.replace(there, here)
            (home / "nats.conf").write_text(own)
            self.configurations.append(home / "nats.conf")
        self.processes = [self.start(number) for number in range(3)]

    def start(self, number):
        home = self.folder / f"nats-{number}"
        program = NatsServer(home, password_file=home / "unused", log=home / "log").command()[0]
        with (home / "log").open("ab") as log:
            return subprocess.Popen(
                [program, "--config", str(self.configurations[number])],
                env={"POD_NAME": f"nats-{number}"},
                stdout=log,
                stderr=log,
            )

    def log(self, number):
        return (self.folder / f"nats-{number}" / "log").read_text()

    def settings(self, user="profile", server=0, **others):
        told = {
            "nats_url": f"tls://localhost:{self.ports[server]}",
            "nats_user": user,
            "nats_password": f"{user}-password",
            "nats_ca_file": str(self.files.authority),
        }
        return Settings(service=user, **{**told, **others})


@pytest.fixture(scope="module")
def cluster(tmp_path_factory):
    cluster = Cluster(tmp_path_factory.mktemp("cluster"))
    yield cluster
    for process in cluster.processes:
        process.kill()
        process.wait()


async def connected(cluster, user="profile", server=0):
    """A connection to the cluster once it has a leader, with streams."""
    bus = await connect_bus(cluster.settings(user, server))
    async with asyncio.timeout(60):
        while True:
            try:
                await ensure_streams(bus.jetstream, partitions=PARTITIONS, max_bytes=1 << 20, replicas=3)
            except (NatsError, TimeoutError):
                await asyncio.sleep(0.2)  # no leader yet
            else:
                return bus


async def test_streams_are_kept_on_all_three_and_outlive_one(cluster):
    bus = await connected(cluster)
    try:
        for stream in (EVENTS, ACTIONS, OUTCOMES):
            info = await bus.jetstream.stream_info(stream)
            assert info.config.num_replicas == 3
            assert len(info.cluster.replicas) == 2
            consumer = await bus.jetstream.consumer_info(stream, "p0")
            assert len(consumer.cluster.replicas) == 2
        await bus.jetstream.publish_batch(
            [Message("rapport.events.0", b"%d" % n, {"Nats-Msg-Id": f"a{n}"}) for n in range(3)], seconds=10
        )
        info = await bus.jetstream.stream_info(EVENTS)
        before = info.state.messages
        leader = int(info.cluster.leader[-1])
        cluster.processes[leader].send_signal(signal.SIGKILL)
        cluster.processes[leader].wait()
        other = await connected(cluster, server=(leader + 1) % 3)
        try:
            async with asyncio.timeout(60):
                while True:
                    try:
                        await other.jetstream.publish_message(
                            Message("rapport.events.0", b"4", {"Nats-Msg-Id": "a4"}), seconds=5
                        )
                    except (NatsError, NoStreamResponseError, TimeoutError):
                        await asyncio.sleep(0.2)  # they choose another leader
                    else:
                        break
            assert (await other.jetstream.stream_info(EVENTS)).state.messages == before + 1
        finally:
            await other.close()
            cluster.processes[leader] = cluster.start(leader)
    finally:
        await bus.close()


async def complaint_about(cluster, user, subject):
    """What the server says to a user who publishes there; "" when it takes it."""
    said = []

    all_said = asyncio.Event()

    async def hear(error):
        if "refused.to.all" in str(error):
            all_said.set()
        else:
            said.append(str(error))

    bus = await connected(cluster, user)
    try:
        bus.nats._error_cb = hear
        await bus.nats.publish(subject, b"x")
        await bus.nats.publish("refused.to.all", b"x")  # answered after what was said before it
        async with asyncio.timeout(20):
            await all_said.wait()
        return "".join(said)
    finally:
        await bus.close()


@pytest.mark.parametrize(
    ("user", "own", "other"),
    [
        ("profile", "rapport.events.0", "rapport.actions.0"),
        ("decision", "rapport.actions.0", "rapport.events.0"),
        ("decision", "rapport.outcomes.0", "rapport.clock"),
        ("channel", "rapport.outcomes.0", "rapport.actions.0"),
        ("channel", "rapport.dead.0", "$JS.API.STREAM.DELETE.EVENTS"),
        ("profile", "rapport.clock", "$JS.API.STREAM.PURGE.EVENTS"),
    ],
)
async def test_a_service_publishes_where_its_road_leads_and_nowhere_else(cluster, user, own, other):
    assert await complaint_about(cluster, user, own) == ""
    assert "permissions violation" in (await complaint_about(cluster, user, other)).lower()


async def test_nobody_comes_in_without_the_password(cluster):
    with pytest.raises(UnavailableError):
        await connect_bus(cluster.settings(nats_password="another"), give_up_seconds=0)


async def test_nobody_comes_in_without_tls(cluster):
    await (await connected(cluster)).close()  # it listens
    reader, writer = await asyncio.open_connection("127.0.0.1", cluster.ports[0])
    writer.write(b'CONNECT {"user":"profile","pass":"profile-password"}\r\nPING\r\n')
    async with asyncio.timeout(20):
        assert b"PONG" not in await reader.read()
    writer.close()
    await writer.wait_closed()


async def test_a_server_of_another_authority_is_not_trusted(cluster, tmp_path):
    foreign = tmp_path / "ca.crt"
    foreign.write_bytes(Authority.make("other.local", wall_now()).pair().certificate)
    with pytest.raises(UnavailableError):
        await connect_bus(cluster.settings(nats_ca_file=str(foreign)), give_up_seconds=0)


async def test_a_server_without_tls_is_not_told_the_password(cluster):
    heard = bytearray()

    async def pretend(reader, writer):
        writer.write(b'INFO {"server_id":"x","version":"2.15.0","max_payload":1048576}\r\n')
        heard.extend(await reader.read(1000))
        writer.close()

    async with await asyncio.start_server(pretend, "127.0.0.1", 0) as server:
        port = server.sockets[0].getsockname()[1]
        with pytest.raises(UnavailableError):
            await connect_bus(cluster.settings(nats_url=f"tls://127.0.0.1:{port}"), give_up_seconds=0)
    assert heard.startswith(b"\x16\x03")  # it begins a TLS handshake
    assert b"password" not in heard


async def test_an_authority_that_cannot_be_read_is_named(cluster, tmp_path):
    (tmp_path / "ca.crt").write_text("none")
    for path in (tmp_path / "ca.crt", tmp_path / "nowhere"):
        with pytest.raises(SettingError) as caught:
            await connect_bus(cluster.settings(nats_ca_file=str(path)), give_up_seconds=0)
        assert caught.value.field == "RAPPORT_NATS_CA_FILE"
