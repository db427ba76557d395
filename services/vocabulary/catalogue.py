"""The catalogue: the events, traits, things, offers and templates of this operator, and what each is for."""

import re
from collections.abc import Mapping
from dataclasses import dataclass, field
from datetime import date
from difflib import get_close_matches
from pathlib import Path

from services.vocabulary.arbitration_policy import NO_POLICY, ArbitrationPolicy
from services.vocabulary.identity_rules import IdentityKind, core_kinds
from services.vocabulary.purposes import Controller, PurposeTerms
from services.vocabulary.values import (
    DAY,
    Check,
    FieldCheck,
    FieldError,
    FieldValue,
    Money,
    Value,
    ValueMistake,
    ValueType,
)
from services.vocabulary.words import Category, Channel, ConversationScope, EventStage, Households, Purpose

# words with points between them, and no number that could be a subscriber's
_WORDS = re.compile(r"(?!.*[0-9]{5})[a-z_][a-z0-9_-]*(\.[a-z_][a-z0-9_-]*)*", re.IGNORECASE)
CONSENTS = "consents"
"""The built-in trait that conditions read: the purposes agreed to now on at least one channel."""
HOUSEHOLD_COUNTS = ("members", "lines")
"""What every household has beside its traits: its persons, and its lines now."""
CYCLE_DAYS = 31
"""The longest billing cycle; `13 cycles` are kept as 403 days."""


class CatalogueError(ValueError):
    """One mistake in the catalogue's files; reads ``file:line: what is wrong; what would be right``."""

    def __init__(self, file: str, line: int, message: str, suggestion: str = "") -> None:
        """``line`` counts from 1."""
        super().__init__(f"{file}:{line}: {message}" + (f"; {suggestion}" if suggestion else ""))
        self.file = file
        self.line = line
        self.message = message
        self.suggestion = suggestion


class CatalogueErrors(ValueError):  # noqa: N818 - the plural says what it holds
    """All mistakes found in the catalogue's files, in order."""

    def __init__(self, errors: tuple[CatalogueError, ...]) -> None:
        """At least one."""
        super().__init__("\n".join(str(error) for error in errors))
        self.errors = errors


@dataclass(frozen=True, slots=True)
class Keep:
    """How long a customer's activity keeps events of a type, and which of their fields.

    Single entries for ``each_micros`` before the newest event, at most ``most`` of them; older ones as a
    count and sums per local calendar day for ``by_day_cycles`` billing cycles (0: not at all).
    """

    each_micros: int = 13 * CYCLE_DAYS * DAY
    by_day_cycles: int = 0
    fields: tuple[str, ...] = ()
    most: int = 1000

    @property
    def by_day_micros(self) -> int:
        """How far back the days reach."""
        return self.by_day_cycles * CYCLE_DAYS * DAY


@dataclass(frozen=True, slots=True)
class Field:
    """One field of an event type. ``check`` turns its JSON into a value, or raises ValueMistake."""

    name: str
    type: ValueType
    check: FieldCheck
    required: bool = False
    enum: tuple[str, ...] = ()
    purpose: Purpose = Purpose.SERVICE
    default: Value | None = None
    format: str = ""
    least: float | None = None
    most: float | None = None


@dataclass(frozen=True, slots=True)
class Precedence:
    """Who is believed first about a trait, and for how long (``fresh_micros`` 0: for ever).

    Sources that are not named come last, all alike. A source is named with all that begins with its name
    and a slash: ``billing`` is ``billing/invoices`` too.
    """

    sources: tuple[str, ...]
    fresh_micros: int = 0

    def rank(self, source: str) -> int:
        """0 is believed first."""
        for place, name in enumerate(self.sources):
            if source == name or (source.startswith(name) and source[len(name)] == "/"):
                return place
        return len(self.sources)

    def is_fresh(self, said_micros: int, now_micros: int) -> bool:
        """Whether a word said then still keeps those of lower sources from being heard."""
        return not self.fresh_micros or now_micros - said_micros <= self.fresh_micros


@dataclass(frozen=True, slots=True)
class Trait:
    """One trait of a customer. ``check`` turns its JSON into a value, or raises ValueMistake.

    ``sensitive``: no condition may read it. ``direct``: it identifies the person, is kept sealed, and leaves
    the profile for templates only. ``line``: each subscription has its own. ``shown``: templates
    may show it. ``household``: a household has it, not each of its members.
    ``precedence`` None: the latest word counts, whoever said it.
    """

    name: str
    type: ValueType
    check: Check
    purpose: Purpose = Purpose.SERVICE
    sensitive: bool = False
    line: bool = False
    shown: bool = False
    enum: tuple[str, ...] = ()
    format: str = ""
    least: float | None = None
    most: float | None = None
    household: bool = False
    precedence: Precedence | None = None
    direct: bool = False

    def coerce(self, raw: object) -> Value:
        """The value of its JSON form; raises FieldError."""
        try:
            return self.check(raw)
        except ValueMistake as mistake:
            raise FieldError(f"traits.{self.name}", mistake.message, mistake.suggestion) from None


@dataclass(frozen=True, slots=True)
class ThingKind:
    """A kind of thing with its typed attributes."""

    kind: str
    attributes: Mapping[str, ValueType]
    purpose: Purpose = Purpose.SERVICE


@dataclass(frozen=True, slots=True)
class EventType:
    """One type of event: its fields, its purpose, how long it is kept, what it changes.

    ``thing``: the kind of thing it is about; empty: a customer. ``thing_sets`` maps attributes of that thing
    to fields of the event; ``thing_clears`` names attributes it takes away. ``sets_traits`` maps traits of
    the customer to fields. ``own``: only Rapport itself may send it. ``direct``: fields that identify people,
    kept sealed and told to nobody.
    """

    name: str
    stage: EventStage
    fields: Mapping[str, Field]
    purpose: Purpose = Purpose.SERVICE
    keep: Keep = field(default_factory=Keep)
    thing: str = ""
    thing_sets: Mapping[str, str] = field(default_factory=dict)
    thing_clears: tuple[str, ...] = ()
    sets_traits: Mapping[str, str] = field(default_factory=dict)
    own: bool = False
    description: str = ""
    direct: tuple[str, ...] = ()
    _checks: Mapping[str, FieldCheck] = field(default_factory=dict, repr=False, compare=False)
    _required: frozenset[str] = field(default_factory=frozenset, repr=False, compare=False)
    _defaults: tuple[tuple[str, Value], ...] = field(default=(), repr=False, compare=False)

    def __post_init__(self) -> None:
        """Prepares what ``coerce`` needs for every event."""
        put = object.__setattr__
        put(self, "_checks", {name: known.check for name, known in self.fields.items()})
        put(self, "_required", frozenset(name for name, known in self.fields.items() if known.required))
        put(
            self,
            "_defaults",
            tuple((name, known.default) for name, known in self.fields.items() if known.default is not None),
        )

    def coerce(self, data: Mapping[str, object]) -> dict[str, FieldValue]:
        """Typed values of an event's JSON object; raises FieldError for the first that does not fit.

        A field that is null counts as left out. A field that the type does not know is an error. The error
        names the field as ``data.<field>``.
        """
        values: dict[str, FieldValue] = {}
        checks = self._checks
        name = ""
        try:
            for name, raw in data.items():
                check = checks[name]
                if raw is not None:
                    values[name] = check(raw)
        except ValueMistake as mistake:
            raise FieldError(f"data.{name}", mistake.message, mistake.suggestion) from None
        except KeyError:
            raise FieldError(
                "data." + _shown(name), f"is no field of {self.name}", self._near(name)
            ) from None
        except FieldError as error:
            raise FieldError(f"data.{error.field}", error.message, error.suggestion) from None
        if not self._required <= values.keys():
            lacking = [name for name in self.fields if name in self._required and name not in values]
            raise FieldError(
                f"data.{lacking[0]}",
                f"is missing; {self.name} requires it",
                f"send it as {self.fields[lacking[0]].type.value}",
            )
        for name, default in self._defaults:
            if name not in values:
                values[name] = default
        return values

    def _near(self, name: str) -> str:
        near = get_close_matches(name, list(self.fields), n=1)
        if near:
            return f"did you mean {near[0]}?"
        return "its fields are " + ", ".join(self.fields) if self.fields else "it has no fields"


@dataclass(frozen=True, slots=True)
class Question:
    """What another system asks Rapport about one customer, answered at once, with its parameters."""

    name: str
    title: str
    parameters: Mapping[str, Field]

    def coerce(self, data: Mapping[str, object]) -> dict[str, FieldValue]:
        """Typed values of the parameters' JSON forms; raises FieldError (``<parameter>``)."""
        values: dict[str, FieldValue] = {}
        for name, raw in data.items():
            known = self.parameters.get(name)
            if known is None:
                raise FieldError(_shown(name), f"is no parameter of {self.name}", self._near(name))
            if raw is None:
                continue
            try:
                values[name] = known.check(raw)
            except ValueMistake as mistake:
                raise FieldError(name, mistake.message, mistake.suggestion) from None
        for name, known in self.parameters.items():
            if known.required and name not in values:
                raise FieldError(
                    name, f"is missing; {self.name} requires it", f"send it as {known.type.value}"
                )
            if known.default is not None:
                values.setdefault(name, known.default)
        return values

    def _near(self, name: str) -> str:
        near = get_close_matches(name, list(self.parameters), n=1)
        if near:
            return f"did you mean {near[0]}?"
        return "its parameters are " + ", ".join(self.parameters) if self.parameters else "it has none"


@dataclass(frozen=True, slots=True)
class Offer:
    """Something a customer can be offered; the days of ``valid_from`` and ``valid_to`` are included."""

    name: str
    title: str
    titles: Mapping[str, str] = field(default_factory=dict)
    price: Money | None = None
    valid_from: date | None = None
    valid_to: date | None = None
    eligible: tuple[str, ...] = ()
    excludes: tuple[str, ...] = ()
    templates: Mapping[Channel, str] = field(default_factory=dict)
    topic: str = ""
    accept: tuple[str, ...] = ("YES",)
    fulfil: str = ""

    def template_for(self, channel: Channel) -> str:
        """Its template on that channel: the one named, else its own name."""
        return self.templates.get(channel, self.name)

    def valid_on(self, day: date) -> bool:
        """Whether it may be offered on that day."""
        return (self.valid_from is None or day >= self.valid_from) and (
            self.valid_to is None or day <= self.valid_to
        )


@dataclass(frozen=True, slots=True)
class Template:
    """The texts of one message. ``files`` maps (locale, channel) to its Jinja file.

    ``ground`` names the law or contract clause that a mandatory message rests on; ``breaks_quiet_hours``
    says that the ground asks for it at once. ``parameters`` must be given by the action's ``with``; ``types``
    and ``category`` tell a preview what they will be and what it is for.
    """

    name: str
    topic: str
    files: Mapping[tuple[str, Channel], Path]
    ground: str = ""
    breaks_quiet_hours: bool = False
    parameters: tuple[str, ...] = ()
    types: Mapping[str, ValueType] = field(default_factory=dict)
    category: Category | None = None

    @property
    def channels(self) -> frozenset[Channel]:
        """Channels with a text in any language."""
        return frozenset(channel for _, channel in self.files)

    @property
    def locales(self) -> frozenset[str]:
        """Languages with a text on any channel."""
        return frozenset(locale for locale, _ in self.files)


@dataclass(frozen=True, slots=True)
class Tariff:
    """A plan on sale; prices are per month."""

    name: str
    title: str
    price: Money
    data_mb: int
    minutes: int | None = None
    messages: int | None = None
    extra_gb: Money | None = None


@dataclass(frozen=True, slots=True)
class Topic:
    """A subject matter that templates and preferences name."""

    name: str
    title: str


@dataclass(frozen=True, slots=True)
class Catalogue:
    """Everything that rule sets may name. ``version`` is a digest of all its files.

    ``country`` (ISO 3166-1, two letters; empty: not said) is the operator's, of those of whom neither number
    nor zone says one. ``households``: what makes one. ``identities``: their kinds, strongest first.
    ``purposes``: what each rests on; one that is missing has no lawful basis. ``arbitration``: the policy
    beside it. ``conversation_scope``: whose ear one sales or retention action has. ``needs_approval``,
    ``needs_canary``: what a version of a rule set has to have behind it before it goes live.
    """

    version: str
    events: Mapping[str, EventType]
    traits: Mapping[str, Trait]
    things: Mapping[str, ThingKind]
    offers: Mapping[str, Offer]
    templates: Mapping[str, Template]
    tariffs: Mapping[str, Tariff]
    topics: Mapping[str, Topic]
    default_zone: str
    default_locale: str
    currency: str
    conversation_micros: int = DAY
    creates_customers_except: frozenset[str] = frozenset()
    identities: Mapping[str, IdentityKind] = field(default_factory=core_kinds)
    questions: Mapping[str, Question] = field(default_factory=dict)
    country: str = ""
    households: Households = Households.ACCOUNT
    purposes: Mapping[Purpose, PurposeTerms] = field(default_factory=dict)
    controller: Controller = field(default_factory=Controller)
    arbitration: ArbitrationPolicy = NO_POLICY
    conversation_scope: ConversationScope = ConversationScope.CUSTOMER
    needs_approval: bool = True
    needs_canary: bool = True

    def event_type(self, name: str) -> EventType:
        """The type of that name; raises FieldError with the nearest known one."""
        found = self.events.get(name)
        if found is None:
            near = get_close_matches(name, list(self.events), n=1)
            raise FieldError(
                "type",
                f"is the unknown event type {_shown(name)}",
                f"did you mean {near[0]}?" if near else "the catalogue's events.yaml lists the known ones",
            )
        return found

    def question(self, name: str) -> Question:
        """The question of that name; raises FieldError (``ask``) with the nearest known one."""
        found = self.questions.get(name)
        if found is None:
            near = get_close_matches(name, list(self.questions), n=1)
            known = ", ".join(self.questions) or "none; questions.yaml describes them"
            raise FieldError(
                "ask",
                f"is the unknown question {_shown(name)}",
                f"did you mean {near[0]}?" if near else f"known are {known}",
            )
        return found

    def trait(self, name: str) -> Trait:
        """The trait of that name; raises FieldError with the nearest known one."""
        return find_trait(self.traits, name)

    def coerce_traits(self, raw: Mapping[str, object]) -> dict[str, Value | None]:
        """Typed traits of a JSON object; null takes a trait away; raises FieldError (``traits.<name>``)."""
        return coerce_traits(self.traits, raw)


def find_trait(traits: Mapping[str, Trait], name: str) -> Trait:
    """The trait of that name; raises FieldError (``traits.<name>``) with the nearest known one."""
    found = traits.get(name)
    if found is None:
        near = get_close_matches(name, list(traits), n=1)
        raise FieldError(
            f"traits.{_shown(name)}",
            "is no trait of the catalogue",
            f"did you mean {near[0]}?" if near else "the catalogue's traits.yaml lists the known ones",
        )
    return found


def coerce_traits(traits: Mapping[str, Trait], raw: Mapping[str, object]) -> dict[str, Value | None]:
    """Typed traits of a JSON object; null takes a trait away; raises FieldError (``traits.<name>``)."""
    values: dict[str, Value | None] = {}
    name = ""
    try:
        for name, value in raw.items():
            values[name] = None if value is None else find_trait(traits, name).check(value)
    except ValueMistake as mistake:
        raise FieldError(f"traits.{name}", mistake.message, mistake.suggestion) from None
    return values


def traits_check(traits: Mapping[str, Trait]) -> FieldCheck:
    """The check of a field of type ``map``; ``traits`` may still grow after this call."""

    def check(raw: object) -> FieldValue:
        if not isinstance(raw, dict):
            raise ValueMistake("is no object of traits", 'write {"plan": "m-20gb"}')
        return coerce_traits(traits, raw)

    return check


def load_catalogue(folder: Path | str) -> Catalogue:
    """Reads ``catalogue/*.yaml`` and ``templates/`` below the rules folder.

    Raises CatalogueErrors with all mistakes found, each with file and line.
    The folder may be the rules folder or its ``catalogue`` itself.
    """
    from services.vocabulary.catalogue_reader import read_catalogue

    return read_catalogue(Path(folder))


def _shown(name: str) -> str:
    """A name as it may be shown in an error: one that is a number, an address or a person's is not."""
    return name if len(name) <= 60 and _WORDS.fullmatch(name) else "(not a name)"
