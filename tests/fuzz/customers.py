"""Hypothesis strategies for customers at a moment: what they did, who they are, what they withhold."""

import math
from collections.abc import Sequence
from datetime import date
from decimal import Decimal
from functools import cache
from typing import Any

from hypothesis import strategies as st

from services.decision.domain.activity import Activity
from services.decision.domain.calendar import local_day
from services.decision.domain.situation import Situation
from services.decision.domain.trial import activity_of
from services.vocabulary.values import DAY, HOUR, Money
from services.vocabulary.words import Purpose
from tests.fuzz.things_to_say import ARMS, BY_DAY, FIELDS, QUESTIONS, TRIGGERS
from tests.fuzz.writing import SETS
from tests.unit.decision.generators import NOW, catalogue

_KEPT_EACH = 35 * DAY
_MONEY = tuple(Money(Decimal(text), "EUR") for text in ("-1", "0", "4.99", "5.00", "12.50", "33.33"))
_FOREIGN = Money(Decimal(5), "USD")
_VALUES: dict[str, tuple[Any, ...]] = {
    "number": (0.0, 0.00001, 0.1, 80.0, 120.5, 200.0),
    "int": (0, 1, 2, 3, 5, 7),
    "money": (*_MONEY, _FOREIGN),
    "country": ("ES", "PT", "FR", "DE"),
    "topic": ("calls", "coverage", "a, b or # c", 'a "quoted"\n\\ text', ""),
    "text": ("c-1", "FR-0042", "FR-0043", "INC7"),
    "technology": ("4g", "5g", "é\u2028"),
    "product": ("tv", "internet", "phone"),
    "cycle": ("2026-04", "2026-05", "2026-06"),
    "bool": (True, False),
    "date": (date(2026, 5, 28), date(2026, 6, 15), date(2026, 7, 1), date(2025, 1, 1)),
    "time": (NOW, NOW - DAY, NOW + 3 * DAY, NOW + 99 * DAY, NOW - 40 * DAY + 1),
    "list": (("tv",), (), ("phone", "internet")),
}
_TRAITS: dict[str, tuple[Any, ...]] = {
    "plan": ("m-5gb", "m-20gb", "l 50", "é\u2028"),
    "better_plan": ("m-5gb", "m-20gb"),
    "plan_data_mb": (0, 100, 500, 5000),
    "churn_risk": (0.0, 1e-9, 0.3, 0.6, 0.9, 1.0),
    "tenure_months": (0, 1, 2, 3, 5),
    "prepaid": (True, False),
    "products": (("tv",), ("internet", "phone"), ()),
    "balance": (*_MONEY, _FOREIGN),
    "usual_bill": _MONEY,
    "contract_end": _VALUES["date"],
}
_HOUSEHOLD: dict[str, tuple[int, ...]] = {
    "members": (1, 2, 3, 5),
    "lines": (0, 1, 2, 4),
    "shared_data_mb": (0, 100, 5000),
    "shared_data_left_mb": (0, 50, 100, 500),
}
_THINGS: tuple[dict[str, dict[str, Any]], ...] = (
    {},
    {"cell": {"incident": "INC7"}},
    {"cell": {"area": "north", "eta": NOW + 2 * DAY}},
    {"cell": {"incident": "INC8", "eta": NOW - HOUR}},
)
_WITHHELD = (Purpose.PROFILING_USAGE, Purpose.PROFILING_LOCATION)


@cache
def _fields(event_type: str) -> st.SearchStrategy[dict[str, Any]]:
    """The fields of an event; those not required may be missing."""
    fields = {**FIELDS, **QUESTIONS}[event_type]
    required = {name: kind for name, kind in fields.items() if kind.endswith("*")}
    return st.fixed_dictionaries(
        {name: st.sampled_from(_VALUES[kind.rstrip("*")]) for name, kind in required.items()},
        optional={
            name: st.sampled_from(_VALUES[kind]) for name, kind in fields.items() if name not in required
        },
    )


_TRAITS_OF = st.fixed_dictionaries(
    {}, optional={name: st.sampled_from(values) for name, values in _TRAITS.items()}
)
_HOUSEHOLD_OF = st.fixed_dictionaries(
    {}, optional={name: st.sampled_from(values) for name, values in _HOUSEHOLD.items()}
)


@st.composite
def customers(draw: st.DrawFn, triggers: Sequence[str]) -> Situation:
    """One customer at one moment: mostly with an event that triggers something, with history around it."""
    event_type = draw(st.sampled_from((*triggers, *triggers, *TRIGGERS)))
    asked = event_type in QUESTIONS
    zone = draw(st.sampled_from(("Europe/Paris", "America/New_York")))
    # Hours before now, mostly lately; some after, which must not be seen.
    hours = st.one_of(st.integers(-200, 24), st.integers(-150 * 24, 0))
    history = [
        (kind, NOW + at * HOUR, draw(_fields(kind)))
        for at in sorted(draw(st.lists(hours, max_size=10)))
        for kind in (draw(st.sampled_from((TRIGGERS[0] if asked else event_type, *TRIGGERS))),)
    ]
    event = draw(_fields(event_type))
    sequence = draw(st.sampled_from((0, len(history) + 1, len(history) + 1, len(history) // 2 + 1)))
    if not asked and draw(st.integers(0, 3)) == 0:  # the profile keeps the event itself already
        sequence = sum(time <= NOW for _, time, _ in history) + 1
        history.insert(sequence - 1, (event_type, NOW, event))
    return Situation(
        event_type=event_type,
        event={} if asked else event,
        ask=event if asked else {},
        event_micros=NOW,
        sequence=sequence,
        accepted_micros=NOW + draw(st.sampled_from((0, 0, 0, 2 * DAY))),
        now_micros=NOW,
        traits=draw(_TRAITS_OF),
        household=draw(_HOUSEHOLD_OF),
        things=draw(st.sampled_from(_THINGS)),
        activity=_kept(history, zone),
        withheld=draw(
            st.sampled_from(
                (
                    frozenset(),
                    frozenset(),
                    frozenset(_WITHHELD[:1]),
                    frozenset(_WITHHELD[1:]),
                    frozenset(_WITHHELD),
                )
            )
        ),
        zone=zone,
        cycle_day=draw(st.sampled_from((1, 15, 28, 31))),
        arms={f"{name}-x": arm for name in SETS if (arm := draw(st.sampled_from((None, *ARMS))))},
    )


def _kept(history: Sequence[tuple[str, int, dict[str, Any]]], zone: str) -> dict[str, Activity]:
    """The activity as the profile keeps it: what is old, of some types, only as totals of its day."""
    whole = activity_of(history, catalogue())
    for event_type in BY_DAY & whole.keys():
        every = whole[event_type]
        old = [index for index, time in enumerate(every.times) if time <= NOW - _KEPT_EACH]
        kept = [index for index, time in enumerate(every.times) if time > NOW - _KEPT_EACH]
        days = sorted({local_day(every.times[index], zone) for index in old})
        of_day = {day: [i for i in old if local_day(every.times[i], zone) == day] for day in days}
        whole[event_type] = Activity(
            times=[every.times[i] for i in kept],
            sequences=[every.sequences[i] for i in kept],
            numbers={name: [column[i] for i in kept] for name, column in every.numbers.items()},
            texts={name: [column[i] for i in kept] for name, column in every.texts.items()},
            days=days,
            day_counts=[len(of_day[day]) for day in days],
            day_sums={
                name: [math.fsum(column[i] for i in of_day[day] if not math.isnan(column[i])) for day in days]
                for name, column in every.numbers.items()
            },
        )
    return whole
