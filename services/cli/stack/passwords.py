"""Passwords of the local stack: made once, kept in files that only their owner can read."""

import os
import secrets
from pathlib import Path


def ensure_password(path: Path, *, octets: int = 24) -> str:
    """The password in this file; a new one, in a new file of mode 0600, if there is none yet.

    A new one has four characters for every three random octets.
    """
    try:
        return read_password(path)
    except FileNotFoundError:
        password = secrets.token_urlsafe(octets)
        write_private(path, password + "\n")
        return password


def read_password(path: Path) -> str:
    """The password in this file, without its line end."""
    return path.read_text(encoding="utf-8").strip()


def write_private(path: Path, text: str, *, flush: bool = True) -> None:
    """Puts the text into a file of mode 0600 in one step: nobody sees half of it, nobody else sees any.

    `flush` waits until the disk has it.
    """
    draft = path.with_name(f".{path.name}.{secrets.token_hex(4)}")
    descriptor = os.open(draft, os.O_WRONLY | os.O_CREAT | os.O_EXCL, 0o600)
    with os.fdopen(descriptor, "w", encoding="utf-8") as file:
        file.write(text)
        if flush:
            file.flush()
            os.fsync(file.fileno())
    draft.replace(path)
