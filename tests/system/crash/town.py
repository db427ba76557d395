"""What a crash run feeds, and what must come of it whatever breaks: known beforehand, event by event."""

import datetime as dt
import itertools
import random
from collections.abc import Iterator
from dataclasses import dataclass, field
from typing import Any

from tests.system.conftest import event, new_number, person

MINUTE = dt.timedelta(minutes=1)
SURVEY_AFTER = dt.timedelta(hours=48)
"""How long after a complaint the rule set `dropped-calls` asks how it went."""
_KINDS = ("sms", "sms", "sms", "email", "email", "app", "apology", "apology", "surcharge", "surcharge")
"""Who lives there, dealt out in turn: told of their quota over three channels, or something commercial."""


@dataclass(frozen=True)
class Wanted:
    """A message that must come of the event, exactly once."""

    event_id: str
    rule: str
    name: str


@dataclass
class Customer:
    """Somebody, what happens to them in order, and what they must be told."""

    subject: str
    events: list[dict[str, Any]]
    wanted: list[Wanted] = field(default_factory=list)


@dataclass
class Town:
    """All customers of a run. `events` are in the order in which they are fed."""

    customers: list[Customer]
    events: list[dict[str, Any]]

    @property
    def wanted(self) -> list[tuple[str, Wanted]]:
        """Everything that must be said, with whom it is said to."""
        return [(customer.subject, one) for customer in self.customers for one in customer.wanted]


def make_town(noon: dt.datetime, *, events: int, seed: int) -> Town:
    """A town with about so many events, all of the hours after `noon` of business time."""
    draw = random.Random(seed)
    each = 40 if events >= 4_000 else 20
    customers = [
        _customer(_KINDS[number % len(_KINDS)], noon, each, draw) for number in range(max(10, events // each))
    ]
    return Town(customers, list(_mixed(customers, draw)))


def _customer(kind: str, noon: dt.datetime, each: int, draw: random.Random) -> Customer:
    number = new_number()
    match kind:
        case "email":
            customer = _user(noon, f"email:c{number[1:]}@customer.example", each, preferred_channel="email")
        case "app":
            customer = _user(noon, f"device:phone-{number[1:]}", each, preferred_channel="app")
        case "apology":
            customer = _complainant(noon, f"msisdn:{number}")
        case "surcharge":
            customer = _spender(noon, f"msisdn:{number}")
        case _:
            customer = _user(noon, f"msisdn:{number}", each)
    for _ in range(each - len(customer.events)):  # what leads to nothing, like most of what happens
        told = event("usage.voice_used", noon + MINUTE, customer.subject, {"minutes": 3})
        customer.events.insert(draw.randrange(len(customer.events)), told)
    return customer


def _user(noon: dt.datetime, subject: str, each: int, **traits: Any) -> Customer:
    """Uses up the month's data in the middle of the sessions, and goes on."""
    sessions = each - 1
    quota = 100 * (sessions // 2)
    customer = Customer(subject, person(noon, subject, plan_data_mb=quota, **traits))
    used = 0
    for session in range(sessions):
        told = event("usage.data_used", noon + (session + 1) * 5 * MINUTE, subject, {"mb": 100})
        customer.events.append(told)
        for rule, share in (("half", 0.5), ("four-fifths", 0.8), ("all-of-it", 1.0)):
            if used < quota * share <= used + 100:
                customer.wanted.append(Wanted(told["id"], rule, f"quota-{int(share * 100)}"))
        used += 100
    return customer


def _complainant(noon: dt.datetime, subject: str) -> Customer:
    """Has calls dropped, complains, gets a call back and something for it, and is asked two days later."""
    customer = Customer(subject, person(noon, subject, "marketing", "research", churn_risk=0.9))
    cell = {"cell": "FR-0042"}
    for drop in range(3):
        customer.events.append(event("network.call_dropped", noon + (drop + 1) * MINUTE, subject, cell))
    complaint = event(
        "complaint.opened",
        noon + 60 * MINUTE,
        subject,
        {"complaint": f"C-{subject}", "topic": "calls", **cell},
    )
    customer.events.append(complaint)
    customer.wanted += [
        Wanted(complaint["id"], "complaint-context", "call-back"),
        Wanted(complaint["id"], "goodwill", "goodwill-1gb"),
        Wanted(complaint["id"], "ask-how-it-went", "ces-after-care"),
    ]
    return customer


def _spender(noon: dt.datetime, subject: str) -> Customer:
    """Runs out of data: a mandatory notice, and (but for one in ten, held out of the experiment) an offer."""
    customer = Customer(subject, person(noon, subject, "marketing"))
    exhausted = {"cycle": f"{noon:%Y-%m}", "days_left_in_cycle": 9, "surcharge_next": True}
    told = event("usage.allowance_exhausted", noon + 90 * MINUTE, subject, exhausted)
    customer.events.append(told)
    customer.wanted.append(Wanted(told["id"], "plain-notice", "surcharge-notice"))
    return customer


def _mixed(customers: list[Customer], draw: random.Random) -> Iterator[dict[str, Any]]:
    """Each customer's events in order, and all customers' mixed."""
    lanes = [iter(customer.events) for customer in customers]
    for turn in itertools.count():
        draw.shuffle(lanes)
        going = []
        for lane in lanes:
            told = next(lane, None)
            if told is not None:
                yield told
                going.append(lane)
        lanes = going
        if not lanes:
            return
        assert turn < 100_000
