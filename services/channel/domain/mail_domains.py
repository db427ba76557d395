"""How many mails a second a mail domain takes from us, over all workers together."""

import math
from collections.abc import Mapping
from dataclasses import dataclass

from services.channel.domain.messages import Message
from services.channel.domain.rate import Pace


@dataclass(frozen=True, slots=True)
class DomainPaces:
    """Paces of the domains that have one; a second's worth may go at once.

    Only domains that were named: one of a single person is not to be kept among the rates.
    """

    paces: Mapping[str, Pace]

    @classmethod
    def read(cls, text: str) -> "DomainPaces":
        """From `gmail.com|googlemail.com=20, orange.fr=5`: domains with a bar between share one rate.

        Raises ValueError.
        """
        paces: dict[str, Pace] = {}
        for entry in filter(None, (one.strip().lower() for one in text.split(","))):
            names, _, rate = entry.rpartition("=")
            domains = [name.strip() for name in names.split("|")]
            try:
                per_second = float(rate)
            except ValueError:
                per_second = 0.0
            if not (0 < per_second <= 1_000_000) or not all("." in domain for domain in domains):
                raise ValueError("an entry is no domain with a rate; write for example gmail.com=20")
            if paces.keys() & set(domains):
                raise ValueError("a domain stands there twice")
            pace = Pace(f"domain:{domains[0]}", per_second, max(1, math.ceil(per_second)))
            paces.update(dict.fromkeys(domains, pace))
        return cls(paces)

    def lane_of(self, message: Message) -> Pace | None:
        """The pace of the domain that a message goes to; None: it has none."""
        if message.wording is None:
            return None
        return self.paces.get(message.wording.address.rpartition("@")[2].lower())
