"""A small town of subscribers and six months of their life, the same every time.

Everything is drawn from one seed, so the town knows beforehand who runs out of data by habit, who once,
who complains, and who never agreed to anything: the truth against which the demo reconciles what Rapport
found. Numbers are of a range that the French regulator keeps for fiction; addresses end in `example.com`.
"""

import datetime as dt
import random
from collections.abc import Iterator
from dataclasses import dataclass, field
from typing import Any

START = dt.datetime(2026, 10, 1, tzinfo=dt.UTC)
END = dt.datetime(2027, 4, 1, tzinfo=dt.UTC)
MONTHS = ((2026, 10), (2026, 11), (2026, 12), (2027, 1), (2027, 2), (2027, 3))
CellName = str
Event = dict[str, Any]

PLANS = (
    # plan, data in MB, price, the plan that would fit better
    ("m-5gb", 5_000, "14.99", "m-20gb"),
    ("m-10gb", 10_000, "19.99", "m-40gb"),
    ("m-20gb", 20_000, "24.99", "m-60gb"),
)
ZONES = ("Europe/Paris",) * 8 + ("America/Guadeloupe", "Indian/Reunion")
FIRST_NAMES = ("Ada", "Bao", "Chloé", "Driss", "Élise", "Farid", "Gaëlle", "Hugo", "Inès", "Jules")


@dataclass(frozen=True, slots=True)
class Subscriber:
    """One inhabitant and what will become of them."""

    number: int
    name: str
    language: str
    zone: str
    plan: str
    plan_data_mb: int
    plan_price: str
    better_plan: str
    cell: CellName
    has_email: bool
    has_app: bool
    prefers: str
    """The channel they like: sms, email or app."""
    marketing: bool
    research: bool
    objects_to_usage: bool
    habit: str
    """`habitual`: runs out every month; `one_off`: once, after the rules began; `modest`: never."""
    one_off_month: int
    """Index into MONTHS for a one-off; -1 otherwise."""
    complaint_month: int
    """Index into MONTHS in which a complaint is opened; -1: never."""

    @property
    def crm(self) -> str:
        """The identity by which the BSS knows this inhabitant."""
        return f"crm:T{self.number:05d}"

    @property
    def msisdn(self) -> str:
        """The identity by which the network knows this inhabitant."""
        return f"msisdn:+3363998{self.number:04d}"

    @property
    def identities(self) -> str:
        """All identities, as the subject of an event."""
        parts = [self.crm, self.msisdn]
        if self.has_email:
            parts.append(f"email:inhabitant.{self.number:05d}@example.com")
        if self.has_app:
            parts.append(f"device:app-{self.number:05d}")
        return " ".join(parts)


@dataclass(frozen=True, slots=True)
class Outage:
    """A cell that fails for some hours."""

    cell: CellName
    incident: str
    start: dt.datetime
    end: dt.datetime


@dataclass(frozen=True, slots=True)
class Town:
    """The inhabitants, the outages and the truth about who is who."""

    subscribers: tuple[Subscriber, ...]
    outages: tuple[Outage, ...]
    seed: int
    months: int
    habitual: frozenset[str] = field(default_factory=frozenset)
    """`crm:…` of those whom the rules must find to be habitual over-users."""
    one_off: frozenset[str] = field(default_factory=frozenset)
    """`crm:…` of those whom the rules must find to have run out as an exception."""
    withheld: frozenset[str] = field(default_factory=frozenset)
    """`crm:…` of over-users who objected to the use of usage data, and must not be found."""


def build_town(*, subscribers: int = 2_000, seed: int = 20261001, months: int = len(MONTHS)) -> Town:
    """Draws a town; the same arguments give the same town.

    `months` counts from October 2026; with fewer than three there is nobody habitual yet to find.
    """
    if not 1 <= subscribers <= 10_000:
        raise ValueError(
            f"subscribers is {subscribers}; a town has 1 to 10000 (the numbers kept for fiction)"
        )
    if not 1 <= months <= len(MONTHS):
        raise ValueError(f"months is {months}; a town lives 1 to {len(MONTHS)} months")
    rnd = random.Random(seed)
    people = tuple(_draw_subscriber(rnd, number, months) for number in range(subscribers))
    over_users = [s for s in people if s.habit != "modest"]

    # One who runs out by habit is found from the third month on; before that it looks like an exception.
    # Whoever has an open complaint in their only month of being found is not found either,
    # and looks like an exception.
    def shows(s: Subscriber) -> bool:
        return any(month != s.complaint_month for month in range(2, months))

    return Town(
        subscribers=people,
        outages=tuple(_draw_outages(rnd, max(1, subscribers // 50), months)),
        seed=seed,
        months=months,
        habitual=frozenset(
            s.crm for s in over_users if s.habit == "habitual" and shows(s) and not s.objects_to_usage
        ),
        one_off=frozenset(
            s.crm
            for s in over_users
            if not s.objects_to_usage and (s.one_off_month < months if s.habit == "one_off" else not shows(s))
        ),
        withheld=frozenset(s.crm for s in over_users if s.objects_to_usage),
    )


def _draw_subscriber(rnd: random.Random, number: int, months: int) -> Subscriber:
    plan, data_mb, price, better = rnd.choice(PLANS)
    draw = rnd.random()
    has_email, has_app = rnd.random() < 0.8, rnd.random() < 0.5
    habit = "habitual" if draw < 0.05 else "one_off" if draw < 0.15 else "modest"
    return Subscriber(
        number=number,
        name=rnd.choice(FIRST_NAMES),
        language="fr" if rnd.random() < 0.7 else "en",
        zone=rnd.choice(ZONES),
        plan=plan,
        plan_data_mb=data_mb,
        plan_price=price,
        better_plan=better,
        cell=f"FR-{rnd.randrange(40):04d}",
        has_email=has_email,
        has_app=has_app,
        prefers=rnd.choice(["sms", "sms", *["email"] * has_email, *["app"] * has_app]),
        marketing=rnd.random() < 0.7,
        research=rnd.random() < 0.5,
        objects_to_usage=rnd.random() < 0.04,
        habit=habit,
        one_off_month=rnd.randrange(2, len(MONTHS)) if habit == "one_off" else -1,
        complaint_month=rnd.randrange(months) if rnd.random() < 0.12 else -1,
    )


def _draw_outages(rnd: random.Random, count: int, months: int) -> Iterator[Outage]:
    for index in range(count):
        year, month = MONTHS[rnd.randrange(months)]
        start = dt.datetime(year, month, rnd.randrange(2, 27), rnd.randrange(6, 19), 10, tzinfo=dt.UTC)
        yield Outage(
            f"FR-{rnd.randrange(40):04d}",
            f"INC{index:04d}",
            start,
            start + dt.timedelta(hours=rnd.randrange(6, 30)),
        )


def life_of(town: Town) -> list[Event]:
    """All events of the town in the order in which they happened, one CloudEvent each."""
    rnd = random.Random(town.seed + 1)
    events: list[Event] = []
    for subscriber in town.subscribers:
        events.extend(_arrival(subscriber))
        for month in range(town.months):
            events.extend(_month_of(subscriber, month, rnd))
    by_cell: dict[CellName, list[Subscriber]] = {}
    for subscriber in town.subscribers:
        by_cell.setdefault(subscriber.cell, []).append(subscriber)
    for outage in town.outages:
        events.extend(_outage(outage, by_cell.get(outage.cell, []), rnd))
    events.sort(key=lambda event: (event["time"], event["id"]))
    return events


def _event(
    source: str, key: str, kind: str, time: dt.datetime, subject: str, fields: dict[str, Any]
) -> Event:
    return {
        "specversion": "1.0",
        "id": key,
        "source": source,
        "type": kind,
        "time": time.strftime("%Y-%m-%dT%H:%M:%SZ"),
        "subject": subject,
        "data": fields,
    }


def _arrival(subscriber: Subscriber) -> Iterator[Event]:
    """The BSS introduces the subscriber, with what they agreed to."""
    time = START + dt.timedelta(seconds=subscriber.number % 3600)
    traits: dict[str, Any] = {
        "name": subscriber.name,
        "language": subscriber.language,
        "zone": subscriber.zone,
        "plan": subscriber.plan,
        "plan_data_mb": subscriber.plan_data_mb,
        "plan_price": {"amount": subscriber.plan_price, "currency": "EUR"},
        "cycle_day": 1,
        "last_cell": subscriber.cell,
        "prepaid": False,
        "adult": True,
        "preferred_channel": subscriber.prefers,
        "better_plan": subscriber.better_plan,
    }
    key = f"{subscriber.number:05d}"
    yield _event("bss", f"new-{key}", "profile.updated", time, subscriber.identities, {"traits": traits})
    agreed: list[tuple[str, str]] = []
    agreed.append(("marketing", "granted" if subscriber.marketing else "denied"))
    if subscriber.research:
        agreed.append(("research", "granted"))
    if subscriber.objects_to_usage:
        agreed.append(("profiling_usage", "objected"))
    for purpose, state in agreed:
        fields = {
            "purpose": purpose,
            "state": state,
            "by": "person",
            "evidence": f"form-{key}",
            "wording": "2026-09",
        }
        moment = time + dt.timedelta(seconds=1)
        yield _event("crm", f"consent-{key}-{purpose}", "consent.changed", moment, subscriber.crm, fields)


def _month_of(subscriber: Subscriber, month: int, rnd: random.Random) -> Iterator[Event]:
    year, number = MONTHS[month]
    first = dt.datetime(year, number, 1, tzinfo=dt.UTC)
    cycle = f"{year:04d}-{number:02d}"
    key = f"{subscriber.number:05d}-{month}"
    total = 0.0
    runs_out = subscriber.habit == "habitual" or subscriber.one_off_month == month
    day_out = rnd.randrange(15, 24)
    # Modest users stay below half of their plan; whoever runs out has used all of it on the day they do.
    shares = ((6, 0.3), (10, 0.3), (14, 0.3), (day_out, 0.1)) if runs_out else ((6, 0.2), (20, 0.2))
    for part, (day, share) in enumerate(shares):
        moment = first + dt.timedelta(days=day - 1, hours=rnd.randrange(7, 8), minutes=rnd.randrange(60))
        used = round(subscriber.plan_data_mb * share * rnd.uniform(0.9, 1.0), 1)
        if runs_out and day == day_out:
            used = round(subscriber.plan_data_mb - total + 1, 1)
        total += used
        fields = {"mb": used, "cycle": cycle}
        yield _event("dpi", f"u-{key}-{part}", "usage.data_used", moment, subscriber.msisdn, fields)
    if runs_out:
        moment = first + dt.timedelta(days=day_out - 1, hours=rnd.randrange(8, 19), minutes=rnd.randrange(60))
        fields = {
            "cycle": cycle,
            "days_left_in_cycle": 28 - day_out,
            "surcharge_next": rnd.random() < 0.5,
        }
        yield _event("dpi", f"x-{key}", "usage.allowance_exhausted", moment, subscriber.msisdn, fields)
    issued = first + dt.timedelta(days=1, hours=9, seconds=subscriber.number)
    amount = {"amount": subscriber.plan_price, "currency": "EUR"}
    fields = {"bill": f"B-{key}", "amount": amount}
    yield _event("billing", f"b-{key}", "bill.issued", issued, subscriber.crm, fields)
    if subscriber.number % 2:  # the others pay by direct debit, of which nobody tells
        paid = issued + dt.timedelta(days=rnd.randrange(2, 9), hours=rnd.randrange(10))
        yield _event("billing", f"p-{key}", "payment.received", paid, subscriber.crm, fields)
    if subscriber.complaint_month == month:
        yield from _complaint(subscriber, first, key, rnd)
    for drop in range(rnd.choice((0, 0, 0, 1))):
        moment = first + dt.timedelta(days=1 + rnd.randrange(26), hours=rnd.randrange(24), minutes=drop)
        fields = {"cell": subscriber.cell, "technology": "4G"}
        yield _event("oss", f"d-{key}-{drop}", "network.call_dropped", moment, subscriber.msisdn, fields)


def _complaint(subscriber: Subscriber, first: dt.datetime, key: str, rnd: random.Random) -> Iterator[Event]:
    """Opened before the data runs out, resolved weeks later, so that nothing is sold in between."""
    topic = rnd.choice(("coverage", "calls", "billing"))
    opened = first + dt.timedelta(days=rnd.randrange(8, 13), hours=rnd.randrange(9, 17), minutes=7)
    fields = {"complaint": f"C-{key}", "topic": topic}
    yield _event("care", f"co-{key}", "complaint.opened", opened, subscriber.crm, fields)
    closed = opened + dt.timedelta(days=18)
    yield _event("care", f"cr-{key}", "complaint.resolved", closed, subscriber.crm, fields)


def _outage(outage: Outage, concerned: list[Subscriber], rnd: random.Random) -> Iterator[Event]:
    """The cell fails, those around it lose calls, some of them complain, the cell is mended."""
    thing = f"cell:{outage.cell}"
    eta = outage.end.strftime("%Y-%m-%dT%H:%M:%SZ")
    fields: dict[str, Any] = {"cell": outage.cell, "incident": outage.incident, "eta": eta}
    yield _event("oss", f"{outage.incident}-s", "network.outage_started", outage.start, thing, fields)
    fields = {"cell": outage.cell, "incident": outage.incident}
    yield _event("oss", f"{outage.incident}-e", "network.outage_ended", outage.end, thing, fields)
    for subscriber in concerned:
        if rnd.random() < 0.5:
            continue
        key = f"{outage.incident}-{subscriber.number:05d}"
        for drop in range(rnd.randrange(1, 6)):
            moment = outage.start + dt.timedelta(minutes=5 + 50 * drop + rnd.randrange(40))
            drop_fields = {"cell": outage.cell, "technology": "4G"}
            yield _event(
                "oss", f"{key}-{drop}", "network.call_dropped", moment, subscriber.msisdn, drop_fields
            )
