"""Opens the books of a running stack for one town: databases, providers' records, totals."""

from collections import Counter
from typing import Any

import psycopg

from services.channel.adapters.storage.rows import read_history
from services.cli.stack.layout import Layout
from services.cli.stack.state import Stack
from services.cli.stack.trust_files import keys_file
from services.runtime.keys import Keyring
from services.vocabulary.words import Category
from tests.system.conftest import Rapport
from tests.system.crash.reconcile import Books, Decided, Said, Taken
from tests.system.crash.town import Town

_COUNTED = {
    "profile": ("events.accepted", "events.own"),
    "decision": ("events.seen",),
    "channel": ("actions.taken", "handover.again"),
}
Session = psycopg.Connection[tuple[Any, ...]]


def open_database(stack: Stack, service: str) -> Session:
    """A session in a service's database as that service, each statement its own transaction."""
    return psycopg.connect(
        host=str(stack.database_socket),
        user=service,
        dbname=service,
        password=stack.database_password(service).read_text(encoding="utf-8").strip(),
        connect_timeout=10,
        autocommit=True,
    )


def totals_now(rapport: Rapport) -> dict[str, int]:
    """The totals that a run moves; all services must answer."""
    progress = rapport.progress()
    failures = {name: told.failure for name, told in progress.items() if told.failure}
    assert not failures, failures
    totals = {
        name: progress[service].totals.get(name, 0) for service, names in _COUNTED.items() for name in names
    }
    return {**totals, "dead letters": sum(told.dead_letters for told in progress.values())}


def read_books(rapport: Rapport, town: Town, before: dict[str, int]) -> Books:
    """Reads everything about the town's customers; `before`: the totals when its run began."""
    stack = rapport.stack
    with (
        open_database(stack, "profile") as profile,
        open_database(stack, "decision") as decision,
        open_database(stack, "channel") as channel,
    ):
        ring = Keyring.read(str(keys_file(Layout(stack.folder))))
        identities = {ring.lookup(customer.subject): customer.subject for customer in town.customers}
        subjects: dict[int, str] = {
            customer: identities[lookup]
            for lookup, customer in profile.execute(
                "SELECT lookup, customer FROM identity WHERE lookup = ANY(%s)", (list(identities),)
            )
        }
        people = [list(subjects)]
        events = {
            decision_id: (customer, source, event_id)
            for customer, decision_id, source, event_id in decision.execute(
                "SELECT customer, decision_id::text, event_source, event_id FROM decision "
                "WHERE customer = ANY(%s)",
                people,
            )
        }
        now = totals_now(rapport)
        return Books(
            source=town.events[0]["source"],
            fed=[told["id"] for told in town.events],
            wanted=[(subject, one.event_id, one.rule, one.name) for subject, one in town.wanted],
            subjects=subjects,
            taken=[
                Taken(*row)
                for row in profile.execute(
                    "SELECT customer, sequence, source, event_id FROM event WHERE customer = ANY(%s) "
                    "ORDER BY customer, sequence",
                    people,
                )
            ],
            sequences=dict(
                profile.execute("SELECT id, sequence FROM customer WHERE id = ANY(%s)", people).fetchall()
            ),
            decisions=list(events.values()),
            actions=[
                Decided(customer, decision_id, events[decision_id][2], action_id, rule, outcome)
                for customer, decision_id, action_id, rule, outcome in decision.execute(
                    "SELECT customer, decision_id::text, action_id::text, rule, outcome "
                    "FROM decision_action WHERE customer = ANY(%s)",
                    people,
                )
            ],
            open_plans=[
                row[0]
                for row in decision.execute(
                    "SELECT action_id::text FROM planned_action WHERE state <> 'done' AND customer = ANY(%s)",
                    people,
                )
            ],
            said=_said(channel, people),
            received=_received(rapport, channel, people, subjects),
            totals={
                **{name: number - before[name] for name, number in now.items()},
                "outbox": sum(_waiting(session) for session in (profile, decision, channel)),
            },
        )


def _said(channel: Session, people: list[list[int]]) -> list[Said]:
    rows = channel.execute(
        "SELECT m.message_id::text, m.action_id::text, m.customer, m.category, m.name, m.channel, m.state, "
        "m.reason, m.history, c.message_id IS NOT NULL FROM message m "
        "LEFT JOIN contact c USING (customer, message_id) WHERE m.customer = ANY(%s)",
        people,
    )
    return [Said(*row[:3], Category(row[3]), *row[4:8], read_history(bytes(row[8])), row[9]) for row in rows]


def _received(
    rapport: Rapport, channel: Session, people: list[list[int]], subjects: dict[int, str]
) -> Counter[str]:
    received = Counter(
        row[0]
        for row in channel.execute("SELECT message_id::text FROM inbox WHERE customer = ANY(%s)", people)
    )
    addresses = {subject.partition(":")[2].lstrip("+") for subject in subjects.values()}
    for provider, address in (("smsc", "destination"), ("smtp-sink", "recipient")):
        received.update(
            str(entry["reference"]) for entry in rapport.received(provider) if entry[address] in addresses
        )
    return received


def _waiting(session: Session) -> int:
    row = session.execute("SELECT count(*) FROM outbox").fetchone()
    assert row is not None
    return int(row[0])
