"""Gathering what the demo found: from the services' listings and from the far ends."""

import asyncio
import contextlib
import datetime as dt
from collections import Counter
from collections.abc import AsyncIterator, Iterable
from dataclasses import dataclass

from rapport.channel.v1 import channel_pb2
from rapport.decision.v1 import decision_pb2
from rapport.profile.v1 import profile_pb2
from rapport.types.v1 import vocabulary_pb2

from services.cli.connections import Connections
from services.cli.demo.findings import Findings
from services.cli.demo.town import Town
from services.cli.paging import entries_of
from services.cli.providers.record import read_record
from services.cli.quiet import Look
from services.vocabulary import wire
from services.vocabulary.words import ActionOutcome, Channel

PAGE = 1000
HABIT_RULE = "upgrade-plan"
EXCEPTION_RULE = "one-off-top-up"


@dataclass(slots=True)
class Listings:
    """Every decision and every message of the run."""

    decisions: list[decision_pb2.Decision]
    messages: list[channel_pb2.Message]


async def all_decisions(connections: Connections) -> AsyncIterator[decision_pb2.Decision]:
    """Every decision, newest first, page by page."""
    request = decision_pb2.ListDecisionsRequest()
    async for decision in entries_of(connections.decision.ListDecisions, request, "decisions", page=PAGE):
        yield decision


async def all_messages(connections: Connections) -> AsyncIterator[channel_pb2.Message]:
    """Every message, newest first, page by page."""
    request = channel_pb2.ListMessagesRequest()
    async for message in entries_of(connections.channel.ListMessages, request, "messages", page=PAGE):
        yield message


async def read_listings(connections: Connections) -> Listings:
    """Reads both listings to their ends."""
    return Listings(
        [decision async for decision in all_decisions(connections)],
        [message async for message in all_messages(connections)],
    )


async def customers_of(connections: Connections, town: Town) -> dict[int, str]:
    """Customer id → `crm:…` of every inhabitant, asked of the profile service."""
    names: dict[int, str] = {}
    subjects = [subscriber.crm for subscriber in town.subscribers]
    for begin in range(0, len(subjects), 500):
        part = subjects[begin : begin + 500]
        answer = await connections.profile.BatchGetSnapshots(
            profile_pb2.BatchGetSnapshotsRequest(subjects=part)
        )
        for subject, result in zip(part, answer.results, strict=True):
            names[result.snapshot.customer] = subject
    return names


def count_findings(
    findings: Findings, look: Look, listings: Listings, customers: dict[int, str], town: Town
) -> None:
    """Fills in everything that is counted."""
    findings.events_own = look.total("profile", "events.own")
    findings.events_seen = look.total("decision", "events.seen")
    findings.events_nothing = look.total("decision", "events.nothing")
    findings.pending = look.pending + look.awaiting_receipt
    findings.dead_letters = sum(progress.dead_letters for progress in look.progress.values())
    findings.planned_waiting = int(look.progress["decision"].planned)
    findings.decisions = len(listings.decisions)
    findings.planned_due = sum(d.event_type == "action.due" for d in listings.decisions)
    habitual: set[int] = set()
    exceptional: set[int] = set()
    for decision in listings.decisions:
        for action in decision.actions:
            kind = wire.ACTION_KINDS.from_wire(action.kind)
            outcome = wire.ACTION_OUTCOMES.from_wire(action.outcome)
            assert kind is not None
            assert outcome is not None
            findings.actions[kind.value, outcome.value] += 1
            findings.rules[action.rule_set, action.rule, outcome.value] += 1
            if outcome is ActionOutcome.REFUSED:
                findings.refusals["decision", refusal_name(action.reason)] += 1
            if action.reason != vocabulary_pb2.REFUSAL_REASON_DATA_WITHHELD:
                if action.rule == HABIT_RULE:
                    habitual.add(decision.customer)
                elif action.rule == EXCEPTION_RULE:
                    exceptional.add(decision.customer)
    for message in listings.messages:
        channel = channel_name(message.channel)
        state = channel_pb2.MessageState.Name(message.state).removeprefix("MESSAGE_STATE_").lower()
        findings.messages[channel, state] += 1
        if state == "refused":
            findings.refusals["channel", refusal_name(message.reason)] += 1
        if message.HasField("sent_time"):
            day = message.sent_time.ToDatetime(dt.UTC).date()
            monday = (day - dt.timedelta(days=day.weekday())).isoformat()
            findings.sent_by_week.setdefault(monday, Counter())[channel] += 1
    findings.habitual_found = frozenset(customers[c] for c in habitual)
    findings.one_off_found = frozenset(customers[c] for c in exceptional - habitual)
    findings.habitual_generated = town.habitual
    findings.one_off_generated = town.one_off


async def count_received(connections: Connections, findings: Findings, app_messages: int) -> None:
    """Counts what the far ends hold: the SMSC's and the mail server's records, and the watched inbox."""
    layout = connections.stack.layout
    sms = Counter(
        entry["reference"] for entry in read_record(layout.record("smsc")) if entry["message"] is not None
    )
    mails = Counter(entry["reference"] for entry in read_record(layout.record("smtp-sink")))
    findings.received = {"sms": len(sms), "email": len(mails), "app": app_messages}
    findings.repeated = _repeats(sms.values()) + _repeats(mails.values())


def _repeats(counts: Iterable[int]) -> int:
    return sum(count - 1 for count in counts)


async def watch_inbox(connections: Connections, wanted: int) -> int:
    """Reads the inbox of everybody, as the app does, and acknowledges; the number of different messages."""
    seen: set[str] = set()
    cursor = 0
    if wanted:
        call = connections.channel.WatchInbox(channel_pb2.WatchInboxRequest())
        async for entry in call:
            seen.add(entry.message.message_id)
            cursor = entry.cursor
            if len(seen) >= wanted:
                break
        call.cancel()
    # a second look behind the last one acknowledges all of them, and shows whether there are more
    call = connections.channel.WatchInbox(channel_pb2.WatchInboxRequest(after_cursor=cursor))
    with contextlib.suppress(TimeoutError):
        async with asyncio.timeout(1.0):
            async for entry in call:
                seen.add(entry.message.message_id)
    call.cancel()
    return len(seen)


def channel_name(number: int) -> str:
    """A channel as listings write it; empty when none was found."""
    word = wire.CHANNELS.from_wire(number)
    return word.value if isinstance(word, Channel) else ""


def refusal_name(number: int) -> str:
    """A refusal reason as listings write it."""
    word = wire.REFUSAL_REASONS.from_wire(number)
    return word.value if word is not None else ""
