"""Customers found by SQL: by what is known of their traits, consents, zones and last events.

A call looks at so many customers and no more, whatever it finds, so that none takes long: who asks comes
again. Every walk goes along an index in its order (see the migration 0004).
"""

import json
from collections.abc import Sequence
from datetime import date
from typing import Any

from services.profile.domain.audience import (
    AgreedTest,
    Audience,
    AudienceTest,
    Clause,
    Members,
    Operator,
    Place,
    TraitTest,
)
from services.runtime.database import Transaction
from services.vocabulary.values import Money, Value
from services.vocabulary.words import UNKNOWN_MEANS_YES

_LOOKED_AT = 20_000
"""Customers that one call looks at."""
ZONES = "zones"
_SILENT_BOUNDS = "type = %(type)s AND time_micros > %(after)s AND time_micros <= %(until)s"
_SILENT = f"""
    FROM last_time
    WHERE {_SILENT_BOUNDS}
        AND (time_micros, customer) > (%(time)s, %(customer)s)
    ORDER BY time_micros, last_time.customer
"""
_IN_ZONE = "FROM customer_zone WHERE zone = %(zone)s AND customer > %(customer)s ORDER BY customer"
_WITH_TRAITS = "FROM customer_traits WHERE customer > %(customer)s ORDER BY customer"
_EVERYONE = "FROM customer WHERE id > %(customer)s AND merged_into = 0 ORDER BY id"
_COMPARISONS = {
    Operator.IS: "==",
    Operator.CONTAINS: "==",
    Operator.LESS: "<",
    Operator.AT_MOST: "<=",
    Operator.MORE: ">",
    Operator.AT_LEAST: ">=",
    Operator.STARTS_WITH: "starts with",
}


def last_times(event_type: str) -> str:
    """The name under which the last times of an event type are gathered."""
    return f"last:{event_type}"


class AudienceReader:
    """Reads pages of customers; `default_zone` is the operator's, where those live who told no zone."""

    def __init__(self, default_zone: str) -> None:
        self._default_zone = default_zone

    async def members(self, transaction: Transaction, audience: Audience, place: Place, size: int) -> Members:
        """The next customers after a place; fewer than `size` though more follow, where few are found."""
        # what is found and where the walk ends must be of one moment
        await transaction.execute("SET TRANSACTION ISOLATION LEVEL REPEATABLE READ READ ONLY")
        needed = ([ZONES] if audience.zone else []) + (
            [last_times(audience.absence.type)] if audience.absence is not None else []
        )
        if needed and not await _gathered(transaction, needed):
            return Members(filling=True)
        walk, params = self._walk(audience, place)
        holds = [_clause(clause, params) for clause in audience.clauses]
        if audience.zone and not self._walks_zone(audience):
            holds.append(self._zone(audience.zone, params))
        order = "last, customer" if audience.absence is not None else "customer"
        rows = await transaction.rows(
            # it ends as soon as enough are found
            f"SELECT customer, last FROM ({walk} LIMIT %(most)s) AS walked "  # noqa: S608  our own words
            f"WHERE {' AND '.join(holds) or 'true'} ORDER BY {order} LIMIT %(size)s",
            params | {"most": _LOOKED_AT, "size": size + 1},
        )
        found = [(customer, last) for customer, last in rows]
        if len(found) > size:
            found = found[:size]
            end = found[-1]
        else:
            row = await transaction.row(f"{walk} OFFSET %(last)s LIMIT 1", params | {"last": _LOOKED_AT - 1})
            if row is None:
                return Members(found)
            end = (row[0], row[1])
        following = _place(audience, *end)
        return Members(found, following, walked=await self._walked(transaction, audience, following))

    async def _walked(self, transaction: Transaction, audience: Audience, place: Place) -> float:
        """What part lies before a place, were customers spread evenly: a look at the ends of an index."""
        absence = audience.absence
        if absence is not None:
            table, column, until, where = "last_time", "time_micros", place.time_micros, _SILENT_BOUNDS
            params: dict[str, Any] = {
                "type": absence.type,
                "after": absence.after_micros,
                "until": absence.until_micros,
            }
        elif self._walks_zone(audience):
            table, column, until, where = "customer_zone", "customer", place.customer, "zone = %(zone)s"
            params = {"zone": audience.zone}
        else:
            table, column, until, where = "customer", "id", place.customer, "true"
            params = {}
        row = await transaction.row(
            f"SELECT min({column}), max({column}) FROM {table} WHERE {where}",  # noqa: S608  our own words
            params,
        )
        if row is None or row[0] is None or row[1] <= row[0]:
            return 0.0
        first, last = int(row[0]), int(row[1])
        return min(1.0, max(0.0, (until - first) / (last - first)))

    async def zones(
        self, transaction: Transaction, after: str, size: int
    ) -> tuple[list[str], str | None, bool]:
        """Zones after one, in order; the last of them if more follow; whether they are still gathered."""
        if not await _gathered(transaction, [ZONES]):
            return [], None, True
        rows = await transaction.rows(
            """
            WITH RECURSIVE found (zone, count) AS (
                (SELECT zone, 1 FROM customer_zone WHERE zone > %(after)s ORDER BY zone LIMIT 1)
                UNION ALL
                SELECT (SELECT min(zone) FROM customer_zone WHERE zone > found.zone), count + 1
                FROM found WHERE found.zone IS NOT NULL AND count <= %(size)s
            )
            SELECT zone FROM found WHERE zone IS NOT NULL
            """,
            {"after": after, "size": size},
        )
        zones = [row[0] for row in rows]
        following = zones[size - 1] if len(zones) > size else None
        shown = [zone for zone in zones[:size] if zone != self._default_zone]
        return ([] if after else [self._default_zone]) + shown, following, False

    def _walks_zone(self, audience: Audience) -> bool:
        return audience.absence is None and audience.zone not in {"", self._default_zone}

    def _walk(self, audience: Audience, place: Place) -> tuple[str, dict[str, Any]]:
        """Customers after a place in the order of an index: (customer, last time, traits where asked for)."""
        params: dict[str, Any] = {"customer": place.customer}
        asks_traits = any(isinstance(test, TraitTest) for clause in audience.clauses for test in clause)
        if audience.absence is not None:
            params |= {
                "type": audience.absence.type,
                "after": audience.absence.after_micros,
                "until": audience.absence.until_micros,
                "time": place.time_micros,
            }
            columns = _columns("last_time.customer", "time_micros", asks_traits=asks_traits)
            return f"SELECT {columns} {_SILENT}", params
        if self._walks_zone(audience):
            params["zone"] = audience.zone
            columns = _columns("customer_zone.customer", "0::bigint", asks_traits=asks_traits)
            return f"SELECT {columns} {_IN_ZONE}", params
        # a customer of whom a trait is asked has a row of traits
        if any(all(isinstance(test, TraitTest) for test in clause) for clause in audience.clauses):
            return f"SELECT customer, 0::bigint AS last, traits {_WITH_TRAITS}", params
        return f"SELECT {_columns('customer.id', '0::bigint', asks_traits=asks_traits)} {_EVERYONE}", params

    def _zone(self, zone: str, params: dict[str, Any]) -> str:
        params["zone"] = zone
        told = "(SELECT zone FROM customer_zone WHERE customer_zone.customer = walked.customer)"
        if zone == self._default_zone:
            return f"coalesce({told}, %(zone)s) = %(zone)s"
        return f"{told} = %(zone)s"


def _columns(customer: str, last: str, *, asks_traits: bool) -> str:
    traits = "NULL::jsonb"
    if asks_traits:
        traits = f"(SELECT traits FROM customer_traits AS theirs WHERE theirs.customer = {customer})"  # noqa: S608
    return f"{customer} AS customer, {last} AS last, {traits} AS traits"


def _place(audience: Audience, customer: int, last: int) -> Place:
    return Place(customer) if audience.absence is None else Place(customer, last)


async def _gathered(transaction: Transaction, names: Sequence[str]) -> bool:
    row = await transaction.row(
        "SELECT count(*) FROM gathering WHERE name = ANY(%s::text[]) AND state = 'ready'", (list(names),)
    )
    return row is not None and row[0] == len(names)


def _clause(clause: Clause, params: dict[str, Any]) -> str:
    tests = [_test(test, params) for test in clause]
    return f"({' OR '.join(tests)})"


def _test(test: AudienceTest, params: dict[str, Any]) -> str:
    if isinstance(test, AgreedTest):
        if test.purpose in UNKNOWN_MEANS_YES:
            return "true"
        name = f"p{len(params)}"
        params[name] = test.purpose.value
        return (
            "EXISTS (SELECT FROM consent_ledger WHERE consent_ledger.customer = walked.customer "
            f"AND purpose = %({name})s AND state = 'granted')"
        )
    path, values = _path(test)
    name = f"p{len(params)}"
    params[name], params[f"{name}v"] = path, json.dumps(values)
    return f"jsonb_path_exists(walked.traits, %({name})s::jsonpath, %({name}v)s::jsonb, true)"


def _path(test: TraitTest) -> tuple[str, dict[str, Any]]:
    """The test as a path of jsonpath, with the values of its variables."""
    values = {f"v{place}": _variable(value) for place, value in enumerate(test.values)}
    path = f"$.{json.dumps(test.trait)}"
    if test.operator is Operator.EXISTS:
        return path, {}
    if any(isinstance(value, Money) for value in test.values):
        path += ".amount.double()"
    if test.operator is Operator.CONTAINS:
        path += "[*]"
    comparison = _COMPARISONS[test.operator]
    tests = " || ".join(f"@ {comparison} ${name}" for name in values)
    return f"{path} ? ({tests})", values


def _variable(value: Value) -> Any:
    if isinstance(value, Money):
        return float(value.amount)
    if isinstance(value, date):
        return value.isoformat()
    if isinstance(value, tuple):
        return list(value)
    return value
