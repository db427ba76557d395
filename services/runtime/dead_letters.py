"""Items that failed alone: kept with their reason, shown, and sent again when someone says so."""

from collections.abc import Awaitable, Callable
from dataclasses import dataclass
from typing import Final

from google.protobuf.timestamp_pb2 import Timestamp
from rapport.operations.v1 import operations_pb2

from services.runtime.audit import Change, write_audit
from services.runtime.database import Transaction
from services.runtime.errors import NotFoundError
from services.runtime.keys import Sealer, sealed_by
from services.runtime.outbox import MAX_PAYLOAD, Outbox
from services.runtime.streams import DEAD
from services.runtime.tally import note_set_aside

DEAD_LETTER: Final = "dead_letter"
"""By what a sealed payload is bound: it is sealed before the letter has a number."""
Resend = Callable[[Transaction, str, bytes], Awaitable[None]]
_ADD = """
    INSERT INTO dead_letter (kind, item_id, item_type, customer, payload, reason)
    VALUES (%s, %s, %s, %s, %s, %s)
    RETURNING id, (extract(epoch FROM created_at) * 1000000)::bigint
"""
_LIST = """
    SELECT id, kind, item_id, item_type, customer, reason,
        (extract(epoch FROM created_at) * 1000000)::bigint, (extract(epoch FROM resent_at) * 1000000)::bigint
    FROM dead_letter
    WHERE (%(before)s::bigint = 0 OR id < %(before)s) AND (%(all)s OR resent_at IS NULL)
    ORDER BY id DESC LIMIT %(limit)s
"""
_BEFORE = "SELECT resent_at::text FROM dead_letter WHERE id = %s FOR UPDATE"
_RESEND = """
    UPDATE dead_letter SET resent_at = clock_timestamp() WHERE id = %s
    RETURNING resent_at::text, id, kind, item_id, item_type, customer, reason,
        (extract(epoch FROM created_at) * 1000000)::bigint, (extract(epoch FROM resent_at) * 1000000)::bigint,
        payload
"""
_MOST_REASON = 500


@dataclass(frozen=True, slots=True)
class DeadLetter:
    """An item that was set aside; times in microseconds, `resent_micros` 0: never sent again."""

    number: int
    kind: str
    item_id: str
    item_type: str
    customer: int
    reason: str
    created_micros: int
    resent_micros: int


class DeadLetters:
    """The dead letters of one service; `resend` puts a payload on its way again, in the same transaction.

    Payloads are sealed where there is a `sealer`.
    """

    def __init__(
        self,
        service: str,
        outbox: Outbox,
        resend: Resend,
        *,
        partitions: int = 64,
        sealer: Sealer | None = None,
    ) -> None:
        self._sealer = sealer
        self._service = service
        self._outbox = outbox
        self._resend = resend
        self._partitions = partitions

    async def add(
        self,
        transaction: Transaction,
        *,
        kind: str,
        item_id: str,
        item_type: str,
        customer: int,
        payload: bytes,
        reason: str,
    ) -> DeadLetter:
        """Set an item aside, in the table and without its payload on DEAD; `reason` names no person."""
        kept = reason[:_MOST_REASON]
        if self._sealer is not None:
            payload = self._sealer.seal(payload, DEAD_LETTER)
        rows = await transaction.rows(_ADD, (kind, item_id, item_type, customer, payload, kept))
        number, created = rows[0]
        letter = DeadLetter(number, kind, item_id, item_type, customer, kept, created, 0)
        copy = to_message(self._service, letter).SerializeToString()
        assert len(copy) <= MAX_PAYLOAD
        await self._outbox.put(transaction, DEAD, [(customer % self._partitions, copy)])
        note_set_aside(transaction)
        return letter

    async def waiting(self, transaction: Transaction) -> int:
        """How many were not sent again."""
        row = await transaction.row("SELECT count(*) FROM dead_letter WHERE resent_at IS NULL")
        return int(row[0]) if row else 0

    async def list(
        self, transaction: Transaction, *, before: int = 0, limit: int = 100, include_resent: bool = False
    ) -> list[DeadLetter]:
        """Newest first, those with a smaller number than `before` (0: from the newest)."""
        rows = await transaction.rows(_LIST, {"before": before, "all": include_resent, "limit": limit})
        return [_letter(row) for row in rows]

    async def resend(self, transaction: Transaction, number: int) -> DeadLetter:
        """Put an item on its way again as if new and mark it; NotFoundError: there is none."""
        before = await transaction.row(_BEFORE, (number,))
        if before is None:
            raise NotFoundError(
                f"there is no dead letter {number}",
                field="dead_letter_id",
                suggestion="list them for their ids",
            )
        ((resent, *columns, payload),) = await transaction.rows(_RESEND, (number,))
        letter = _letter(tuple(columns))
        await write_audit(
            transaction,
            Change(
                "dead_letter.resend",
                f"dead_letter/{number}",
                before={"resent_time": before[0]},
                after={"resent_time": resent, "kind": letter.kind, "item_type": letter.item_type},
            ),
        )
        if self._sealer is not None and sealed_by(payload):
            payload = self._sealer.open(payload, DEAD_LETTER)
        await self._resend(transaction, letter.kind, payload)
        return letter


def to_message(service: str, letter: DeadLetter) -> operations_pb2.DeadLetter:
    """A dead letter as callers see it."""
    message = operations_pb2.DeadLetter(
        dead_letter_id=str(letter.number),
        service=service,
        kind=letter.kind,
        item_id=letter.item_id,
        reason=letter.reason,
        item_type=letter.item_type,
        customer=letter.customer,
        create_time=_timestamp(letter.created_micros),
    )
    if letter.resent_micros:
        message.resend_time.CopyFrom(_timestamp(letter.resent_micros))
    return message


def _letter(row: tuple[object, ...]) -> DeadLetter:
    number, kind, item_id, item_type, customer, reason, created, resent = row
    return DeadLetter(number, kind, item_id, item_type, customer, reason, created, resent or 0)  # type: ignore[arg-type]


def _timestamp(micros: int) -> Timestamp:
    stamp = Timestamp()
    stamp.FromMicroseconds(micros)
    return stamp
