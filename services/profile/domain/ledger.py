"""The consent ledger's chain: each line holds the digest of the line before, so that none can go unseen.

A line's hash is the SHA-256 of a JSON array (`canonical`) that anybody can write again from the line. What
people wrote (evidence, wording) and the id of the event stand in it as one salted digest: erasure drops the
texts with their salt, the digest stays, and the chain verifies as before. Where a chain ends stands in its
head, under a seal made with a key that the database does not have: a chain whose end was cut off, or that
was written anew from some line on, does not fit its head.
"""

import json
from collections.abc import Callable, Iterable, Sequence
from dataclasses import dataclass
from hashlib import sha256
from hmac import compare_digest
from typing import Final

from services.profile.domain.consent import Consent

SALT_BYTES: Final = 16
FORMAT: Final = "rapport.consent/1"
"""Stands first in what is digested; another form of it gets another name."""

HELD: Final = "pending"
"""The state of a grant that the person has not confirmed yet."""

Mac = Callable[[bytes], bytes]
"""A digest under the installation's key."""
NewSalt = Callable[[], bytes]


@dataclass(frozen=True, slots=True)
class Entry:
    """What a line says: whose consent, who told of it, what proves it, and when it was recorded."""

    customer: int
    consent: Consent
    source: str
    event_id: str
    evidence: str = ""
    wording: str = ""
    recorded_micros: int = 0


@dataclass(frozen=True, slots=True)
class Line:
    """An entry in its place in the chain; `number` counts from 1 for each customer.

    An empty `salt`: the texts were erased. `texts` is their salted digest, `previous` the hash of the line
    before (empty for the first).
    """

    entry: Entry
    number: int
    salt: bytes
    texts: bytes
    previous: bytes
    hash: bytes


@dataclass(frozen=True, slots=True)
class Head:
    """Where a chain ends: how many lines, the hash of the last, and the seal on both."""

    length: int = 0
    hash: bytes = b""
    seal: bytes = b""


@dataclass(frozen=True, slots=True)
class Break:
    """The first place at which a chain does not hold; number 0: a line that stands in no chain."""

    customer: int
    number: int
    why: str


def texts_digest(salt: bytes, entry: Entry) -> bytes:
    """One digest of all that people wrote in a line, and of the event's id."""
    return sha256(salt + _json([entry.evidence, entry.wording, entry.event_id])).digest()


def canonical(entry: Entry, number: int, texts: bytes, previous: bytes) -> bytes:
    """What the hash of a line is made of: a JSON array in ASCII, without blanks."""
    consent = entry.consent
    return _json(
        [
            FORMAT,
            entry.customer,
            number,
            consent.purpose.value,
            None if consent.channel is None else consent.channel.value,
            state_text(consent),
            consent.by.value,
            consent.time_micros,
            consent.expiry_micros,
            entry.recorded_micros,
            entry.source,
            texts.hex(),
            previous.hex(),
        ]
    )


def state_text(consent: Consent) -> str:
    """What a line's state reads: that of the consent, or that it waits for the person."""
    return HELD if consent.held else consent.state.value


def append(head: Head, entries: Iterable[Entry], new_salt: NewSalt, mac: Mac) -> tuple[list[Line], Head]:
    """Entries of one customer as the next lines of the chain, and where it ends then."""
    lines: list[Line] = []
    number, previous, customer = head.length, head.hash, 0
    for entry in entries:
        number, customer = number + 1, entry.customer
        salt = new_salt()
        texts = texts_digest(salt, entry)
        own = sha256(canonical(entry, number, texts, previous)).digest()
        lines.append(Line(entry, number, salt, texts, previous, own))
        previous = own
    if not lines:
        return lines, head
    return lines, Head(number, previous, mac(sealed_part(customer, number, previous)))


def sealed_part(customer: int, length: int, own: bytes) -> bytes:
    """What the seal of a head is made of."""
    return _json([FORMAT, "head", customer, length, own.hex()])


def first_break(customer: int, lines: Sequence[Line], head: Head | None, mac: Mac) -> Break | None:
    """Where a customer's chain does not hold; None: it is whole. `lines` may come in any order."""
    ordered = sorted(lines, key=lambda line: line.number)
    previous = b""
    for number, line in enumerate(ordered, start=1):
        why = _wrong_with(line, number, previous)
        if why:
            return Break(customer, min(number, line.number), why)
        previous = line.hash
    if head is None:
        return Break(customer, 1, "the end of the chain is not known") if ordered else None
    if head.length > len(ordered):
        return Break(customer, len(ordered) + 1, f"lines up to {head.length} are missing")
    if head.length < len(ordered):
        return Break(customer, head.length + 1, "the line stands behind the end of the chain")
    if not compare_digest(mac(sealed_part(customer, head.length, head.hash)), head.seal):
        return Break(customer, head.length, "the seal of the chain's end is not ours")
    if head.hash != previous:
        return Break(customer, head.length, "the line is not the one with which the chain ended")
    return None


def _wrong_with(line: Line, number: int, previous: bytes) -> str:
    if line.number > number:
        return "the line is missing"
    if line.number < number:
        return "the line is there twice"
    if line.previous != previous:
        return "the line does not follow on the one before"
    if line.hash != sha256(canonical(line.entry, line.number, line.texts, line.previous)).digest():
        return "the line was changed"
    if not line.salt:
        entry = line.entry
        left = entry.evidence or entry.wording or entry.event_id
        return "there is a text whose salt was taken away" if left else ""
    return "" if texts_digest(line.salt, line.entry) == line.texts else "the line's texts were changed"


def _json(value: object) -> bytes:
    return json.dumps(value, ensure_ascii=True, separators=(",", ":")).encode()
