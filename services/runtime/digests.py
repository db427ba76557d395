"""Which versions of files a process works with: half of the SHA-256 of each."""

import hashlib
from collections.abc import Mapping
from contextlib import suppress
from pathlib import Path

Digests = Mapping[str, str]


def digest_files(folder: Path, *patterns: str) -> dict[str, str]:
    """By path below the folder, the first half of the SHA-256 of each file that is there."""
    found: dict[str, str] = {}
    for pattern in patterns:
        for path in sorted(folder.glob(pattern)):
            with suppress(OSError):
                found[path.relative_to(folder).as_posix()] = _digest(path.read_bytes())
    return found


def digest_text(text: str) -> str:
    """The same of a text that holds in the place of a file."""
    return _digest(text.encode())


def _digest(content: bytes) -> str:
    return hashlib.sha256(content).hexdigest()[:32]
