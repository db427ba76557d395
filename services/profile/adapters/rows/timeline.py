"""A person's history as it is kept, and which customers changed since one looked."""

import json
from collections.abc import Collection, Sequence

from services.profile.adapters.rows.base import Rows
from services.profile.adapters.rows.kept import open_event
from services.profile.domain.events import CONSENT_CHANGED
from services.profile.domain.timeline import Happening, Kind, Kinds, Place, Wanted
from services.runtime.keys import Sealer
from services.vocabulary.values import format_time

_PLACE = "(time_micros, kind, customer, number)"
_BEHIND = (
    "(%(behind_time)s::bigint, %(behind_kind)s::int, %(behind_customer)s::bigint, %(behind_number)s::bigint)"
)
_EVENTS = """
    SELECT time_micros, kind, customer, number, type, source, event_id, line, data, accepted_micros, hops,
        history, retracted_micros
    FROM (
        SELECT time_micros, customer, sequence AS number, type, source, event_id, line, data, accepted_micros,
            hops, history, retracted_micros,
            CASE
                WHEN type = ANY(%(identity)s::text[]) THEN 3
                WHEN type = ANY(%(message)s::text[]) THEN 4
                WHEN type = ANY(%(refusal)s::text[]) THEN 5
                WHEN type = ANY(%(internal)s::text[]) THEN 6
                ELSE 1
            END AS kind
        FROM event
        WHERE customer = ANY(%(customers)s::bigint[]) AND type <> %(consent)s
            AND time_micros >= %(from)s AND time_micros < %(until)s
            AND (%(retracted)s OR retracted_micros = 0)
    ) AS found
    WHERE kind = ANY(%(kinds)s::int[])
"""
_CONSENTS = """
    SELECT time_micros, kind, customer, number, purpose, channel, state, said_by, expiry_micros, evidence,
        wording, source, event_id, recorded
    FROM (
        SELECT time_micros, 2 AS kind, customer, position AS number, purpose, channel, state, said_by,
            expiry_micros, evidence, wording, source, event_id,
            (extract(epoch FROM recorded_at) * 1000000)::bigint AS recorded
        FROM consent_ledger
        WHERE customer = ANY(%(customers)s::bigint[])
            AND time_micros >= %(from)s AND time_micros < %(until)s
    ) AS found
    WHERE 2 = ANY(%(kinds)s::int[])
"""


class TimelineRows(Rows):
    """Tables `event` and `consent_ledger` as one history, and the versions of `customer`'s rows."""

    async def timeline(
        self, customers: Sequence[int], wanted: Wanted, kinds: Kinds, limit: int
    ) -> list[Happening]:
        """The next entries in the order asked for, at most so many."""
        found: list[Happening] = []
        params = _params(customers, wanted, kinds, limit)
        if wanted.kinds - {Kind.CONSENT}:
            rows = await self.transaction.rows(_EVENTS + _part(wanted), params)
            sealer = self._store.types.sealer
            found += [_event_entry(sealer, *row) for row in rows]
        if Kind.CONSENT in wanted.kinds:
            found += [
                _consent_entry(*row) for row in await self.transaction.rows(_CONSENTS + _part(wanted), params)
            ]
        found.sort(key=lambda entry: entry.place, reverse=not wanted.oldest_first)
        return found[:limit]

    async def versions(self, customers: Collection[int]) -> dict[int, tuple[int, int]]:
        """What names the present version of each customer's rows: another one means that it was written."""
        rows = await self.transaction.rows(
            "SELECT id, customer.xmin::text::bigint, coalesce(customer_record.xmin::text::bigint, 0) "
            "FROM customer LEFT JOIN customer_record ON customer_record.customer = customer.id "
            "WHERE id = ANY(%s::bigint[])",
            (list(customers),),
        )
        return {number: (hot, record) for number, hot, record in rows}


def _params(customers: Sequence[int], wanted: Wanted, kinds: Kinds, limit: int) -> dict[str, object]:
    behind = wanted.behind or Place(0, 0, 0, 0)
    return {
        "customers": list(customers),
        "from": wanted.from_micros,
        "until": wanted.until_micros,
        "kinds": [int(kind) for kind in wanted.kinds],
        "consent": CONSENT_CHANGED,
        "limit": limit,
        "retracted": wanted.with_retracted,
        "behind_time": behind.time_micros,
        "behind_kind": behind.kind,
        "behind_customer": behind.customer,
        "behind_number": behind.number,
    } | {
        kind.name.lower(): list(kinds.types.get(kind, ()))
        for kind in (Kind.IDENTITY, Kind.MESSAGE, Kind.REFUSAL, Kind.INTERNAL)
    }


def _part(wanted: Wanted) -> str:
    """From where on, in which order, and how many."""
    compare, order = (">", "ASC") if wanted.oldest_first else ("<", "DESC")
    begin = "" if wanted.behind is None else f" AND {_PLACE} {compare} {_BEHIND}"
    ordered = ", ".join(f"{name} {order}" for name in ("time_micros", "kind", "customer", "number"))
    return f"{begin} ORDER BY {ordered} LIMIT %(limit)s"


def _event_entry(
    sealer: Sealer,
    time: int,
    kind: int,
    customer: int,
    number: int,
    event_type: str,
    source: str,
    event_id: str,
    line: str,
    data: bytes,
    accepted: int,
    hops: int,
    history: bool,  # noqa: FBT001 - a column
    retracted: int,
) -> Happening:
    place = Place(time, kind, customer, number)
    opened = open_event(sealer, customer, number, bytes(data))
    return Happening(place, event_type, source, event_id, line, opened, accepted, hops, history, retracted)


def _consent_entry(
    time: int,
    kind: int,
    customer: int,
    number: int,
    purpose: str,
    channel: str | None,
    state: str,
    by: str,
    expiry: int,
    evidence: str,
    wording: str,
    source: str,
    event_id: str,
    recorded: int,
) -> Happening:
    said = {
        "purpose": purpose,
        "channel": channel,
        "state": state,
        "by": by,
        "evidence": evidence,
        "wording": wording,
        "expiry_time": format_time(expiry) if expiry else "",
    }
    data = json.dumps({name: value for name, value in said.items() if value}).encode()
    return Happening(
        Place(time, kind, customer, number), CONSENT_CHANGED, source, event_id, "", data, recorded
    )
