"""When a snapshot is cut while the events of a batch are applied: for live events and for replayed ones."""

from collections.abc import Collection, Mapping
from dataclasses import dataclass, field

from services.profile.app.ports import Packer, TakenEvent, ThingKey
from services.profile.domain.activity import SLACK_MICROS
from services.profile.domain.customer import Customer
from services.profile.domain.events import CheckedEvent
from services.profile.domain.things import ThingState
from services.vocabulary.catalogue import Catalogue


@dataclass(slots=True)
class _Pending:
    """Events of one customer that wait for a snapshot, since the oldest of their times."""

    customer: Customer
    events: list[TakenEvent] = field(default_factory=list)
    since_micros: int = 0


class Cutting:
    """Events of one batch that wait for their snapshots; `now_micros` is business time.

    Events of one customer share a snapshot as long as nothing but activity is added.
    """

    def __init__(
        self, catalogue: Catalogue, packer: Packer, things: Mapping[ThingKey, ThingState], now_micros: int
    ) -> None:
        self.things = things
        self._catalogue = catalogue
        self._packer = packer
        self._now = now_micros
        self._pending: dict[int, _Pending] = {}

    def before(self, customer: Customer, event: CheckedEvent) -> None:
        """An event is about to be applied; what it changes must not be in snapshots of those before."""
        pending = self._pending.get(customer.id)
        if pending is not None and (
            event.time_micros - pending.since_micros > SLACK_MICROS
            or customer.changes_facts(event, self._catalogue)
            or self._packer.has_ends(customer)
        ):
            self._cut(self._pending.pop(customer.id))

    def cut(self, customers: Collection[int]) -> None:
        """What waits of these customers is told now."""
        for customer in customers:
            if customer in self._pending:
                self._cut(self._pending.pop(customer))

    def cut_all(self) -> None:
        """All that waits is told now."""
        for pending in self._pending.values():
            self._cut(pending)
        self._pending.clear()

    def wait(self, customer: Customer, taken: TakenEvent) -> None:
        """An event that was just applied waits for its snapshot."""
        time_micros = taken.event.time_micros
        pending = self._pending.get(customer.id)
        if pending is None:
            pending = self._pending[customer.id] = _Pending(customer, since_micros=time_micros)
        pending.events.append(taken)
        pending.since_micros = min(pending.since_micros, time_micros)

    def _cut(self, pending: _Pending) -> None:
        time_micros = max(taken.event.time_micros for taken in pending.events)
        snapshot = self._packer.snapshot(pending.customer, self.things, time_micros, self._now)
        for taken in pending.events:
            taken.snapshot = snapshot
