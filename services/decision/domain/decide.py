"""One decision, in two pure steps: what the rules ask for, and which of it is done.

``evaluate`` runs the rules on a situation; it needs the engine and lives in the child process. ``decide``
arbitrates over what came out, with what earlier decisions left behind; it needs neither engine nor program.
"""

from __future__ import annotations

from dataclasses import dataclass, field, replace
from typing import TYPE_CHECKING, Any

from services.decision.domain.actions import fill, once_slot, still_wanted, unless_happened, value_to_set
from services.decision.domain.arbitration import (
    Arbitration,
    Candidate,
    Circumstances,
    Standing,
    arbitrate,
)
from services.decision.domain.avoiding import NAMES
from services.decision.domain.contacts import contacts_of, pressure_of
from services.decision.domain.experiments import HOLDOUT, NO_ARM
from services.decision.domain.journeys import fields_of, follow, passage_of, positions_that_count
from services.decision.domain.once import Slot
from services.decision.domain.run import Outcome, run_program
from services.decision.domain.scoring import FactorSource, Origin
from services.decision.domain.worth import worth_of
from services.vocabulary.ids import action_id
from services.vocabulary.values import DAY
from services.vocabulary.words import ActionKind, ConversationScope, RefusalReason

if TYPE_CHECKING:
    from collections.abc import Iterator, Mapping

    from services.decision.domain.eligibility import Eligibility
    from services.decision.domain.engine import RulesEngine
    from services.decision.domain.limits import Limits
    from services.decision.domain.program import ActionRule, ActionSpec, Program, RuleSet
    from services.decision.domain.situation import Situation
    from services.vocabulary.arbitration_policy import Terms
    from services.vocabulary.catalogue import Catalogue

COMPLAINT_OPEN = "complaint_open"
"""The shared fact that puts service before sales."""


@dataclass(frozen=True)
class Planned:
    """An action decided before, whose time has come; with the event that led to it."""

    candidate: Candidate
    since_micros: int
    since_sequence: int


@dataclass(frozen=True, slots=True)
class Question:
    """What is to be decided: one event of one customer, or an action that fell due."""

    decision_id: str
    situation: Situation
    planned: Planned | None = None


@dataclass(frozen=True)
class Evaluation:
    """What the rules came to for one question. ``arms``: the arm assumed for each experiment looked at.

    ``limits``: of the rule sets that ask for something, where they have any.
    """

    facts: tuple[str, ...]
    candidates: tuple[Candidate, ...]
    circumstances: Circumstances
    arms: Mapping[str, str] = field(default_factory=dict)
    limits: Mapping[str, Limits] = field(default_factory=dict)

    @property
    def households(self) -> tuple[int, ...]:
        """Households whose slots of `once`, or whose conversation, are asked for; most often none."""
        slots = (candidate.slot for candidate in self.candidates)
        found = {slot.household for slot in slots if slot is not None and slot.household}
        shared = self.circumstances.household
        if shared and any(candidate.commercial for candidate in self.candidates):
            found.add(shared)
        return tuple(sorted(found))


def evaluate(
    program: Program, engine: RulesEngine, eligibility: Eligibility, question: Question
) -> tuple[Evaluation, Outcome | None]:
    """Runs the rules; without candidates the event triggered nothing. The outcome serves explanations."""
    situation = question.situation
    if question.planned is not None:
        return _evaluate_planned(program, engine, eligibility, question.planned, situation), None
    outcome = run_program(program, engine, situation)
    return evaluation_of(program, eligibility, question, outcome), outcome


def evaluation_of(
    program: Program, eligibility: Eligibility, question: Question, outcome: Outcome
) -> Evaluation:
    """What the rules asked for, filled in for the customer, with what arbitration looks at."""
    situation = question.situation
    if not outcome.rules and not outcome.withheld:
        return Evaluation(outcome.facts, (), Circumstances(situation.now_micros))
    candidates = tuple(_candidates(program, eligibility, question, outcome))
    return Evaluation(
        facts=outcome.facts,
        candidates=candidates,
        circumstances=_circumstances(
            program.catalogue, eligibility.policy.terms, situation, outcome.facts, was_planned=False
        ),
        arms=dict(situation.arms),
        limits=_limits(program, candidates),
    )


def decide(evaluation: Evaluation, standing: Standing, conversation_micros: int = DAY) -> Arbitration:
    """Arbitrates; an experiment without a stored arm has the one assumed in the evaluation.

    What belongs to a step of a journey at which the customer does not stand was not asked for.
    """
    arms = {**evaluation.arms, **standing.arms}
    candidates, moves = follow(
        evaluation.candidates, standing.positions, evaluation.circumstances.time_micros
    )
    arbitration = arbitrate(
        candidates,
        evaluation.circumstances,
        Standing(standing.slots, standing.won, arms, standing.rooms),
        conversation_micros,
    )
    return replace(arbitration, moves=moves) if moves else arbitration


def as_judged_then(again: Evaluation, recorded: Evaluation) -> Evaluation:
    """An evaluation run again, with what the operator's policy and offers said when it was recorded.

    What rules say is not taken from the record: it has to come out the same.
    """
    then = {candidate.action_id: candidate for candidate in recorded.candidates}
    was, now = recorded.circumstances, again.circumstances
    if was.terms != now.terms:
        now = replace(
            now,
            terms=was.terms,
            pressure=was.pressure,
            contacts=was.contacts,
            sales_contacts=was.sales_contacts,
        )
    if bool(was.household) is not bool(now.household):
        now = replace(now, household=was.household)
    if was.heeds_avoid is not now.heeds_avoid:
        now = replace(now, heeds_avoid=was.heeds_avoid)
    candidates = tuple(
        _as_judged(candidate, then[candidate.action_id]) if candidate.action_id in then else candidate
        for candidate in again.candidates
    )
    return replace(again, candidates=candidates, circumstances=now)


def _as_judged(candidate: Candidate, then: Candidate) -> Candidate:
    changed: dict[str, Any] = {} if candidate.excludes == then.excludes else {"excludes": then.excludes}
    for name in ("propensity", "value", "cost"):
        was, now = getattr(then, f"{name}_from"), getattr(candidate, f"{name}_from")
        if FactorSource.RULE not in {was.source, now.source} and was.source is not now.source:
            changed[f"{name}_from"] = Origin(was.source, now.detail)
        if FactorSource.RULE not in {was.source, now.source}:
            changed[name] = getattr(then, name)
    return replace(candidate, **changed) if changed else candidate


def assumed_wrongly(evaluation: Evaluation, standing: Standing) -> bool:
    """Whether the customer is stored in another arm than was assumed: then it must be evaluated again."""
    return any(standing.arms.get(experiment, arm) != arm for experiment, arm in evaluation.arms.items())


def standing_that_counts(standing: Standing, evaluation: Evaluation) -> Standing:
    """The part of a customer's standing that this decision looks at; its record needs it to be run again."""
    names = {candidate.slot.name for candidate in evaluation.candidates if candidate.slot is not None}
    commercial = any(candidate.commercial for candidate in evaluation.candidates)
    experiments = {candidate.experiment for candidate in evaluation.candidates} | evaluation.arms.keys()
    return Standing(
        slots={name: taken for name, taken in standing.slots.items() if name in names or name in NAMES},
        won=standing.won if commercial else (),
        arms={experiment: arm for experiment, arm in standing.arms.items() if experiment in experiments},
        rooms=standing.rooms,
        positions=positions_that_count(standing.positions, evaluation.candidates),
    )


def _limits(program: Program, candidates: tuple[Candidate, ...]) -> dict[str, Limits]:
    """The limits of the candidates' rule sets."""
    found = {name: program.rule_set(name) for name in {candidate.rule_set for candidate in candidates}}
    return {
        name: rule_set.limits
        for name, rule_set in sorted(found.items())
        if rule_set is not None and rule_set.limits.any
    }


def find_action(
    program: Program, rule_set: str, rule: str, position: int
) -> tuple[ActionRule, ActionSpec] | None:
    """The action of a rule by its name, in whatever version is live; None: no longer there."""
    for known in program.rule_sets:
        if known.name == rule_set:
            for candidate in known.rules:
                if candidate.rule == rule and position < len(candidate.actions):
                    return candidate, candidate.actions[position]
    return None


def shared_facts(program: Program, engine: RulesEngine, situation: Situation) -> tuple[str, ...]:
    """What the shared rule sets infer in a situation, whatever its event."""
    facts: dict[str, None] = {}
    for shard in program.shared:
        given = [fact for fact in facts if fact in shard.uses]
        facts.update(dict.fromkeys(engine.run(shard, shard.lazily(situation), given).facts))
    return tuple(facts)


def _still_allowed(
    candidate: Candidate, rule: ActionRule, eligibility: Eligibility, situation: Situation
) -> Candidate:
    """A planned action as what the customer agreed to and the catalogue's offers are by now."""
    gone = rule.needs.purposes & situation.withheld
    if gone:
        detail = f"needs data the customer no longer agrees to have used ({', '.join(sorted(gone))})"
        return replace(candidate, refusal=RefusalReason.DATA_WITHHELD, detail=detail)
    if candidate.kind is ActionKind.OFFER:
        refusal, detail = eligibility.refusal(candidate.name, situation)
        if refusal is not None:
            return replace(candidate, refusal=refusal, detail=detail)
    return candidate


def _candidates(
    program: Program, eligibility: Eligibility, question: Question, outcome: Outcome
) -> Iterator[Candidate]:
    """Every action of every rule that fired, then of those that lack withheld data."""
    sets, catalogue = program.by_name, program.catalogue
    order = 0
    for rule in outcome.rules:
        for spec in rule.actions:
            yield _candidate(sets[rule.rule_set], rule, spec, eligibility, catalogue, question, order)
            order += 1
    for rule in outcome.withheld:
        for spec in rule.actions:
            candidate = _candidate(sets[rule.rule_set], rule, spec, eligibility, catalogue, question, order)
            order += 1
            needed = rule.needs.purposes | {purpose for _, purpose in rule.needs.things}
            purposes = ", ".join(sorted(needed & question.situation.withheld))
            yield replace(
                candidate,
                refusal=RefusalReason.DATA_WITHHELD,
                detail=f"needs data the customer did not agree to have used ({purposes})",
            )


def _candidate(
    rule_set: RuleSet,
    rule: ActionRule,
    spec: ActionSpec,
    eligibility: Eligibility,
    catalogue: Catalogue,
    question: Question,
    order: int,
) -> Candidate:
    situation = question.situation
    experiment = rule_set.experiment
    assigned = NO_ARM if experiment is None else situation.arms.get(experiment.id, NO_ARM)
    arm = NO_ARM if assigned == HOLDOUT else assigned
    filled = fill(spec, situation, arm)
    worth = worth_of(spec, situation, catalogue, eligibility.policy)
    slot: Slot | None = None
    if rule.once is not None:
        named = once_slot(rule.once, situation)
        household = situation.household_id if rule.once.household else 0
        slot = Slot(rule.rule_set, rule.rule, named.key, named.period_micros, household)
    refusal: RefusalReason | None = None
    to_value, detail = None, ""
    excludes: tuple[str, ...] = ()
    if spec.kind is ActionKind.OFFER:
        refusal, detail = eligibility.refusal(spec.name, situation)
        excludes = eligibility.excludes(spec.name)
    elif spec.kind is ActionKind.SET:
        to_value, detail = value_to_set(spec, catalogue.traits[spec.name], situation)
        refusal = RefusalReason.NOT_ELIGIBLE if detail else None
    journey = rule_set.journey
    parameters = filled.parameters
    if journey is not None and spec.kind is ActionKind.STEP:
        parameters = fields_of(journey, situation)
    return Candidate(
        action_id=action_id(question.decision_id, rule.rule_set, rule.rule, spec.position),
        rule_set=rule.rule_set,
        version=rule.version,
        rule=rule.rule,
        position=spec.position,
        kind=spec.kind,
        name=spec.name,
        category=spec.category,
        priority=rule.priority,
        topic=spec.topic,
        channels=spec.channels,
        parameters=dict(parameters),
        template=filled.template,
        arm=arm,
        experiment="" if experiment is None else experiment.id,
        value=worth.value.value,
        value_from=Origin(*worth.value[1:]),
        cost=worth.cost.value,
        cost_from=Origin(*worth.cost[1:]),
        propensity=worth.propensity.value,
        propensity_from=Origin(*worth.propensity[1:]),
        excludes=excludes,
        order=order,
        expires_micros=filled.expires_micros,
        due_micros=filled.due_micros,
        planned_micros=filled.planned_micros,
        unless=spec.unless,
        to_payer=spec.to_payer,
        to_value=to_value,
        for_micros=spec.for_micros,
        say=filled.say,
        avoid=spec.avoid,
        slot=slot,
        refusal=refusal,
        detail=detail,
        journey=passage_of(rule_set, rule, situation),
    )


def _circumstances(
    catalogue: Catalogue, terms: Terms, situation: Situation, facts: tuple[str, ...], *, was_planned: bool
) -> Circumstances:
    reason, vulnerable = "", catalogue.traits.get("vulnerable")
    if COMPLAINT_OPEN in facts:
        reason = "a complaint is open"
    elif situation.things.get("cell", {}).get("incident") is not None:
        reason = "there is an incident at the customer's cell"
    contacts, sales = (0, 0) if terms.most_sales is None else contacts_of(situation, catalogue, terms)
    shared = catalogue.conversation_scope is ConversationScope.HOUSEHOLD
    return Circumstances(
        time_micros=situation.now_micros,
        service_first=reason,
        # who may not be asked whether they are counts as if they were
        vulnerable=situation.traits.get("vulnerable") is True
        or (vulnerable is not None and vulnerable.purpose in situation.withheld),
        pressure=pressure_of(situation, terms),
        was_planned=was_planned,
        contacts=contacts,
        sales_contacts=sales,
        household=situation.household_id if shared else 0,
        terms=terms,
    )


def _evaluate_planned(
    program: Program, engine: RulesEngine, eligibility: Eligibility, planned: Planned, situation: Situation
) -> Evaluation:
    """A planned action is decided again: `unless` over the wait, `keep` and what may be used and offered now.

    `when` is not asked again, and what it is worth stays as it was planned.
    """
    facts = shared_facts(program, engine, situation)
    candidate = replace(planned.candidate, journey=None)  # the journey may have gone on meanwhile
    found = find_action(program, candidate.rule_set, candidate.rule, candidate.position)
    if found is None:
        candidate = replace(
            candidate, refusal=RefusalReason.KILLED, detail="its rule was taken out of use while it waited"
        )
    else:
        spec = replace(found[1], unless=candidate.unless)
        happened = unless_happened(spec, situation, planned.since_micros, planned.since_sequence)
        if happened:
            detail = f"{happened} happened while it waited"
            candidate = replace(candidate, refusal=RefusalReason.NO_LONGER_TRUE, detail=detail)
        elif not still_wanted(spec, situation, facts):
            detail = "what it was to rest on when due no longer holds"
            candidate = replace(candidate, refusal=RefusalReason.NO_LONGER_TRUE, detail=detail)
        else:
            candidate = _still_allowed(candidate, found[0], eligibility, situation)
    arms = (
        {candidate.experiment: situation.arms.get(candidate.experiment, NO_ARM)}
        if candidate.experiment
        else {}
    )
    return Evaluation(
        facts,
        (candidate,),
        _circumstances(program.catalogue, eligibility.policy.terms, situation, facts, was_planned=True),
        arms,
        _limits(program, (candidate,)),
    )
