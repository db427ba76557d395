"""Shared rates in PostgreSQL: a row for each name, on the database's own clock."""

from collections.abc import Sequence

from services.channel.domain.rate import Grant, Wish
from services.runtime.database import Transaction

_NANOS = 1_000_000_000
_LONGEST_QUEUE_NANOS = 600 * _NANOS
"""Who lines up waits no longer than this until it asks again."""

# The generic cell rate algorithm (ITU-T I.371): `free_nanos` is when the next one is due if all come evenly;
# it may lie ahead of now by a burst. No farther: a clock that was set back must not stop the sender for as
# long. The row's lock is waited for before the clock is read, and held until the commit.
_TAKE = """
    INSERT INTO rate AS r (name, interval_nanos, burst, wanted, queued, granted, free_nanos, queue_nanos)
    SELECT name, interval_nanos, burst, wanted, queued, least(wanted, burst),
        (extract(epoch FROM clock_timestamp()) * 1000000000)::bigint + least(wanted, burst) * interval_nanos,
        (extract(epoch FROM clock_timestamp()) * 1000000000)::bigint
            + (least(wanted, burst) + least(queued, wanted - least(wanted, burst))) * interval_nanos
    FROM unnest(%(names)s::text[], %(intervals)s::bigint[], %(bursts)s::bigint[], %(wanted)s::bigint[],
                %(queued)s::bigint[]) AS wish (name, interval_nanos, burst, wanted, queued)
    ORDER BY name
    ON CONFLICT (name) DO UPDATE SET
        interval_nanos = excluded.interval_nanos, burst = excluded.burst,
        wanted = excluded.wanted, queued = excluded.queued,
        (granted, free_nanos, queue_nanos) = (
            SELECT room, due + room * excluded.interval_nanos,
                least(
                    greatest(r.queue_nanos, due + room * excluded.interval_nanos, now),
                    now + %(longest)s
                ) + least(excluded.queued, greatest(0, excluded.wanted - room)) * excluded.interval_nanos
            FROM (
                SELECT now, due, CASE WHEN excluded.wanted < 0 THEN excluded.wanted ELSE greatest(0, least(
                    excluded.wanted, (now + excluded.burst * excluded.interval_nanos - due)
                        / excluded.interval_nanos)) END AS room
                FROM (
                    SELECT now, least(greatest(r.free_nanos, now),
                                      now + excluded.burst * excluded.interval_nanos) AS due
                    FROM (SELECT (extract(epoch FROM clock_timestamp()) * 1000000000)::bigint AS now OFFSET 0)
                        AS clock
                    OFFSET 0
                ) AS clipped
                OFFSET 0
            ) AS judged
        )
    RETURNING name, granted, interval_nanos,
        free_nanos - (burst - 1) * interval_nanos
            - (extract(epoch FROM clock_timestamp()) * 1000000000)::bigint,
        queue_nanos - least(queued, greatest(0, wanted - granted)) * interval_nanos
            - (extract(epoch FROM clock_timestamp()) * 1000000000)::bigint
"""


async def take_rates(raw: Transaction, wishes: Sequence[Wish]) -> dict[str, Grant]:
    """What each pace gives, by name; every name at most once."""
    if not wishes:
        return {}
    found = await raw.rows(
        _TAKE,
        {
            "names": [wish.pace.name for wish in wishes],
            "intervals": [-int(-_NANOS // wish.pace.per_second) for wish in wishes],
            "bursts": [wish.pace.burst for wish in wishes],
            "wanted": [wish.count for wish in wishes],
            "queued": [wish.queued for wish in wishes],
            "longest": _LONGEST_QUEUE_NANOS,
        },
    )
    return {
        name: Grant(granted, _micros(free), _micros(interval), _micros(queue))
        for name, granted, interval, free, queue in found
    }


def _micros(nanos: int) -> int:
    return max(0, -(-nanos // 1000))
