"""A customer as the profile service holds one, and what an event changes in it."""

from collections.abc import Collection, Iterable, Mapping
from dataclasses import dataclass, field
from functools import lru_cache
from typing import Protocol
from zoneinfo import ZoneInfo

from services.profile.domain.accounts import Line
from services.profile.domain.activity import MICROS_PER_DAY, ColumnValue, Retention, TypeActivity
from services.profile.domain.consent import Consent, Consents
from services.profile.domain.events import CONSENT_CHANGED, PREFERENCE_CHANGED, CheckedEvent
from services.profile.domain.households import Household
from services.profile.domain.traits import (
    Trait,
    TraitKey,
    changed_by,
    differs,
    trait_at,
    values_of,
    with_word,
)
from services.vocabulary.catalogue import Catalogue, EventType, Precedence
from services.vocabulary.identities import Identity
from services.vocabulary.values import ValueMistake, micros_to_time, zone
from services.vocabulary.words import Channel, ConsentBy, ConsentState, Purpose

PROFILE_UPDATED = "profile.updated"
NO_HOUSEHOLD = -1
"""It was said of a person that they belong to no household."""
MOST_KINDS = 40
"""So many changes of the kinds of identities are remembered; nobody has so many in earnest."""
_ZONE = ("zone", "")
_LAST = "last_"


@dataclass(slots=True)
class Record:
    """What changes rarely: identities with their lines, consents, preferences, merged customers.

    `lines` are those of which a subscription is known. `said_household`: what was said last of this person's
    household, its id or NO_HOUSEHOLD; 0: nothing was. `kinds`: of which kinds the identities were, each since
    the event behind a sequence.
    """

    identities: list[tuple[Identity, str]] = field(default_factory=list)
    consents: Consents = field(default_factory=Consents)
    preferences: dict[str, str] = field(default_factory=dict)
    preference_times: dict[str, int] = field(default_factory=dict)
    merged_customers: list[int] = field(default_factory=list)
    lines: list[Line] = field(default_factory=list)
    said_household: int = 0
    said_household_micros: int = 0
    kinds: list[tuple[int, tuple[str, ...]]] = field(default_factory=list)

    def note_kinds(self, after: int) -> None:
        """Remember of which kinds the identities are since the event behind a sequence, if it is new."""
        now = tuple(sorted({identity.kind for identity, _ in self.identities}))
        if not self.kinds or self.kinds[-1][1] != now:
            self.kinds = [*self.kinds, (after, now)][-MOST_KINDS:]


class KeptCustomer(Protocol):
    """A customer as kept; its parts are opened only when something needs them."""

    @property
    def zone(self) -> str:
        """Trait `zone`; empty: none."""
        ...

    @property
    def household(self) -> int:
        """The household; 0: none."""
        ...

    @property
    def places(self) -> Mapping[str, str]:
        """Key of the thing that each trait `last_<kind>` names, by kind."""
        ...

    @property
    def event_types(self) -> Collection[str]:
        """Types of which there is activity."""
        ...

    def open_traits(self) -> dict[TraitKey, Trait]:
        """All traits, those taken away included."""
        ...

    def append(
        self,
        event_type: str,
        time_micros: int,
        sequence: int,
        kept: Mapping[str, ColumnValue],
        retention: Retention,
    ) -> bool:
        """Add an entry without opening the activity, where it is the newest and nothing need be folded.

        The same as `TypeActivity.add`, faster; False: nothing was done, open it.
        """
        ...

    def open_activity(self, event_type: str) -> TypeActivity | None:
        """What is known of one event type."""
        ...

    def open_record(self) -> Record:
        """What changes rarely."""
        ...


@dataclass(slots=True)
class Customer:
    """One customer, locked, while events are applied. `sequence` counts the events taken, from 1.

    `before` is the sequence as it was read; `activity` holds the event types that had to be opened.
    `trait_changes` counts words taken, `values_changed` says whether one of them changed what holds, or what
    may hold once another is old.
    `merged_into`: who the customer has become; 0: a customer of their own.
    """

    id: int
    sequence: int
    kept: KeptCustomer
    activity: dict[str, TypeActivity] = field(default_factory=dict)
    trait_changes: int = 0
    values_changed: bool = False
    zone_changed: bool = False
    taken_back: int = 0
    record_changed: bool = False
    merged_into: int = 0
    _traits: dict[TraitKey, Trait] | None = None
    _record: Record | None = None
    before: int = 0
    home: Household | None = None
    home_changed: bool = False

    def __post_init__(self) -> None:
        self.before = self.sequence

    @property
    def home_id(self) -> int:
        """The household; 0: none. `home` is that household, once it was read."""
        if self.home is not None:
            return self.home.id
        return 0 if self.home_changed else self.kept.household

    def enter(self, home: Household, catalogue: Catalogue) -> None:
        """Belong to a household, which takes what was said of such things to this person before."""
        self.home, self.home_changed = home, True
        for name, known in catalogue.traits.items():
            if known.household and (name, "") in self.traits:
                home.take(self.traits.pop((name, "")))
                self.trait_changes += 1

    def leave_home(self) -> None:
        """Belong to no household."""
        self.home, self.home_changed = None, True

    @property
    def traits(self) -> dict[TraitKey, Trait]:
        """All traits by name and line, those taken away included."""
        if self._traits is None:
            self._traits = self.kept.open_traits()
        return self._traits

    @property
    def record(self) -> Record:
        """What changes rarely."""
        if self._record is None:
            self._record = self.kept.open_record()
        return self._record

    @property
    def opened_traits(self) -> dict[TraitKey, Trait] | None:
        """The traits, if anything opened them."""
        return self._traits

    @property
    def opened_record(self) -> Record | None:
        """The record, if anything opened it."""
        return self._record

    @property
    def places(self) -> Mapping[str, str]:
        """Key of the thing that each trait `last_<kind>` names, by kind."""
        if not self.trait_changes:
            return self.kept.places
        return places_of(self.traits.values())

    def changes_facts(self, event: CheckedEvent, catalogue: Catalogue) -> bool:
        """Whether an event changes more than activity: traits, consents or preferences."""
        if event.type.name in {CONSENT_CHANGED, PREFERENCE_CHANGED}:
            return True
        updates = trait_updates(event, catalogue)
        return bool(updates) and any(
            changed_by(self.traits, update, precedence_of(update.name, catalogue)) for update in updates
        )

    def apply(self, event: CheckedEvent, catalogue: Catalogue) -> int:
        """Take one event; gives its sequence. Times decide, not the order of arrival."""
        self.sequence += 1
        name = event.type.name
        if name == CONSENT_CHANGED:
            entries = event.entries or (event.consent or consent_of(event),)
            reasons = [self.add_consent(consent) for consent in entries]
            event.without_effect = next(filter(None, reasons), "")
        elif name == PREFERENCE_CHANGED:
            self.set_preference(str(event.fields["key"]), str(event.fields["value"]), event.time_micros)
        for update in trait_updates(event, catalogue):
            if self.home is not None and _of_household(update, catalogue):
                self.home.take(update)
            else:
                self._set_trait(update, precedence_of(update.name, catalogue))
        return self._remember(event, catalogue)

    def note(self, event: CheckedEvent, catalogue: Catalogue) -> int:
        """Take one event as something that happened, and nothing that it says; gives its sequence."""
        self.sequence += 1
        return self._remember(event, catalogue)

    def _remember(self, event: CheckedEvent, catalogue: Catalogue) -> int:
        name = event.type.name
        kept_fields, retention = event.kept_fields(), retention_of(event.type)
        activity = self.activity.get(name)
        if activity is None:
            if self.kept.append(name, event.time_micros, self.sequence, kept_fields, retention):
                return self.sequence
            activity = self.activity[name] = self.kept.open_activity(name) or TypeActivity(name)
        activity.add(
            event.time_micros,
            self.sequence,
            kept_fields,
            retention,
            lambda micros: local_day(micros, self._zone_name() or catalogue.default_zone),
        )
        return self.sequence

    def take_back(self, event: CheckedEvent, sequence: int, catalogue: Catalogue) -> int | None:
        """Take an event's entry out of the activity; gives the time of the newest that is left, 0: none is.

        None: the activity holds it no more, for it was too old to be kept.
        """
        name = event.type.name
        activity = self.activity.get(name) or self.kept.open_activity(name)
        day = local_day(event.time_micros, self._zone_name() or catalogue.default_zone)
        if activity is None or not activity.take_back(event.time_micros, sequence, event.kept_fields(), day):
            return None
        self.activity[name] = activity
        self.taken_back += 1
        return activity.last_time_micros

    def standing_words(self, event: CheckedEvent, catalogue: Catalogue) -> list[str]:
        """Traits of which an event's word is still the latest of its source."""
        return sorted(
            {
                update.name
                for update in trait_updates(event, catalogue)
                if (known := self.traits.get((update.name, update.line))) is not None
                for word in known.words
                if (word.source, word.time_micros) == (update.source, update.time_micros)
            }
        )

    def add_consent(self, consent: Consent) -> str:
        """Take one entry of the ledger; gives why it changed nothing now, or an empty text."""
        self.record_changed = True
        return self.record.consents.add(consent)

    def replace_record(self, record: Record) -> None:
        """Put a record in the place of what was known."""
        self._record = record
        self.record_changed = True

    def set_preference(self, key: str, value: str, time_micros: int) -> None:
        """Note what the person prefers, unless something later is known; of one moment the larger text."""
        record = self.record
        known = (record.preference_times.get(key, 0), record.preferences.get(key, ""))
        if (time_micros, value) > known:
            record.preferences[key] = value
            record.preference_times[key] = time_micros
            self.record_changed = True

    def become(self, other: "Customer", record: Record) -> None:
        """Be what another state of the same customer is, with this record; the sequence goes on."""
        self.kept, self.activity, self._traits = other.kept, other.activity, other.traits
        self.home_changed = True
        self.trait_changes = other.trait_changes + 1
        self.values_changed = self.zone_changed = True
        self.replace_record(record)

    def add_identity(self, identity: Identity, line: str) -> None:
        """Note that an identity is this customer's."""
        self.record.identities.append((identity, line))
        self.record_changed = True

    def _set_trait(self, update: Trait, precedence: Precedence | None) -> None:
        key, traits = (update.name, update.line), self.traits
        before = traits.get(key)
        after = with_word(before, update, precedence)
        if after is None:
            return
        traits[key] = after
        self.trait_changes += 1
        if differs(before, after) or (after.others and values_of(before) != values_of(after)):
            self.values_changed = True
            self.zone_changed = self.zone_changed or key == _ZONE

    def _zone_name(self) -> str:
        if self._traits is None:
            return self.kept.zone
        return zone_of(self._traits)


def precedence_of(trait: str, catalogue: Catalogue) -> Precedence | None:
    """The order of sources that the catalogue declares for a trait; None: the latest word counts."""
    known = catalogue.traits.get(trait)
    return None if known is None else known.precedence


def traits_at(
    traits: Mapping[TraitKey, Trait], catalogue: Catalogue, time_micros: int
) -> dict[TraitKey, Trait]:
    """The traits that hold then, each by the source that counts then."""
    found: dict[TraitKey, Trait] = {}
    for key, trait in traits.items():
        word = trait_at(trait, time_micros, precedence_of(trait.name, catalogue)) if trait.others else trait
        if word.holds_at(time_micros):
            found[key] = word
    return found


def zone_of(traits: Mapping[TraitKey, Trait]) -> str:
    """The person's own zone; empty: none known."""
    trait = traits.get(_ZONE)
    return trait.value if trait is not None and isinstance(trait.value, str) else ""


def places_of(traits: Iterable[Trait]) -> dict[str, str]:
    """Key of the thing that each trait `last_<kind>` names, by kind."""
    return {
        trait.name.removeprefix(_LAST): trait.value
        for trait in traits
        if trait.name.startswith(_LAST) and isinstance(trait.value, str) and not trait.line
    }


def trait_updates(event: CheckedEvent, catalogue: Catalogue) -> list[Trait]:
    """The traits that an event sets: those it names itself, and those the catalogue derives from its fields.

    Only traits that each subscription has of its own carry the event's line.
    """
    if not event.type.sets_traits and event.type.name != PROFILE_UPDATED:
        return []
    if event.words is None or event.words[0] != event.line:
        event.words = (event.line, _words(event, catalogue))
    return event.words[1]


def _words(event: CheckedEvent, catalogue: Catalogue) -> list[Trait]:
    fields, time_micros, source = event.fields, event.time_micros, event.source
    updates: list[Trait] = []
    for name, field_name in event.type.sets_traits.items():
        value = fields.get(field_name)
        if value is not None and not isinstance(value, Mapping):
            updates.append(Trait(name, value, time_micros, source, _line(event, name, catalogue)))
    if event.type.name == PROFILE_UPDATED:
        traits = fields.get("traits")
        until = fields.get("until")
        until_micros = until if isinstance(until, int) else 0
        if isinstance(traits, Mapping):
            updates += [
                Trait(name, value, time_micros, source, _line(event, name, catalogue), until_micros)
                for name, value in traits.items()
            ]
    return updates


def household_words(event: CheckedEvent, catalogue: Catalogue) -> list[Trait]:
    """Of the traits that an event sets those that a household has, where the customer belongs to one."""
    return [update for update in trait_updates(event, catalogue) if _of_household(update, catalogue)]


def _of_household(update: Trait, catalogue: Catalogue) -> bool:
    known = catalogue.traits.get(update.name)
    return known is not None and known.household


def _line(event: CheckedEvent, trait: str, catalogue: Catalogue) -> str:
    if not event.line:
        return ""
    known = catalogue.traits.get(trait)
    return event.line if known is not None and known.line else ""


def consent_of(event: CheckedEvent) -> Consent:
    """What a consent.changed says."""
    fields = event.fields
    channel = fields.get("channel")
    return Consent(
        purpose=Purpose(str(fields["purpose"])),
        channel=None if channel is None else Channel(str(channel)),
        state=ConsentState(str(fields["state"])),
        time_micros=event.time_micros,
        by=ConsentBy(str(fields["by"])),
    )


@lru_cache(maxsize=4096)
def _retention(each: int, by_day: int, most: int) -> Retention:
    return Retention(each, by_day, most)


def retention_of(event_type: EventType) -> Retention:
    """How long the catalogue keeps entries of a type."""
    keep = event_type.keep
    return _retention(keep.each_micros, keep.by_day_micros, keep.most)


def local_day(time_micros: int, zone_name: str) -> int:
    """The calendar day in a zone, as days since 1970-01-01; an unknown zone counts as UTC."""
    offset = micros_to_time(time_micros).astimezone(_zone(zone_name)).utcoffset()
    shift = 0 if offset is None else int(offset.total_seconds()) * 1_000_000
    return (time_micros + shift) // MICROS_PER_DAY


def _zone(name: str) -> ZoneInfo:
    try:
        return zone(name)
    except ValueMistake:
        return ZoneInfo("UTC")


def traits_by_purpose(
    traits: Mapping[TraitKey, Trait], catalogue: Catalogue, time_micros: int
) -> dict[Purpose, list[Trait]]:
    """Traits that hold then, by the purpose that the catalogue gives them; unknown ones are left out."""
    groups: dict[Purpose, list[Trait]] = {}
    for trait in traits_at(traits, catalogue, time_micros).values():
        known = catalogue.traits.get(trait.name)
        if known is not None:
            groups.setdefault(known.purpose, []).append(trait)
    return groups
