"""The consent ledger: lines are added to each customer's chain, read, and lose their texts; nothing else."""

from collections.abc import Collection, Iterable, Mapping, Sequence
from secrets import token_bytes
from typing import Any, Final

from rapport.profile.v1 import stored_pb2

from services.profile.adapters.packed_record import consents_in
from services.profile.adapters.rows.base import Rows
from services.profile.app.ports import LedgerEntry, Ledgers
from services.profile.domain.consent import Consent, Consents
from services.profile.domain.ledger import HELD, SALT_BYTES, Entry, Head, Line, append, state_text
from services.runtime.audit import Change, write_audit
from services.vocabulary.words import Channel, ConsentBy, ConsentState, Purpose

_ENTRY_COLUMNS: Final = (
    "customer, purpose, channel, state, said_by, time_micros, expiry_micros, source, event_id, evidence, "
    "wording, recorded_micros"
)
_CHAIN_COLUMNS: Final = "number, salt, texts, previous, hash"
_TYPES: Final = (
    *("int8", "text", "text", "text", "text", "int8", "int8", "text", "text", "text", "text", "int8"),
    *("int8", "bytea", "bytea", "bytea", "bytea"),
)
_OLD_ROWS = 500


class LedgerRows(Rows):
    """Tables `consent_ledger` and `consent_head`. Whoever adds lines has locked the customers before."""

    async def keep_ledger(self, entries: Sequence[LedgerEntry]) -> None:
        """Add lines to their customers' chains, and to the audit log what they changed."""
        if not entries:
            return
        by_customer: dict[int, list[Entry]] = {}
        for entry in entries:
            by_customer.setdefault(entry.customer, []).append(_entry_of(entry))
        heads = await self._heads_of(by_customer)
        lines: list[Line] = []
        for customer, new in by_customer.items():
            added, heads[customer] = append(heads.get(customer, Head()), new, _new_salt, self._store.mac)
            lines += added
        await self.transaction.copy_rows(
            f"COPY consent_ledger ({_ENTRY_COLUMNS}, {_CHAIN_COLUMNS}) FROM STDIN (FORMAT BINARY)",
            _TYPES,
            [(*_entry_row(line.entry), *_chain_row(line)) for line in lines],
        )
        await self._save_heads(heads)
        await write_audit(self.transaction, *map(_consent_change, entries))

    async def ledgers(self, customers: Collection[int]) -> Ledgers:
        """The ledgers of these customers."""
        found = Ledgers(heads=await self._heads_of(customers))
        rows = await self.transaction.rows(
            f"SELECT {_ENTRY_COLUMNS}, {_CHAIN_COLUMNS} FROM consent_ledger "  # noqa: S608  our own words
            "WHERE customer = ANY(%s::bigint[]) ORDER BY customer, position",
            (list(customers),),
        )
        return _read(rows, found)

    async def consents_of(self, customers: Collection[int]) -> dict[int, tuple[int, Consents]]:
        """Who these customers are now, and what is in force for them; unknown ones are left out."""
        records: dict[int, tuple[int, bytes]] = {}
        wanted = set(customers)
        while wanted:
            rows = await self.transaction.rows(
                "SELECT id, merged_into, coalesce(record, '') FROM customer "
                "LEFT JOIN customer_record ON customer_record.customer = customer.id "
                "WHERE id = ANY(%s::bigint[])",
                (list(wanted),),
            )
            records |= {number: (into, record) for number, into, record in rows}
            wanted = {into for _, into, _ in rows} - {0} - records.keys()
        found: dict[int, tuple[int, Consents]] = {}
        for customer in customers:
            now = customer
            while now in records and records[now][0]:
                now = records[now][0]
            if now in records and records[now][1]:
                found[customer] = now, consents_in(stored_pb2.StoredRecord.FromString(records[now][1]))
        return found

    async def ledgers_after(self, customer: int, most: int) -> tuple[Ledgers, int | None]:
        """The ledgers of the next customers after one that have any; the last of them, None: no more."""
        rows = await self.transaction.rows(
            "SELECT customer FROM (SELECT customer FROM consent_head WHERE customer > %(after)s "
            "ORDER BY customer LIMIT %(most)s) AS headed UNION SELECT customer FROM ("
            "SELECT DISTINCT customer FROM consent_ledger WHERE customer > %(after)s "
            "ORDER BY customer LIMIT %(most)s) AS written ORDER BY customer LIMIT %(most)s",
            {"after": customer, "most": most},
        )
        customers = [number for (number,) in rows]
        found = await self.ledgers(customers)
        return found, customers[-1] if len(customers) == most else None

    async def forget_texts(self, customers: Collection[int]) -> int:
        """Take evidence, wording, the event's id and their salt out of the lines of these customers.

        The lines stay, and so do their digests: the chains verify as before. Gives how many lines lost some.
        """
        await self.chain_old(customers)
        return await self.transaction.execute(
            "UPDATE consent_ledger SET evidence = '', wording = '', event_id = '', salt = '' "
            "WHERE customer = ANY(%s::bigint[]) AND salt <> ''",
            (sorted(customers),),
        )

    async def customers_to_chain(self, most: int = _OLD_ROWS) -> list[int]:
        """Some customers with lines that stand in no chain, in order: a version before wrote them."""
        rows = await self.transaction.rows(
            "SELECT DISTINCT customer FROM (SELECT customer FROM consent_ledger WHERE number IS NULL "
            "ORDER BY customer, position LIMIT %s) AS old ORDER BY customer",
            (most,),
        )
        return [customer for (customer,) in rows]

    async def chain_old(self, customers: Collection[int]) -> int:
        """Put lines of these customers that stand in no chain at the end of it; gives how many."""
        rows = await self.transaction.rows(
            f"SELECT position, {_ENTRY_COLUMNS}, "  # noqa: S608  our own words
            "(extract(epoch FROM recorded_at) * 1000000)::bigint FROM consent_ledger "
            "WHERE customer = ANY(%s::bigint[]) AND number IS NULL ORDER BY customer, position",
            (sorted(customers),),
        )
        if not rows:
            return 0
        by_customer: dict[int, list[Entry]] = {}
        for row in rows:
            entry = _entry_from((*row[1:12], row[13]))
            by_customer.setdefault(entry.customer, []).append(entry)
        heads = await self._heads_of(by_customer)
        lines: list[Line] = []
        for customer, old in by_customer.items():
            added, heads[customer] = append(heads.get(customer, Head()), old, _new_salt, self._store.mac)
            lines += added
        await self.transaction.execute(
            "UPDATE consent_ledger SET recorded_micros = new.recorded_micros, number = new.number, "
            "salt = new.salt, texts = new.texts, previous = new.previous, hash = new.hash "
            "FROM unnest(%s::bigint[], %s::bigint[], %s::bigint[], %s::bigint[], %s::bytea[], %s::bytea[], "
            "%s::bytea[], %s::bytea[]) AS new (customer, position, recorded_micros, number, salt, texts, "
            "previous, hash) "
            "WHERE consent_ledger.customer = new.customer AND consent_ledger.position = new.position",
            (
                [line.entry.customer for line in lines],
                [row[0] for row in rows],
                [line.entry.recorded_micros for line in lines],
                *map(list, zip(*map(_chain_row, lines), strict=True)),
            ),
        )
        await self._save_heads(heads)
        return len(lines)

    async def _heads_of(self, customers: Iterable[int]) -> dict[int, Head]:
        rows = await self.transaction.rows(
            "SELECT customer, length, hash, seal FROM consent_head WHERE customer = ANY(%s::bigint[])",
            (list(customers),),
        )
        return {customer: Head(length, own, seal) for customer, length, own, seal in rows}

    async def _save_heads(self, heads: Mapping[int, Head]) -> None:
        await self.transaction.execute(
            "INSERT INTO consent_head (customer, length, hash, seal) "
            "SELECT * FROM unnest(%s::bigint[], %s::bigint[], %s::bytea[], %s::bytea[]) "
            "ON CONFLICT (customer) DO UPDATE SET length = excluded.length, hash = excluded.hash, "
            "seal = excluded.seal",
            (
                list(heads),
                [head.length for head in heads.values()],
                [head.hash for head in heads.values()],
                [head.seal for head in heads.values()],
            ),
        )


def _new_salt() -> bytes:
    return token_bytes(SALT_BYTES)


def _entry_of(entry: LedgerEntry) -> Entry:
    return Entry(
        entry.customer,
        entry.consent,
        entry.source,
        entry.event_id,
        entry.evidence,
        entry.wording,
        entry.recorded_micros,
    )


def _entry_row(entry: Entry) -> tuple[Any, ...]:
    consent = entry.consent
    return (
        entry.customer,
        consent.purpose.value,
        None if consent.channel is None else consent.channel.value,
        state_text(consent),
        consent.by.value,
        consent.time_micros,
        consent.expiry_micros,
        entry.source,
        entry.event_id,
        entry.evidence,
        entry.wording,
        entry.recorded_micros,
    )


def _chain_row(line: Line) -> tuple[int, bytes, bytes, bytes, bytes]:
    return (line.number, line.salt, line.texts, line.previous, line.hash)


def _entry_from(row: Sequence[Any]) -> Entry:
    customer, purpose, channel, state, said_by, time_micros, expiry_micros = row[:7]
    source, event_id, evidence, wording, recorded_micros = row[7:12]
    consent = Consent(
        Purpose(purpose),
        None if channel is None else Channel(channel),
        ConsentState.GRANTED if state == HELD else ConsentState(state),
        time_micros,
        ConsentBy(said_by),
        expiry_micros,
        held=state == HELD,
    )
    return Entry(customer, consent, source, event_id, evidence, wording, recorded_micros or 0)


def _read(rows: Iterable[Sequence[Any]], found: Ledgers) -> Ledgers:
    for row in rows:
        entry = _entry_from(row)
        number, salt, texts, previous, own = row[12:17]
        if number is None:
            found.unchained.setdefault(entry.customer, []).append(entry)
        else:
            line = Line(entry, number, salt, texts, previous, own)
            found.lines.setdefault(entry.customer, []).append(line)
    return found


def _consent_change(entry: LedgerEntry) -> Change:
    """A line of the ledger as the audit log knows it: whose by id, and what counted before and since."""
    channel = "all" if entry.consent.channel is None else entry.consent.channel.value
    after = _consent_state(entry.after) or {}
    if entry.after != entry.consent:
        after["without_effect"] = _consent_state(entry.consent)
    return Change(
        "consent.record",
        f"customer/{entry.customer}/consent/{entry.consent.purpose.value}/{channel}",
        before=_consent_state(entry.before),
        after=after | {"source": entry.source},
        actor=entry.actor,
    )


def _consent_state(consent: Consent | None) -> dict[str, Any] | None:
    if consent is None:
        return None
    return {
        "state": state_text(consent),
        "by": consent.by.value,
        "time_micros": consent.time_micros,
        "expiry_micros": consent.expiry_micros,
    }
