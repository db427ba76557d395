"""Where the local stack keeps its files."""

import contextlib
import hashlib
import os
import stat
import tempfile
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path

from services.cli.stack.account import Account, own_account
from services.cli.stack.errors import StackError

CHECKOUT = Path(__file__).resolve().parents[3]
"""The folder that holds services/, proto/ and rules/."""
DEFAULT_FOLDER = CHECKOUT / "var"
_SYSTEM_STATE = Path("/var/lib")


@dataclass(frozen=True)
class Layout:
    """The files of one local stack; all folders inside are private to their owner."""

    folder: Path

    @property
    def state(self) -> Path:
        """What runs: process ids and ports."""
        return self.folder / "run" / "stack.json"

    @property
    def lock(self) -> Path:
        """Held by the supervisor for as long as it lives."""
        return self.folder / "run" / "lock"

    @property
    def ports(self) -> Path:
        """The ports of the last run, to be taken again."""
        return self.folder / "run" / "ports.json"

    @property
    def choices(self) -> Path:
        """What cannot change once the folder holds data."""
        return self.folder / "run" / "choices.json"

    @property
    def nats(self) -> Path:
        """The files of NATS."""
        return self.folder / "nats"

    def log(self, name: str) -> Path:
        """What a process prints."""
        return self.folder / "log" / f"{name}.log"

    def secret(self, name: str) -> Path:
        """A password of its own for each database, NATS and each provider."""
        return self.folder / "secrets" / name

    def record(self, name: str) -> Path:
        """What a simulated provider received, one JSON object a line."""
        return self.folder / "providers" / f"{name}.ndjson"

    def faults(self, name: str) -> Path:
        """What a simulated provider is to do wrong; absent: nothing."""
        return self.folder / "providers" / f"{name}.faults.json"

    def mobile(self, name: str) -> Path:
        """To which is appended what made-up subscribers send; absent: nothing."""
        return self.folder / "providers" / f"{name}.mobile.jsonl"

    def prepare(self) -> None:
        """Makes the folders that are missing."""
        us = own_account()
        try:
            self.folder.mkdir(mode=0o755, parents=True, exist_ok=True)
            for name in ("run", "log", "secrets", "providers"):
                ensure_private_folder(self.folder / name, us)
        except (PermissionError, FileExistsError, NotADirectoryError) as error:
            raise StackError(
                f"{self.folder} cannot be used: {error.strerror}. Name another folder with --folder."
            ) from error

    def database_home(self, account: Account) -> Path:
        """Where PostgreSQL keeps its files: here if its account can come in, else a private folder."""
        here = self.folder / "postgres"
        if account.is_ours or account.can_enter(self.folder):
            return here
        digest = hashlib.sha256(str(self.folder).encode()).hexdigest()[:16]
        for place in self._places():
            with contextlib.suppress(OSError, StackError):
                us = own_account()
                ensure_private_folder(place, us, mode=0o711)
                ensure_private_folder(place / digest, us, mode=0o711)
                if account.can_enter(place / digest):
                    return place / digest / "postgres"
        raise StackError(
            f"The account {account.name} that PostgreSQL runs under can enter neither {self.folder} "
            f"nor a folder under {_SYSTEM_STATE} or {tempfile.gettempdir()}. "
            "Name with --folder one that it can enter."
        )

    @staticmethod
    def _places() -> Iterator[Path]:
        yield _SYSTEM_STATE / "rapport"
        yield Path(tempfile.gettempdir()) / "rapport-databases"


def ensure_private_folder(folder: Path, account: Account, *, mode: int = 0o700) -> None:
    """A folder of this mode that belongs to the account; nothing above it is changed, no link is followed."""
    if not folder.parent.exists():
        folder.parent.mkdir(mode=0o755, parents=True)
    with contextlib.suppress(FileExistsError):
        folder.mkdir(mode=mode)
        if not account.is_ours:
            os.chown(folder, account.uid, account.gid)
    found = folder.lstat()
    if not stat.S_ISDIR(found.st_mode) or found.st_uid != account.uid:
        raise StackError(
            f"{folder} is not a folder of the account {account.name}. Move it away and try again."
        )
    if stat.S_IMODE(found.st_mode) != mode:
        folder.chmod(mode)
