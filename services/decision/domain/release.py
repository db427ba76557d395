"""The life of a version of a rule set: which step it may take, and what keeps it from taking one."""

from dataclasses import dataclass
from enum import StrEnum

MOST_CANARIES = 4
"""Rule sets of which a share of the customers meets another version, at once."""


class State(StrEnum):
    """Where a version stands."""

    DRAFT = "draft"
    TESTED = "tested"
    IN_REVIEW = "in_review"
    APPROVED = "approved"
    CANARY = "canary"
    LIVE = "live"
    RETIRED = "retired"


class Refusing(StrEnum):
    """Why a step is not taken."""

    NOT_SOUND = "not_sound"
    WRONG_STATE = "wrong_state"
    ALREADY_REVIEWED = "already_reviewed"
    OWN_WORK = "own_work"
    NOT_APPROVED = "not_approved"
    NO_CANARY = "no_canary"
    ANOTHER_CANARY = "another_canary"
    NOTHING_BEFORE = "nothing_before"
    NO_LONGER_COMPILES = "no_longer_compiles"
    STILL_NEEDED = "still_needed"
    WRONG_SIMULATION = "wrong_simulation"


@dataclass(frozen=True, slots=True)
class Refused:
    """A step that was not taken: why, and what would be right. ``offered``: a version that could."""

    reason: Refusing
    detail: str
    suggestion: str = ""
    offered: int = 0


@dataclass(frozen=True, slots=True)
class ReleaseRules:
    """What the operator asks of a version before it goes live: a second person's word, a canary."""

    approval: bool = True
    canary: bool = True

    @property
    def waived(self) -> str:
        """What was not asked for, for the history of a version that went live without it."""
        left = [word for word, asked in (("review", self.approval), ("canary", self.canary)) if not asked]
        return f"{' and '.join(left)} not required here" if left else ""


@dataclass(frozen=True, slots=True)
class Standing:
    """What a version's next step depends on."""

    name: str
    version: int
    state: State
    author: str = ""
    submitter: str = ""
    approver: str = ""


_SUBMITTED_FROM = frozenset({State.DRAFT, State.TESTED, State.RETIRED})


def may_submit(version: Standing) -> Refused | None:
    """A draft, a tested version, or one that was retired; its tests are run by whoever asks this."""
    if version.state in _SUBMITTED_FROM:
        return None
    return Refused(
        Refusing.WRONG_STATE,
        f"{_named(version)} is {_worded(version.state)}",
        "" if version.state is State.IN_REVIEW else "put a new version",
    )


def may_review(version: Standing, reviewer: str, *, approve: bool) -> Refused | None:
    """A version in review, and to approve it by somebody who neither wrote nor submitted it."""
    if version.state is State.APPROVED:
        return Refused(
            Refusing.ALREADY_REVIEWED,
            f"{version.approver or 'somebody'} approved {_named(version)} before you",
            "read its history",
        )
    if version.state is not State.IN_REVIEW:
        reviewed = version.submitter and version.state in {State.DRAFT, State.CANARY, State.LIVE}
        return Refused(
            Refusing.ALREADY_REVIEWED if reviewed else Refusing.WRONG_STATE,
            f"{_named(version)} is {_worded(version.state)}, not in review",
            "read its history" if reviewed else "have it submitted first",
        )
    if approve and reviewer in {version.author, version.submitter}:
        did = "wrote" if reviewer == version.author else "submitted"
        return Refused(
            Refusing.OWN_WORK,
            f"you {did} {_named(version)} yourself",
            "have a second person approve it",
        )
    return None


def may_run(version: Standing, rules: ReleaseRules, *, share: bool) -> Refused | None:
    """Whether it may run: for everybody, or (``share``) for a share of the customers."""
    if version.state is State.LIVE:
        return (
            None if not share else Refused(Refusing.WRONG_STATE, f"{_named(version)} is live for everybody")
        )
    if version.state is State.CANARY:
        return None
    if rules.approval and version.state is not State.APPROVED:
        step = "approved by a second person" if version.state is State.IN_REVIEW else "reviewed"
        return Refused(
            Refusing.NOT_APPROVED,
            f"{_named(version)} is {_worded(version.state)}",
            f"it has to be {step} first"
            + ("; to go back to it, roll back" if version.state is State.RETIRED else ""),
        )
    if version.state is State.IN_REVIEW:
        return Refused(
            Refusing.WRONG_STATE, f"{_named(version)} is in review", "have it approved or rejected"
        )
    if rules.canary and not share:
        return Refused(
            Refusing.NO_CANARY,
            f"{_named(version)} has not run for a share of the customers",
            "start a canary first",
        )
    return None


def may_canary(
    version: Standing, rules: ReleaseRules, others: "tuple[tuple[str, int], ...]"
) -> Refused | None:
    """`may_run` for a share, beside the other canaries (name, version) that run."""
    refused = may_run(version, rules, share=True)
    if refused is not None or version.state is State.CANARY:
        return refused
    same = next((number for name, number in others if name == version.name), 0)
    if same:
        return Refused(
            Refusing.ANOTHER_CANARY,
            f"version {same} of {version.name} is a canary",
            "activate, roll back or retire that one first",
        )
    if len(others) >= MOST_CANARIES:
        names = ", ".join(f"{name}@{number}" for name, number in others)
        return Refused(
            Refusing.ANOTHER_CANARY,
            f"{len(others)} rule sets have a canary ({names}), and no more can have one",
            "activate, roll back or retire one of them first",
        )
    return None


def _named(version: Standing) -> str:
    return f"{version.name} version {version.version}"


def _worded(state: State) -> str:
    return {
        State.DRAFT: "a draft",
        State.IN_REVIEW: "in review",
        State.CANARY: "a canary",
    }.get(state, state.value)
