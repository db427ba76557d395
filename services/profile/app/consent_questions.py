"""Answers about consents: who agreed to what, what stands in the ledger, and whether it is whole."""

from collections.abc import AsyncIterator, Sequence
from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Final

from services.profile.app.ports import Ledgers, ProfileStore, Work
from services.profile.app.questions import Questions, read_subject
from services.profile.domain.consent import Consent, Consents, allowed_in, state_at
from services.profile.domain.errors import InvalidRequestError
from services.profile.domain.identities import Owner, resolve
from services.profile.domain.ledger import Break, Entry, Line, Mac, first_break
from services.vocabulary.catalogue import Catalogue
from services.vocabulary.words import Channel, ConsentState, Purpose

if TYPE_CHECKING:
    from services.vocabulary.identities import Identity

VERIFY_CUSTOMERS: Final = 500
"""Chains looked at in one transaction."""
NO_CHAIN: Final = "the line stands in no chain: neither we nor the version before wrote it"
_NOBODY: Final = "nobody is known under this subject; send an event about them first"


@dataclass(frozen=True, slots=True)
class ConsentQuestion:
    """Whether a person agreed; `channel` None: as it stands for no channel in particular."""

    subject: str
    purpose: Purpose
    channel: Channel | None = None


@dataclass(frozen=True, slots=True)
class ConsentAnswer:
    """What counts now: `word` None: nothing was recorded; `state` tells whether it has ended since."""

    customer: int = 0
    allowed: bool = False
    state: ConsentState | None = None
    word: Consent | None = None
    pending: bool = False
    error: str = ""


@dataclass(slots=True)
class Verified:
    """How far a verification has come, and the breaks found on the last stretch."""

    customers: int = 0
    lines: int = 0
    erased: int = 0
    waiting: int = 0
    broken: list[Break] = field(default_factory=list)
    done: bool = False


class ConsentQuestions:
    """Reads only."""

    def __init__(self, catalogue: Catalogue, questions: Questions, mac: Mac) -> None:
        self._catalogue = catalogue
        self._questions = questions
        self._mac = mac

    async def check(
        self, work: Work, asked: Sequence[ConsentQuestion], now_micros: int
    ) -> list[ConsentAnswer]:
        """An answer per question, in order; what cannot be answered is not allowed."""
        owners, errors = await self._owners(work, asked)
        consents = await work.consents_of({customer for customer in owners if customer})
        return [
            ConsentAnswer(error=error or _NOBODY)
            if error or customer not in consents
            else answer_of(*consents[customer], question, now_micros)
            for question, customer, error in zip(asked, owners, errors, strict=True)
        ]

    async def _owners(self, work: Work, asked: Sequence[ConsentQuestion]) -> tuple[list[int], list[str]]:
        subjects: list[int | tuple[Identity, ...]] = []
        errors: list[str] = []
        for place, question in enumerate(asked):
            try:
                subjects.append(
                    read_subject(question.subject, self._catalogue, f"questions[{place}].subject")
                )
                errors.append("")
            except InvalidRequestError as error:
                subjects.append(())
                errors.append(f"{error.message}; {error.suggestion}")
        identities = {one for subject in subjects if isinstance(subject, tuple) for one in subject}
        owned = await work.owners(identities) if identities else {}
        known: dict[Identity, Owner] = {one: owner for one, owner in owned.items() if owner.customer}
        found: list[int] = []
        for subject in subjects:
            if isinstance(subject, int):
                found.append(subject)
            else:
                resolution = resolve(subject, known) if subject else None
                found.append(0 if resolution is None else resolution.customer)
        return found, errors

    async def lines(self, work: Work, subject: str) -> tuple[int, list[Line]]:
        """A person's whole ledger, under all ids: the person's own chain first."""
        customer = await self._questions.one(work, await self._questions.find(work, subject))
        ids = (customer.id, *customer.record.merged_customers)
        ledgers = await work.ledgers(ids)
        found: list[Line] = []
        for number in ids:
            found += sorted(ledgers.lines.get(number, ()), key=lambda line: line.number)
            found += [Line(entry, 0, b"", b"", b"", b"") for entry in ledgers.unchained.get(number, ())]
        return customer.id, found

    async def verify(self, store: ProfileStore, subject: str, *, chaining: bool) -> AsyncIterator[Verified]:
        """Look at chains, all or one person's, some in each transaction; `chaining`: old lines still wait."""
        seen = Verified()
        if subject:
            async with store.work() as work:
                person = await self._questions.one(work, await self._questions.find(work, subject))
                ids = (person.id, *person.record.merged_customers)
                ledgers = await work.ledgers(ids)
            seen.broken = await self._look(store, ids, ledgers, seen, chaining=chaining)
            seen.done = True
            yield seen
            return
        after: int | None = 0
        while after is not None:
            async with store.work() as work:
                ledgers, after = await work.ledgers_after(after, VERIFY_CUSTOMERS)
            ids = tuple(sorted({*ledgers.lines, *ledgers.heads, *ledgers.unchained}))
            seen.broken = await self._look(store, ids, ledgers, seen, chaining=chaining)
            seen.done = after is None
            yield seen

    async def _look(
        self, store: ProfileStore, ids: Sequence[int], ledgers: Ledgers, seen: Verified, *, chaining: bool
    ) -> list[Break]:
        broken: list[Break] = []
        for customer in ids:
            lines, unchained = ledgers.lines.get(customer, []), ledgers.unchained.get(customer, [])
            seen.customers += 1
            seen.lines += len(lines) + len(unchained)
            seen.erased += sum(1 for line in lines if not line.salt)
            if chaining:
                seen.waiting += len(unchained)
            if self._break(customer, ledgers, chaining=chaining) is not None:
                # perhaps it grew while it was read: look again, while nobody can write
                async with store.work() as work:
                    await work.customers([customer], ())
                    again = await work.ledgers([customer])
                found = self._break(customer, again, chaining=chaining)
                if found is not None:
                    broken.append(found)
        return broken

    def _break(self, customer: int, ledgers: Ledgers, *, chaining: bool) -> Break | None:
        found = first_break(customer, ledgers.lines.get(customer, []), ledgers.heads.get(customer), self._mac)
        unchained: Sequence[Entry] = ledgers.unchained.get(customer, ())
        if found is None and unchained and not chaining:
            return Break(customer, 0, NO_CHAIN)
        return found


def answer_of(customer: int, consents: Consents, question: ConsentQuestion, now_micros: int) -> ConsentAnswer:
    """What counts for one purpose and channel."""
    purpose, channel = question.purpose, question.channel
    word = consents.prevailing(purpose, channel)
    state = state_at(word, now_micros)
    return ConsentAnswer(
        customer,
        allowed_in(state, purpose),
        state,
        word,
        pending=consents.waiting(purpose, channel) is not None,
    )
