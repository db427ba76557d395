"""The suppression list in PostgreSQL: one row for each reason that stands."""

from collections.abc import Callable, Collection, Mapping, Sequence
from typing import Any

from services.channel.domain.contact import SuppressedFor
from services.channel.domain.suppression import LiftedBy, Suppression, SuppressionFilter
from services.runtime import metrics
from services.runtime.audit import Change, write_audit
from services.runtime.database import Transaction
from services.vocabulary.words import ADDRESS_KINDS, Channel

COLUMNS = "customer, channel, reason, time_micros, evidence, message_id, number"
_ADD = f"""
    INSERT INTO suppression_entry (customer, channel, reason, time_micros, evidence, message_id)
    SELECT * FROM unnest(%(customers)s::bigint[], %(channels)s::text[], %(reasons)s::text[],
        %(times)s::bigint[], %(evidence)s::text[], %(messages)s::text[]) AS new (customer, channel, reason)
    ORDER BY customer, channel, reason
    ON CONFLICT (customer, channel, reason) DO NOTHING
    RETURNING {COLUMNS}
"""  # noqa: S608 - columns are our own
_REMOVE = f"""
    DELETE FROM suppression_entry
    WHERE customer = %(customer)s AND channel = %(channel)s AND reason = ANY(%(reasons)s::text[])
    RETURNING {COLUMNS}
"""  # noqa: S608 - columns are our own
_ADOPT = """
    DELETE FROM suppressed_address AS kept
    USING unnest(%(lookups)s::bytea[], %(channels)s::text[], %(customers)s::bigint[])
        AS has (lookup, channel, customer)
    WHERE kept.lookup = has.lookup AND kept.channel = has.channel
    RETURNING has.customer, kept.channel, kept.reason, kept.time_micros
"""
_KEPT = "stood for this address before"
# The version before knows one reason for a channel: for as long as it may run beside this one it is told the
# strictest. To be dropped with its table by the next release.
_FORGET_OLD = """
    DELETE FROM suppression WHERE (customer, channel)
        IN (SELECT * FROM unnest(%(customers)s::bigint[], %(channels)s::text[]))
"""
_TELL_OLD = """
    INSERT INTO suppression (customer, channel, reason, time_micros)
    SELECT DISTINCT ON (customer, channel) customer, channel, reason, time_micros FROM suppression_entry
    WHERE (customer, channel) IN (SELECT * FROM unnest(%(customers)s::bigint[], %(channels)s::text[]))
    ORDER BY customer, channel, reason IN ('manual', 'bounced') DESC, reason = 'complained' DESC
    ON CONFLICT DO NOTHING
"""


async def read(
    raw: Transaction, customers: Sequence[int]
) -> Mapping[tuple[int, Channel], frozenset[SuppressedFor]]:
    """Every reason that stands, by customer and channel."""
    found = await raw.rows(
        "SELECT customer, channel, reason FROM suppression_entry WHERE customer = ANY(%s::bigint[])",
        (list(customers),),
    )
    listed: dict[tuple[int, Channel], frozenset[SuppressedFor]] = {}
    for customer, channel, reason in found:
        key = (customer, Channel(channel))
        listed[key] = listed.get(key, frozenset()) | {SuppressedFor(reason)}
    return listed


async def listed(raw: Transaction, wanted: SuppressionFilter, before: int, limit: int) -> list[Suppression]:
    """Entries with smaller numbers than `before` (0: from the newest), newest first."""
    found = await raw.rows(
        f"""
        SELECT {COLUMNS} FROM suppression_entry
        WHERE (%(before)s::bigint = 0 OR number < %(before)s)
            AND (cardinality(%(customers)s::bigint[]) = 0 OR customer = ANY(%(customers)s::bigint[]))
            AND (%(channel)s::text = '' OR channel = %(channel)s)
            AND (%(reason)s::text = '' OR reason = %(reason)s)
        ORDER BY number DESC LIMIT %(limit)s
        """,  # noqa: S608 - columns are our own
        {
            "before": before,
            "customers": list(wanted.customers),
            "channel": wanted.channel.value if wanted.channel is not None else "",
            "reason": wanted.reason.value if wanted.reason is not None else "",
            "limit": limit,
        },
    )
    return [read_entry(row) for row in found]


async def add(raw: Transaction, entries: Sequence[Suppression], *, by: LiftedBy) -> list[Suppression]:
    """Puts channels on the list; those that were new. An entry given twice counts once."""
    if not entries:
        return []
    found = await raw.rows(
        _ADD,
        {
            "customers": [entry.customer for entry in entries],
            "channels": [entry.channel.value for entry in entries],
            "reasons": [entry.reason.value for entry in entries],
            "times": [entry.time_micros for entry in entries],
            "evidence": [entry.evidence for entry in entries],
            "messages": [entry.message_id for entry in entries],
        },
    )
    added = [read_entry(row) for row in found]
    await _changed(raw, added, "added")
    await write_audit(
        raw,
        *(
            Change(
                "suppression.add",
                _target(entry),
                None,
                _state(entry),
                actor=f"customer/{entry.customer}" if by is LiftedBy.PERSON else "",
            )
            for entry in added
        ),
    )
    return added


async def remove(
    raw: Transaction,
    customer: int,
    channel: Channel,
    reasons: Collection[SuppressedFor],
    by: LiftedBy,
    evidence: str,
) -> list[Suppression]:
    """Takes reasons off the list; those that stood."""
    found = await raw.rows(
        _REMOVE,
        {
            "customer": customer,
            "channel": channel.value,
            "reasons": sorted(reason.value for reason in reasons),
        },
    )
    removed = [read_entry(row) for row in found]
    await _changed(raw, removed, "lifted")
    actor = f"customer/{customer}" if by is LiftedBy.PERSON else ""
    await write_audit(
        raw,
        *(
            Change(
                "suppression.lift",
                _target(entry),
                _state(entry),
                {"evidence": evidence} if evidence else None,
                actor=actor,
            )
            for entry in removed
        ),
    )
    return removed


async def adopt(
    raw: Transaction, addresses: Sequence[tuple[int, Channel, str]], lookup: Callable[[str], bytes]
) -> None:
    """What stood for an address when its owner was erased stands for who has it now, as it stood.

    The person alone may lift what the person said: who has the address now must say so themselves.
    """
    listed = sorted(
        {
            (lookup(f"{ADDRESS_KINDS[channel]}:{address}"), channel.value, customer)
            for customer, channel, address in addresses
            if address and channel in ADDRESS_KINDS
        }
    )
    if not listed:
        return
    found = await raw.rows(
        _ADOPT,
        {
            "lookups": [found for found, _, _ in listed],
            "channels": [channel for _, channel, _ in listed],
            "customers": [customer for _, _, customer in listed],
        },
    )
    entries = [
        Suppression(customer, Channel(channel), SuppressedFor(reason), time_micros, _KEPT)
        for customer, channel, reason, time_micros in found
    ]
    await add(raw, entries, by=LiftedBy.STAFF)


def read_entry(row: Sequence[Any]) -> Suppression:
    """An entry from a row of COLUMNS."""
    customer, channel, reason, *others = row
    return Suppression(customer, Channel(channel), SuppressedFor(reason), *others)


def _count(changed: Sequence[Suppression], change: str) -> None:
    for entry in changed:
        metrics.SUPPRESSIONS.labels(entry.channel.value, entry.reason.value, change).inc()


async def _changed(raw: Transaction, changed: Sequence[Suppression], change: str) -> None:
    """Counts what changed once it is committed, and tells the version before."""
    if changed:
        raw.after_commit(lambda: _count(changed, change))
        keys = {
            "customers": [entry.customer for entry in changed],
            "channels": [entry.channel.value for entry in changed],
        }
        await raw.execute(_FORGET_OLD, keys)
        await raw.execute(_TELL_OLD, keys)


def _target(entry: Suppression) -> str:
    return f"customer/{entry.customer}/suppression/{entry.channel.value}"


def _state(entry: Suppression) -> dict[str, str]:
    about = {"reason": entry.reason.value, "evidence": entry.evidence, "message": entry.message_id}
    return {name: value for name, value in about.items() if value}
