"""What was simulated and found, told as JSON."""

from __future__ import annotations

from collections import Counter
from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Any

import orjson

from services.decision.app.simulation_gates import MOST_JUDGED
from services.decision.app.simulation_jobs import DRAFT, LIVE, World
from services.decision.domain.simulation_result import displaced_json, groups_json, outcome_json
from services.vocabulary.values import format_time

if TYPE_CHECKING:
    from collections.abc import Iterator, Mapping

    from services.decision.app.jobs import Source
    from services.decision.app.simulation_jobs import Prepared, Walked
    from services.decision.app.simulation_ports import Header
    from services.decision.domain.simulation_result import Outcome
    from services.vocabulary.catalogue import Catalogue


@dataclass(frozen=True, slots=True)
class Wanted:
    """What to simulate; times in micros. ``sample`` in ten-thousandths of the customers, 0: all."""

    drafts: tuple[Source, ...]
    since_micros: int
    until_micros: int
    sample: int = 0
    groups: tuple[str, ...] = ()
    processes: int = 0
    alone: bool = False


@dataclass
class Found:
    """What has been found so far, of all shares."""

    worlds: dict[str, World] = field(default_factory=dict)
    headers: list[Header] = field(default_factory=list)
    done: int = 0
    events: int = 0
    customers: int = 0
    incomplete: int = 0
    history: int = 0
    late: int = 0
    unfinished: int = 0
    killers: int = 0
    why: dict[tuple[str, str], str] = field(default_factory=dict)
    failed: Counter[str] = field(default_factory=Counter)
    left_out: Counter[tuple[str, str]] = field(default_factory=Counter)
    groups: dict[int, tuple[str, ...]] = field(default_factory=dict)

    def add(self, walked: Walked) -> None:
        """Takes in what came of some customers."""
        self.events += walked.events
        self.customers += walked.customers
        self.history += walked.history
        self.late += walked.late
        self.why.update(walked.why)
        self.failed.update(walked.failed)
        self.groups.update(walked.groups)
        for name, world in walked.worlds.items():
            known = self.worlds.setdefault(name, World())
            known.funnel.add(world.funnel)
            known.would += world.would
            known.asked |= world.asked


def result_text(
    wanted: Wanted, prepared: Prepared, found: Found, outcomes: Mapping[str, Outcome], catalogue: Catalogue
) -> str:
    """The result as JSON; docs/simulation.md is its description."""
    zone = catalogue.default_zone
    told: dict[str, Any] = {
        "drafts": list(prepared.drafts),
        "digests": dict(sorted(prepared.digests.items())),
        "since": format_time(wanted.since_micros),
        "until": format_time(wanted.until_micros),
        "currency": catalogue.currency,
        "sample": (wanted.sample or _WHOLE) / _WHOLE,
        "customers_passed": found.done,
        "customers": found.customers,
        "events": found.events,
        "notices": list(_notices(wanted, prepared, found, outcomes)),
        "left_out": [
            {"type": name, "reason": reason, "events": count}
            for (name, reason), count in sorted(found.left_out.items())
        ],
        "draft": outcome_json(outcomes[DRAFT], zone),
        "live": outcome_json(outcomes[LIVE], zone) if LIVE in outcomes else None,
        "displaced": None,
        "groups": groups_json(wanted.groups, found.groups, outcomes[DRAFT]),
    }
    if LIVE in outcomes:
        told["displaced"] = displaced_json(outcomes[DRAFT], outcomes[LIVE], found.why, (DRAFT, LIVE))
    return orjson.dumps(told).decode()


def _notices(
    wanted: Wanted, prepared: Prepared, found: Found, outcomes: Mapping[str, Outcome]
) -> Iterator[str]:
    """What the reader has to know to read the rest rightly."""
    kept = max((header.kept_since_micros for header in found.headers), default=0)
    if not found.events:
        since = f"; events are kept since {format_time(kept)}" if kept else ""
        yield f"nothing happened in that time that these rule sets or those that are live listen to{since}"
    if kept > wanted.since_micros:
        yield f"events from before {format_time(kept)} are kept no more: the past begins there"
    shorter = {name: since for header in found.headers for name, since in header.short_types.items()}
    for name, begins in sorted(shorter.items()):
        if begins > wanted.since_micros:
            yield f"events of {name} from before {format_time(begins)} are kept no more"
    if found.incomplete:
        yield f"of {found.incomplete:,} customers something from before is kept no more"
    erased = max((header.erased for header in found.headers), default=0)
    if erased:
        yield f"{erased:,} persons were erased, ever, and are not among the customers"
    for (name, reason), count in sorted(found.left_out.items()):
        yield f"{count:,} events of {name} are left out: {_WHY_LEFT_OUT.get(reason, reason)}"
    if found.history:
        yield f"taken as history, so that rules do not fire on them, here as then: events {found.history:,}"
    if found.late:
        yield (
            "reached us so long after they happened that rules do not fire on them, here as then "
            f"(`late` of a rule set): events {found.late:,}"
        )
    for name in prepared.called:
        yield (
            f"{name} is called for by something other than events of a customer: only calls that really "
            "happened are simulated, and those are of the rule set that was live then"
        )
    for name, count in sorted(found.failed.items()):
        yield f"{count:,} events of {name} could not be decided"
    if found.killers:
        yield f"the events of {found.killers:,} customers ended the rules engine, and are left out"
    if found.unfinished:
        yield f"{found.unfinished:,} customers have more planned than a simulation follows, and are left out"
    for outcome in outcomes.values():
        if len(outcome.would) > MOST_JUDGED:
            yield (
                f"only the first {MOST_JUDGED:,} actions were shown to the gates: "
                "simulate a sample of the customers, or a shorter time"
            )
            break


_WHOLE = 10_000
_WHY_LEFT_OUT = {
    "unknown type": "the catalogue does not have that type any more",
    "does not fit": "what is kept of them does not fit the catalogue any more",
    "retracted": "they were taken back",
}
