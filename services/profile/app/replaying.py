"""The past as it was, some customers at a time: each page is read in a transaction of its own."""

import asyncio
from collections import Counter
from collections.abc import AsyncGenerator, Callable, Collection, Sequence
from dataclasses import dataclass, field
from typing import Any, Final

from services.profile.app.folding import Folding, LeftOut, Rereading, ThingsThen, Told
from services.profile.app.ports import TakenEvent, ThingKey
from services.profile.app.replaying_ports import PastPacker, PastStore, PastWork
from services.profile.domain.customer import PROFILE_UPDATED, trait_updates
from services.profile.domain.events import CheckedEvent
from services.profile.domain.replaying import LeftOutReason, Wanted
from services.vocabulary.catalogue import Catalogue

_CUSTOMERS: Final = 500
"""A page has so many customers at most."""
_LAST: Final = "last_"
_NOTHING: Final = Wanted(0, 0, frozenset())


@dataclass(frozen=True, slots=True)
class Share:
    """Which customers: those whose id modulo `shards` is `shard`, of them `sample` in ten thousand (0: all).

    `after`: only those behind this one.
    """

    shard: int = 0
    shards: int = 1
    sample: int = 0
    after: int = 0

    def has(self, customer: int) -> bool:
        """Whether a customer is in the sample."""
        # a multiplicative hash: ids that follow each other are spread, and a larger sample holds a smaller
        return (
            not self.sample or (customer * 0x9E3779B97F4A7C15 & (1 << 64) - 1) >> 32 < self.sample * 429_497
        )


@dataclass(frozen=True, slots=True)
class Then:
    """What was known of a customer at a time; an empty snapshot: nothing was."""

    customer: int
    snapshot: bytes
    complete_since_micros: int = 0


@dataclass(frozen=True, slots=True)
class Past:
    """Some events of one customer's past, packed as on EVENTS. `customer` is who it is today."""

    customer: int
    payload: bytes
    events: int
    complete_since_micros: int = 0


@dataclass(slots=True)
class Page:
    """The pasts of some customers (`roots`). `done` counts those outside of the sample too.

    `position`: the last customer; 0: these were asked for by name.
    """

    roots: list[int] = field(default_factory=list)
    pasts: list[Past] = field(default_factory=list)
    done: int = 0
    events_read: int = 0
    left_out: LeftOut = field(default_factory=Counter)
    position: int = 0


class Replaying:
    """Reads only. `loads` reads JSON, and raises ValueError.

    `page_events`: so many events, or those of one customer, are in memory at once.
    """

    def __init__(
        self,
        store: PastStore,
        catalogue: Catalogue,
        packer: PastPacker,
        loads: Callable[[bytes], Any],
        *,
        page_events: int = 2_000,
    ) -> None:
        self._page_events = page_events
        self._store = store
        self._catalogue = catalogue
        self._packer = packer
        self._reread = Rereading(catalogue, loads)
        self._with_things = frozenset(
            name
            for name, known in catalogue.events.items()
            if name == PROFILE_UPDATED
            or not catalogue.things.keys().isdisjoint(known.fields)
            or any(trait.startswith(_LAST) for trait in known.sets_traits)
        )

    async def count(self, share: Share) -> tuple[int, int]:
        """How many customers a share has, all of them where it is a sample; and how many were erased."""
        async with self._store.work() as work:
            return await work.count_roots(share.after, share.shard, share.shards), await work.count_erased()

    async def pages(self, share: Share, wanted: Wanted) -> AsyncGenerator[Page]:
        """All customers of a share in the order of their ids."""
        after: int | None = share.after
        while after is not None:
            async with self._store.work() as work:
                page, following = await self._next(work, share, after)
                folding = await self._folding(work, page.roots)
            await self._fold(page, folding, wanted)
            after = following
            yield page

    async def of_customers(self, customers: Collection[int], wanted: Wanted) -> Page:
        """These customers; unknown ones are left out."""
        async with self._store.work() as work:
            roots = sorted(set((await work.roots_of(customers)).values()))
            folding = await self._folding(work, roots)
        page = Page(roots, done=len(roots))
        await self._fold(page, folding, wanted)
        return page

    async def moments(self, asked: Sequence[tuple[int, int]]) -> list[Then]:
        """What was known of customers, each at a time; in the order asked."""
        async with self._store.work() as work:
            roots = await work.roots_of({customer for customer, _ in asked})
            folding = await self._folding(work, sorted(set(roots.values())))
        who = [folding.who(customer, moment) for customer, moment in asked]
        times: dict[int, list[int]] = {}
        for customer, (_, moment) in zip(who, asked, strict=True):
            times.setdefault(customer, []).append(moment)
        told: dict[int, Told] = {}
        for root in set(roots.values()):
            told[root] = folding.fold(root, _NOTHING, times)
            await asyncio.sleep(0)
        found: list[Then] = []
        for customer, (number, moment) in zip(who, asked, strict=True):
            of = told.get(roots.get(number, 0), Told())
            found.append(Then(customer, of.moments.get((customer, moment), b""), of.complete_since_micros))
        return found

    async def things(self, wanted: Wanted) -> list[bytes]:
        """Events about things, each with the thing as it stood then, packed as on EVENTS."""
        async with self._store.work() as work:
            rows = await work.thing_events(
                wanted.types | wanted.bare, wanted.since_micros, wanted.until_micros
            )
            keys = {key for row in rows if (key := _thing_of(self._reread.event(row))) is not None}
            things = await self._things_then(work, keys)
        found: list[TakenEvent] = []
        for row in rows:
            event = self._reread.event(row)
            key = _thing_of(event)
            if isinstance(event, CheckedEvent) and key is not None:
                state = things.after(key, row.sequence)
                found.append(TakenEvent(event, 0, row.sequence, "", row.accepted_micros, things=(state,)))
        return [payload for _, payload in self._packer.batches(found)]

    async def _next(self, work: PastWork, share: Share, after: int) -> tuple[Page, int | None]:
        """The next customers, and behind which one it goes on; None: nowhere."""
        found = await work.roots(after, share.shard, share.shards, _CUSTOMERS)
        roots: list[int] = []
        events = 0
        for done, (customer, sequence) in enumerate(found):
            if not share.has(customer):
                continue
            if roots and events + sequence > self._page_events:
                last = found[done - 1][0]
                return Page(roots, done=done, position=last), last
            roots.append(customer)
            events += sequence
        last = found[-1][0] if found else after
        return Page(roots, done=len(found), position=last), last if len(found) == _CUSTOMERS else None

    async def _folding(self, work: PastWork, roots: Collection[int]) -> Folding:
        """All that is kept of these customers, read again."""
        lives = await work.lives(roots) if roots else {}
        keys: set[ThingKey] = set()
        for life in lives.values():
            for row in life.rows:
                row.read = self._reread.event(row)
                if row.type in self._with_things and isinstance(row.read, CheckedEvent):
                    keys |= things_of(row.read, self._catalogue)
            await asyncio.sleep(0)
        things = await self._things_then(work, keys)
        return Folding(self._catalogue, self._packer, lives, things)

    async def _things_then(self, work: PastWork, keys: Collection[ThingKey]) -> ThingsThen:
        things = ThingsThen()
        for key, rows in (await work.past_things(keys) if keys else {}).items():
            for row in rows:
                row.read = self._reread.event(row)
            things.learn(key, rows)
        return things

    async def _fold(self, page: Page, folding: Folding, wanted: Wanted) -> None:
        for root in page.roots:
            told = folding.fold(root, wanted)
            for events in told.events:
                page.pasts += [
                    Past(root, payload, count, told.complete_since_micros)
                    for count, payload in self._packer.batches(events)
                ]
            await asyncio.sleep(0)
        page.left_out = folding.left_out
        page.events_read = folding.events_read


def things_of(event: CheckedEvent, catalogue: Catalogue) -> set[ThingKey]:
    """The things that an event names, and those at which it says that the customer is."""
    kinds = catalogue.things
    found = {
        (kind, value)
        for kind in kinds.keys() & event.fields.keys()
        if isinstance(value := event.fields[kind], str)
    }
    for update in trait_updates(event, catalogue):
        kind = update.name.removeprefix(_LAST)
        if kind != update.name and kind in kinds and isinstance(update.value, str):
            found.add((kind, update.value))
    return found


def _thing_of(event: CheckedEvent | LeftOutReason) -> ThingKey | None:
    if not isinstance(event, CheckedEvent) or event.thing is None:
        return None
    return event.thing.kind, event.thing.key
