"""What is wrong in rule files, told to people: the place, the line with a mark, what to write instead."""

import re
import textwrap
from collections.abc import Iterator, Sequence

import click

from services.decision.domain.problems import Problem, Severity

WIDTH = 80
_BEFORE = 20
"""Of a long line at least so much is shown before the mark."""


def tell(problem: Problem, text: str, *, width: int = WIDTH) -> Iterator[str]:
    """The lines that tell one problem; `text` is the whole file. None is wider than `width`."""
    severity, colour = ("warning", "yellow") if problem.severity is Severity.WARNING else ("error", "red")
    place = f"{problem.file}:{problem.line}:{problem.column}" if problem.line else problem.file
    yield f"{click.style(place, bold=True)}: {click.style(severity, fg=colour, bold=True)} [{problem.check}]"
    lines = text.splitlines()
    if 0 < problem.line <= len(lines):
        yield from _shown(lines[problem.line - 1], problem, width, colour)
    yield from _wrapped(problem.message, "  ", "  ", width)
    if problem.suggestion:
        yield from _wrapped(problem.suggestion, "  → ", "    ", width)


def _wrapped(text: str, first: str, then: str, width: int) -> Iterator[str]:
    yield from textwrap.wrap(
        text, width, initial_indent=first, subsequent_indent=then, break_on_hyphens=False
    ) or [first]


def _shown(line: str, problem: Problem, width: int, colour: str) -> Iterator[str]:
    """The line as written, with the offending part underlined; cut at both ends when it is long."""
    number = f"{problem.line:>5} │ "
    room = width - len(number)
    at = min(problem.column - 1, len(line))
    long = len(_pointed(line, problem, at))
    start = 0
    if at + long > room - 1:
        start = max(0, min(at - _BEFORE, at + long - room + 2))
    shown = line[start:].replace("\t", " ")
    if start:
        shown = "…" + shown[1:]
    if len(shown) > room:
        shown = shown[: room - 1] + "…"
    long = max(1, min(long, room - (at - start)))
    yield f"{number}{shown}"
    yield f"{'│':>7} {' ' * (at - start)}{click.style('^' * long, fg=colour, bold=True)}"


def _pointed(line: str, problem: Problem, at: int) -> str:
    """What the problem points at: its own text when it stands there, else the word that does."""
    rest = line[at:]
    if problem.text and "…" not in problem.text and rest.startswith(problem.text):
        return problem.text
    if rest[:1] in {"{", "["}:
        return rest[:1]
    word = re.match(r"\"[^\"]*\"?|'[^']*'?|[^\s,\]}:]+", rest)
    return word[0] if word else rest[:1]


def summary(files: int, problems: Sequence[Problem]) -> str:
    """One line about all files."""
    errors = sum(problem.severity is Severity.ERROR for problem in problems)

    def counted(number: int, word: str) -> str:
        return f"{number} {word}{'' if number == 1 else 's'}"

    return (
        f"{counted(files, 'file')} checked: {counted(errors, 'error')}, "
        f"{counted(len(problems) - errors, 'warning')}"
    )
