"""What a provider's id names, and the provider's final word on it; either may come first."""

from collections.abc import Mapping, Sequence

from services.channel.app.ports import Receipt, ReceiptState
from services.channel.app.store import MessageKey
from services.channel.domain.messages import Message
from services.runtime.database import Transaction

# The first word counts, but for one: that it was delivered after all.
_RECEIVED = """
    INSERT INTO receipt AS r (provider, provider_id, state, time_micros, detail)
    SELECT * FROM unnest(%(providers)s::text[], %(provider_ids)s::text[], %(states)s::text[],
                         %(times)s::bigint[], %(details)s::text[])
    ON CONFLICT (provider, provider_id) DO UPDATE SET (state, time_micros, detail) = (
        SELECT * FROM (VALUES (excluded.state, excluded.time_micros, excluded.detail)) AS came
        WHERE r.state IN ('', 'failed', 'expired') AND (r.state = '' OR excluded.state = 'delivered')
        UNION ALL SELECT r.state, r.time_micros, r.detail
        LIMIT 1)
    RETURNING r.provider, r.provider_id, r.customer, r.message_id::text
"""
_HANDED = """
    INSERT INTO receipt AS r (provider, provider_id, customer, message_id)
    SELECT %(provider)s, *
    FROM unnest(%(provider_ids)s::text[], %(customers)s::bigint[], %(ids)s::text[]::uuid[])
    ON CONFLICT (provider, provider_id) DO UPDATE SET
        customer = excluded.customer, message_id = excluded.message_id, noted_at = now(),
        state = CASE WHEN r.message_id IS NULL THEN r.state ELSE '' END,
        time_micros = CASE WHEN r.message_id IS NULL THEN r.time_micros ELSE 0 END
    RETURNING r.provider_id, r.message_id::text, r.state, r.time_micros, r.detail
"""
_UNCONFIRMED = """
    UPDATE receipt SET time_micros = 1
    WHERE (provider, provider_id) IN (
        SELECT provider, provider_id FROM receipt
        WHERE state = '' AND message_id IS NOT NULL AND time_micros = 0
            AND noted_at < to_timestamp(%(before)s::numeric / 1000000)
        ORDER BY noted_at LIMIT %(limit)s FOR UPDATE SKIP LOCKED)
    RETURNING customer, message_id::text
"""


async def handed_over(
    raw: Transaction, provider: str, provider_ids: Mapping[str, Message]
) -> dict[str, Receipt]:
    """Remembers which message a provider id names; an id used again names the newer message."""
    if not provider_ids:
        return {}
    listed = sorted(provider_ids)
    found = await raw.rows(
        _HANDED,
        {
            "provider": provider,
            "provider_ids": listed,
            "customers": [provider_ids[name].customer for name in listed],
            "ids": [provider_ids[name].message_id for name in listed],
        },
    )
    return {
        message_id: Receipt(provider, provider_id, ReceiptState(state), time_micros, detail)
        for provider_id, message_id, state, time_micros, detail in found
        if state
    }


async def received(raw: Transaction, came: Sequence[Receipt]) -> list[tuple[Receipt, MessageKey]]:
    """Remembers receipts, one per id; those whose message is known, with its key."""
    counts: dict[tuple[str, str], Receipt] = {}
    for receipt in came:
        key = (receipt.provider, receipt.provider_id)
        if key not in counts or receipt.state is ReceiptState.DELIVERED:
            counts[key] = receipt
    listed = [counts[key] for key in sorted(counts)]
    found = await raw.rows(
        _RECEIVED,
        {
            "providers": [receipt.provider for receipt in listed],
            "provider_ids": [receipt.provider_id for receipt in listed],
            "states": [receipt.state.value for receipt in listed],
            "times": [receipt.time_micros for receipt in listed],
            "details": [receipt.detail for receipt in listed],
        },
    )
    return [
        (counts[provider, provider_id], (customer, message_id))
        for provider, provider_id, customer, message_id in sorted(row for row in found if row[3] is not None)
    ]


async def claim_unconfirmed(raw: Transaction, before_wall_micros: int, limit: int) -> list[MessageKey]:
    """Keys of messages of which no receipt came, each given once; in order."""
    found = await raw.rows(_UNCONFIRMED, {"before": before_wall_micros, "limit": limit})
    return sorted((customer, message_id) for customer, message_id in found)
