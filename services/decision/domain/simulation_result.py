"""What a simulation comes to, as JSON that names no customer; docs/simulation.md says what it means."""

from __future__ import annotations

from collections import Counter, defaultdict
from dataclasses import dataclass, field
from enum import StrEnum
from typing import TYPE_CHECKING, Any

from services.decision.domain.calendar import day_of, local_day
from services.decision.domain.proportions import ratio, share
from services.decision.domain.simulation_funnel import ActionName, Funnel, Stages
from services.vocabulary.words import RefusalReason

if TYPE_CHECKING:
    from collections.abc import Iterable, Mapping, Sequence

    from services.decision.domain.proportions import Interval
    from services.decision.domain.simulation_funnel import Would

FEWEST = 5
"""Groups of fewer customers are told of as one."""
MOST_GROUPS = 20
OTHERS = "others"
_OFFER = "offer"


class Fate(StrEnum):
    """What becomes of an action that was decided."""

    SENT = "sent"
    WAITS = "waits"
    REFUSED = "refused"
    """By the gates."""
    LIMITED = "limited"
    """By the limits of its rule set."""
    UNJUDGED = "unjudged"
    """There were too many."""


@dataclass(frozen=True, slots=True)
class Verdict:
    """What becomes of one action, by which channel, and why not."""

    fate: Fate
    channel: str = ""
    reason: str = ""
    detail: str = ""


@dataclass
class Outcome:
    """One world. ``would``: what was decided, in order of time, with a verdict each."""

    funnel: Funnel = field(default_factory=Funnel)
    asked: set[int] = field(default_factory=set)
    would: Sequence[Would] = ()
    verdicts: Sequence[Verdict] = ()

    @property
    def judged(self) -> Iterable[tuple[Would, Verdict]]:
        """Actions with their verdicts."""
        return zip(self.would, self.verdicts, strict=True)

    def reached(self, kind: str = "") -> set[int]:
        """Customers who would get something, of that kind."""
        return {
            one.customer
            for one, verdict in self.judged
            if verdict.fate is Fate.SENT and (not kind or one.name.kind == kind)
        }


def outcome_json(outcome: Outcome, zone: str) -> dict[str, Any]:
    """One world: its funnel, rule by rule, day by day."""
    fates: dict[ActionName, Counter[str]] = defaultdict(Counter)
    reasons: dict[ActionName, Counter[str]] = defaultdict(Counter)
    caps: Counter[tuple[str, str]] = Counter()
    for one, verdict in outcome.judged:
        fates[one.name][verdict.fate.value] += 1
        if verdict.reason and verdict.fate is not Fate.SENT:
            reasons[one.name][verdict.reason] += 1
        if verdict.reason == RefusalReason.CAPPED:
            caps[local_day_text(one.micros, zone), verdict.detail] += 1
    whole = Stages()
    rules = []
    for name, stages in sorted(outcome.funnel.stages.items()):
        whole.add(stages)
        rules.append({**name._asdict(), **_stages(stages, fates[name], reasons[name])})
    sent = [one for one, verdict in outcome.judged if verdict.fate is Fate.SENT]
    reached = outcome.reached()
    return {
        "events": outcome.funnel.events,
        "decisions": outcome.funnel.decisions,
        "funnel": _stages(whole, _sum(fates.values()), _sum(reasons.values())),
        "rules": rules,
        "days": _days(outcome, zone),
        "caps": [
            {"day": day, "cap": detail, "actions": count} for (day, detail), count in sorted(caps.items())
        ],
        "cost": round(sum(one.cost for one in sent), 2),
        "value": round(sum(one.value for one in sent), 2),
        "customers": {
            "asked_for": len(outcome.asked),
            "reached": len(reached),
            "left_with_nothing": len(outcome.asked - reached),
        },
    }


def displaced_json(
    draft: Outcome, live: Outcome, why: Mapping[tuple[str, str], str], worlds: tuple[str, str]
) -> dict[str, Any]:
    """What would be sent in one world only, by action, with why it is not in the other.

    ``why``: by world (named by ``worlds``) and action, what became of what was not decided there.
    """
    return {
        "lost": _only(live, draft, why, worlds[0]),
        "gained": _only(draft, live, why, worlds[1]),
    }


def groups_json(
    names: Sequence[str], groups: Mapping[int, Sequence[str]], outcome: Outcome
) -> list[dict[str, Any]]:
    """For each trait the groups of its values, what share of each is offered something, and beside the rest.

    Values of fewer than FEWEST customers, and those beyond MOST_GROUPS, are told of as one.
    """
    offered = outcome.reached(_OFFER)
    found = []
    for place, name in enumerate(names):
        sizes = Counter(values[place] for values in groups.values())
        told = {value for value, size in sizes.most_common(MOST_GROUPS) if size >= FEWEST}
        whole: Counter[str] = Counter()
        hits: Counter[str] = Counter()
        for customer, values in groups.items():
            group = values[place] if values[place] in told else OTHERS
            whole[group] += 1
            hits[group] += customer in offered
        rows = [
            {
                "group": group,
                "customers": size,
                "offered": hits[group],
                "share": _interval(share(hits[group], size)),
                "ratio": _interval(
                    ratio(hits[group], size, hits.total() - hits[group], whole.total() - size)
                ),
            }
            for group, size in sorted(whole.items(), key=lambda one: (-one[1], one[0]))
        ]
        found.append({"trait": name, "groups": rows})
    return found


def local_day_text(micros: int, zone: str) -> str:
    """The operator's calendar day of a time."""
    return day_of(local_day(micros, zone)).isoformat()


def _stages(stages: Stages, fates: Counter[str], reasons: Counter[str]) -> dict[str, Any]:
    return {
        "asked": stages.asked,
        "fell_due": stages.fell_due,
        "refused": dict(sorted(stages.refused.items())),
        "eligible": stages.eligible,
        "outranked": stages.outranked,
        "planned": stages.planned,
        "done": stages.done,
        "decided": stages.decided,
        **{fate.value: fates[fate.value] for fate in Fate if fate is not Fate.REFUSED},
        "gates": dict(sorted(reasons.items())),
    }


def _sum(counters: Iterable[Counter[str]]) -> Counter[str]:
    whole: Counter[str] = Counter()
    for counter in counters:
        whole.update(counter)
    return whole


def _days(outcome: Outcome, zone: str) -> list[dict[str, Any]]:
    """Sent by channel, capped, value and cost, of each day on which anything was decided."""
    channels: dict[str, Counter[str]] = defaultdict(Counter)
    categories: dict[str, Counter[str]] = defaultdict(Counter)
    capped: Counter[str] = Counter()
    money: dict[str, list[float]] = defaultdict(lambda: [0.0, 0.0])
    for one, verdict in outcome.judged:
        day = local_day_text(one.micros, zone)
        channels[day].update()
        if verdict.fate is Fate.SENT:
            channels[day][verdict.channel] += 1
            categories[day][one.name.category] += 1
            money[day][0] += one.value
            money[day][1] += one.cost
        elif verdict.reason == RefusalReason.CAPPED:
            capped[day] += 1
    return [
        {
            "day": day,
            "sent": by_channel.total(),
            "by_channel": dict(sorted(by_channel.items())),
            "by_category": dict(sorted(categories[day].items())),
            "capped": capped[day],
            "value": round(money[day][0], 2),
            "cost": round(money[day][1], 2),
        }
        for day, by_channel in sorted(channels.items())
    ]


def _only(
    one: Outcome, other: Outcome, why: Mapping[tuple[str, str], str], other_name: str
) -> list[dict[str, Any]]:
    fates = {would.action_id: verdict for would, verdict in other.judged}
    found: Counter[tuple[ActionName, str]] = Counter()
    for would, verdict in one.judged:
        there = fates.get(would.action_id)
        if verdict.fate is not Fate.SENT or (there is not None and there.fate is Fate.SENT):
            continue
        if there is not None:
            reason = there.reason or there.fate.value
        else:
            reason = why.get((other_name, would.action_id), "") or "not asked for"
        found[would.name, reason] += 1
    rows = sorted(found.items(), key=lambda row: (-row[1], row[0]))
    return [{**name._asdict(), "why": reason, "actions": count} for (name, reason), count in rows]


def _interval(interval: Interval | None) -> dict[str, float] | None:
    if interval is None:
        return None
    return {
        "value": round(interval.value, 4),
        "low": round(interval.low, 4),
        "high": round(interval.high, 4),
    }
