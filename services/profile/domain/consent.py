"""The consent ledger's projection: which state is in force, whatever order the ledger was written in."""

from collections.abc import Collection, Iterable
from dataclasses import dataclass, field, replace
from typing import Final

from services.vocabulary.words import (
    CONSENT_STRICTNESS,
    UNKNOWN_MEANS_YES,
    Channel,
    ConsentBy,
    ConsentState,
    Purpose,
)

REFUSALS: Final = frozenset({ConsentState.DENIED, ConsentState.WITHDRAWN, ConsentState.OBJECTED})
"""States in which the answer is no."""

DATA_PURPOSES: Final = (
    Purpose.PROFILING_USAGE,
    Purpose.PROFILING_LOCATION,
    Purpose.PROFILING_WEB,
    Purpose.PROFILING_SOCIAL,
)
"""Purposes whose absence withholds data; the others only govern contact."""


@dataclass(frozen=True, slots=True)
class Consent:
    """One entry of the ledger. `channel` None: every channel; `expiry_micros` 0: never.

    `held`: a grant that the person has not confirmed yet (double opt-in); it says that it was asked for, and
    never counts as a yes.
    """

    purpose: Purpose
    channel: Channel | None
    state: ConsentState
    time_micros: int
    by: ConsentBy
    expiry_micros: int = 0
    held: bool = False

    @property
    def refuses(self) -> bool:
        """Whether it says no."""
        return self.state in REFUSALS


def _rank(consent: Consent) -> tuple[int, int, int]:
    # An earlier end is the stricter of two equal grants.
    ends = -consent.expiry_micros if consent.expiry_micros else -(1 << 62)
    return (consent.time_micros, CONSENT_STRICTNESS[consent.state], ends)


def _later(one: Consent | None, other: Consent | None) -> Consent | None:
    if one is None or other is None:
        return one or other
    return max(one, other, key=_rank)


def in_force(person: Consent | None, others: Consent | None) -> Consent | None:
    """What holds, of the person's latest word and the latest word of staff and imports.

    The latest event time wins, on a tie the stricter; but a person's own refusal is lifted by
    nobody else, however late.
    """
    if person is not None and person.refuses:
        return person
    return _later(person, others)


def state_at(counts: Consent | None, now_micros: int) -> ConsentState | None:
    """The state of the entry that counts; a grant whose end has come counts as expired. None: unknown."""
    if counts is None:
        return None
    if counts.state is ConsentState.GRANTED and 0 < counts.expiry_micros <= now_micros:
        return ConsentState.EXPIRED
    return counts.state


def allowed_in(state: ConsentState | None, purpose: Purpose) -> bool:
    """Whether it may be done in this state: agreed to, or not refused where unknown means yes."""
    return state is ConsentState.GRANTED or (state not in REFUSALS and purpose in UNKNOWN_MEANS_YES)


_NEVER_ASKED: Final = tuple(purpose for purpose in DATA_PURPOSES if not allowed_in(None, purpose))
"""What is withheld where nothing was recorded."""

Key = tuple[Purpose, Channel | None]


@dataclass(slots=True)
class Consents:
    """All that is in force for one customer.

    Per purpose and channel the latest word of the person and the latest word of others are kept:
    with these two the result does not depend on the order in which the ledger was written. `held` has the
    latest grants that wait to be confirmed.
    """

    by_person: dict[Key, Consent] = field(default_factory=dict)
    by_others: dict[Key, Consent] = field(default_factory=dict)
    held: dict[Key, Consent] = field(default_factory=dict)

    def put(self, consent: Consent) -> None:
        """Take one entry of the ledger."""
        key = (consent.purpose, consent.channel)
        if consent.held:
            slot = self.held
        else:
            slot = self.by_person if consent.by is ConsentBy.PERSON else self.by_others
        slot[key] = _later(slot.get(key), consent) or consent

    def add(self, consent: Consent) -> str:
        """Take one entry of the ledger; gives why it is not what counts now, or an empty text."""
        self.put(consent)
        if consent.held:
            return f"on {consent.channel or 'every channel'} it waits for the person to confirm it"
        counts = self.prevailing(consent.purpose, consent.channel)
        if counts is None or counts == consent:
            return ""
        if counts.by is ConsentBy.PERSON and counts.refuses and consent.by is not ConsentBy.PERSON:
            return "the person's own refusal stands; only the person lifts it"
        return "a later word is on record, or a stricter one of the same time"

    def recorded(self, purpose: Purpose, channel: Channel | None) -> Consent | None:
        """The entry in force that names exactly this channel (None: every channel)."""
        key = (purpose, channel)
        return in_force(self.by_person.get(key), self.by_others.get(key))

    def prevailing(self, purpose: Purpose, channel: Channel | None) -> Consent | None:
        """The entry that counts on this channel, entries for every channel included; None: none recorded."""
        person = self.by_person.get((purpose, None))
        others = self.by_others.get((purpose, None))
        if channel is not None:
            person = _later(person, self.by_person.get((purpose, channel)))
            others = _later(others, self.by_others.get((purpose, channel)))
        return in_force(person, others)

    def effective(self, purpose: Purpose, channel: Channel | None, now_micros: int) -> ConsentState | None:
        """The state that counts on this channel now; None: unknown.

        A grant whose end has come counts as expired.
        """
        return state_at(self.prevailing(purpose, channel), now_micros)

    def waiting(self, purpose: Purpose, channel: Channel | None) -> Consent | None:
        """The grant that waits to be confirmed on this channel; None: none does.

        Any word of the person at the same time or later settles it.
        """
        held = self.held.get((purpose, channel)) if self.held else None
        if held is None:
            return None
        said = _later(self.by_person.get((purpose, None)), self.by_person.get((purpose, channel)))
        return None if said is not None and said.time_micros >= held.time_micros else held

    def all_waiting(self) -> list[Consent]:
        """Every grant that waits to be confirmed, by purpose and channel."""
        keys = sorted(self.held, key=lambda key: (key[0], key[1] or ""))
        return [held for key in keys if (held := self.waiting(*key)) is not None]

    def allows(self, purpose: Purpose, channel: Channel | None, now_micros: int) -> bool:
        """Whether it may be done now: agreed to, or not refused where unknown means yes."""
        return allowed_in(self.effective(purpose, channel, now_micros), purpose)

    def all_recorded(self) -> list[Consent]:
        """Every entry in force, by purpose and channel."""
        keys = sorted({*self.by_person, *self.by_others}, key=lambda key: (key[0], key[1] or ""))
        return [consent for key in keys if (consent := self.recorded(*key)) is not None]

    def next_expiry_micros(self, after_micros: int) -> int:
        """When the next grant ends by itself; 0: none will."""
        ends = [
            consent.expiry_micros
            for consent in (*self.by_person.values(), *self.by_others.values())
            if consent.expiry_micros > after_micros
        ]
        return min(ends, default=0)

    def may_use(self, purpose: Purpose, now_micros: int) -> bool:
        """Whether data that needs this purpose may be used; only profiling purposes can withhold data."""
        if purpose not in DATA_PURPOSES:
            return True
        return self.allows(purpose, None, now_micros)

    def withheld_purposes(self, now_micros: int) -> tuple[Purpose, ...]:
        """The purposes whose data the customer did not agree to have used."""
        if not self.by_person and not self.by_others:
            return _NEVER_ASKED
        return tuple(purpose for purpose in DATA_PURPOSES if not self.may_use(purpose, now_micros))


def entries_of(consent: Consent, confirmed_on: Collection[Channel], *, proved: bool) -> tuple[Consent, ...]:
    """What is entered for one word: a grant on a channel where the person must confirm it is held back.

    A grant for every channel is entered channel by channel then, so that it counts where nobody has to
    confirm. `proved`: it was confirmed, here or in the system that it comes from.
    """
    if consent.state is not ConsentState.GRANTED or not confirmed_on or proved:
        return (consent,)
    channels = (consent.channel,) if consent.channel is not None else tuple(Channel)
    return tuple(replace(consent, channel=channel, held=channel in confirmed_on) for channel in channels)


def project(ledger: Iterable[Consent]) -> Consents:
    """The projection of a whole ledger, in any order."""
    consents = Consents()
    for consent in ledger:
        consents.add(consent)
    return consents
