"""What cannot be meant although every line can be read: arms unused, offers past their end, tests missing."""

from collections.abc import Sequence

from services.decision.domain.language.ast import (
    ArmIs,
    walk,
)
from services.decision.domain.language.nodes import Block, Node
from services.decision.domain.language.rule_set_reader import Draft
from services.vocabulary.catalogue import Catalogue
from services.vocabulary.values import micros_to_time, zone
from services.vocabulary.words import ActionKind


def check_draft(draft: Draft, catalogue: Catalogue, shared_facts: Sequence[str]) -> None:
    """Reports on one rule set; facts of others are known by name."""
    _check_arms(draft)
    _check_offers(draft, catalogue)
    _check_budget(draft)
    _check_tests(draft)
    if not draft.rule_set.shared:
        for fact in draft.rule_set.facts:
            name = fact.fact.rpartition("/")[2]
            if name in shared_facts:
                draft.report.error(
                    draft.places[fact.key],
                    f"the fact `{name}` is also inferred by a shared rule set",
                    "fact",
                    "give it another name",
                )


def _check_arms(draft: Draft) -> None:
    experiment = draft.rule_set.experiment
    if experiment is None:
        return
    used = {arm for rule in draft.rule_set.rules for action in rule.actions for arm in action.arms}
    for rule in draft.rule_set.all_rules:
        for part in walk(rule.when):
            if isinstance(part, ArmIs):
                used |= part.arms if not part.negated else set(experiment.arms)
    node = _child(draft.top, "experiment")
    for arm in experiment.arms:
        if arm not in used:
            draft.report.error(
                node,
                f"no rule uses the arm `{arm}`",
                "unused-arm",
                "name it under `arms` of an action",
                text=arm,
            )


def _check_offers(draft: Draft, catalogue: Catalogue) -> None:
    rule_set = draft.rule_set
    place = zone(rule_set.zone)
    for rule in rule_set.rules:
        for action in rule.actions:
            offer = catalogue.offers.get(action.name) if action.kind is ActionKind.OFFER else None
            if offer is None:
                continue
            first = (
                micros_to_time(rule_set.from_micros).astimezone(place).date()
                if rule_set.from_micros
                else None
            )
            last = (
                micros_to_time(rule_set.to_micros - 1).astimezone(place).date()
                if rule_set.to_micros
                else None
            )
            node = draft.places[rule.key]
            if (first and offer.valid_to and offer.valid_to < first) or (
                last and offer.valid_from and offer.valid_from > last
            ):
                draft.report.error(
                    node,
                    f"the offer `{offer.name}` is not valid while the rule set is active",
                    "offer-past-validity",
                    "change `active`, or the offer's validity",
                    text=offer.name,
                )
            elif offer.valid_to and (last is None or last > offer.valid_to):
                draft.report.warn(
                    node,
                    f"the offer `{offer.name}` ends on {offer.valid_to}, before the rule set",
                    "offer-past-validity",
                    "end the rule set then, or prolong the offer",
                    text=offer.name,
                )


def _check_budget(draft: Draft) -> None:
    if draft.rule_set.limits.budget is None:
        return
    costs = (action.cost for rule in draft.rule_set.rules for action in rule.actions)
    if not any(cost is not None and cost.number != 0.0 for cost in costs):
        draft.report.warn(
            _child(draft.top, "limits"),
            "no action of the rule set costs anything, so that its budget is never used",
            "unused-budget",
            "add cost: 1.20 to its actions, or leave the budget out",
        )


def _check_tests(draft: Draft) -> None:
    if draft.rule_set.shared:
        return
    fired = {name for case in draft.rule_set.tests for name in case.then_fires or ()}
    for rule in draft.rule_set.rules:
        if rule.rule and rule.rule not in fired and not rule.moves:
            draft.report.warn(
                draft.places[rule.key],
                f"no test shows that `{rule.rule}` fires",
                "untested-rule",
                "add a test to `tests`",
                text=rule.rule,
            )


def _child(node: Node | None, name: str) -> Node | None:
    return node.get(name) if isinstance(node, Block) else node
