"""Faults that a test or a demonstration asks of a simulated provider, from a JSON file or set directly."""

import json
from dataclasses import dataclass, field, fields
from pathlib import Path
from typing import Any, Generic, TypeVar


@dataclass
class SmscFaults:
    """What an SMSC does wrong; counts go down as they are used."""

    refuse_binds: bool = False
    """Every bind is answered with ESME_RBINDFAIL."""
    reject: dict[str, int] = field(default_factory=dict)
    """Destination → command status of the answer to it; nothing is taken."""
    throttle: int = 0
    """So many submits are answered ESME_RTHROTTLED; nothing is taken."""
    drop_after: int | None = None
    """The link is cut when so many more submits were taken; the last of them gets no answer."""
    silent: int = 0
    """So many submits are taken and never answered."""
    swallow: int = 0
    """So many submits are answered with an id and forgotten at once: no record, no receipt, no customer."""
    deaf: bool = False
    """Links stay open and nothing is read or answered, enquire_link neither."""
    deaf_links: int = 0
    """So many of the links, the oldest first, are as deaf."""
    per_second: int = 0
    """Submits beyond so many in a second are answered ESME_RTHROTTLED; 0: no such limit."""
    dialect: str = "both"
    """How receipts are written from now on (see receipts.Dialect)."""
    stat: dict[str, str] = field(default_factory=dict)
    """Destination → final state in its receipt instead of DELIVRD; `none`: no receipt."""


@dataclass
class SmtpFaults:
    """What a mail server does wrong; counts go down as they are used."""

    refuse: dict[str, str] = field(default_factory=dict)
    """Recipient → answer to RCPT TO, for example `550 5.1.1 No such mailbox`."""
    refuse_content: int = 0
    """So many messages are answered 554 after their content; nothing is taken."""
    drop_after_content: int = 0
    """So many messages are taken and the link is cut instead of an answer."""
    busy: int = 0
    """So many messages are answered 451 after their content; nothing is taken."""


Faults = TypeVar("Faults", bound=SmscFaults | SmtpFaults)


class FaultFile(Generic[Faults]):
    """The faults in force: those set in the object, or those in the file since it last changed."""

    def __init__(self, faults: Faults, path: Path | None = None) -> None:
        self.faults = faults
        self._path = path
        self._seen: tuple[int, int] | None = None

    def current(self) -> Faults:
        """Look at the file again; raises ValueError when it holds a fault of another name."""
        if self._path is None:
            return self.faults
        try:
            status = self._path.stat()
        except FileNotFoundError:
            return self.faults
        seen = (status.st_mtime_ns, status.st_size)
        if seen != self._seen:
            self._seen = seen
            self.faults = _parse(type(self.faults), self._path)
        return self.faults


def _parse(kind: type[Faults], path: Path) -> Faults:
    wanted: dict[str, Any] = json.loads(path.read_text(encoding="utf-8") or "{}")
    known = {item.name for item in fields(kind)}
    unknown = sorted(set(wanted) - known)
    if unknown:
        raise ValueError(f"{path}: unknown fault {unknown[0]!r}; known are {', '.join(sorted(known))}")
    return kind(**wanted)
