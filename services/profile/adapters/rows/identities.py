"""Whose identities are, conflicts between them, and the keys of events taken."""

from collections.abc import Collection, Iterable, Mapping, Sequence
from typing import Any

from services.profile.adapters.rows.base import Rows
from services.profile.domain.identities import Owner
from services.runtime.database import Transaction
from services.runtime.keys import Sealer
from services.vocabulary.identities import Identity

CLAIM = """
    INSERT INTO identity (lookup, customer, line, sealed)
    SELECT * FROM unnest(%s::bytea[], %s::bigint[], %s::text[], %s::bytea[])
    ON CONFLICT DO NOTHING RETURNING lookup
"""
_CLAIM = """
    INSERT INTO identity (lookup, customer, line, sealed, via)
    SELECT * FROM unnest(%s::bytea[], %s::bigint[], %s::text[], %s::bytea[], %s::bigint[])
    ON CONFLICT (lookup) DO UPDATE SET customer = excluded.customer, line = excluded.line,
        sealed = excluded.sealed, via = excluded.via
    WHERE identity.customer = 0 RETURNING lookup
"""


def seal_identity(sealer: Sealer, text: str) -> tuple[bytes, bytes]:
    """The look-up and the sealed form of an identity (`kind:value`), for `identity` and `identity_past`."""
    lookup = sealer.lookup(text)
    return lookup, sealer.seal_text(text, identity_context(lookup))


def open_identity(sealer: Sealer, lookup: bytes, sealed: bytes) -> str:
    """The identity (`kind:value`) of a row of `identity` or `identity_past`; SealError names the row."""
    return sealer.open_text(sealed, identity_context(lookup))


def conflict_key(sealer: Sealer, identities: Iterable[str]) -> tuple[str, str]:
    """What stands in `identity_conflict.identities`, and the text that stands sealed beside it."""
    text = " ".join(sorted(identities))
    return sealer.lookup(text).hex(), text


def conflict_context(customer: int) -> str:
    """Where a sealed conflict stands."""
    return f"identity_conflict/{customer}"


def identity_context(lookup: bytes) -> str:
    """Where a sealed identity stands, in whichever of its tables."""
    return f"identity/{lookup.hex()}"


async def plain_owners(transaction: Transaction, texts: Collection[str]) -> list[tuple[Any, ...]] | None:
    """Identity, customer and line of those not carried over yet; None: all have been, for good."""
    rows = await transaction.rows(
        "SELECT identity, customer, line FROM identity_plain WHERE identity = ANY(%s::text[])", (list(texts),)
    )
    if rows or await transaction.row("SELECT 1 FROM identity_plain LIMIT 1"):
        return rows
    return None


class IdentityRows(Rows):
    """Tables `identity`, `identity_conflict` and `event_key`, and the sequence of customer ids."""

    async def owners(self, identities: Collection[Identity]) -> dict[Identity, Owner]:
        """Whose these identities are; customer 0: nobody's since some time."""
        by_lookup = {self.lookup(identity): identity for identity in identities}
        rows = await self.transaction.rows(
            "SELECT lookup, customer, line, since_micros, via FROM identity WHERE lookup = ANY(%s::bytea[])",
            (list(by_lookup),),
        )
        found = {by_lookup[lookup]: Owner(*owner) for lookup, *owner in rows}
        if len(found) < len(by_lookup) and not self._store.types.all_sealed:
            await self._add_plain(found, identities)
        return found

    async def _add_plain(self, found: dict[Identity, Owner], identities: Collection[Identity]) -> None:
        """What stood in plain text before there were keys, as long as some of it is left."""
        by_text = {identity.text: identity for identity in identities if identity not in found}
        rows = await plain_owners(self.transaction, by_text)
        if rows is None:
            self._store.types.all_sealed = True
            return
        found.update({by_text[text]: Owner(customer, line) for text, customer, line in rows})

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
        """Make identities of nobody their owners'; one that was given up is theirs since then."""
        sealer = self._store.types.sealer
        lookups = [self.lookup(identity) for identity, _ in claims]
        by_lookup = {lookup: identity for lookup, (identity, _) in zip(lookups, claims, strict=True)}
        rows = await self.transaction.rows(
            _CLAIM,
            (
                lookups,
                [owner.customer for _, owner in claims],
                [owner.line for _, owner in claims],
                [
                    sealer.seal_text(identity.text, identity_context(lookup))
                    for lookup, (identity, _) in zip(lookups, claims, strict=True)
                ],
                [owner.via for _, owner in claims],
            ),
        )
        return {by_lookup[row[0]] for row in rows}

    async def note_conflicts(
        self, conflicts: Sequence[tuple[int, Sequence[Identity]]], now_micros: int
    ) -> None:
        """Record that identities of several customers came together; the same again is recorded once."""
        sealer = self._store.types.sealer
        keyed = [
            conflict_key(sealer, (identity.text for identity in identities)) for _, identities in conflicts
        ]
        await self.transaction.execute(
            "INSERT INTO identity_conflict (customer, identities, time_micros, sealed) "
            "SELECT customer, identities, %s, sealed "
            "FROM unnest(%s::bigint[], %s::text[], %s::bytea[]) AS found (customer, identities, sealed) "
            "ON CONFLICT DO NOTHING",
            (
                now_micros,
                [customer for customer, _ in conflicts],
                [key for key, _ in keyed],
                [
                    sealer.seal_text(text, conflict_context(customer))
                    for (customer, _), (_, text) in zip(conflicts, keyed, strict=True)
                ],
            ),
        )
