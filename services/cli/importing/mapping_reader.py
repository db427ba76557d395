"""Reads a mapping's YAML; every mistake is named with file, line and what would be right."""

import datetime as dt
from dataclasses import replace
from hashlib import sha256
from pathlib import Path
from typing import Any

from ruamel.yaml.comments import CommentedMap

from services.cli.importing.mapping import (
    CONSENT_FIELDS,
    IMPORTED,
    Cell,
    Condition,
    Constant,
    Mapping,
    MappingFile,
    Saying,
    TimeOf,
)
from services.cli.stack.errors import StackError
from services.vocabulary.identities import IDENTITY_KINDS
from services.vocabulary.values import ValueMistake, zone
from services.vocabulary.yaml_section import Mistakes, Section, read_yaml

_FORMATS = ("csv", "parquet", "json")


def read_mapping(path: Path, default_zone: str, at: str = "") -> MappingFile:
    """The mapping of a file; raises StackError with all mistakes found.

    `at`: when it all became true, where no column says so.
    """
    mistakes = Mistakes()
    file = read_yaml(path, path.name, mistakes)
    by_name: list[tuple[str, Mapping]] = []
    if file is not None:
        start = Mapping("", time=TimeOf(constant=at, zone=default_zone))
        common = _Reader(default_zone).read(file, start)
        if at and not common.time.column:
            common = replace(common, time=start.time)
        files = file.section("files")
        if files is None:
            by_name.append(("", common))
        else:
            for name, section in files.sections():
                key = name.partition(".")[0].strip("*?_-")
                laid = replace(common, source=f"{common.source}/{key}", key=key)
                by_name.append((name, _Reader(default_zone).read(section, laid)))
        file.done()
        for name, mapping in by_name:
            _check(files if name and files is not None else file, name, mapping)
    if mistakes.found:
        raise StackError(
            "The mapping cannot be read:\n" + "\n".join(f"  {error}" for error in mistakes.found)
        )
    return MappingFile(path, sha256(path.read_bytes()).hexdigest(), tuple(by_name))


def _check(section: Section, name: str, mapping: Mapping) -> None:
    where = name or "source"
    if not mapping.source.partition("/")[0]:
        section.wrong("source", "is missing", "name the system that says so, as sources.yaml names it")
    if not mapping.subject and not all(saying.subject for saying in mapping.sayings):
        section.wrong(where, "has no subject", "write subject: {msisdn: column}")
    if not mapping.sayings:
        section.wrong(where, "says nothing", "write traits:, consents: or events:")
    timeless = [saying for saying in mapping.sayings if saying.time is None]
    if timeless and not (mapping.time.column or mapping.time.constant):
        section.wrong(where, "has no time", "write time: {column: …}, time: 2026-11-02, or give --time")


class _Reader:
    """Reads one level: what stands there is laid over what stands above it."""

    def __init__(self, default_zone: str) -> None:
        self._default_zone = default_zone

    def read(self, section: Section, above: Mapping) -> Mapping:
        mapping = replace(
            above,
            source=section.text("source", above.source),
            format=self._format(section, above.format),
            encoding=section.text("encoding", above.encoding),
            delimiter=section.text("delimiter", above.delimiter),
            quote=section.text("quote", above.quote),
            live=section.flag("live") or above.live,
            id=section.texts("id") or above.id,
        )
        if (subject := self._subject(section)) is not None:
            mapping = replace(mapping, subject=subject)
        if (time := self._time(section)) is not None:
            mapping = replace(mapping, time=time)
        if section.take("when") is not None:
            mapping = replace(mapping, when=(*above.when, *self._when(section)))
        sayings = self._sayings(section)
        if sayings:
            mapping = replace(mapping, sayings=sayings)
        if section.where:
            section.done()
        else:
            section.asked.add("files")
        return mapping

    def _format(self, section: Section, above: str) -> str:
        found = section.text("format", above)
        if found and found not in _FORMATS:
            section.wrong("format", f"is {found!r}", "write one of " + ", ".join(_FORMATS))
        return found

    # --- what a row says --------------------------------------------------------------------------------

    def _sayings(self, section: Section) -> tuple[Saying, ...]:
        found: list[Saying] = []
        delete = section.flag("delete")
        traits = self._traits(section, delete=delete)
        if traits:
            found.append(Saying("profile.updated", traits=traits, line=section.line_of("traits")))
        found += self._consents(section)
        found += self._events(section)
        if delete and not traits:
            section.wrong("delete", "names no traits", "list them: traits: [plan, device]")
        return tuple(found)

    def _traits(self, section: Section, *, delete: bool) -> tuple[tuple[str, Cell | None], ...]:
        raw = section.take("traits")
        if delete and isinstance(raw, list):
            return tuple((name, None) for name in section.texts("traits"))
        below = section.section("traits")
        if below is None:
            return ()
        if delete:
            return tuple((str(name), None) for name in below.content)
        return self._cells(below)

    def _cells(self, section: Section) -> tuple[tuple[str, Cell], ...]:
        return tuple((str(name), self._cell(section, str(name))) for name in section.content)

    def _consents(self, section: Section) -> list[Saying]:
        found: list[Saying] = []
        for below in self._list(section, "consents"):
            given = {
                name: self._cell(below, name, words=True) for name in CONSENT_FIELDS if name in below.content
            }
            given.setdefault("by", IMPORTED)
            for name in ("purpose", "state"):
                if name not in given:
                    below.wrong(name, "is missing", "name the purpose, and the state granted or denied")
            saying = Saying("consent.changed", tuple(given.items()), line=below.line)
            found.append(self._circumstances(below, saying))
            below.done()
        return found

    def _events(self, section: Section) -> list[Saying]:
        found: list[Saying] = []
        for below in self._list(section, "events"):
            fields = below.section("fields")
            cells = () if fields is None else self._cells(fields)
            saying = Saying(below.required_text("type"), cells, line=below.line)
            found.append(self._circumstances(below, saying))
            below.done()
        return found

    def _circumstances(self, section: Section, saying: Saying) -> Saying:
        when = self._when(section) if section.take("when") is not None else ()
        return replace(saying, when=when, time=self._time(section), subject=self._subject(section) or ())

    def _list(self, section: Section, key: str) -> list[Section]:
        raw = section.take(key)
        if raw is None:
            return []
        if not isinstance(raw, list) or not all(isinstance(item, CommentedMap) for item in raw):
            section.wrong(key, "must be a list of mappings", f"write {key}: and below it lines with a dash")
            return []
        return [
            Section(section.file, _line(raw, place, section, key), f"{key}[{place}]", item, section.mistakes)
            for place, item in enumerate(raw)
        ]

    # --- whom, when, under which condition ---------------------------------------------------------------

    def _subject(self, section: Section) -> tuple[tuple[str, Cell], ...] | None:
        below = section.section("subject")
        if below is None:
            return None
        found: list[tuple[str, Cell]] = []
        for name in map(str, below.content):
            if name not in IDENTITY_KINDS:
                below.wrong(name, "is no kind of identity", "known are " + ", ".join(IDENTITY_KINDS))
            raw = below.take(name)
            if isinstance(raw, list):
                found += [(name, Cell(column=column)) for column in below.texts(name)]
            else:
                found.append((name, self._cell(below, name)))
        return tuple(found)

    def _time(self, section: Section) -> TimeOf | None:
        raw = section.take("time")
        if raw is None:
            return None
        if isinstance(raw, str | dt.date):
            return TimeOf(constant=str(raw), zone=self._default_zone)
        below = section.section("time")
        if below is None:
            return None
        hour = below.whole("hour", 12)
        time = TimeOf(
            column=below.required_text("column"),
            zone=below.text("zone", self._default_zone),
            hour=12 if hour is None else hour,
            format=below.text("format"),
        )
        if not 0 <= time.hour <= 23:
            below.wrong("hour", f"is {time.hour}", "write 0 to 23")
        try:
            zone(time.zone)
        except ValueMistake as mistake:
            below.wrong("zone", mistake.message, mistake.suggestion)
        below.done()
        return time

    def _when(self, section: Section) -> tuple[Condition, ...]:
        below = section.section("when")
        if below is None:
            return ()
        found: list[Condition] = []
        for column in map(str, below.content):
            raw = below.take(column)
            if isinstance(raw, CommentedMap):
                inner = below.section(column)
                assert inner is not None
                empty = inner.flag("empty") if inner.take("empty") is not None else None
                found.append(Condition(column, none_of=_texts(inner.take("not")), empty=empty))
                inner.done()
            else:
                found.append(Condition(column, among=_texts(raw)))
        return tuple(found)

    # --- cells -------------------------------------------------------------------------------------------

    def _cell(self, section: Section, key: str, *, words: bool = False) -> Cell:
        """A column's name, a constant (true, 3, {is: text}), or a mapping. `words`: a text is no column's."""
        raw = section.take(key)
        if isinstance(raw, bool | int | float):
            return Cell(constant=raw)
        if isinstance(raw, dt.date):
            return Cell(constant=raw.isoformat())
        if isinstance(raw, str):
            return Cell(constant=str(raw)) if words else Cell(column=str(raw))
        below = section.section(key) if raw is not None else None
        if below is None:
            if raw is None:
                section.wrong(key, "says nothing", "name a column, or a value as {is: text}")
            return Cell(constant="")
        constant = below.take("is")
        cell = Cell(
            column=below.text("column") if constant is None else "",
            constant=_constant(constant),
            values=self._values(below),
            otherwise=_constant(below.take("otherwise")),
            has_otherwise="otherwise" in below.content,
            prefix=below.text("prefix"),
            currency=below.text("currency"),
            separator=below.text("separator"),
            times=below.number("times"),
            format=below.text("format"),
        )
        if constant is None and not cell.column:
            below.wrong("column", "is missing", "name a column, or a value as {is: text}")
        below.done()
        return cell

    def _values(self, section: Section) -> tuple[tuple[str, Constant | None], ...]:
        below = section.section("values")
        if below is None:
            return ()
        return tuple((_text(name), _constant(value)) for name, value in below.content.items())


def _texts(raw: Any) -> tuple[str, ...]:
    if raw is None:
        return ()
    return tuple(_text(item) for item in raw) if isinstance(raw, list) else (_text(raw),)


def _text(raw: Any) -> str:
    """As a file would hold it."""
    if isinstance(raw, bool):
        return "true" if raw else "false"
    return "" if raw is None else str(raw)


def _constant(raw: Any) -> Constant | None:
    if raw is None or isinstance(raw, bool | int | float):
        return raw
    return raw.isoformat() if isinstance(raw, dt.date) else str(raw)


def _line(raw: Any, place: int, section: Section, key: str) -> int:
    try:
        return int(raw.lc.item(place)[0]) + 1
    except (AttributeError, KeyError, TypeError):
        return section.line_of(key)
