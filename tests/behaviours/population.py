"""A plain model of customers: lists of what was said and done, searched through at each question."""

from collections.abc import Iterable
from dataclasses import dataclass, field

from services.vocabulary.words import Channel, ConsentBy, ConsentState, Purpose

REFUSALS = {ConsentState.DENIED, ConsentState.WITHDRAWN, ConsentState.OBJECTED}
ORDER = (
    ConsentState.GRANTED,
    ConsentState.EXPIRED,
    ConsentState.DENIED,
    ConsentState.WITHDRAWN,
    ConsentState.OBJECTED,
)
STRENGTH = ("crm", "account", "msisdn", "email", "device", "social", "cookie")
CHANNELS = (None, Channel.SMS, Channel.EMAIL)


@dataclass(frozen=True)
class Word:
    """Something said about a purpose on a channel (None: all)."""

    purpose: Purpose
    channel: Channel | None
    state: ConsentState
    by: ConsentBy
    time: int


@dataclass(frozen=True)
class Done:
    """An event: what happened, and to which identities it was told."""

    key: str
    type: str
    time: int
    value: str = ""


@dataclass
class Person:
    """Somebody; `ids` are the customers that are this person, the one in use first."""

    ids: list[int] = field(default_factory=list)
    identities: list[str] = field(default_factory=list)
    done: list[Done] = field(default_factory=list)
    words: list[Word] = field(default_factory=list)

    def may_have(self, identity: str) -> bool:
        """Whether one more of its kind is not too many: a person has one CRM number."""
        kind = identity.partition(":")[0]
        return kind != "crm" or not any(held.startswith("crm:") for held in self.identities)

    def plan(self) -> str | None:
        """What is known of the trait `plan`: the latest word."""
        told = [one for one in self.done if one.type == "profile.updated"]
        return max(told, key=lambda one: one.time).value if told else None

    def times(self, event_type: str) -> list[int]:
        """When events of a type happened."""
        return sorted(one.time for one in self.done if one.type == event_type)

    def counts(self, purpose: Purpose, channel: Channel | None) -> ConsentState | None:
        """Which state counts; None: nothing was said."""
        word = what_counts(self.words, purpose, channel)
        return None if word is None else word.state


def what_counts(words: Iterable[Word], purpose: Purpose, channel: Channel | None) -> Word | None:
    """The word that counts on a channel: the latest, on a tie the stricter, but a person's own no stands."""
    about = [one for one in words if one.purpose is purpose and one.channel in (None, channel)]
    own = _latest([one for one in about if one.by is ConsentBy.PERSON])
    others = _latest([one for one in about if one.by is not ConsentBy.PERSON])
    if own is not None and own.state in REFUSALS:
        return own
    return _latest([one for one in (own, others) if one is not None])


def _latest(words: list[Word]) -> Word | None:
    return max(words, key=lambda one: (one.time, ORDER.index(one.state)), default=None)


def strongest(identities: Iterable[str]) -> str:
    """The identity that decides who is meant."""
    return min(identities, key=lambda text: STRENGTH.index(text.partition(":")[0]))


class Population:
    """Everybody whom the machine knows, by what they are called."""

    def __init__(self) -> None:
        self.people: list[Person] = []
        self.taken: set[str] = set()
        self.erased: dict[str, int] = {}
        """When each identity was erased last."""
        self.gone: list[Person] = []

    def owner(self, identity: str) -> Person | None:
        """Whose it is."""
        return next((one for one in self.people if identity in one.identities), None)

    def meant(self, identities: Iterable[str]) -> Person | None:
        """Whom several identities mean: the owner of the strongest that anybody owns."""
        owned = [one for one in identities if self.owner(one) is not None]
        return self.owner(strongest(owned)) if owned else None

    def erase(self, person: Person, time: int) -> None:
        """All of a person; whoever comes with their identities later is somebody else."""
        self.people.remove(person)
        self.gone.append(person)
        for identity in person.identities:
            self.erased[identity] = max(time, self.erased.get(identity, 0))

    def take(self, identities: list[str], done: Done, word: Word | None) -> None:
        """An event, once: it makes who is new, and gives what nobody owns to whom it means."""
        if done.key in self.taken:
            return
        if any(done.time <= self.erased.get(identity, -1) for identity in identities):
            return  # it is of somebody who was erased since
        self.taken.add(done.key)
        person = self.meant(identities)
        if person is None:
            person = Person()
            self.people.append(person)
        for identity in identities:
            if self.owner(identity) is None and person.may_have(identity):
                person.identities.append(identity)
        person.done.append(done)
        if word is not None:
            person.words.append(word)
