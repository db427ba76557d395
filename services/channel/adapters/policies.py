"""Reads the operator's policies from rules/policies; every mistake names file and line."""

import re
from collections.abc import Hashable, Mapping
from pathlib import Path
from typing import Any, TypeVar

from ruamel.yaml import YAML
from ruamel.yaml.comments import CommentedMap
from ruamel.yaml.error import MarkedYAMLError

from services.channel.domain.caps import Cap
from services.channel.domain.errors import PolicyError
from services.channel.domain.policies import Policies
from services.channel.domain.quiet_hours import MINUTES_OF_DAY, Override, QuietHours, QuietWindow, Week
from services.runtime.configuration import Digests, digest_files
from services.vocabulary.values import parse_duration
from services.vocabulary.words import Category, Channel

WEEKDAYS = ("mon", "tue", "wed", "thu", "fri", "sat", "sun")
_FILES = ("caps.yaml", "quiet_hours.yaml")
_CAP_KEYS = ("most", "within", "limits", "counts", "channels", "same_name")
_SPAN = re.compile(r"(\d{1,2}):(\d{2})-(\d{1,2}):(\d{2})")
Word = TypeVar("Word", Category, Channel)


def load_policies(folder: Path, default_zone: str) -> Policies:
    """The policies in that folder; raises PolicyError: file, line, and what would be right."""
    return Policies(
        caps=_read_caps(folder / "caps.yaml"),
        quiet_hours=_read_quiet_hours(folder / "quiet_hours.yaml", default_zone),
    )


class PolicyFolder:
    """The policies in force: the last ones read that were right."""

    def __init__(self, folder: Path, default_zone: str) -> None:
        self._folder = folder
        self._default_zone = default_zone
        self._seen = self._stamp()
        self._digests = self._digest()
        self._policies = load_policies(folder, default_zone)

    def current(self) -> Policies:
        """The policies in force."""
        return self._policies

    def refresh(self) -> bool:
        """Reads files that changed; True when new policies are in force. A mistake leaves the old ones."""
        stamp = self._stamp()
        if stamp == self._seen:
            return False
        self._seen = stamp
        digests = self._digest()
        self._policies = load_policies(self._folder, self._default_zone)
        self._digests = digests
        return True

    def digests(self) -> Digests:
        """Digests of the files in force, by name."""
        return self._digests

    def _digest(self) -> Digests:
        return digest_files(self._folder, *_FILES)

    def _stamp(self) -> Hashable:
        found = []
        for name in _FILES:
            try:
                status = (self._folder / name).stat()
            except OSError:
                continue
            found.append((name, status.st_mtime_ns, status.st_size))
        return tuple(found)


class _Mistakes:
    """Says where in a file something is wrong."""

    def __init__(self, file: Path) -> None:
        self.file = file

    def at(self, line: int, wrong: str, right: str) -> PolicyError:
        """The error to raise; lines count from 1."""
        return PolicyError(f"{self.file.parent.name}/{self.file.name}:{line}: {wrong}; {right}")


def _read(file: Path) -> tuple[CommentedMap, _Mistakes]:
    mistakes = _Mistakes(file)
    reader = YAML(typ="rt")
    try:
        content = reader.load(file.read_text(encoding="utf-8"))
    except OSError as error:
        raise mistakes.at(1, f"cannot be read ({error.strerror})", "put the file there") from error
    except MarkedYAMLError as error:
        line = error.problem_mark.line + 1 if error.problem_mark is not None else 1
        raise mistakes.at(line, f"is not YAML ({error.problem})", "mend it") from error
    if not isinstance(content, CommentedMap):
        raise mistakes.at(1, "is not a map", "begin with a key such as caps: or quiet:")
    return content, mistakes


def _line(content: CommentedMap, key: str) -> int:
    position = content.lc.data.get(key) if content.lc.data else None
    return int(position[0]) + 1 if position else 1


def _only(
    content: Mapping[str, Any], allowed: tuple[str, ...], mistakes: _Mistakes, lines: CommentedMap
) -> None:
    for key in content:
        if key not in allowed:
            raise mistakes.at(_line(lines, key), f"{key!r} is unknown", f"use {', '.join(allowed)}")


def _read_caps(file: Path) -> tuple[Cap, ...]:
    content, mistakes = _read(file)
    _only(content, ("caps",), mistakes, content)
    listed = content.get("caps")
    if listed is None:
        return ()
    if not isinstance(listed, CommentedMap):
        raise mistakes.at(
            _line(content, "caps"), "caps is not a map", "write a line `name: {most: …}` per cap"
        )
    return tuple(_cap(str(name), listed, mistakes) for name in listed)


def _cap(name: str, listed: CommentedMap, mistakes: _Mistakes) -> Cap:
    raw, line = listed[name], _line(listed, name)
    if not isinstance(raw, CommentedMap):
        raise mistakes.at(
            line, f"cap {name} is not a map", "write {most: 1, within: 24h, limits: […], counts: […]}"
        )
    _only(raw, _CAP_KEYS, mistakes, raw)
    for key in ("most", "within", "limits", "counts"):
        if key not in raw:
            raise mistakes.at(line, f"cap {name} has no {key}", f"it needs {', '.join(_CAP_KEYS[:4])}")
    most = raw["most"]
    if not isinstance(most, int) or isinstance(most, bool) or most < 0:
        raise mistakes.at(_line(raw, "most"), f"most is {most!r}", "write a whole number from 0")
    try:
        window = parse_duration(str(raw["within"]))
    except ValueError as error:
        raise mistakes.at(
            _line(raw, "within"), f"within is {raw['within']!r}", "write 24h, 7d, 30m"
        ) from error
    same_name = raw.get("same_name", False)
    if not isinstance(same_name, bool):
        raise mistakes.at(_line(raw, "same_name"), f"same_name is {same_name!r}", "write true or false")
    return Cap(
        name=name,
        most=most,
        window_micros=window,
        limits=_words(raw, "limits", Category, mistakes),
        counts=_words(raw, "counts", Category, mistakes),
        channels=_words(raw, "channels", Channel, mistakes) if "channels" in raw else frozenset(),
        same_name=same_name,
    )


def _words(raw: CommentedMap, key: str, kind: type[Word], mistakes: _Mistakes) -> frozenset[Word]:
    listed = raw[key]
    if not isinstance(listed, list) or not listed:
        raise mistakes.at(
            _line(raw, key), f"{key} is not a list of words", f"write {key}: [{next(iter(kind))}]"
        )
    found = set()
    for word in listed:
        try:
            found.add(kind(str(word)))
        except ValueError as error:
            known = ", ".join(one.value for one in kind)
            raise mistakes.at(_line(raw, key), f"{word!r} is unknown", f"use {known}") from error
    return frozenset(found)


def _read_quiet_hours(file: Path, default_zone: str) -> QuietHours:
    content, mistakes = _read(file)
    _only(content, ("quiet", "closed", "channels"), mistakes, content)
    windows: list[tuple[QuietWindow, ...]] = [()] * len(WEEKDAYS)
    quiet = content.get("quiet") or {}
    if not isinstance(quiet, Mapping):
        raise mistakes.at(
            _line(content, "quiet"), "quiet is not a map", "write `mon: [21:00-08:00]` per weekday"
        )
    for day, spans in quiet.items():
        line = _line(quiet, day) if isinstance(quiet, CommentedMap) else 1
        place = _weekday(day, line, mistakes)
        if not isinstance(spans, list):
            raise mistakes.at(line, f"{day} is not a list", "write [21:00-08:00], or [] for none")
        windows[place] = tuple(_window(str(span), line, mistakes) for span in spans)
    closed = content.get("closed") or []
    if not isinstance(closed, list):
        raise mistakes.at(_line(content, "closed"), "closed is not a list", "write closed: [sun], or []")
    line = _line(content, "closed")
    return QuietHours(
        week=Week(tuple(windows), frozenset(_weekday(day, line, mistakes) for day in closed)),
        channels=_overrides(content, mistakes),
        default_zone=default_zone,
    )


def _weekday(day: object, line: int, mistakes: _Mistakes) -> int:
    if day not in WEEKDAYS:
        raise mistakes.at(line, f"{day!r} is no weekday", f"use {', '.join(WEEKDAYS)}")
    return WEEKDAYS.index(str(day))


def _window(span: str, line: int, mistakes: _Mistakes) -> QuietWindow:
    found = _SPAN.fullmatch(span.strip())
    if found is not None:
        hours, minutes, end_hours, end_minutes = (int(part) for part in found.groups())
        start, end = hours * 60 + minutes, end_hours * 60 + end_minutes
        if (
            minutes < 60
            and end_minutes < 60
            and start < MINUTES_OF_DAY
            and end <= MINUTES_OF_DAY
            and start != end
        ):
            return QuietWindow(start, end)
    raise mistakes.at(line, f"{span!r} is no time of day to another", "write 21:00-08:00; 24:00 ends the day")


def _overrides(content: CommentedMap, mistakes: _Mistakes) -> dict[Channel, Override]:
    listed = content.get("channels") or {}
    if not isinstance(listed, CommentedMap):
        if listed:
            raise mistakes.at(_line(content, "channels"), "channels is not a map", "write `app: always`")
        return {}
    found: dict[Channel, Override] = {}
    for name, how in listed.items():
        try:
            found[Channel(str(name))] = Override(str(how))
        except ValueError as error:
            known = ", ".join(channel.value for channel in Channel)
            right = f"write a channel ({known}) with always or respect"
            raise mistakes.at(_line(listed, name), f"{name}: {how} is not understood", right) from error
    return found
