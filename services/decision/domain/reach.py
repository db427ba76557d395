"""Which rules can ever fire, and be the first: what the conditions of a rule set leave to each of them."""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any

from services.decision.domain.contradictions import callers_of, check_fires, with_facts
from services.decision.domain.language.ast import (
    Condition,
    Expression,
)
from services.decision.domain.language.nodes import Block, Listing
from services.decision.domain.language.rule_set_reader import Draft
from services.decision.domain.language.types import show
from services.decision.domain.needs import fact_needs, with_needs
from services.decision.domain.program import ActionRule, FactRule, Needs
from services.decision.domain.regions import Box, Space, TooMuch
from services.vocabulary.catalogue import Catalogue, EventType

MOST_OVERLAPS = 10
_MOST_NAMED = 3


def check_reach(drafts: Sequence[Draft], catalogue: Catalogue) -> None:
    """Reports rules that never fire, that others always outdo, and what tables leave out or say twice.

    Only rule sets without an error yet are looked at: what is missing from them might be what matters.
    """
    shared = [fact for draft in drafts if draft.rule_set.shared for fact in draft.rule_set.facts]
    triggers = {draft.rule_set.name: draft.scope.triggers for draft in drafts}
    for draft in drafts:
        if not draft.report.failed:
            _Reach(draft, catalogue, shared, triggers).check()


@dataclass(frozen=True, slots=True)
class _Looked:
    """A rule with where it can fire."""

    rule: ActionRule
    boxes: tuple[Box, ...]
    needs: Needs


class _Reach:
    """Looks through one rule set."""

    def __init__(
        self,
        draft: Draft,
        catalogue: Catalogue,
        shared: Sequence[FactRule],
        triggers: Mapping[str, Sequence[EventType]],
    ) -> None:
        self._draft = draft
        self._catalogue = catalogue
        self._triggers = draft.scope.triggers
        self._callers = callers_of(draft.scope)
        own = draft.rule_set.facts
        self._facts = list(own) if draft.rule_set.shared else [*own, *shared]
        self._needs = fact_needs(self._facts, catalogue, triggers)

    def check(self) -> None:
        """Everything, in the order of the file."""
        rules = self._draft.rule_set.all_rules
        full = {rule.key: with_facts(rule.when, self._facts) for rule in rules}
        if check_fires(self._draft, self._catalogue, self._facts):
            return
        for group in _groups(self._draft.rule_set.rules, first=self._draft.rule_set.choose_first):
            self._check_shadowed(group, full)
        places = self._draft.places
        table = [rule for rule in self._draft.rule_set.rules if isinstance(places.get(rule.key), Listing)]
        if table:
            self._check_table(table)

    # --- rules that others outdo -------------------------------------------------------------------------

    def _check_shadowed(self, group: Sequence[ActionRule], full: Mapping[str, Condition]) -> None:
        ordered = sorted(group, key=lambda rule: (-rule.priority, rule.order))
        space = Space(
            [condition for rule in ordered for condition in (rule.when, full[rule.key])],
            self._catalogue,
            self._callers,
        )
        stronger: list[_Looked] = []
        for rule in ordered:
            needs = with_needs(rule, self._needs, self._catalogue, self._triggers).needs
            # One that looks at more may be kept back by what the customer withheld.
            before = [other for other in stronger if _within(other.needs, needs)]
            try:
                own = space.boxes(rule.when)
                outdoing = self._outdoing(space, _boxes_or(space, full[rule.key], own), before)
            except TooMuch:
                continue
            stronger.append(_Looked(rule, own, needs))
            if outdoing:
                self._report_shadowed(rule, outdoing)

    def _outdoing(self, space: Space, boxes: Sequence[Box], before: Sequence[_Looked]) -> Sequence[_Looked]:
        """The rules that leave nothing of these boxes; none when they leave something."""
        mine = [
            both for box in boxes for whole in space.whole() if (both := space.both(box, whole)) is not None
        ]
        if not before or not mine or not _covered(space, mine, before):
            return ()
        for other in before:
            if _covered(space, mine, [other]):
                return [other]
        kept = list(before)
        for other in before:
            fewer = [each for each in kept if each is not other]
            if _covered(space, mine, fewer):
                kept = fewer
        return kept

    def _report_shadowed(self, rule: ActionRule, outdoing: Sequence[_Looked]) -> None:
        names = [f"`{other.rule.rule}`" for other in outdoing]
        who = names[0] if len(names) == 1 else "one of " + _listed(names)
        what = "can never be reached" if rule.first_of else "is shadowed"
        suggestion = (
            "move the row up, narrow the rows above it, or remove it"
            if rule.first_of
            else f"give `{rule.rule}` a higher priority, or {names[0]} one more condition"
        )
        self._draft.report.error(
            self._draft.places.get(rule.key),
            f"`{rule.rule}` {what}: whenever it could fire, {who} fires first",
            "shadowed",
            suggestion,
        )

    # --- tables ------------------------------------------------------------------------------------------

    def _check_table(self, rows: Sequence[ActionRule]) -> None:
        space = Space([row.when for row in rows], self._catalogue, self._callers)
        if not space.exact:
            return
        try:
            boxes = [space.boxes(row.when) for row in rows]
            self._check_gaps(space, [box for found in boxes for box in found])
        except TooMuch:
            return
        if not (rows[0].first_of or self._draft.rule_set.choose_first):
            self._check_overlaps(space, rows, boxes)

    def _check_gaps(self, space: Space, boxes: Sequence[Box]) -> None:
        whole = space.whole()
        tried = (*(space.without_gaps(each) for each in whole), *whole)
        gap = next((found for each in tried if (found := space.outside(each, boxes)) is not None), None)
        if gap is not None:
            self._draft.report.warn(
                self._draft.top.get("table") if isinstance(self._draft.top, Block) else None,
                f"no row for {_told(space, gap)}",
                "table-gap",
                "add a row for the rest: `any` in every column",
                text="table",
            )

    def _check_overlaps(
        self, space: Space, rows: Sequence[ActionRule], boxes: Sequence[Sequence[Box]]
    ) -> None:
        found = 0
        for position, row in enumerate(rows):
            for earlier in range(position):
                both = _both(space, boxes[earlier], boxes[position])
                if both is None:
                    continue
                self._draft.report.warn(
                    self._draft.places.get(row.key),
                    f"`{rows[earlier].rule}` and `{row.rule}` both fire for {_told(space, both)}",
                    "table-overlap",
                    "narrow one of them, or write choose: first",
                )
                found += 1
                break
            if found == MOST_OVERLAPS:
                return


def _groups(rules: Sequence[ActionRule], *, first: bool) -> list[list[ActionRule]]:
    """The rules of which only the first that fires counts."""
    if first:
        return [list(rules)]
    found: dict[str, list[ActionRule]] = {}
    for rule in rules:
        if rule.first_of:
            found.setdefault(rule.first_of, []).append(rule)
    return list(found.values())


def _within(one: Needs, other: Needs) -> bool:
    return one.purposes <= other.purposes and one.things <= other.things


def _boxes_or(space: Space, condition: Condition, otherwise: tuple[Box, ...]) -> tuple[Box, ...]:
    try:
        return space.boxes(condition)
    except TooMuch:
        return otherwise


def _covered(space: Space, boxes: Sequence[Box], by: Sequence[_Looked]) -> bool:
    others = [box for each in by for box in each.boxes]
    return all(space.outside(box, others) is None for box in boxes)


def _both(space: Space, one: Sequence[Box], other: Sequence[Box]) -> Box | None:
    """Where both can fire, without anything missing if that can be."""
    for whole in space.whole():
        for a in one:
            for b in other:
                both = space.both(a, b)
                if both is not None and (found := space.both(both, whole)) is not None:
                    return space.without_gaps(found)
    return None


def _told(space: Space, box: Box) -> str:
    """An example of a box: country FR with plan_data_mb 5000."""
    point = space.point(box)
    parts = [told for key, value in point.items() if (told := _told_one(value, space.expressions().get(key)))]
    return " with ".join(parts) if parts else "anybody"


def _told_one(value: Any, expression: Expression | None) -> str:
    if expression is None:
        return ""
    name = expression.source.partition(".")[2] or expression.source
    return f"{name} missing" if value is None else f"{name} {show(value, expression.kind) or 'without items'}"


def _listed(names: Sequence[str]) -> str:
    if len(names) > _MOST_NAMED:
        return ", ".join(names[:_MOST_NAMED]) + f" and {len(names) - _MOST_NAMED} more"
    return " and ".join(", ".join(names).rsplit(", ", 1))


def _short(key: str) -> str:
    return key.rpartition("/")[2]
