"""What strangers and broken clocks do to a server: rubbish, endless headers, certificates that ended."""

import asyncio
import contextlib
import os
import socket
import ssl

import grpc
import pytest

from services.cli.stack.trust import wall_now
from services.runtime.client import connect
from services.runtime.credentials import CertificateFiles, certificate_expiry
from tests.fakes.trust import trust
from tests.integration.runtime.conftest import until
from tests.integration.runtime.test_access import ask, rules, running

__all__ = ["rules"]
_PREFACE = b"PRI * HTTP/2.0\r\n\r\nSM\r\n\r\n"


@pytest.mark.parametrize("octets", [20_000, 1_000_000])
async def test_endless_headers_are_refused_and_nobody_else_notices(rules, octets):
    async with running(rules) as server, trust().connect(server.token_address) as channel:
        with pytest.raises(grpc.aio.AioRpcError) as raised:
            await channel.unary_unary("/test.v1.Asked/Who")(b"", metadata=(("x", "a" * octets),))
        assert raised.value.code() is grpc.StatusCode.RESOURCE_EXHAUSTED
        assert await ask(channel)


async def test_rubbish_on_the_wire_disturbs_nobody(rules):
    async with running(rules) as server, trust().connect(server.token_address) as channel:
        host, port = server.token_address.rsplit(":", 1)
        address = host, int(port)
        silent = [socket.create_connection(address) for _ in range(100)]
        try:
            for number, connection in enumerate(silent):
                if number % 3:
                    connection.sendall(os.urandom(300) if number % 3 == 1 else _PREFACE)
            await asyncio.to_thread(speak_nonsense, address)
            assert await ask(channel)
        finally:
            for connection in silent:
                connection.close()


def speak_nonsense(address):
    """Greets as TLS and HTTP/2 want it, then says what no frame is."""
    context = ssl.create_default_context(cafile=str(trust().folder / "ca.crt"))
    context.set_alpn_protocols(["h2"])
    for _ in range(5):
        with context.wrap_socket(socket.create_connection(address), server_hostname="localhost") as caller:
            caller.sendall(_PREFACE + os.urandom(500))
            with contextlib.suppress(OSError):
                caller.recv(1000)


async def test_a_certificate_that_ended_stops_new_connections_until_it_is_renewed(rules, tmp_path):
    files = CertificateFiles(tmp_path / "own.crt", tmp_path / "own.key", tmp_path / "ca.crt")

    def take(issued):
        for ours, theirs in zip(
            (files.key, files.chain, files.authority),
            (issued.key, issued.chain, issued.authority),
            strict=True,
        ):
            ours.write_bytes(theirs.read_bytes())

    async def answers(channel):
        with contextlib.suppress(grpc.aio.AioRpcError):
            return bool(await channel.unary_unary("/test.v1.Asked/Who")(b"", timeout=1))
        return False

    async def ended():
        return certificate_expiry(files.chain) < wall_now()

    take(trust().certificate("tester", days=2 / 86_400))
    settings = {
        "tls_cert_file": str(files.chain),
        "tls_key_file": str(files.key),
        "tls_ca_file": str(files.authority),
    }
    async with running(rules, **settings) as server, trust().connect(server.token_address) as before:
        assert await answers(before)
        await until(ended)
        assert await answers(before)  # who is connected stays so
        async with connect(server.token_address, trust().token(subject="late")) as late:
            assert not await answers(late)
            take(trust().certificate("tester"))
            await until(lambda: answers(late))
        assert await answers(before)
