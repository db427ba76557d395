"""The page that a person can read: one HTML file that needs no network."""

from collections.abc import Iterable
from pathlib import Path
from typing import Any

import jinja2
import orjson

from services.cli.privacy.gather import Entry, Person

TOLD = {
    ("profile", "identities"),
    ("profile", "traits"),
    ("profile", "agreed"),
    ("profile", "consents"),
    ("profile", "preferences"),
    ("profile", "events"),
    ("channel", "messages"),
    ("channel", "written_by_them"),
    ("channel", "suppressions"),
    ("decision", "decisions"),
    *((service, "readers") for service in ("profile", "decision", "channel")),
}
"""Sections that the page tells in words of its own; all others stand in tables at its end."""

_OUTCOMES = {
    "dispatched": "handed over to be said",
    "planned": "put off to its time",
    "done": "done",
    "refused": "not done",
}


def render_page(person: Person) -> str:
    """The whole page as text."""
    environment = jinja2.Environment(
        loader=jinja2.FileSystemLoader(Path(__file__).parent),
        autoescape=True,
        trim_blocks=True,
        lstrip_blocks=True,
    )
    environment.filters |= {"plain": plain, "day": day, "words": words, "outcome": _OUTCOMES.get}
    readers = [
        entry | {"service": service}
        for service in person.known
        for entry in person.section(service, "readers")
    ]
    return environment.get_template("person.html.j2").render(
        person=person,
        made=max((time for time in person.times.values() if time), default=""),
        readers=sorted(readers, key=lambda entry: str(entry["time"]), reverse=True),
        others=[
            (words(name), table(entries))
            for service, sections in person.known.items()
            for name, entries in sections.items()
            if (service, name) not in TOLD and entries
        ],
    )


def table(entries: Iterable[Entry]) -> tuple[list[str], list[list[str]]]:
    """Columns and rows of entries that need not have the same fields; empty columns are left out."""
    listed = list(entries)
    names = list(dict.fromkeys(name for entry in listed for name in entry))
    names = [name for name in names if any(entry.get(name) not in (None, "", [], {}) for entry in listed)]
    return names, [[plain(entry.get(name)) for name in names] for entry in listed]


def plain(value: Any) -> str:
    """A value in words."""
    if value is None:
        return ""
    if isinstance(value, bool):
        return "yes" if value else "no"
    if isinstance(value, str):
        return day(value) if len(value) >= 20 and value[10:11] == "T" and value.endswith("Z") else value
    if isinstance(value, dict):
        if value.keys() == {"amount", "currency"}:
            return f"{value['amount']} {value['currency']}"
        return ", ".join(f"{words(name)}: {plain(item)}" for name, item in value.items())
    if isinstance(value, list):
        if all(isinstance(item, str | int | float) for item in value):
            return ", ".join(map(str, value))
        return orjson.dumps(value).decode()
    return str(value)


def day(time: str | None) -> str:
    """A moment as people write it, in UTC."""
    return "" if not time else f"{time[:10]} {time[11:16]}"


def words(name: str) -> str:
    """The name of a field or section as words."""
    return name.removesuffix("_time").replace("_", " ").replace(".", ": ")
