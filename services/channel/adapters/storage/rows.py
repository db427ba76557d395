"""Messages as rows and back; the columns and their order are said here once."""

from collections.abc import Callable, Sequence
from typing import Any

import orjson

from services.channel.adapters.storage.sealed import open_wording
from services.channel.domain.messages import Change, Message
from services.runtime.keys import Sealer
from services.vocabulary.words import ActionKind, Category, Channel, MessageState, RefusalReason

FIXED: dict[str, tuple[str, Callable[[Message], Any]]] = {
    "customer": ("bigint", lambda message: message.customer),
    "message_id": ("uuid", lambda message: message.message_id),
    "action_id": ("uuid", lambda message: message.action_id),
    "decision_id": ("text", lambda message: message.decision_id),
    "rule_set": ("text", lambda message: message.rule_set),
    "rule": ("text", lambda message: message.rule),
    "kind": ("text", lambda message: message.kind.value),
    "name": ("text", lambda message: message.name),
    "category": ("text", lambda message: message.category.value),
    "priority": ("int", lambda message: message.priority),
    "hops": ("int", lambda message: message.hops),
    "topic": ("text", lambda message: message.topic),
    "line": ("text", lambda message: message.line),
    "to_payer": ("boolean", lambda message: message.to_payer),
    "accepted_micros": ("bigint", lambda message: message.accepted_micros),
    "expires_micros": ("bigint", lambda message: message.expires_micros),
    "trace": ("text", lambda message: message.trace or None),
    "turn": ("bigint", lambda message: message.turn),
}
"""Columns that never change: their type, and where their value comes from."""

CHANGING: dict[str, tuple[str, Callable[[Message], Any]]] = {
    "state": ("text", lambda message: message.state.value),
    "reason": ("text", lambda message: message.reason.value if message.reason is not None else ""),
    "detail": ("text", lambda message: message.detail),
    "channel": ("text", lambda message: message.channel.value if message.channel is not None else ""),
    "due_micros": ("bigint", lambda message: message.due_micros),
    "retry_wall_micros": ("bigint", lambda message: message.retry_wall_micros),
    "sent_micros": ("bigint", lambda message: message.sent_micros),
    "receipt_micros": ("bigint", lambda message: message.receipt_micros),
    "attempts": ("int", lambda message: message.attempts),
    "resent": ("boolean", lambda message: message.resent),
    "after_micros": ("bigint", lambda message: message.after_micros),
    "escalates_micros": ("bigint", lambda message: message.escalates_micros),
    "ends_micros": ("bigint", lambda message: message.ends_micros),
    "asked_wall_micros": ("bigint", lambda message: message.asked_wall_micros),
    "zone": ("text", lambda message: message.zone),
    "any_hour": ("boolean", lambda message: message.any_hour),
    "in_gap": ("boolean", lambda message: message.in_gap),
    "template": ("text", lambda message: message.template),
    "segments": ("int", lambda message: message.segments),
    "campaign": ("text", lambda message: message.campaign),
    "cost_micros": ("bigint", lambda message: message.cost_micros),
    "recipient": ("bigint", lambda message: message.recipient),
    "household": ("bigint", lambda message: message.household),
    "changes": ("int", lambda message: message.changes),
}
"""Columns that change with the message's state."""

_READ = (*FIXED, *CHANGING)
_WORDING = ("text", "subject", "html", "sender_plain", "address")
COLUMNS = ", ".join(
    [
        *(f"m.{name}::text" if name.endswith("_id") else f"m.{name}" for name in _READ),
        *(f"coalesce(b.{name}, '')" for name in _WORDING),
        "b.sealed",
    ]
)
"""What `read_message` reads, of `message m` and what there is of `message_body b`."""

WIDTH = len(_READ) + len(_WORDING) + 1

_CHANNELS = {"": None, **{channel.value: channel for channel in Channel}}
_REASONS = {"": None, **{reason.value: reason for reason in RefusalReason}}
_STATES = {state.value: state for state in MessageState}
_KINDS = {kind.value: kind for kind in ActionKind}
_CATEGORIES = {category.value: category for category in Category}


def columns_of(
    messages: Sequence[Message],
    columns: dict[str, tuple[str, Callable[[Message], Any]]],
) -> dict[str, list[Any]]:
    """One list per column, to be passed as binary arrays."""
    return {name: [value(message) for message in messages] for name, (_, value) in columns.items()}


def read_message(row: Sequence[Any], sealer: Sealer) -> Message:
    """A message from a row of COLUMNS."""
    values = dict(zip(_READ, row, strict=False))
    values["kind"] = _KINDS[values["kind"]]
    values["category"] = _CATEGORIES[values["category"]]
    values["state"] = _STATES[values["state"]]
    values["reason"] = _REASONS[values["reason"]]
    values["channel"] = _CHANNELS[values["channel"]]
    values["trace"] = values["trace"] or ""
    message = Message(**values)
    message.loaded = tuple(row[len(FIXED) : len(_READ)])
    message.wording = open_wording(sealer, message.message_id, row[len(_READ) : WIDTH])
    return message


def changed_columns(
    messages: Sequence[Message],
) -> tuple[dict[str, list[Any]], dict[str, Any]]:
    """What differs from what is stored: columns with a value for each message, and those with one for all.

    Remembers on the messages what will be stored then.
    """
    each: dict[str, list[Any]] = {}
    same: dict[str, Any] = {}
    columns = columns_of(messages, CHANGING)
    for place, (name, values) in enumerate(columns.items()):
        if all(
            message.loaded and message.loaded[place] == value
            for message, value in zip(messages, values, strict=True)
        ):
            continue
        if values.count(values[0]) == len(values):
            same[name] = values[0]
        else:
            each[name] = values
    for message, loaded in zip(messages, zip(*columns.values(), strict=True), strict=True):
        message.loaded = loaded
    return each, same


def history_lines(message: Message) -> bytes:
    """The new steps of a message, one JSON list a line."""
    return b"".join(
        orjson.dumps(
            [
                change.time_micros,
                change.state.value,
                change.reason.value if change.reason is not None else "",
                change.detail,
            ],
            option=orjson.OPT_APPEND_NEWLINE,
        )
        for change in message.new_changes
    )


def read_history(lines: bytes) -> list[Change]:
    """All steps of a message, oldest first."""
    history = []
    for position, line in enumerate(lines.splitlines(), start=1):
        time_micros, state, reason, detail = orjson.loads(line)
        history.append(Change(position, time_micros, _STATES[state], _REASONS[reason], detail))
    return history
