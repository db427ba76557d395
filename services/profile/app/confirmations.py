"""Double opt-in: what waits for a person to confirm it, and what becomes of the confirmation."""

from collections.abc import Callable
from dataclasses import dataclass, replace
from enum import StrEnum

from services.profile.app.changes import OWN_SOURCE
from services.profile.app.ports import Work
from services.profile.app.questions import Questions
from services.profile.app.successors import successor, with_successors
from services.profile.app.take_events import EventTaker
from services.profile.domain.confirmation import GOOD_FOR_MICROS, Confirming, read_token, token_of
from services.profile.domain.consent import Consent
from services.profile.domain.events import CONSENT_CHANGED, CheckedEvent
from services.profile.domain.ledger import Mac
from services.runtime.caller import current_caller
from services.vocabulary.catalogue import Catalogue
from services.vocabulary.ids import own_event_id
from services.vocabulary.words import ConsentBy, ConsentState


class ConfirmationStatus(StrEnum):
    """What a confirmation did; the names are those of the proto."""

    CONFIRMED = "CONFIRMED"
    STOOD = "STOOD"
    NOT_GOOD = "NOT_GOOD"
    OUTDATED = "OUTDATED"


@dataclass(frozen=True, slots=True)
class Asked:
    """A grant that waits, and the token that confirms it."""

    confirming: Confirming
    token: str


class Confirmations:
    """Each method is one use case in the transaction it is given."""

    def __init__(
        self,
        catalogue: Catalogue,
        taker: EventTaker,
        questions: Questions,
        mac: Mac,
        dumps: Callable[[object], bytes],
    ) -> None:
        self._catalogue = catalogue
        self._taker = taker
        self._questions = questions
        self._mac = mac
        self._dumps = dumps

    async def ask(self, work: Work, subject: str, now_micros: int) -> tuple[int, list[Asked]]:
        """A token for each grant of the person that waits."""
        customer = await self._questions.one(work, await self._questions.find(work, subject))
        asked: list[Asked] = []
        for held in customer.record.consents.all_waiting():
            assert held.channel is not None, "what names no channel is entered channel by channel"
            confirming = Confirming(
                customer.id, held.purpose, held.channel, held.time_micros, now_micros + GOOD_FOR_MICROS
            )
            asked.append(Asked(confirming, token_of(confirming, self._mac)))
        return customer.id, asked

    async def confirm(
        self, work: Work, token: str, evidence: str, now_micros: int
    ) -> tuple[ConfirmationStatus, Confirming | None]:
        """Put the grant into force, as the person's own word of now; or say why not."""
        confirming = read_token(token, self._mac, now_micros)
        if confirming is None:
            return ConfirmationStatus.NOT_GOOD, None
        await work.listened()  # before the customer's lock, as everywhere
        customers = await work.customers([confirming.customer], [confirming.customer])
        customer = customers.get(confirming.customer)
        if customer is None:
            return ConfirmationStatus.NOT_GOOD, None
        if customer.merged_into:
            # the grant waits with who they are now, unless they have said anything since
            customer = successor(customer, await with_successors(work, [customer]))
            confirming = replace(confirming, customer=customer.id)
        consents = customer.record.consents
        held = consents.waiting(confirming.purpose, confirming.channel)
        if held is None or held.time_micros != confirming.said_micros:
            word = consents.prevailing(confirming.purpose, confirming.channel)
            stands = (
                word is not None
                and word.state is ConsentState.GRANTED
                and word.time_micros >= confirming.said_micros
            )
            return ConfirmationStatus.STOOD if stands else ConfirmationStatus.OUTDATED, confirming
        await self._taker.take(work, [self._event(confirming, held, evidence, now_micros)], now_micros)
        await work.count({"events.own": 1})
        return ConfirmationStatus.CONFIRMED, confirming

    def _event(self, confirming: Confirming, held: Consent, evidence: str, now_micros: int) -> CheckedEvent:
        said = max(now_micros, held.time_micros)
        fields = {
            "purpose": confirming.purpose.value,
            "channel": confirming.channel.value,
            "state": ConsentState.GRANTED.value,
            "by": ConsentBy.PERSON.value,
            "evidence": f"confirmed by the person (double opt-in) {evidence}".strip(),
        }
        return CheckedEvent(
            own_event_id(
                "confirm",
                confirming.customer,
                confirming.purpose,
                confirming.channel,
                confirming.said_micros,
            ),
            OWN_SOURCE,
            self._catalogue.event_type(CONSENT_CHANGED),
            said,
            self._dumps(fields),
            fields,
            customer=confirming.customer,
            consent=Consent(
                confirming.purpose,
                confirming.channel,
                ConsentState.GRANTED,
                said,
                ConsentBy.PERSON,
                held.expiry_micros,
            ),
            confirmed=True,
            told_by=current_caller().name,
        )
