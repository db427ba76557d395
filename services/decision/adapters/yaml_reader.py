"""Reads YAML 1.2 into nodes that know their line and column, and says everything that is wrong at once."""

import io
import re
from collections.abc import Iterator
from functools import lru_cache

from ruamel.yaml import YAML
from ruamel.yaml.error import MarkedYAMLError, YAMLError
from ruamel.yaml.nodes import MappingNode, ScalarNode, SequenceNode

from services.decision.domain.language.nodes import Block, Document, Listing, Mistake, Node, Scalar

MOST_CHARACTERS = 1_000_000
_REMEMBERED = 1024
_DEEPEST = 40
_TRUE = frozenset({"true", "True", "TRUE"})
_FALSE = frozenset({"false", "False", "FALSE"})
_NULL = frozenset({"null", "Null", "NULL", "~", ""})
_INT = re.compile(r"[-+]?[0-9]+")
_FLOAT = re.compile(r"[-+]?(\.[0-9]+|[0-9]+(\.[0-9]*)?)([eE][-+]?[0-9]+)?")
_TAGS = frozenset(
    f"tag:yaml.org,2002:{name}" for name in ("str", "int", "float", "bool", "null", "timestamp")
)


@lru_cache(maxsize=_REMEMBERED)
def read_yaml(text: str) -> Document:
    """The document with positions (from 1). Nothing is raised for what a text may contain.

    Reading is most of what compiling costs, and all but one of the texts of an activation were read before.
    """
    if len(text) > MOST_CHARACTERS:
        return _unreadable(
            0, 0, "the file is larger than a million characters", "split it into several rule sets"
        )
    yaml = YAML(typ="safe", pure=True)
    try:
        root = yaml.compose(io.StringIO(text))
    except MarkedYAMLError as error:
        return Document(None, (_syntax_mistake(error, text),))
    except (YAMLError, ValueError) as error:
        return _unreadable(
            0, 0, f"this is not YAML: {_first_line(str(error))}", "remove characters that cannot be seen"
        )
    except RecursionError:
        return _unreadable(0, 0, "it is nested too deeply", f"use at most {_DEEPEST} levels")
    if root is None:
        return _unreadable(1, 1, "the file is empty", "begin with `ruleset: a-name`")
    builder = _Builder()
    node = builder.build(root, 0)
    return Document(node, tuple(sorted(builder.mistakes, key=lambda mistake: (mistake.line, mistake.column))))


def _unreadable(line: int, column: int, message: str, suggestion: str) -> Document:
    return Document(None, (Mistake(line, column, "", message, suggestion, "yaml"),))


def _first_line(text: str) -> str:
    return text.strip().splitlines()[0] if text.strip() else "unreadable"


# What the parser says, beginning with the first that fits: what an author is told, and what to write instead.
_SYNTAX = (
    (r"quoted scalar", "a quote is not closed", "close it, or write a quote within a text as \\\" or ''"),
    (r"character '\\t'", "a line begins with a tab", "indent with spaces, not tabs"),
    (r"character '>'", "a text cannot begin with >", "put it in quotes, or write `over`"),
    (r"character", "a text cannot begin with this character", "put it in quotes"),
    (
        r"mapping values are not",
        "a second colon stands in this line",
        "put a text that has a colon in it in quotes",
    ),
    (
        r"parsing a flow",
        "a bracket { or [ is not closed, or a comma is missing",
        "close the bracket; put a text that has brackets or commas in it in quotes",
    ),
    (
        r"block (mapping|collection|sequence)",
        "this line does not fit to those above",
        "indent it like its neighbours; put a text that has brackets in it in quotes",
    ),
    (r"undefined alias|anchor", "a text cannot begin with * or &", "put it in quotes"),
    (r"another document", "a second document begins here", "remove the line, or make two files"),
    (r"could not find expected ':'", "a key without a colon and a value", "write key: value"),
)


def _syntax_mistake(error: MarkedYAMLError, text: str) -> Mistake:
    what = " ".join(str(part) for part in (error.context, error.problem) if part)
    unclosed = "end of stream" in what or "stream end" in what
    mark = (error.context_mark if unclosed else None) or error.problem_mark or error.context_mark
    line, column = (mark.line + 1, mark.column + 1) if mark else (0, 0)
    lines = text.splitlines()
    written = lines[line - 1].strip() if 0 < line <= len(lines) else ""
    message, suggestion = next(
        ((message, suggestion) for pattern, message, suggestion in _SYNTAX if re.search(pattern, what)),
        (f"this is not YAML: {what or 'unreadable'}", "check the indentation and the quotes of this line"),
    )
    return Mistake(line, column, written[:60], message, suggestion, "yaml")


class _Builder:
    """Turns the composed tree into nodes, collecting what is wrong."""

    def __init__(self) -> None:
        self.mistakes: list[Mistake] = []
        self._seen: set[int] = set()

    def build(self, raw: object, depth: int) -> Node:
        assert isinstance(raw, ScalarNode | SequenceNode | MappingNode)
        line, column = raw.start_mark.line + 1, raw.start_mark.column + 1
        if depth > _DEEPEST:
            self._add(line, column, "", "it is nested too deeply", f"use at most {_DEEPEST} levels", "yaml")
            return Scalar(line, column, "", None)
        if id(raw) in self._seen:
            self._add(
                line,
                column,
                "*",
                "`*` and `&` (YAML aliases) are not part of the language",
                "write it out; or quotes, if it is a text",
                "yaml-alias",
            )
            return Scalar(line, column, "", None)
        self._seen.add(id(raw))
        if isinstance(raw, ScalarNode):
            return self._scalar(raw, line, column)
        if isinstance(raw, SequenceNode):
            return Listing(line, column, tuple([self.build(item, depth + 1) for item in raw.value]))
        return self._block(raw, line, column, depth)

    def _scalar(self, raw: ScalarNode, line: int, column: int) -> Scalar:
        quoted = raw.style is not None
        text = str(raw.value)
        tag = str(raw.tag or "")
        if tag.startswith("!") or (tag.startswith("tag:") and tag not in _TAGS | {"tag:yaml.org,2002:merge"}):
            self._add(
                line,
                column,
                tag,
                "`!` (a YAML tag) is not part of the language",
                "leave it out; or quotes, if it is a text",
                "yaml-tag",
            )
        return Scalar(line, column, text, text if quoted else _resolve(text), quoted)

    def _block(self, raw: MappingNode, line: int, column: int, depth: int) -> Block:
        entries: dict[str, tuple[Scalar, Node]] = {}
        for key, value in self._pairs(raw):
            if key.text in entries:
                first = entries[key.text][0]
                self._add(
                    key.line,
                    key.column,
                    key.text,
                    f"the key `{key.text}` is given twice, first in line {first.line}",
                    "keep one of them",
                    "duplicate-key",
                )
                continue
            entries[key.text] = (key, self.build(value, depth + 1))
        self._check_braces(raw, tuple(entries.values()), line, column)
        return Block(line, column, tuple(entries.values()))

    def _pairs(self, raw: MappingNode) -> Iterator[tuple[Scalar, object]]:
        for key, value in raw.value:
            line, column = key.start_mark.line + 1, key.start_mark.column + 1
            if isinstance(key, ScalarNode):
                yield self._scalar(key, line, column), value
            else:
                self._add(
                    line,
                    column,
                    "{",
                    "a key must be one word; YAML reads { … } as keys with values",
                    'put a text that has {…} in it in quotes: "{profile.better_plan}"',
                    "unquoted-braces",
                )

    def _check_braces(
        self, raw: MappingNode, entries: tuple[tuple[Scalar, Node], ...], line: int, column: int
    ) -> None:
        if not raw.flow_style or len(entries) != 1:
            return
        key, value = entries[0]
        if isinstance(value, Scalar) and value.text == "" and not value.quoted:
            self._add(
                line,
                column,
                f"{{{key.text}}}",
                f"YAML reads {{{key.text}}} without quotes as keys with values",
                f'put it in quotes: "{{{key.text}}}"',
                "unquoted-braces",
            )

    def _add(self, line: int, column: int, text: str, message: str, suggestion: str, check: str) -> None:
        self.mistakes.append(Mistake(line, column, text[:60], message, suggestion, check))


def _resolve(text: str) -> str | int | float | bool | None:
    """The value of a plain scalar by the core schema of YAML 1.2 (no octal, no hexadecimal, no infinity)."""
    if text in _TRUE:
        return True
    if text in _FALSE:
        return False
    if text in _NULL:
        return None
    if _INT.fullmatch(text) and len(text) <= 18:
        return int(text)
    if _FLOAT.fullmatch(text):
        return float(text)
    return text
