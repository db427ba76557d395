"""What merges, their undoing and splits have in common."""

from collections.abc import Callable, Mapping, Sequence
from typing import Final

from services.profile.app.ports import Handed, ListenedTypes, Packer, TakenEvent, Work
from services.profile.app.questions import Questions
from services.profile.app.successors import with_successors
from services.profile.domain.customer import Customer
from services.profile.domain.errors import RejectedError, UnknownSubjectError
from services.profile.domain.events import CheckedEvent, EventChecker, RawEvent
from services.profile.domain.merges import PastEvent
from services.vocabulary.catalogue import Catalogue
from services.vocabulary.ids import own_event_id

OWN_SOURCE: Final = "rapport.profile"
MERGED: Final = "identity.merged"
SEPARATED: Final = "identity.separated"
_PAGE: Final = 1_000


class WhoIsWho:
    """Tells both customers what became of them, and writes both; `dumps` writes JSON."""

    def __init__(
        self,
        catalogue: Catalogue,
        questions: Questions,
        checker: EventChecker,
        packer: Packer,
        dumps: Callable[[object], bytes],
    ) -> None:
        self._catalogue = catalogue
        self._questions = questions
        self._checker = checker
        self._packer = packer
        self._dumps = dumps

    def own(
        self, name: str, merge_id: int, customer: int, fields: Mapping[str, str], now_micros: int
    ) -> CheckedEvent:
        """An event of our own about a customer, which a merge or split causes."""
        return CheckedEvent(
            own_event_id(name, merge_id, customer),
            OWN_SOURCE,
            self._catalogue.event_type(name),
            now_micros,
            self._dumps(fields),
            dict(fields),
            customer=customer,
        )

    def happen(
        self,
        customer: Customer,
        event: CheckedEvent,
        listened: ListenedTypes,
        now_micros: int,
        *,
        snapshot: bool,
    ) -> TakenEvent:
        """Apply an event of our own; what is handed on of it, with a snapshot where one is asked for."""
        sequence = customer.apply(event, self._catalogue)
        taken = TakenEvent(event, customer.id, sequence, "", now_micros)
        if snapshot and event.type.name in listened.types:
            taken.snapshot = self._packer.snapshot(customer, {}, now_micros, now_micros)
        return taken

    async def finish(
        self,
        work: Work,
        customers: Sequence[Customer],
        handed: Handed,
        listened: ListenedTypes,
        now_micros: int,
    ) -> None:
        """Write both customers, and put what happened to them on its way."""
        await work.save(customers, now_micros)
        for customer in customers:
            if customer.merged_into:
                await work.hide(customer.id)
        if listened.absence:
            await work.put_last_times(customers, listened.absence)
        await work.keep(handed)
        await work.count({"events.own": len(handed.events)})

    def checked(self, event: PastEvent) -> CheckedEvent | None:
        """An event as it was taken; None: it was taken back, its type is gone, or its data are."""
        if event.retracted:
            return None
        raw = RawEvent(event.event_id, event.source, event.type, event.time_micros, "", bytes(event.data))
        try:
            checked = self._checker.check_own(raw, event.customer, event.time_micros, hops=0, line=event.line)
        except RejectedError:
            return None
        checked.via = event.via
        return checked


async def locked(work: Work, ids: Sequence[int]) -> dict[int, Customer]:
    """These customers and whom they have become, locked, with their records."""
    found = await work.customers(ids, ids)
    for number in ids:
        if number not in found:
            raise UnknownSubjectError(
                f"there is no customer {number}", field="subject", suggestion="name one that is known"
            )
    merged = [customer for customer in found.values() if customer.merged_into]
    return found | (await with_successors(work, merged)) if merged else found


async def events_after(work: Work, customer: int, sequence: int) -> list[PastEvent]:
    """All kept events of a customer beyond a sequence, in order."""
    found: list[PastEvent] = []
    while True:
        page = await work.events_after(customer, found[-1].sequence if found else sequence, _PAGE)
        found += page
        if len(page) < _PAGE:
            return found
