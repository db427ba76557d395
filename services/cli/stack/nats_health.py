"""Asks a nats-server of this machine about its own health, as its system account's user."""

import json
import secrets
import socket
from pathlib import Path

from services.cli.stack.disks import free_bytes
from services.cli.stack.ports import LOOPBACK

_HEALTH = b"$SYS.REQ.SERVER.PING.HEALTHZ"
_SECONDS = 5.0
_ROOM = 16 << 20
"""Bytes that must be free before a server that ran out of space is started again."""


def server_complaint(port: int, user: str, password: str) -> str:
    """What the server itself finds wrong with it, for example a stream it cannot write; "": nothing.

    OSError or ValueError when it does not answer.
    """
    inbox = f"_INBOX.{secrets.token_hex(8)}".encode()
    with socket.create_connection((LOOPBACK, port), timeout=_SECONDS) as connection:
        stream = connection.makefile("rwb")
        stream.readline()  # INFO
        login = {"user": user, "pass": password, "verbose": False, "pedantic": False}
        stream.write(b"CONNECT " + json.dumps(login).encode() + b"\r\n")
        stream.write(b"SUB " + inbox + b" 1\r\nPUB " + _HEALTH + b" " + inbox + b" 0\r\n\r\n")
        stream.flush()
        while line := stream.readline():
            if line.startswith(b"MSG "):
                answer = json.loads(stream.read(int(line.split()[-1])))
                return str(answer.get("data", {}).get("error", ""))
            if line.startswith(b"-ERR"):
                raise ValueError(line.decode(errors="replace").strip())
    raise ValueError("the server closed the connection")


def stuck_for_want_of_space(complaint: str, home: Path) -> str:
    """Why a server must be started again: it could not write, and now could; "": it must not.

    A stream whose file could not be written takes nothing more, however much space there is, until the
    server is started again (so in nats-server 2.15).
    """
    if "write error" not in complaint:
        return ""
    if free_bytes(home) < _ROOM:
        return ""
    return f"it could not write to {home} and stays so until it is started again"
