"""Pruning: what is older than kept goes in small transactions, noted; everything else stays."""

from dataclasses import dataclass, replace

from services.runtime.audit import AuditFilter, list_audit
from services.runtime.database import Database
from services.runtime.prune import DEAD_LETTERS, ByPages, Pruner
from services.vocabulary.values import DAY
from tests.fakes.channel import SetClock

NOON = SetClock().now
ITEMS = ByPages("items", "item", "time_micros < %(before)s", pages=1)


@dataclass
class Reading:
    """A policy that counts how often it was read."""

    periods: dict[str, int]
    times: int = 0

    def __call__(self) -> dict[str, int]:
        self.times += 1
        return self.periods


async def fill(database: Database, *ages: int) -> None:
    """Items of these ages in days, and between them so many others that they fill several pages."""
    async with database.transaction() as tx:
        await tx.execute("CREATE TABLE IF NOT EXISTS item (time_micros bigint, filler text)")
        await tx.execute(
            "INSERT INTO item SELECT time, repeat('x', 2000) FROM unnest(%s::bigint[]) AS time",
            ([NOON - age * DAY for age in ages],),
        )


async def ages(database: Database) -> list[int]:
    async with database.transaction() as tx:
        rows = await tx.rows("SELECT (%s - time_micros) / %s FROM item ORDER BY 1", (NOON, DAY))
    return [int(row[0]) for row in rows]


def pruner(database: Database, *classes, **periods: int) -> Pruner:
    return Pruner(database, SetClock(), classes or [ITEMS], Reading(periods))


async def test_only_what_is_older_goes_from_every_page_and_it_is_noted(database: Database):
    await fill(database, *range(1, 41))
    (one,), more = await pruner(database, items=30 * DAY).prune()
    assert (one.rows, one.before_micros, more) == ({"item": 10}, NOON - 30 * DAY, False)
    assert await ages(database) == list(range(1, 31))
    async with database.transaction() as tx:
        (entry,) = await list_audit(tx, AuditFilter(target="retention/items"))
    assert (entry.actor, entry.action) == ("system", "prune")
    assert entry.after == {"rows": {"item": 10}, "before_micros": NOON - 30 * DAY}


async def test_a_preview_says_the_same_and_takes_nothing_away(database: Database):
    await fill(database, *range(1, 41))
    pruning = pruner(database, items=30 * DAY)
    (seen,) = await pruning.preview()
    assert len(await ages(database)) == 40
    (gone,), _ = await pruning.prune()
    assert seen.rows == gone.rows


async def test_a_class_without_a_period_is_kept_and_nothing_is_noted_when_nothing_goes(database: Database):
    await fill(database, 1, 5_000)
    assert await pruner(database).prune() == ([], False)
    await pruner(database, items=6_000 * DAY).prune()
    assert await ages(database) == [1, 5_000]
    async with database.transaction() as tx:
        assert await list_audit(tx, AuditFilter()) == []


async def test_what_something_else_needs_is_kept_longer_than_the_policy_says(database: Database):
    await fill(database, 10, 20, 40)
    await pruner(database, replace(ITEMS, least=lambda: 30 * DAY), items=5 * DAY).prune()
    assert await ages(database) == [10, 20]


async def test_when_the_time_is_up_it_goes_on_where_it_ended(database: Database):
    await fill(database, *[40] * 20)
    pruning = pruner(database, items=30 * DAY)
    _, more = await pruning.prune(limit_seconds=0)
    assert more
    assert len(await ages(database)) == 20
    _, more = await pruning.prune(limit_seconds=30)
    assert not more
    assert await ages(database) == []


async def test_a_class_that_another_worker_prunes_is_left_to_it(database: Database):
    await fill(database, 40)
    async with database.transaction() as other:
        await other.execute("SELECT pg_advisory_xact_lock(%s + hashtext('items'))", (0x5261_7070_02,))
        (one,), more = await pruner(database, items=30 * DAY).prune()
    assert (one.rows.total(), more) == (0, False)
    assert await ages(database) == [40]


async def test_the_policy_is_read_anew_at_each_run(database: Database):
    await fill(database, 40)
    policy = Reading({})
    pruning = Pruner(database, SetClock(), [ITEMS], policy)
    await pruning.prune()
    policy.periods = {"items": 30 * DAY}
    await pruning.prune()
    assert (policy.times, await ages(database)) == (2, [])


async def test_dead_letters_go_by_the_walls_clock(database: Database):
    async with database.transaction() as tx:
        await tx.execute(
            """
            INSERT INTO dead_letter (kind, item_id, item_type, customer, payload, reason, created_at)
            SELECT 'event', age::text, 't', 1, '', 'r', now() - make_interval(days => age)
            FROM unnest('{1, 29, 31}'::int[]) AS age
            """
        )
        (now,) = await tx.row("SELECT (extract(epoch FROM now()) * 1000000)::bigint")
    clock = SetClock(now + 5_000 * DAY)  # business time is far ahead, as in a demo
    clock.wall = now
    await Pruner(database, clock, [DEAD_LETTERS], lambda: {"dead_letters": 30 * DAY}).prune()
    async with database.transaction() as tx:
        assert await tx.rows("SELECT item_id FROM dead_letter ORDER BY id") == [("1",), ("29",)]
