"""Reconciliation: what was fed, taken, decided, said and received, compared item by item."""

from collections import Counter
from dataclasses import dataclass, field

from services.channel.domain.messages import Change
from services.channel.domain.outcomes import PUBLISHED, SOURCE
from services.vocabulary import ids
from services.vocabulary.words import CATEGORY_FACTS, Category, MessageState, RefusalReason

_ENDS = {"sent", "delivered", "failed", "expired", "refused"}
_UNKNOWN = RefusalReason.HANDOVER_UNKNOWN
SAID = {
    "half",
    "four-fifths",
    "all-of-it",
    "complaint-context",
    "goodwill",
    "ask-how-it-went",
    "plain-notice",
    "one-off-top-up",
    "proactive-notice",
}
"""Rules of the shipped rule sets whose actions become messages."""
CERTAIN = SAID - {"one-off-top-up", "proactive-notice", "ask-how-it-went"}
"""Those of which a town knows exactly when they fire; the others may."""


@dataclass(frozen=True)
class Taken:
    """An event as the profile service keeps it."""

    customer: int
    sequence: int
    source: str
    event_id: str


@dataclass(frozen=True)
class Decided:
    """An action of a decision; `event_id`: what it was decided about."""

    customer: int
    decision_id: str
    event_id: str
    action_id: str
    rule: str
    outcome: str


@dataclass(frozen=True)
class Said:
    """A message as the channel service keeps it."""

    message_id: str
    action_id: str
    customer: int
    category: Category
    name: str
    channel: str
    state: str
    reason: str
    history: list[Change]
    holds_slot: bool

    @property
    def lost_sight_of(self) -> int:
        """How often nobody knew what came of a hand-over."""
        return sum(1 for change in self.history if change.reason is _UNKNOWN)

    @property
    def planned_again(self) -> int:
        """How often it was handed over again for that."""
        return sum(
            1 for change in self.history if change.state is MessageState.PLANNED and change.reason is _UNKNOWN
        )

    @property
    def handed_over(self) -> bool:
        """A provider said that it took it."""
        return any(change.state is MessageState.SENT for change in self.history)

    @property
    def repeatable(self) -> bool:
        """Nobody knows what came of a hand-over: it is handed over again."""
        return CATEGORY_FACTS[self.category].resend_when_unknown and self.channel != "app"


@dataclass
class Books:
    """The books of all parts about the customers of one run."""

    source: str
    """Source of what was fed."""
    fed: list[str]
    wanted: list[tuple[str, str, str, str]]
    """What must be said, once: identity, event id, rule, name."""
    subjects: dict[int, str]
    """Identity by customer."""
    taken: list[Taken]
    sequences: dict[int, int]
    """Last sequence by customer."""
    decisions: list[tuple[int, str, str]]
    """Customer, source and id of each event that a decision is about."""
    actions: list[Decided]
    open_plans: list[str]
    said: list[Said]
    received: Counter[str]
    """By message id: how often a provider, or the inbox, took it."""
    totals: dict[str, int]
    """How far each total has moved in the run; `outbox`: what waits there still."""


@dataclass(frozen=True)
class Finding:
    """Something that is not as it must be; `what` names it by ids only."""

    kind: str
    what: str


@dataclass
class Reconciliation:
    """One run's account. `figures` are for people, `findings` must be empty."""

    figures: dict[str, int] = field(default_factory=dict)
    findings: list[Finding] = field(default_factory=list)
    ambiguous: list[str] = field(default_factory=list)
    """Messages whose hand-over has an outcome that nobody knows: id, category, what became of them."""

    @property
    def holds(self) -> bool:
        """Nothing is lost, nothing is doubled but what is ambiguous and named."""
        return not self.findings

    def table(self) -> str:
        """As it is printed."""
        width = max(map(len, self.figures), default=0)
        told = [f"  {name:<{width}}  {number:>9,}" for name, number in self.figures.items()]
        kinds = Counter(finding.kind for finding in self.findings)
        told += [f"  !! {kind}: {number:,}" for kind, number in sorted(kinds.items())]
        told += [f"     {finding.kind}: {finding.what}" for finding in self.findings[:20]]
        return "\n".join(told)


def reconcile(books: Books) -> Reconciliation:
    """Compares everything; take the books when nothing is on its way any more."""
    account = _Account(books)
    account.compare_events()
    account.compare_decisions()
    account.compare_messages()
    account.compare_hand_overs()
    account.compare_outcomes()
    account.compare_totals()
    return account.result


class _Account:
    """An account in the making."""

    def __init__(self, books: Books) -> None:
        self.books = books
        self.result = Reconciliation()

    def _find(self, kind: str, what: object) -> None:
        self.result.findings.append(Finding(kind, str(what)))

    def compare_events(self) -> None:
        fed = Counter(self.books.fed)
        taken = Counter(one.event_id for one in self.books.taken if one.source == self.books.source)
        for event_id in fed - taken:
            self._find("event lost", event_id)
        for event_id in taken - fed:
            self._find("event taken twice", event_id)
        at: dict[int, int] = {}
        for one in self.books.taken:
            at[one.customer] = at.get(one.customer, 0) + 1
            if one.sequence != at[one.customer]:
                self._find("gap in a customer's sequence", f"customer {one.customer} at {one.sequence}")
        for customer, sequence in self.books.sequences.items():
            if at.get(customer, 0) != sequence:
                self._find("sequence differs from events", f"customer {customer} at {sequence}")
        self.result.figures |= {"fed": fed.total(), "taken": taken.total()}

    def compare_decisions(self) -> None:
        for key, times in Counter(self.books.decisions).items():
            if times > 1:
                self._find("event decided twice", key[2])
        decided = Counter(
            (self.books.subjects[one.customer], one.event_id, one.rule)
            for one in self.books.actions
            if one.outcome in {"dispatched", "planned"}
        )
        wanted = Counter((subject, event_id, rule) for subject, event_id, rule, _ in self.books.wanted)
        for key in wanted - decided:
            self._find("decision lost", f"{key[2]} on {key[1]}")
        for key, times in decided.items():
            if times > 1 or (key not in wanted and key[2] in CERTAIN):
                self._find("decided what must not be", f"{key[2]} on {key[1]}, {times} times")
        for action_id in self.books.open_plans:
            self._find("plan not taken up", action_id)
        self.result.figures |= {
            "decisions": len(self.books.decisions),
            "actions dispatched": sum(1 for one in self.books.actions if one.outcome == "dispatched"),
        }

    def compare_messages(self) -> None:
        dispatched = Counter(
            one.action_id for one in self.books.actions if one.outcome == "dispatched" and one.rule in SAID
        )
        said = Counter(one.action_id for one in self.books.said)
        for action_id in dispatched - said:
            self._find("action lost", action_id)
        for action_id in said - dispatched:
            self._find("message that nobody decided", action_id)
        named = Counter((self.books.subjects[one.customer], one.name) for one in self.books.said)
        for _, name in Counter((subject, name) for subject, _, _, name in self.books.wanted) - named:
            self._find("message lost", name)
        for one in self.books.said:
            if one.state not in _ENDS or (one.state == "sent" and one.channel == "sms"):
                self._find("message stuck", f"{one.message_id} is {one.state}")
            reached = one.state in {"sent", "delivered"} or one.reason == _UNKNOWN.value
            if one.holds_slot != (reached and one.channel != "task"):
                self._find("slot under the caps is wrong", f"{one.message_id} is {one.state}")
        states = Counter(one.state for one in self.books.said)
        self.result.figures["messages"] = len(self.books.said)
        self.result.figures |= {f"  {state}": number for state, number in sorted(states.items())}

    def compare_hand_overs(self) -> None:
        received = self.books.received
        for message_id in received.keys() - {one.message_id for one in self.books.said}:
            self._find("received and sent by nobody", message_id)
        for one in self.books.said:
            if one.channel == "task":
                continue
            times, unknown = received[one.message_id], one.lost_sight_of
            if unknown:
                became = f"{one.state}, received {times} times"
                self.result.ambiguous.append(f"{one.message_id} {one.category.value}: {became}")
            if one.handed_over and not times:
                self._find("message lost on the way to its provider", one.message_id)
            if times > (1 + unknown if one.repeatable else 1):
                self._find("message doubled", f"{one.message_id} received {times} times, {unknown} unknown")
            if times and not one.handed_over and not unknown:
                self._find("received and not known as sent", f"{one.message_id} is {one.state}")
        self.result.figures |= {
            "received": received.total(),
            "  more than once": sum(1 for times in received.values() if times > 1),
            "hand-overs of unknown outcome": sum(one.lost_sight_of for one in self.books.said),
            "  handed over again": sum(one.planned_again for one in self.books.said),
            "  not repeated": sum(1 for one in self.books.said if one.reason == _UNKNOWN.value),
        }

    def compare_outcomes(self) -> None:
        """Every step of a message that others must hear of is an event of its customer, once."""
        told = Counter(one.event_id for one in self.books.taken if one.source == SOURCE)
        wanted = Counter(
            ids.own_event_id(SOURCE, one.message_id, PUBLISHED[change.state], change.position)
            for one in self.books.said
            for change in one.history
            if change.state in PUBLISHED
        )
        for event_id in wanted - told:
            self._find("outcome lost", event_id)
        for event_id in told - wanted:
            self._find("outcome that nobody told", event_id)
        self.result.figures["outcomes"] = told.total()

    def compare_totals(self) -> None:
        totals = self.books.totals
        must_be = {
            "events.accepted": len(self.books.fed),
            "events.seen": totals["events.accepted"] + totals["events.own"],
            "actions.taken": len(self.books.said),
            "handover.again": sum(one.planned_again for one in self.books.said),
            "dead letters": 0,
            "outbox": 0,
        }
        for name, number in must_be.items():
            if totals[name] != number:
                self._find("total is wrong", f"{name} is {totals[name]}, not {number}")
        self.result.figures |= {name: totals[name] for name in ("events.own", "dead letters")}
