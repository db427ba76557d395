"""Who a text message says it is from, by the country it goes to, and how addresses are typed."""

import re
from collections.abc import Mapping
from dataclasses import dataclass, field

import phonenumbers

_E164 = re.compile(r"\+[1-9][0-9]{6,14}")
_SHORT = re.compile(r"[0-9]{3,8}")
_LETTERS = re.compile(r"[A-Za-z0-9 _.\-&]{1,11}")
_LONGEST_CALLING_CODE = 3


@dataclass(frozen=True, slots=True)
class Numbering:
    """Types of number and numbering plans by the kind of address (SMPP 3.4 §5.2.5, §5.2.6)."""

    number: tuple[int, int] = (1, 1)
    short: tuple[int, int] = (3, 0)
    letters: tuple[int, int] = (5, 0)
    destination: tuple[int, int] = (1, 1)


@dataclass(frozen=True, slots=True)
class CountrySender:
    """What holds for recipients in one country."""

    sender: str = ""
    """Instead of the default sender; empty: the default one."""
    letters: bool = True
    """Whether senders of letters are allowed there."""
    number: str = ""
    """Instead of letters; empty: the number for all countries."""


@dataclass(frozen=True, slots=True)
class Senders:
    """Senders by country of the recipient (ISO 3166)."""

    number: str = ""
    """Stands for a sender of letters where letters are not allowed: a number or short code."""
    countries: Mapping[str, CountrySender] = field(default_factory=dict)

    def sender(self, wanted: str, default: str, address: str) -> str | None:
        """Who a message to an E.164 number is from; `wanted` by the message itself or empty.

        None: letters are not allowed there, and no number stands for them.
        """
        if not self.countries:
            return wanted or default
        country = self.countries.get(country_of(address))
        if country is None:
            return wanted or default
        chosen = wanted or country.sender or default
        if country.letters or is_number(chosen):
            return chosen
        return country.number or self.number or None


def is_number(sender: str) -> bool:
    """Whether a sender is a number, a short code, or left to the SMSC."""
    return not sender or _E164.fullmatch(sender) is not None or _SHORT.fullmatch(sender) is not None


def source_of(sender: str, numbering: Numbering) -> tuple[str, int, int] | None:
    """Address, type of number and numbering plan of a sender; None: it can be no sender."""
    if _E164.fullmatch(sender):
        return (sender[1:], *numbering.number)
    if _SHORT.fullmatch(sender):
        return (sender, *numbering.short)
    if not sender:
        return "", 0, 0
    return (sender, *numbering.letters) if _LETTERS.fullmatch(sender) else None


def country_of(address: str) -> str:
    """ISO 3166 code of the country of an E.164 number; empty: of none (satellite, international)."""
    for length in range(1, _LONGEST_CALLING_CODE + 1):
        regions = phonenumbers.COUNTRY_CODE_TO_REGION_CODE.get(int(address[1 : 1 + length] or "0"))
        if regions is None:
            continue
        if len(regions) == 1:
            return "" if regions[0] == "001" else str(regions[0])
        number = phonenumbers.parse(address)
        return str(phonenumbers.region_code_for_number(number) or regions[0])
    return ""
