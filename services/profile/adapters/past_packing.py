"""Customers and snapshots of the past, in the form that they had between two batches."""

from collections.abc import Sequence

from services.profile.adapters.packing import Kept, pack_hot
from services.profile.adapters.snapshots import OpenBatch, SnapshotPacker
from services.profile.app.ports import TakenEvent
from services.profile.domain.customer import Customer


class PastSnapshots(SnapshotPacker):
    """Implements the port `PastPacker`."""

    def nobody(self, customer: int) -> Customer:
        """A customer of whom nothing happened yet."""
        return Customer(customer, 0, Kept(b"", b"", customer, self._types.sealer))

    def settled(self, customer: Customer) -> Customer:
        """The customer as they would be read after a batch was written."""
        hot = pack_hot(customer, self._types)
        after = Customer(customer.id, customer.sequence, Kept(hot, b"", customer.id, self._types.sealer))
        after.replace_record(customer.record)
        return after

    def batches(self, taken: Sequence[TakenEvent]) -> list[tuple[int, bytes]]:
        """The events in order as messages for EVENTS, each with the number of its events."""
        found: list[tuple[int, bytes]] = []
        batch = OpenBatch()
        for item in taken:
            if batch.message.events and not batch.has_room(item):
                found.append((len(batch.message.events), batch.message.SerializeToString()))
                batch = OpenBatch()
            batch.add(item, self._types)
        if batch.message.events:
            found.append((len(batch.message.events), batch.message.SerializeToString()))
        return found
