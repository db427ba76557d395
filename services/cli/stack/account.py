"""The system's account that PostgreSQL, which refuses root, runs under."""

import os
import pwd
import subprocess
from dataclasses import dataclass
from pathlib import Path
from typing import TypedDict

from services.cli.stack.errors import StackError

_CANDIDATES = ("postgres", "nobody")


class ProcessIdentity(TypedDict, total=False):
    """What a process is started with to run under another account."""

    user: int
    group: int
    extra_groups: list[int]


@dataclass(frozen=True)
class Account:
    """An account of this system."""

    name: str
    uid: int
    gid: int

    @property
    def is_ours(self) -> bool:
        """Whether it is the account that this process runs under."""
        return self.uid == os.geteuid()

    def identity(self) -> ProcessIdentity:
        """How to start a process under this account; nothing to say when it is our own."""
        if self.is_ours:
            return {}
        return {"user": self.uid, "group": self.gid, "extra_groups": []}

    def succeeds(self, *command: str) -> bool:
        """Whether this account can run the command (its own try, so that every kind of permission counts)."""
        try:
            done = subprocess.run(
                command,
                cwd="/",
                check=False,
                stdin=subprocess.DEVNULL,
                stdout=subprocess.DEVNULL,
                stderr=subprocess.DEVNULL,
                timeout=30,
                **self.identity(),
            )
        except (OSError, subprocess.SubprocessError):
            return False
        return done.returncode == 0

    def can_enter(self, folder: Path) -> bool:
        """Whether this account can go into the folder."""
        return self.succeeds("/bin/sh", "-c", 'cd -- "$1"', "sh", str(folder))


def own_account() -> Account:
    """The account that this process runs under."""
    uid = os.geteuid()
    try:
        return Account(pwd.getpwuid(uid).pw_name, uid, os.getegid())
    except KeyError:  # a container's number without a name
        return Account(str(uid), uid, os.getegid())


def database_account(name: str | None = None) -> Account:
    """The account for PostgreSQL: ours if we are not root, else the named one, else the first fitting one."""
    if os.geteuid() != 0:
        return own_account()
    for candidate in (name,) if name else _CANDIDATES:
        try:
            entry = pwd.getpwnam(candidate)
        except KeyError:
            continue
        if entry.pw_uid != 0:
            return Account(entry.pw_name, entry.pw_uid, entry.pw_gid)
    wanted = name or " or ".join(_CANDIDATES)
    raise StackError(
        f"PostgreSQL does not run as root, and this system has no account {wanted} to run it under. "
        "Start Rapport as an ordinary user, or name an account with --database-user."
    )
