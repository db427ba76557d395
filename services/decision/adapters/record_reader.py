"""Recorded decisions read through in the order of their numbers, to be run again."""

from __future__ import annotations

from typing import TYPE_CHECKING

from services.decision.adapters.engine_process import EngineProcess
from services.decision.app.verify import Kept, Slice

if TYPE_CHECKING:
    from collections.abc import Sequence

    from services.decision.app.jobs import ProgramThen, Verified
    from services.runtime.database import Database

_JOB_SECONDS = 120.0
_OF_THE_TIME = "decided_micros >= %(since)s AND (%(until)s::bigint = 0 OR decided_micros < %(until)s)"


class RecordReader:
    """The Records port on PostgreSQL."""

    def __init__(self, database: Database) -> None:
        self._database = database

    async def measure(self, since_micros: int, until_micros: int) -> tuple[Slice, int]:
        """What there is now, and how many; what is decided meanwhile is left out."""
        async with self._database.transaction() as transaction:
            row = await transaction.row(
                f"SELECT coalesce(max(number), 0), count(*) FROM decision WHERE {_OF_THE_TIME}",  # noqa: S608  our own
                {"since": since_micros, "until": until_micros},
            )
        last, count = (0, 0) if row is None else (int(row[0]), int(row[1]))
        return Slice(since_micros, until_micros, last), count

    async def read(self, part: Slice, after: int, most: int) -> list[Kept]:
        """The next of them by number."""
        async with self._database.transaction() as transaction:
            rows = await transaction.rows(
                f"""
                SELECT number, decision_id, program, catalogue, material, record FROM decision
                WHERE number > %(after)s AND number <= %(last)s AND {_OF_THE_TIME}
                ORDER BY number LIMIT %(most)s
                """,  # noqa: S608  our own words
                {
                    "after": after,
                    "last": part.last,
                    "since": part.since_micros,
                    "until": part.until_micros,
                    "most": most,
                },
            )
        return [
            Kept(number, str(decision), program, catalogue, bytes(material), bytes(record))
            for number, decision, program, catalogue, material, record in rows
        ]


class ProcessVerifier:
    """The Verifier port: an engine's process of its own, which knows no live program."""

    def __init__(self, command: Sequence[str]) -> None:
        self._process = EngineProcess(command, deadline=_JOB_SECONDS, first_deadline=_JOB_SECONDS)

    async def verify(self, then: ProgramThen, rows: Sequence[tuple[bytes, bytes]]) -> Verified:
        """Raises EngineDiedError and JobFailedError."""
        verified: Verified = await self._process.call("verify", then, tuple(rows))
        return verified

    async def close(self) -> None:
        """Ends the process."""
        await self._process.close()
