"""Who or what an event is about: identities of a customer, or a thing, read from a subject and normalised."""

import json
import re
from collections.abc import Callable, Collection, Sequence
from dataclasses import dataclass
from typing import NamedTuple, TypeAlias

from services.vocabulary.values import FieldError

IDENTITY_KINDS: tuple[str, ...] = ("crm", "account", "msisdn", "email", "device", "social", "cookie")
"""Strongest first: on a conflict the strongest kind of identity names the customer."""

THING_KINDS: tuple[str, ...] = ("cell", "area", "store", "country")
"""Kinds of things of the core catalogue."""

MAX_IDENTITIES = 20
MAX_VALUE_LENGTH = 254

_MSISDN = re.compile(r"\+[1-9][0-9]{6,14}")
_PHONE_PUNCTUATION = str.maketrans("", "", "-.()/")
_EMAIL = re.compile(r"[^@\s]{1,64}@[^@\s.]+(\.[^@\s.]+)+")


class Identity(NamedTuple):
    """One name by which a customer is known. Its value never reaches a log line.

    A tuple, for it is what everything is looked up by.
    """

    kind: str
    value: str

    def __repr__(self) -> str:
        """Without the value."""
        return f"Identity({self.kind}:…)"

    @property
    def text(self) -> str:
        """``kind:value``, as in a subject."""
        return f"{self.kind}:{self.value}"


@dataclass(frozen=True, slots=True)
class Thing:
    """A cell, an area, a store, a country or another thing of the catalogue."""

    kind: str
    key: str

    @property
    def text(self) -> str:
        """``kind:key``, as in a subject."""
        return f"{self.kind}:{self.key}"


Subject: TypeAlias = tuple[Identity, ...] | Thing


def identity_strength(kind: str) -> int:
    """0 is the strongest; raises ValueError for an unknown kind."""
    return IDENTITY_KINDS.index(kind)


def parse_subject(
    subject: str | Sequence[str],
    thing_kinds: Collection[str] = THING_KINDS,
    kinds: Collection[str] = IDENTITY_KINDS,
) -> Subject:
    """Identities of one customer (each once, in the order given), or one thing; raises FieldError.

    Several identities are separated by spaces; a JSON list of them, as a list or as its text, is read too.
    """
    words = _words(subject)
    if not words:
        raise FieldError(
            "subject",
            "is empty",
            "name an identity such as msisdn:+33612345678, or a thing such as cell:FR-0042",
        )
    if len(words) > MAX_IDENTITIES:
        raise FieldError("subject", f"names {len(words)} identities", f"name at most {MAX_IDENTITIES}")
    first_kind = words[0].partition(":")[0]
    if first_kind in thing_kinds:
        if len(words) > 1:
            raise FieldError(
                "subject", "names a thing and more", "name one thing, or only identities of one customer"
            )
        return parse_thing(words[0], thing_kinds)
    if len(words) == 1:
        return (parse_identity(words[0], thing_kinds, kinds),)
    return tuple(dict.fromkeys([parse_identity(word, thing_kinds, kinds) for word in words]))


def parse_identity(
    text: str, thing_kinds: Collection[str] = THING_KINDS, kinds: Collection[str] = IDENTITY_KINDS
) -> Identity:
    """One ``kind:value``, normalised; raises FieldError that names the kind but not the value."""
    kind, colon, value = text.partition(":")
    if kind not in kinds:
        if not colon:
            raise FieldError(
                "subject", "has an identity without a kind", "write kind:value, such as msisdn:+33612345678"
            )
        if kind in thing_kinds:
            raise FieldError(
                "subject",
                "names a thing among identities",
                "name one thing, or only identities of one customer",
            )
        raise FieldError(
            "subject",
            f"has the unknown identity kind {_shown(kind)}",
            "known are " + ", ".join([*kinds, *thing_kinds]),
        )
    if not value:
        raise FieldError("subject", f"has the identity kind {kind} without a value", f"write {kind}:value")
    normalise = _NORMALISERS.get(kind)
    return Identity(kind, _plain(kind, value) if normalise is None else normalise(value))


def parse_thing(text: str, thing_kinds: Collection[str] = THING_KINDS) -> Thing:
    """One ``kind:key``; raises FieldError."""
    kind, _, key = text.partition(":")
    if kind not in thing_kinds:
        raise FieldError(
            "subject", f"has the unknown kind of thing {_shown(kind)}", "known are " + ", ".join(thing_kinds)
        )
    return Thing(kind, _plain(kind, key))


def normalise_msisdn(value: str) -> str:
    """E.164: a plus and 7 to 15 digits; ``00`` in front is read as the plus; raises FieldError."""
    if _MSISDN.fullmatch(value) is not None:
        return value
    number = value.translate(_PHONE_PUNCTUATION)
    if number.startswith("00"):
        number = "+" + number[2:]
    if _MSISDN.fullmatch(number) is None:
        raise FieldError(
            "subject",
            "has an msisdn that is no E.164 number",
            "write it with country code: msisdn:+33612345678",
        )
    return number


def normalise_email(value: str) -> str:
    """Lower case; raises FieldError when it has no shape of an address."""
    if len(value) > MAX_VALUE_LENGTH or _EMAIL.fullmatch(value) is None:
        raise FieldError("subject", "has an email that is no address", "write it as email:name@example.org")
    return value.lower()


def _words(subject: str | Sequence[str]) -> list[str]:
    if not isinstance(subject, str):
        if not isinstance(subject, list | tuple) or not all(isinstance(item, str) for item in subject):
            raise FieldError(
                "subject",
                "is neither text nor a list of texts",
                "write kind:value, several separated by spaces",
            )
        return [word for item in subject for word in item.split()]
    if subject.startswith("["):
        try:
            items = json.loads(subject)
        except ValueError:
            raise FieldError(
                "subject", "begins like a JSON list but is none", 'write ["crm:1", "msisdn:+33612345678"]'
            ) from None
        return _words(items)
    return subject.split()


def _plain(kind: str, value: str) -> str:
    if not value or len(value) > MAX_VALUE_LENGTH or not value.isprintable():
        raise FieldError(
            "subject", f"has a {kind} that is empty, too long or not printable", f"write {kind}:value"
        )
    return value


def _shown(kind: str) -> str:
    """A kind as it may be shown: a slip such as ``+33612345678:`` must not put a number into an error."""
    return repr(kind) if re.fullmatch(r"[a-z_]{1,20}", kind) else "(not a word)"


_NORMALISERS: dict[str, Callable[[str], str]] = {"msisdn": normalise_msisdn, "email": normalise_email}
