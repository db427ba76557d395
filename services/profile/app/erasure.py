"""Erases a person here at once, sends the erasure down the road, and collects what the others did."""

from collections.abc import Collection, Mapping, Sequence
from typing import Final, Protocol

from services.profile.app.ports import TakenEvent, Work
from services.profile.app.questions import Questions, read_subject
from services.profile.domain.customer import Customer
from services.profile.domain.erasure import (
    CUSTOMER_ERASED,
    OTHERS,
    PROFILE,
    Erasure,
    ErasureNotice,
    Ground,
    Part,
    counts_of,
)
from services.profile.domain.errors import InvalidRequestError, UnknownSubjectError
from services.profile.domain.events import CheckedEvent
from services.runtime.audit import Change
from services.vocabulary.catalogue import Catalogue
from services.vocabulary.identities import Identity
from services.vocabulary.ids import derived_id, own_event_id
from services.vocabulary.words import ConsentBy

MAX_REFERENCE: Final = 200
_OWN_SOURCE: Final = "rapport.profile"


class ErasingWork(Work, Protocol):
    """What erasing needs of a transaction beside the rest."""

    async def erase_person(
        self, customers: Sequence[int], identities: Collection[Identity], now_micros: int
    ) -> tuple[dict[str, int], ErasureNotice]:
        """Delete or empty all that is kept about these ids, which are locked; rows by table.

        The look-ups of their identities are kept with the time, and the ids as erased; the notice has both.
        """
        ...

    async def erasure_of(self, customer: int) -> str:
        """The erasure by which an id was erased; empty: it was not."""
        ...

    async def add_erasure(self, erasure: Erasure) -> None:
        """Keep a receipt, with a part for each service and id."""
        ...

    async def note_erased(
        self, erasure_id: str, service: str, customer: int, finished_micros: int, erased: Mapping[str, int]
    ) -> None:
        """Keep what a service did for one id; the same again changes nothing."""
        ...

    async def reopen_erasure(self, erasure: Erasure) -> ErasureNotice:
        """The other services are to do it once more."""
        ...

    async def erasures(
        self, ids: Sequence[str] = (), *, before: int = 0, limit: int = 1, open_only: bool = False
    ) -> list[Erasure]:
        """Receipts, newest first, below a number (0: from the newest); of `ids` only, where any are given."""
        ...

    async def audit(self, change: Change) -> None:
        """Write down who did it."""
        ...


class Erasures:
    """Each method is one use case in the transaction it is given."""

    def __init__(self, catalogue: Catalogue, questions: Questions) -> None:
        self._catalogue = catalogue
        self._questions = questions
        self._event_type = catalogue.event_type(CUSTOMER_ERASED)

    async def request(
        self,
        work: ErasingWork,
        subject: str,
        *,
        ground: Ground,
        by: ConsentBy,
        reference: str,
        again: bool,
        request_id: str,
        now_micros: int,
    ) -> Erasure:
        """Erase a person under all their ids; of an id that was erased, its receipt.

        Raises UnknownSubjectError.
        """
        if len(reference) > MAX_REFERENCE or not reference.isprintable():
            raise InvalidRequestError(
                f"it has over {MAX_REFERENCE} characters, or some that cannot be printed",
                field="reference",
                suggestion="name the case, and nothing of the person",
            )
        erased = await self._erased_before(work, subject)
        if erased is not None:
            if again:
                notice = await work.reopen_erasure(erased)
                await self._send(work, notice, request_id, now_micros)
                await work.audit(Change("erasure.again", f"erasure/{erased.erasure_id}"))
            return await self.receipt(work, erased.erasure_id)
        person = await self._lock(work, subject)
        identities = {identity for one in person.values() for identity, _ in one.record.identities}
        customers = tuple(sorted(person))
        rows, notice = await work.erase_person(customers, identities, now_micros)
        erasure = Erasure(0, derived_id("erasure", request_id), customers, now_micros, ground, by, reference)
        notice = ErasureNotice(erasure.erasure_id, customers, now_micros, notice.identities)
        erasure.parts = {service: Part(service) for service in (PROFILE, *OTHERS)}
        await work.add_erasure(erasure)
        for place, customer in enumerate(customers):
            await work.note_erased(
                erasure.erasure_id, PROFILE, customer, now_micros, rows if place == 0 else {}
            )
        await self._send(work, notice, request_id, now_micros)
        await work.audit(
            Change(
                "erasure.request",
                f"erasure/{erasure.erasure_id}",
                after={"customers": list(customers), "ground": ground.value, "by": by.value},
            )
        )
        await work.count({"erasures": 1})
        return await self.receipt(work, erasure.erasure_id)

    async def receipt(self, work: ErasingWork, erasure_id: str) -> Erasure:
        """How far one is; raises UnknownSubjectError."""
        found = await work.erasures([erasure_id])
        if not found:
            raise UnknownSubjectError(
                "there is no such erasure", field="erasure_id", suggestion="list erasures for their ids"
            )
        return found[0]

    async def finished(self, work: ErasingWork, event: CheckedEvent) -> None:
        """Take an `erasure.finished` of another service."""
        told = event.fields.get("erased", ())
        await work.note_erased(
            str(event.fields["erasure"]),
            str(event.fields["service"]),
            event.customer,
            max(event.time_micros, 1),
            counts_of([str(text) for text in told] if isinstance(told, list | tuple) else []),
        )

    async def _erased_before(self, work: ErasingWork, subject: str) -> Erasure | None:
        found = read_subject(subject, self._catalogue)
        erasure_id = await work.erasure_of(found) if isinstance(found, int) else ""
        return await self.receipt(work, erasure_id) if erasure_id else None

    async def _lock(self, work: ErasingWork, subject: str) -> dict[int, Customer]:
        """The person under all their ids, locked in id order."""
        customer = await self._questions.find(work, subject)
        one = await self._questions.one(work, customer)
        ids = {one.id, *one.record.merged_customers}
        while True:
            locked = await work.customers(ids, ids)
            named = {other for one in locked.values() for other in one.record.merged_customers}
            further = {*named, *(one.merged_into for one in locked.values())} - {0} - ids
            if not further:
                return locked
            ids |= further  # merged since it was looked up who they are

    async def _send(self, work: Work, notice: ErasureNotice, request_id: str, now_micros: int) -> None:
        """`customer.erased` in each id's partition, after all that was taken before."""
        fields = {"erasure": notice.erasure_id}
        await work.hand_on(
            [
                TakenEvent(
                    CheckedEvent(
                        own_event_id(CUSTOMER_ERASED, request_id, customer),
                        _OWN_SOURCE,
                        self._event_type,
                        now_micros,
                        b'{"erasure":"%s"}' % notice.erasure_id.encode(),
                        fields,
                        customer=customer,
                    ),
                    customer,
                    0,
                    "",
                    now_micros,
                    erasure=notice,
                )
                for customer in notice.customers
            ]
        )
