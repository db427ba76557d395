"""A person's history, page by page, for staff and for the person."""

import json
from collections.abc import Sequence
from dataclasses import dataclass, field, replace
from typing import Any

from services.profile.app.ports import Work
from services.profile.app.questions import Questions
from services.profile.domain.customer import Customer
from services.profile.domain.timeline import Happening, Kind, Kinds, Wanted, persons_data, sentence
from services.vocabulary.catalogue import Catalogue
from services.vocabulary.words import Purpose


@dataclass(frozen=True, slots=True)
class Told:
    """An entry as it is told; `data` empty and `withheld`: the customer does not agree to such use."""

    entry: Happening
    text: str
    data: bytes
    withheld: bool


@dataclass(slots=True)
class Page:
    """Entries in the order asked for; `more`: others follow. `customers` are all ids of the person."""

    customers: Sequence[int]
    entries: list[Told] = field(default_factory=list)
    more: bool = False


class Timelines:
    """Reads only."""

    def __init__(self, catalogue: Catalogue, questions: Questions) -> None:
        self._catalogue = catalogue
        self._questions = questions
        self._kinds = Kinds.of(catalogue)

    async def page(
        self,
        work: Work,
        subject: str,
        wanted: Wanted,
        *,
        size: int,
        for_person: bool,
        now_micros: int,
    ) -> Page:
        """At most `size` entries; raises UnknownSubjectError."""
        customer = await self._questions.one(work, await self._questions.find(work, subject))
        page = Page((customer.id, *customer.record.merged_customers))
        if for_person:
            wanted = replace(wanted, kinds=wanted.kinds - {Kind.INTERNAL}, with_retracted=False)
        found = await work.timeline(page.customers, wanted, self._kinds, size + 1)
        page.more = len(found) > size
        page.entries = [
            self._told(entry, customer, for_person=for_person, now_micros=now_micros)
            for entry in found[:size]
        ]
        return page

    def _told(self, entry: Happening, customer: Customer, *, for_person: bool, now_micros: int) -> Told:
        data: dict[str, Any] = json.loads(entry.data)
        text = sentence(entry, data, for_person=for_person)
        known = self._catalogue.events.get(entry.type)
        purpose = Purpose.SERVICE if known is None else known.purpose
        if not customer.record.consents.may_use(purpose, now_micros):
            return Told(entry, text, b"", withheld=True)
        told = persons_data(entry, data) if for_person else data
        return Told(entry, text, entry.data if told is data else json.dumps(told).encode(), withheld=False)
