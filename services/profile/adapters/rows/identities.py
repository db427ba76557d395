"""Whose identities are, conflicts between them, and the keys of events taken."""

from collections.abc import Collection, Mapping, Sequence

from services.profile.adapters.rows.base import Rows
from services.profile.domain.identities import Owner
from services.vocabulary.identities import Identity


class IdentityRows(Rows):
    """Tables `identity`, `identity_conflict` and `event_key`, and the sequence of customer ids."""

    async def owners(self, identities: Collection[Identity]) -> dict[Identity, Owner]:
        """Whose these identities are."""
        by_text = {identity.text: identity for identity in identities}
        rows = await self.transaction.rows(
            "SELECT identity, customer, line FROM identity WHERE identity = ANY(%s::text[])", (list(by_text),)
        )
        return {by_text[text]: Owner(customer, line) for text, customer, line in rows}

    async def new_keys(self, keys: Mapping[bytes, int]) -> set[bytes]:
        """Keep event keys, in order, so that two transactions never wait for each other in a ring."""
        ordered = sorted(keys)
        rows = await self.transaction.rows(
            "INSERT INTO event_key (key, time_micros) SELECT * FROM unnest(%s::bytea[], %s::bigint[]) "
            "ON CONFLICT DO NOTHING RETURNING key",
            (ordered, [keys[key] for key in ordered]),
        )
        return {row[0] for row in rows}

    async def forget_keys(self, keys: Sequence[bytes]) -> None:
        """Undo `new_keys`."""
        await self.transaction.execute("DELETE FROM event_key WHERE key = ANY(%s::bytea[])", (list(keys),))

    async def new_customer_ids(self, count: int) -> list[int]:
        """Ids that nobody has."""
        rows = await self.transaction.rows(
            "SELECT nextval('customer_id') FROM generate_series(1, %s)", (count,)
        )
        return [row[0] for row in rows]

    async def claim(self, claims: Sequence[tuple[Identity, Owner]]) -> set[Identity]:
        """Make identities their owners'."""
        by_text = {identity.text: identity for identity, _ in claims}
        rows = await self.transaction.rows(
            "INSERT INTO identity (identity, customer, line) "
            "SELECT * FROM unnest(%s::text[], %s::bigint[], %s::text[]) "
            "ON CONFLICT DO NOTHING RETURNING identity",
            (
                [identity.text for identity, _ in claims],
                [owner.customer for _, owner in claims],
                [owner.line for _, owner in claims],
            ),
        )
        return {by_text[row[0]] for row in rows}

    async def note_conflicts(
        self, conflicts: Sequence[tuple[int, Sequence[Identity]]], now_micros: int
    ) -> None:
        """Record that identities of several customers came together; the same again is recorded once."""
        await self.transaction.execute(
            "INSERT INTO identity_conflict (customer, identities, time_micros) "
            "SELECT customer, identities, %s "
            "FROM unnest(%s::bigint[], %s::text[]) AS found (customer, identities) "
            "ON CONFLICT DO NOTHING",
            (
                now_micros,
                [customer for customer, _ in conflicts],
                [" ".join(sorted(identity.text for identity in identities)) for _, identities in conflicts],
            ),
        )
