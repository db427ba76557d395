"""What a relay's status codes mean for a message (RFC 5321 §4.2, RFC 3463)."""

import re
from dataclasses import dataclass
from enum import StrEnum

from services.channel.app.ports import HandOver
from services.channel.domain.mail_reports import UNREACHABLE

_ENHANCED = re.compile(r"(?:\A|\s)([245]\.[0-9]{1,3}\.[0-9]{1,3})\b")
# Answers about our standing with the relay, not about the message: it may take it once we are let in.
_NOT_LET_IN = frozenset({502, 503, 530, 534, 535, 538})
_ABOUT_US = frozenset({"5.1.7", "5.1.8"})
"""The sender's address or its domain is not taken: said of every message, it is a mistake of ours."""


class Stage(StrEnum):
    """Which command was answered."""

    SENDER = "MAIL"
    RECIPIENT = "RCPT"
    CONTENT = "DATA"


@dataclass(frozen=True, slots=True)
class Answer:
    """What the relay made of one message."""

    outcome: HandOver
    detail: str = ""
    lost: bool = False
    """Its connection is of no more use."""
    unreachable: bool = False
    """The address is none: it belongs on the suppression list."""


def enhanced_code(text: str) -> str:
    """The RFC 3463 code in an answer's text; empty: none. Nothing else of it is kept: it may quote us."""
    found = _ENHANCED.search(text)
    return found[1] if found else ""


def read_refusal(code: int, text: str, stage: Stage) -> Answer:
    """A status code as an outcome.

    421: the relay closes, and says nothing about the message. 4xx (450 greylisting, 451, 452 full): later.
    552 to a recipient without a code of its own is what old servers say for "too many at once", and counts as
    452 (RFC 5321 §4.5.3.1.10); with 5.2.2 the mailbox is full, which is permanent for this message and no
    fault of the address. 5xx to the sender's address is about us: a mistake in the settings loses no mail.
    """
    enhanced = enhanced_code(text)
    detail = f"SMTP status {code}{f' {enhanced}' if enhanced else ''} to {stage.value}"
    if code == 421 or code in _NOT_LET_IN:
        return Answer(HandOver.TRANSIENT, detail, lost=True)
    if code >= 500:
        about_us = enhanced in _ABOUT_US or (
            stage is Stage.SENDER and code != 552 and enhanced[:4] in {"", "5.7."}
        )
        too_many = code == 552 and stage is Stage.RECIPIENT and not enhanced
        if about_us or too_many:
            return Answer(HandOver.TRANSIENT, detail)
        unreachable = stage is Stage.RECIPIENT and enhanced in UNREACHABLE
        return Answer(HandOver.PERMANENT, detail, unreachable=unreachable)
    if code >= 400:
        return Answer(HandOver.TRANSIENT, detail)
    return Answer(HandOver.UNKNOWN, detail, lost=True)
