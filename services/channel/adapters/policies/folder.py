"""The policies in force: those of a folder, read again when a file changes."""

from collections.abc import Hashable
from pathlib import Path

from services.channel.adapters.policies.caps import read_caps
from services.channel.adapters.policies.quiet_hours import read_quiet_hours
from services.channel.domain.policies import Policies
from services.runtime.configuration import Digests, digest_files

_FILES = ("caps.yaml", "quiet_hours.yaml")


def load_policies(folder: Path, default_zone: str) -> Policies:
    """The policies in that folder; raises PolicyError: file, line, and what would be right."""
    return Policies(
        caps=read_caps(folder / "caps.yaml"),
        quiet_hours=read_quiet_hours(folder / "quiet_hours.yaml", default_zone),
    )


class PolicyFolder:
    """The policies in force: the last ones read that were right."""

    def __init__(self, folder: Path, default_zone: str) -> None:
        self._folder = folder
        self._default_zone = default_zone
        self._seen = self._stamp()
        self._digests = self._digest()
        self._policies = load_policies(folder, default_zone)

    def current(self) -> Policies:
        """The policies in force."""
        return self._policies

    def refresh(self) -> bool:
        """Reads files that changed; True when new policies are in force. A mistake leaves the old ones."""
        stamp = self._stamp()
        if stamp == self._seen:
            return False
        self._seen = stamp
        digests = self._digest()
        self._policies = load_policies(self._folder, self._default_zone)
        self._digests = digests
        return True

    def digests(self) -> Digests:
        """Digests of the files in force, by name."""
        return self._digests

    def _digest(self) -> Digests:
        return digest_files(self._folder, *_FILES)

    def _stamp(self) -> Hashable:
        found = []
        for name in _FILES:
            try:
                status = (self._folder / name).stat()
            except OSError:
                continue
            found.append((name, status.st_mtime_ns, status.st_size))
        return tuple(found)
