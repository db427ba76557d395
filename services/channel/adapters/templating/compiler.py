"""Makes of a template's source something that can be filled, or says in which line it cannot be."""

import re
from dataclasses import dataclass

from jinja2 import Template, TemplateError, TemplateSyntaxError, nodes

from services.channel.adapters.templating.filters import AUTHORS, OWN
from services.channel.adapters.templating.markup import guard
from services.channel.adapters.templating.sandbox import Run, Sandbox
from services.channel.adapters.templating.syntax import check, pay
from services.channel.domain.errors import InvalidTemplateError
from services.channel.domain.templates import Used

MOST_OCTETS = 64 * 1024
_MOST_IN_TAGS = 16 * 1024
_SUBJECT_LINE = re.compile(r"\ASubject:[ \t]*(?P<subject>[^\n]*)\n(?:[ \t]*\n)?", re.IGNORECASE)
_TAG = re.compile(r"\{[{%].*?[}%]\}", re.DOTALL)


@dataclass(frozen=True, slots=True)
class Speech:
    """One source, compiled."""

    text: Template
    subject: Template | None
    html: Template | None
    """The same source with HTML escaping, when it has a block `html`."""
    used: Used

    @property
    def has_subject(self) -> bool:
        """Whether it has a subject line or block."""
        return self.subject is not None or "subject" in self.text.blocks


class Compiler:
    """Two sandboxes, with and without HTML escaping, that compile and run what they compiled."""

    def __init__(self) -> None:
        filters = AUTHORS | OWN
        self._plain = Sandbox(filters, autoescape=False)
        self._escaping = Sandbox(filters, autoescape=True)

    def use(self, run: Run) -> None:
        """What is filled from now on uses up this."""
        self._plain.run = run
        self._escaping.run = run

    def compile(self, source: str) -> Speech:
        """The template of a source; raises InvalidTemplateError."""
        _measure(source)
        head = _SUBJECT_LINE.match(source)
        try:
            if head is None:
                return self._compile_blocks(source)
            # Split before it is filled: a line end inside a value cannot move into the text.
            subject, said = self._template(self._plain, head["subject"])
            lines = "\n" * source[: head.end()].count("\n")
            text, used = self._template(self._plain, lines + source[head.end() :])
            return Speech(text, subject, None, _both(said, used))
        except TemplateSyntaxError as error:
            raise InvalidTemplateError(error.lineno, str(error.message or "is not understood")) from error
        except (TemplateError, SyntaxError, RecursionError, MemoryError, OverflowError) as error:
            raise InvalidTemplateError(
                1, f"cannot be compiled ({type(error).__name__})", "write it simpler"
            ) from error

    def _compile_blocks(self, source: str) -> Speech:
        text, used = self._template(self._plain, source)
        html = None
        if "html" in text.blocks:
            html, _ = self._template(self._escaping, source)
        return Speech(text, None, html, used)

    def _template(self, sandbox: Sandbox, source: str) -> tuple[Template, Used]:
        tree: nodes.Template = sandbox.parse(source)
        used = check(tree)
        if sandbox.autoescape:
            guard(tree)
        pay(tree)
        return Template.from_code(sandbox, sandbox.compile(tree), {}), used


def _measure(source: str) -> None:
    """Refuses what would take long to compile; raises InvalidTemplateError."""
    if len(source) > MOST_OCTETS or len(source.encode("utf-8", "replace")) > MOST_OCTETS:
        raise InvalidTemplateError(1, "is longer than 64 kB", "write less, or part it into several templates")
    if sum(len(tag) for tag in _TAG.findall(source)) > _MOST_IN_TAGS:
        raise InvalidTemplateError(
            1, "has more than 16 kB between braces", "write less in {{ … }} and {% … %}"
        )


def _both(first: Used, second: Used) -> Used:
    return Used(
        first.parameters | {n: line for n, line in second.parameters.items() if n not in first.parameters},
        first.optional | second.optional,
        first.traits | second.traits,
        first.plurals + second.plurals,
        first.texts + second.texts,
    )
