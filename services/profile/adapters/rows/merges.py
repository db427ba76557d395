"""Merges and splits, the state that they rest on, and pairs of customers who may be one person."""

from collections.abc import Collection, Mapping, Sequence
from dataclasses import replace
from typing import Any, Final

from rapport.profile.v1 import stored_pb2

from services.profile.adapters.packed_record import pack_record
from services.profile.adapters.packed_traits import HOT
from services.profile.adapters.packing import Kept, pack_hot
from services.profile.adapters.rows.base import Rows
from services.profile.adapters.rows.kept import event_context, open_event
from services.profile.domain.customer import Customer
from services.profile.domain.merges import Merge, MergeKind, Met, PastEvent, Suggestion, SuggestionState
from services.runtime.audit import Change, write_audit
from services.runtime.keys import sealed_by
from services.vocabulary.identities import Identity

_MERGE: Final = (
    "id, kind, other, customer, time_micros, said_by, reason, into_sequence, into_lines, "
    "undone_micros, undone_by, undone_reason"
)
_EVENT: Final = (
    "customer, sequence, time_micros, type, source, line, via, data, event_id, retracted_micros > 0"
)
_SUGGESTION: Final = "id, customer, other, state, time_micros, sealed, decided_by, decided_micros, merge"
_LENGTH_BYTES: Final = 4


class MergeRows(Rows):
    """Tables `customer_merge` and `identity_suggestion`, and what merges change in others."""

    async def add_merge(self, merge: Merge, base: Customer | None, now_micros: int) -> int:
        """Keep a merge, with the customer who stays as they were before."""
        rows = await self.transaction.rows(
            "INSERT INTO customer_merge (kind, other, customer, time_micros, said_by, reason, "
            "into_sequence, into_lines) VALUES (%s, %s, %s, %s, %s, %s, %s, %s) RETURNING id",
            (
                merge.kind.value,
                merge.from_customer,
                merge.into_customer,
                merge.time_micros,
                merge.by,
                merge.reason,
                merge.into_sequence,
                merge.into_lines,
            ),
        )
        number: int = rows[0][0]
        if base is not None:
            await self._put_base(number, base, now_micros)
        return number

    async def put_base(self, merge: Merge, base: Customer, now_micros: int) -> None:
        """Keep another state as the one before a merge."""
        await self._put_base(merge.id, base, now_micros)

    async def _put_base(self, number: int, base: Customer, now_micros: int) -> None:
        types = self._store.types
        stored = stored_pb2.StoredHot.FromString(pack_hot(base, types))
        if stored.direct:  # sealed once, with all the rest
            stored.direct = types.sealer.open(stored.direct, f"{HOT}/{base.id}")
        hot = stored.SerializeToString()
        # whose the identities are is known when it is asked for
        record = pack_record(replace(base.record, identities=[]), now_micros, base.id, types.sealer)
        packed = len(hot).to_bytes(_LENGTH_BYTES, "big") + hot + record
        await self.transaction.execute(
            "UPDATE customer_merge SET base = %s WHERE id = %s",
            (types.sealer.seal(packed, merge_context(number)), number),
        )

    async def merge(self, merge_id: int) -> Merge | None:
        """A merge, locked."""
        row = await self.transaction.row(
            f"SELECT {_MERGE} FROM customer_merge WHERE id = %s FOR UPDATE",  # noqa: S608  our own words
            (merge_id,),
        )
        return None if row is None else _merge(row)

    async def base_of(self, merge: Merge) -> Customer | None:
        """The customer who stays as they were before a merge."""
        row = await self.transaction.row("SELECT base FROM customer_merge WHERE id = %s", (merge.id,))
        if row is None or row[0] is None:
            return None
        sealer, customer = self._store.types.sealer, merge.into_customer
        packed = sealer.open(bytes(row[0]), merge_context(merge.id))
        end = _LENGTH_BYTES + int.from_bytes(packed[:_LENGTH_BYTES], "big")
        hot = stored_pb2.StoredHot.FromString(packed[_LENGTH_BYTES:end])
        if hot.direct:
            hot.direct = sealer.seal(hot.direct, f"{HOT}/{customer}")
        kept = Kept(hot.SerializeToString(), packed[end:], customer, sealer)
        return Customer(customer, merge.into_sequence, kept)

    async def merges_of(self, customers: Collection[int]) -> list[Merge]:
        """Merges and splits that concern these customers, oldest first."""
        rows = await self.transaction.rows(
            f"SELECT {_MERGE} FROM customer_merge "  # noqa: S608  our own words
            "WHERE other = ANY(%(ids)s::bigint[]) OR customer = ANY(%(ids)s::bigint[]) "
            "ORDER BY id",
            {"ids": list(customers)},
        )
        return [_merge(row) for row in rows]

    async def undo(self, merge_id: int, now_micros: int, by: str, reason: str) -> None:
        """Note that a merge or split does not hold any more; what it rested on is not asked for again."""
        await self.transaction.execute(
            "UPDATE customer_merge SET undone_micros = %s, undone_by = %s, undone_reason = %s, base = NULL "
            "WHERE id = %s",
            (now_micros, by, reason, merge_id),
        )

    async def set_merged_into(self, customer: int, into: int) -> None:
        """Have a customer lead to another; 0: to nobody."""
        await self.transaction.execute("UPDATE customer SET merged_into = %s WHERE id = %s", (into, customer))

    async def events_after(self, customer: int, sequence: int, most: int) -> list[PastEvent]:
        """A customer's kept events beyond a sequence, in order."""
        rows = await self.transaction.rows(
            f"SELECT {_EVENT} FROM event WHERE customer = %s AND sequence > %s "  # noqa: S608  our own words
            "ORDER BY sequence LIMIT %s",
            (customer, sequence, most),
        )
        return [self._opened(PastEvent(*row)) for row in rows]

    def _opened(self, event: PastEvent) -> PastEvent:
        if not sealed_by(event.data):
            return event
        data = open_event(self._store.types.sealer, event.customer, event.sequence, event.data)
        return replace(event, data=data)

    async def move_events(self, customer: int, to: int, sequences: Mapping[int, int], via: int) -> None:
        """Make events another customer's, under new sequences; those that came under `via` lose that mark."""
        await self.transaction.execute(
            "UPDATE event SET customer = %(to)s, sequence = moved.after, "
            "via = CASE WHEN event.via = %(via)s THEN 0 ELSE event.via END "
            "FROM unnest(%(before)s::bigint[], %(after)s::bigint[]) AS moved (before, after) "
            "WHERE event.customer = %(customer)s AND event.sequence = moved.before",
            {
                "customer": customer,
                "to": to,
                "via": via,
                "before": list(sequences),
                "after": list(sequences.values()),
            },
        )
        await self._bind_anew(customer, to, {after: before for before, after in sequences.items()})

    async def _bind_anew(self, customer: int, to: int, before: Mapping[int, int]) -> None:
        """What stands sealed in events is bound to the rows in which they stand."""
        sealer = self._store.types.sealer
        rows = await self.transaction.rows(
            "SELECT sequence, data FROM event WHERE customer = %s AND sequence = ANY(%s::bigint[])",
            (to, list(before)),
        )
        anew = [
            (
                sequence,
                sealer.seal(
                    open_event(sealer, customer, before[sequence], data), event_context(to, sequence)
                ),
            )
            for sequence, data in rows
            if sealed_by(data)
        ]
        if anew:
            await self.transaction.execute(
                "UPDATE event SET data = anew.data FROM unnest(%s::bigint[], %s::bytea[]) "
                "AS anew (sequence, data) WHERE customer = %s AND event.sequence = anew.sequence",
                ([sequence for sequence, _ in anew], [data for _, data in anew], to),
            )

    async def lines_of_ledger(self, customer: int) -> int:
        """How many lines the consent ledger of a customer has."""
        row = await self.transaction.row("SELECT length FROM consent_head WHERE customer = %s", (customer,))
        return 0 if row is None else row[0]

    async def put_last_times(self, customers: Collection[Customer], types: Collection[str]) -> None:
        """Write the times of the last events of some customers anew; of merged ones there are none."""
        await self.transaction.execute(
            "DELETE FROM last_time WHERE customer = ANY(%s::bigint[]) AND type = ANY(%s::text[])",
            ([customer.id for customer in customers], sorted(types)),
        )
        times: dict[tuple[str, int], int] = {}
        for customer in customers:
            for name in types if not customer.merged_into else ():
                activity = customer.activity.get(name) or customer.kept.open_activity(name)
                if activity is not None and activity.times:
                    times[name, customer.id] = activity.last_time_micros
        if times:
            await self.save_last_times(times)  # type: ignore[attr-defined]

    async def hide(self, customer: int) -> None:
        """Take a merged customer out of what others are found by."""
        await self.transaction.execute("DELETE FROM customer_traits WHERE customer = %s", (customer,))
        await self.transaction.execute("DELETE FROM customer_zone WHERE customer = %s", (customer,))

    async def audit(self, change: Change) -> None:
        """Write down who changed what."""
        await write_audit(self.transaction, change)

    # suggestions

    async def suggest(self, met: Sequence[Met], now_micros: int) -> int:
        """Keep pairs that were not suggested before, whatever became of it."""
        sealer = self._store.types.sealer
        pairs = [(min(one.customer, one.other), max(one.customer, one.other)) for one in met]
        return await self.transaction.execute(
            "INSERT INTO identity_suggestion (customer, other, low, high, state, time_micros, sealed) "
            "SELECT customer, other, low, high, state, %s, sealed "
            "FROM unnest(%s::bigint[], %s::bigint[], %s::bigint[], %s::bigint[], %s::text[], %s::bytea[]) "
            "AS found (customer, other, low, high, state, sealed) ON CONFLICT DO NOTHING",
            (
                now_micros,
                [one.customer for one in met],
                [one.other for one in met],
                [low for low, _ in pairs],
                [high for _, high in pairs],
                [one.state.value for one in met],
                [
                    sealer.seal_text(
                        "\n".join(identity.text for identity in one.identities), suggestion_context(*pair)
                    )
                    for one, pair in zip(met, pairs, strict=True)
                ],
            ),
        )

    async def suggestions(self, state: SuggestionState, after: int, most: int) -> list[Suggestion]:
        """Suggestions in a state beyond an id, oldest first."""
        rows = await self.transaction.rows(
            f"SELECT {_SUGGESTION} FROM identity_suggestion "  # noqa: S608  our own words
            "WHERE state = %s AND id > %s ORDER BY id LIMIT %s",
            (state.value, after, most),
        )
        return [self._suggestion(row) for row in rows]

    async def suggestion(self, suggestion_id: int) -> Suggestion | None:
        """One, locked."""
        row = await self.transaction.row(
            f"SELECT {_SUGGESTION} FROM identity_suggestion WHERE id = %s FOR UPDATE",  # noqa: S608
            (suggestion_id,),
        )
        return None if row is None else self._suggestion(row)

    async def decide(
        self, suggestion_id: int, state: SuggestionState, by: str, now_micros: int, merge: int
    ) -> None:
        """Note what came of a suggestion."""
        await self.transaction.execute(
            "UPDATE identity_suggestion SET state = %s, decided_by = %s, decided_micros = %s, merge = %s "
            "WHERE id = %s",
            (state.value, by, now_micros, merge, suggestion_id),
        )

    def _suggestion(self, row: Sequence[Any]) -> Suggestion:
        number, customer, other, state, time_micros, sealed, by, decided, merge = row
        text = self._store.types.sealer.open_text(
            bytes(sealed), suggestion_context(min(customer, other), max(customer, other))
        )
        named = [Identity(*word.split(":", 1)) for word in text.split("\n") if word]
        return Suggestion(
            number, customer, other, SuggestionState(state), time_micros, tuple(named), by, decided, merge
        )


def merge_context(number: int) -> str:
    """Where the state before a merge stands sealed."""
    return f"customer_merge/{number}"


def suggestion_context(low: int, high: int) -> str:
    """Where the identities of a suggestion stand sealed."""
    return f"identity_suggestion/{low}/{high}"


def _merge(row: Sequence[Any]) -> Merge:
    return Merge(row[0], MergeKind(row[1]), *row[2:])
