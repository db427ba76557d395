"""Reconciliation: what was fed, taken, decided, said and received, compared item by item."""

from collections import Counter
from collections.abc import Iterable, Iterator
from dataclasses import dataclass, field
from typing import Any

import psycopg

from services.channel.adapters.storage.rows import read_history
from services.channel.domain.messages import Change
from services.channel.domain.outcomes import PUBLISHED, SOURCE
from services.cli.stack.state import Stack
from services.vocabulary import ids
from services.vocabulary.words import CATEGORY_FACTS, Category, MessageState, RefusalReason
from tests.system.conftest import Rapport
from tests.system.crash.town import Town

_FINAL_OR_SENT = {"sent", "delivered", "failed", "expired", "refused"}
_COUNTED = {
    "profile": ("events.accepted", "events.own"),
    "decision": ("events.seen",),
    "channel": ("actions.taken", "handover.again"),
}


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
    """Messages whose hand-over nobody knows the outcome of: id, category, what became of them."""

    @property
    def holds(self) -> bool:
        """Nothing is lost, nothing is doubled but what is ambiguous and named."""
        return not self.findings

    def table(self) -> str:
        """As it is printed."""
        width = max(map(len, self.figures), default=0)
        told = [f"  {name:<{width}}  {number:>9,}" for name, number in self.figures.items()]
        kinds = Counter(finding.kind for finding in self.findings)
        told += [f"  !! {kind:<{width}} {number:>8,}" for kind, number in sorted(kinds.items())]
        told += [f"     {finding.kind}: {finding.what}" for finding in self.findings[:20]]
        return "\n".join(told)


@dataclass(frozen=True)
class Marks:
    """The totals of all services before a run, so that a run on a stack that is shared is counted alone."""

    totals: dict[tuple[str, str], int]
    dead_letters: int

    @classmethod
    def now(cls, rapport: Rapport) -> "Marks":
        """Reads them; all services must answer."""
        progress = rapport.progress()
        assert not any(told.failure for told in progress.values())
        return cls(
            {
                (service, name): progress[service].totals.get(name, 0)
                for service, names in _COUNTED.items()
                for name in names
            },
            sum(told.dead_letters for told in progress.values()),
        )

    def since(self, later: "Marks", service: str, name: str) -> int:
        """How far a total has moved."""
        return later.totals[service, name] - self.totals[service, name]


@dataclass
class _Message:
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
        return sum(1 for change in self.history if change.reason is RefusalReason.HANDOVER_UNKNOWN)

    @property
    def handed_over(self) -> bool:
        """A provider said that it took it."""
        return any(change.state is MessageState.SENT for change in self.history)


def reconcile(rapport: Rapport, town: Town, before: Marks) -> Reconciliation:
    """Compares everything about the town's customers; call it when nothing is on its way any more."""
    return _Account(rapport, town, before).made()


class _Account:
    """The books of all parts, opened for one town."""

    def __init__(self, rapport: Rapport, town: Town, before: Marks) -> None:
        self.town = town
        self.before = before
        self.after = Marks.now(rapport)
        self.result = Reconciliation()
        stack = rapport.stack
        with _open(stack, "profile") as profile:
            self.subjects: dict[int, str] = {
                customer: identity
                for identity, customer in profile.execute(
                    "SELECT identity, customer FROM identity WHERE identity = ANY(%s)",
                    ([customer.subject for customer in town.customers],),
                )
            }
            self.people = list(self.subjects)
            self.taken = profile.execute(
                "SELECT customer, sequence, source, event_id FROM event WHERE customer = ANY(%s) "
                "ORDER BY customer, sequence",
                (self.people,),
            ).fetchall()
            self.sequences = dict(
                profile.execute("SELECT id, sequence FROM customer WHERE id = ANY(%s)", (self.people,))
            )
            self.waiting = _count(profile, "outbox")
        with _open(stack, "decision") as decision:
            self.decisions = decision.execute(
                "SELECT customer, decision_id::text, event_source, event_id FROM decision "
                "WHERE customer = ANY(%s)",
                (self.people,),
            ).fetchall()
            self.actions = decision.execute(
                "SELECT customer, decision_id::text, action_id::text, rule_set, rule, outcome "
                "FROM decision_action WHERE customer = ANY(%s)",
                (self.people,),
            ).fetchall()
            self.plans = decision.execute(
                "SELECT action_id::text, state FROM planned_action WHERE customer = ANY(%s)", (self.people,)
            ).fetchall()
            self.waiting += _count(decision, "outbox")
        with _open(stack, "channel") as channel:
            self.messages = [
                _Message(*row[:3], Category(row[3]), *row[4:8], read_history(bytes(row[8])), row[9])
                for row in channel.execute(
                    "SELECT m.message_id::text, m.action_id::text, m.customer, m.category, m.name, "
                    "m.channel, m.state, m.reason, m.history, c.message_id IS NOT NULL FROM message m "
                    "LEFT JOIN contact c USING (customer, message_id) WHERE m.customer = ANY(%s)",
                    (self.people,),
                )
            ]
            self.inbox = Counter(
                row[0]
                for row in channel.execute(
                    "SELECT message_id::text FROM inbox WHERE customer = ANY(%s)", (self.people,)
                )
            )
            self.waiting += _count(channel, "outbox")
        ours = {message.message_id for message in self.messages}
        addresses = {subject.partition(":")[2].lstrip("+") for subject in self.subjects.values()}
        self.received = Counter(self.inbox)
        for provider, address in (("smsc", "destination"), ("smtp-sink", "recipient")):
            for entry in rapport.received(provider):
                if entry[address] in addresses:
                    self.received[entry["reference"]] += 1
                    if entry["reference"] not in ours:
                        self._find("message received that nobody sent", str(entry["reference"]))

    def made(self) -> Reconciliation:
        self._events()
        self._decisions()
        self._messages()
        self._hand_overs()
        self._outcomes()
        self._totals()
        return self.result

    def _find(self, kind: str, what: object) -> None:
        self.result.findings.append(Finding(kind, str(what)))

    def _events(self) -> None:
        fed = Counter(told["id"] for told in self.town.events)
        source = self.town.events[0]["source"]
        taken = Counter(row[3] for row in self.taken if row[2] == source)
        for event_id in fed - taken:
            self._find("event lost", event_id)
        for event_id in taken - fed:
            self._find("event taken twice", event_id)
        at: dict[int, int] = {}
        for customer, sequence, _, _ in self.taken:
            at[customer] = at.get(customer, 0) + 1
            if sequence != at[customer]:
                self._find("gap in a customer's sequence", f"customer {customer} at {sequence}")
        for customer, sequence in self.sequences.items():
            if at.get(customer, 0) != sequence:
                self._find("sequence differs from events", f"customer {customer} at {sequence}")
        self.result.figures |= {"fed": len(self.town.events), "taken": sum(taken.values())}

    def _decisions(self) -> None:
        for key, times in Counter((row[0], row[2], row[3]) for row in self.decisions).items():
            if times > 1:
                self._find("event decided twice", key[2])
        event_of = {row[1]: row[3] for row in self.decisions}
        said = Counter(
            (self.subjects[customer], event_of.get(decision_id), rule)
            for customer, decision_id, _, _, rule, outcome in self.actions
            if outcome in {"dispatched", "planned"}
        )
        wanted = Counter((subject, one.event_id, one.rule) for subject, one in self.town.wanted)
        for key in wanted - said:
            self._find("decision lost", f"{key[2]} on {key[1]}")
        for key, times in said.items():
            if times > 1 or (key not in wanted and key[2] in _CERTAIN):
                self._find("decided what must not be", f"{key[2]} on {key[1]}, {times} times")
        self.result.figures |= {
            "decisions": len(self.decisions),
            "actions dispatched": sum(1 for row in self.actions if row[5] == "dispatched"),
        }
        for action_id, state in self.plans:
            if state != "done":
                self._find("plan not taken up", f"action {action_id} is {state}")

    def _messages(self) -> None:
        dispatched = Counter(row[2] for row in self.actions if row[5] == "dispatched" and row[4] in _SAID)
        said = Counter(message.action_id for message in self.messages)
        for action_id in dispatched - said:
            self._find("action lost", action_id)
        for action_id in said - dispatched:
            self._find("message that nobody decided", action_id)
        named = Counter((self.subjects[message.customer], message.name) for message in self.messages)
        for key in Counter((subject, one.name) for subject, one in self.town.wanted) - named:
            self._find("message lost", key[1])
        for message in self.messages:
            if message.state not in _FINAL_OR_SENT or (message.state == "sent" and message.channel == "sms"):
                self._find("message stuck", f"{message.message_id} is {message.state}")
            unknown = message.reason == RefusalReason.HANDOVER_UNKNOWN.value
            wants_slot = message.channel != "task" and (message.state in {"sent", "delivered"} or unknown)
            if message.holds_slot != wants_slot:
                self._find("slot under the caps is wrong", f"{message.message_id} is {message.state}")
        states = Counter(message.state for message in self.messages)
        self.result.figures["messages"] = len(self.messages)
        self.result.figures |= {f"  {state}": number for state, number in sorted(states.items())}

    def _hand_overs(self) -> None:
        again = 0
        for message in self.messages:
            if message.channel == "task":
                continue
            times = self.received[message.message_id]
            unknown = message.lost_sight_of
            repeats = CATEGORY_FACTS[message.category].resend_when_unknown or message.channel == "app"
            most = 1 + unknown if repeats and message.channel != "app" else 1
            if unknown:
                became = f"{message.state}, received {times} times"
                self.result.ambiguous.append(f"{message.message_id} {message.category.value}: {became}")
                again += sum(1 for change in _planned_again(message.history))
            if message.handed_over and not times:
                self._find("message lost on the way to its provider", message.message_id)
            if times > most:
                self._find(
                    "message doubled", f"{message.message_id} received {times} times, {unknown} unknown"
                )
            if times and not message.handed_over and not unknown:
                self._find("message received and not known as sent", f"{message.message_id} {message.state}")
        self.again = again
        self.result.figures |= {
            "received": sum(self.received.values()),
            "  more than once": sum(1 for times in self.received.values() if times > 1),
            "hand-overs of unknown outcome": sum(message.lost_sight_of for message in self.messages),
            "  handed over again": again,
            "  not repeated": sum(
                1 for message in self.messages if message.reason == RefusalReason.HANDOVER_UNKNOWN.value
            ),
        }

    def _outcomes(self) -> None:
        """Every step of a message that others must hear of is an event of its customer, once."""
        told = Counter(row[3] for row in self.taken if row[2] == SOURCE)
        wanted = Counter(
            ids.own_event_id(SOURCE, message.message_id, PUBLISHED[change.state], change.position)
            for message in self.messages
            for change in message.history
            if change.state in PUBLISHED
        )
        for event_id in wanted - told:
            self._find("outcome lost", event_id)
        for event_id in told - wanted:
            self._find("outcome that nobody told", event_id)
        self.result.figures["outcomes"] = sum(told.values())

    def _totals(self) -> None:
        before, after = self.before, self.after
        accepted = before.since(after, "profile", "events.accepted")
        own = before.since(after, "profile", "events.own")
        for name, is_now, must_be in (
            ("events.accepted", accepted, len(self.town.events)),
            ("events.seen", before.since(after, "decision", "events.seen"), accepted + own),
            ("actions.taken", before.since(after, "channel", "actions.taken"), len(self.messages)),
            ("handover.again", before.since(after, "channel", "handover.again"), self.again),
            ("dead letters", after.dead_letters - before.dead_letters, 0),
            ("waiting in outboxes", self.waiting, 0),
        ):
            if is_now != must_be:
                self._find("total is wrong", f"{name} is {is_now}, not {must_be}")
        self.result.figures |= {"own events": own, "dead letters": after.dead_letters - before.dead_letters}


_SAID = {
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
_CERTAIN = _SAID - {"one-off-top-up", "proactive-notice", "ask-how-it-went"}
"""Those of which the town knows exactly when they fire; the others may."""


def _planned_again(history: Iterable[Change]) -> Iterator[Change]:
    return (
        change
        for change in history
        if change.state is MessageState.PLANNED and change.reason is RefusalReason.HANDOVER_UNKNOWN
    )


def _open(stack: Stack, service: str) -> psycopg.Connection[tuple[Any, ...]]:
    return psycopg.connect(
        host=str(stack.database_socket),
        user=service,
        dbname=service,
        password=stack.database_password(service).read_text(encoding="utf-8").strip(),
        connect_timeout=10,
        autocommit=True,
    )


def _count(connection: psycopg.Connection[tuple[Any, ...]], table: str) -> int:
    row = connection.execute(f"SELECT count(*) FROM {table}").fetchone()
    assert row is not None
    return int(row[0])
