"""A real server and real callers: renewed certificates, tokens that end, callers that ask too often."""

import asyncio
import contextlib
import datetime as dt
import json
import ssl
import threading
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path

import grpc
import pytest
from grpc_health.v1 import health_pb2, health_pb2_grpc
from grpc_reflection.v1alpha import reflection_pb2, reflection_pb2_grpc

from services.cli.stack.authority import Authority
from services.cli.stack.issuer import Issuer
from services.cli.stack.trust import wall_now
from services.runtime.caller import current_caller
from services.runtime.client import TokenFiles, connect
from services.runtime.credentials import CertificateFiles, KeptCertificate, certificate_expiry
from services.runtime.errors import SettingError
from services.runtime.server import Served, Server, build_server
from services.runtime.settings import Settings
from services.runtime.status import read_failure
from services.runtime.tokens import LEEWAY_SECONDS
from tests.fakes.hand_clock import HandClock
from tests.fakes.trust import TEST_SCOPE, declare, trust

POLICY = """\
callers:
  tester: {scopes: [], calls_per_second: 1000}
tokens: {calls_per_second: 5, burst: 5, streams: 2}
"""


async def who(request, context):
    """Says who asks."""
    del request, context
    return current_caller().name.encode()


async def whoever(requests, context):
    """Says it again for every message."""
    del context
    async for _ in requests:
        yield current_caller().name.encode()


async def silent(request, context):
    """Says one thing, then nothing."""
    del request, context
    yield b"first"
    await asyncio.Event().wait()


declare("test.v1.Asked", ("Who", "Whoever", "Silent"))
declare("test.v1.Forgotten", ("Who",), scope="")


def served(name: str) -> Served:
    handlers = {
        "Who": grpc.unary_unary_rpc_method_handler(who),
        "Whoever": grpc.stream_stream_rpc_method_handler(whoever),
        "Silent": grpc.unary_stream_rpc_method_handler(silent),
    }
    return Served(
        name,
        lambda server: server.add_generic_rpc_handlers(
            (grpc.method_handlers_generic_handler(name, handlers),)
        ),
    )


@pytest.fixture
def rules(tmp_path: Path) -> Path:
    (tmp_path / "policies").mkdir()
    (tmp_path / "policies" / "access.yaml").write_text(POLICY)
    return tmp_path


@asynccontextmanager
async def running(rules: Path, clock: HandClock | None = None, **settings) -> AsyncIterator[Server]:
    told = trust().settings() | {"rules_folder": rules} | settings
    server = build_server(
        Settings(service="test", **told), [served("test.v1.Asked"), served("test.v1.Forgotten")], {}, clock
    )
    await server.start()
    try:
        yield server
    finally:
        await server.stop(0)


async def ask(channel: grpc.aio.Channel, method: str = "/test.v1.Asked/Who") -> str:
    return (await channel.unary_unary(method)(b"")).decode()


async def test_the_handler_knows_who_asks(rules: Path):
    async with running(rules) as server, connect(server.token_address, trust().token(subject="anna")) as anna:
        assert await ask(anna) == "rapport-local#anna"
        call = anna.stream_stream("/test.v1.Asked/Whoever")(iter([b"", b""]))
        assert [answer async for answer in call] == [b"rapport-local#anna"] * 2
    assert current_caller().name == "system"


async def test_a_certificate_names_its_caller_and_a_token_goes_before_it(rules: Path):
    certificate = trust().certificate("tester")
    token = trust().token(subject="anna").token.read_text()
    async with running(rules) as server, connect(server.address, certificate) as channel:
        with pytest.raises(grpc.aio.AioRpcError) as raised:
            await ask(channel)
        assert read_failure(raised.value).metadata["scope"] == TEST_SCOPE  # known, but without scopes
        on_behalf = channel.unary_unary("/test.v1.Asked/Who")
        bearer = (("authorization", f"Bearer {token}"),)
        assert await on_behalf(b"", metadata=bearer) == b"rapport-local#anna"


async def test_a_method_without_a_scope_is_refused_to_everybody(rules: Path):
    async with running(rules) as server, trust().connect(server.token_address) as channel:
        with pytest.raises(grpc.aio.AioRpcError) as raised:
            await ask(channel, "/test.v1.Forgotten/Who")
        failure = read_failure(raised.value)
        assert (failure.status, failure.reason) == (grpc.StatusCode.PERMISSION_DENIED, "SCOPE_MISSING")
        assert "nobody" in failure.message


async def test_health_needs_no_credentials(rules: Path):
    authority = trust().token().authority.read_bytes()
    async with running(rules) as server:
        credentials = grpc.ssl_channel_credentials(authority)
        async with grpc.aio.secure_channel(server.token_address, credentials) as channel:
            health = health_pb2_grpc.HealthStub(channel)
            answer = await health.Check(health_pb2.HealthCheckRequest())
            assert answer.status == health_pb2.HealthCheckResponse.SERVING


async def test_nothing_is_served_without_tls(rules: Path):
    async with running(rules) as server:
        for address in (server.address, server.token_address):
            async with grpc.aio.insecure_channel(address) as channel:
                with pytest.raises(grpc.aio.AioRpcError) as raised:
                    await health_pb2_grpc.HealthStub(channel).Check(health_pb2.HealthCheckRequest())
                assert raised.value.code() is grpc.StatusCode.UNAVAILABLE


async def test_keys_come_over_https_from_whom_our_authority_knows(rules: Path, own: CertificateFiles):
    """A real web server with a certificate of ours; one of a foreign authority is not believed."""

    class Keys(BaseHTTPRequestHandler):
        def do_GET(self):
            self.send_response(200)
            self.end_headers()
            self.wfile.write(trust().issuer.key_set().encode())

        def log_message(self, *_arguments):
            """Tests are quiet."""

    foreign = Authority.make("rapport.local", wall_now()).issue("x", wall_now(), hosts=("127.0.0.1",))
    for chain, key, expected in (
        (own.chain.read_bytes(), own.key.read_bytes(), "rapport-local#tester"),
        (foreign.certificate, foreign.key, grpc.StatusCode.UNAVAILABLE),
    ):
        own.chain.write_bytes(chain)
        own.key.write_bytes(key)
        context = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
        context.load_cert_chain(own.chain, own.key)
        web = ThreadingHTTPServer(("127.0.0.1", 0), Keys)
        web.socket = context.wrap_socket(web.socket, server_side=True)
        thread = threading.Thread(target=web.serve_forever, kwargs={"poll_interval": 0.01})
        thread.start()
        try:
            location = f"https://127.0.0.1:{web.server_port}/jwks"
            async with (
                running(rules, jwks=location) as server,
                trust().connect(server.token_address) as channel,
            ):
                if isinstance(expected, str):
                    assert await ask(channel) == expected
                else:
                    with pytest.raises(grpc.aio.AioRpcError) as raised:
                        await ask(channel)
                    assert raised.value.code() is expected
                    assert "keys" in (raised.value.details() or "")
        finally:
            web.shutdown()
            thread.join()
            web.server_close()


@pytest.mark.parametrize("missing", ["tls_cert_file", "tls_key_file", "tls_ca_file"])
async def test_a_server_without_a_certificate_does_not_start(rules: Path, missing: str):
    with pytest.raises(SettingError) as raised:
        async with running(rules, **{missing: ""}):
            pass
    assert raised.value.field == f"RAPPORT_{missing.upper()}"


async def test_a_caller_that_asks_too_often_is_told_when_to_come_back(rules: Path):
    clock = HandClock(wall_now().timestamp())
    async with (
        running(rules, clock) as server,
        connect(server.token_address, trust().token(subject="anna")) as anna,
        connect(server.token_address, trust().token(subject="ben")) as ben,
    ):
        for _ in range(5):
            await ask(anna)
        with pytest.raises(grpc.aio.AioRpcError) as raised:
            await ask(anna)
        failure = read_failure(raised.value)
        assert (failure.status, failure.reason) == (grpc.StatusCode.RESOURCE_EXHAUSTED, "TOO_MANY_CALLS")
        assert failure.retry_seconds == pytest.approx(0.2, abs=0.001)
        await ask(ben)
        clock.pass_by(0.21)
        await ask(anna)


async def test_a_stream_ends_when_its_token_does(rules: Path):
    clock = HandClock(int(wall_now().timestamp()))
    token = trust().token()
    clock.pass_by(3600 + LEEWAY_SECONDS - 0.5)  # shortly before the token's end it stands still
    async with running(rules, clock) as server, connect(server.token_address, token) as channel:
        answers = aiter(channel.unary_stream("/test.v1.Asked/Silent")(b""))
        assert await anext(answers) == b"first"
        with pytest.raises(grpc.aio.AioRpcError) as raised:
            async with asyncio.timeout(10):
                await anext(answers)
    failure = read_failure(raised.value)
    assert failure.status is grpc.StatusCode.UNAUTHENTICATED
    assert "ended" in failure.message


async def test_a_caller_holds_so_many_streams_and_no_more(rules: Path):
    clock = HandClock(wall_now().timestamp())
    async with running(rules, clock) as server, trust().connect(server.token_address) as channel:
        method = channel.unary_stream("/test.v1.Asked/Silent")
        held = [method(b""), method(b"")]
        for call in held:
            assert await call.read() == b"first"
        with pytest.raises(grpc.aio.AioRpcError) as raised:
            await method(b"").read()
        failure = read_failure(raised.value)
        assert (failure.status, failure.reason) == (grpc.StatusCode.RESOURCE_EXHAUSTED, "TOO_MANY_CALLS")
        assert failure.retry_seconds == 1
        held[0].cancel()
        async with asyncio.timeout(10):
            answer = None
            while answer is None:
                clock.pass_by(1)
                held.append(method(b""))
                with contextlib.suppress(grpc.aio.AioRpcError):
                    answer = await held[-1].read()
        for call in held:
            call.cancel()


async def test_all_callers_together_have_so_many_calls_and_no_more(
    rules: Path, monkeypatch: pytest.MonkeyPatch
):
    monkeypatch.setattr("services.runtime.server.MAX_CALLS", 1)
    async with running(rules) as server, trust().connect(server.token_address) as channel:
        held = channel.unary_stream("/test.v1.Asked/Silent")(b"")
        await held.read()
        with pytest.raises(grpc.aio.AioRpcError) as raised:
            await ask(channel)
        assert raised.value.code() is grpc.StatusCode.RESOURCE_EXHAUSTED
        held.cancel()


async def test_a_connection_is_made_anew_now_and_then_and_no_call_is_lost(
    rules: Path, monkeypatch: pytest.MonkeyPatch
):
    monkeypatch.setattr("services.runtime.server.CONNECTION_SECONDS", 0.2)
    clock = HandClock(wall_now().timestamp())
    from_ports = set()

    async def port(request, context):
        del request
        clock.pass_by(1)
        from_ports.add(context.peer())
        return b""

    asked = Served(
        "test.v1.Asked",
        lambda server: server.add_generic_rpc_handlers(
            (
                grpc.method_handlers_generic_handler(
                    "test.v1.Asked", {"Who": grpc.unary_unary_rpc_method_handler(port)}
                ),
            )
        ),
    )
    told = trust().settings() | {"rules_folder": rules}
    server = build_server(Settings(service="test", **told), [asked], {}, clock)
    await server.start()
    try:
        async with trust().connect(server.token_address) as channel, asyncio.timeout(20):
            while len(from_ports) < 3:
                await ask(channel)
    finally:
        await server.stop(0)


async def test_a_token_renewed_in_its_file_is_the_one_that_is_sent(
    rules: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
):
    monkeypatch.setattr("services.runtime.client._LOOK_SECONDS", 0.0)
    first = trust().token(subject="first")
    own = TokenFiles(tmp_path / "own.token", first.authority)
    own.token.write_bytes(first.token.read_bytes())
    async with running(rules) as server, connect(server.token_address, own) as channel:
        assert await ask(channel) == "rapport-local#first"
        own.token.write_bytes(trust().token(subject="second").token.read_bytes())
        assert await ask(channel) == "rapport-local#second"


def copy(files: CertificateFiles, to: CertificateFiles) -> None:
    to.chain.write_bytes(files.chain.read_bytes())
    to.key.write_bytes(files.key.read_bytes())
    to.authority.write_bytes(files.authority.read_bytes())


@pytest.fixture
def own(tmp_path: Path) -> CertificateFiles:
    """A certificate in files of the test's own."""
    files = CertificateFiles(tmp_path / "own.crt", tmp_path / "own.key", tmp_path / "own-ca.crt")
    copy(trust().certificate("tester"), files)
    return files


async def shown_by(address: str) -> bytes:
    """The certificate that a server shows to a new connection."""
    host, _, port = address.rpartition(":")
    return (await asyncio.to_thread(ssl.get_server_certificate, (host, int(port)))).encode()


async def test_a_server_shows_a_renewed_certificate_without_a_restart(rules: Path, own: CertificateFiles):
    told = {"tls_cert_file": str(own.chain), "tls_key_file": str(own.key), "tls_ca_file": str(own.authority)}
    async with running(rules, **told) as server:
        first = await shown_by(server.token_address)
        assert first.split() == own.chain.read_bytes().split()
        renewed = trust().certificate("tester")
        own.chain.write_bytes(renewed.chain.read_bytes())
        assert await shown_by(server.token_address) == first  # its key is not there yet
        own.key.write_bytes(renewed.key.read_bytes())
        assert (await shown_by(server.token_address)).split() == renewed.chain.read_bytes().split()
        async with trust().connect(server.token_address) as channel:
            await ask(channel)


async def test_a_client_shows_a_renewed_certificate_while_calls_run(
    rules: Path, own: CertificateFiles, monkeypatch: pytest.MonkeyPatch
):
    monkeypatch.setattr("services.runtime.client._LOOK_SECONDS", 0.0)

    async def refused(channel: grpc.aio.Channel) -> str:
        with pytest.raises(grpc.aio.AioRpcError) as raised:
            await ask(channel)
        return read_failure(raised.value).reason

    async with running(rules) as server, connect(server.address, own) as channel:
        assert await refused(channel) == "SCOPE_MISSING"
        running_call = reflection_pb2_grpc.ServerReflectionStub(channel).ServerReflectionInfo()
        question = reflection_pb2.ServerReflectionRequest(list_services="")
        await running_call.write(question)
        await running_call.read()
        copy(trust().certificate("stranger"), own)
        assert await refused(channel) == "UNAUTHENTICATED"
        copy(trust().certificate("tester"), own)
        assert await refused(channel) == "SCOPE_MISSING"
        await running_call.write(question)  # what ran goes on, on its old connection
        assert (await running_call.read()).HasField("list_services_response")
        await running_call.done_writing()


async def test_an_authority_changes_in_two_steps(rules: Path, own: CertificateFiles):
    """First both are trusted, then certificates are of the new one."""
    new = Authority.make("rapport.local", wall_now())
    both = own.authority.read_bytes() + new.pair().certificate
    of_new = new.issue("tester", wall_now(), hosts=("127.0.0.1",))
    told = {"tls_cert_file": str(own.chain), "tls_key_file": str(own.key), "tls_ca_file": str(own.authority)}
    caller = trust().certificate("tester")
    caller.chain.write_bytes(of_new.certificate)
    caller.key.write_bytes(of_new.key)

    async def refused() -> str:
        async with connect(server.address, caller, deadline_seconds=5) as channel:
            with pytest.raises(grpc.aio.AioRpcError) as raised:
                await ask(channel)
        return read_failure(raised.value).reason

    async with running(rules, **told) as server:
        assert await refused() == ""  # no connection
        own.authority.write_bytes(both)
        assert await refused() == "SCOPE_MISSING"


def test_files_that_do_not_fit_are_told(own: CertificateFiles):
    own.key.write_bytes(trust().certificate("other").key.read_bytes())
    with pytest.raises(SettingError, match=r"own\.key is not the key of own\.crt"):
        own.read()
    own.key.write_text("no key")
    with pytest.raises(SettingError, match="PEM"):
        KeptCertificate(own)
    own.key.unlink()
    with pytest.raises(SettingError, match=r"own\.key cannot be read"):
        own.read()


def test_the_end_of_a_certificate_is_known(own: CertificateFiles):
    left = certificate_expiry(own.chain) - wall_now()
    assert dt.timedelta(hours=23) < left <= dt.timedelta(days=1)


async def test_a_token_that_cannot_be_read_is_told(tmp_path: Path):
    with pytest.raises(SettingError, match=r"none\.token cannot be read"):
        connect("127.0.0.1:1", TokenFiles(tmp_path / "none.token", trust().token().authority))


async def test_tokens_of_a_key_added_later_are_taken(rules: Path, tmp_path: Path):
    clock = HandClock(wall_now().timestamp())
    jwks = tmp_path / "jwks.json"
    jwks.write_text(trust().issuer.key_set())
    new = Issuer.make()
    async with (
        running(rules, clock, jwks=str(jwks)) as server,
        connect(server.token_address, trust().token(issuer=new)) as channel,
    ):
        with pytest.raises(grpc.aio.AioRpcError) as raised:
            await ask(channel)
        assert "kid" in (raised.value.details() or "")
        keys = [json.loads(issuer.key_set())["keys"][0] for issuer in (trust().issuer, new)]
        jwks.write_text(json.dumps({"keys": keys}))
        clock.pass_by(1)
        assert await ask(channel) == "rapport-local#tester"
