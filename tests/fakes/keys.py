"""Keys for tests: one keys file for each test process, and a sealer that needs no database."""

import atexit
import shutil
import tempfile
from functools import cache
from pathlib import Path

from services.runtime.keys import Keyring, Sealer

RING = Keyring(b"l" * 32, {"first": b"w" * 32}, "first")


def sealer() -> Sealer:
    """One with a single data key, always the same."""
    return Sealer.with_key(RING, b"d" * 32)


@cache
def keys_file() -> Path:
    """A file that holds RING."""
    folder = Path(tempfile.mkdtemp(prefix="rapport-keys-"))
    atexit.register(shutil.rmtree, folder, ignore_errors=True)
    path = folder / "keys.json"
    path.write_text(RING.text())
    return path
