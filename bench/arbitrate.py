"""What arbitration costs for each candidate, in processor time of this process.

Usage: python -m bench.arbitrate [--json FILE]

Decisions of 1 to 12 candidates of all categories, in the mixture of a care desk that asks many rule sets:
hard filters, scores with every factor, exclusions, the share of sales, a budget, slots of `once` and a
conversation. Beside it stands the least that could be called arbitration: the same numbers multiplied and the
candidates sorted, without a reason.
"""

import argparse
import random
import sys
import time
from collections.abc import Callable
from decimal import Decimal
from pathlib import Path

from bench.measure import Measure, table, write_json
from services.decision.domain.arbitration import Candidate, Circumstances, Standing, Won, arbitrate
from services.decision.domain.limits import Limits, Room
from services.decision.domain.once import Slot, Taken
from services.decision.domain.scoring import BY_POLICY, BY_RULE
from services.vocabulary.arbitration_policy import Terms
from services.vocabulary.values import DAY, HOUR
from services.vocabulary.words import CATEGORY_FACTS, ActionKind, Category

NAME, REFERENCE = "arbitrate.us_per_candidate", "bare_score_and_sort"
DECISIONS = 300
ROUNDS = 7
"""The figure is the least of so many rounds: what disturbs a round only ever adds."""
_NOW = 20_000 * DAY
_KINDS = (ActionKind.OFFER, ActionKind.OFFER, ActionKind.MESSAGE, ActionKind.TASK, ActionKind.SAY)
_CATEGORIES = (Category.SALES, Category.SALES, Category.RETENTION, Category.SERVICE, Category.SURVEY)

Decision = tuple[tuple[Candidate, ...], Circumstances, Standing]


def decisions(seed: int = 1) -> list[Decision]:
    """What is arbitrated, the same for the same seed."""
    chance = random.Random(seed)
    return [_decision(chance) for _ in range(DECISIONS)]


def _decision(chance: random.Random) -> Decision:
    candidates = tuple(_candidate(chance, order) for order in range(chance.randint(1, 12)))
    terms = Terms(most_sales=0.5, stated=("pressure",))
    contacts = chance.randint(0, 6)
    circumstances = Circumstances(
        _NOW,
        "a complaint is open" if chance.random() < 0.1 else "",
        pressure=chance.randint(0, 3),
        contacts=contacts,
        sales_contacts=chance.randint(0, contacts),
        terms=terms,
    )
    slots = {
        each.slot.name: Taken(_NOW - DAY, ("before",))
        for each in candidates
        if each.slot is not None and chance.random() < 0.3
    }
    won = (Won("before", _NOW - HOUR),) if chance.random() < 0.2 else ()
    rooms = {"set-1": Room(Limits(budget=Decimal(1000)), _NOW, Decimal(999))}
    return candidates, circumstances, Standing(slots, won, rooms=rooms)


def _candidate(chance: random.Random, order: int) -> Candidate:
    rule_set, rule = f"set-{order % 4}", f"rule-{order}"
    return Candidate(
        action_id=f"{chance.getrandbits(128):032x}",
        rule_set=rule_set,
        version=1,
        rule=rule,
        position=0,
        kind=chance.choice(_KINDS),
        name=f"name-{chance.randint(1, 20)}",
        category=chance.choice(_CATEGORIES),
        priority=chance.choice((10, 50, 90)),
        value=round(chance.uniform(0, 50), 2),
        value_from=BY_RULE,
        cost=round(chance.uniform(0, 3), 2),
        cost_from=BY_RULE,
        propensity=round(chance.uniform(0, 1), 3),
        propensity_from=BY_POLICY,
        expires_micros=_NOW + chance.randint(1, 96) * HOUR,
        slot=Slot(rule_set, rule, "", 7 * DAY) if chance.random() < 0.5 else None,
        excludes=(f"name-{chance.randint(1, 20)}",),
        order=order,
    )


def _arbitrated(decision: Decision) -> object:
    return arbitrate(*decision)


def _bare(decision: Decision) -> object:
    """The same numbers and an order, and nothing else that arbitration is for."""
    candidates, circumstances, _ = decision
    terms, now = circumstances.terms, circumstances.time_micros
    scored = []
    for each in candidates:
        left = max((each.expires_micros or now) - now, 0) / HOUR
        urgency = 1.0 + (terms.most_urgent - 1.0) * 24.0 / (24.0 + left)
        score = each.propensity * (each.value - each.cost) * urgency
        tier = 0 if each.category is None else CATEGORY_FACTS[each.category].tier
        scored.append((tier, terms.pressure_weight * circumstances.pressure - score, each.action_id))
    scored.sort()
    return scored


def measure() -> list[Measure]:
    """Microseconds a candidate, beside the bare arithmetic in the same run."""
    all_of_them = decisions()
    candidates = sum(len(each[0]) for each in all_of_them)
    found = {job: min(_seconds(job, all_of_them) for _ in range(ROUNDS)) for job in (_arbitrated, _bare)}
    ours, bare = (1e6 * found[job] / candidates for job in (_arbitrated, _bare))
    return [Measure(NAME, ours, "µs", REFERENCE, bare)]


def _seconds(job: Callable[[Decision], object], all_of_them: list[Decision]) -> float:
    began = time.process_time()
    for decision in all_of_them:
        job(decision)
    return time.process_time() - began


def main() -> int:
    """Prints the figure, and writes it where asked."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--json", type=Path)
    arguments = parser.parse_args()
    found = measure()
    sys.stdout.write(table(found) + "\n")
    if arguments.json:
        write_json(found, arguments.json)
    return 0


if __name__ == "__main__":
    sys.exit(main())
