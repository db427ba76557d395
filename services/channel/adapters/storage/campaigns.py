"""What campaigns have used, in PostgreSQL: a row for each to lock, and one for each five minutes."""

from collections.abc import Iterable, Mapping
from typing import Any

from services.channel.domain.campaigns import CampaignUse, bucket_of
from services.runtime.database import Transaction

# In name order, after the customers' locks: whoever holds a campaign never waits for one before it.
_KNOW = "INSERT INTO campaign_use (name) SELECT unnest(%s::text[]) ORDER BY 1 ON CONFLICT DO NOTHING"
_READ = "SELECT name, count, cost_micros FROM campaign_use WHERE name = ANY(%s::text[]) ORDER BY name"
_LOCK = f"{_READ} FOR UPDATE"
_BUCKETS = """
    SELECT name, bucket_micros, b.count, b.cost_micros
    FROM unnest(%(names)s::text[], %(starts)s::bigint[]) AS wanted (name, start)
        JOIN campaign_bucket AS b USING (name)
    WHERE b.bucket_micros >= wanted.start
"""
_ADD = """
    INSERT INTO campaign_use AS u (name, count, cost_micros)
    SELECT * FROM unnest(%(names)s::text[], %(counts)s::bigint[], %(costs)s::bigint[]) AS added ORDER BY 1
    ON CONFLICT (name) DO UPDATE SET
        count = u.count + excluded.count, cost_micros = u.cost_micros + excluded.cost_micros
"""
_ADD_BUCKETS = """
    INSERT INTO campaign_bucket AS b (name, bucket_micros, count, cost_micros)
    SELECT * FROM unnest(%(names)s::text[], %(buckets)s::bigint[], %(counts)s::bigint[], %(costs)s::bigint[])
        AS added ORDER BY 1, 2
    ON CONFLICT (name, bucket_micros) DO UPDATE SET
        count = b.count + excluded.count, cost_micros = b.cost_micros + excluded.cost_micros
"""

Spent = tuple[str, int, int]
"""Campaigns with blanks between, the time at which their place was taken, and what it cost."""


async def lock_campaigns(raw: Transaction, since: Mapping[str, int | None]) -> dict[str, CampaignUse]:
    """What each has used, with the buckets from that moment on (None: none are needed); locked."""
    names = sorted(since)
    found = await raw.rows(_LOCK, (names,))
    if len(found) < len(names):
        await raw.execute(_KNOW, (names,))
        found = await raw.rows(_LOCK, (names,))
    return await _with_buckets(raw, found, since)  # a statement after the lock: it sees what others wrote


async def _with_buckets(
    raw: Transaction, found: list[tuple[Any, ...]], since: Mapping[str, int | None]
) -> dict[str, CampaignUse]:
    uses = {name: CampaignUse(count, cost) for name, count, cost in found}
    starts = {name: start for name, start in since.items() if start is not None and name in uses}
    if starts:
        rows = await raw.rows(_BUCKETS, {"names": list(starts), "starts": list(starts.values())})
        for name, bucket, count, cost in rows:
            uses[name].buckets[bucket] = count, cost
    return uses


async def read_campaigns(raw: Transaction, since: Mapping[str, int | None]) -> dict[str, CampaignUse]:
    """The same without a lock, for those who only look; one never used is left out."""
    return await _with_buckets(raw, await raw.rows(_READ, (sorted(since),)), since)


async def spend(raw: Transaction, spent: Iterable[Spent], *, back: bool = False) -> None:
    """Counts messages of campaigns; `back`: they did not reach the customer and count no more."""
    sign = -1 if back else 1
    totals: dict[str, list[int]] = {}
    buckets: dict[tuple[str, int], list[int]] = {}
    for campaigns, time_micros, cost_micros in spent:
        for name in campaigns.split():
            for sums in (
                totals.setdefault(name, [0, 0]),
                buckets.setdefault((name, bucket_of(time_micros)), [0, 0]),
            ):
                sums[0] += sign
                sums[1] += sign * cost_micros
    if not totals:
        return
    await raw.execute(
        _ADD,
        {
            "names": list(totals),
            "counts": [count for count, _ in totals.values()],
            "costs": [cost for _, cost in totals.values()],
        },
    )
    await raw.execute(
        _ADD_BUCKETS,
        {
            "names": [name for name, _ in buckets],
            "buckets": [bucket for _, bucket in buckets],
            "counts": [count for count, _ in buckets.values()],
            "costs": [cost for _, cost in buckets.values()],
        },
    )
