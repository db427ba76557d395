"""Takes back an event that was taken by mistake."""

from dataclasses import dataclass

from services.profile.app.ports import KeptEvent, Work
from services.profile.app.questions import Questions
from services.profile.domain.errors import (
    InvalidRequestError,
    RejectedError,
    UnknownEventError,
    UnknownSubjectError,
)
from services.profile.domain.events import CONSENT_CHANGED, CheckedEvent, EventChecker, RawEvent


@dataclass(frozen=True, slots=True)
class Retracted:
    """What was taken back. `standing_traits`: its word about these still stands."""

    customer: int
    type: str
    already: bool = False
    standing_traits: tuple[str, ...] = ()


class Corrections:
    """One use case in the transaction it is given."""

    def __init__(self, questions: Questions, checker: EventChecker) -> None:
        self._questions = questions
        self._checker = checker

    async def retract(
        self, work: Work, subject: str, source: str, event_id: str, now_micros: int
    ) -> Retracted:
        """Take an event out of the activity and mark its row, which stays: it is not taken again."""
        for field, text in (("source", source), ("id", event_id)):
            if not text:
                raise InvalidRequestError(
                    "it is missing", field=field, suggestion="name the event as it was sent"
                )
        number = await self._questions.find(work, subject)
        customers = await work.customers([number], [number])
        if number not in customers:
            raise UnknownSubjectError(
                "nobody is known under this subject", field="subject", suggestion="name whose event it is"
            )
        customer = customers[number]
        kept = await work.kept_event(number, source, event_id)
        if kept is None:
            raise UnknownEventError(
                "no such event is kept of this customer",
                field="id",
                suggestion="check source, id and subject",
            )
        catalogue = self._checker.catalogue
        known = catalogue.events.get(kept.type)
        if kept.type == CONSENT_CHANGED or (known is not None and known.own):
            raise InvalidRequestError(
                f"{kept.type} is not taken back: it is part of a record that must be whole",
                field="id",
                suggestion="record what holds now",
            )
        if kept.retracted:
            return Retracted(number, kept.type, already=True)
        event = self._event(kept, source, event_id)
        if event is None:
            await work.retract(kept, None, now_micros)
            return Retracted(number, kept.type)
        last = customer.take_back(event, kept.sequence, catalogue)
        await work.save([customer], now_micros)
        await work.retract(kept, last, now_micros)
        return Retracted(number, kept.type, standing_traits=tuple(customer.standing_words(event, catalogue)))

    def _event(self, kept: KeptEvent, source: str, event_id: str) -> CheckedEvent | None:
        """The event as it was checked; None: the catalogue knows its type no more."""
        raw = RawEvent(event_id, source, kept.type, kept.time_micros, "", kept.data)
        try:
            return self._checker.check_own(raw, kept.customer, kept.time_micros, hops=0, line=kept.line)
        except RejectedError:
            return None
