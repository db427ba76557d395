"""CloudEvents in JSON (one object a line) to and from the events of the protos."""

import datetime as dt
from typing import Any

import orjson
from google.protobuf.timestamp_pb2 import Timestamp
from rapport.types.v1 import event_pb2

TEXT_ATTRIBUTES = ("id", "source", "type", "time")
KNOWN = {*TEXT_ATTRIBUTES, "specversion", "subject", "data", "datacontenttype", "dataschema"}


class LineError(ValueError):
    """A line that is not a CloudEvent; `field` says where, the text what would be right."""

    def __init__(self, field: str, message: str) -> None:
        super().__init__(f"{field}: {message}" if field else message)
        self.field = field
        self.message = message


def event_from_line(line: bytes) -> event_pb2.Event:
    """One line of an event file; raises LineError naming the field and what would be right."""
    try:
        told = orjson.loads(line)
    except orjson.JSONDecodeError as error:
        raise LineError("", f"this is not JSON ({error}); each line holds one CloudEvent object") from None
    if not isinstance(told, dict):
        raise LineError("", f"a line holds one JSON object, not {_kind(told)}")
    for name in TEXT_ATTRIBUTES:
        value = told.get(name)
        if value is None:
            raise LineError(name, "this attribute is missing; a CloudEvent has id, source, type and time")
        if not isinstance(value, str) or not value:
            raise LineError(name, f"this is {_kind(value)}; write a text that is not empty")
    version = told.get("specversion", "1.0")
    if version != "1.0":
        raise LineError("specversion", "only CloudEvents 1.0 is understood")
    subject = told.get("subject", "")
    if isinstance(subject, list) and all(isinstance(part, str) for part in subject):
        subject = " ".join(subject)
    if not isinstance(subject, str):
        raise LineError("subject", f"this is {_kind(subject)}; write kind:value, several separated by spaces")
    fields = told.get("data", {})
    if not isinstance(fields, dict):
        raise LineError("data", f"this is {_kind(fields)}; write an object with the fields of the event type")
    event = event_pb2.Event(
        id=told["id"],
        source=told["source"],
        type=told["type"],
        subject=subject,
        data=orjson.dumps(fields),
        spec_version="1.0",
        data_content_type=told.get("datacontenttype") or "",
        data_schema=told.get("dataschema") or "",
        time=parse_time(told["time"]),
    )
    for name in told.keys() - KNOWN:
        event.extensions[name] = str(told[name])
    return event


def parse_time(text: str) -> Timestamp:
    """An RFC 3339 time; raises LineError when it is none, or has no zone."""
    try:
        moment = dt.datetime.fromisoformat(text)
    except ValueError:
        raise LineError("time", "this is no time; write for example 2026-11-02T08:15:00Z") from None
    if moment.tzinfo is None:
        raise LineError("time", "this has no zone; end it with Z or, for example, +01:00")
    stamp = Timestamp()
    stamp.FromDatetime(moment)
    return stamp


def _kind(value: Any) -> str:
    names = {dict: "an object", list: "a list", str: "a text", bool: "true or false", type(None): "null"}
    return names.get(type(value), "a number")
