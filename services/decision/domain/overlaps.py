"""Rule sets that want to sell to the same customer at the same event, with a customer for whom both do."""

from collections.abc import Iterator, Mapping, Sequence
from itertools import combinations

from services.decision.domain.examples import Example, find_example
from services.decision.domain.language.rule_set_reader import Draft
from services.decision.domain.program import ActionRule, Program, RuleSet
from services.vocabulary.words import CATEGORY_FACTS, DISPATCHED_KINDS

MOST_PAIRS = 60
"""So many pairs of rules are looked at, those of the last rule set first."""


def check_overlaps(program: Program, drafts: Sequence[Draft]) -> None:
    """Warns, at the later rule set, of rules of which only one can win; once for each two rule sets."""
    by_name = {draft.rule_set.name: draft for draft in drafts}
    pairs = MOST_PAIRS
    warned: set[frozenset[str]] = set()
    for one, other in _pairs(program.rule_sets):
        sets = frozenset((one[0].name, other[0].name))
        if sets in warned:
            continue
        if not pairs:
            return
        pairs -= 1
        example = _example(program, one, other)
        if example is not None:
            warned.add(sets)
            _warn(by_name, one, other, example)


def _pairs(
    rule_sets: Sequence[RuleSet],
) -> Iterator[tuple[tuple[RuleSet, ActionRule], tuple[RuleSet, ActionRule]]]:
    for later, earlier in combinations(reversed(rule_sets), 2):
        if set(later.triggers).isdisjoint(earlier.triggers):
            continue
        for rule in later.rules:
            for other in earlier.rules:
                if _may_win(rule) and _may_win(other):
                    yield (earlier, other), (later, rule)


def _may_win(rule: ActionRule) -> bool:
    """Whether it asks, now and not later, for what only one of can win; a journey has its own time."""
    return rule.step is None and any(
        action.kind in DISPATCHED_KINDS
        and action.category is not None
        and CATEGORY_FACTS[action.category].commercial
        and action.after_micros is None
        for action in rule.actions
    )


def _example(
    program: Program, one: tuple[RuleSet, ActionRule], other: tuple[RuleSet, ActionRule]
) -> Example | None:
    for name in one[0].triggers:
        event = program.catalogue.events.get(name)
        if name in other[0].triggers and event is not None and not event.own:
            found = find_example(program, event, one, other)
            if found is not None:
                return found
    return None


def _warn(
    by_name: Mapping[str, Draft],
    one: tuple[RuleSet, ActionRule],
    other: tuple[RuleSet, ActionRule],
    example: Example,
) -> None:
    draft = by_name[other[0].name]
    told = f": {example.told}" if example.told else ""
    draft.report.warn(
        draft.places.get(other[1].key),
        f"`{other[1].rule}` and `{one[1].rule}` of {one[0].name} compete for one customer{told}",
        "overlap",
        "only one of them wins; if that is not meant, let their conditions exclude each other",
    )
