"""Who looked at which customer: written in the transaction that reads, for everybody but our own services."""

from collections.abc import Collection, Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

from services.runtime.caller import current_caller
from services.runtime.database import Database, Transaction
from services.runtime.errors import InvalidArgumentError
from services.runtime.prune import ByPages
from services.runtime.together import Together

if TYPE_CHECKING:
    import asyncio

    import grpc

REASON_KEY = "rapport-reason"
"""Call metadata in which a caller says what it reads for: a case's number, never personal data."""
_MOST_REASON = 100
_ADD = """
    INSERT INTO access_entry (customer, caller, method, reason)
    SELECT customer, %(caller)s, %(method)s, %(reason)s FROM unnest(%(customers)s::bigint[]) AS customer
"""
_ADD_SEVERAL = """
    INSERT INTO access_entry (customer, caller, method, reason)
    SELECT * FROM unnest(
        %(customers)s::bigint[], %(callers)s::text[], %(methods)s::text[], %(reasons)s::text[]
    )
"""
_MOST_TOGETHER = 200
_LIST = """
    SELECT number, customer, (extract(epoch FROM time) * 1000000)::bigint, caller, method, reason
    FROM access_entry
    WHERE customer = ANY(%(customers)s::bigint[]) AND (%(before)s::bigint = 0 OR number < %(before)s)
    ORDER BY number DESC LIMIT %(limit)s
"""
TABLE = """
    CREATE TABLE access_entry (
        customer bigint NOT NULL,
        number bigint GENERATED ALWAYS AS IDENTITY,
        time timestamptz NOT NULL DEFAULT clock_timestamp(),
        caller text NOT NULL,
        method text NOT NULL,
        reason text NOT NULL,
        PRIMARY KEY (customer, number)
    )
"""
"""For the migrations of each service."""
ACCESS_LOG = ByPages(
    "access_log",
    "access_entry",
    "time < to_timestamp(%(before_wall)s::numeric / 1000000)",
    by_wall=True,
)
"""Of every service: reads, kept for a time."""


@dataclass(frozen=True, slots=True)
class Read:
    """One read as it stands in the log; the time is the wall clock's, in microseconds."""

    number: int
    customer: int
    time_micros: int
    caller: str
    method: str
    reason: str


async def note_reads(
    transaction: Transaction, customers: Collection[int], method: str, reason: str = ""
) -> None:
    """Write down that whoever asks is told of these customers; they are told only if this is committed.

    `method` is the full name of what answers, `reason` what the caller said it is for.
    """
    caller = current_caller()
    if caller.ours or not customers:
        return
    await transaction.execute(
        _ADD, {"customers": sorted(customers), "caller": caller.name, "method": method, "reason": reason}
    )


async def note_answer(
    database: Database,
    customers: Collection[int],
    method: str,
    context: "grpc.aio.ServicerContext[Any, Any]",
) -> None:
    """The same before an answer that was read already: who cannot be noted gets none."""
    if current_caller().ours or not customers:
        return
    reason = reason_of(context)
    async with database.transaction() as transaction:
        await note_reads(transaction, customers, method, reason)


class ReadNotes:
    """`note_answer` for what many ask at the same time: reads of several callers go into one statement."""

    def __init__(self, database: Database) -> None:
        self._database = database
        self._together = Together(self._write, most=_MOST_TOGETHER)

    def note(
        self, customer: int, method: str, context: "grpc.aio.ServicerContext[Any, Any]"
    ) -> "asyncio.Future[None] | None":
        """Begins to write down that whoever asks is told of this customer; None: that need not be written.

        They are told only after it was awaited; who tells them nothing cancels it.
        """
        caller = current_caller()
        if caller.ours:
            return None
        return self._together.ask((customer, caller.name, method, reason_of(context)))

    async def _write(self, reads: Sequence[tuple[int, str, str, str]]) -> Sequence[None]:
        customers, callers, methods, reasons = (list(column) for column in zip(*reads, strict=True))
        async with self._database.statements() as statements:
            await statements.execute(
                _ADD_SEVERAL,
                {"customers": customers, "callers": callers, "methods": methods, "reasons": reasons},
            )
        return [None] * len(reads)


async def list_reads(
    transaction: Transaction, customers: Sequence[int], *, before: int = 0, limit: int = 100
) -> list[Read]:
    """Newest first, those with a smaller number than `before` (0: from the newest)."""
    rows = await transaction.rows(_LIST, {"customers": list(customers), "before": before, "limit": limit})
    return [Read(*row) for row in rows]


def reason_of(context: "grpc.aio.ServicerContext[Any, Any]") -> str:
    """What the caller says it reads for; empty: nothing. InvalidArgumentError: too long, or not printable."""
    found = next((value for key, value in context.invocation_metadata() or () if key == REASON_KEY), "")
    text = found.decode("utf-8", "replace") if isinstance(found, bytes) else found
    if len(text) > _MOST_REASON or not text.isprintable():
        raise InvalidArgumentError(
            f"the call's metadata {REASON_KEY} has {len(text)} characters, or some that cannot be printed",
            field=REASON_KEY,
            suggestion=f"say in at most {_MOST_REASON} characters what for, for example a case's number",
        )
    return text
