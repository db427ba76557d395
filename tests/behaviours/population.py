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
PURPOSES = (Purpose.MARKETING, Purpose.PROFILING_USAGE)
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
    """An event. `via`: who was meant before a merge (0: who has it); `merge`: with which it came."""

    key: str
    type: str
    time: int
    value: str = ""
    via: int = 0
    merge: int = 0


ANY, REFUSED, NOT_GRANTED, GRANTED, UNKNOWN = "any", "refused", "not granted", "granted", "unknown"
"""What may count after a merge: only that much is said of who was two."""
Key = tuple[Purpose, Channel | None]


@dataclass
class Person:
    """Somebody; `ids` are the customers that are this person, the one in use first.

    `standing` None: every word is in `words`, and what counts follows from them alone; else it says what must
    hold of each purpose and channel. `told_all`: consents count among the activity as in `done`.
    """

    ids: list[int] = field(default_factory=list)
    identities: list[str] = field(default_factory=list)
    done: list[Done] = field(default_factory=list)
    words: list[Word] = field(default_factory=list)
    standing: dict[Key, tuple[str, bool]] | None = None
    via: dict[str, int] = field(default_factory=dict)
    told_all: bool = True
    split: int = 0
    """How often somebody was taken out."""

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

    def fits(self, key: Key, state: ConsentState | None) -> bool:
        """Whether this may be what counts."""
        if self.standing is None:
            word = what_counts(self.words, *key)
            return state == (None if word is None else word.state)
        return {
            ANY: True,
            REFUSED: state in REFUSALS,
            NOT_GRANTED: state is not ConsentState.GRANTED,
            GRANTED: state is ConsentState.GRANTED,
            UNKNOWN: state is None,
        }[self.standing[key][0]]

    def stands(self) -> dict[Key, tuple[str, bool]]:
        """What must count for each purpose and channel, and whether it is the person's own no."""
        if self.standing is not None:
            return dict(self.standing)
        found: dict[Key, tuple[str, bool]] = {}
        for key in KEYS:
            word = what_counts(self.words, *key)
            if word is None:
                found[key] = (UNKNOWN, False)
            elif word.state in REFUSALS:
                found[key] = (REFUSED, word.by is ConsentBy.PERSON)
            else:
                found[key] = (GRANTED, False)
        return found

    def hear(self, word: Word, *, newest: bool) -> None:
        """One more word, which may be later than everything said before."""
        self.words.append(word)
        if self.standing is None:
            return
        for key in KEYS:
            if key[0] is not word.purpose or word.channel not in (None, key[1]):
                continue
            what, own = self.standing[key]
            if what == REFUSED and own and word.by is not ConsentBy.PERSON:
                continue  # only the person lifts it
            refuses = word.state in REFUSALS
            if newest and what != ANY:
                self.standing[key] = (
                    REFUSED if refuses else GRANTED,
                    refuses and word.by is ConsentBy.PERSON,
                )
            elif not (what == REFUSED and refuses and not own):
                self.standing[key] = (ANY, False)


KEYS: tuple[Key, ...] = tuple((purpose, channel) for purpose in PURPOSES for channel in CHANNELS)


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


def stricter(one: tuple[str, bool], other: tuple[str, bool]) -> tuple[str, bool]:
    """What must count for who said both."""
    refused = [side for side in (one, other) if side[0] == REFUSED]
    if refused:
        return (REFUSED, any(own for _, own in refused))
    kinds = {one[0], other[0]}
    if ANY in kinds or NOT_GRANTED in kinds:
        return (ANY, False)
    return (GRANTED, False) if GRANTED in kinds else (UNKNOWN, False)


@dataclass
class Merged:
    """A merge that holds: who went, into whom, and what was known of that one before."""

    id: int
    other: Person
    into: Person
    standing: dict[Key, tuple[str, bool]]
    heard: int
    split: int


class Population:
    """Everybody whom the machine knows, by what they are called."""

    def __init__(self) -> None:
        self.people: list[Person] = []
        self.taken: set[str] = set()
        self.erased: dict[str, int] = {}
        """When each identity was erased last."""
        self.gone: list[Person] = []
        self.merges: list[Merged] = []

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
        self.merges = [one for one in self.merges if one.into is not person]
        for identity in person.identities:
            self.erased[identity] = max(time, self.erased.get(identity, 0))

    def take(self, identities: list[str], done: Done, word: Word | None, *, newest: bool = False) -> None:
        """An event, once: it makes who is new, and gives what nobody owns to whom it means."""
        if done.key in self.taken:
            return
        if any(done.time <= self.erased.get(identity, -1) for identity in identities):
            return  # it is of somebody who was erased since
        self.taken.add(done.key)
        person = self.meant(identities)
        via = 0
        if person is None:
            person = Person()
            self.people.append(person)
        else:
            owned = [one for one in identities if self.owner(one) is person]
            via = person.via.get(strongest(owned), 0)
        for identity in identities:
            if self.owner(identity) is None and person.may_have(identity):
                person.identities.append(identity)
                if via:
                    person.via[identity] = via
        person.done.append(Done(done.key, done.type, done.time, done.value, via))
        if word is not None:
            person.hear(word, newest=newest)

    def merge(self, merge_id: int, other: Person, into: Person) -> None:
        """Two are one: all that either did, the stricter of what either said."""
        self.merges.append(Merged(merge_id, other, into, into.stands(), len(into.words), into.split))
        mine, theirs = into.stands(), other.stands()
        into.standing = {key: stricter(mine[key], theirs[key]) for key in KEYS}
        self.people.remove(other)
        for identity in other.identities:
            into.identities.append(identity)
            into.via[identity] = other.via.get(identity) or other.ids[0]
        into.done += [Done(one.key, one.type, one.time, one.value, one.via, merge_id) for one in other.done]
        into.ids += other.ids
        into.told_all = into.told_all and other.told_all

    def undo(self, merge: Merged) -> None:
        """Two again: each with what they had, and what came since under their own identities."""
        other, into, parts = merge.other, merge.into, set(merge.other.ids)
        self.merges.remove(merge)
        back = [one for one in into.identities if into.via.get(one) in parts]
        other.identities = back
        other.via = {one: via for one in back if (via := into.via[one]) != other.ids[0]}
        into.identities = [one for one in into.identities if one not in back]
        into.via = {one: via for one, via in into.via.items() if one not in back}
        mine = [one for one in into.done if one.merge != merge.id]
        other.done += [one for one in mine if one.via in parts]
        into.done = [one for one in mine if one.via not in parts]
        into.ids = [one for one in into.ids if one not in parts]
        since = {word.purpose for word in into.words[merge.heard :]}
        later = any(one.into is into and one.id > merge.id for one in self.merges)
        for person, before in ((other, other.stands()), (into, merge.standing)):
            person.standing = {
                key: (ANY, False) if key[0] in since or (later and person is into) else before[key]
                for key in KEYS
            }
            person.told_all = False
        self.people.append(other)

    def may_undo(self, merge: Merged) -> bool:
        """Not while who stayed was merged on, or somebody was taken out of them since."""
        return merge.into in self.people and merge.into.split == merge.split

    def split(self, person: Person, identities: list[str]) -> None:
        """Somebody new with some identities: a no goes along, a yes does not."""
        new = Person(identities=identities, told_all=False)
        new.standing = {
            key: (what if what == REFUSED else NOT_GRANTED, own)
            for key, (what, own) in person.stands().items()
        }
        person.identities = [one for one in person.identities if one not in identities]
        person.via = {one: via for one, via in person.via.items() if one not in identities}
        person.split += 1
        person.told_all = False
        self.people.append(new)
