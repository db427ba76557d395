"""What the decision service's tables hold of persons: how it is shown to them, and how it is erased."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

import orjson
from google.protobuf.json_format import MessageToDict
from rapport.types.v1 import stream_pb2

from services.decision.adapters.material import unpack_material
from services.decision.adapters.records import FACTORS, open_record
from services.runtime import personal
from services.runtime.personal import Personal, Shown, deleted, erase

if TYPE_CHECKING:
    from collections.abc import Iterable, Mapping

    from services.decision.app.jobs import Erased
    from services.runtime.database import Transaction

_OF_ACTIONS = """
    DELETE FROM {0} USING decision_action AS action WHERE action.$mine AND {0}.{1} = action.action_id
"""
_OF_DECISIONS = "DELETE FROM {0} USING decision WHERE decision.$mine AND {0}.{1} = decision.decision_id"


def _decision(row: personal.Row) -> Iterable[personal.Row]:
    """A decision with what went in and what came out."""
    record = open_record(bytes(row.pop("record")))
    material = bytes(row.pop("material"))
    told = row | {"facts": record["facts"], "actions": [_action(one) for one in record["actions"]]}
    if material:
        event, snapshot = unpack_material(material)
        told["input"] = {
            "event": MessageToDict(stream_pb2.TakenEvent.FromString(event)),
            "snapshot": MessageToDict(stream_pb2.Snapshot.FromString(snapshot)),
        }
    return (told,)


def _action(action: Mapping[str, Any]) -> personal.Row:
    told = {
        **action["candidate"],
        "outcome": action["outcome"],
        "reason": action["reason"],
        "detail": action["detail"],
        "score": action["score"],
    }
    if action.get("factors"):
        # each a number, who said it, and what was wrong with who should have
        told["factors"] = {
            name: {"value": value, "source": source} | ({"detail": detail} if detail else {})
            for name, (value, source, detail) in zip(FACTORS, action["factors"], strict=True)
        }
    return told


def _planned(row: personal.Row) -> Iterable[personal.Row]:
    return (row | {"action": orjson.loads(bytes(row.pop("candidate")))},)


def _journey(row: personal.Row) -> Iterable[personal.Row]:
    return (row | {"fields": orjson.loads(row["fields"])},)


def _shown(section: str, columns: str, table: str, order: str) -> tuple[Shown, ...]:
    return (Shown(section, f"SELECT {columns} FROM {table} WHERE $mine ORDER BY {order}"),)  # noqa: S608 - our own words


_OF_HOUSEHOLDS = """
    DELETE FROM conversation USING household_holder AS held, decision_action AS action
    WHERE action.$mine AND held.action_id = action.action_id
        AND conversation.customer = held.household AND conversation.action_id = action.action_id::text
"""

PERSONAL: tuple[Personal, ...] = (
    # what is found through others goes before them
    Personal(
        "conversation",
        shown=_shown("conversations", "action_id, won_micros", "conversation", "won_micros, 1"),
        erase=(_OF_HOUSEHOLDS, *deleted("conversation")),
    ),
    Personal(
        "limit_use",
        hidden="what actions of the person took of a rule set's limits, by bare ids",
        erase=(_OF_ACTIONS.format("limit_use", "action_id"),),
    ),
    Personal(
        "run_action",
        hidden="which run over an audience called for actions of the person, by bare ids",
        erase=(_OF_ACTIONS.format("run_action", "action_id"),),
    ),
    Personal(
        "run_call",
        hidden="which run over an audience has called for the person and not heard yet, by bare ids",
        erase=deleted("run_call"),
    ),
    Personal(
        "household_holder",
        hidden="which actions of the person took a slot of their household, by bare ids",
        erase=(_OF_ACTIONS.format("household_holder", "action_id"),),
    ),
    Personal(
        "planned_action",
        shown=(
            Shown(
                "planned_actions",
                "SELECT plan.action_id, plan.decision_id, plan.due_micros, plan.state, plan.line, "
                "plan.candidate FROM planned_action AS plan JOIN decision_action AS action USING (action_id) "
                "WHERE action.$mine AND action.decision_id = plan.decision_id ORDER BY plan.due_micros, 1",
                _planned,
            ),
        ),
        erase=(_OF_ACTIONS.format("planned_action", "action_id"),),
    ),
    Personal(
        "decision_lookup",
        hidden="leads from ids to decisions",
        erase=(
            _OF_ACTIONS.format("decision_lookup", "id"),
            _OF_DECISIONS.format("decision_lookup", "id"),
        ),
    ),
    Personal(
        "action_outcome",
        shown=_shown(
            "answers",
            "action_id, outcome, offer, reason, fulfil, recorded_micros",
            "action_outcome",
            "number",
        ),
        erase=deleted("action_outcome"),
    ),
    Personal("decision_action", hidden="shown with the decisions", erase=deleted("decision_action")),
    Personal(
        "decision",
        shown=(
            Shown(
                "decisions",
                "SELECT customer, decision_id, event_id, event_source, event_type, event_micros, "
                "decided_micros, material, record FROM decision WHERE $mine ORDER BY number",
                _decision,
            ),
        ),
        erase=deleted("decision"),
    ),
    Personal(
        "once_slot",
        shown=_shown("said_once", "rule_set, rule, key, taken_micros", "once_slot", "taken_micros, 1, 2, 3"),
        erase=deleted("once_slot"),
    ),
    Personal(
        "assignment",
        shown=_shown("experiments", "experiment, arm, assigned_micros", "assignment", "1"),
        erase=deleted("assignment"),
    ),
    Personal(
        "journey_position",
        shown=(
            Shown(
                "journeys",
                "SELECT rule_set, key, state, step, reached_micros, due_micros, started_micros, start_type, "
                "fields, line FROM journey_position WHERE $mine ORDER BY rule_set, key",
                _journey,
            ),
        ),
        erase=deleted("journey_position"),
    ),
    Personal(
        "open_pair",
        shown=_shown("open_pairs", "rule_set, opened_micros, due_micros, line, data", "open_pair", "2, 1"),
        erase=deleted("open_pair"),
    ),
    Personal(
        "customer_state",
        hidden="a row to lock",
        kept="the bare id, with the time of the erasure: what is still decided about it is left out",
    ),
    *personal.EVERYWHERE,
)
NOBODYS: Mapping[str, str] = {
    **personal.NOBODYS,
    "rule_set": "what rule sets say",
    "rule_set_step": "which steps versions of rule sets took, and by whom of the staff",
    "simulation": "what simulations came to, in numbers, and which of the staff asked",
    "program": "which rule sets were live together",
    "catalogue_kept": "what the catalogue said",
    "looked_at_times": "how far times were looked at",
    "schedule_time": "how far times were looked at",
    "audience_run": "runs over audiences, by rule set, time and thing",
    "outcome_consumer": "who takes outcomes, and how far",
    "run_count": "how much came of a run over an audience",
    "rule_set_limit": "what rule sets have used of their limits",
    "rule_set_day": "what rule sets have used of their limits",
}
_MARK = """
    INSERT INTO customer_state (customer, erased_micros) SELECT unnest(%(customers)s::bigint[]), %(time)s
    ON CONFLICT (customer) DO UPDATE SET erased_micros = excluded.erased_micros
"""


class ErasingStore:
    """The Erasing port on PostgreSQL."""

    async def erase(self, transaction: Transaction, item: Erased) -> dict[str, int]:
        """Deletes all rows of the person and marks the ids; rows by table."""
        values = {"customers": sorted(item.people), "time": item.erased_micros}
        await transaction.execute(_MARK, values)
        return await erase(transaction, PERSONAL, values)
