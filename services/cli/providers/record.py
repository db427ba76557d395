"""What a simulated provider received, one JSON object a line, so that both ends can be counted exactly."""

import json
import os
from collections.abc import Iterable, Iterator
from pathlib import Path
from types import TracebackType
from typing import Any, Self


class RecordFile:
    """An append-only file of mode 0600.

    A line is handed to the operating system before the provider answers, so a killed provider has
    recorded everything it has acknowledged.
    """

    def __init__(self, path: Path) -> None:
        self.path = path
        self._descriptor = os.open(path, os.O_RDWR | os.O_CREAT | os.O_APPEND | os.O_CLOEXEC, 0o600)
        os.fchmod(self._descriptor, 0o600)
        self._end_torn_line()

    def _end_torn_line(self) -> None:
        size = os.fstat(self._descriptor).st_size
        if size and os.pread(self._descriptor, 1, size - 1) != b"\n":
            os.write(self._descriptor, b"\n")

    def append(self, entries: Iterable[dict[str, Any]]) -> None:
        """Write all entries with one call to the operating system."""
        lines = b"".join(
            json.dumps(entry, ensure_ascii=False, separators=(",", ":")).encode() + b"\n" for entry in entries
        )
        if lines:
            view = memoryview(lines)
            while view:
                view = view[os.write(self._descriptor, view) :]

    def close(self) -> None:
        """Give the file back."""
        os.close(self._descriptor)

    def __enter__(self) -> Self:
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self.close()


def read_record(path: Path) -> Iterator[dict[str, Any]]:
    """The entries of a record, oldest first; none when there is no file; a torn line is left out."""
    if not path.exists():
        return
    with path.open("rb") as lines:
        for line in lines:
            try:
                entry = json.loads(line)
            except ValueError:
                continue
            if isinstance(entry, dict):
                yield entry


def read_secret(path: Path) -> str:
    """The secret in a file that only its owner may read; raises PermissionError when others may."""
    mode = path.stat().st_mode & 0o777
    if mode & 0o077:
        raise PermissionError(
            f"{path}: mode {mode:04o} lets others read the password; it should be 0600 (chmod 600)"
        )
    return path.read_text(encoding="utf-8").strip()
