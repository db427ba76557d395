"""Decisions and rule sets as callers see them."""

from __future__ import annotations

from typing import TYPE_CHECKING

from rapport.decision.v1 import decision_pb2, rule_set_pb2
from rapport.types.v1 import vocabulary_pb2

from services.decision.domain.canary import WHOLE
from services.decision.domain.release import State
from services.decision.domain.run_room import Wait
from services.vocabulary.wire import (
    ACTION_KINDS,
    ACTION_OUTCOMES,
    CATEGORIES,
    REFUSAL_REASONS,
    timestamp,
    value_to_wire,
)
from services.vocabulary.words import ActionKind

if TYPE_CHECKING:
    from collections.abc import Mapping, Sequence

    from services.decision.app.ports import Decided, Recorded, RuleSetRow
    from services.decision.app.run_ports import AudienceRun
    from services.decision.domain.arbitration import Candidate, DecidedAction
    from services.decision.domain.problems import Problem
    from services.decision.domain.release import Refused
    from services.decision.domain.scoring import Factor, Factors
    from services.decision.domain.trial import TestResult

RUN_STATES = {
    "open": rule_set_pb2.RUN_STATE_OPEN,
    "done": rule_set_pb2.RUN_STATE_DONE,
    "missed": rule_set_pb2.RUN_STATE_MISSED,
    "stopped": rule_set_pb2.RUN_STATE_STOPPED,
    "paused": rule_set_pb2.RUN_STATE_PAUSED,
    "cancelled": rule_set_pb2.RUN_STATE_CANCELLED,
}
_RUN_WAITS = {
    Wait.CARE.value: rule_set_pb2.RUN_WAIT_CARE,
    Wait.BUDGET.value: rule_set_pb2.RUN_WAIT_BUDGET,
    Wait.KILLED.value: rule_set_pb2.RUN_WAIT_KILLED,
    Wait.UNKNOWN.value: rule_set_pb2.RUN_WAIT_UNKNOWN,
}
_SEVERITIES = {
    "error": rule_set_pb2.SEVERITY_ERROR,
    "warning": rule_set_pb2.SEVERITY_WARNING,
}


def run_to_wire(run: AudienceRun) -> rule_set_pb2.Run:
    """A run as people see it."""
    told = rule_set_pb2.Run(
        number=run.number,
        rule_set=run.rule_set,
        version=run.version,
        kind=run.kind,
        run=run.name,
        zone=run.zone,
        due_time=timestamp(run.due_micros),
        next_time=timestamp(run.next_micros),
        state=RUN_STATES[run.state],
        asked=run.asked,
        walked=run.walked,
    )
    if run.waits:
        told.waits = _RUN_WAITS[run.waits]
        told.waits_for = run.waits_for
        told.waits_time.CopyFrom(timestamp(run.waits_micros))
    return told


def action_to_wire(action: DecidedAction, because: Sequence[str] = ()) -> decision_pb2.DecidedAction:
    """One action with what became of it."""
    candidate = action.candidate
    message = decision_pb2.DecidedAction(
        action_id=candidate.action_id,
        rule_set=candidate.rule_set,
        version=candidate.version,
        rule=candidate.rule,
        kind=ACTION_KINDS.to_wire(candidate.kind),
        name=candidate.name,
        category=CATEGORIES.to_wire(candidate.category),
        outcome=ACTION_OUTCOMES.to_wire(action.outcome),
        reason=REFUSAL_REASONS.to_wire(action.reason),
        score=action.score,
        because=because,
        arm=candidate.arm,
        outranked_by=action.outranked_by,
        detail=action.detail,
        parameters=_parameters(candidate),
    )
    if candidate.planned_micros is not None:
        message.planned_time.CopyFrom(timestamp(candidate.planned_micros))
    if action.factors is not None:
        message.factors.CopyFrom(factors_to_wire(action.factors))
    return message


def factors_to_wire(factors: Factors) -> decision_pb2.Factors:
    """What a score is made of."""
    return decision_pb2.Factors(
        propensity=_factor(factors.propensity),
        value=_factor(factors.value),
        cost=_factor(factors.cost),
        urgency=_factor(factors.urgency),
        pressure=_factor(factors.pressure),
        score=factors.score,
    )


def _factor(factor: Factor) -> decision_pb2.Factor:
    return decision_pb2.Factor(value=factor.value, source=factor.source.value, detail=factor.detail)


def recorded_to_wire(
    recorded: Recorded, because: Mapping[str, Sequence[str]] | None = None
) -> decision_pb2.Decision:
    """A decision as recorded."""
    reasons = because or {}
    return decision_pb2.Decision(
        decision_id=recorded.decision_id,
        event_id=recorded.event_id,
        event_type=recorded.event_type,
        event_time=timestamp(recorded.event_micros),
        decided_time=timestamp(recorded.decided_micros),
        customer=recorded.customer,
        facts=recorded.evaluation.facts,
        actions=[
            action_to_wire(action, reasons.get(action.candidate.action_id, ())) for action in recorded.actions
        ],
        event_source=recorded.source,
    )


def decided_to_wire(
    decided: Decided, order: Sequence[int], because: Mapping[str, Sequence[str]]
) -> decision_pb2.Decision:
    """A decision just made, its actions in the order given."""
    actions = decided.arbitration.actions
    return decision_pb2.Decision(
        decision_id=decided.decision_id,
        event_id=decided.event_id,
        event_type=decided.event_type,
        event_time=timestamp(decided.event_micros),
        decided_time=timestamp(decided.decided_micros),
        customer=decided.customer,
        facts=decided.evaluation.facts,
        actions=[
            action_to_wire(actions[position], because.get(actions[position].candidate.action_id, ()))
            for position in order
            if actions[position].candidate.kind is not ActionKind.STEP  # it is no answer to anybody
        ],
        event_source=decided.source,
    )


def problem_to_wire(problem: Problem) -> rule_set_pb2.Problem:
    """Something wrong in a rule set."""
    return rule_set_pb2.Problem(
        severity=_SEVERITIES[problem.severity.value],
        line=problem.line,
        column=problem.column,
        text=problem.text,
        message=problem.message,
        suggestion=problem.suggestion,
        check=problem.check,
    )


def test_to_wire(test: TestResult) -> rule_set_pb2.TestResult:
    """How one embedded test went."""
    return rule_set_pb2.TestResult(name=test.name, passed=test.passed, message=test.message)


def state_to_wire(state: str) -> rule_set_pb2.RuleSetState.ValueType:
    """Where a version stands; empty: not said."""
    if not state:
        return rule_set_pb2.RULE_SET_STATE_UNSPECIFIED
    return rule_set_pb2.RuleSetState.Value(f"RULE_SET_STATE_{state.upper()}")


def refusal_to_wire(refused: Refused | None) -> rule_set_pb2.Refusal:
    """Why a step was not taken; None: what was tried is not sound, as its problems say."""
    if refused is None:
        return rule_set_pb2.Refusal(
            reason=rule_set_pb2.REFUSAL_OF_STEP_NOT_SOUND,
            detail="it does not compile, or its tests or its trial failed",
            suggestion="put a version that is sound",
        )
    return rule_set_pb2.Refusal(
        reason=rule_set_pb2.RefusalOfStep.Value(f"REFUSAL_OF_STEP_{refused.reason.upper()}"),
        detail=refused.detail,
        suggestion=refused.suggestion,
        offered_version=refused.offered,
    )


def rule_set_to_wire(row: RuleSetRow, *, with_source: bool = False) -> rule_set_pb2.RuleSet:
    """One version of a rule set."""
    message = rule_set_pb2.RuleSet(
        name=row.name,
        version=row.version,
        state=state_to_wire(row.state),
        title=row.title,
        owner=row.owner,
        stage=row.stage,
        triggers=row.triggers,
        create_time=timestamp(row.created_micros),
        source=row.source if with_source else "",
        rules=row.rules,
        author=row.author,
        submitter=row.submitter,
        approver=row.approver,
        canary_share=row.canary_share / WHOLE if row.state == State.CANARY else 0.0,
        taken_back=row.taken_back,
    )
    if row.activated_micros:
        message.activate_time.CopyFrom(timestamp(row.activated_micros))
    if row.scheduled_micros:
        message.schedule_time.CopyFrom(timestamp(row.scheduled_micros))
    return message


def _parameters(candidate: Candidate) -> dict[str, vocabulary_pb2.Value]:
    """The action's parameters; what to say and what to avoid are told here too."""
    parameters = {
        name: value_to_wire(value, value_type) for name, (value_type, value) in candidate.parameters.items()
    }
    if candidate.say:
        parameters["say"] = vocabulary_pb2.Value(text=candidate.say)
    if candidate.avoid:
        items = [category.value for category in candidate.avoid]
        parameters["avoid"] = vocabulary_pb2.Value(list=vocabulary_pb2.TextList(items=items))
    return parameters
