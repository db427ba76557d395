"""Customers written down as tests write them ({given, when}), met by one version of a rule set."""

from __future__ import annotations

from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Any

from services.decision.domain.actions import fill
from services.decision.domain.language.nodes import node_of
from services.decision.domain.language.report import Report
from services.decision.domain.language.tests_reader import read_customer
from services.decision.domain.run import run_program
from services.decision.domain.trial import noon_of_first_day, situation_of, where_it_stands
from services.vocabulary.values import format_duration

if TYPE_CHECKING:
    from collections.abc import Collection, Iterable, Mapping

    from services.decision.domain.amounts import Amount
    from services.decision.domain.engine import RulesEngine
    from services.decision.domain.language.scope import Scope
    from services.decision.domain.problems import Problem
    from services.decision.domain.program import ActionRule, ActionSpec, Case, Program, RuleSet
    from services.decision.domain.situation import Situation


@dataclass(frozen=True, slots=True)
class Customer:
    """`given` and `when` as a test has them, of plain values; `at_micros`: when it happens.

    Without a time it is noon of the first day on which the new version is active. `where`: it was written.
    """

    given: Mapping[str, Any] = field(default_factory=dict)
    when: Mapping[str, Any] = field(default_factory=dict)
    at_micros: int | None = None
    where: str = field(default="", compare=False)


class CustomerMistake(ValueError):  # noqa: N818 - a mistake in what was written
    """The customer cannot be read: says why, and what to write instead."""

    @classmethod
    def of(cls, problems: Iterable[Problem]) -> CustomerMistake:
        """All that is wrong."""
        return cls("; ".join(_said(problem) for problem in problems))


def _said(problem: Problem) -> str:
    return problem.message + (f" – {problem.suggestion}" if problem.suggestion else "")


@dataclass(frozen=True, slots=True)
class Asked:
    """What a version asks for: its rule, in words what it does, and all that can differ, by name.

    Two ask for the same when their `details` are equal; the rule and its words are for people.
    """

    rule: str
    text: str
    details: Mapping[str, Any] = field(default_factory=dict)


@dataclass(frozen=True, slots=True)
class Version:
    """One version of a rule set in its program, with the names that stand for something in it."""

    program: Program
    rule_set: RuleSet
    scope: Scope

    @property
    def moment(self) -> int:
        """Noon of its first active day, in micros."""
        return noon_of_first_day(self.rule_set, self.rule_set.zone)

    @property
    def calls(self) -> tuple[str, ...]:
        """The event types and questions that call for it; none for an occasion."""
        if self.scope.called_by:
            return ()
        return (*(event.name for event in self.scope.triggers), *(each.name for each in self.scope.questions))

    def meets(self, engine: RulesEngine, customer: Customer, other: Version) -> tuple[Asked, ...]:
        """What it asks for; nothing when the event does not call for it. Raises CustomerMistake.

        What only the `other` version knows the name of is left out.
        """
        when = self._when(customer.when, other)
        if when is None:
            return ()
        case = self._read({"given": self._given(customer.given, other), "when": when})
        situation = situation_of(case, self.rule_set, self.program.catalogue, customer.at_micros)
        outcome = where_it_stands(
            case, self.rule_set, run_program(self.program, engine, situation, case.facts)
        )
        if self.rule_set.shared:
            own = {fact.fact for fact in self.rule_set.facts}
            return tuple(
                Asked("", f"infers {key}", {"fact": key}) for key in sorted(own.intersection(outcome.facts))
            )
        return tuple(
            _asked(rule, spec, situation, case.arm)
            for rule in outcome.rules
            if rule.rule_set == self.rule_set.name
            for spec in rule.actions
        )

    def _read(self, written: Mapping[str, Any]) -> Case:
        report = Report("")
        case = read_customer(node_of(written), self.scope, report)
        if report.failed or case is None:
            raise CustomerMistake.of(report.problems)
        return case

    def _when(self, when: Mapping[str, Any], other: Version) -> Mapping[str, Any] | None:
        name = when.get("type") or when.get("ask")
        step = when.get("step")
        if step is not None and step not in (self.scope.stops or ()) and step in (other.scope.stops or ()):
            return None
        if self.scope.stops is not None and name is None:
            return when
        if name is None and len(self.calls) != 1 and len(other.calls) == 1 and not self.scope.called_by:
            name = other.calls[0]
            when = {("type" if other.scope.triggers else "ask"): name, **when}
        unknown = name is not None and name not in self.calls and not self.scope.any_event
        if unknown and (name in other.calls or other.scope.any_event):
            return None
        if bool(self.scope.called_by) != bool(other.scope.called_by):
            return None if (name is None) is not bool(self.scope.called_by) else when
        return when

    def _given(self, given: Mapping[str, Any], other: Version) -> Mapping[str, Any]:
        def known(names: Collection[str], others: Collection[str], name: str) -> bool:
            return name in names or name not in others

        mine, theirs = self.scope, other.scope
        found = dict(given)
        if isinstance(found.get("windows"), dict):
            found["windows"] = {
                name: value
                for name, value in found["windows"].items()
                if known(mine.windows, theirs.windows, name)
            }
        if isinstance(found.get("facts"), list):
            own, others = ((*scope.local_facts, *scope.shared_facts) for scope in (mine, theirs))
            found["facts"] = [name for name in found["facts"] if known(own, others, name)]
        if isinstance(found.get("arm"), str) and not known(mine.arms or (), theirs.arms or (), found["arm"]):
            del found["arm"]
        return found


def _asked(rule: ActionRule, spec: ActionSpec, situation: Situation, arm: str) -> Asked:
    filled = fill(spec, situation, arm)
    parameters = tuple(sorted((name, str(value)) for name, (_, value) in filled.parameters.items()))
    details = {
        "kind": spec.kind,
        "name": spec.name,
        "category": spec.category,
        "topic": spec.topic,
        "with": parameters,
        "template": filled.template,
        "say": filled.say,
        "channels": spec.channels,
        "value": _number(spec.value),
        "cost": _number(spec.cost),
        "propensity": None if spec.propensity is None else _number(spec.propensity),
        "expires": _length(spec.expires_micros),
        "due": _length(spec.due_micros),
        "after": _length(spec.after_micros),
        "unless": spec.unless,
        "keep": None if spec.keep is None else tuple(part.source for part in spec.keep.parts),
        "to": "payer" if spec.to_payer else "user",
        "set to": str(spec.to_value) if spec.to_text is None else spec.to_text.source,
        "for": _length(spec.for_micros),
        "avoid": spec.avoid,
        "once": rule.once,
    }
    shown = " ".join(f"{name}={value}" for name, value in parameters)
    what = filled.say or " ".join(map(str, spec.avoid)) or spec.name
    text = f"{spec.kind} {what}" + (f" ({shown})" if shown else "")
    if rule.moves:
        text = f"goes on to {spec.name}" if spec.name else "comes to the end"
    return Asked(rule.rule, text, details)


def _number(amount: Amount | None) -> float | str:
    """A number, or the formula as written; what is left out is 0."""
    if amount is None:
        return 0.0
    return amount.source if amount.number is None else amount.number


def _length(micros: int | None) -> str | None:
    return None if micros is None else format_duration(micros)
