"""Asks the profile service whether, where and in which language a customer may be reached."""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Protocol

from services.channel.domain.actions import Action
from services.channel.domain.contact import Reach
from services.channel.domain.errors import ProfileUnavailableError
from services.channel.domain.inbound import Owner
from services.channel.domain.messages import Message
from services.vocabulary.words import CATEGORY_FACTS, ActionKind, Category

MOST_QUESTIONS = 500
"""In one call."""


@dataclass(frozen=True, slots=True)
class ContactQuestion:
    """One question about one customer."""

    customer: int
    category: Category
    to_payer: bool = False
    line: str = ""


class ProfilePort(Protocol):
    """The profile service."""

    async def check_contact(self, questions: Sequence[ContactQuestion]) -> Sequence[Reach]:
        """One answer per question, in order; at most 500. Raises ProfileUnavailableError."""


class IdentityPort(Protocol):
    """The profile service's register of identities."""

    async def owners(self, subjects: Sequence[str]) -> Mapping[str, Owner]:
        """Whose identities (`kind:value`) these are; what nobody has is left out.

        Raises ProfileUnavailableError.
        """


def question_of(about: Action | Message) -> ContactQuestion:
    """What is asked for an action or its message."""
    return ContactQuestion(about.customer, about.category, about.to_payer, about.line)


def needs_profile(about: Action | Message) -> bool:
    """Whether anything is to be asked: work that serves the contract needs nobody's permission or address."""
    return not (about.kind is ActionKind.TASK and CATEGORY_FACTS[about.category].unknown_means_yes)


async def ask_profile(
    profile: ProfilePort,
    about: Sequence[Action | Message],
) -> Mapping[ContactQuestion, Reach]:
    """Asks each question once, in bulk. What could not be asked is not in the answer: it fails closed."""
    questions = list(dict.fromkeys(question_of(one) for one in about if needs_profile(one)))
    answers: dict[ContactQuestion, Reach] = {}
    for start in range(0, len(questions), MOST_QUESTIONS):
        asked = questions[start : start + MOST_QUESTIONS]
        try:
            answers.update(zip(asked, await profile.check_contact(asked), strict=True))
        except ProfileUnavailableError:
            break
    return answers
