"""Persons who were erased: their rows go, what must be known of it stays, and receipts are kept."""

from collections import Counter
from collections.abc import Collection, Mapping, Sequence
from typing import Any

import orjson
from google.protobuf.message import DecodeError
from rapport.types.v1 import event_pb2

from services.profile.adapters.account_packing import SUBSCRIPTION, open_facts
from services.profile.adapters.packing import Kept
from services.profile.adapters.personal import tables
from services.profile.adapters.rows.accounts import AccountRows
from services.profile.adapters.rows.households import HouseholdRows
from services.profile.adapters.rows.ledger import LedgerRows
from services.profile.domain.accounts import PAYER, Subscription
from services.profile.domain.erasure import OTHERS, ErasedIdentity, Erasure, ErasureNotice, Ground, Part
from services.runtime.audit import Change, write_audit
from services.runtime.dead_letters import DEAD_LETTER
from services.runtime.keys import SealError, sealed_by
from services.runtime.personal import erase
from services.vocabulary.identities import Identity
from services.vocabulary.words import ConsentBy

_LETTERS = """
    SELECT id, payload FROM dead_letter WHERE customer = 0 AND kind = 'event' AND id > %s
    ORDER BY id LIMIT 500
"""
_RECEIPTS = """
    SELECT number, erasure_id, customers, requested_micros, ground, said_by, reference FROM erasure
    WHERE (cardinality(%(ids)s::text[]) = 0 OR erasure_id = ANY(%(ids)s::text[]))
        AND (%(before)s::bigint = 0 OR number < %(before)s)
        AND (NOT %(open)s OR EXISTS (
            SELECT FROM erasure_part WHERE erasure_part.erasure_id = erasure.erasure_id
                AND finished_micros = 0))
    ORDER BY number DESC LIMIT %(limit)s
"""


class ErasureRows(AccountRows, HouseholdRows, LedgerRows):
    """Tables `erasure`, `erasure_part`, `erased_customer`, `erased_identity`, and what goes of the others."""

    async def erase_person(
        self, customers: Sequence[int], identities: Collection[Identity], now_micros: int
    ) -> tuple[dict[str, int], ErasureNotice]:
        """Delete or empty all that is kept about these ids, which are locked."""
        sealer = self._store.types.sealer
        gone = [ErasedIdentity(sealer.lookup(one.text), one.kind) for one in sorted(identities, key=_text)]
        await self._leave_households(customers, now_micros)
        await self._pay_no_more(customers)
        rows = await self.erase_rows(
            customers, [one.lookup for one in gone], [one.text for one in identities]
        )
        letters = await self._erase_letters({one.text for one in identities})
        if letters:
            rows["dead_letter"] = rows.get("dead_letter", 0) + letters
        await self.transaction.execute(
            "INSERT INTO erased_identity (lookup, kind, time_micros) "
            "SELECT lookup, kind, %s FROM unnest(%s::bytea[], %s::text[]) AS gone (lookup, kind) "
            "ON CONFLICT (lookup) DO UPDATE SET time_micros = "
            "greatest(erased_identity.time_micros, excluded.time_micros)",
            (now_micros, [one.lookup for one in gone], [one.kind for one in gone]),
        )
        return rows, ErasureNotice("", tuple(customers), now_micros, tuple(gone))

    async def erase_rows(
        self, customers: Sequence[int], lookups: Sequence[bytes], texts: Sequence[str]
    ) -> dict[str, int]:
        """What is found by the ids, and by look-ups of their identities (`texts`: as they stood unsealed)."""
        ids = sorted(customers)
        lines = await self.forget_texts(ids)
        values = {"customers": ids, "lookups": list(lookups), "texts": list(texts)}
        rows = await erase(self.transaction, tables(self._store.types), values)
        return rows | ({"consent_ledger": lines} if lines else {})

    async def beside(self, customers: Sequence[int]) -> dict[str, Sequence[object]]:
        """What rows are found by that do not have their ids: look-ups of accounts, and households."""
        rows = await self.transaction.rows(
            "SELECT id, hot, record FROM customer "
            "LEFT JOIN customer_record ON customer_record.customer = customer.id "
            "WHERE id = ANY(%s::bigint[])",
            (list(customers),),
        )
        sealer = self._store.types.sealer
        kept = [Kept(hot, record or b"", number, sealer) for number, hot, record in rows]
        identities = {identity for one in kept for identity, _ in one.open_record().identities}
        return {
            "lookups": [sealer.lookup(identity.text) for identity in identities],
            "homes": sorted({one.household for one in kept if one.household}),
        }

    async def _leave_households(self, customers: Sequence[int], now_micros: int) -> None:
        """What the others share stays theirs."""
        rows = await self.transaction.rows(
            "SELECT hot FROM customer WHERE id = ANY(%s::bigint[])", (list(customers),)
        )
        kept = [Kept(hot, b"") for (hot,) in rows]
        homes = await self.homes({one.household for one in kept if one.household}, lock=True)
        for home in homes.values():
            for customer in customers:
                home.leave(customer)
        if homes:
            await self.save_homes(list(homes.values()), now_micros)

    async def _pay_no_more(self, customers: Sequence[int]) -> None:
        """Lines of others, for which the person paid."""
        rows = await self.transaction.rows(
            "SELECT lookup, account, sealed FROM subscription WHERE payer = ANY(%s::bigint[]) "
            "AND customer <> ALL(%s::bigint[]) ORDER BY lookup FOR UPDATE",
            (list(customers), list(customers)),
        )
        paid: list[Subscription] = []
        for key, account, sealed in rows:
            one = Subscription(key, "", account=account or b"")
            if sealed is not None:
                open_facts(one, sealed, SUBSCRIPTION, self._store.types.sealer)
            one.attributes.pop(PAYER, None)
            paid.append(one)
        if paid:
            await self.save_account_state([], paid)

    async def _erase_letters(self, texts: Collection[str]) -> int:
        """Events that were set aside before anybody knew whose they are, and name one of these identities."""
        gone: list[int] = []
        after = 0
        while rows := await self.transaction.rows(_LETTERS, (after,)):
            after = rows[-1][0]
            gone += [number for number, payload in rows if self._names_any(bytes(payload), texts)]
        if gone:
            await self.transaction.execute("DELETE FROM dead_letter WHERE id = ANY(%s::bigint[])", (gone,))
        return len(gone)

    def _names_any(self, payload: bytes, texts: Collection[str]) -> bool:
        """Whether a letter's event names one of these; what cannot be read names nobody to anybody."""
        try:
            if sealed_by(payload):
                payload = self._store.types.sealer.open(payload, DEAD_LETTER)
            subject = event_pb2.Event.FromString(payload).subject
        except (DecodeError, SealError):
            return False
        return any(text in texts for text in subject.split())

    async def erasure_of(self, customer: int) -> str:
        """The erasure by which an id was erased; empty: it was not."""
        row = await self.transaction.row(
            "SELECT erasure_id FROM erased_customer WHERE customer = %s", (customer,)
        )
        return "" if row is None else str(row[0])

    async def erased_customers(self, customers: Collection[int]) -> set[int]:
        """Those of the ids that were erased."""
        rows = await self.transaction.rows(
            "SELECT customer FROM erased_customer WHERE customer = ANY(%s::bigint[])", (list(customers),)
        )
        return {row[0] for row in rows}

    async def erased_identities(self, identities: Collection[Identity]) -> dict[Identity, int]:
        """When each of these identities was erased last; those that never were are left out."""
        if await self.transaction.row("SELECT 1 FROM erased_identity LIMIT 1") is None:
            return {}  # as long as nobody was erased it costs next to nothing
        by_lookup = {self.lookup(identity): identity for identity in identities}
        rows = await self.transaction.rows(
            "SELECT lookup, time_micros FROM erased_identity WHERE lookup = ANY(%s::bytea[])",
            (list(by_lookup),),
        )
        return {by_lookup[lookup]: time_micros for lookup, time_micros in rows}

    async def add_erasure(self, erasure: Erasure) -> None:
        """Keep a receipt, with a part for each service and id, and the ids as erased."""
        ids = list(erasure.customers)
        await self.transaction.execute(
            "INSERT INTO erasure (erasure_id, customers, requested_micros, ground, said_by, reference) "
            "VALUES (%s, %s, %s, %s, %s, %s)",
            (
                erasure.erasure_id,
                ids,
                erasure.requested_micros,
                erasure.ground.value,
                erasure.by.value,
                erasure.reference,
            ),
        )
        await self.transaction.execute(
            "INSERT INTO erased_customer (customer, erasure_id) SELECT unnest(%s::bigint[]), %s",
            (ids, erasure.erasure_id),
        )
        await self.transaction.execute(
            "INSERT INTO erasure_part (erasure_id, service, customer) "
            "SELECT %s, service, customer "
            "FROM unnest(%s::text[]) AS service, unnest(%s::bigint[]) AS customer",
            (erasure.erasure_id, list(erasure.parts), ids),
        )

    async def note_erased(
        self, erasure_id: str, service: str, customer: int, finished_micros: int, erased: Mapping[str, int]
    ) -> None:
        """Keep what a service did for one id, beside what it did before; the same again changes nothing."""
        key = (erasure_id, service, customer)
        row = await self.transaction.row(
            "SELECT erased::text FROM erasure_part WHERE erasure_id = %s AND service = %s AND customer = %s "
            "AND finished_micros = 0 FOR UPDATE",
            key,
        )
        if row is None:
            return
        whole = Counter(orjson.loads(row[0])) + Counter(erased)
        await self.transaction.execute(
            "UPDATE erasure_part SET finished_micros = %s, erased = %s::text::jsonb "
            "WHERE erasure_id = %s AND service = %s AND customer = %s",
            (finished_micros, orjson.dumps(dict(whole)).decode(), *key),
        )

    async def reopen_erasure(self, erasure: Erasure) -> ErasureNotice:
        """The other services are to do it once more."""
        await self.transaction.execute(
            "UPDATE erasure_part SET finished_micros = 0 WHERE erasure_id = %s AND service = ANY(%s::text[])",
            (erasure.erasure_id, list(OTHERS)),
        )
        rows = await self.transaction.rows(
            "SELECT lookup, kind FROM erased_identity WHERE time_micros = %s", (erasure.requested_micros,)
        )
        return ErasureNotice(
            erasure.erasure_id,
            erasure.customers,
            erasure.requested_micros,
            tuple(ErasedIdentity(lookup, kind) for lookup, kind in rows),
        )

    async def erasures(
        self, ids: Sequence[str] = (), *, before: int = 0, limit: int = 1, open_only: bool = False
    ) -> list[Erasure]:
        """Receipts, newest first."""
        rows = await self.transaction.rows(
            _RECEIPTS, {"ids": list(ids), "before": before, "limit": limit, "open": open_only}
        )
        found = {row[1]: _erasure(row) for row in rows}
        parts = await self.transaction.rows(
            "SELECT erasure_id, service, customer, finished_micros, erased::text FROM erasure_part "
            "WHERE erasure_id = ANY(%s::text[]) ORDER BY erasure_id, customer",
            (list(found),),
        )
        for erasure_id, service, customer, finished_micros, erased in parts:
            part = found[erasure_id].parts.setdefault(service, Part(service))
            part.add(customer, finished_micros, orjson.loads(erased))
        return list(found.values())

    async def audit(self, change: Change) -> None:
        """Write down who did it."""
        await write_audit(self.transaction, change)


def _erasure(row: Sequence[Any]) -> Erasure:
    number, erasure_id, customers, requested_micros, ground, said_by, reference = row
    return Erasure(
        number, erasure_id, tuple(customers), requested_micros, Ground(ground), ConsentBy(said_by), reference
    )


def _text(identity: Identity) -> str:
    return identity.text
