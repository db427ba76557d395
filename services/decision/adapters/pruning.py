"""What of the decision service's database is kept for a time only."""

from __future__ import annotations

from typing import TYPE_CHECKING

from services.runtime.access_log import ACCESS_LOG
from services.runtime.prune import DEAD_LETTERS, ByPages, Cut, Prunable, Step

if TYPE_CHECKING:
    from services.runtime.database import Transaction

_ROWS = 500
_OPEN_PLAN = """
    EXISTS (
        SELECT FROM decision_action AS action JOIN planned_action AS plan USING (action_id)
        WHERE action.customer = decision.customer AND action.decision_id = decision.decision_id
            AND plan.state <> 'done')
"""


class Decisions:
    """Decisions with inputs, actions, answers, look-ups, plans; one with a plan that waits is kept with it.

    They are walked through in the order of their numbers, which is that of their times but for a little.
    """

    name = "decisions"
    by_wall = False

    def kept_at_least(self) -> int:
        """Nothing else needs them."""
        return 0

    async def count(self, transaction: Transaction, cut: Cut) -> dict[str, int]:
        """Decisions made earlier."""
        row = await transaction.row(
            f"SELECT count(*) FROM decision WHERE decided_micros < %s AND NOT {_OPEN_PLAN}",  # noqa: S608  our own words
            (cut.business_micros,),
        )
        return {"decision": int(row[0]) if row else 0}

    async def remove(self, transaction: Transaction, cut: Cut, place: int) -> Step:
        """Of the next few hundred, what is older; the end is where a whole page is younger."""
        page = await transaction.rows(
            f"""
            SELECT number, customer, decision_id::text, decided_micros < %(before)s,
                decided_micros < %(before)s AND NOT {_OPEN_PLAN}
            FROM decision WHERE number > %(place)s ORDER BY number LIMIT %(rows)s
            """,  # noqa: S608  our own words
            {"before": cut.business_micros, "place": place, "rows": _ROWS},
        )
        going = [(customer, decision) for _, customer, decision, _, goes in page if goes]
        rows = await _delete(transaction, going) if going else {}
        old = any(is_old for _, _, _, is_old, _ in page)
        return Step(rows, page[-1][0] if old and len(page) == _ROWS else None)


async def _delete(transaction: Transaction, decisions: list[tuple[int, str]]) -> dict[str, int]:
    keys = {
        "customers": [customer for customer, _ in decisions],
        "ids": [decision for _, decision in decisions],
    }
    wanted = "unnest(%(customers)s::bigint[], %(ids)s::text[]::uuid[]) AS gone (customer, decision_id)"
    of_action = "AND {0}.customer = gone.customer AND {0}.decision_id = gone.decision_id"
    rows: dict[str, int] = {}
    rows["planned_action"] = await transaction.execute(
        "DELETE FROM planned_action USING decision_action AS action, "  # noqa: S608  our own words
        f"{wanted} WHERE planned_action.action_id = action.action_id {of_action.format('action')} "
        "AND planned_action.state = 'done' AND planned_action.decision_id = gone.decision_id",
        keys,
    )
    # an action's look-up names its newest decision, which may be a younger one
    rows["decision_lookup"] = await transaction.execute(
        "DELETE FROM decision_lookup USING decision_action AS action, "  # noqa: S608  our own words
        f"{wanted} WHERE decision_lookup.id = action.action_id {of_action.format('action')} "
        "AND decision_lookup.decision_id = gone.decision_id",
        keys,
    )
    rows["decision_lookup"] += await transaction.execute(
        f"DELETE FROM decision_lookup USING {wanted} WHERE decision_lookup.id = gone.decision_id",  # noqa: S608  our own words
        keys,
    )
    rows["limit_use"] = await transaction.execute(
        "DELETE FROM limit_use USING decision_action AS action, "  # noqa: S608  our own words
        f"{wanted} WHERE limit_use.action_id = action.action_id {of_action.format('action')}",
        keys,
    )
    rows["run_action"] = await transaction.execute(
        "DELETE FROM run_action USING decision_action AS action, "  # noqa: S608  our own words
        f"{wanted} WHERE run_action.action_id = action.action_id {of_action.format('action')}",
        keys,
    )
    rows["household_holder"] = await transaction.execute(
        "DELETE FROM household_holder USING decision_action AS action, "  # noqa: S608  our own words
        f"{wanted} WHERE household_holder.action_id = action.action_id {of_action.format('action')}",
        keys,
    )
    for table in ("action_outcome", "decision_action", "decision"):
        rows[table] = await transaction.execute(
            f"DELETE FROM {table} USING {wanted} WHERE {table}.customer = gone.customer "  # noqa: S608  our own words
            f"AND {table}.decision_id = gone.decision_id",
            keys,
        )
    return rows


def prunables(conversation_micros: int) -> list[Prunable]:
    """All retention classes of this service; a conversation counts for that long."""
    return [
        Decisions(),
        ByPages(
            "conversations", "conversation", "won_micros < %(before)s", least=lambda: conversation_micros
        ),
        ByPages("once_slots", "once_slot", "ends_micros BETWEEN 1 AND %(before)s"),
        ByPages("journeys", "journey_position", "state = 'ended' AND reached_micros < %(before)s"),
        ByPages(
            "audience_runs", "audience_run", "state NOT IN ('open', 'paused') AND next_micros < %(before)s"
        ),
        ByPages("open_pairs", "open_pair", "state = 'checked' AND due_micros < %(before)s"),
        ByPages(
            "simulations",
            "simulation",
            "created_micros < %(before)s AND NOT EXISTS (SELECT FROM rule_set "
            "WHERE rule_set.simulation_id = simulation.simulation_id::text)",
        ),
        ACCESS_LOG,
        DEAD_LETTERS,
    ]
