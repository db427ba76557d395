"""Takes our own events from OUTCOMES: what the other services did comes back as events of the customer."""

from collections.abc import Callable, Sequence
from dataclasses import dataclass, field

from rapport.types.v1 import event_pb2, stream_pb2

from services.profile.app.changes import Changes
from services.profile.app.erasure import ErasingWork, Erasures
from services.profile.app.ports import ProfileStore, TakenEvent, Work
from services.profile.app.take_events import ACCEPTED, EventTaker
from services.profile.domain.errors import InvalidRequestError, ProfileError, RejectedError, RejectionReason
from services.profile.domain.events import CheckedEvent, EventChecker, RawEvent
from services.profile.entrypoints.translation import own_batch, raw_event, raw_own_event, wire_event
from services.runtime.clock import Clock
from services.runtime.consumer import Delivery, take_messages
from services.runtime.database import Database, Transaction
from services.runtime.dead_letters import DeadLetters
from services.runtime.errors import NotFoundError
from services.runtime.metrics import INGEST_REFUSED
from services.runtime.personal import ERASURE_FINISHED
from services.vocabulary.identities import parse_thing

OWN_EVENT = "own_event"
EVENT = "event"


@dataclass(slots=True)
class _Items:
    """The items of some messages: those that fit the catalogue, and those that do not, with the reason.

    `erasures`: what other services did of them.
    """

    events: list[tuple[CheckedEvent, stream_pb2.OwnEvent]] = field(default_factory=list)
    wrong: list[tuple[stream_pb2.OwnEvent, RejectedError]] = field(default_factory=list)
    again: list[tuple[TakenEvent, stream_pb2.TakenEvent]] = field(default_factory=list)
    erasures: list[CheckedEvent] = field(default_factory=list)


class SetAside:
    """Keeps what failed alone, and takes it again when someone says so."""

    def __init__(self, store: ProfileStore, taker: EventTaker, checker: EventChecker, clock: Clock) -> None:
        self._store = store
        self._taker = taker
        self._checker = checker
        self._clock = clock
        self.dead_letters: DeadLetters | None = None

    async def own(self, transaction: Transaction, event: stream_pb2.OwnEvent, reason: str) -> None:
        """Set an event of our own aside."""
        await self._letters.add(
            transaction,
            kind=OWN_EVENT,
            item_id=event.id,
            item_type=event.type,
            customer=event.customer,
            payload=event.SerializeToString(),
            reason=reason,
        )

    async def ingested(self, transaction: Transaction, event: CheckedEvent, error: Exception) -> None:
        """Set an event of a caller aside."""
        await self._letters.add(
            transaction,
            kind=EVENT,
            item_id=event.id,
            item_type=event.type.name,
            customer=event.customer,
            payload=wire_event(event).SerializeToString(),
            reason=describe(error),
        )

    async def take_again(self, transaction: Transaction, kind: str, payload: bytes) -> None:
        """Take an item that was set aside as if it were new; an error leaves it where it is."""
        now = self._clock.now_micros()
        if kind == OWN_EVENT:
            own = stream_pb2.OwnEvent.FromString(payload)
            # the chain ends here: someone looked at it, and it may go on
            checked = self._checker.check_own(raw_own_event(own), own.customer, now, hops=0, line=own.line)
        elif kind == EVENT:
            checked = self._checker.check(raw_event(event_pb2.Event.FromString(payload)), now)
        else:
            raise NotFoundError(f"a dead letter of kind {kind!r} is none of the profile's")
        work = self._store.join(transaction)
        (outcome,) = await self._taker.take(work, [checked], now)
        if isinstance(outcome, RejectedError):
            raise outcome
        if outcome is ACCEPTED:
            await work.count({"events.own" if kind == OWN_EVENT else "events.accepted": 1})

    @property
    def _letters(self) -> DeadLetters:
        assert self.dead_letters is not None, "set when the role is put together"
        return self.dead_letters


class OutcomesHandler:
    """What a worker does with messages of OUTCOMES."""

    def __init__(
        self,
        *,
        database: Database,
        store: ProfileStore,
        taker: EventTaker,
        checker: EventChecker,
        changes: Changes,
        erasures: Erasures,
        erasing: Callable[[Transaction], ErasingWork],
        set_aside: SetAside,
        clock: Clock,
    ) -> None:
        self._database = database
        self._store = store
        self._taker = taker
        self._checker = checker
        self._changes = changes
        self._erasures = erasures
        self._erasing = erasing
        self._set_aside = set_aside
        self._clock = clock

    def count(self, payload: bytes) -> int:
        """How many items a message holds."""
        try:
            batch = own_batch(payload)
        except InvalidRequestError:
            return 1
        return len(batch.events) + len(batch.handed_again)

    async def handle(self, deliveries: Sequence[Delivery]) -> None:
        """All messages in one transaction."""
        batches = {delivery.key: own_batch(delivery.payload) for delivery in deliveries}
        async with self._database.transaction() as transaction:
            new = await take_messages(transaction, list(batches))
            items = _Items()
            for key, batch in batches.items():
                if key in new:
                    self._read(batch, items)
            await self._take(transaction, items)

    async def handle_singly(self, delivery: Delivery) -> None:
        """One message, each item in a savepoint; what fails is set aside."""
        async with self._database.transaction() as transaction:
            if not await take_messages(transaction, [delivery.key]):
                return
            try:
                batch = own_batch(delivery.payload)
            except InvalidRequestError as error:
                broken = stream_pb2.OwnEvent(id=delivery.key, data=delivery.payload)
                await self._set_aside.own(transaction, broken, describe(error))
                return
            parts = [stream_pb2.OwnEventBatch(events=[event]) for event in batch.events]
            parts += [stream_pb2.OwnEventBatch(handed_again=[event]) for event in batch.handed_again]
            for part in parts:
                await self._take_one(transaction, part)

    async def _take_one(self, transaction: Transaction, part: stream_pb2.OwnEventBatch) -> None:
        items = _Items()
        try:
            async with transaction.savepoint():
                self._read(part, items)
                await self._take(transaction, items)
        except Exception as error:
            if self._store.is_away(error):
                raise
            for event in part.events:
                await self._set_aside.own(transaction, event, describe(error))
            for taken in part.handed_again:
                await self._lose_again(transaction, taken, describe(error))

    def _read(self, batch: stream_pb2.OwnEventBatch, items: _Items) -> None:
        now = self._clock.now_micros()
        for event in batch.events:
            try:
                checked = self._checker.check_own(
                    raw_own_event(event), event.customer, now, hops=event.hops, line=event.line
                )
            except RejectedError as error:
                items.wrong.append((event, error))
            else:
                if checked.type.name == ERASURE_FINISHED:
                    items.erasures.append(checked)
                else:
                    items.events.append((checked, event))
        for taken in batch.handed_again:
            items.again.append((self._checker_of_taken(taken), taken))

    def _checker_of_taken(self, taken: stream_pb2.TakenEvent) -> TakenEvent:
        raw = RawEvent(taken.id, taken.source, taken.type, taken.time_micros, "", taken.data)
        checked = self._checker.check_own(
            raw, taken.customer, taken.accepted_micros, hops=0, line=taken.line, taken=True
        )
        checked.hops = taken.hops
        checked.history = taken.history
        checked.via = taken.via
        if taken.thing:
            checked.thing = parse_thing(taken.thing, self._checker.catalogue.things)
        return TakenEvent(checked, taken.customer, taken.sequence, taken.line, taken.accepted_micros)

    async def _take(self, transaction: Transaction, items: _Items) -> None:
        work = self._store.join(transaction)
        now = self._clock.now_micros()
        for event, error in items.wrong:
            await self._set_aside.own(transaction, event, error.text)
        if items.events:
            outcomes = await self._taker.take(work, [checked for checked, _ in items.events], now)
            erased = 0
            for (_, event), outcome in zip(items.events, outcomes, strict=True):
                if isinstance(outcome, RejectedError):
                    if outcome.reason is RejectionReason.ERASED:
                        erased += 1
                    else:
                        await self._set_aside.own(transaction, event, outcome.text)
            accepted = sum(1 for outcome in outcomes if outcome is ACCEPTED)
            await work.count({"events.own": accepted, "events.erased": erased})
            INGEST_REFUSED.labels(RejectionReason.ERASED.name).inc(erased)
        for checked in items.erasures:
            await self._erasures.finished(self._erasing(transaction), checked)
        if items.again:
            await self._hand_again(transaction, work, items, now)

    async def _hand_again(self, transaction: Transaction, work: Work, items: _Items, now: int) -> None:
        handed = await self._changes.hand_again(work, [item for item, _ in items.again], now)
        await work.hand_on(handed)
        kept = {id(item) for item in handed}
        lost = [(item, event) for item, event in items.again if id(item) not in kept]
        erased = await work.erased_customers({item.customer for item, _ in lost}) if lost else set()
        for item, event in lost:
            if item.customer not in erased:
                await self._lose_again(transaction, event, "customer is unknown")
        if erased:
            await work.count({"events.erased": sum(item.customer in erased for item, _ in lost)})

    async def _lose_again(self, transaction: Transaction, event: stream_pb2.TakenEvent, reason: str) -> None:
        own = stream_pb2.OwnEvent(
            id=event.id,
            source=event.source,
            type=event.type,
            time_micros=event.time_micros,
            customer=event.customer,
            data=event.data,
            line=event.line,
        )
        await self._set_aside.own(transaction, own, f"handed again: {reason}")


def describe(error: Exception) -> str:
    """A failure in words that hold nothing of the item."""
    if isinstance(error, RejectedError):
        return error.text
    if isinstance(error, ProfileError):
        return error.message
    return f"{RejectionReason.MALFORMED.value}: {type(error).__name__}"
