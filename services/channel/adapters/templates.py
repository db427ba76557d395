"""Templates in several languages: files of a folder, and the versions in force instead of some of them."""

import hashlib
import re
from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from functools import lru_cache
from pathlib import Path
from typing import Any

import structlog
from jinja2 import Template, UndefinedError
from jinja2.exceptions import FilterArgumentError, SecurityError

from services.channel.adapters.templating.compiler import MOST_OCTETS, Compiler, Speech
from services.channel.adapters.templating.locales import fallbacks, normal_locale, plural_forms
from services.channel.adapters.templating.sandbox import OverBudgetError, Run, Traits
from services.channel.adapters.templating.wording import Words, clean, words_of
from services.channel.app.ports import MissingTemplate, Rendered, ToRender
from services.channel.domain.errors import InvalidTemplateError
from services.channel.domain.templates import TextKey, Used
from services.vocabulary.short_message import count_segments
from services.vocabulary.words import Channel

MOST_SEGMENTS = 10
"""Short messages that one text may take."""
_MOST_CHARACTERS = 20_000
_MOST_SUBJECT_CHARACTERS = 200
_FILE_NAME = re.compile(r"(?P<locale>[A-Za-z0-9-]{2,15})\.(?P<channel>[a-z]+)\.j2")
_BLANK_LINES = re.compile(r"\n{3,}")
_LINE_ENDS = re.compile(r"[ \t]+$", re.MULTILINE)
# Control characters but the line end, line separators, lone surrogates, marks that reverse the direction of
# what is read, and the byte order mark.
_NOT_SHOWN = re.compile(
    "[\\x00-\\x09\\x0b-\\x1f\\x7f-\\x9f\\u2028-\\u202e\\u2066-\\u2069\\ufeff\\ud800-\\udfff]"
)
_SMS_BLANKS = str.maketrans({"\xa0": " ", "\u202f": " ", "\u2009": " "})
_CHANNELS = frozenset(channel.value for channel in Channel)
_PLAIN = frozenset({Channel.SMS})
_log = structlog.get_logger(__name__)


@dataclass(frozen=True, slots=True)
class Text:
    """One text in force: its source, compiled, and which version it is."""

    source: str
    version: str
    """A number, or `file:` and the beginning of the file's digest."""
    speech: Speech

    @property
    def used(self) -> Used:
        """What it asks for and says."""
        return self.speech.used

    @property
    def has_subject(self) -> bool:
        """Whether it has a subject line or block."""
        return self.speech.has_subject


class JinjaRenderer:
    """All templates of a folder, read once. `problems` tells what could not be read."""

    def __init__(self, folder: Path, default_locale: str, default_zone: str) -> None:
        self._compiler = Compiler()
        self.default_locale = normal_locale(default_locale)
        self._default_zone = default_zone
        self._files: dict[TextKey, Text] = {}
        self._active: dict[TextKey, Text] = {}
        problems: list[str] = []
        for path in sorted(folder.glob("*/*.j2")):
            problem = self._read(path)
            if problem:
                problems.append(problem)
                _log.error("template.unreadable", problem=problem)
        self.problems: tuple[str, ...] = tuple(problems)
        for locale in {self.default_locale, *(key.locale for key in self._files)}:
            for plain in (False, True):
                words_of(locale, default_zone, plain=plain).warm_up()

    def _read(self, path: Path) -> str:
        where = f"{path.parent.name}/{path.name}"
        named = _FILE_NAME.fullmatch(path.name)
        locale = normal_locale(named["locale"]) if named is not None else ""
        if named is None or not locale or named["channel"] not in _CHANNELS:
            return f"{where}: the name should be <locale>.<channel>.j2, for example fr.sms.j2"
        try:
            if path.stat().st_size > MOST_OCTETS:
                return f"{where}: is longer than 64 kB; write less, or part it into several templates"
            octets = path.read_bytes()
            text = self.compile(octets.decode(), f"file:{hashlib.sha256(octets).hexdigest()[:8]}")
        except InvalidTemplateError as error:
            return f"{where}: {error}"
        except (OSError, UnicodeDecodeError) as error:
            return f"{where}: {type(error).__name__}"
        self._files[TextKey(path.parent.name, locale, Channel(named["channel"]))] = text
        return ""

    def compile(self, source: str, version: str) -> Text:
        """The text of a source; raises InvalidTemplateError. Takes up to half a second, in any thread."""
        return Text(source, version, self._compiler.compile(source))

    def put(self, active: Mapping[TextKey, Text]) -> None:
        """These versions are in force from now on; all other texts are those of the files."""
        self._active = dict(active)

    def normal(self, locale: str) -> str:
        """The language tag as files are named; empty: it is none."""
        return normal_locale(locale)

    def plural_forms(self, locale: str) -> tuple[str, ...]:
        """The plural forms of the language."""
        return plural_forms(locale)

    def texts(self) -> dict[TextKey, Text]:
        """What is in force, files and versions."""
        return self._files | self._active

    def file(self, key: TextKey) -> Text | None:
        """The text of the file, in force or not."""
        return self._files.get(key)

    def render(self, wanted: ToRender) -> Rendered | MissingTemplate:
        """Fill the template; the locale falls back from `pt-BR` to `pt` to the default."""
        found = self.find(wanted.name, wanted.channel, wanted.locale)
        if found is None:
            locale = normal_locale(wanted.locale) or self.default_locale
            return MissingTemplate(
                f"there is no template {wanted.name} for {wanted.channel} in {locale} or "
                f"{self.default_locale}; write {wanted.name}/{self.default_locale}.{wanted.channel}.j2"
            )
        return self.fill(*found, wanted)

    def find(self, name: str, channel: Channel, locale: str) -> tuple[TextKey, Text] | None:
        """The text that a customer with this language reads."""
        for candidate in _chain(locale, self.default_locale):
            key = TextKey(name, candidate, channel)
            text = self._active.get(key) or self._files.get(key)
            if text is not None:
                return key, text
        return None

    def fill(self, key: TextKey, text: Text, wanted: ToRender) -> Rendered | MissingTemplate:
        """Fill one text, in force or not."""
        where = f"template {key}.j2"
        words = self._words(key, wanted)
        try:
            self._compiler.use(Run(words))
            return self._fill(f"{key}@{text.version}", text.speech, wanted, _context(wanted, words))
        except (_Unfit, OverBudgetError) as unfit:
            return MissingTemplate(f"{where} {unfit}")
        except UndefinedError as error:
            # Jinja's words for it name the missing parameter, never a value.
            return MissingTemplate(f"{where} needs a parameter that the action lacks: {error.message}")
        except (FilterArgumentError, SecurityError) as error:
            return MissingTemplate(f"{where} cannot be filled: {_without_values(error)}")
        except RecursionError:
            return MissingTemplate(f"{where} goes too deep; a macro must not call itself")
        except Exception as error:  # noqa: BLE001 - whatever a template does, the message is only not said
            return MissingTemplate(f"{where} could not be filled: {type(error).__name__}")

    def _words(self, key: TextKey, wanted: ToRender) -> Words:
        """The customer's own way to write values where the text is in their language, else the text's."""
        own = normal_locale(wanted.locale)
        tag = own if key.locale in fallbacks(own) else key.locale
        return words_of(tag, wanted.zone or self._default_zone, plain=key.channel in _PLAIN)

    def _fill(self, template: str, speech: Speech, wanted: ToRender, context: Mapping[str, Any]) -> Rendered:
        blocks = speech.text.blocks
        if "text" in blocks:
            text = _tidy(_block(speech.text, "text", context))
        else:
            text = _tidy(_bounded(speech.text.generate(context)))
        if wanted.channel is Channel.SMS:
            text = text.translate(_SMS_BLANKS)
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
            html="" if speech.html is None else _tidy(_block(speech.html, "html", context)),
            sender=_line(_block(speech.text, "sender", context)),
            segments=segments,
            template=template,
        )


class _Unfit(Exception):  # noqa: N818 - a text that must not leave, told as a missing template
    """The filled text is not fit to be sent; the message says why, without the text."""


@lru_cache(maxsize=4096)
def _chain(locale: str, default: str) -> tuple[str, ...]:
    return tuple(dict.fromkeys((*fallbacks(locale), *fallbacks(default))))


def _context(wanted: ToRender, words: Words) -> dict[str, Any]:
    types = wanted.types
    values: dict[str, Any] = {
        name: words.shown(value, types.get(name)) for name, value in wanted.parameters.items()
    }
    values["profile"] = Traits({name: clean(text) for name, text in wanted.traits.items()})
    return values


def _without_values(error: Exception) -> str:
    """What the sandbox says; its own words name no value, Jinja's might."""
    text = str(error)
    return text if "safely callable" not in text else "only macros can be called"


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
