"""Random histories of customers, taken as live events are; and what went out, next to what a replay tells."""

import random
from collections.abc import Mapping
from contextlib import suppress
from pathlib import Path
from typing import Any

import orjson
from rapport.types.v1 import stream_pb2

from services.profile.adapters.catalogue_types import Types
from services.profile.adapters.past_packing import PastSnapshots
from services.profile.adapters.postgres import PostgresStore
from services.profile.adapters.snapshots import SnapshotPacker
from services.profile.app.merging import Merging
from services.profile.app.questions import Questions
from services.profile.app.replaying import Page, Replaying, Share, Then
from services.profile.app.take_events import ACCEPTED, EventTaker
from services.profile.app.unmerging import Unmerging
from services.profile.domain.errors import IdentityRefusedError, UnknownSubjectError
from services.profile.domain.events import CheckedEvent, EventChecker, RawEvent
from services.profile.domain.replaying import FOREVER, Wanted
from services.runtime.database import Database
from services.runtime.outbox import Outbox
from services.vocabulary.catalogue import Catalogue, load_catalogue
from tests.fakes.keys import sealer

CATALOGUE = load_catalogue(Path(__file__).parents[3] / "rules")
START = 1_780_000_000_000_000
HOUR = 3_600_000_000
DAY = 24 * HOUR
LISTENED = frozenset(
    {
        "usage.data_used",
        "network.call_dropped",
        "network.outage_started",
        "profile.updated",
        "consent.changed",
        "topup.received",
        "plan.activated",
        "identity.merged",
        "identity.separated",
        "subscription.changed",
        "order.placed",
    }
)
Out = dict[tuple[str, str, int], tuple[bytes, bytes]]
"""By source, id and customer (0: a thing): the event as it went out, and its snapshot."""


class History:
    """The profile's use cases on one database, with a clock that the test moves."""

    def __init__(self, url: str, catalogue: Catalogue = CATALOGUE) -> None:
        self.database = Database(url, pool_size=4)
        self.types = Types(catalogue, sealer())
        self.catalogue = catalogue
        packer = self.packer = SnapshotPacker(self.types)
        self.store = PostgresStore(self.database, Outbox(self.database), self.types)
        self.taker = EventTaker(catalogue, packer)
        self.checker = EventChecker(catalogue, orjson.loads, orjson.dumps, wall=False)
        self.questions = Questions(catalogue, packer)
        self.merging = Merging(catalogue, self.questions, self.checker, packer, orjson.dumps)
        self.now = START
        self.told = 0

    def replaying(self) -> Replaying:
        return Replaying(self.store, self.catalogue, PastSnapshots(self.types), orjson.loads)

    def event(
        self,
        subject: str,
        kind: str,
        data: Mapping[str, Any],
        *,
        ago: int = 0,
        source: str = "test",
        history: bool = False,
    ) -> CheckedEvent:
        self.told += 1
        raw = RawEvent(f"e{self.told}", source, kind, self.now - ago, subject, orjson.dumps(data))
        return self.checker.check(raw, self.now, history=history)

    async def take(self, *events: CheckedEvent) -> list[object]:
        self.now += 1
        async with self.store.work() as work:
            return list(await self.taker.take(work, events, self.now))

    async def one(self, subject: str, kind: str, *, ago: int = 0, source: str = "test", **data: Any) -> int:
        event = self.event(subject, kind, data, ago=ago, source=source)
        (outcome,) = await self.take(event)
        assert outcome is ACCEPTED, outcome
        return event.customer

    async def merge(self, other: str, into: str) -> None:
        """Two of them are one from now on."""
        self.now += 1
        async with self.store.work() as work:
            ids = [await self.questions.find(work, subject) for subject in (other, into)]
            await self.merging.merge(work, *ids, "one person", self.now)

    async def take_apart(self) -> None:
        """The first merge was a mistake."""
        self.now += 1
        unmerging = Unmerging(self.catalogue, self.questions, self.checker, self.packer, orjson.dumps)
        async with self.store.work() as work:
            await unmerging.unmerge(work, await unmerging.held(work, 1), "two persons", self.now)

    async def listen(self, types: frozenset[str] = LISTENED) -> None:
        async with self.store.work() as work:
            await work.set_listened(types)

    async def sent(self) -> Out:
        """What went out on EVENTS."""
        async with self.database.transaction() as tx:
            rows = await tx.rows("SELECT payload FROM outbox WHERE stream = 'EVENTS' ORDER BY id")
        return told([payload for (payload,) in rows])

    async def replayed(
        self,
        types: frozenset[str] = LISTENED,
        since: int = 0,
        until: int = FOREVER,
        share: Share | None = None,
    ) -> Out:
        """What a replay of all event types tells; those of `types` with snapshots."""
        bare = frozenset(self.catalogue.events) - types
        wanted = Wanted(since, until, types, bare)
        payloads = await self.replaying().things(wanted)
        for page in await self.pages(wanted, share or Share()):
            payloads += [past.payload for past in page.pasts]
        return told(payloads)

    async def known(self, subject: str) -> tuple[int, bytes]:
        """Who somebody is now, and a fresh snapshot of them."""
        async with self.store.work() as work:
            customer = await self.questions.one(work, await self.questions.find(work, subject))
            things = await self.questions.things_of(work, [customer])
        return customer.id, self.packer.snapshot(customer, things, self.now, self.now)

    async def then(self, *asked: tuple[int, int]) -> list[Then]:
        return await self.replaying().moments(asked)

    async def pages(self, wanted: Wanted, share: Share) -> list[Page]:
        return [page async for page in self.replaying().pages(share, wanted)]


def told(payloads: list[bytes]) -> Out:
    found: Out = {}
    for payload in payloads:
        batch = stream_pb2.EventBatch.FromString(payload)
        for item in batch.events:
            snapshot = batch.snapshots[item.snapshot - 1] if item.snapshot else b""
            item.snapshot = 0
            key = (item.source, item.id, item.customer)
            assert key not in found, "told twice"
            found[key] = (item.SerializeToString(deterministic=True), snapshot)
    return found


def differences(sent: Out, replayed: Out) -> list[str]:
    """What a replay tells otherwise than it went out, in words."""
    found = [f"{key}: not replayed" for key in sent.keys() - replayed.keys()]
    found += [f"{key}: never sent" for key in replayed.keys() - sent.keys()]
    for key in sent.keys() & replayed.keys():
        if sent[key][0] != replayed[key][0]:
            before, after = (stream_pb2.TakenEvent.FromString(one[key][0]) for one in (sent, replayed))
            found.append(f"{key}: the event differs\n{before}\n{after}")
        elif sent[key][1] != replayed[key][1]:
            before, after = (stream_pb2.Snapshot.FromString(one[key][1]) for one in (sent, replayed))
            kinds = [
                field.name
                for field in stream_pb2.Snapshot.DESCRIPTOR.fields
                if getattr(before, field.name) != getattr(after, field.name)
            ]
            found.append(f"{key}: the snapshot differs in {kinds or 'its bytes'}\n{before}\n{after}")
    return found


class Life:
    """What happens to some customers, by chance."""

    def __init__(self, history: History, seed: int, customers: int, households: float = 0.0) -> None:
        self.history = history
        self.random = random.Random(seed)
        self.customers = customers
        self.households = households

    def subject(self) -> str:
        number = self.random.randrange(self.customers)
        names = [f"msisdn:+3361{number:07d}"]
        if self.random.random() < 0.3:
            names.append(f"crm:{number}")
        if self.random.random() < 0.05:
            names.append(f"cookie:{number}")
        return " ".join(names)

    def of_household(self) -> CheckedEvent:
        """Something about lines on a common account, or about what its users share."""
        chance, number = self.random, self.random.randrange(self.customers)
        who = f"msisdn:+3361{number:07d}"
        if chance.random() < 0.5:
            traits = {
                "shared_data_mb": chance.randrange(9) * 1000,
                "shared_data_left_mb": chance.randrange(900),
            }
            return self.history.event(who, "profile.updated", {"traits": traits}, ago=chance.randrange(HOUR))
        data = {
            "subscription": f"s{number}",
            "account": f"a{chance.choice([number, 1, 2]) % 3}",
            "msisdn": who.removeprefix("msisdn:"),
            "status": chance.choice(["active", "active", "ended"]),
        }
        return self.history.event(who, "subscription.changed", data, ago=chance.randrange(HOUR))

    def event(self) -> CheckedEvent:
        if self.random.random() < self.households:
            return self.of_household()
        draw, chance = self.history.event, self.random
        ago = int(chance.expovariate(1 / HOUR)) if chance.random() < 0.8 else int(chance.random() * 40 * DAY)
        who = self.subject()
        match chance.randrange(17):
            case 0 | 1 | 2 | 3:
                data = {"mb": chance.randrange(500)} | ({"country": "ES"} if chance.random() < 0.2 else {})
                return draw(who, "usage.data_used", data, ago=ago, history=chance.random() < 0.1)
            case 4 | 5:
                cell = {"cell": f"FR-{chance.randrange(4):04d}"} if chance.random() < 0.8 else {}
                return draw(who, "network.call_dropped", cell, ago=ago)
            case 6:
                name = "started" if chance.random() < 0.6 else "ended"
                cell = f"FR-{chance.randrange(4):04d}"
                return draw(
                    f"cell:{cell}",
                    f"network.outage_{name}",
                    {"cell": cell, "incident": f"i{chance.randrange(3)}"},
                    ago=ago,
                )
            case 7 | 14 | 15 | 16:
                traits: dict[str, Any] = {
                    "name": f"Person {chance.randrange(9)}",
                    "stage": chance.choice(["buy", "use", None]),
                    "churn_risk": chance.choice([0.1, 0.5, None]),
                    "zone": chance.choice(["Europe/Paris", "Asia/Tokyo", None]),
                    "plan": chance.choice(["s", "l"]),
                    "tenure_months": chance.randrange(40),
                }
                chosen = chance.sample(sorted(traits), chance.randrange(1, 4))
                data = {"traits": {name: traits[name] for name in chosen}}
                if chance.random() < 0.2:
                    data["until"] = "2026-06-01T00:00:00Z"
                source = chance.choice(["test", "crm", "billing"])
                return draw(who, "profile.updated", data, ago=ago, source=source)
            case 8:
                data = {
                    "purpose": chance.choice(
                        ["marketing", "profiling_usage", "profiling_location", "research"]
                    ),
                    "state": chance.choice(["granted", "granted", "denied", "withdrawn"]),
                    "by": chance.choice(["person", "person", "staff"]),
                }
                if chance.random() < 0.4:
                    data["channel"] = chance.choice(["sms", "email"])
                return draw(who, "consent.changed", data, ago=ago)
            case 9:
                price = {"amount": f"{chance.randrange(40)}.00", "currency": "EUR"}
                data = {"plan": chance.choice(["s", "m", "l"])} | ({"price": price} if ago % 2 else {})
                source = chance.choice(["test", "crm", "billing"])
                return draw(who, "plan.activated", data, ago=ago, source=source)
            case 10:
                return draw(who, "preference.changed", {"key": "language", "value": "fr"}, ago=ago)
            case 11:
                data = {"order": f"o{chance.randrange(99)}", "product": chance.choice(["a", "b"])}
                return draw(who, "order.placed", data, ago=ago)
            case 12:
                return draw(who, "web.page_viewed", {"topic": chance.choice("abc")}, ago=ago)
            case _:
                return draw(who, "topup.received", {"amount": {"amount": "5.00", "currency": "EUR"}}, ago=ago)

    async def go_on(self, events: int, merges: float = 0.0) -> None:
        """So many events, in batches of chance."""
        while events > 0:
            size = min(events, self.random.choice([1, 1, 2, 5, 20]))
            self.history.now += int(self.random.expovariate(1 / (6 * HOUR)))
            made = [self.event() for _ in range(size)]
            # in one transaction with others it is not known which of them came first
            alone = [event for event in made if event.thing is not None or _of_several(event)]
            together = [event for event in made if event not in alone]
            for batch in (*(self.accompanied(event) for event in alone), together):
                outcomes = await self.history.take(*batch)
                assert all(outcome is ACCEPTED for outcome in outcomes), outcomes
            events -= size
            if self.random.random() < merges:
                await self.merge()

    def accompanied(self, event: CheckedEvent) -> list[CheckedEvent]:
        """The event alone, or between others of the same customer."""
        if event.thing is not None:
            return [event]
        who = " ".join(identity.text for identity in event.identities if identity.kind == "msisdn")
        beside = [self.history.event(who, "usage.data_used", {"mb": 1}) for _ in range(2)]
        return [beside[0], event, beside[1]]

    async def merge(self) -> None:
        """Two of them are one, unless they are already."""
        one, other = self.random.sample(range(self.customers), 2)
        with suppress(UnknownSubjectError, IdentityRefusedError):
            await self.history.merge(f"msisdn:+3361{one:07d}", f"msisdn:+3361{other:07d}")


def _of_several(event: CheckedEvent) -> bool:
    return event.type.name == "subscription.changed" or "shared_data_mb" in str(event.data)
