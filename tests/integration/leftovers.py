"""Folders and servers that a killed test run left behind."""

import os
import shutil
import signal
import tempfile
from pathlib import Path

from services.cli.stack.processes import Birth, birth_of

PREFIX = "rapport-tests-"
_OWNER = "owner"
_IN_MEMORY = Path("/dev/shm")
_ENOUGH = 6 << 30
"""Free bytes from which on the servers' files stand in memory."""


def make_place() -> Path:
    """A fresh folder for servers that need not outlive the tests: in memory where there is enough of it.

    There a database is copied for each of a thousand tests at a fifth of what it takes on a disk.
    """
    return Path(tempfile.mkdtemp(prefix=PREFIX, dir=_IN_MEMORY if _fits() else None))


def _fits() -> bool:
    try:
        told = os.statvfs(_IN_MEMORY)
    except OSError:
        return False
    # PostgreSQL's programs may have to be copied there and run
    runs = not told.f_flag & os.ST_NOEXEC and os.access(_IN_MEMORY, os.W_OK | os.X_OK)
    return runs and told.f_bavail * told.f_frsize >= _ENOUGH


def mark_ours(folder: Path) -> None:
    """Writes down which process the folder belongs to."""
    birth = birth_of(os.getpid())
    assert birth is not None
    # whoever sweeps meanwhile reads all of it or nothing
    written = folder / f".{_OWNER}"
    written.write_text(f"{birth.pid} {birth.began}", encoding="utf-8")
    written.replace(folder / _OWNER)


def owner_of(folder: Path) -> Birth | None:
    """The process that a folder belongs to; None: nobody knows, or not yet."""
    try:
        pid, began = (folder / _OWNER).read_text(encoding="utf-8").split(" ", 1)
        return Birth(int(pid), began)
    except (OSError, ValueError):
        return None


def sweep() -> None:
    """Removes the folders whose process is gone, and ends the servers that still work in them."""
    places = {Path(tempfile.gettempdir()), _IN_MEMORY}
    for folder in (found for place in places for found in place.glob(f"{PREFIX}*")):
        owner = owner_of(folder)
        if owner is None or owner.alive:
            continue
        _end_postgres(folder)
        _end_nats(folder)
        shutil.rmtree(folder, ignore_errors=True)


def _end_postgres(folder: Path) -> None:
    try:
        pid = int((folder / "postgres/cluster/postmaster.pid").read_text(encoding="utf-8").split("\n", 1)[0])
        inside = Path(f"/proc/{pid}/cwd").samefile(folder / "postgres/cluster")
    except (OSError, ValueError):
        return
    birth = birth_of(pid)
    if inside and birth is not None:
        birth.send(signal.SIGQUIT)


def _end_nats(folder: Path) -> None:
    wanted = str(folder / "nats/server.conf").encode()
    for entry in Path("/proc").glob("[0-9]*/cmdline"):
        try:
            ours = wanted in entry.read_bytes().split(b"\0")
        except OSError:
            continue
        birth = birth_of(int(entry.parent.name)) if ours else None
        if birth is not None:
            birth.send(signal.SIGTERM)
