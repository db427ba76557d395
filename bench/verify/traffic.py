"""Customers, and events and questions of theirs of which most lead to a decision."""

import asyncio
import random
import time
from collections.abc import Iterator, Sequence
from dataclasses import dataclass, field
from uuid import uuid4

import grpc
import orjson
from rapport.decision.v1 import decision_pb2
from rapport.profile.v1 import profile_pb2
from rapport.types.v1 import event_pb2

from services.cli.connections import Connections
from services.runtime.clock import WallClock
from services.vocabulary import wire

SOURCE = "bench"
CUSTOMERS = 4_000
CELLS = 400
BATCH = 200
AT_ONCE = 4
QUESTIONS = 4
"""Questions asked beside each batch of events."""
_PURPOSES = ("marketing", "research", "profiling_usage", "profiling_location")
_WEIGHTS = {
    "usage.data_used": 40,
    "network.call_dropped": 12,
    "usage.allowance_exhausted": 10,
    "topup.received": 10,
    "roaming.entered": 8,
    "order.activated": 5,
    "survey.answered": 5,
    "complaint.opened": 4,
    "complaint.resolved": 2,
    "case.opened": 4,
    "case.closed": 2,
}
_CLOCK = WallClock()


@dataclass(slots=True)
class Traffic:
    """Makes events about random customers; the same seed gives the same ones."""

    seed: int = 7
    sent: int = 0
    refused: int = 0
    answered: int = 0
    draw: random.Random = field(init=False)
    _kinds: list[str] = field(init=False)

    def __post_init__(self) -> None:
        self.draw = random.Random(self.seed)
        self._kinds = [kind for kind, weight in _WEIGHTS.items() for _ in range(weight)]

    async def begin(self, connections: Connections) -> None:
        """Makes the customers known: traits, consents, households, and the cells with a fault."""
        events = [event for number in range(CUSTOMERS) for event in self._customer(number)]
        await self._send_all(connections, events)
        await self.outages(connections, 0)

    async def outages(self, connections: Connections, round_: int) -> None:
        """A few cells fail."""
        events = []
        for cell in self.draw.sample(range(CELLS), 4):
            fields: dict[str, object] = {"cell": f"FR-{cell:04d}", "incident": f"INC-{round_}-{cell}"}
            if self.draw.random() < 0.8:
                fields["eta"] = "2027-01-01T00:00:00Z"
            events.append(self._event("network.outage_started", f"cell:FR-{cell:04d}", fields))
        await self._send_all(connections, events)

    async def send(self, connections: Connections, events: int) -> None:
        """So many events of the mix, a few batches at once, with questions between them."""
        batches = iter([self._batch() for _ in range(-(-events // BATCH))])

        async def stream() -> None:
            for batch in batches:
                await asyncio.gather(
                    self._send(connections, batch), *(self._ask(connections) for _ in range(QUESTIONS))
                )

        await asyncio.gather(*(stream() for _ in range(AT_ONCE)))

    def _batch(self) -> list[event_pb2.Event]:
        return [self._of_mix() for _ in range(BATCH)]

    def _of_mix(self) -> event_pb2.Event:
        kind = self.draw.choice(self._kinds)
        return self._event(kind, subject(self.draw.randrange(CUSTOMERS)), self._fields(kind))

    def _fields(self, kind: str) -> dict[str, object]:
        draw = self.draw
        match kind:
            case "usage.data_used":
                country = draw.choice(("FR", "FR", "FR", "ES", "PT", "CH", None))
                told = {"mb": round(draw.expovariate(1 / 300), 1), "cycle": time.strftime("%Y-%m")}
                return told if country is None else {**told, "country": country}
            case "network.call_dropped":
                return {"cell": f"FR-{draw.randrange(CELLS):04d}", "technology": "LTE"}
            case "usage.allowance_exhausted":
                return {
                    "cycle": f"2026-{draw.randint(7, 11):02d}",
                    "days_left_in_cycle": draw.randrange(20),
                    "surcharge_next": draw.random() < 0.3,
                }
            case "topup.received":
                return {"amount": {"amount": str(draw.choice((5, 10, 20))), "currency": "EUR"}}
            case "roaming.entered":
                return {"country": draw.choice(("ES", "PT", "CH", "IT"))}
            case "order.activated":
                return {"order": f"o-{draw.randrange(10 * CUSTOMERS)}", "product": "fibre"}
            case "survey.answered":
                return {"survey": "ces-after-care", "score": draw.randint(0, 10)}
            case "complaint.opened" | "complaint.resolved":
                return {
                    "complaint": f"C-{draw.randrange(CUSTOMERS)}",
                    "topic": draw.choice(("calls", "bill")),
                }
            case _:
                topic = draw.choice(("bill", "data", "shop"))
                return {"case": f"c-{draw.randrange(2 * CUSTOMERS)}", "topic": topic}

    def _customer(self, number: int) -> Iterator[event_pb2.Event]:
        draw, whom = self.draw, subject(number)
        traits: dict[str, object] = {
            "language": draw.choice(("en", "fr")),
            "plan": draw.choice(("s-5gb", "m-20gb")),
            "plan_data_mb": draw.choice((2000, 5000, 20000)),
            "plan_price": {"amount": draw.choice(("9.99", "19.99")), "currency": "EUR"},
            "tenure_months": draw.randrange(40),
            "prepaid": draw.random() < 0.4,
            "vulnerable": draw.random() < 0.05,
            "cycle_day": draw.randint(1, 28),
        }
        if draw.random() < 0.7:
            traits["churn_risk"] = round(draw.random(), 2)
        if draw.random() < 0.6:
            traits["better_plan"] = "m-20gb"
        if draw.random() < 0.2:
            traits["preferred_channel"] = draw.choice(("email", "sms", "app"))
        yield self._event("profile.updated", whom, {"traits": traits})
        for purpose in _PURPOSES:
            chance = draw.random()
            if chance < 0.55:
                state = "granted" if chance < 0.45 else "objected"
                fields: dict[str, object] = {"purpose": purpose, "state": state, "by": "person"}
                yield self._event("consent.changed", whom, fields)
        if draw.random() < 0.5:
            household: dict[str, object] = {"household": f"h-{number // 3}", "action": "join"}
            yield self._event("household.changed", whom, household)

    def _event(self, kind: str, whom: str, fields: dict[str, object]) -> event_pb2.Event:
        self.sent += 1
        event = event_pb2.Event(
            id=f"{self.seed}-{self.sent}",
            source=SOURCE,
            type=kind,
            subject=whom,
            data=orjson.dumps(fields),
            spec_version="1.0",
        )
        event.time.FromMicroseconds(_CLOCK.wall_micros())
        return event

    async def _send_all(self, connections: Connections, events: Sequence[event_pb2.Event]) -> None:
        for first in range(0, len(events), BATCH):
            await self._send(connections, events[first : first + BATCH])

    async def _send(self, connections: Connections, events: Sequence[event_pb2.Event]) -> None:
        for event in events:
            event.time.FromMicroseconds(_CLOCK.wall_micros())
        answer = await connections.profile.IngestEvents(profile_pb2.IngestEventsRequest(events=events))
        bad = [one for one in answer.results if one.status == profile_pb2.INGEST_STATUS_REJECTED]
        self.refused += len(bad)
        if bad and self.refused == len(bad):
            print(f"refused: {bad[0]}", flush=True)

    async def _ask(self, connections: Connections) -> None:
        request = decision_pb2.DecideRequest(
            request_id=str(uuid4()),
            subject=subject(self.draw.randrange(CUSTOMERS)),
            mode=decision_pb2.DECIDE_MODE_PRESENT,
        )
        if self.draw.random() < 0.5:
            request.ask = "care-call"
            request.ask_parameters["topic"].CopyFrom(
                wire.value_to_wire(self.draw.choice(("network", "bill")))
            )
        else:
            request.event.CopyFrom(self._event("case.opened", request.subject, self._fields("case.opened")))
        try:
            answer = await connections.decision.Decide(request)
        except grpc.aio.AioRpcError as error:
            if error.code() is not grpc.StatusCode.FAILED_PRECONDITION:  # an event of theirs came in between
                raise
        else:
            self.answered += bool(answer.decision.actions)


def subject(customer: int) -> str:
    """The number of the customer."""
    return f"msisdn:+336{customer:08d}"
