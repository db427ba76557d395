"""Calls are dealt out among all servers behind a name, and go on when one of them is gone."""

import asyncio
import ipaddress
import struct

import grpc
import pytest

from services.cli.stack.ports import free_port
from services.cli.stack.trust import wall_now
from services.runtime.client import connect
from services.runtime.server import Served, build_server
from services.runtime.settings import Settings
from tests.fakes.trust import declare, trust

NAME = "spread.test"
ADDRESSES = ("127.0.0.2", "127.0.0.3")
METHOD = "/test.v1.Spread/Say"


class Names(asyncio.DatagramProtocol):
    """A name server (RFC 1035) that knows the addresses of one name, as a cluster's does of a Service."""

    def connection_made(self, transport):
        self.transport = transport

    def datagram_received(self, query, caller):
        end = query.index(b"\0", 12) + 5
        (kind,) = struct.unpack("!H", query[end - 4 : end - 2])
        found = ADDRESSES if kind == 1 else ()  # IPv4 only
        head = query[:2] + struct.pack("!HHHHH", 0x8180, 1, len(found), 0, 0)
        records = (
            b"\xc0\x0c" + struct.pack("!HHIH", 1, 1, 1, 4) + ipaddress.ip_address(address).packed
            for address in found
        )
        self.transport.sendto(head + query[12:end] + b"".join(records), caller)


@pytest.fixture
async def names():
    """Where the name server listens."""
    loop = asyncio.get_running_loop()
    transport, _ = await loop.create_datagram_endpoint(Names, local_addr=("127.0.0.1", 0))
    yield "{}:{}".format(*transport.get_extra_info("sockname"))
    transport.close()


@pytest.fixture
async def servers(tmp_path):
    """Two servers under one name on one port; each answers with its own address."""
    declare("test.v1.Spread", ("Say",))
    pair = trust().authority.issue("spread", wall_now(), hosts=(NAME,))
    (tmp_path / "tls.crt").write_bytes(pair.certificate)
    (tmp_path / "tls.key").write_bytes(pair.key)
    files = {"tls_cert_file": str(tmp_path / "tls.crt"), "tls_key_file": str(tmp_path / "tls.key")}
    port = free_port()
    servers = []
    for address in ADDRESSES:

        async def say(request, context, own=address):
            del request, context
            return own.encode()

        handlers = {"Say": grpc.unary_unary_rpc_method_handler(say)}
        handler = grpc.method_handlers_generic_handler("test.v1.Spread", handlers)
        served = Served("test.v1.Spread", lambda server, own=handler: server.add_generic_rpc_handlers((own,)))
        settings = trust().settings() | files | {"token_listen": f"{address}:{port}"}
        server = build_server(Settings(service="test", **settings), [served], {})
        await server.start()
        servers.append(server)
    yield port, servers
    for server in servers:
        await server.stop(0)


async def test_each_server_gets_its_share_and_one_is_enough(names, servers):
    port, running = servers
    async with connect(f"dns://{names}/{NAME}:{port}", trust().token()) as grpc_channel:
        say = grpc_channel.unary_unary(METHOD)

        async def heard(calls):
            return [(await say(b"")).decode() for _ in range(calls)]

        async with asyncio.timeout(20):
            while set(await heard(2)) != set(ADDRESSES):
                pass  # the second connection is still being made
        among = await heard(20)
        assert [among.count(address) for address in ADDRESSES] == [10, 10]
        await running[0].stop(0)
        assert set(await heard(10)) == {ADDRESSES[1]}
