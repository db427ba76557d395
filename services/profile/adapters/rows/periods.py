"""Whose identities are and were: the one who has it stands in `identity`, those before in `identity_past`."""

from collections.abc import Collection, Iterable, Mapping, Sequence
from typing import Any

from services.profile.adapters.rows.base import Rows
from services.profile.adapters.rows.identities import open_identity, seal_identity
from services.profile.domain.identities import FOREVER, Owner, Period
from services.vocabulary.identities import Identity


class PeriodRows(Rows):
    """Tables `identity` and `identity_past`, for what changes of who is who."""

    async def periods(
        self, identities: Collection[Identity], *, lock: bool = False
    ) -> dict[Identity, list[Period]]:
        """The periods of each identity that anybody is known to have had, oldest first."""
        sealer = self._store.types.sealer
        by_lookup = {sealer.lookup(identity.text): identity for identity in identities}
        lookups = sorted(by_lookup)
        if lock:
            # nobody else changes periods of the same identities, be they known or not
            for lookup in lookups:
                await self.transaction.execute(
                    "SELECT pg_advisory_xact_lock(%s)", (int.from_bytes(lookup[:8], "big", signed=True),)
                )
        found: dict[Identity, list[Period]] = {}
        for lookup, customer, line, since, until, via in await self.transaction.rows(
            "SELECT lookup, customer, line, since_micros, until_micros, via FROM identity_past "
            "WHERE lookup = ANY(%(lookups)s::bytea[]) UNION ALL "
            "SELECT lookup, customer, line, since_micros, %(forever)s::bigint, via FROM identity "
            "WHERE lookup = ANY(%(lookups)s::bytea[]) ORDER BY since_micros",
            {"lookups": lookups, "forever": FOREVER},
        ):
            found.setdefault(by_lookup[lookup], []).append(Period(customer, line, since, until, via))
        return found

    async def put_periods(
        self, identity: Identity, periods: Sequence[Period], known: Sequence[Period]
    ) -> bool:
        """Write the periods of an identity in the place of those `known`; the last of them has no end.

        False: somebody had the identity in the meantime, and what was known holds no more.
        """
        lookup, sealed = seal_identity(self._store.types.sealer, identity.text)
        await self.transaction.execute("DELETE FROM identity_past WHERE lookup = %s", (lookup,))
        *past, last = periods
        assert last.until_micros == FOREVER, "somebody has it, or nobody since some time"
        if past:
            await self.transaction.execute(
                "INSERT INTO identity_past (lookup, until_micros, since_micros, customer, line, sealed, via) "
                "SELECT %s, until, since, customer, line, CASE WHEN customer <> 0 THEN %s::bytea END, via "
                "FROM unnest(%s::bigint[], %s::bigint[], %s::bigint[], %s::text[], %s::bigint[]) "
                "AS past (until, since, customer, line, via)",
                (
                    lookup,
                    sealed,
                    [period.until_micros for period in past],
                    [period.since_micros for period in past],
                    [period.customer for period in past],
                    [period.line for period in past],
                    [period.via for period in past],
                ),
            )
        before = known[-1] if known else None
        written = await self.transaction.row(
            "INSERT INTO identity (lookup, customer, line, since_micros, sealed, via) "
            "VALUES (%s, %s, %s, %s, %s, %s) ON CONFLICT (lookup) DO UPDATE SET "
            "customer = excluded.customer, line = excluded.line, since_micros = excluded.since_micros, "
            "sealed = excluded.sealed, via = excluded.via "
            "WHERE identity.customer = %s AND identity.since_micros = %s RETURNING 1",
            (
                lookup,
                last.customer,
                last.line,
                last.since_micros,
                sealed if last.customer else None,
                last.via,
                -1 if before is None else before.customer,
                -1 if before is None else before.since_micros,
            ),
        )
        return written is not None

    async def move_identities(self, moved: Mapping[Identity, Owner]) -> None:
        """Make identities somebody else's as if they always had been."""
        sealer = self._store.types.sealer
        sealed = [seal_identity(sealer, identity.text) for identity in moved]
        # one that was not carried over from plain text yet stands in `identity` from now on
        await self.transaction.execute(
            "INSERT INTO identity (lookup, customer, line, via, sealed) "
            "SELECT * FROM unnest(%s::bytea[], %s::bigint[], %s::text[], %s::bigint[], %s::bytea[]) "
            "ON CONFLICT (lookup) DO UPDATE SET customer = excluded.customer, line = excluded.line, "
            "via = excluded.via",
            (
                [lookup for lookup, _ in sealed],
                [owner.customer for owner in moved.values()],
                [owner.line for owner in moved.values()],
                [owner.via for owner in moved.values()],
                [value for _, value in sealed],
            ),
        )

    async def move_past(self, customer: int, to: int, parts: Collection[int]) -> None:
        """Make what `customer` had in the past under the ids `parts` the past of `to`."""
        await self.transaction.execute(
            "UPDATE identity_past SET customer = %(to)s, via = CASE WHEN via = %(to)s THEN 0 ELSE via END "
            "WHERE customer = %(customer)s AND via = ANY(%(parts)s::bigint[])",
            {"customer": customer, "to": to, "parts": list(parts)},
        )

    async def past_of(self, customers: Collection[int]) -> list[tuple[Identity, Period]]:
        """What these customers had and have no more."""
        rows = await self.transaction.rows(
            "SELECT lookup, sealed, customer, line, since_micros, until_micros, via FROM identity_past "
            "WHERE customer = ANY(%s::bigint[])",
            (list(customers),),
        )
        return [(self._identity(row[0], row[1]), Period(*row[2:])) for row in _sealed(rows)]

    def _identity(self, lookup: bytes, sealed: bytes) -> Identity:
        kind, _, value = open_identity(self._store.types.sealer, lookup, bytes(sealed)).partition(":")
        return Identity(kind, value)


def _sealed(rows: Iterable[tuple[Any, ...]]) -> list[tuple[Any, ...]]:
    return [row for row in rows if row[1] is not None]
