"""Collects everything wrong in one file, so that its author sees all of it at once."""

from collections.abc import Iterable

from services.decision.domain.language.nodes import Block, Mistake, Node, brief
from services.decision.domain.problems import Problem, Severity, did_you_mean


class Report:
    """The problems of one file."""

    def __init__(self, file: str) -> None:
        self._file = file
        self._problems: list[Problem] = []
        self._unreadable: set[tuple[int, int]] = set()

    @property
    def problems(self) -> tuple[Problem, ...]:
        """All problems, in the order of the file."""
        return tuple(sorted(self._problems, key=lambda problem: (problem.line, problem.column)))

    @property
    def failed(self) -> bool:
        """Whether there is an error among them."""
        return any(problem.severity is Severity.ERROR for problem in self._problems)

    def error(
        self, node: Node | None, message: str, check: str, suggestion: str = "", text: str = ""
    ) -> None:
        """Something that keeps the rule set from running."""
        self._add(Severity.ERROR, node, message, check, suggestion, text)

    def warn(self, node: Node | None, message: str, check: str, suggestion: str = "", text: str = "") -> None:
        """Something that runs, but is probably not meant so."""
        self._add(Severity.WARNING, node, message, check, suggestion, text)

    def take(self, mistakes: Iterable[Mistake]) -> None:
        """Adds what the reader found; of the same places nothing more is said."""
        mistakes = tuple(mistakes)
        self._unreadable |= {(mistake.line, mistake.column) for mistake in mistakes}
        self._problems += [
            Problem(
                Severity.ERROR,
                mistake.line,
                mistake.column,
                mistake.text,
                mistake.message,
                mistake.suggestion,
                mistake.check,
                self._file,
            )
            for mistake in mistakes
        ]

    def check_keys(self, block: Block, allowed: Iterable[str], where: str) -> None:
        """Every key must be one of those allowed there."""
        known = list(allowed)
        for key, _ in block:
            if key.text in known:
                continue
            suggestion = did_you_mean(key.text, known) or f"{where} has " + ", ".join(known)
            self.error(key, f"{where} has no key `{key.text}`", "unknown-key", suggestion)

    def _add(
        self, severity: Severity, node: Node | None, message: str, check: str, suggestion: str, text: str
    ) -> None:
        line, column = (node.line, node.column) if node else (0, 0)
        if (line, column) in self._unreadable:
            return
        written = text or (brief(node) if node else "")
        self._problems.append(
            Problem(severity, line, column, written, message, suggestion, check, self._file)
        )
