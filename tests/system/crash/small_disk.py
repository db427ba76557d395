"""A disk so small that it can be filled: a file system in memory, mounted where a part keeps its files."""

import os
import subprocess
from dataclasses import dataclass
from pathlib import Path

from services.cli.stack.account import Account

_PIECE = b"\0" * 4096


@dataclass(frozen=True)
class SmallDisk:
    """Mounted at `folder`; `ballast` is the file that takes all its room."""

    folder: Path

    @property
    def ballast(self) -> Path:
        return self.folder / "ballast"

    def fill(self) -> None:
        """Leaves not one page free."""
        descriptor = os.open(self.ballast, os.O_CREAT | os.O_WRONLY | os.O_APPEND, 0o600)
        try:
            while True:
                os.write(descriptor, _PIECE)
        except OSError:
            pass  # this is what was wanted
        finally:
            os.close(descriptor)

    def give_room(self) -> None:
        """Takes the ballast away."""
        self.ballast.unlink(missing_ok=True)


def mount_small_disk(folder: Path, *, megabytes: int, account: Account) -> SmallDisk | None:
    """A private folder of the account on a disk of its own; None where we may not mount (only root may)."""
    folder.mkdir(mode=0o700, parents=True)
    owner = f"size={megabytes}m,mode=0700,uid={account.uid},gid={account.gid}"
    try:
        done = subprocess.run(
            ["mount", "-t", "tmpfs", "-o", owner, "tmpfs", str(folder)], capture_output=True, check=False
        )
    except FileNotFoundError:
        return None
    return SmallDisk(folder) if done.returncode == 0 else None


def unmount_under(folder: Path) -> None:
    """Lets go of every disk mounted somewhere in this folder."""
    try:
        mounts = Path("/proc/mounts").read_text(encoding="utf-8").splitlines()
    except FileNotFoundError:
        return
    for line in mounts:
        place = line.split(" ")[1]
        if place.startswith(f"{folder}/"):
            subprocess.run(["umount", "-l", place], check=False, capture_output=True)
