"""Runs the tests embedded in a rule set, on any engine."""

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, replace
from datetime import datetime, time
from typing import Any, ClassVar

from services.decision.domain.activity import Activity
from services.decision.domain.calendar import cycle_label, cycle_of, local, local_day
from services.decision.domain.engine import RulesEngine
from services.decision.domain.journeys import KEY, REACHED, STEP, key_text
from services.decision.domain.program import ActionRule, Case, Program, RuleSet
from services.decision.domain.run import Outcome, run_program
from services.decision.domain.situation import Situation
from services.decision.domain.triggers import (
    JOURNEY_DUE,
    TRIGGER_DUE,
    Absence,
    Occasion,
    ThingEvent,
    due_key,
    thing_after,
)
from services.vocabulary.catalogue import CONSENTS, Catalogue
from services.vocabulary.values import SECOND, Money, ValueType, time_to_micros, zone
from services.vocabulary.words import ConsentState, RefusalReason

# A set that is always active is tested at this moment: 2026-01-01, noon in its zone.
_ALWAYS = (2026, 1, 1)


@dataclass(frozen=True, slots=True)
class TestResult:
    """How one embedded test went; `message` is empty when it passed."""

    __test__: ClassVar[bool] = False

    name: str
    passed: bool
    message: str


@dataclass(frozen=True, slots=True)
class Arbitrated:
    """What arbitration made of an outcome: rules with an action that won, in order, and the refused.

    All rule sets that the event triggered take part, and what the test says
    of consents; each rule by its rule set's name and its own.
    """

    wins: tuple[tuple[str, str], ...]
    refused: Mapping[tuple[str, str], RefusalReason]


Arbitrate = Callable[[Case, Situation, Outcome], Arbitrated]


def run_tests(
    program: Program,
    rule_set: RuleSet,
    engine: RulesEngine,
    arbitrate: Arbitrate | None = None,
) -> tuple[TestResult, ...]:
    """Run every test of the set, in file order.

    `fires` and `facts` are judged by the rules alone, and so is the refusal DATA_WITHHELD; `wins` and all
    other refusals by `arbitrate`. A test that asks for them without it fails.
    """
    return tuple(_run(case, program, rule_set, engine, arbitrate) for case in rule_set.tests)


def _run(
    case: Case,
    program: Program,
    rule_set: RuleSet,
    engine: RulesEngine,
    arbitrate: Arbitrate | None,
) -> TestResult:
    situation = situation_of(case, rule_set, program.catalogue)
    outcome = where_it_stands(case, rule_set, run_program(program, engine, situation, case.facts))
    failures = [*_judge_rules(case, rule_set, outcome)]
    if case.then_wins is not None or case.then_refused is not None:
        failures += _judge_arbitration(case, rule_set, situation, outcome, arbitrate)
    return TestResult(case.name, not failures, "; ".join(failures))


def where_it_stands(case: Case, rule_set: RuleSet, outcome: Outcome) -> Outcome:
    """In a journey, only what belongs to the step at which the test says that the customer stands.

    What ends the journey, in the test's history, happened since it began.
    """
    journey = rule_set.journey
    if journey is None:
        return outcome
    left = bool(case.step) and any(name in journey.exits for name, _, _ in case.history)

    def counts(rule: ActionRule) -> bool:
        if rule.step is None or rule.rule_set != rule_set.name:
            return True
        if left or case.event_type == JOURNEY_DUE:
            return not left
        if case.step:
            return rule.step.awaiting == case.step
        return not rule.step.awaiting or case.event_type != journey.start

    return replace(
        outcome,
        rules=tuple(rule for rule in outcome.rules if counts(rule)),
        withheld=tuple(rule for rule in outcome.withheld if counts(rule)),
    )


def _judge_rules(case: Case, rule_set: RuleSet, outcome: Outcome) -> list[str]:
    failures: list[str] = []
    fired = tuple(rule.rule for rule in outcome.rules if rule.rule_set == rule_set.name and not rule.moves)
    if case.then_fires is not None and fired != case.then_fires:
        failures.append(f"expected to fire: {_listed(case.then_fires)}; fired: {_listed(fired)}")
    if case.then_facts is not None:
        own = tuple(key for key in outcome.facts if rule_set.shared or key.startswith(f"{rule_set.name}/"))
        known = {fact.fact for fact in rule_set.facts}
        own = tuple(key for key in own if key in known)
        if set(own) != set(case.then_facts):
            expected, found = (
                tuple(key.rpartition("/")[2] for key in keys) for keys in (case.then_facts, own)
            )
            failures.append(f"expected facts: {_listed(expected)}; inferred: {_listed(found)}")
    return failures


def _judge_arbitration(
    case: Case, rule_set: RuleSet, situation: Situation, outcome: Outcome, arbitrate: Arbitrate | None
) -> list[str]:
    refused: dict[str, RefusalReason] = {
        rule.rule: RefusalReason.DATA_WITHHELD for rule in outcome.withheld if rule.rule_set == rule_set.name
    }
    wins: tuple[str, ...] = ()
    if arbitrate is not None:
        arbitrated = arbitrate(case, situation, outcome)
        own = {rule: reason for (owner, rule), reason in arbitrated.refused.items() if owner == rule_set.name}
        refused.update(own)
        wins = tuple(rule for owner, rule in arbitrated.wins if owner == rule_set.name)
    elif case.then_wins is not None:
        return ["`wins` needs arbitration, which is not part of this run"]
    failures = []
    if case.then_wins is not None and wins != case.then_wins:
        failures.append(f"expected to win: {_listed(case.then_wins)}; won: {_listed(wins)}")
    for rule, reason in (case.then_refused or {}).items():
        if refused.get(rule) is not reason:
            found = refused.get(rule)
            failures.append(f"expected {rule} to be refused for {reason}; it was {found or 'not refused'}")
    return failures


def _listed(names: tuple[str, ...]) -> str:
    return ", ".join(names) if names else "nothing"


# --- the situation a test describes ----------------------------------------------------------------------


def noon_of_first_day(rule_set: RuleSet, zone_name: str) -> int:
    """The moment at which a customer of that zone is tested, in micros."""
    if rule_set.from_micros is None:
        return time_to_micros(datetime(*_ALWAYS, 12, tzinfo=zone(zone_name)))
    first = local(rule_set.from_micros, rule_set.zone).date()
    return time_to_micros(datetime.combine(first, time(12), zone(rule_set.zone)))


def situation_of(
    case: Case, rule_set: RuleSet, catalogue: Catalogue, now_micros: int | None = None
) -> Situation:
    """The customer and the moment that a test describes: noon of the first active day, if none is given."""
    zone_name = str(case.traits.get("zone") or rule_set.zone)
    now = noon_of_first_day(rule_set, zone_name) if now_micros is None else now_micros
    cycle_day = int(case.traits.get("cycle_day") or 1)

    def completed(name: str, fields: Mapping[str, Any], micros: int) -> dict[str, Any]:
        event = catalogue.events.get(name)
        if event is not None and "cycle" in event.fields and "cycle" not in fields:
            return {**fields, "cycle": cycle_label(cycle_of(local_day(micros, zone_name), cycle_day))}
        return dict(fields)

    history = sorted(case.history, key=lambda event: -event[1])
    entries = [(name, now - ago, completed(name, fields, now - ago)) for name, ago, fields in history]
    experiment, journey = rule_set.experiment, rule_set.journey
    if journey is not None and case.event_type == JOURNEY_DUE:
        event = completed(journey.start, case.event, now)
        key = key_text(event.get(journey.key)) if journey.key else ""
        event |= {STEP: case.step, KEY: key, REACHED: now}
    else:
        event = completed(case.event_type, _with_since(case, rule_set.occasion, now), now)
    return Situation(
        event_type=case.event_type,
        event=event,
        event_micros=now,
        sequence=len(entries) + 1,
        accepted_micros=now,
        now_micros=now,
        traits=_with_consents(case),
        things={**_thing_concerned(case, rule_set.occasion, catalogue), **case.things},
        activity=activity_of(entries, catalogue),
        withheld=case.withheld,
        zone=zone_name,
        cycle_day=cycle_day,
        currency=catalogue.currency,
        arms={experiment.id: case.arm} if experiment and case.arm else {},
        windows={f"{rule_set.name}/{name}": value for name, value in case.windows.items()},
        trigger=_trigger_of(case, rule_set),
        ask=case.ask,
        household=case.household,
    )


def _trigger_of(case: Case, rule_set: RuleSet) -> str:
    """The key by which the event finds the rule set, where the event alone does not say it."""
    if case.event_type == JOURNEY_DUE:
        return due_key(JOURNEY_DUE, rule_set.name)
    return "" if rule_set.occasion is None else due_key(TRIGGER_DUE, rule_set.name)


def _thing_concerned(
    case: Case, occasion: Occasion | None, catalogue: Catalogue
) -> Mapping[str, Mapping[str, Any]]:
    if not isinstance(occasion, ThingEvent):
        return {}
    return thing_after(catalogue.events[occasion.type], case.event)


def _with_since(case: Case, occasion: Occasion | None, now_micros: int) -> Mapping[str, Any]:
    """The fields of the event; an absence that does not say since when has just lasted long enough."""
    if isinstance(occasion, Absence):
        return {"since": now_micros - occasion.for_micros, **case.event}
    return case.event


def _with_consents(case: Case) -> Mapping[str, Any]:
    granted = sorted(
        purpose.value for purpose, state in case.consents.items() if state is ConsentState.GRANTED
    )
    return {**case.traits, CONSENTS: tuple(granted)} if granted else case.traits


def activity_of(
    events: Sequence[tuple[str, int, Mapping[str, Any]]], catalogue: Catalogue
) -> dict[str, Activity]:
    """Activity as the profile would keep it of (type, micros, fields), in order; sequences count from 1."""
    found: dict[str, Activity] = {}
    for name in dict.fromkeys(event[0] for event in events):
        entries = [(number, *event) for number, event in enumerate(events, 1) if event[0] == name]
        activity = Activity(
            times=[micros for _, _, micros, _ in entries], sequences=[number for number, _, _, _ in entries]
        )
        numbers: dict[str, list[float]] = {}
        texts: dict[str, list[str | None]] = {}
        for field in catalogue.events[name].keep.fields:
            values = [fields.get(field) for _, _, _, fields in entries]
            value_type = catalogue.events[name].fields[field].type
            if value_type in {ValueType.TEXT, ValueType.ENUM, ValueType.DATE}:
                texts[field] = [None if value is None else str(value) for value in values]
            elif value_type not in {ValueType.LIST, ValueType.MAP}:
                numbers[field] = [_kept(value, value_type) for value in values]
        activity.numbers, activity.texts = numbers, texts
        found[name] = activity
    return found


def _kept(value: Any, value_type: ValueType) -> float:
    if value is None:
        return float("nan")
    if isinstance(value, Money):
        return float(value.amount)
    return float(value) / SECOND if value_type in {ValueType.TIME, ValueType.DURATION} else float(value)
