"""Own events as messages of the OUTCOMES stream."""

from collections.abc import Iterator, Sequence

import orjson
from rapport.types.v1 import stream_pb2

from services.channel.domain.outcomes import SOURCE, OwnEvent

MOST_EVENTS = 200
"""In one message: well below the outbox's limit of 256 kB."""


def pack(events: Sequence[OwnEvent], partitions: int) -> Iterator[tuple[int, bytes]]:
    """Partition and payload of each message, the events of a customer in their order."""
    by_partition: dict[int, list[OwnEvent]] = {}
    for event in events:
        by_partition.setdefault(event.customer % partitions, []).append(event)
    for partition, listed in sorted(by_partition.items()):
        for start in range(0, len(listed), MOST_EVENTS):
            batch = stream_pb2.OwnEventBatch(
                events=[_event(event) for event in listed[start : start + MOST_EVENTS]],
            )
            yield partition, batch.SerializeToString()


def _event(event: OwnEvent) -> stream_pb2.OwnEvent:
    return stream_pb2.OwnEvent(
        id=event.event_id,
        source=SOURCE,
        type=event.type,
        time_micros=event.time_micros,
        customer=event.customer,
        data=orjson.dumps(event.fields),
        hops=event.hops,
        line=event.line,
    )
