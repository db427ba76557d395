"""The policy of arbitration as its file has it now: read again when it changes, a broken one not at all."""

from __future__ import annotations

from time import monotonic
from typing import TYPE_CHECKING

from services.runtime.digests import digest_files
from services.vocabulary.arbitration_policy import ARBITRATION_FILE, NO_POLICY
from services.vocabulary.arbitration_reader import read_arbitration
from services.vocabulary.yaml_section import Mistakes, read_yaml

if TYPE_CHECKING:
    from collections.abc import Callable
    from pathlib import Path

    from services.runtime.digests import Digests
    from services.vocabulary.arbitration_policy import ArbitrationPolicy
    from services.vocabulary.catalogue import Catalogue

_LOOK_SECONDS = 0.5


class ArbitrationFile:
    """One process's view of the file. ``refused`` hears what is wrong with it; None: another one says so."""

    def __init__(
        self,
        rules: Path,
        catalogue: Catalogue,
        *,
        refused: Callable[[list[str]], object] | None = None,
        now: Callable[[], float] = monotonic,
    ) -> None:
        self._rules = rules
        self._offers = catalogue.offers
        self._refused = refused
        self._now = now
        self._policy = catalogue.arbitration
        self._digests: Digests = digest_files(rules, ARBITRATION_FILE)
        self._seen = self._status()
        self._next = now() + _LOOK_SECONDS

    def current(self) -> ArbitrationPolicy:
        """What is in force: the file as it stands, or as it last could be read; none without a file."""
        if self._now() >= self._next:
            self._next = self._now() + _LOOK_SECONDS
            status = self._status()
            if status != self._seen:
                self._seen = status
                self._read()
        return self._policy

    def digests(self) -> Digests:
        """Of the file that is in force; for the audit log."""
        self.current()
        return self._digests

    def _status(self) -> tuple[int, int] | None:
        try:
            status = (self._rules / ARBITRATION_FILE).stat()
        except OSError:
            return None
        return status.st_mtime_ns, status.st_size

    def _read(self) -> None:
        path = self._rules / ARBITRATION_FILE
        digests = digest_files(self._rules, ARBITRATION_FILE)
        if not digests:
            self._policy, self._digests = NO_POLICY, digests
            return
        mistakes = Mistakes()
        try:
            section = read_yaml(path, ARBITRATION_FILE, mistakes)
        except OSError:
            self._seen = None  # taken away while it was read: looked at again
            return
        policy = None if section is None else read_arbitration(section, self._offers)
        if policy is None or mistakes.found:
            if self._refused is not None:
                self._refused([str(each) for each in mistakes.found])
            return
        self._policy, self._digests = policy, digests
