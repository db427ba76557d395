"""What customers wrote, in PostgreSQL: each message once, its text beside it for a shorter time."""

from collections.abc import Sequence

from services.channel.adapters.storage import rows
from services.channel.adapters.storage.sealed import open_written, seal_written
from services.channel.domain.inbound import RULE_SET, Written
from services.channel.domain.messages import Message
from services.channel.domain.replies import Intent
from services.runtime import metrics
from services.runtime.database import Transaction
from services.runtime.keys import Sealer
from services.vocabulary.words import Channel

_MOST_LOOKED_AT = 10
_COLUMNS = (
    "inbound_id::text, provider, channel, coalesce(recipient, ''), coalesce(text, ''), sealed, time_micros, "
    "customer, intent, message_id, action_id, answer_id"
)
_KEEP = """
    INSERT INTO inbound (inbound_id, provider, channel, time_micros, customer, intent, message_id, action_id,
        answer_id)
    SELECT * FROM unnest(%(ids)s::text[]::uuid[], %(providers)s::text[], %(channels)s::text[],
        %(times)s::bigint[], %(customers)s::bigint[], %(intents)s::text[], %(messages)s::text[],
        %(actions)s::text[], %(answers)s::text[])
    ON CONFLICT (inbound_id) DO NOTHING
"""
_KEEP_TEXT = """
    INSERT INTO inbound_text (inbound_id, time_micros, recipient, text, sealed)
    SELECT id, time_micros, '', '', sealed
    FROM unnest(%(ids)s::text[]::uuid[], %(times)s::bigint[], %(sealed)s::bytea[])
        AS written (id, time_micros, sealed)
    ON CONFLICT (inbound_id) DO NOTHING
"""
_SENT = f"""
    SELECT {rows.COLUMNS} FROM message m LEFT JOIN message_body b USING (customer, message_id)
    WHERE (m.customer = ANY(%(person)s::bigint[]) AND m.recipient = 0
            OR m.recipient = ANY(%(person)s::bigint[])) AND m.channel = %(channel)s
        AND m.sent_micros > %(after)s AND m.rule_set <> %(ours)s
    ORDER BY m.sent_micros DESC, m.number DESC LIMIT %(limit)s
"""  # noqa: S608 - columns are our own


async def unknown(raw: Transaction, inbound_ids: Sequence[str]) -> set[str]:
    """Those that were not taken before. Taken at the same time elsewhere, the second insert keeps nothing."""
    found = await raw.rows(
        "SELECT inbound_id::text FROM inbound WHERE inbound_id = ANY(%s::text[]::uuid[])",
        (list(inbound_ids),),
    )
    return set(inbound_ids) - {row[0] for row in found}


async def keep(raw: Transaction, written: Sequence[Written], sealer: Sealer) -> int:
    """Keeps messages; how many were new."""
    if not written:
        return 0
    values = {
        "ids": [one.inbound_id for one in written],
        "providers": [one.provider for one in written],
        "channels": [one.channel.value for one in written],
        "times": [one.time_micros for one in written],
        "customers": [one.customer for one in written],
        "intents": [one.intent.value for one in written],
        "messages": [one.message_id for one in written],
        "actions": [one.action_id for one in written],
        "answers": [one.answer_id for one in written],
        "sealed": [seal_written(sealer, one.inbound_id, one.recipient, one.text) for one in written],
    }
    kept = await raw.execute(_KEEP, values)
    await raw.execute(_KEEP_TEXT, values)
    raw.after_commit(lambda: _count(written))
    return kept


def _count(written: Sequence[Written]) -> None:
    for one in written:
        of = "customer" if one.customer else "nobody"
        metrics.REPLIES.labels(one.channel.value, one.intent.value, of).inc()


async def sent_to(
    raw: Transaction, person: Sequence[int], channel: Channel, after_micros: int, sealer: Sealer
) -> list[Message]:
    """What a person got on a channel since then, newest first; automatic answers are not in."""
    found = await raw.rows(
        _SENT,
        {
            "channel": channel.value,
            "person": list(person),
            "after": after_micros,
            "ours": RULE_SET,
            "limit": _MOST_LOOKED_AT,
        },
    )
    return [rows.read_message(row, sealer) for row in found]


async def answered(raw: Transaction, person: Sequence[int], after_micros: int) -> int:
    """How many automatic answers a person got since then."""
    row = await raw.row(
        "SELECT count(*) FROM inbound "
        "WHERE customer = ANY(%s::bigint[]) AND time_micros > %s AND answer_id <> ''",
        (list(person), after_micros),
    )
    return 0 if row is None else int(row[0])


async def replies_to(raw: Transaction, message_id: str, sealer: Sealer) -> list[Written]:
    """What was written in answer to a message, oldest first."""
    found = await raw.rows(
        f"SELECT {_COLUMNS} FROM inbound LEFT JOIN inbound_text USING (inbound_id, time_micros) "  # noqa: S608
        "WHERE message_id = %s AND message_id <> '' ORDER BY number",
        (message_id,),
    )
    return [_written(row, sealer) for row in found]


def _written(row: Sequence[object], sealer: Sealer) -> Written:
    values = [*row[:3], *open_written(sealer, str(row[0]), row[3:6]), *row[6:]]
    values[2] = Channel(str(values[2]))
    values[7] = Intent(str(values[7]))
    return Written(*values)  # type: ignore[arg-type]
