"""What can be wrong in a rule set, said so that its author can put it right."""

from collections.abc import Iterable
from dataclasses import dataclass
from difflib import get_close_matches
from enum import StrEnum


class Severity(StrEnum):
    """How bad a problem is."""

    ERROR = "error"
    WARNING = "warning"


@dataclass(frozen=True, slots=True)
class Problem:
    """One thing wrong in one file: where, what, and what to write instead.

    `line` and `column` count from 1; line 0 means the whole file. `check` is the stable name of the check.
    """

    severity: Severity
    line: int
    column: int
    text: str
    message: str
    suggestion: str
    check: str
    file: str = ""

    def sentence(self) -> str:
        """The problem on one line, as a compiler would print it."""
        suggestion = f" – {self.suggestion}" if self.suggestion else ""
        where = f"{self.file}:{self.line}:{self.column}"
        return f"{where}: {self.severity}: {self.message}{suggestion} [{self.check}]"


def did_you_mean(word: str, known: Iterable[str]) -> str:
    """A suggestion naming the closest known words; empty when none is close."""
    close = get_close_matches(word, list(known), n=2, cutoff=0.6)
    return f"did you mean {' or '.join(close)}?" if close else ""


_MOST_NAMED = 12


def one_of(known: Iterable[str], otherwise: str = "") -> str:
    """A suggestion that lists what is known, the first dozen of it; `otherwise` when nothing is."""
    names = list(known)
    if not names:
        return otherwise
    return "write one of " + ", ".join(names[:_MOST_NAMED]) + (", …" if len(names) > _MOST_NAMED else "")


def suggest(word: str, known: Iterable[str], otherwise: str = "") -> str:
    """The closest known words; when none is close, what is known; when nothing is, `otherwise`."""
    names = list(known)
    return did_you_mean(word, names) or one_of(names, otherwise)
