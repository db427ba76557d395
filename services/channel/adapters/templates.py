"""Templates in several languages: Jinja2 in a sandbox, with single-line subjects and bounded texts."""

import re
from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import structlog
from jinja2 import StrictUndefined, Template, TemplateError, TemplateSyntaxError, UndefinedError
from jinja2.exceptions import SecurityError
from jinja2.runtime import Macro
from jinja2.sandbox import ImmutableSandboxedEnvironment

from services.channel.adapters.wording import shown
from services.channel.app.ports import MissingTemplate, Rendered, ToRender
from services.vocabulary.short_message import count_segments
from services.vocabulary.words import Channel

MOST_SEGMENTS = 10
"""Short messages that one text may take."""
_MOST_CHARACTERS = 20_000
_MOST_SUBJECT_CHARACTERS = 200
_FILE_NAME = re.compile(r"(?P<locale>[A-Za-z]{2,3}(?:-[A-Za-z0-9]{2,8})?)\.(?P<channel>[a-z]+)\.j2")
_SUBJECT_LINE = re.compile(r"\ASubject:[ \t]*(?P<subject>[^\n]*)\n(?:[ \t]*\n)?", re.IGNORECASE)
_BLANK_LINES = re.compile(r"\n{3,}")
_LINE_ENDS = re.compile(r"[ \t]+$", re.MULTILINE)
# Control characters but the line end, line separators, lone surrogates, marks that reverse the direction of
# what is read, and the byte order mark.
_NOT_SHOWN = re.compile(
    "[\\x00-\\x09\\x0b-\\x1f\\x7f-\\x9f\\u2028-\\u202e\\u2066-\\u2069\\ufeff\\ud800-\\udfff]"
)
_FILTERS = frozenset(
    {
        *("abs", "float", "int", "length", "round"),
        *("capitalize", "lower", "replace", "title", "trim", "upper"),
        *("d", "default", "e", "escape", "first", "join", "last"),
    }
)
_CHANNELS = frozenset(channel.value for channel in Channel)
_BINARY_OPERATORS = frozenset({"*", "**", "%"})
_log = structlog.get_logger(__name__)


class _Environment(ImmutableSandboxedEnvironment):
    """A sandbox in which nothing can be called and no text can be multiplied."""

    intercepted_binops = _BINARY_OPERATORS

    def __init__(self, *, autoescape: bool) -> None:
        super().__init__(undefined=StrictUndefined, autoescape=autoescape, lstrip_blocks=True)
        self.globals.clear()
        self.filters = {name: function for name, function in self.filters.items() if name in _FILTERS}

    def is_safe_callable(self, obj: Any) -> bool:
        """Only macros of the template itself; a method such as center() could make any length."""
        return isinstance(obj, Macro)

    def call_binop(self, context: Any, operator: str, left: Any, right: Any) -> Any:
        """Arithmetic on small numbers only."""
        numbers = isinstance(left, int | float) and isinstance(right, int | float)
        if not numbers or (operator == "**" and abs(right) > 16):
            raise SecurityError(f"{operator} works on numbers only, with an exponent up to 16")
        return super().call_binop(context, operator, left, right)


class _ShownTraits(dict[str, str]):
    """Traits by name; one that the customer lacks is an empty text."""

    def __missing__(self, name: str) -> str:
        return ""


@dataclass(frozen=True, slots=True)
class _Speech:
    """One file, compiled."""

    text: Template
    subject: Template | None
    html: Template | None
    """The same file with HTML escaping, when it has a block `html`."""


class JinjaRenderer:
    """All templates of a folder, read once. `problems` tells what could not be read."""

    def __init__(self, folder: Path, default_locale: str, default_zone: str) -> None:
        self._plain = _Environment(autoescape=False)
        self._escaping = _Environment(autoescape=True)
        self._default_locale = _normal(default_locale)
        self._default_zone = default_zone
        self._speeches: dict[tuple[str, Channel, str], _Speech] = {}
        problems: list[str] = []
        for path in sorted(folder.glob("*/*.j2")):
            problem = self._read(path)
            if problem:
                problems.append(problem)
                _log.error("template.unreadable", problem=problem)
        self.problems: tuple[str, ...] = tuple(problems)

    def _read(self, path: Path) -> str:
        where = f"{path.parent.name}/{path.name}"
        named = _FILE_NAME.fullmatch(path.name)
        if named is None or named["channel"] not in _CHANNELS:
            return f"{where}: the name should be <locale>.<channel>.j2, for example fr.sms.j2"
        try:
            speech = self._compile(path.read_text(encoding="utf-8"))
        except TemplateSyntaxError as error:
            return f"{where}: line {error.lineno}: {error.message}"
        except (TemplateError, UnicodeDecodeError) as error:
            return f"{where}: {type(error).__name__}"
        self._speeches[path.parent.name, Channel(named["channel"]), _normal(named["locale"])] = speech
        return ""

    def _compile(self, source: str) -> _Speech:
        head = _SUBJECT_LINE.match(source)
        if head is not None:
            # Split before it is filled: a line end inside a value cannot move into the text.
            return _Speech(
                self._plain.from_string(source[head.end() :]), self._plain.from_string(head["subject"]), None
            )
        template = self._plain.from_string(source)
        html = self._escaping.from_string(source) if "html" in template.blocks else None
        return _Speech(template, None, html)

    def render(self, wanted: ToRender) -> Rendered | MissingTemplate:
        """Fill the template; the locale falls back from `fr-CA` to `fr` to the default."""
        found = self._find(wanted)
        if found is None:
            locale = wanted.locale or self._default_locale
            return MissingTemplate(
                f"there is no template {wanted.name} for {wanted.channel} in {_normal(locale)} or "
                f"{self._default_locale}; write {wanted.name}/{self._default_locale}.{wanted.channel}.j2"
            )
        locale, speech = found
        where = f"template {wanted.name}/{locale}.{wanted.channel}.j2"
        try:
            return self._fill(speech, wanted, self._context(wanted, locale))
        except _Unfit as unfit:
            return MissingTemplate(f"{where} {unfit}")
        except UndefinedError as error:
            # Jinja's words for it name the missing parameter, never a value.
            return MissingTemplate(f"{where} needs a parameter that the action lacks: {error.message}")
        except Exception as error:  # noqa: BLE001 - whatever a template does, the message is only not said
            return MissingTemplate(f"{where} could not be filled: {type(error).__name__}")

    def _find(self, wanted: ToRender) -> tuple[str, _Speech] | None:
        for locale in self._locales(wanted.locale):
            speech = self._speeches.get((wanted.name, wanted.channel, locale))
            if speech is not None:
                return locale, speech
        return None

    def _locales(self, locale: str) -> Iterator[str]:
        for candidate in (_normal(locale), self._default_locale):
            if candidate:
                yield candidate
                yield candidate.partition("-")[0]

    def _context(self, wanted: ToRender, locale: str) -> Mapping[str, Any]:
        language = locale.partition("-")[0]
        zone = wanted.zone or self._default_zone
        values = {
            name: shown(value, wanted.types.get(name), language, zone)
            for name, value in wanted.parameters.items()
        }
        return {"profile": _ShownTraits(wanted.traits), **values}

    def _fill(self, speech: _Speech, wanted: ToRender, context: Mapping[str, Any]) -> Rendered:
        blocks = speech.text.blocks
        if "text" in blocks:
            text = _tidy(_block(speech.text, "text", context))
        else:
            text = _tidy(_bounded(speech.text.generate(context)))
        if not text:
            raise _Unfit("gives an empty text")
        if speech.subject is not None:
            subject = _line(_bounded(speech.subject.generate(context)))
        else:
            subject = _line(_block(speech.text, "subject", context))
        segments = count_segments(text) if wanted.channel is Channel.SMS else 1
        if segments > MOST_SEGMENTS:
            raise _Unfit(f"gives {segments} short messages; at most {MOST_SEGMENTS} are right")
        return Rendered(
            text=text,
            subject=subject,
            html="" if speech.html is None else _block(speech.html, "html", context).strip(),
            sender=_line(_block(speech.text, "sender", context)),
            segments=segments,
        )


class _Unfit(Exception):  # noqa: N818 - a text that must not leave, told as a missing template
    """The filled text is not fit to be sent; the message says why, without the text."""


def _block(template: Template, name: str, context: Mapping[str, Any]) -> str:
    block = template.blocks.get(name)
    return "" if block is None else _bounded(block(template.new_context(dict(context))))


def _bounded(pieces: Iterator[str]) -> str:
    """Join what a template gives; stop when it gives too much."""
    kept: list[str] = []
    length = 0
    for piece in pieces:
        length += len(piece)
        if length > _MOST_CHARACTERS:
            raise _Unfit(f"gives a text of more than {_MOST_CHARACTERS} characters")
        kept.append(piece)
    return "".join(kept)


def _tidy(text: str) -> str:
    """No control characters but line ends, no blank at line ends, no more than one empty line."""
    text = text.replace("\r\n", "\n").replace("\r", "\n").replace("\t", " ")
    text = _NOT_SHOWN.sub("", text)
    return _BLANK_LINES.sub("\n\n", _LINE_ENDS.sub("", text)).strip()


def _line(text: str) -> str:
    """One line, bounded."""
    line = " ".join(_NOT_SHOWN.sub(" ", text).split())
    return line if len(line) <= _MOST_SUBJECT_CHARACTERS else line[: _MOST_SUBJECT_CHARACTERS - 1] + "…"


def _normal(locale: str) -> str:
    """`fr_ca` and `FR-CA` are `fr-CA`."""
    language, separator, region = locale.replace("_", "-").partition("-")
    return language.lower() + separator + region.upper()
