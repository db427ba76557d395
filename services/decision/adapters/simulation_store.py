"""Results of simulations, and what was known before the time that one is of, on PostgreSQL."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

import zstandard

from services.decision.app.simulation_ports import KeptSimulation
from services.decision.domain.ledger import Account
from services.decision.domain.once import Taken
from services.runtime.audit import Change, write_audit

if TYPE_CHECKING:
    from collections.abc import Mapping, Sequence

    from services.runtime.database import Database

_COLUMNS = "number, simulation_id::text, caller, created_micros, rule_sets, since_micros, until_micros"
_MOST_BYTES = 64 << 20


class SimulationStore:
    """The Simulations port."""

    def __init__(self, database: Database) -> None:
        self._database = database

    async def keep(self, kept: KeptSimulation) -> None:
        """Stores a result; the audit log says who simulated what."""
        async with self._database.transaction() as transaction:
            await transaction.execute(
                """
                INSERT INTO simulation
                    (simulation_id, caller, created_micros, rule_sets, since_micros, until_micros, result)
                VALUES (%(id)s, %(caller)s, %(created)s, %(rule_sets)s, %(since)s, %(until)s, %(result)s)
                ON CONFLICT (simulation_id) DO NOTHING
                """,
                {
                    "id": kept.simulation_id,
                    "caller": kept.caller,
                    "created": kept.created_micros,
                    "rule_sets": list(kept.rule_sets),
                    "since": kept.since_micros,
                    "until": kept.until_micros,
                    "result": zstandard.ZstdCompressor().compress(kept.result.encode()),
                },
            )
            change = Change(
                action="simulate",
                target=f"simulation/{kept.simulation_id}",
                after={
                    "rule_sets": list(kept.rule_sets),
                    "since_micros": kept.since_micros,
                    "until_micros": kept.until_micros,
                },
            )
            await write_audit(transaction, change)

    async def find(self, simulation_id: str) -> KeptSimulation | None:
        """One with its result."""
        async with self._database.transaction() as transaction:
            row = await transaction.row(
                f"SELECT {_COLUMNS}, result FROM simulation WHERE simulation_id = %s",  # noqa: S608  our own words
                (simulation_id,),
            )
        if row is None:
            return None
        plain = zstandard.ZstdDecompressor().decompress(bytes(row[-1]), max_output_size=_MOST_BYTES)
        return _kept(row, plain.decode())

    async def page(self, before: int, size: int) -> list[tuple[int, KeptSimulation]]:
        """Newest first, without results."""
        async with self._database.transaction() as transaction:
            rows = await transaction.rows(
                f"""
                SELECT {_COLUMNS} FROM simulation WHERE %(before)s = 0 OR number < %(before)s
                ORDER BY number DESC LIMIT %(size)s
                """,  # noqa: S608  our own words
                {"before": before, "size": size},
            )
        return [(row[0], _kept(row)) for row in rows]


class KnownBefore:
    """The Known port: of arms all, of slots and conversations what was taken before, if it is still known."""

    def __init__(self, database: Database, conversation_micros: int) -> None:
        self._database = database
        self._conversation = conversation_micros

    async def before(self, customers: Sequence[int], micros: int) -> Mapping[int, Account]:
        """By customer; a slot that was taken again since is not known any more."""
        found: dict[int, Account] = {}
        asked = {"customers": list(customers), "micros": micros, "from": micros - self._conversation}
        async with self._database.transaction() as transaction:
            for customer, experiment, arm in await transaction.rows(
                """
                SELECT customer, experiment, arm FROM assignment
                WHERE customer = ANY(%(customers)s::bigint[])
                """,
                asked,
            ):
                found.setdefault(customer, Account()).arms[experiment] = arm
            for customer, rule_set, rule, key, taken, holders, ends in await transaction.rows(
                """
                SELECT customer, rule_set, rule, key, taken_micros, holders, ends_micros FROM once_slot
                WHERE customer = ANY(%(customers)s::bigint[]) AND taken_micros < %(micros)s
                """,
                asked,
            ):
                account = found.setdefault(customer, Account())
                account.slots[rule_set, rule, key] = Taken(taken, tuple(holders), ends)
            for customer, action_id, won in await transaction.rows(
                """
                SELECT customer, action_id, won_micros FROM conversation
                WHERE customer = ANY(%(customers)s::bigint[])
                    AND won_micros >= %(from)s AND won_micros < %(micros)s
                """,
                asked,
            ):
                found.setdefault(customer, Account()).won[action_id] = won
        return found


def _kept(row: Sequence[Any], result: str = "") -> KeptSimulation:
    _, simulation_id, caller, created, rule_sets, since, until = row[:7]
    return KeptSimulation(simulation_id, caller, created, tuple(rule_sets), since, until, result)
