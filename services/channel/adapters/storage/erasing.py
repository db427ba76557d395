"""Erases a person's rows of the channel's database, in the transaction that it is given."""

from collections.abc import Mapping, Sequence

from rapport.types.v1 import stream_pb2

from services.channel.adapters.storage.personal import PERSONAL
from services.channel.app.erasure import Erasure
from services.channel.domain.outcomes import SOURCE
from services.runtime.database import Transaction
from services.runtime.outbox import Outbox
from services.runtime.personal import ERASURE_FINISHED, erase, finished_data
from services.runtime.streams import OUTCOMES
from services.vocabulary.ids import own_event_id, partition_of

_OPEN = """
    SELECT customer, message_id::text FROM message
    WHERE (customer = ANY(%(people)s::bigint[]) OR recipient = ANY(%(people)s::bigint[]) AND recipient <> 0)
        AND state IN ('accepted', 'deferred', 'planned', 'quarantined')
    ORDER BY customer, message_id
"""


class PostgresErasing:
    """The port ErasingRows on PostgreSQL."""

    def __init__(self, outbox: Outbox, partitions: int) -> None:
        self._outbox = outbox
        self._partitions = partitions

    async def open_messages(self, raw: Transaction, customers: Sequence[int]) -> list[tuple[int, str]]:
        """Keys of messages that are still to be said, in order."""
        return [
            (customer, message) for customer, message in await raw.rows(_OPEN, {"people": list(customers)})
        ]

    async def erase(self, raw: Transaction, erasure: Erasure) -> dict[str, int]:
        """Deletes or empties all rows of the person and marks the ids; rows by table."""
        await raw.execute(
            "UPDATE customer_gate SET erased_micros = %s WHERE customer = ANY(%s::bigint[])",
            (erasure.erased_micros, list(erasure.people)),
        )
        return await erase(
            raw,
            PERSONAL,
            {
                "customers": list(erasure.people),
                "channels": [channel.value for channel, _ in erasure.addresses],
                "lookups": [lookup for _, lookup in erasure.addresses],
            },
        )

    async def finished(
        self, raw: Transaction, erasure: Erasure, rows: Mapping[str, int], now_micros: int
    ) -> None:
        """Tells the profile service what was done."""
        event = stream_pb2.OwnEvent(
            id=own_event_id(ERASURE_FINISHED, SOURCE, erasure.key),
            source=SOURCE,
            type=ERASURE_FINISHED,
            time_micros=now_micros,
            customer=erasure.customer,
            data=finished_data(erasure.erasure_id, SOURCE, rows),
        )
        batch = stream_pb2.OwnEventBatch(events=[event])
        partition = partition_of(erasure.customer, self._partitions)
        await self._outbox.put(raw, OUTCOMES, [(partition, batch.SerializeToString())])
