"""What the demo found out about its own run, and whether the counts at both ends agree."""

from collections import Counter
from collections.abc import Mapping
from dataclasses import dataclass, field

SPOKEN_KINDS = ("offer", "message", "survey", "task")
"""The kinds of action that become a message (a task is a message on the channel `task`)."""

FINAL_STATES = ("sent", "delivered", "failed", "expired", "refused")
HANDED_OVER_STATES = ("sent", "delivered")


@dataclass(frozen=True, slots=True)
class Check:
    """One equation of the reconciliation, in words, with both of its sides."""

    words: str
    left: int
    right: int

    @property
    def holds(self) -> bool:
        """Both sides are the same."""
        return self.left == self.right


@dataclass(frozen=True, slots=True)
class Step:
    """One step of an explanation: a window, a fact, a rule or a gate."""

    kind: str
    name: str
    text: str
    held: bool


@dataclass(frozen=True, slots=True)
class Example:
    """One decision, explained to a person."""

    title: str
    customer: int
    decision_id: str
    sentence: str
    steps: tuple[Step, ...]
    outcome: str
    """What became of it, for example "delivered by sms: …" or "refused: SERVICE_FIRST"."""


@dataclass(slots=True)
class Findings:
    """Everything the report and the reconciliation are made of."""

    seconds: float = 0.0
    events_fed: int = 0
    """Events that the demo sent."""
    events_accepted: int = 0
    events_rejected: int = 0
    events_own: int = 0
    """Events that the system said to itself: outcomes, planned actions that fell due."""
    events_seen: int = 0
    """Events that reached the decision service, own ones included."""
    events_nothing: int = 0
    """Of those, events that triggered nothing."""
    decisions: int = 0
    actions: Counter[tuple[str, str]] = field(default_factory=Counter)
    """(kind, outcome) of every action that a rule asked for."""
    rules: Counter[tuple[str, str, str]] = field(default_factory=Counter)
    """(rule set, rule, outcome)."""
    refusals: Counter[tuple[str, str]] = field(default_factory=Counter)
    """(service, reason)."""
    messages: Counter[tuple[str, str]] = field(default_factory=Counter)
    """(channel, state)."""
    sent_by_week: dict[str, Counter[str]] = field(default_factory=dict)
    """Monday's date → channel → messages handed over."""
    received: Mapping[str, int] = field(default_factory=dict)
    """Channel → messages that the provider at the far end holds."""
    repeated: int = 0
    """Messages that a provider at the far end received more than once."""
    pending: int = 0
    """What is still on its way anywhere."""
    planned_due: int = 0
    """Planned actions whose time came and that were decided again."""
    planned_waiting: int = 0
    """Planned actions whose time lies after the end of the demo."""
    dead_letters: int = 0
    habitual_found: frozenset[str] = frozenset()
    one_off_found: frozenset[str] = frozenset()
    habitual_generated: frozenset[str] = frozenset()
    one_off_generated: frozenset[str] = frozenset()
    examples: list[Example] = field(default_factory=list)

    @property
    def spoken(self) -> int:
        """Offers, messages, surveys and tasks that rules asked for, without those that only wait."""
        return sum(
            n for (kind, outcome), n in self.actions.items() if kind in SPOKEN_KINDS and outcome != "planned"
        )

    @property
    def sent(self) -> int:
        """Messages handed over, tasks included."""
        return sum(n for (_, state), n in self.messages.items() if state in HANDED_OVER_STATES)

    @property
    def refused(self) -> int:
        """Actions that were not said, wherever they were refused."""
        return self._refused_actions() + sum(
            n for (_, state), n in self.messages.items() if state == "refused"
        )

    def _refused_actions(self) -> int:
        return sum(n for (kind, out), n in self.actions.items() if kind in SPOKEN_KINDS and out == "refused")

    @property
    def lost(self) -> int:
        """Events and actions that went in somewhere and came out nowhere, in total."""
        return sum(max(0, check.left - check.right) for check in self._flow_checks())

    def _flow_checks(self) -> list[Check]:
        """The equations whose left side is what went in and whose right side is what came out."""
        planned = sum(
            n for (kind, out), n in self.actions.items() if kind in SPOKEN_KINDS and out == "planned"
        )
        failed = sum(n for (_, state), n in self.messages.items() if state in ("failed", "expired"))
        return [
            Check(
                "events fed = events accepted", self.events_fed, self.events_accepted + self.events_rejected
            ),
            Check(
                "events accepted + own events = events that reached the decisions",
                self.events_accepted + self.events_own,
                self.events_seen,
            ),
            Check(
                "events that reached the decisions = decided + triggered nothing",
                self.events_seen,
                self.decisions + self.events_nothing,
            ),
            Check(
                "offers, messages, surveys and tasks = messages + refusals of the decision",
                self.spoken,
                sum(self.messages.values()) + self._refused_actions(),
            ),
            Check(
                "planned actions = decided again when due + still waiting",
                planned,
                self.planned_due + self.planned_waiting,
            ),
            Check(
                "messages = sent + refused + failed or expired",
                sum(self.messages.values()),
                self.sent + failed + sum(n for (_, state), n in self.messages.items() if state == "refused"),
            ),
        ]

    def checks(self) -> list[Check]:
        """Every equation of the reconciliation."""
        handed = [
            Check(
                f"handed over by {channel} = received at the far end",
                sum(
                    n
                    for (c, state), n in self.messages.items()
                    if c == channel and state in HANDED_OVER_STATES
                ),
                self.received.get(channel, 0),
            )
            for channel in ("sms", "email", "app")
        ]
        return [
            *self._flow_checks(),
            *handed,
            Check("received more than once = none", self.repeated, 0),
            Check("left on its way = nothing", self.pending, 0),
            Check("set aside = nothing", self.dead_letters, 0),
            Check("events rejected = none", self.events_rejected, 0),
            _same("habitual over-users found = generated", self.habitual_found, self.habitual_generated),
            _same("one-off over-users found = generated", self.one_off_found, self.one_off_generated),
            Check("stories found = told", 3, len(self.examples)),
        ]

    def verdict(self) -> tuple[bool, str]:
        """Whether everything agrees, and the one line that says so."""
        failed = [check for check in self.checks() if not check.holds]
        line = (
            f"events={self.events_accepted} decisions={self.decisions} actions={self.spoken} "
            f"sent={self.sent} refused={self.refused} lost={self.lost} duplicated={self.repeated}"
        )
        if failed:
            why = "; ".join(f"{check.words}: {check.left} and {check.right}" for check in failed)
            return False, f"DEMO FAILED {line} because {why}"
        return True, f"DEMO OK {line}"


def _same(words: str, found: frozenset[str], made: frozenset[str]) -> Check:
    """Equal sizes are not enough: where the sets differ, the equation shows by how many."""
    if found != made and len(found) == len(made):
        return Check(f"{words}, the same ones", len(found ^ made), 0)
    return Check(words, len(found), len(made))
