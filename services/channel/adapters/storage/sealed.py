"""What was said to people, where to, and what they wrote: as it stands sealed in PostgreSQL."""

from collections.abc import Sequence
from typing import Any, Final

import orjson

from services.channel.domain.messages import Wording
from services.runtime.database import Transaction
from services.runtime.dead_letters import DEAD_LETTER
from services.runtime.keys import Sealer, sealed_by
from services.runtime.resealing import PAGE, Page, Part, SealedColumn

_NOBODY: Final = "00000000-0000-0000-0000-000000000000"
_OPEN_BODIES: Final = """
    SELECT customer, message_id::text, text, subject, html, sender_plain, address, sealed IS NULL
    FROM message_body WHERE (customer, message_id) > (%s::bigint, %s::text::uuid)
    ORDER BY customer, message_id LIMIT %s
"""
_SEAL_BODIES: Final = """
    UPDATE message_body SET text = '', subject = '', html = '', sender_plain = '', address = '',
        sealed = new.sealed
    FROM unnest(%s::bigint[], %s::text[]::uuid[], %s::bytea[]) AS new (customer, message_id, sealed)
    WHERE message_body.customer = new.customer AND message_body.message_id = new.message_id
        AND message_body.sealed IS NULL
"""
_OPEN_TEXTS: Final = """
    SELECT inbound_id::text, recipient, text, sealed IS NULL FROM inbound_text
    WHERE inbound_id > %s::text::uuid ORDER BY inbound_id LIMIT %s
"""
_SEAL_TEXTS: Final = """
    UPDATE inbound_text SET recipient = '', text = '', sealed = new.sealed
    FROM unnest(%s::text[]::uuid[], %s::bytea[]) AS new (inbound_id, sealed)
    WHERE inbound_text.inbound_id = new.inbound_id AND inbound_text.sealed IS NULL
"""


def seal_wording(sealer: Sealer, message_id: str, wording: Wording | None) -> bytes | None:
    """What a customer reads and where it goes; None: nothing yet."""
    if wording is None or wording == Wording():
        return None
    said = [wording.text, wording.subject, wording.html, wording.sender, wording.address]
    return sealer.seal(orjson.dumps(said), body_context(message_id))


def open_wording(sealer: Sealer, message_id: str, columns: Sequence[Any]) -> Wording:
    """From the columns text, subject, html, sender, address and sealed; SealError names the row."""
    *plain, sealed = columns
    if sealed:
        plain = orjson.loads(sealer.open(sealed, body_context(message_id)))
    return Wording(*plain)


def seal_written(sealer: Sealer, inbound_id: str, recipient: str, text: str) -> bytes:
    """What a customer wrote, and to which number of ours."""
    return sealer.seal(orjson.dumps([recipient, text]), written_context(inbound_id))


def open_written(sealer: Sealer, inbound_id: str, columns: Sequence[Any]) -> tuple[str, str]:
    """Recipient and text, from the columns of both and sealed; SealError names the row."""
    recipient, text, sealed = columns
    if sealed:
        recipient, text = orjson.loads(sealer.open(sealed, written_context(inbound_id)))
    return recipient, text


def body_context(message_id: object) -> str:
    """Where a sealed wording stands."""
    return f"message_body/{message_id}"


def written_context(inbound_id: object) -> str:
    """Where a sealed text of a customer stands."""
    return f"inbound_text/{inbound_id}"


def record_context(message_id: str) -> str:
    """Where the action of a message that may wait stands."""
    return f"message_body/{message_id}/record"


def open_record(sealer: Sealer, message_id: str, record: bytes) -> bytes:
    """The action as it was kept, whether it stands sealed or not; SealError names the row."""
    return sealer.open(record, record_context(message_id)) if sealed_by(record) else record


def sealed_parts(sealer: Sealer) -> list[Part]:
    """What is sealed anew, and what stood open before."""
    customer, message = ("customer", "bigint"), ("message_id", "uuid")
    return [
        _OpenBodies(sealer),
        _OpenTexts(sealer),
        SealedColumn(sealer, "message_body", [customer, message], lambda _customer, own: body_context(own)),
        SealedColumn(
            sealer,
            "message_body",
            [customer, message],
            lambda _customer, own: record_context(own),
            "record",
            open_too=True,
        ),
        SealedColumn(sealer, "inbound_text", [("inbound_id", "uuid")], written_context),
        SealedColumn(
            sealer, "dead_letter", [("id", "bigint")], lambda _id: DEAD_LETTER, "payload", open_too=True
        ),
    ]


class _OpenBodies:
    """Messages whose wording stands as it stood before there were keys."""

    name = "message_body.text"

    def __init__(self, sealer: Sealer) -> None:
        self._sealer = sealer

    async def page(self, transaction: Transaction, place: str) -> Page:
        """The next thousand."""
        customer, message_id = place.split(" ") if place else ("0", _NOBODY)
        rows = await transaction.rows(_OPEN_BODIES, (int(customer), message_id, PAGE))
        found = [
            (row[0], row[1], seal_wording(self._sealer, row[1], Wording(*row[2:7])))
            for row in rows
            if row[7] and any(row[2:7])
        ]
        if found:
            await transaction.execute(_SEAL_BODIES, [list(column) for column in zip(*found, strict=True)])
        return Page(f"{rows[-1][0]} {rows[-1][1]}" if len(rows) == PAGE else None, len(found))


class _OpenTexts:
    """What customers wrote, as it stood before there were keys."""

    name = "inbound_text.text"

    def __init__(self, sealer: Sealer) -> None:
        self._sealer = sealer

    async def page(self, transaction: Transaction, place: str) -> Page:
        """The next thousand."""
        rows = await transaction.rows(_OPEN_TEXTS, (place or _NOBODY, PAGE))
        found = [(row[0], seal_written(self._sealer, *row[:3])) for row in rows if row[3]]
        if found:
            await transaction.execute(_SEAL_TEXTS, [list(column) for column in zip(*found, strict=True)])
        return Page(rows[-1][0] if len(rows) == PAGE else None, len(found))
