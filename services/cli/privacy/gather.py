"""Gathers everything about one person from the three services."""

from collections.abc import Callable
from dataclasses import dataclass, field
from typing import Any

import orjson
from rapport.privacy.v1 import export_pb2

from services.cli.commands.support import iso
from services.cli.connections import SERVICES, Connections

Entry = dict[str, Any]
_LONGEST_SECONDS = 900


@dataclass(slots=True)
class Person:
    """What the services know: entries by service and section; `times` says of which moment each is."""

    customers: list[int] = field(default_factory=list)
    times: dict[str, str | None] = field(default_factory=dict)
    known: dict[str, dict[str, list[Entry]]] = field(default_factory=dict)

    def section(self, service: str, name: str) -> list[Entry]:
        """Entries of one section; none where the service has no such section."""
        return self.known.get(service, {}).get(name, [])

    @property
    def entries(self) -> int:
        """How many there are in all."""
        return sum(len(found) for sections in self.known.values() for found in sections.values())

    def json(self) -> bytes:
        """As one JSON document."""
        told = {"person": {"customers": self.customers, "exported": self.times}, **self.known}
        return orjson.dumps(told, option=orjson.OPT_INDENT_2 | orjson.OPT_APPEND_NEWLINE)


async def gather(connections: Connections, subject: str, tell: Callable[[str, int], None]) -> Person:
    """Asks the profile service who it is, then all three; `tell` hears of each how many entries came."""
    person = Person()
    for service in SERVICES:
        # the others know a person by the ids alone
        request = (
            export_pb2.ExportPersonRequest(customers=person.customers)
            if person.customers
            else export_pb2.ExportPersonRequest(subject=subject)
        )
        sections = person.known.setdefault(service, {})
        count = 0
        async for answer in connections.exports[service].ExportPerson(request, timeout=_LONGEST_SECONDS):
            if answer.HasField("begin"):
                person.customers = list(answer.begin.customers)
                person.times[service] = iso(answer.begin.export_time)
                sections.update({name: [] for name in answer.begin.sections})
            else:
                entries = [orjson.loads(line) for line in answer.part.entries]
                sections.setdefault(answer.part.section, []).extend(entries)
                count += len(entries)
        tell(service, count)
    return person
