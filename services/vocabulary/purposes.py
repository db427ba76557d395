"""What each purpose rests on (GDPR art. 6), who answers for it, and what people are told of it."""

from collections.abc import Mapping
from dataclasses import dataclass, field
from enum import StrEnum

from services.vocabulary.words import Channel, Purpose


class LawfulBasis(StrEnum):
    """Why data may be processed: one of the six grounds of GDPR art. 6(1), in their order."""

    CONSENT = "consent"
    CONTRACT = "contract"
    LEGAL_OBLIGATION = "legal_obligation"
    VITAL_INTERESTS = "vital_interests"
    PUBLIC_TASK = "public_task"
    LEGITIMATE_INTERESTS = "legitimate_interests"

    @property
    def letter(self) -> str:
        """The letter of art. 6(1)."""
        return "abcdef"[list(LawfulBasis).index(self)]


Texts = Mapping[str, str]
"""The same said in several languages, by locale."""


@dataclass(frozen=True, slots=True)
class PurposeTerms:
    """A purpose as the operator processes data for it.

    `interest`: the legitimate interest, where that is the basis (art. 13(1)(d)). `kept_micros`: how long at
    most. `double_opt_in`: channels on which a grant counts only once the person has confirmed it there.
    """

    purpose: Purpose
    basis: LawfulBasis
    titles: Texts
    descriptions: Texts
    kept_micros: int
    recipients: tuple[str, ...] = ()
    interest: Texts = field(default_factory=dict)
    double_opt_in: frozenset[Channel] = frozenset()


@dataclass(frozen=True, slots=True)
class Controller:
    """Who decides why and how data are processed (art. 4(7)), and whom people may ask."""

    name: str = ""
    address: str = ""
    contact: str = ""
    officer: str = ""
    """The data protection officer."""


def text_for(texts: Texts, locale: str, default: str) -> str:
    """The text in a language: the locale's own, its language's, the operator's; empty: there is none."""
    for wanted in (locale, locale.partition("-")[0], default):
        if wanted in texts:
            return texts[wanted]
    return ""
