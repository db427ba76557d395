"""Slots of `once`, conversations and assignments in PostgreSQL, read and written by the batch."""

from __future__ import annotations

from typing import TYPE_CHECKING

from services.decision.domain.ledger import Account, Ledger, LimitAccount
from services.decision.domain.limits import Use
from services.decision.domain.once import Taken
from services.vocabulary.values import DAY

if TYPE_CHECKING:
    from collections.abc import Iterable, Sequence

    from services.decision.adapters.journey_store import JourneyStore
    from services.runtime.database import Transaction
    from services.runtime.statements import Statements

_SLOT, _WON, _ARM, _MOVING = range(4)
_READ = f"""
    SELECT {_SLOT}, customer, rule_set, rule, key, taken_micros, ends_micros, holders FROM once_slot
    WHERE customer = ANY(%(customers)s::bigint[])
    UNION ALL
    SELECT {_WON}, customer, action_id, '', '', won_micros, 0, NULL FROM conversation
    WHERE customer = ANY(%(customers)s::bigint[]) AND won_micros BETWEEN %(from)s AND %(to)s
    UNION ALL
    SELECT {_ARM}, customer, experiment, arm, '', 0, 0, NULL FROM assignment
    WHERE customer = ANY(%(customers)s::bigint[])
    UNION ALL
    SELECT DISTINCT {_MOVING}, customer, '', '', '', 0, 0, NULL::text[] FROM journey_position
    WHERE %(journeys)s AND customer = ANY(%(customers)s::bigint[])
"""  # noqa: S608  the kinds are our own
"""Most often a customer has none of these: one look tells all, and where to look further."""


class StandingStore:
    """The Standings port on PostgreSQL."""

    def __init__(self, journeys: JourneyStore) -> None:
        self._journeys = journeys

    async def lock(
        self,
        transaction: Transaction,
        customers: Sequence[int],
        from_micros: int,
        to_micros: int,
        *,
        journeys: bool = False,
    ) -> Ledger:
        """Locks the customers in id order, then reads: so no other transaction can come in between."""
        if not customers:
            return Ledger({})
        ids = {"customers": list(customers)}
        await transaction.execute(
            """
            INSERT INTO customer_state (customer) SELECT unnest(%(customers)s::bigint[]) ORDER BY 1
            ON CONFLICT DO NOTHING
            """,
            ids,
        )
        erased = await transaction.rows(
            """
            WITH locked AS (
                SELECT customer, erased_micros FROM customer_state
                WHERE customer = ANY(%(customers)s::bigint[]) ORDER BY customer FOR UPDATE
            )
            SELECT customer FROM locked WHERE erased_micros IS NOT NULL
            """,
            ids,
        )
        ledger = await self.read(transaction, customers, from_micros, to_micros, journeys=journeys)
        ledger.erased = frozenset(row[0] for row in erased)
        return ledger

    async def read(
        self,
        transaction: Statements,
        customers: Sequence[int],
        from_micros: int,
        to_micros: int,
        *,
        journeys: bool = False,
    ) -> Ledger:
        """Reads the accounts as they stand."""
        accounts = {customer: Account() for customer in customers}
        moving: set[int] = set()
        for kind, customer, first, second, third, micros, ends, holders in await transaction.rows(
            _READ, {"customers": list(customers), "from": from_micros, "to": to_micros, "journeys": journeys}
        ):
            account = accounts[customer]
            if kind == _SLOT:
                account.slots[first, second, third] = Taken(micros, tuple(holders), ends)
            elif kind == _WON:
                account.won[first] = micros
            elif kind == _ARM:
                account.arms[first] = second
            else:
                moving.add(customer)
        for customer, place, position in (
            await self._journeys.read(transaction, sorted(moving)) if moving else ()
        ):
            accounts[customer].positions[place] = position
        return Ledger(accounts)

    async def lock_limits(
        self,
        transaction: Transaction,
        ledger: Ledger,
        rule_sets: Iterable[str],
        action_ids: Sequence[str],
        now_micros: int,
    ) -> None:
        """Locks the rule sets' rows in name order, after the customers, then reads them."""
        # an action is looked at under its customer's lock: what it has taken changes meanwhile for nobody
        taken = await self._uses(transaction, action_ids) if action_ids else {}
        names = sorted({*rule_sets, *(use.rule_set for use in taken.values())})
        if not names:
            return
        await transaction.execute(
            """
            INSERT INTO rule_set_limit (rule_set) SELECT unnest(%(names)s::text[]) ORDER BY 1
            ON CONFLICT DO NOTHING
            """,
            {"names": names},
        )
        await transaction.execute(
            """
            SELECT 1 FROM rule_set_limit WHERE rule_set = ANY(%(names)s::text[])
            ORDER BY rule_set FOR UPDATE
            """,
            {"names": names},
        )
        # merged customers aside; with the rule set's row locked nobody gives back twice
        ledger.uses = await self._uses(transaction, action_ids) if action_ids else {}
        await self.read_limits(transaction, ledger, names, now_micros)

    async def read_limits(
        self, transaction: Transaction, ledger: Ledger, rule_sets: Iterable[str], now_micros: int
    ) -> None:
        """Reads what they have used as it stands; days that are over in every zone are of no account."""
        names = {"names": sorted(rule_sets), "from": now_micros // DAY - 1}
        for name, spent, free in await transaction.rows(
            "SELECT rule_set, spent, free_micros FROM rule_set_limit WHERE rule_set = ANY(%(names)s::text[])",
            names,
        ):
            ledger.limits[name] = LimitAccount(spent, free)
        for name, day, actions in await transaction.rows(
            """
            SELECT rule_set, day, actions FROM rule_set_day
            WHERE rule_set = ANY(%(names)s::text[]) AND day >= %(from)s
            """,
            names,
        ):
            ledger.limits.setdefault(name, LimitAccount()).days[day] = actions

    async def _uses(self, transaction: Transaction, action_ids: Sequence[str]) -> dict[str, Use]:
        rows = await transaction.rows(
            """
            SELECT action_id::text, rule_set, day, cost FROM limit_use
            WHERE action_id = ANY(%(ids)s::text[]::uuid[])
            """,
            {"ids": list(action_ids)},
        )
        return {action_id: Use(rule_set, day, cost) for action_id, rule_set, day, cost in rows}

    async def write(self, transaction: Transaction, ledger: Ledger, now_micros: int) -> None:
        """Writes what has changed: slots taken or freed, conversations won or freed, new assignments."""
        await self._write_slots(transaction, ledger)
        await self._write_holders(transaction, ledger)
        await self._write_won(transaction, ledger)
        if ledger.limits:
            await self._write_limits(transaction, ledger)
        await self._journeys.write(transaction, ledger.positions_written)
        if ledger.arms_written:
            await transaction.execute(
                """
                INSERT INTO assignment (customer, experiment, arm, assigned_micros)
                SELECT customer, experiment, arm, %(now)s
                FROM unnest(%(customers)s::bigint[], %(experiments)s::text[], %(arms)s::text[])
                    AS row (customer, experiment, arm)
                ON CONFLICT DO NOTHING
                """,
                {
                    "customers": [customer for customer, _ in ledger.arms_written],
                    "experiments": [experiment for _, experiment in ledger.arms_written],
                    "arms": list(ledger.arms_written.values()),
                    "now": now_micros,
                },
            )

    async def _write_slots(self, transaction: Transaction, ledger: Ledger) -> None:
        taken = [(key, value) for key, value in ledger.slots_written.items() if value is not None]
        freed = [key for key, value in ledger.slots_written.items() if value is None]
        if taken:
            # holders travel as one text, because arrays of arrays must be rectangular
            await transaction.execute(
                """
                INSERT INTO once_slot (customer, rule_set, rule, key, taken_micros, holders, ends_micros)
                SELECT customer, rule_set, rule, key, micros, string_to_array(holders, ' '), ends
                FROM unnest(%(customers)s::bigint[], %(rule_sets)s::text[], %(rules)s::text[],
                    %(keys)s::text[], %(micros)s::bigint[], %(holders)s::text[], %(ends)s::bigint[])
                    AS row (customer, rule_set, rule, key, micros, holders, ends)
                ON CONFLICT (customer, rule_set, rule, key)
                DO UPDATE SET taken_micros = excluded.taken_micros, holders = excluded.holders,
                    ends_micros = excluded.ends_micros
                """,
                {
                    "customers": [customer for (customer, _), _ in taken],
                    "rule_sets": [name[0] for (_, name), _ in taken],
                    "rules": [name[1] for (_, name), _ in taken],
                    "keys": [name[2] for (_, name), _ in taken],
                    "micros": [value.taken_micros for _, value in taken],
                    "holders": [" ".join(value.holders) for _, value in taken],
                    "ends": [value.ends_micros for _, value in taken],
                },
            )
        if freed:
            await transaction.execute(
                """
                DELETE FROM once_slot USING unnest(%(customers)s::bigint[], %(rule_sets)s::text[],
                    %(rules)s::text[], %(keys)s::text[]) AS row (customer, rule_set, rule, key)
                WHERE once_slot.customer = row.customer AND once_slot.rule_set = row.rule_set
                    AND once_slot.rule = row.rule AND once_slot.key = row.key
                """,
                {
                    "customers": [customer for customer, _ in freed],
                    "rule_sets": [name[0] for _, name in freed],
                    "rules": [name[1] for _, name in freed],
                    "keys": [name[2] for _, name in freed],
                },
            )

    async def households_of(self, transaction: Transaction, action_ids: Sequence[str]) -> dict[str, int]:
        """Of these actions those that hold a household's slot, with the household."""
        if not action_ids:
            return {}
        rows = await transaction.rows(
            "SELECT action_id::text, household FROM household_holder "
            "WHERE action_id = ANY(%(ids)s::text[]::uuid[])",
            {"ids": list(action_ids)},
        )
        return dict(rows)

    async def _write_holders(self, transaction: Transaction, ledger: Ledger) -> None:
        taken = [(action, held) for action, held in ledger.holders_written.items() if held is not None]
        freed = [action for action, held in ledger.holders_written.items() if held is None]
        if taken:
            await transaction.execute(
                """
                INSERT INTO household_holder (action_id, household, ends_micros)
                SELECT action::uuid, household, ends
                FROM unnest(%(actions)s::text[], %(households)s::bigint[], %(ends)s::bigint[])
                    AS row (action, household, ends)
                ON CONFLICT (action_id) DO UPDATE SET ends_micros = excluded.ends_micros
                """,
                {
                    "actions": [action for action, _ in taken],
                    "households": [household for _, (household, _) in taken],
                    "ends": [ends for _, (_, ends) in taken],
                },
            )
        if freed:
            await transaction.execute(
                "DELETE FROM household_holder WHERE action_id = ANY(%(ids)s::text[]::uuid[])", {"ids": freed}
            )

    async def _write_limits(self, transaction: Transaction, ledger: Ledger) -> None:
        await transaction.execute(
            """
            UPDATE rule_set_limit SET spent = row.spent, free_micros = row.free
            FROM unnest(%(names)s::text[], %(spent)s::numeric[], %(free)s::bigint[])
                AS row (name, spent, free)
            WHERE rule_set = row.name
            """,
            {
                "names": list(ledger.limits),
                "spent": [account.spent for account in ledger.limits.values()],
                "free": [account.free_micros for account in ledger.limits.values()],
            },
        )
        days = [(*key, added) for key, added in sorted(ledger.actions_added.items()) if added]
        if days:
            await transaction.execute(
                """
                INSERT INTO rule_set_day (rule_set, day, actions)
                SELECT * FROM unnest(%(names)s::text[], %(days)s::integer[], %(actions)s::integer[])
                ON CONFLICT (rule_set, day)
                DO UPDATE SET actions = rule_set_day.actions + excluded.actions
                """,
                {
                    "names": [name for name, _, _ in days],
                    "days": [day for _, day, _ in days],
                    "actions": [actions for _, _, actions in days],
                },
            )
        taken = [(action, use) for action, use in ledger.uses_written.items() if use is not None]
        freed = [action for action, use in ledger.uses_written.items() if use is None]
        if taken:
            await transaction.execute(
                """
                INSERT INTO limit_use (action_id, rule_set, day, cost)
                SELECT action::uuid, rule_set, day, cost FROM unnest(%(actions)s::text[], %(names)s::text[],
                    %(days)s::integer[], %(costs)s::numeric[]) AS row (action, rule_set, day, cost)
                """,
                {
                    "actions": [action for action, _ in taken],
                    "names": [use.rule_set for _, use in taken],
                    "days": [use.day for _, use in taken],
                    "costs": [use.cost for _, use in taken],
                },
            )
        if freed:
            await transaction.execute(
                "DELETE FROM limit_use WHERE action_id = ANY(%(ids)s::text[]::uuid[])", {"ids": freed}
            )

    async def _write_won(self, transaction: Transaction, ledger: Ledger) -> None:
        won = [(key, micros) for key, micros in ledger.won_written.items() if micros is not None]
        freed = [key for key, micros in ledger.won_written.items() if micros is None]
        if won:
            await transaction.execute(
                """
                INSERT INTO conversation (customer, action_id, won_micros)
                SELECT * FROM unnest(%(customers)s::bigint[], %(actions)s::text[], %(micros)s::bigint[])
                ON CONFLICT (customer, action_id) DO UPDATE SET won_micros = excluded.won_micros
                """,
                {
                    "customers": [customer for (customer, _), _ in won],
                    "actions": [action for (_, action), _ in won],
                    "micros": [micros for _, micros in won],
                },
            )
        if freed:
            await transaction.execute(
                """
                DELETE FROM conversation USING unnest(%(customers)s::bigint[], %(actions)s::text[])
                    AS row (customer, action_id)
                WHERE conversation.customer = row.customer AND conversation.action_id = row.action_id
                """,
                {
                    "customers": [customer for customer, _ in freed],
                    "actions": [action for _, action in freed],
                },
            )
