"""Which parts of a local stack have no room left on their disks."""

import os
from pathlib import Path

from services.cli.stack.state import Stack

_ROOM = 16 << 20
"""Bytes below which a disk counts as full: PostgreSQL and NATS grow by files of about this size."""


def full_disks(stack: Stack) -> list[str]:
    """A sentence for each part that cannot write any more or soon will not, with what to do."""
    return [
        f"the disk of {part} is full: free space in {home} or give it more, then it goes on by itself"
        for part, home in (("PostgreSQL", stack.database_home), ("NATS", stack.layout.nats))
        if home.exists() and free_bytes(home) < _ROOM
    ]


def free_bytes(folder: Path) -> int:
    """What is left for us on the disk of this folder."""
    space = os.statvfs(folder)
    return space.f_bavail * space.f_frsize
