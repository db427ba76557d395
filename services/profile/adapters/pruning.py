"""What of the profile's database is kept for a time only: events as they came."""

from services.runtime.database import Transaction
from services.runtime.prune import Cut, Step

_ROWS = 5_000
_TABLES = ("event", "thing_event")


class Events:
    """Events of customers and things; what rules look back on is kept with the profile itself."""

    name = "events"
    by_wall = False

    def kept_at_least(self) -> int:
        """Nothing else needs them."""
        return 0

    async def count(self, transaction: Transaction, cut: Cut) -> dict[str, int]:
        """Events accepted earlier."""
        found: dict[str, int] = {}
        for table in _TABLES:
            row = await transaction.row(
                f"SELECT count(*) FROM {table} WHERE accepted_micros < %s",  # noqa: S608  our own words
                (cut.business_micros,),
            )
            found[table] = int(row[0]) if row else 0
        return found

    async def remove(self, transaction: Transaction, cut: Cut, place: int) -> Step:
        """The next few thousand of the first table, then of the second; the place is the table."""
        table = _TABLES[place]
        rows = await transaction.execute(
            f"DELETE FROM {table} WHERE ctid = ANY (ARRAY("  # noqa: S608  our own words
            f"SELECT ctid FROM {table} WHERE accepted_micros < %s LIMIT %s))",
            (cut.business_micros, _ROWS),
        )
        if rows == _ROWS:
            return Step({table: rows}, place)
        following = place + 1
        return Step({table: rows}, following if following < len(_TABLES) else None)
