"""Takes what customers write: once each, together with everything that follows from it."""

from collections import Counter
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, replace

from services.channel.app.admit import Admission, Prepared
from services.channel.app.ports import Inbound, Rendered
from services.channel.app.profile import IdentityPort
from services.channel.app.store import MessageStore, MessageTransaction
from services.channel.app.suppression import lift_for, opt_out
from services.channel.domain.actions import Action, ChannelChoice
from services.channel.domain.contact import SuppressedFor
from services.channel.domain.inbound import (
    ANSWERS,
    ANSWERS_WITHIN_MICROS,
    RULE_SET,
    Owner,
    Replies,
    Written,
    inbound_id,
    storable,
    understand,
)
from services.channel.domain.keywords import Heard
from services.channel.domain.replies import Intent, reply_event
from services.channel.domain.suppression import LiftedBy
from services.runtime.clock import Clock
from services.vocabulary import ids
from services.vocabulary.catalogue import Catalogue
from services.vocabulary.words import ActionKind, Category, Channel

IDENTITY_KINDS: Mapping[Channel, str] = {Channel.SMS: "msisdn", Channel.EMAIL: "email"}
"""What a sender's address is called in the profile."""
_ANSWERED_ON = frozenset({Channel.SMS})


@dataclass(slots=True)
class _Letter:
    """One message on its way through: what came, whose it is, what it means and how it would be answered."""

    came: Inbound
    written: Written
    owner: Owner | None
    heard: Heard
    answer: Prepared | None = None

    def forget(self, erased: frozenset[int]) -> None:
        """Its sender is nobody's any more where the owner was erased meanwhile."""
        if self.owner is not None and self.owner.customer in erased:
            self.owner, self.answer, self.written.customer = None, None, 0


class InboundDesk:
    """What customers write as a use case; `record` gives an action as it would have come over the wire."""

    def __init__(
        self,
        store: MessageStore,
        identities: IdentityPort,
        admission: Admission,
        catalogue: Catalogue,
        replies: Callable[[], Replies],
        record: Callable[[Action], bytes],
        clock: Clock,
    ) -> None:
        self._store = store
        self._identities = identities
        self._admission = admission
        self._accepted = {name: offer.accept for name, offer in catalogue.offers.items()}
        self._replies = replies
        self._record = record
        self._clock = clock

    async def take(self, batch: Sequence[Inbound]) -> None:
        """Takes messages in one transaction; ProfileUnavailableError while nobody can say whose they are.

        What is said again under the same key changes nothing. STOP and START are in force, and told, with the
        same commit that keeps the message, and so is the answer to it, which goes through all gates.
        """
        await self._clock.wait_until(1)
        came = list({(one.provider, one.key): one for one in batch}.values())
        owners = await self._whose(came)
        letters = [self._letter(one, owners.get(_subject(one))) for one in came]
        await self._prepare_answers(letters)
        people = {customer for letter in letters if letter.owner for customer in letter.owner.person}
        await self._store.know_customers(sorted(people))
        async with self._store.transaction() as tx:
            erased = await tx.lock_customers(sorted(people))
            for letter in letters if erased else ():
                letter.forget(erased)
            new = await tx.not_written([letter.written.inbound_id for letter in letters])
            fresh = [letter for letter in letters if letter.written.inbound_id in new]
            given: Counter[int] = Counter()
            for letter in fresh:
                await self._act(tx, letter, given)
            answers = [letter.answer for letter in fresh if letter.answer is not None]
            if answers:
                await self._admission.take(tx, answers)
            await tx.keep_written([letter.written for letter in fresh])
            await tx.count(_totals(fresh, len(batch) - len(fresh)))

    async def _whose(self, came: Sequence[Inbound]) -> Mapping[str, Owner]:
        subjects = sorted({_subject(one) for one in came} - {""})
        return await self._identities.owners(subjects) if subjects else {}

    def _letter(self, came: Inbound, owner: Owner | None) -> _Letter:
        heard = self._replies().keywords.hear(came.text)
        written = Written(
            inbound_id=inbound_id(came.provider, came.key),
            provider=came.provider,
            channel=came.channel,
            recipient=storable(came.recipient),
            text=storable(came.text),
            time_micros=self._clock.now_micros(),
            customer=owner.customer if owner is not None else 0,
            intent=heard.intent,
        )
        return _Letter(came, written, owner, heard)

    async def _prepare_answers(self, letters: Sequence[_Letter]) -> None:
        """Asks the profile and renders before the transaction; whether it is answered is decided within."""
        wanted = [letter for letter in letters if letter.owner and letter.heard.intent in ANSWERS]
        wanted = [letter for letter in wanted if letter.came.channel in _ANSWERED_ON]
        prepared = await self._admission.prepare([self._answer_to(letter) for letter in wanted])
        for letter, one in zip(wanted, prepared, strict=True):
            one.answers = True
            letter.answer = one
            said = one.said.get(letter.came.channel)
            if isinstance(said, Rendered) and letter.came.recipient:
                # it comes from the number that was written to
                one.said[letter.came.channel] = replace(said, sender=letter.came.recipient)

    def _answer_to(self, letter: _Letter) -> Action:
        assert letter.owner is not None, "nobody we do not know is answered"
        name = ANSWERS[letter.heard.intent]
        action = Action(
            action_id=ids.derived_id("reply", letter.written.inbound_id),
            customer=letter.owner.customer,
            kind=ActionKind.MESSAGE,
            name=name,
            category=Category.MANDATORY,
            rule_set=RULE_SET,
            rule=letter.heard.intent.value,
            channels=(ChannelChoice(letter.came.channel),),
            decided_micros=letter.written.time_micros,
            event_micros=letter.written.time_micros,
            line=letter.owner.line,
            language=next(iter(languages)) if len(languages := letter.heard.languages) == 1 else "",
        )
        return replace(action, record=self._record(action))

    async def _act(self, tx: MessageTransaction, letter: _Letter, given: Counter[int]) -> None:
        """What follows from one message; the customers are locked. `given`: answers of this batch."""
        written, owner = letter.written, letter.owner
        if owner is None:
            return
        replies = self._replies()
        sent = await tx.sent_to(owner.person, written.channel, written.time_micros - replies.answers_micros)
        heard, answered = understand(replies, letter.came.text, sent, self._accepted)
        written.intent = heard.intent
        if answered is not None:
            written.message_id, written.action_id = answered.message_id, answered.action_id
        await self._suppress(tx, letter, owner)
        await tx.publish(
            [
                reply_event(
                    customer=owner.customer,
                    key=written.inbound_id,
                    time_micros=written.time_micros,
                    text=written.text,
                    intent=written.intent,
                    action_id=written.action_id,
                    line=answered.line if answered is not None else "",
                )
            ]
        )
        if letter.answer is None:
            return
        before = await tx.answered(owner.person, written.time_micros - ANSWERS_WITHIN_MICROS)
        answered_so_far = before + given[owner.customer]
        if replies.may_answer(letter.came.sender, letter.came.recipient, answered_so_far):
            written.answer_id = letter.answer.message_id
            given[owner.customer] += 1
        else:
            letter.answer = None

    async def _suppress(self, tx: MessageTransaction, letter: _Letter, owner: Owner) -> None:
        written = letter.written
        evidence = f"inbound {written.inbound_id}"
        if written.intent is Intent.STOP:
            await opt_out(
                tx,
                self._clock,
                customer=owner.customer,
                channel=written.channel,
                reason=SuppressedFor.UNSUBSCRIBED,
                evidence=evidence,
                message_id=written.message_id,
            )
        elif written.intent is Intent.START:
            await tx.adopt_suppressions([(owner.customer, written.channel, letter.came.sender)])
            await lift_for(
                tx,
                self._clock,
                person=owner.person,
                channel=written.channel,
                by=LiftedBy.PERSON,
                evidence=evidence,
            )


def _subject(came: Inbound) -> str:
    """The sender as an identity; one that could be read as several, or none, is nobody's."""
    kind = IDENTITY_KINDS.get(came.channel)
    return f"{kind}:{came.sender}" if kind and came.sender.split() == [came.sender] else ""


def _totals(fresh: Sequence[_Letter], repeated: int) -> dict[str, int]:
    totals = {
        "inbound.taken": len(fresh),
        "inbound.repeated": repeated,
        "inbound.of_nobody": sum(letter.owner is None for letter in fresh),
        "inbound.answered": sum(letter.answer is not None for letter in fresh),
    }
    for letter in fresh:
        name = f"inbound.{letter.written.intent.value}"
        totals[name] = totals.get(name, 0) + 1
    return totals
