"""Ports of this machine's loopback address."""

import errno
import fcntl
import os
import random
import socket
import tempfile
from pathlib import Path

from services.cli.stack.errors import StackError

LOOPBACK = "127.0.0.1"


# Below the range from which the system takes ports for outgoing connections: else, while a server of ours
# is down, such a connection can take its port, or a client that tries again can even connect to itself.
_OURS = range(20_000, 30_000)
_claims: dict[int, int] = {}
"""Descriptors of the locks that we hold, by port."""


def free_port() -> int:
    """A port on which nothing listens at this moment; ours until this process ends."""
    for port in random.sample(_OURS, len(_OURS)):
        if not is_taken(port) and claim(port):
            return port
    raise StackError(f"All ports from {_OURS.start} to {_OURS.stop - 1} on {LOOPBACK} are taken.")


def claim(port: int) -> bool:
    """Whether the port may be ours: no other process of this user that still lives has chosen it before.

    Between choosing a port and listening on it there are seconds, in which another stack may choose too.
    """
    folder = Path(tempfile.gettempdir()) / f"rapport-ports-{os.getuid()}"
    try:
        folder.mkdir(mode=0o700, exist_ok=True)
        descriptor = os.open(folder / str(port), os.O_RDWR | os.O_CREAT | os.O_NOFOLLOW, 0o600)
    except OSError:  # nobody can be told, so nobody can be asked
        return True
    try:
        fcntl.flock(descriptor, fcntl.LOCK_EX | fcntl.LOCK_NB)
    except BlockingIOError:
        os.close(descriptor)
        return False
    _claims[port] = descriptor
    return True


def is_taken(port: int) -> bool:
    """Whether another program holds this port."""
    with socket.socket(socket.AF_INET, socket.SOCK_STREAM) as probe:
        probe.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
        try:
            probe.bind((LOOPBACK, port))
        except OSError as error:
            if error.errno in {errno.EADDRINUSE, errno.EACCES}:
                return True
            raise
    return False


def listens(port: int) -> bool:
    """Whether a program takes connections on this port."""
    try:
        with socket.create_connection((LOOPBACK, port), timeout=1):
            return True
    except OSError:
        return False
