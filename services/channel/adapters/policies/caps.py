"""Reads caps.yaml."""

from ruamel.yaml.comments import CommentedMap

from services.channel.adapters.policies.reading import Mistakes, Source, line_of, only, read, texts, words
from services.channel.domain.caps import Cap, Reserve
from services.vocabulary.values import parse_duration
from services.vocabulary.words import Category, Channel

_CAP_KEYS = (
    "most",
    "within",
    "limits",
    "counts",
    "channels",
    "topics",
    "names",
    "same_name",
    "reserve",
    "scope",
)
_SCOPES = ("person", "household")
_RESERVE_KEYS = ("last", "from_priority", "categories")


def read_caps(file: Source) -> tuple[Cap, ...]:
    """The caps in the file; raises PolicyError."""
    content, mistakes = read(file)
    only(content, ("caps",), mistakes, content)
    listed = content.get("caps")
    if listed is None:
        return ()
    if not isinstance(listed, CommentedMap):
        raise mistakes.at(
            line_of(content, "caps"), "caps is not a map", "write a line `name: {most: …}` per cap"
        )
    return tuple(_cap(str(name), listed, mistakes) for name in listed)


def _cap(name: str, listed: CommentedMap, mistakes: Mistakes) -> Cap:
    raw, line = listed[name], line_of(listed, name)
    if not isinstance(raw, CommentedMap):
        raise mistakes.at(
            line, f"cap {name} is not a map", "write {most: 1, within: 24h, limits: […], counts: […]}"
        )
    only(raw, _CAP_KEYS, mistakes, raw)
    for key in ("most", "within", "limits", "counts"):
        if key not in raw:
            raise mistakes.at(line, f"cap {name} has no {key}", f"it needs {', '.join(_CAP_KEYS[:4])}")
    most = _whole(raw, "most", mistakes, least=0)
    try:
        window = parse_duration(str(raw["within"]))
    except ValueError as error:
        raise mistakes.at(
            line_of(raw, "within"), f"within is {raw['within']!r}", "write 24h, 7d, 30m"
        ) from error
    same_name = raw.get("same_name", False)
    if not isinstance(same_name, bool):
        raise mistakes.at(line_of(raw, "same_name"), f"same_name is {same_name!r}", "write true or false")
    return Cap(
        name=name,
        most=most,
        window_micros=window,
        limits=words(raw, "limits", Category, mistakes),
        counts=words(raw, "counts", Category, mistakes),
        channels=words(raw, "channels", Channel, mistakes) if "channels" in raw else frozenset(),
        same_name=same_name,
        topics=texts(raw, "topics", mistakes) if "topics" in raw else frozenset(),
        names=texts(raw, "names", mistakes) if "names" in raw else frozenset(),
        reserve=_reserve(raw, most, mistakes) if "reserve" in raw else None,
        household=_scope(raw, mistakes) == "household",
    )


def _scope(cap: CommentedMap, mistakes: Mistakes) -> str:
    scope = cap.get("scope", _SCOPES[0])
    if scope not in _SCOPES:
        raise mistakes.at(line_of(cap, "scope"), f"scope is {scope!r}", f"write {' or '.join(_SCOPES)}")
    return str(scope)


def _reserve(cap: CommentedMap, most: int, mistakes: Mistakes) -> Reserve:
    raw, line = cap["reserve"], line_of(cap, "reserve")
    right = "write {last: 1, from_priority: 80}, or {last: 1, categories: [mandatory]}"
    if not isinstance(raw, CommentedMap) or "last" not in raw or len(raw) == 1:
        raise mistakes.at(line, "reserve does not say how many of the last slots are kept for whom", right)
    only(raw, _RESERVE_KEYS, mistakes, raw)
    last = _whole(raw, "last", mistakes, least=1)
    if last > most:
        raise mistakes.at(line, f"reserve keeps the last {last} of {most}", f"keep at most {most}")
    return Reserve(
        last=last,
        from_priority=_whole(raw, "from_priority", mistakes, least=0) if "from_priority" in raw else None,
        categories=words(raw, "categories", Category, mistakes) if "categories" in raw else frozenset(),
    )


def _whole(raw: CommentedMap, key: str, mistakes: Mistakes, *, least: int) -> int:
    value = raw[key]
    if not isinstance(value, int) or isinstance(value, bool) or value < least:
        raise mistakes.at(line_of(raw, key), f"{key} is {value!r}", f"write a whole number from {least}")
    return value
