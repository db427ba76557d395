"""What callers change by request: consents, listened types, the clock; and what is handed on again."""

from collections.abc import Callable, Sequence
from typing import TYPE_CHECKING, Final

from services.profile.app.ports import ListenedTypes, Packer, TakenEvent, Work
from services.profile.app.questions import Questions
from services.profile.app.successors import read_with_successors, successor
from services.profile.app.take_events import EventTaker
from services.profile.domain.consent import Consent
from services.profile.domain.errors import (
    ClockRefusedError,
    InvalidRequestError,
    RejectedError,
    UnknownSubjectError,
)
from services.profile.domain.events import CONSENT_CHANGED, CheckedEvent, is_future
from services.profile.domain.merging import line_with
from services.runtime.caller import current_caller
from services.vocabulary.catalogue import Catalogue
from services.vocabulary.ids import own_event_id

if TYPE_CHECKING:
    from services.vocabulary.values import FieldValue

OWN_SOURCE: Final = "rapport.profile"
MAX_LISTENED: Final = 10_000


class Changes:
    """Each method is one use case in the transaction it is given."""

    def __init__(
        self,
        catalogue: Catalogue,
        taker: EventTaker,
        questions: Questions,
        packer: Packer,
        dumps: Callable[[object], bytes],
        *,
        wall: bool,
    ) -> None:
        self._catalogue = catalogue
        self._taker = taker
        self._questions = questions
        self._packer = packer
        self._dumps = dumps
        self._wall = wall

    async def record_consent(
        self,
        work: Work,
        subject: str,
        changes: Sequence[tuple[Consent, str, str]],
        request_id: str,
        now_micros: int,
    ) -> tuple[int, dict[int, str]]:
        """Write consents (each with evidence and wording) into the ledger, as events.

        Gives the customer, and by position why a change is without effect.
        """
        customer = await self._questions.find(work, subject)
        event_type = self._catalogue.event_type(CONSENT_CHANGED)
        events: list[CheckedEvent] = []
        for place, (consent, evidence, wording) in enumerate(changes):
            if is_future(consent.time_micros, now_micros, wall=self._wall):
                raise InvalidRequestError(
                    "the time is in the future",
                    field=f"changes[{place}].time",
                    suggestion="record it once it was said",
                )
            fields: dict[str, FieldValue] = {
                "purpose": consent.purpose.value,
                "state": consent.state.value,
                "by": consent.by.value,
            }
            if consent.channel is not None:
                fields["channel"] = consent.channel.value
            fields |= {name: text for name, text in (("evidence", evidence), ("wording", wording)) if text}
            events.append(
                CheckedEvent(
                    own_event_id("consent", request_id, place),
                    OWN_SOURCE,
                    event_type,
                    consent.time_micros,
                    self._dumps(fields),
                    fields,
                    customer=customer,
                    consent=consent,
                    told_by=current_caller().name,
                )
            )
        for outcome in await self._taker.take(work, events, now_micros):
            if isinstance(outcome, RejectedError):
                raise UnknownSubjectError(
                    "nobody is known under this subject",
                    field="subject",
                    suggestion="send an event about them first",
                )
        await work.count({"events.own": len(events)})
        without = {place: event.without_effect for place, event in enumerate(events) if event.without_effect}
        return customer, without

    async def set_listened_types(
        self, work: Work, types: Sequence[str], absence_types: Sequence[str] = ()
    ) -> ListenedTypes:
        """Put the lists in force for every event accepted after this; unknown types are refused."""
        for field, names in (("types", types), ("absence_types", absence_types)):
            if len(names) > MAX_LISTENED:
                raise InvalidRequestError(
                    f"{len(names)} types were given", field=field, suggestion=f"send at most {MAX_LISTENED}"
                )
            for place, name in enumerate(names):
                if name not in self._catalogue.events:
                    raise InvalidRequestError(
                        f"{name[:60]!r} is no event type of the catalogue",
                        field=f"{field}[{place}]",
                        suggestion="rule sets and catalogue must be of one version",
                    )
        return await work.set_listened(frozenset(types), frozenset(absence_types))

    async def advance_clock(self, work: Work, time_micros: int, now_micros: int) -> int:
        """Move business time on; gives where it stands. Refused under the wall's clock, and backwards."""
        if self._wall:
            raise ClockRefusedError(
                "business time is the wall's here", suggestion="start with RAPPORT_CLOCK=events to feed it"
            )
        now = max(now_micros, await work.clock())
        if time_micros < now:
            raise ClockRefusedError(
                "business time does not go back",
                field="time",
                suggestion="name a time not before the present one",
            )
        return await work.set_clock(time_micros)

    async def hand_again(self, work: Work, items: Sequence[TakenEvent], now_micros: int) -> list[TakenEvent]:
        """Events taken before, each with a fresh snapshot; those of unknown customers are left out."""
        read = await read_with_successors(work, {item.customer for item in items if item.customer})
        customers = {number: successor(customer, read) for number, customer in read.items()}
        things = await self._questions.things_of(work, customers.values())
        named = await self._questions.things_named(work, [item.event for item in items])
        handed: list[TakenEvent] = []
        for item in items:
            customer = customers.get(item.customer)
            if customer is not None:
                if customer.id != item.customer:
                    before = read[item.customer]
                    item.line = line_with(customer.record, before.record, item.line)
                    item.event.via = item.event.via or before.id
                    item.customer = customer.id
                item.snapshot = self._packer.snapshot(customer, things, item.event.time_micros, now_micros)
            elif item.customer:
                continue
            item.things = named[id(item.event)]
            handed.append(item)
        return handed
