"""The rules that the engine's benchmark lives on, and the events and customers that they look at.

So many rules are dealt round thirty event types, in rule sets of at most ten. Every rule set has windows and
facts of its own, one inferred from two others, one of them by its absence; in every third set another rests
on one of its own stratum. The first rule of a type fires for every event; the others look at two to four
things and fire for about one event in thirty.
"""

import random
from collections.abc import Iterator, Sequence
from dataclasses import dataclass

import orjson
from rapport.types.v1 import stream_pb2

from bench.traffic import PLANS
from services.cli.stack.layout import CHECKOUT
from services.decision.app.jobs import Source
from services.vocabulary.values import DAY, HOUR, Value, make_money
from services.vocabulary.wire import value_to_wire

RULES = CHECKOUT / "rules"
NOW = 1_790_000_000_000_000
_SET = 10
_CHAINED = 3
_NUMBERS, _SCORES = 1000, 100
"""The largest number of an event; scores end sooner."""
_CUSTOMERS = 100
_BATCH = 100
_ENTRIES = 20
_COUNTRIES = ("FR", "DE", "ES", "PT", "IT", "GB", "PL", "NL")
_WORDS = tuple(f"w{number}" for number in range(8))
_SHARED = RULES / "open-complaint.yaml"

# event type, a text field, a field with a number
_TYPES = (
    ("web.page_viewed", "topic", "seconds"),
    ("app.screen_viewed", "topic", "seconds"),
    ("area.entered", "area", "dwell_seconds"),
    ("area.left", "area", "dwell_seconds"),
    ("usage.data_used", "country", "mb"),
    ("usage.voice_used", "country", "minutes"),
    ("usage.message_sent", "country", "count"),
    ("service.quality_measured", "product", "score"),
    ("network.session_measured", "cell", "mbps"),
    ("care.contact_started", "topic", "wait_seconds"),
    ("care.contact_ended", "topic", "wait_seconds"),
    ("survey.answered", "survey", "score"),
    ("network.call_dropped", "technology", ""),
    ("network.call_setup_failed", "technology", ""),
    ("roaming.entered", "country", ""),
    ("roaming.left", "country", ""),
    ("case.opened", "topic", ""),
    ("case.closed", "topic", ""),
    ("task.completed", "result", ""),
    ("social.mentioned", "sentiment", ""),
    ("device.changed", "kind", ""),
    ("portin.requested", "reason", ""),
    ("portin.completed", "reason", ""),
    ("portin.failed", "reason", ""),
    ("order.placed", "product", ""),
    ("order.shipped", "product", ""),
    ("order.delivered", "product", ""),
    ("payment.failed", "reason", ""),
    ("plan.activated", "plan", ""),
    ("store.visited", "purpose", ""),
)
_REQUIRED: dict[str, dict[str, object]] = {
    "care.contact_started": {"contact": "c-1", "channel": "call"},
    "care.contact_ended": {"contact": "c-1", "channel": "call"},
    "case.opened": {"case": "k-1"},
    "case.closed": {"case": "k-1"},
    "task.completed": {"task": "t-1"},
    "device.changed": {"device": "d-1"},
    "order.placed": {"order": "o-1"},
    "order.shipped": {"order": "o-1"},
    "order.delivered": {"order": "o-1"},
    "payment.failed": {"amount": {"amount": "12.00", "currency": "EUR"}},
    "social.mentioned": {"network": "n-1", "text": "hello"},
    "store.visited": {"store": "s-1"},
}
_WINDOWS = (
    "  last_30d: {{count: {type}, last: 30d}}\n",
    "  this_cycle: {{count: {type}, last: 1 cycle}}\n",
    "  topups: {{count: topup.received, last: 30 days}}\n",
    "  quiet: {{since: topup.received}}\n",
)
_HEAD = """\
ruleset: bench-{place:02}-{part}
title: What {type} shows, part {part}
owner: bench
stage: bill
active: {{from: 2020-01-01}}
trigger: {type}
windows:
  week: {{count: {type}, last: 7d}}
  day: {{count: {type}, last: 24h}}
{windows}infer:
  - {{fact: busy, when: [windows.day >= 3], because: "{{windows.day}} in a day"}}
  - {{fact: valued, when: [profile.tenure_months >= {tenure}, profile.churn_risk < 0.95]}}
  - fact: steady
    when: [not fact busy, fact valued]
    because: "a customer for {{profile.tenure_months}} months"
{chain}rules:
"""
_CHAIN = """\
  - {fact: loyal, when: [fact valued, profile.tenure_months >= 60]}    # rests on a fact of its own stratum
"""
_RULE = """\
  - id: rule-{number:02}
    priority: {priority}
    when: [{conditions}]
    do: {action}
    once: 7d
"""
_ACTIONS = (
    "{message: quota-80, category: service, channels: [sms, app]}",
    '{task: call-back, with: {queue: care, note: "{windows.week} in a week"}, category: service, due: 4h}',
    "{offer: data-top-up, with: {gb: 2}, category: sales, channels: [app, sms], value: 3.50, expires: 24h}",
)


@dataclass(frozen=True, slots=True)
class Population:
    """So many live rules, and events that trigger them."""

    rules: int
    sources: tuple[Source, ...]
    batches: tuple[bytes, ...]
    """Messages of EVENTS, as the worker's engine process gets them; each customer's snapshot once."""
    events: int

    def each(self) -> Iterator[tuple[stream_pb2.TakenEvent, bytes]]:
        """Every event with its customer's snapshot."""
        for payload in self.batches:
            batch = stream_pb2.EventBatch.FromString(payload)
            for event in batch.events:
                yield event, batch.snapshots[event.snapshot - 1]


def make_population(rules: int, events: int) -> Population:
    """The same rules and events for the same numbers; events only of types that some rule looks at."""
    draw = random.Random(7)
    dealt: list[int] = [0] * len(_TYPES)
    for number in range(rules):
        dealt[number % len(_TYPES)] += 1
    sources = [Source("open-complaint", 1, "open-complaint.yaml", _SHARED.read_text(encoding="utf-8"))]
    for place, count in enumerate(dealt):
        for part, first in enumerate(range(0, count, _SET)):
            text = _rule_set(place, part, min(_SET, count - first), draw)
            name = f"bench-{place:02}-{part}"
            sources.append(Source(name, 1, f"{name}.yaml", text))
    places = [place for place, count in enumerate(dealt) if count]
    return Population(rules, tuple(sources), tuple(_batches(places, events, draw)), events)


def _rule_set(place: int, part: int, count: int, draw: random.Random) -> str:
    event_type = _TYPES[place][0]
    chosen = sorted(draw.sample(range(len(_WINDOWS)), 2))
    windows = "".join(_WINDOWS[number].format(type=event_type) for number in chosen)
    chained = (place + part) % _CHAINED == 0
    text = _HEAD.format(
        place=place,
        part=part,
        type=event_type,
        windows=windows,
        tenure=draw.choice((12, 24, 36)),
        chain=_CHAIN if chained else "",
    )
    for number in range(count):
        always = part == number == 0
        conditions = ["windows.week >= 1"] if always else _conditions(place, chosen, draw, chained=chained)
        text += _RULE.format(
            number=number,
            priority=draw.randint(1, 99),
            conditions=", ".join(conditions),
            action=_ACTIONS[number % len(_ACTIONS)],
        )
    return text


def _conditions(place: int, windows: Sequence[int], draw: random.Random, *, chained: bool) -> list[str]:
    """Two to four things that hold together for about one event in thirty."""
    _, text, number = _TYPES[place]
    one, other = draw.sample(_words(text), 2)
    rare = [
        f"event.{text} is {one}",
        f"event.{text} is {one}",
        f"profile.plan is {draw.choice(PLANS)}",
        f"profile.churn_risk >= {draw.choice((0.8, 0.85, 0.9))}",
        f"profile.cycle_day <= {draw.choice((2, 4, 6))}",
    ]
    if number:
        most = _SCORES if number == "score" else _NUMBERS
        rare += [f"event.{number} >= {most * draw.choice((80, 90, 95)) // 100}"] * 2
    usual = [
        "fact steady",
        "fact loyal" if chained else "fact valued",
        "not fact busy",
        "profile.prepaid is true",
        "profile.better_plan exists",
        f"event.{text} is {one} or {other}",
        f"event.{text} is not {other}",
        f"windows.week >= {draw.randint(1, 6)}",
        "windows.week >= profile.tenure_months * 0.1",
        f"any: [profile.prepaid is true, profile.tenure_months >= {draw.randint(24, 72)}]",
        ("windows.last_30d >= 8", "windows.this_cycle >= 3", "windows.topups < 4", "windows.quiet > 5d")[
            draw.choice(windows)
        ],
    ]
    found = draw.sample(rare, 2) + draw.sample(usual, draw.randint(0, 2))
    return [part if part[:4] != "any:" else "{" + part + "}" for part in dict.fromkeys(found)]


def _words(field: str) -> Sequence[str]:
    return _COUNTRIES if field == "country" else _WORDS


def _batches(places: Sequence[int], events: int, draw: random.Random) -> Iterator[bytes]:
    """Events of these types in turn, each for a customer drawn, in messages of a hundred."""
    for first in range(0, events, _BATCH):
        customers = [_snapshot(first + customer, places, draw) for customer in range(1, _CUSTOMERS + 1)]
        batch = stream_pb2.EventBatch(snapshots=customers)
        for number in range(first, min(first + _BATCH, events)):
            customer = number - first + 1
            event_type, text, field = _TYPES[places[number % len(places)]]
            values = {**_REQUIRED.get(event_type, {}), text: draw.choice(_words(text))}
            if field:
                values[field] = draw.randint(0, _SCORES if field == "score" else _NUMBERS)
            batch.events.add(
                id=f"e-{number}",
                source="bench",
                type=event_type,
                time_micros=NOW + number * 1000,
                accepted_micros=NOW + number * 1000,
                data=orjson.dumps(values),
                customer=first + customer,
                sequence=10 * _ENTRIES,
                snapshot=customer,
            )
        yield batch.SerializeToString()


def _snapshot(customer: int, places: Sequence[int], draw: random.Random) -> bytes:
    """A customer with a dozen traits, and weeks of activity of the type that is to come and two others."""
    snapshot = stream_pb2.Snapshot(customer=customer, sequence=10 * _ENTRIES)
    traits: dict[str, Value] = {
        "name": "Camille",
        "language": "en",
        "zone": "Europe/Paris",
        "plan": draw.choice(PLANS),
        "plan_data_mb": 50_000,
        "plan_price": make_money("19.99", "EUR"),
        "cycle_day": draw.randint(1, 28),
        "tenure_months": draw.randrange(120),
        "prepaid": draw.random() < 0.3,
        "churn_risk": round(draw.random(), 2),
        "stage": "use",
        "brand": "bench",
    }
    if draw.random() < 0.3:
        traits["better_plan"] = draw.choice(PLANS)
    for name, value in traits.items():
        snapshot.traits.add(name=name, value=value_to_wire(value), time_micros=NOW - 90 * DAY, source="crm")
    kinds = [_TYPES[places[(customer - 1) % len(places)]][0], "topup.received"]
    for kind in kinds:
        spacing = draw.randint(6, 30) * HOUR
        activity = snapshot.activity.add(type=kind)
        activity.time_delta_micros.extend([NOW - _ENTRIES * spacing, *[spacing] * (_ENTRIES - 1)])
        activity.sequence_deltas.extend([1] * _ENTRIES)
        if kind == "topup.received":
            activity.columns.add(field="amount", numbers=[draw.random() * 50 for _ in range(_ENTRIES)])
    return snapshot.SerializeToString()
