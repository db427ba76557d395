"""Ports of this machine's loopback address."""

import errno
import random
import socket

from services.cli.stack.errors import StackError

LOOPBACK = "127.0.0.1"


# Below the range from which the system takes ports for outgoing connections: else, while a server of ours
# is down, such a connection can take its port, or a client that tries again can even connect to itself.
_OURS = range(20_000, 30_000)


def free_port() -> int:
    """A port on which nothing listens at this moment."""
    for port in random.sample(_OURS, len(_OURS)):
        if not is_taken(port):
            return port
    raise StackError(f"All ports from {_OURS.start} to {_OURS.stop - 1} on {LOOPBACK} are taken.")


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
