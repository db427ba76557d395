"""Reads caps.yaml."""

from ruamel.yaml.comments import CommentedMap

from services.channel.adapters.policies.reading import Mistakes, Source, line_of, only, read, words
from services.channel.domain.caps import Cap
from services.vocabulary.values import parse_duration
from services.vocabulary.words import Category, Channel

_CAP_KEYS = ("most", "within", "limits", "counts", "channels", "same_name")


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
    most = raw["most"]
    if not isinstance(most, int) or isinstance(most, bool) or most < 0:
        raise mistakes.at(line_of(raw, "most"), f"most is {most!r}", "write a whole number from 0")
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
    )
