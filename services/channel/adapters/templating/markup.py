"""Where in HTML a value stands, so that it can do nothing there but be read.

The fixed parts of a block are read once, character by character, as a browser would read them. A value may
stand in text and in quoted attributes; one in a link is checked or written as %xx; anywhere else (names of
tags and attributes, scripts, styles, comments, unquoted attributes) the template is refused.
"""

from collections.abc import Callable, Iterable
from dataclasses import dataclass, replace

from jinja2 import nodes

from services.channel.adapters.templating.filters import ATTRIBUTE, LINK, LINK_PART
from services.channel.adapters.templating.links import SCHEMES, scheme_of
from services.channel.adapters.templating.syntax import wrap
from services.channel.domain.errors import InvalidTemplateError

_LINKS = frozenset(
    {"href", "src", "action", "formaction", "background", "poster", "cite", "longdesc", "xlink:href"}
)
_NO_VALUES = frozenset({"style", "srcdoc", "srcset", "data", "ping", "http-equiv", "content"})
_RAW = frozenset({"script", "style"})
_REFUSED_TAGS = frozenset({"script", "iframe", "object", "embed", "base", "applet", "frame"})
_NO_VALUE_TAGS = frozenset({"link", "meta", "param", "svg", "math", "use", "animate", "set"})
_BLANKS = " \t\n\r\f"


@dataclass(frozen=True, slots=True)
class _Place:
    """Where the reading stands."""

    at: str = "text"
    """One of _STEPS: in text, after <, in the name of a tag, inside the tag, in an attribute's name …"""
    tag: str = ""
    attribute: str = ""
    quote: str = ""
    value: str = ""
    """Of the attribute, as far as it is fixed; what a value added is a NUL."""
    tail: str = ""
    """The last few characters, where an end of several characters is looked for."""


def guard(tree: nodes.Template) -> None:
    """Makes what the html block prints fit its place; raises InvalidTemplateError where nothing fits."""
    for block in tree.find_all(nodes.Block):
        if block.name == "html":
            _whole(block.body, block.lineno)
    for kind in (nodes.Macro, nodes.CallBlock, nodes.AssignBlock, nodes.FilterBlock):
        # what they make may be printed in the html block, as text
        for part in tree.find_all(kind):
            _whole(getattr(part, "body"), part.lineno)  # noqa: B009 - each kind has one, their base has not


def _whole(body: list[nodes.Node], line: int) -> None:
    if _body(body, _Place()).at != "text":
        raise InvalidTemplateError(
            line, "HTML ends inside a tag, a comment or an attribute", "close it there"
        )


def _body(body: Iterable[nodes.Node], place: _Place) -> _Place:
    for node in body:
        place = _node(node, place)
    return place


def _node(node: nodes.Node, place: _Place) -> _Place:
    match node:
        case nodes.Output():
            for index, part in enumerate(node.nodes):
                if isinstance(part, nodes.TemplateData):
                    place = _read(part.data, place, part.lineno)
                else:
                    node.nodes[index], place = _value(part, place)
            return place
        case nodes.If():
            bodies = [node.body, node.else_, *(branch.body for branch in node.elif_)]
            return _same([_body(body, place) for body in bodies], node.lineno)
        case nodes.For():
            return _same([place, _body(node.body, place), _body(node.else_, place)], node.lineno)
        case nodes.With() | nodes.Scope():
            return _body(node.body, place)
        case nodes.Block():
            return _body(node.body, place)
        case nodes.CallBlock() | nodes.FilterBlock():
            if place.at != "text":
                raise InvalidTemplateError(
                    node.lineno, "a macro is called inside a tag", "call it in the text"
                )
    return place


def _same(ends: list[_Place], line: int) -> _Place:
    first = ends[0]
    if all(replace(end, value="", tail="") == replace(first, value="", tail="") for end in ends):
        values = {end.value for end in ends}
        if len(values) == 1:
            return replace(first, tail="")
        if all(values):
            return replace(first, value="\0", tail="")
    raise InvalidTemplateError(
        line,
        "HTML goes on differently after {% if %} or {% for %}",
        "open and close tags and links inside it",
    )


def _value(part: nodes.Expr, place: _Place) -> tuple[nodes.Expr, _Place]:
    if place.at == "text":
        return part, place
    fits = place.at == "quoted" and place.tag not in _NO_VALUE_TAGS
    name = place.attribute
    if not fits or name in _NO_VALUES or name.startswith("on"):
        raise InvalidTemplateError(
            part.lineno,
            "a value stands where HTML would obey it",
            'put it into text, or into quotes: <a href="{{ link }}">',
        )
    after = replace(place, value=place.value + "\0")
    if name not in _LINKS:
        return wrap(ATTRIBUTE, part), after
    return wrap(LINK_PART if place.value.strip() else LINK, part), after


def _read(text: str, place: _Place, line: int) -> _Place:
    """The place after a fixed text."""
    reader = _Reader(place, line)
    for character in text:
        if character == "\n":
            reader.line += 1
        _STEPS[reader.at](reader, character)
    if reader.at == "quoted":
        _refuse_scheme(reader.attribute, reader.value, reader.line)
    return _Place(reader.at, reader.tag, reader.attribute, reader.quote, reader.value, reader.tail)


class _Reader:
    """Reads HTML a character at a time; one method for each place."""

    def __init__(self, place: _Place, line: int) -> None:
        self.line = line
        self.at, self.tag, self.attribute = place.at, place.tag, place.attribute
        self.quote, self.value, self.tail = place.quote, place.value, place.tail

    def text(self, character: str) -> None:
        if character == "<":
            self.at, self.tag, self.tail = "open", "", ""

    def open(self, character: str) -> None:
        if character == "!":
            self.at, self.tail = "markup", ""
        elif character == "/":
            self.at, self.tag = "name", "/"
        elif character.isalpha():
            self.at, self.tag = "name", character.lower()
        elif character != "<":
            self.at = "text"

    def name(self, character: str) -> None:
        if character not in _BLANKS and character not in "/>":
            self.tag += character.lower()
            return
        if self.tag in _REFUSED_TAGS:
            raise InvalidTemplateError(self.line, f"a mail holds no <{self.tag}>", "leave it out")
        self.at = "inside"
        self.inside(character)

    def inside(self, character: str) -> None:
        if character == ">":
            self.attribute = self.value = self.tail = ""
            if self.tag in _RAW:
                self.at = "raw"
            else:
                self.at, self.tag = "text", ""
        elif character not in _BLANKS and character != "/":
            self.at, self.attribute = "attribute", character.lower()

    def attribute_name(self, character: str) -> None:
        if character == "=":
            self.at, self.value = "equals", ""
        elif character == ">":
            self.inside(character)
        elif character in _BLANKS or character == "/":
            self.at = "after"
        else:
            self.attribute += character.lower()

    def after(self, character: str) -> None:
        if character == "=":
            self.at, self.value = "equals", ""
        elif character not in _BLANKS:
            self.inside(character)

    def equals(self, character: str) -> None:
        if character in "\"'":
            self.at, self.quote, self.value = "quoted", character, ""
        elif character == ">":
            self.inside(character)
        elif character not in _BLANKS:
            self.at, self.value = "bare", character

    def quoted(self, character: str) -> None:
        if character != self.quote:
            self.value += character
            return
        _refuse_scheme(self.attribute, self.value, self.line)
        self.at, self.quote, self.value, self.attribute = "inside", "", "", ""

    def bare(self, character: str) -> None:
        if character not in _BLANKS and character != ">":
            self.value += character
            return
        _refuse_scheme(self.attribute, self.value, self.line)
        self.at, self.value, self.attribute = "inside", "", ""
        self.inside(character)

    def markup(self, character: str) -> None:
        self.tail = (self.tail + character)[-2:]
        if self.tail == "--":
            self.at, self.tail = "comment", ""
        elif character == ">":
            self.at, self.tail = "text", ""

    def comment(self, character: str) -> None:
        self.tail = (self.tail + character)[-3:]
        if self.tail == "-->":
            self.at, self.tail = "text", ""

    def raw(self, character: str) -> None:
        self.tail = (self.tail + character.lower())[-(len(self.tag) + 2) :]
        if self.tail == f"</{self.tag}":
            self.at, self.tag, self.tail = "name", f"/{self.tag}", ""


_STEPS: dict[str, Callable[[_Reader, str], None]] = {
    "text": _Reader.text,
    "open": _Reader.open,
    "name": _Reader.name,
    "inside": _Reader.inside,
    "attribute": _Reader.attribute_name,
    "after": _Reader.after,
    "equals": _Reader.equals,
    "quoted": _Reader.quoted,
    "bare": _Reader.bare,
    "markup": _Reader.markup,
    "comment": _Reader.comment,
    "raw": _Reader.raw,
}


def _refuse_scheme(attribute: str, value: str, line: int) -> None:
    scheme = scheme_of(value)
    if attribute in _LINKS and scheme and scheme not in SCHEMES and "\0" not in value.partition(":")[0]:
        raise InvalidTemplateError(line, f"a link begins with {scheme}:", f"use {', '.join(SCHEMES)}")
    if attribute.startswith("on") and attribute.isalpha():
        raise InvalidTemplateError(line, f"a mail holds no {attribute}", "leave it out")
