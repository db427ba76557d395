"""Makes customers' pasts anew from what is kept, by the code that takes live events; nothing is written."""

from bisect import bisect_right
from collections import Counter, deque
from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Any, Final

from services.profile.app.cutting import Cutting
from services.profile.app.ports import TakenEvent, ThingKey
from services.profile.app.replaying_ports import PastPacker
from services.profile.app.who_is_who import MERGED, SEPARATED
from services.profile.domain.accounts import ACCOUNT_EVENTS
from services.profile.domain.customer import Customer, Record
from services.profile.domain.events import CONSENT_CHANGED, CheckedEvent
from services.profile.domain.merges import Merge
from services.profile.domain.merging import join
from services.profile.domain.replaying import (
    FOREVER,
    HomeRow,
    KeptRow,
    LeftOutReason,
    Life,
    Wanted,
    batches,
)
from services.profile.domain.things import ThingState
from services.vocabulary.catalogue import Catalogue
from services.vocabulary.identities import Identity, parse_thing
from services.vocabulary.ids import own_event_id
from services.vocabulary.values import FieldError

if TYPE_CHECKING:
    from services.profile.domain.consent import Consent
    from services.profile.domain.ledger import Entry

_WITHOUT_THINGS: Final = frozenset({MERGED, SEPARATED})
"""They are told with the merge itself, which looks at no things."""

LeftOut = Counter[tuple[str, LeftOutReason]]


@dataclass(slots=True)
class Told:
    """What came of one customer's past: the events wanted under each id, in order, those merged away first.

    `moments`: snapshots that were asked for by id and time; empty ones where nothing was known.
    `complete_since_micros` 0: all is kept.
    """

    events: list[list[TakenEvent]] = field(default_factory=list)
    moments: dict[tuple[int, int], bytes] = field(default_factory=dict)
    complete_since_micros: int = 0


class Rereading:
    """Reads kept events as they were read when they were taken. `loads` reads JSON, and raises ValueError."""

    def __init__(self, catalogue: Catalogue, loads: Callable[[bytes], Any]) -> None:
        self._catalogue = catalogue
        self._loads = loads

    def event(self, row: KeptRow) -> CheckedEvent | LeftOutReason:
        """The event, or why it cannot be read any more."""
        event_type = self._catalogue.events.get(row.type)
        if event_type is None:
            return LeftOutReason.UNKNOWN_TYPE
        try:
            fields = event_type.coerce(self._loads(row.data))
            thing = parse_thing(row.thing, self._catalogue.things) if row.thing else None
        except (FieldError, ValueError, AttributeError):
            return LeftOutReason.DOES_NOT_FIT
        return CheckedEvent(
            row.event_id,
            row.source,
            event_type,
            row.time_micros,
            row.data,
            fields,
            thing=thing,
            customer=row.customer,
            line=row.line,
            hops=row.hops,
            history=row.history,
            via=row.via,
        )


class ThingsThen(Mapping[ThingKey, ThingState]):
    """Things as they stood at a time of acceptance; of one that nothing is known of, an empty one."""

    def __init__(self) -> None:
        self.now_micros = 0
        self._past: dict[ThingKey, tuple[list[int], list[ThingState]]] = {}

    def learn(self, key: ThingKey, rows: Iterable[KeptRow]) -> None:
        """What happened to a thing."""
        thing = ThingState(*key)
        times, states = self._past[key] = ([0], [thing.copy()])
        for row in rows:
            if isinstance(row.read, CheckedEvent):
                thing.sequence = row.sequence - 1
                thing.apply(row.read.type, row.read.fields, row.time_micros)
                times.append(row.accepted_micros)
                states.append(thing.copy())

    def after(self, key: ThingKey, event: int) -> ThingState:
        """The state after an event, by its sequence."""
        states = self._past.get(key, ((), ()))[1]
        return next((state for state in states if state.sequence == event), ThingState(*key, sequence=event))

    def __contains__(self, key: object) -> bool:
        return key in self._past

    def __getitem__(self, key: ThingKey) -> ThingState:
        """The state then."""
        times, states = self._past.get(key, ((), ()))
        place = bisect_right(times, self.now_micros)
        return states[place - 1] if place else ThingState(*key)

    def __iter__(self) -> Iterator[ThingKey]:
        return iter(self._past)

    def __len__(self) -> int:
        return len(self._past)


class _Course:
    """What of one id's past is still to come, besides its events."""

    def __init__(self, life: Life, moments: Iterable[int]) -> None:
        self.life = life
        self.moments = deque(sorted(moments))
        self.joins: deque[Merge] = deque(life.joined)
        said = {(row.source, row.event_id) for row in life.rows if row.type == CONSENT_CHANGED}
        self.by_event: dict[tuple[str, str], list[Consent]] = {}
        self.untold: deque[Entry] = deque()
        for entry in life.ledger:
            key = (entry.source, entry.event_id)
            if key in said:
                self.by_event.setdefault(key, []).append(entry.consent)
            else:
                self.untold.append(entry)
        self.to_take_back: list[KeptRow] = []
        self.identities: list[tuple[Identity, str]] = []
        self.kinds: tuple[str, ...] | None = None
        self.came: list[str] = []
        self.home_rows = deque(life.homes)
        self.homes: dict[int, HomeRow] = {}


class Folding:
    """Customers, each with all that were merged into them.

    `left_out` counts what could not be replayed, `events_read` all that was kept.
    """

    def __init__(
        self, catalogue: Catalogue, packer: PastPacker, lives: Mapping[int, Life], things: ThingsThen
    ) -> None:
        self._catalogue = catalogue
        self._packer = packer
        self._lives = lives
        self._things = things
        self._named = {
            name: tuple(catalogue.things.keys() & event_type.fields.keys())
            for name, event_type in catalogue.events.items()
        }
        self.left_out: LeftOut = Counter()
        self.events_read = sum(len(life.rows) for life in lives.values())
        self._told = Told()
        self._wanted = Wanted(0, 0, frozenset())
        self._moments: Mapping[int, Sequence[int]] = {}

    def fold(self, root: int, wanted: Wanted, moments: Mapping[int, Sequence[int]] | None = None) -> Told:
        """Everything of one customer; `moments`: for which times, by id, snapshots are asked for."""
        self._told, self._wanted, self._moments = Told(), wanted, moments or {}
        self._life(self._lives[root])
        return self._told

    def who(self, customer: int, time_micros: int) -> int:
        """Who a customer was at a time: the same, or whom they had been merged into by then."""
        life = self._lives.get(customer)
        while life is not None and life.merged is not None and life.merged.time_micros <= time_micros:
            customer = life.merged.into_customer
            life = self._lives.get(customer)
        return customer

    def _life(self, life: Life) -> Customer:
        """One id's past, to its end or to the merge that ended it."""
        course = _Course(life, self._moments.get(life.customer, ()))
        customer = self._packer.nobody(life.customer)
        customer.replace_record(Record())
        course.identities = _own_identities(life, self._lives)
        told: list[TakenEvent] = []
        end = "" if life.merged is None else own_event_id(MERGED, life.merged.id, life.customer)
        self._torn(life.torn_micros)
        for batch in batches(life.rows):
            accepted, first = batch[0].accepted_micros, batch[0]
            self._tell_moments(course, customer, accepted)
            if end and first.event_id == end:
                self._tell_end(first, told)
                break
            self._happen_beside(course, customer, accepted)
            while course.joins and course.joins[0].into_sequence < first.sequence:
                self._join(course, customer, course.joins.popleft())
            _show_kinds(course, customer, life.kinds.at(first.sequence))
            self._at_home(course, customer, accepted, first.written)
            if first.type in _WITHOUT_THINGS:
                self._at_home(course, customer, accepted)
            self._batch(course, customer, batch, told)
            self._packer.settle(customer)
        else:
            self._tell_moments(course, customer, FOREVER)
        customer.record.identities = course.identities
        if told:
            self._told.events.append(told)
        return customer

    def _torn(self, micros: int) -> None:
        self._told.complete_since_micros = max(self._told.complete_since_micros, micros)

    def _tell_moments(self, course: _Course, customer: Customer, before_micros: int) -> None:
        """Snapshots of the times before the next events."""
        while course.moments and course.moments[0] < before_micros:
            moment = course.moments.popleft()
            self._happen_beside(course, customer, moment)
            _show_kinds(course, customer, course.life.kinds.at(customer.sequence))
            self._at_home(course, customer, moment)
            self._things.now_micros = moment
            self._told.moments[customer.id, moment] = (
                self._packer.snapshot(customer, self._things, moment, moment) if customer.sequence else b""
            )

    def _happen_beside(self, course: _Course, customer: Customer, now_micros: int) -> None:
        """What happened until then that is no event: lines of the ledger, events taken back."""
        while course.untold and course.untold[0].recorded_micros <= now_micros:
            customer.add_consent(course.untold.popleft().consent)
        for row in [row for row in course.to_take_back if row.retracted_micros <= now_micros]:
            course.to_take_back.remove(row)
            event = row.read
            if (
                isinstance(event, CheckedEvent)
                and customer.take_back(event, row.sequence, self._catalogue) is not None
            ):
                self._packer.touched(customer, row.type)

    def _at_home(
        self, course: _Course, customer: Customer, now_micros: int, before: bytes | None = None
    ) -> None:
        """Have the customer belong to the household of then; `before`: as a transaction found it."""
        rows = course.home_rows
        moved = False
        while rows and rows[0].accepted_micros <= now_micros and rows[0].written != before:
            row = rows.popleft()
            course.homes[row.home.id] = row
            moved = True
        if not moved:
            return
        mine = [row for row in course.homes.values() if customer.id in row.members]
        if not mine:
            customer.leave_home()
            return
        home = max(mine, key=lambda row: row.accepted_micros).home.copy()
        if customer.home is None or customer.home.id != home.id:
            customer.enter(home, self._catalogue)
        customer.home = home

    def _join(self, course: _Course, customer: Customer, merge: Merge) -> None:
        life = self._lives.get(merge.from_customer)
        if life is None:
            self._torn(merge.time_micros)
            return
        other = self._life(life)
        customer.sequence = merge.into_sequence
        customer.record.identities, course.kinds = course.identities, None
        before = set(customer.activity)
        join(customer, other, self._catalogue)
        course.came = [name for name in customer.activity if name not in before]
        course.identities = customer.record.identities
        for name in customer.activity:
            self._packer.touched(customer, name)

    def _tell_end(self, row: KeptRow, told: list[TakenEvent]) -> None:
        """An id's last event, which says whose it is from now on; it goes out bare."""
        if isinstance(row.read, CheckedEvent) and self._wanted.wants(row):
            told.append(TakenEvent(row.read, row.customer, row.sequence, row.line, row.accepted_micros))

    def _batch(
        self, course: _Course, customer: Customer, batch: Sequence[KeptRow], told: list[TakenEvent]
    ) -> None:
        """Events that were taken together."""
        now = self._things.now_micros = batch[0].accepted_micros
        cutting: Cutting | None = None
        if any(map(self._wanted.wants, batch)):
            things = {} if batch[0].type in _WITHOUT_THINGS else self._things
            cutting = Cutting(self._catalogue, self._packer, things, now)
        for row in batch:
            if row.sequence > customer.sequence + 1:
                self._torn(now)
            event = row.read
            if not isinstance(event, CheckedEvent):
                self.left_out[row.type, event] += 1
                customer.sequence = row.sequence
                continue
            if cutting is not None:
                if row.type in ACCOUNT_EVENTS:
                    cutting.cut_all()
                cutting.before(customer, event)
            if row.type == CONSENT_CHANGED:
                event.entries = tuple(course.by_event.pop((row.source, row.event_id), ()))
            customer.sequence = row.sequence - 1
            customer.apply(event, self._catalogue)
            for name in course.came:
                # a live customer has what came by a merge behind the type of the event that tells of it
                customer.activity[name] = customer.activity.pop(name)
            course.came = []
            if row.type in ACCOUNT_EVENTS:
                self._at_home(course, customer, now)
            self._packer.touched(customer, row.type)
            if row.retracted_micros:
                self.left_out[row.type, LeftOutReason.RETRACTED] += 1
                course.to_take_back.append(row)
            if cutting is not None:
                self._tell(cutting, customer, row, event, told)
        if cutting is not None:
            cutting.cut_all()

    def _tell(
        self,
        cutting: Cutting,
        customer: Customer,
        row: KeptRow,
        event: CheckedEvent,
        told: list[TakenEvent],
    ) -> None:
        """Hand an event on, if it is wanted; others wait for snapshots with it, as they did then."""
        listened = row.type in self._wanted.types and not row.history
        wanted = not row.retracted_micros and self._wanted.wants(row)
        if not (listened or wanted):
            return
        things = tuple(
            self._things[kind, value].copy()
            for kind in self._named[row.type]
            if isinstance(value := event.fields.get(kind), str)
        )
        taken = TakenEvent(event, customer.id, row.sequence, row.line, row.accepted_micros, things=things)
        if wanted:
            told.append(taken)
        if listened:
            cutting.wait(customer, taken)


def _own_identities(life: Life, lives: Mapping[int, Life]) -> list[tuple[Identity, str]]:
    """Those of today that did not come by merges."""
    theirs = {
        identity
        for merge in life.joined
        if merge.from_customer in lives
        for identity, _ in lives[merge.from_customer].identities
    }
    return [held for held in life.identities if held[0] not in theirs]


def _show_kinds(course: _Course, customer: Customer, kinds: tuple[str, ...] | None) -> None:
    """Have identities of the kinds known then, or all of today's where that was not remembered."""
    if kinds is not None and kinds is course.kinds:
        return
    course.kinds = kinds
    customer.record.identities = (
        course.identities if kinds is None else [(Identity(kind, ""), "") for kind in kinds]
    )
    customer.record_changed = True
