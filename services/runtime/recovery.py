"""How a service's database stands after a restore, and the gap that recovery is about.

A restored database gives out ids once more that it gave out before, and does not know what it lost. So each
restore is marked (`mark_restored`): the epoch grows, which is part of the ids of what is published, and
workers wait until someone says what the gap is (`begin`).
"""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from enum import StrEnum
from typing import TYPE_CHECKING

import structlog

from services.runtime.database import Database, Transaction
from services.runtime.errors import ConflictError, InvalidArgumentError, UnavailableError

if TYPE_CHECKING:
    from services.runtime.process import Role

_log = structlog.get_logger(__name__)

_READ = """
    SELECT installation.epoch, installation.state,
        (extract(epoch FROM restored_at) * 1000000)::bigint, (extract(epoch FROM known_at) * 1000000)::bigint,
        number, gap_start_micros, gap_end_micros, replay_start_micros, began_micros,
        replayed_at IS NOT NULL, (extract(epoch FROM ended_at) * 1000000)::bigint
    FROM installation LEFT JOIN recovery ON number = (SELECT max(number) FROM recovery)
"""
_MARK = """
    UPDATE installation
    SET epoch = epoch + 1, state = 'restored', restored_at = clock_timestamp(), known_at = greatest(
        (SELECT max(taken_at) FROM taken_message),
        (SELECT max(created_at) FROM outbox),
        (SELECT max(time) FROM audit_entry))
    RETURNING epoch
"""


class State(StrEnum):
    """How a database stands."""

    WORKING = "working"
    RESTORED = "restored"
    RECOVERING = "recovering"


@dataclass(frozen=True, slots=True)
class Gap:
    """What may have been lost: from the oldest backup to the loss, in microseconds of business time.

    What was handed on since `replay_start_micros` is handed on again; `began_micros`: when recovery began.
    """

    start_micros: int
    end_micros: int
    replay_start_micros: int
    began_micros: int


@dataclass(frozen=True, slots=True)
class Recovery:
    """A database's state and its newest recovery. Wall times in microseconds; 0: never."""

    epoch: int
    state: State
    restored_wall_micros: int = 0
    known_wall_micros: int = 0
    number: int = 0
    gap: Gap | None = None
    replayed: bool = False
    ended_wall_micros: int = 0


async def read_recovery(transaction: Transaction) -> Recovery:
    """How the database stands."""
    row = await transaction.row(_READ)
    assert row is not None, "the migration made the row"
    epoch, state, restored, known, number, start, end, replay, began, replayed, ended = row
    gap = None if number is None else Gap(start, end, replay, began)
    return Recovery(epoch, State(state), restored or 0, known or 0, number or 0, gap, replayed, ended or 0)


async def open_gap(transaction: Transaction) -> Gap | None:
    """The gap while recovery is under way; None: it is not."""
    row = await transaction.row(
        "SELECT gap_start_micros, gap_end_micros, replay_start_micros, began_micros "
        "FROM recovery WHERE ended_at IS NULL ORDER BY number DESC LIMIT 1"
    )
    return None if row is None else Gap(*row)


async def begin(transaction: Transaction, gap: Gap) -> Recovery:
    """Begin recovery; ConflictError while one is under way."""
    if gap.start_micros > gap.end_micros:
        raise InvalidArgumentError(
            "the gap ends before it starts",
            field="gap_end_time",
            suggestion="start: the oldest backup; end: when everything had stopped",
        )
    if gap.end_micros > gap.began_micros:
        raise InvalidArgumentError(
            "the gap ends in the future",
            field="gap_end_time",
            suggestion="name the business time at which everything had stopped",
        )
    if gap.replay_start_micros > gap.start_micros:
        raise InvalidArgumentError(
            "what is handed on again would begin after the gap",
            field="replay_start_time",
            suggestion="name a time before the gap",
        )
    await transaction.execute("SELECT 1 FROM installation FOR UPDATE")
    if await open_gap(transaction) is not None:
        raise ConflictError("recovery is under way", suggestion="end it before another begins")
    await transaction.execute("UPDATE installation SET state = 'recovering'")
    await transaction.execute(
        "INSERT INTO recovery (gap_start_micros, gap_end_micros, replay_start_micros, began_micros) "
        "VALUES (%s, %s, %s, %s)",
        (gap.start_micros, gap.end_micros, gap.replay_start_micros, gap.began_micros),
    )
    return await read_recovery(transaction)


async def end(transaction: Transaction) -> Recovery:
    """End recovery; ConflictError when none is under way, or what is to be handed on again has not been."""
    await transaction.execute("SELECT 1 FROM installation FOR UPDATE")
    found = await read_recovery(transaction)
    if found.state is not State.RECOVERING:
        raise ConflictError(f"the database is {found.state.value}, not in recovery")
    if not found.replayed:
        raise ConflictError("not all has been handed on again yet", suggestion="wait until it has been")
    await transaction.execute("UPDATE installation SET state = 'working'")
    await transaction.execute("UPDATE recovery SET ended_at = clock_timestamp() WHERE ended_at IS NULL")
    return await read_recovery(transaction)


async def mark_restored(database: Database, statements: Sequence[str] = ()) -> int:
    """Say that the database was restored from a backup, before anything uses it; the new epoch.

    `statements` are the service's own: ids that others may know already must not be given out again.
    """
    async with database.transaction() as transaction:
        await transaction.execute("UPDATE recovery SET ended_at = clock_timestamp() WHERE ended_at IS NULL")
        rows = await transaction.rows(_MARK)
        for statement in statements:
            await transaction.execute(statement)
    epoch: int = rows[0][0]
    _log.info("database_restored", epoch=epoch)
    return epoch


async def await_recovery(role: "Role", database: Database) -> None:
    """Wait while the database is restored and nobody has said what the gap is: a dependency of its own."""
    try:
        await see_begun(database)
    except UnavailableError:
        await role.reach(DEPENDENCY, lambda: see_begun(database))


async def see_begun(database: Database) -> None:
    """UnavailableError while the database is restored and nobody has said what the gap is."""
    async with database.transaction() as transaction:
        found = await read_recovery(transaction)
    if found.state is State.RESTORED:
        raise UnavailableError(
            "the database was restored from a backup, and recovery has not begun",
            suggestion="rapport recover begin",
        )


DEPENDENCY = "recovery"
"""What a worker waits for whose database was restored; in its health only then."""

RECOVERY_NOTICE = "recovery"
"""NOTIFY channel on which workers hear that there is something to hand on again."""


def counts_of(totals: Mapping[str, int]) -> dict[str, int]:
    """What was handed on again since installation, by kind, out of a service's totals."""
    return {
        name.removeprefix(HANDED_AGAIN): value
        for name, value in totals.items()
        if name.startswith(HANDED_AGAIN)
    }


HANDED_AGAIN = "recovery.handed_again."
"""Totals with this beginning count what was handed on again."""
