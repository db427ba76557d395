"""What calls for a rule set beside events: who is called, when, and whether there is still reason to."""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field, replace
from typing import Any

from services.decision.domain.activity import Activity
from services.decision.domain.canary import Programs, meets
from services.decision.domain.limits import NO_LIMITS, Limits
from services.decision.domain.program import RuleSet
from services.decision.domain.recurrence import Run, next_run, runs_between
from services.decision.domain.triggers import (
    NO_AUDIENCE,
    Absence,
    Occasion,
    OpenPair,
    Schedule,
    ThingEvent,
    unpack_happening,
)
from services.vocabulary.catalogue import CYCLE_DAYS
from services.vocabulary.values import DAY, HOUR, MINUTE, format_time
from services.vocabulary.words import ActionKind, Category

LONGEST_SILENCE = 13 * CYCLE_DAYS * DAY
"""Who was silent for longer than this before the first look is not looked for."""
_LOOK_BACK = 40 * DAY
"""Runs missed so long before the last one that could be caught up are not even counted."""
CANARY = "canary"
"""Begins keys of runs, and ends names of timetables, of versions that a share of the customers meets."""
_DAILY_MINUTE = 6 * HOUR // MINUTE
_SAYS = frozenset({ActionKind.OFFER, ActionKind.MESSAGE, ActionKind.SURVEY})


@dataclass(frozen=True, slots=True)
class Said:
    """What a rule set may say to a customer: an offer, message or survey."""

    name: str
    category: Category
    topic: str = ""


@dataclass(frozen=True, slots=True)
class Called:
    """A rule set that runs, its occasion, and what bounds it. Times in micros; `per_second` None: no pace.

    `only`: it is a canary, and calls these of the customers; `but`: it leaves these to a canary (shares).
    `says`: all that it may say. `least_cost`: of its cheapest action that counts against `limits`; None: it
    has none, or one whose cost is not known before it is decided.
    """

    rule_set: str
    version: int
    occasion: Occasion
    late_micros: int
    from_micros: int | None
    to_micros: int | None
    per_second: float | None = None
    only: int = 0
    but: int = 0
    limits: Limits = field(default=NO_LIMITS, compare=False)
    says: tuple[Said, ...] = field(default=(), compare=False)
    least_cost: float | None = field(default=None, compare=False)

    @classmethod
    def of(cls, rule_set: RuleSet) -> "Called | None":
        """None: only events of the customer call for it."""
        if rule_set.occasion is None:
            return None
        return cls(
            rule_set.name,
            rule_set.version,
            rule_set.occasion,
            rule_set.late_micros,
            rule_set.from_micros,
            rule_set.to_micros,
            rule_set.limits.per_second,
            limits=rule_set.limits,
            says=_says(rule_set),
            least_cost=_least_cost(rule_set),
        )

    @property
    def timetable(self) -> str:
        """Under what its times are kept: a canary has its own, beside the live version's."""
        return f"{self.rule_set} {CANARY}" if self.only else self.rule_set

    def key(self, occasion: str) -> str:
        """The key of one of its runs, told from that of the live version's."""
        return f"{CANARY} {occasion}" if self.only else occasion

    def calls(self, customer: int) -> bool:
        """Whether the customer meets the version that calls."""
        if self.only:
            return meets(self.rule_set, self.only, customer)
        return not self.but or not meets(self.rule_set, self.but, customer)

    @property
    def kind(self) -> str:
        """What its runs are of."""
        match self.occasion:
            case Schedule():
                return "schedule"
            case Absence():
                return "absence"
            case ThingEvent():
                return "thing"
            case OpenPair():
                return "pair"

    def active_at(self, micros: int) -> bool:
        """Whether that moment lies in `active`."""
        return (self.from_micros is None or micros >= self.from_micros) and (
            self.to_micros is None or micros < self.to_micros
        )


def _says(rule_set: RuleSet) -> tuple[Said, ...]:
    found = {
        Said(action.name, action.category, action.topic): None
        for rule in rule_set.rules
        for action in rule.actions
        if action.kind in _SAYS and action.category is not None
    }
    return tuple(found)


def _least_cost(rule_set: RuleSet) -> float | None:
    costs = [
        None if action.cost is None else action.cost.number
        for rule in rule_set.rules
        for action in rule.actions
        if action.category is not None
    ]
    known = [cost for cost in costs if cost is not None]
    return min(known) if costs and len(known) == len(costs) else None


def called_by(programs: Programs) -> tuple[Called, ...]:
    """What calls for rule sets in all variants; a canary called just as the live version goes with it."""
    found = [called for each in programs.base.occasions if (called := Called.of(each)) is not None]
    for bit, canary in enumerate(programs.canaries):
        rule_set = programs.variants[1 << bit].rule_set(canary.name)
        new = None if rule_set is None else Called.of(rule_set)
        place = next((place for place, each in enumerate(found) if each.rule_set == canary.name), None)
        if place is not None:
            old = found[place]
            if new is not None and replace(new, version=old.version) == old:
                continue
            found[place] = replace(old, but=canary.share)
        if new is not None:
            found.append(replace(new, only=canary.share))
    return tuple(found)


@dataclass(frozen=True, slots=True)
class Looked:
    """How far the times of a schedule were looked at in a zone.

    `silence` and `silence_until`: of an absence, which one (type and length) was looked for, and up to which
    last time customers were found.
    """

    until_micros: int
    silence: str = ""
    silence_until: int = 0


@dataclass(frozen=True, slots=True)
class Opening:
    """A run to be opened: `key` names it among those of its rule set, `name` is what customers are told.

    `after_micros` and `until_micros`: of an absence, between which last times customers are found.
    """

    key: str
    name: str
    due_micros: int
    zone: str = ""
    after_micros: int = 0
    until_micros: int = 0


@dataclass(frozen=True, slots=True)
class Looking:
    """What a look at the times came to: runs to open, how many are too late to catch up, and when next."""

    openings: tuple[Opening, ...]
    missed: int
    looked: Looked
    next_micros: int


def look(called: Called, zone: str, before: Looked, now_micros: int) -> Looking:
    """The runs that have come due since the last look, in one zone; for an absence the operator's."""
    if isinstance(called.occasion, Absence):
        return _look_for_silence(called, called.occasion, zone, before, now_micros)
    assert isinstance(called.occasion, Schedule)
    due, missed = _due(called, called.occasion, zone, before.until_micros, now_micros)
    # with a zone of its own the rule set calls customers of every zone
    of_zone = "" if called.occasion.zone else zone
    openings = tuple(Opening(f"schedule {run.name} {zone}", run.name, run.micros, of_zone) for run in due)
    following = next_run(called.occasion, zone, now_micros).micros
    return Looking(openings, missed, Looked(now_micros), following)


def _look_for_silence(
    called: Called, absence: Absence, zone: str, before: Looked, now_micros: int
) -> Looking:
    daily = Schedule(_DAILY_MINUTE, frozenset(), None, zone, NO_AUDIENCE)
    due, missed = _due(called, daily, zone, before.until_micros, now_micros)
    silence = f"{absence.type} {absence.for_micros}"
    following = next_run(daily, zone, now_micros).micros
    if not due:
        return Looking((), missed, Looked(now_micros, before.silence, before.silence_until), following)
    # the last one finds those of the others too
    last = due[-1]
    until = last.micros - absence.for_micros
    after = before.silence_until if before.silence == silence else last.micros - LONGEST_SILENCE
    opening = Opening(f"absence {last.name}", last.name, last.micros, "", after, until)
    return Looking((opening,), missed, Looked(now_micros, silence, until), following)


def _due(
    called: Called, schedule: Schedule, zone: str, after_micros: int, now_micros: int
) -> tuple[list[Run], int]:
    """Runs that came due since then and are active and not too late; how many were too late."""
    start = max(after_micros, now_micros - called.late_micros - _LOOK_BACK)
    runs = [run for run in runs_between(schedule, zone, start, now_micros) if called.active_at(run.micros)]
    kept = [run for run in runs if now_micros - run.micros <= called.late_micros]
    return kept, len(runs) - len(kept)


def pair_run(by: str, opened_micros: int) -> str:
    """What the check of a pair is called: the value that joins the two events, and when it was opened."""
    return f"{by} {format_time(opened_micros)}"


def by_value(pair: OpenPair, fields: Mapping[str, Any]) -> str:
    """The value that joins the two events of a pair; empty: it has none."""
    value = fields.get(pair.by)
    return "" if value is None else str(value)


def still_calls(occasion: Occasion | None, due: Mapping[str, Any], activity: Mapping[str, Activity]) -> bool:
    """Whether what came back as `trigger.due` (its fields) is still a reason to decide.

    Not when the rule set is called by something else by now, nor when what should not have happened did.
    """
    happened, fields = unpack_happening(str(due.get("data", "")))
    since = due.get("since")
    match occasion:
        case Schedule():
            return not happened and since is None
        case ThingEvent(type=event_type):
            return happened == event_type
        case Absence(type=event_type):
            if happened or since is None:
                return False
            seen = activity.get(event_type)
            return seen is None or not any(time > since for time in reversed(seen.times))
        case OpenPair(type=event_type, after=after):
            if happened != after or since is None:
                return False
            return not _closed(occasion, by_value(occasion, fields), since, activity.get(event_type))
        case _:
            return False


def _closed(pair: OpenPair, by: str, since: int, seen: Activity | None) -> bool:
    if seen is None:
        return False
    values: Sequence[Any] = seen.texts.get(pair.by) or seen.numbers.get(pair.by) or ()
    opens_too = pair.type == pair.after
    return any(
        (time > since if opens_too else time >= since) and _same(value, by)
        for time, value in zip(seen.times, values, strict=False)
    )


def _same(value: Any, by: str) -> bool:
    if isinstance(value, float):
        try:
            return value == float(by)
        except ValueError:
            return False
    return value is not None and str(value) == by
