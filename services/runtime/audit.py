"""Who changed what of rules, consent and configuration, when, from what to what: a log that only grows."""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any

import orjson

from services.runtime.caller import current_caller
from services.runtime.database import Transaction

State = Mapping[str, Any]
_ADD = """
    INSERT INTO audit_entry (actor, action, target, before, after, request_id)
    SELECT actor, action, target, before::jsonb, after::jsonb, %(request_id)s
    FROM unnest(%(actors)s::text[], %(actions)s::text[], %(targets)s::text[], %(befores)s::text[],
        %(afters)s::text[]) WITH ORDINALITY AS added (actor, action, target, before, after, position)
    ORDER BY position
"""
_COLUMNS = (
    "id, (extract(epoch FROM time) * 1000000)::bigint, actor, action, target, before::text, after::text, "
    "request_id"
)
_LIST = f"""
    SELECT {_COLUMNS} FROM audit_entry
    WHERE (%(before_number)s::bigint = 0 OR id < %(before_number)s)
        AND (%(target)s::text = '' OR target = %(target)s OR target LIKE %(below)s)
        AND (%(actor)s::text = '' OR actor = %(actor)s)
        AND (%(action)s::text = '' OR action = %(action)s)
        AND (%(from)s::bigint = 0 OR time >= to_timestamp(%(from)s::numeric / 1000000))
        AND (%(to)s::bigint = 0 OR time < to_timestamp(%(to)s::numeric / 1000000))
    ORDER BY id DESC LIMIT %(limit)s
"""  # noqa: S608  columns are our own
_NEWEST = f"SELECT {_COLUMNS} FROM audit_entry WHERE target = %s ORDER BY id DESC LIMIT 1"  # noqa: S608


@dataclass(frozen=True, slots=True)
class Change:
    """One change to write down: `action` such as "rules.activate", `target` such as "rule_set/bill-shock".

    `before` None: there was nothing; `after` None: nothing is left. Neither they nor the target may hold
    personal data: customers go by their ids. `actor` empty: whoever asked for the work in hand.
    """

    action: str
    target: str
    before: State | None = None
    after: State | None = None
    actor: str = ""


@dataclass(frozen=True, slots=True)
class AuditEntry:
    """One change as it stands in the log; the time is the wall clock's, in microseconds."""

    number: int
    time_micros: int
    actor: str
    action: str
    target: str
    before: dict[str, Any] | None
    after: dict[str, Any] | None
    request_id: str


@dataclass(frozen=True, slots=True)
class AuditFilter:
    """Which entries: what is empty or 0 does not narrow.

    `target` also means what stands below it ("customer/7" means "customer/7/consent/…" too); times are in
    microseconds of the wall clock, `to_micros` itself is not in.
    """

    target: str = ""
    actor: str = ""
    action: str = ""
    from_micros: int = 0
    to_micros: int = 0


async def write_audit(transaction: Transaction, *changes: Change) -> None:
    """Write changes down in the transaction that makes them: both are committed, or neither is."""
    if not changes:
        return
    caller = current_caller().name
    await transaction.execute(
        _ADD,
        {
            "actors": [change.actor or caller for change in changes],
            "actions": [change.action for change in changes],
            "targets": [change.target for change in changes],
            "befores": [_pack(change.before) for change in changes],
            "afters": [_pack(change.after) for change in changes],
            "request_id": transaction.request_id,
        },
    )


async def list_audit(
    transaction: Transaction, wanted: AuditFilter, *, before: int = 0, limit: int = 100
) -> list[AuditEntry]:
    """Newest first, those with a smaller number than `before` (0: from the newest)."""
    rows = await transaction.rows(
        _LIST,
        {
            "before_number": before,
            "target": wanted.target,
            "below": _below(wanted.target),
            "actor": wanted.actor,
            "action": wanted.action,
            "from": wanted.from_micros,
            "to": wanted.to_micros,
            "limit": limit,
        },
    )
    return [_entry(row) for row in rows]


async def newest_audit(transaction: Transaction, target: str) -> AuditEntry | None:
    """The last entry about exactly this target; None: there is none."""
    row = await transaction.row(_NEWEST, (target,))
    return None if row is None else _entry(row)


def _entry(row: Sequence[Any]) -> AuditEntry:
    number, micros, actor, action, target, before, after, request_id = row
    return AuditEntry(number, micros, actor, action, target, _unpack(before), _unpack(after), request_id)


def _pack(state: State | None) -> str | None:
    return None if state is None else orjson.dumps(state, option=orjson.OPT_SORT_KEYS).decode()


def _unpack(text: str | None) -> dict[str, Any] | None:
    return None if text is None else dict(orjson.loads(text))


def _below(target: str) -> str:
    escaped = target.replace("\\", "\\\\").replace("%", "\\%").replace("_", "\\_")
    return f"{escaped}/%"
