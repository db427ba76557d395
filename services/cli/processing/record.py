"""What is processed for which purpose, on which ground: gathered from the catalogue, in one language."""

from collections.abc import Iterable
from dataclasses import asdict, dataclass
from typing import Any, Final

from services.vocabulary.catalogue import Catalogue, EventType
from services.vocabulary.purposes import Controller, PurposeTerms, text_for
from services.vocabulary.values import DAY
from services.vocabulary.words import UNKNOWN_MEANS_YES, EventStage, Purpose

PROFILING: Final = (
    Purpose.PROFILING_USAGE,
    Purpose.PROFILING_LOCATION,
    Purpose.PROFILING_WEB,
    Purpose.PROFILING_SOCIAL,
)
"""Purposes for which data are used to work out something about a person."""


@dataclass(frozen=True, slots=True)
class Kept:
    """Something that is kept, and for how many days at most: one by one, and as sums of days."""

    name: str
    days: int
    sum_days: int = 0


@dataclass(frozen=True, slots=True)
class Activity:
    """What is done for one purpose."""

    purpose: str
    title: str
    description: str
    basis: str
    letter: str
    """Of GDPR art. 6(1)."""
    interest: str
    until_objected: bool
    """Allowed until the person objects; else only once the person agreed."""
    profiling: bool
    days: int
    recipients: tuple[str, ...]
    traits: tuple[str, ...]
    events: tuple[Kept, ...]
    things: tuple[str, ...]
    confirmed_on: tuple[str, ...]


@dataclass(frozen=True, slots=True)
class Record:
    """Everything; `version` is the catalogue's."""

    locale: str
    version: str
    controller: Controller
    identities: tuple[str, ...]
    activities: tuple[Activity, ...]

    def to_json(self) -> dict[str, Any]:
        """As JSON; the names are a contract."""
        return asdict(self)


class UndescribedError(ValueError):
    """The catalogue says too little to make the record."""


def record_of(catalogue: Catalogue, locale: str, *, profiling_only: bool = False) -> Record:
    """The record of a catalogue; UndescribedError: a purpose that data serve rests on nothing."""
    wanted = PROFILING if profiling_only else tuple(Purpose)
    lacking = [purpose.value for purpose in wanted if purpose not in catalogue.purposes]
    if lacking:
        raise UndescribedError(
            f"catalogue/purposes.yaml describes no {', '.join(lacking)}; give each its basis (GDPR art. 6)"
        )
    return Record(
        locale=locale,
        version=catalogue.version,
        controller=catalogue.controller,
        identities=tuple(catalogue.identities),
        activities=tuple(_activity(catalogue, catalogue.purposes[purpose], locale) for purpose in wanted),
    )


def _activity(catalogue: Catalogue, terms: PurposeTerms, locale: str) -> Activity:
    default = catalogue.default_locale
    purpose = terms.purpose
    events = (event for event in catalogue.events.values() if event.stage is not EventStage.OURS)
    return Activity(
        purpose=purpose.value,
        title=text_for(terms.titles, locale, default),
        description=text_for(terms.descriptions, locale, default),
        basis=terms.basis.value,
        letter=terms.basis.letter,
        interest=text_for(terms.interest, locale, default),
        until_objected=purpose in UNKNOWN_MEANS_YES,
        profiling=purpose in PROFILING,
        days=terms.kept_micros // DAY,
        recipients=terms.recipients,
        traits=tuple(sorted(trait.name for trait in catalogue.traits.values() if trait.purpose is purpose)),
        events=tuple(_kept(event for event in events if event.purpose is purpose)),
        things=tuple(sorted(thing.kind for thing in catalogue.things.values() if thing.purpose is purpose)),
        confirmed_on=tuple(sorted(terms.double_opt_in)),
    )


def _kept(events: Iterable[EventType]) -> list[Kept]:
    return sorted(
        (
            Kept(event.name, event.keep.each_micros // DAY, event.keep.by_day_micros // DAY)
            for event in events
        ),
        key=lambda kept: kept.name,
    )
