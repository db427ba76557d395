"""Exact counters that live and die with the transaction that counts."""

from collections.abc import Mapping

from services.runtime.database import Transaction

_SHARDS = 16


async def add_totals(transaction: Transaction, counts: Mapping[str, int]) -> None:
    """Add to counters by name, for example {"events.accepted": 3}; written just before the commit."""
    for name, count in counts.items():
        if count:
            transaction.totals[name] = transaction.totals.get(name, 0) + count


async def read_totals(transaction: Transaction) -> dict[str, int]:
    """All counters by name, since installation."""
    rows = await transaction.rows("SELECT name, sum(value)::bigint FROM total GROUP BY name ORDER BY name")
    return {name: value for name, value in rows}  # noqa: C416 - rows are wider tuples to the type checker


async def write_totals(transaction: Transaction) -> None:
    """Write what was gathered; names in order, so that transactions never wait in a ring."""
    shard = transaction.driver.info.backend_pid % _SHARDS
    names = sorted(transaction.totals)
    await transaction.execute(
        """
        INSERT INTO total (name, shard, value)
        SELECT name, %(shard)s, value
        FROM unnest(%(names)s::text[], %(values)s::bigint[]) AS added (name, value)
        ORDER BY name
        ON CONFLICT (name, shard) DO UPDATE SET value = total.value + excluded.value
        """,
        {"shard": shard, "names": names, "values": [transaction.totals[name] for name in names]},
    )
    transaction.totals = {}
