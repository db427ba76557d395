"""Things: cells, areas, stores, countries."""

from collections.abc import Collection

from services.profile.adapters.rows.base import Rows
from services.profile.adapters.snapshots import pack_thing, unpack_thing
from services.profile.app.ports import ThingKey
from services.profile.domain.things import ThingState


class ThingRows(Rows):
    """Table `thing`."""

    async def things(
        self, keys: Collection[ThingKey], lock: Collection[ThingKey]
    ) -> dict[ThingKey, ThingState]:
        """Things as they stand; the rows of those in `lock` are made and locked in order first."""
        found: dict[ThingKey, ThingState] = {key: ThingState(*key) for key in keys}
        ordered = sorted(lock)
        if ordered:
            await self.transaction.execute(
                "INSERT INTO thing (kind, key, sequence, attributes) "
                "SELECT kind, key, 0, '' FROM unnest(%s::text[], %s::text[]) AS new (kind, key) "
                "ON CONFLICT DO NOTHING",
                ([kind for kind, _ in ordered], [key for _, key in ordered]),
            )
            await self.transaction.rows(
                "SELECT 1 FROM thing WHERE (kind, key) IN (SELECT * FROM unnest(%s::text[], %s::text[])) "
                "ORDER BY kind, key FOR UPDATE",
                ([kind for kind, _ in ordered], [key for _, key in ordered]),
            )
        wanted = list(keys)
        rows = await self.transaction.rows(
            "SELECT kind, key, sequence, attributes FROM thing "
            "WHERE (kind, key) IN (SELECT * FROM unnest(%s::text[], %s::text[]))",
            ([kind for kind, _ in wanted], [key for _, key in wanted]),
        )
        for kind, key, sequence, packed in rows:
            found[kind, key] = unpack_thing(kind, key, sequence, packed)
        return found

    async def save_things(self, things: Collection[ThingState]) -> None:
        """Write things; their rows are there and locked."""
        if not things:
            return
        types = self._store.types
        await self.transaction.execute(
            "UPDATE thing SET sequence = new.sequence, attributes = new.attributes "
            "FROM unnest(%s::text[], %s::text[], %s::bigint[], %s::bytea[]) "
            "AS new (kind, key, sequence, attributes) WHERE thing.kind = new.kind AND thing.key = new.key",
            (
                [thing.kind for thing in things],
                [thing.key for thing in things],
                [thing.sequence for thing in things],
                [pack_thing(thing, types) for thing in things],
            ),
        )
