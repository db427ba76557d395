"""Short ways to say what tests send."""

import json
from datetime import UTC, datetime, timedelta

from google.protobuf.timestamp_pb2 import Timestamp
from rapport.profile.v1 import profile_pb2
from rapport.types.v1 import event_pb2

NOON = datetime(2026, 11, 2, 12, tzinfo=UTC)
ANNA = "msisdn:+33600000001"


def at(**ago: float) -> datetime:
    return NOON + timedelta(**ago)


def stamp(moment: datetime) -> Timestamp:
    made = Timestamp()
    made.FromDatetime(moment)
    return made


def event(
    event_id: str,
    event_type: str = "topup.received",
    data: object = None,
    *,
    subject: str = ANNA,
    time: datetime | None = NOON,
    source: str = "test",
) -> event_pb2.Event:
    if data is None:
        data = {"amount": {"amount": "10.00", "currency": "EUR"}}
    return event_pb2.Event(
        id=event_id,
        source=source,
        type=event_type,
        subject=subject,
        time=None if time is None else stamp(time),
        data=data if isinstance(data, bytes) else json.dumps(data).encode(),
    )


def ingest(*events: event_pb2.Event, history: bool = False) -> profile_pb2.IngestEventsRequest:
    return profile_pb2.IngestEventsRequest(events=events, history=history)


def traits(
    event_id: str, until: str = "", subject: str = ANNA, time: datetime = NOON, **values
) -> event_pb2.Event:
    data = {"traits": values} | ({"until": until} if until else {})
    return event(event_id, "profile.updated", data, subject=subject, time=time)
