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

_LOOKED_AT = 10_000
"""Customers that one call looks at."""
ZONES = "zones"
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
        needed = ([ZONES] if audience.zone else []) + (
            [last_times(audience.absence.type)] if audience.absence is not None else []
        )
        if needed and not await _gathered(transaction, needed):
            return Members(filling=True)
        sql, params = self._sql(audience, place, size)
        rows = await transaction.rows(sql, params)
        found = [(customer, last) for customer, last, holds in rows if holds]
        if len(found) > size:
            found = found[:size]
            return Members(found, Place(*found[-1]) if audience.absence else Place(found[-1][0]))
        if len(rows) and not rows[-1][2]:
            # the end of what was looked at, which is not the end of all
            customer, last, _ = rows[-1]
            return Members(found, Place(customer, last) if audience.absence else Place(customer))
        return Members(found)

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

    def _sql(self, audience: Audience, place: Place, size: int) -> tuple[str, dict[str, Any]]:
        """Rows (customer, last time, holds): those that hold, and the last one looked at if more follow."""
        params: dict[str, Any] = {
            "customer": place.customer,
            "most": _LOOKED_AT,
            "size": size + 1,
        }
        holds = [_clause(clause, params) for clause in audience.clauses]
        order = "customer"
        if audience.absence is not None:
            absence = audience.absence
            params |= {
                "type": absence.type,
                "after": absence.after_micros,
                "until": absence.until_micros,
                "time": place.time_micros,
            }
            order = "last, customer"
            walked = """
                SELECT customer, time_micros AS last FROM last_time
                WHERE type = %(type)s AND time_micros > %(after)s AND time_micros <= %(until)s
                    AND (time_micros, customer) > (%(time)s, %(customer)s)
                ORDER BY time_micros, customer LIMIT %(most)s
            """
            if audience.zone:
                holds.append(self._zone(audience.zone, params))
        elif audience.zone and audience.zone != self._default_zone:
            params["zone"] = audience.zone
            walked = """
                SELECT customer, 0::bigint AS last FROM customer_zone
                WHERE zone = %(zone)s AND customer > %(customer)s ORDER BY customer LIMIT %(most)s
            """
        else:
            # a customer of whom a trait is asked has a row of traits
            traits = any(all(isinstance(test, TraitTest) for test in clause) for clause in audience.clauses)
            table, key = ("customer_traits", "customer") if traits else ("customer", "id")
            walked = f"""
                SELECT {key} AS customer, 0::bigint AS last FROM {table}
                WHERE {key} > %(customer)s ORDER BY {key} LIMIT %(most)s
            """  # noqa: S608  our own words
            if audience.zone:
                holds.append(self._zone(audience.zone, params))
        needs_traits = any(isinstance(test, TraitTest) for clause in audience.clauses for test in clause)
        joined = "LEFT JOIN customer_traits USING (customer)" if needs_traits else ""
        sql = f"""
            WITH walked AS MATERIALIZED ({walked}),
            found AS (
                SELECT customer, last FROM walked {joined}
                WHERE {" AND ".join(holds) or "true"} ORDER BY {order} LIMIT %(size)s
            )
            SELECT * FROM (
                SELECT customer, last, true AS holds FROM found
                UNION ALL
                (SELECT customer, last, false FROM walked
                    WHERE (SELECT count(*) FROM walked) = %(most)s
                    ORDER BY last DESC, customer DESC LIMIT 1)
            ) AS page ORDER BY holds DESC, {order}
        """  # noqa: S608  our own words
        return sql, params

    def _zone(self, zone: str, params: dict[str, Any]) -> str:
        params["zone"] = zone
        told = "(SELECT zone FROM customer_zone WHERE customer_zone.customer = walked.customer)"
        if zone == self._default_zone:
            return f"coalesce({told}, %(zone)s) = %(zone)s"
        return f"{told} = %(zone)s"


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
    return f"jsonb_path_exists(customer_traits.traits, %({name})s::jsonpath, %({name}v)s::jsonb, true)"


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
