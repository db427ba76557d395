"""What happened to a customer, in one order: by time, then kind, then id."""

from collections.abc import Mapping
from dataclasses import dataclass, field
from enum import IntEnum
from typing import Any, Final

from services.profile.domain.events import CONSENT_CHANGED
from services.vocabulary.catalogue import Catalogue

REFUSED: Final = "action.refused"
_ACTION = "action."
_IDENTITY = "identity."
_DUE = ".due"


class Kind(IntEnum):
    """What an entry is; the numbers are those of the proto, and the order of what happened at one time."""

    EVENT = 1
    CONSENT = 2
    IDENTITY = 3
    MESSAGE = 4
    REFUSAL = 5
    INTERNAL = 6


@dataclass(frozen=True, slots=True, order=True)
class Place:
    """Where an entry stands in a timeline; no two entries of a person stand at the same place.

    `number` is the event's sequence, or the line's position in the ledger, under that customer's id.
    """

    time_micros: int
    kind: int
    customer: int
    number: int

    @property
    def text(self) -> str:
        """As a cursor."""
        return f"{self.time_micros}:{self.kind}:{self.customer}:{self.number}"

    @classmethod
    def of(cls, text: str) -> "Place":
        """From a cursor; ValueError: it is none."""
        words = text.split(":")
        if len(words) != 4 or not all(word.isdecimal() and int(word) < 1 << 63 for word in words):
            raise ValueError("no cursor")
        return cls(*map(int, words))


@dataclass(frozen=True, slots=True)
class Happening:
    """One thing that happened. `data` is its JSON object.

    `accepted_micros` 0: not known any more; `retracted_micros` 0: it holds.
    """

    place: Place
    type: str
    source: str
    event_id: str
    line: str
    data: bytes
    accepted_micros: int
    hops: int = 0
    history: bool = False
    retracted_micros: int = 0

    @property
    def kind(self) -> Kind:
        """What it is."""
        return Kind(self.place.kind)


@dataclass(frozen=True, slots=True)
class Wanted:
    """Which part of a timeline: behind `behind` in its order, of these kinds, in [from, until)."""

    kinds: frozenset[Kind]
    behind: Place | None = None
    from_micros: int = 0
    until_micros: int = 1 << 62
    oldest_first: bool = False
    with_retracted: bool = True


@dataclass(frozen=True, slots=True)
class Kinds:
    """Which event types of a catalogue are of which kind; what is in none of these is an event."""

    types: Mapping[Kind, tuple[str, ...]]
    _kind_of: Mapping[str, Kind] = field(default_factory=dict)

    @classmethod
    def of(cls, catalogue: Catalogue) -> "Kinds":
        """Of all types that it knows."""
        found = {name: _kind(name, own=known.own) for name, known in catalogue.events.items()}
        return cls(
            {
                kind: tuple(name for name, its in found.items() if its is kind)
                for kind in Kind
                if kind is not Kind.EVENT
            },
            found,
        )

    def kind_of(self, event_type: str) -> Kind:
        """The kind of one type."""
        return self._kind_of.get(event_type, Kind.EVENT)


def _kind(name: str, *, own: bool) -> Kind:
    if name == CONSENT_CHANGED:
        return Kind.CONSENT
    if name.startswith(_IDENTITY):
        return Kind.IDENTITY
    if name.endswith(_DUE) and own:
        return Kind.INTERNAL
    if name == REFUSED:
        return Kind.REFUSAL
    if name.startswith(_ACTION) and name != "action.rated":
        return Kind.MESSAGE
    return Kind.INTERNAL if own else Kind.EVENT


_DONE: Final[Mapping[str, tuple[str, str]]] = {
    # what became of a message: as staff reads it, as the person does
    "planned": ("planned", "We prepared a message for you"),
    "deferred": ("put off", "We put a message for you off"),
    "expired": ("not sent in time", "We prepared a message for you and did not send it in time"),
    "sent": ("sent", "We sent you a message"),
    "delivered": ("delivered", "A message from us reached you"),
    "failed": ("not delivered", "A message from us did not reach you"),
    "opened": ("opened", "You opened a message from us"),
    "clicked": ("clicked", "You followed a link in a message from us"),
    "dismissed": ("dismissed", "You put a message from us away"),
}
_WHY: Final[Mapping[str, str]] = {
    # reasons as the person reads them; all others are our own affair
    "NO_CONSENT": "because you did not agree to it",
    "CONSENT_UNKNOWN": "because you have not agreed to it",
    "SUPPRESSED": "because you, or the network, asked us not to use this way",
    "NO_ADDRESS": "because we had no address for you",
    "QUIET_HOURS": "because of the hour",
    "CAPPED": "because you had heard enough from us",
    "RATE_LIMITED": "because you had heard enough from us",
    "DATA_WITHHELD": "because you do not agree to our using the data it needs",
    "SERVICE_FIRST": "because another matter of yours came first",
    "VULNERABLE": "to spare you",
}
_PERSONS_FIELDS: Final = ("channel", "category")


def sentence(entry: Happening, data: Mapping[str, Any], *, for_person: bool) -> str:
    """What happened, in one sentence without values of its fields that a caller made up."""
    words = entry.type.replace(".", " ").replace("_", " ").capitalize()
    match entry.kind:
        case Kind.CONSENT:
            by = {"person": "you" if for_person else "the person", "staff": "staff", "import": "an import"}
            where = data.get("channel") or "every channel"
            purpose = str(data.get("purpose", "")).replace("_", " ")
            who = by.get(str(data.get("by")))
            return f"{purpose.capitalize()} on {where}: {data.get('state')}, said by {who}"
        case Kind.MESSAGE:
            staff, person = _DONE.get(entry.type.removeprefix(_ACTION), (words.lower(), words))
            if for_person:
                return person + _by(data)
            return f"{_said(data)} {staff}"
        case Kind.REFUSAL:
            reason = str(data.get("reason", ""))
            if for_person:
                why = _WHY.get(reason)
                return f"We did not send you a message{_by(data)}" + (f" {why}" if why else "")
            return f"{_said(data)} not said: {reason or 'no reason'}"
        case _:
            return words


def _said(data: Mapping[str, Any]) -> str:
    """The message as staff knows it: our own words, from the rule set."""
    category = f"{data['category']} " if data.get("category") else ""
    return f"{category}{data.get('name', 'message')}{_by(data)}"


def _by(data: Mapping[str, Any]) -> str:
    return f" by {data['channel']}" if data.get("channel") else ""


def persons_data(entry: Happening, data: Mapping[str, Any]) -> Mapping[str, Any]:
    """The fields that a person's view tells: of what we said, where and what for; of the rest all."""
    if entry.kind in {Kind.MESSAGE, Kind.REFUSAL}:
        return {name: data[name] for name in _PERSONS_FIELDS if name in data}
    if entry.kind is Kind.CONSENT:
        return {name: value for name, value in data.items() if name != "evidence"}
    return data
