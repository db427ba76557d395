"""Answers about customers: who, what is known, may they be contacted."""

from collections.abc import Collection, Iterable, Mapping, Sequence
from dataclasses import dataclass, field, replace

from services.profile.app.ports import Packer, ThingKey, Work
from services.profile.app.successors import read_with_successors, successor
from services.profile.domain.accounts import Line, line_asked
from services.profile.domain.contacts import RecentContact, recent_contacts
from services.profile.domain.customer import Customer, precedence_of, traits_at
from services.profile.domain.errors import InvalidRequestError, UnknownSubjectError
from services.profile.domain.events import CheckedEvent
from services.profile.domain.identities import Owner, Resolution, resolve
from services.profile.domain.merging import line_with
from services.profile.domain.permission import Permission, permissions
from services.profile.domain.preferences import Window, wishes_of
from services.profile.domain.things import ThingState
from services.profile.domain.traits import Trait, trait_at
from services.vocabulary.catalogue import Catalogue
from services.vocabulary.identities import Identity, Thing, parse_subject
from services.vocabulary.values import FieldError, Value, ValueMistake, to_json, zone
from services.vocabulary.words import Category, Channel

_CUSTOMER = "customer:"
_ZONE = "zone"


@dataclass(frozen=True, slots=True)
class ContactQuestion:
    """Whether this customer may be contacted for this."""

    customer: int
    category: Category
    line: str = ""
    to_payer: bool = False


@dataclass(slots=True)
class ContactAnswer:
    """What a sender must know; of an unknown customer nothing, and nothing is allowed.

    `recipient` is whom all of it is about: the customer, or who pays for the customer's line.
    """

    customer: int
    known: bool = False
    permissions: Sequence[Permission] = ()
    zone: str = ""
    language: str = ""
    preferred_channel: Channel | None = None
    service_blocked: bool = False
    preferences: dict[str, str] = field(default_factory=dict)
    shown_traits: dict[str, str] = field(default_factory=dict)
    merged_customers: Sequence[int] = ()
    recent_contacts: Sequence[RecentContact] = ()
    recipient: int = 0
    household: int = 0
    paused_until_micros: int = 0
    quiet_hours: Sequence[Window] = ()


@dataclass(frozen=True, slots=True)
class SubjectOwner:
    """Whose a subject is; customer 0: nobody's."""

    customer: int
    line: str = ""
    merged_customers: tuple[int, ...] = ()


def read_subject(
    subject: str, catalogue: Catalogue, field_name: str = "subject"
) -> int | tuple[Identity, ...]:
    """A customer id (`customer:<id>`) or identities; raises InvalidRequestError."""
    if subject.startswith(_CUSTOMER):
        number = subject.removeprefix(_CUSTOMER)
        if not number.isdecimal() or not 0 < int(number) < 1 << 63:
            raise InvalidRequestError(
                f"{field_name} has a customer id that is no number",
                field=field_name,
                suggestion="write customer:42",
            )
        return int(number)
    try:
        found = parse_subject(subject, catalogue.things, catalogue.identities)
    except FieldError as error:
        raise InvalidRequestError(
            f"{field_name} {error.message}", field=field_name, suggestion=error.suggestion
        ) from None
    if isinstance(found, Thing):
        raise InvalidRequestError(
            f"{field_name} names a thing", field=field_name, suggestion="name an identity or customer:<id>"
        )
    return found


class Questions:
    """Reads only; each method answers from one transaction."""

    def __init__(self, catalogue: Catalogue, packer: Packer) -> None:
        self._catalogue = catalogue
        self._packer = packer

    async def resolve(self, work: Work, subject: str) -> Resolution:
        """Which customer these identities mean; raises UnknownSubjectError when nobody owns any of them."""
        found = read_subject(subject, self._catalogue)
        if isinstance(found, int):
            customer = await self.one(work, found)
            identity = next(
                (identity for identity, _ in customer.record.identities), Identity("customer", str(found))
            )
            return Resolution(customer.id, "", identity, ())
        resolution = resolve(found, await _owned(work, found), self._catalogue.identities)
        if resolution is None:
            raise _unknown()
        return resolution

    async def find(self, work: Work, subject: str) -> int:
        """The customer id of a subject; raises UnknownSubjectError."""
        found = read_subject(subject, self._catalogue)
        if isinstance(found, int):
            return (await self.one(work, found)).id
        return (await self.resolve(work, subject)).customer

    async def people(self, work: Work, subject: str) -> tuple[int, ...]:
        """All ids of the person of a subject, the one in use first; raises UnknownSubjectError."""
        one = await self.one(work, await self.find(work, subject))
        return (one.id, *(other for other in one.record.merged_customers if other != one.id))

    async def one(self, work: Work, customer: int) -> Customer:
        """One customer, or whom they have become; raises UnknownSubjectError."""
        customers = await read_with_successors(work, [customer])
        if customer not in customers:
            raise _unknown()
        return successor(customers[customer], customers)

    def other_words(self, customer: Customer, now_micros: int) -> list[tuple[Trait, bool]]:
        """What further sources say of the traits that hold now; each with whether it must be withheld."""
        found: list[tuple[Trait, bool]] = []
        for trait in customer.traits.values():
            known = self._catalogue.traits.get(trait.name)
            if known is None or not trait.others:
                continue
            counts = trait_at(trait, now_micros, known.precedence)
            withheld = not customer.record.consents.may_use(known.purpose, now_micros)
            found += [
                (word, withheld)
                for word in trait.words
                if (word.source, word.time_micros) != (counts.source, counts.time_micros)
            ]
        return sorted(found, key=lambda one: (one[0].name, one[0].line, -one[0].time_micros, one[0].source))

    def direct_traits(self, customer: Customer, now_micros: int) -> list[tuple[Trait, bool]]:
        """The traits that identify a person and hold now, which no snapshot has; whether to withhold each."""
        return [
            (trait, not customer.record.consents.may_use(known.purpose, now_micros))
            for trait in traits_at(customer.traits, self._catalogue, now_micros).values()
            if (known := self._catalogue.traits.get(trait.name)) is not None and known.direct
        ]

    async def things_of(self, work: Work, customers: Iterable[Customer]) -> dict[ThingKey, ThingState]:
        """The things that these customers' traits name."""
        keys = {
            (kind, key)
            for customer in customers
            for kind, key in customer.places.items()
            if kind in self._catalogue.things
        }
        return await work.things(keys, ()) if keys else {}

    async def things_named(
        self, work: Work, events: Sequence[CheckedEvent]
    ) -> dict[int, tuple[ThingState, ...]]:
        """The things that events name in their fields or are about, by the events' `id()`."""
        kinds = self._catalogue.things.keys()
        keys = {
            id(event): [(event.thing.kind, event.thing.key)]
            if event.thing is not None
            else [
                (kind, value)
                for kind in kinds & event.type.fields.keys()
                if isinstance(value := event.fields.get(kind), str)
            ]
            for event in events
        }
        wanted = {key for named in keys.values() for key in named}
        things = await work.things(wanted, ()) if wanted else {}
        return {event: tuple(things[key] for key in named) for event, named in keys.items()}

    async def snapshots(self, work: Work, subjects: Sequence[str], now_micros: int) -> list[bytes | str]:
        """A snapshot per subject, or what was wrong with it, as text."""
        asked: list[int | tuple[Identity, ...] | str] = []
        for place, subject in enumerate(subjects):
            try:
                asked.append(read_subject(subject, self._catalogue, f"subjects[{place}]"))
            except InvalidRequestError as error:
                asked.append(f"{error.message}; {error.suggestion}")
        identities = {identity for item in asked if isinstance(item, tuple) for identity in item}
        owners = await _owned(work, identities) if identities else {}
        ids: list[int | str] = []
        for item in asked:
            if isinstance(item, tuple):
                resolution = resolve(item, owners, self._catalogue.identities)
                ids.append("unknown subject" if resolution is None else resolution.customer)
            else:
                ids.append(item)
        read = await read_with_successors(work, {item for item in ids if isinstance(item, int)})
        customers = {number: successor(customer, read) for number, customer in read.items()}
        things = await self.things_of(work, customers.values())
        return [
            item
            if isinstance(item, str)
            else "unknown subject"
            if item not in customers
            else self._packer.snapshot(customers[item], things, now_micros, now_micros)
            for item in ids
        ]

    async def owners(self, work: Work, subjects: Sequence[str]) -> list[SubjectOwner]:
        """Whose each subject is; what nobody has, or is no identity, belongs to customer 0."""
        asked: list[int | tuple[Identity, ...]] = []
        for subject in subjects:
            try:
                asked.append(read_subject(subject, self._catalogue))
            except InvalidRequestError:
                asked.append(())
        identities = {identity for item in asked if isinstance(item, tuple) for identity in item}
        owners = await _owned(work, identities) if identities else {}
        found: list[tuple[int, str]] = []
        for item in asked:
            named = isinstance(item, tuple) and item
            one = resolve(item, owners, self._catalogue.identities) if named else None  # type: ignore[arg-type]
            if isinstance(item, int):
                found.append((item, ""))
            else:
                found.append((one.customer, one.line) if one is not None else (0, ""))
        read = await read_with_successors(work, {customer for customer, _ in found if customer})
        customers = {number: successor(customer, read) for number, customer in read.items()}
        return [
            SubjectOwner(customers[customer].id, line, tuple(customers[customer].record.merged_customers))
            if customer in customers
            else SubjectOwner(0)
            for customer, line in found
        ]

    async def contacts(
        self, work: Work, questions: Sequence[ContactQuestion], now_micros: int
    ) -> list[ContactAnswer]:
        """An answer per question, in order."""
        read = await read_with_successors(work, {question.customer for question in questions})
        customers = {number: successor(customer, read) for number, customer in read.items()}
        payers = await self._payers(work, questions, customers, now_micros)
        strangers = {payer for payer in payers.values() if payer} - customers.keys()
        if strangers:
            read |= await read_with_successors(work, strangers)
            customers = {number: successor(customer, read) for number, customer in read.items()}
        places = await self._places(work, customers.values(), now_micros)
        answers: list[ContactAnswer] = []
        for place, question in enumerate(questions):
            recipient = payers.get(place, question.customer)
            customer = customers.get(recipient)
            if customer is None or question.customer not in customers:
                answers.append(ContactAnswer(question.customer, recipient=max(recipient, 0)))
                continue
            line = question.line if recipient == question.customer else ""
            if recipient == question.customer and customer.id != recipient:
                line = line_with(customer.record, read[recipient].record, line)
            answer = self._contact(customer, replace(question, line=line), places, now_micros)
            # whoever asks knows the customer by this id, and all others of the person count as well
            answer.customer, answer.recipient = question.customer, recipient
            ids = (customer.id, *customer.record.merged_customers)
            answer.merged_customers = tuple(number for number in ids if number != recipient)
            answer.recent_contacts = list(recent_contacts(customer.kept, now_micros))
            answers.append(answer)
        return answers

    async def _payers(
        self,
        work: Work,
        questions: Sequence[ContactQuestion],
        customers: Mapping[int, Customer],
        now_micros: int,
    ) -> dict[int, int]:
        """By question who pays for its line, where somebody else is known to than who uses it.

        Who was said to pay goes before whose account it is; where that person was erased it is nobody, not
        the user instead.
        """
        lines: dict[int, Line] = {}
        for place, question in enumerate(questions):
            customer = customers.get(question.customer)
            if question.to_payer and customer is not None:
                line = line_asked(customer.record.lines, question.line, now_micros)
                if line is not None:
                    lines[place] = line
        keys = {line.account for line in lines.values() if line.account and not line.payer}
        owners = await work.owners_by_key(keys) if keys else {}
        found = {place: line.payer or owners.get(line.account, 0) for place, line in lines.items()}
        return {place: payer for place, payer in found.items() if payer}

    async def _places(
        self, work: Work, customers: Iterable[Customer], now_micros: int
    ) -> dict[ThingKey, ThingState]:
        """Where those were last who told no zone, as far as such a place can tell it."""
        keys = {
            (kind, key)
            for customer in customers
            if not self._own_zone(customer, now_micros)
            for kind, key in customer.places.items()
            if self._tells_zone(customer, kind, now_micros)
        }
        return await work.things(keys, ()) if keys else {}

    def _tells_zone(self, customer: Customer, kind: str, now_micros: int) -> bool:
        known, last = self._catalogue.things.get(kind), self._catalogue.traits.get(f"last_{kind}")
        if known is None or _ZONE not in known.attributes:
            return False
        purposes = (known.purpose, last.purpose if last is not None else known.purpose)
        return all(customer.record.consents.may_use(purpose, now_micros) for purpose in purposes)

    def _zone(self, customer: Customer, places: Mapping[ThingKey, ThingState], now_micros: int) -> str:
        """The person's, else that of where they were last, else the operator's (which is UTC unless said)."""
        own = self._own_zone(customer, now_micros)
        if own:
            return own
        for kind in self._catalogue.things:
            if self._tells_zone(customer, kind, now_micros):
                place = places.get((kind, customer.places.get(kind, "")))
                found = place.values().get(_ZONE) if place is not None else None
                if isinstance(found, str) and _is_zone(found):
                    return found
        return self._catalogue.default_zone

    def _own_zone(self, customer: Customer, now_micros: int) -> str:
        """Trait `zone`, while it holds; empty: none."""
        trait = customer.traits.get((_ZONE, ""))
        if trait is None:
            return ""
        word = trait_at(trait, now_micros, precedence_of(_ZONE, self._catalogue))
        return word.value if word.holds_at(now_micros) and isinstance(word.value, str) else ""

    def _contact(
        self,
        customer: Customer,
        question: ContactQuestion,
        places: Mapping[ThingKey, ThingState],
        now_micros: int,
    ) -> ContactAnswer:
        record = customer.record
        allowed, service_blocked = permissions(record, question.category, question.line, now_micros)
        traits: dict[str, Value] = {}
        for (name, line), trait in traits_at(customer.traits, self._catalogue, now_micros).items():
            fits = line == question.line or (not line and name not in traits)
            if fits and trait.value is not None:
                traits[name] = trait.value
        zone_name = self._zone(customer, places, now_micros)
        wishes = wishes_of(record.preferences, zone_name)
        preferred = traits.get("preferred_channel")
        shown: dict[str, str] = {}
        for name, value in traits.items():
            known = self._catalogue.traits.get(name)
            if known is not None and known.shown and record.consents.may_use(known.purpose, now_micros):
                shown[name] = _as_text(to_json(value, known.type))
        return ContactAnswer(
            customer=customer.id,
            known=True,
            permissions=allowed,
            zone=zone_name,
            language=wishes.language or str(traits.get("language", "")),
            preferred_channel=wishes.channel or (Channel(preferred) if isinstance(preferred, str) else None),
            service_blocked=service_blocked,
            preferences=dict(record.preferences),
            shown_traits=shown,
            recipient=customer.id,
            household=customer.home_id,
            paused_until_micros=wishes.pause_until_micros,
            quiet_hours=wishes.quiet_hours,
        )


async def _owned(work: Work, identities: Collection[Identity]) -> dict[Identity, Owner]:
    """Whose these identities are now; those given up are left out."""
    found = await work.owners(identities)
    return {identity: owner for identity, owner in found.items() if owner.customer}


def _is_zone(name: str) -> bool:
    try:
        zone(name)
    except ValueMistake:
        return False
    return True


def _as_text(value: object) -> str:
    if isinstance(value, dict):
        return f"{value['amount']} {value['currency']}"
    if isinstance(value, bool):
        return "true" if value else "false"
    return str(value)


def _unknown() -> UnknownSubjectError:
    return UnknownSubjectError(
        "nobody is known under this subject", field="subject", suggestion="send an event about them first"
    )
