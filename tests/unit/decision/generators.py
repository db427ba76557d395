"""Hypothesis strategies for rule sets of the language and for situations to run them on.

Rule sets are valid by construction: they compile, except that a rule may turn out never to fire. Usable by
any test that compares one engine with another.
"""

import json
from datetime import date
from decimal import Decimal
from functools import cache
from pathlib import Path
from typing import Any

from hypothesis import strategies as st

from services.decision.adapters.yaml_reader import read_yaml
from services.decision.domain.compiler import compile_program
from services.decision.domain.program import Compilation, RuleSetText
from services.decision.domain.situation import Situation
from services.decision.domain.trial import activity_of
from services.vocabulary.catalogue import Catalogue, load_catalogue
from services.vocabulary.values import DAY, HOUR, Money
from services.vocabulary.words import Purpose

RULES = Path(__file__).resolve().parents[3] / "rules"
TRIGGERS = ("usage.data_used", "complaint.opened", "network.call_dropped")
NOW = 1_780_000_000 * 1_000_000  # 2026-05-28T20:26:40Z
ARMS = ("one", "two")

_COUNTRIES = ("FR", "ES", "PT")
_PLANS = ("m-5gb", "m-20gb", "l 50")
_PRODUCTS = ("tv", "internet", "phone")
_CELLS = ("FR-0042", "FR-0043")

_WINDOWS = {
    "drops": {"count": "network.call_dropped", "last": "24h"},
    "used": {"sum": "usage.data_used.mb", "last": "1 cycle"},
    "days": {"count": "usage.data_used", "last": "3 days"},
    "biggest": {"max": "usage.data_used.mb", "last": "7d", "this": "excluded"},
    "topics": {"distinct": "complaint.opened.topic", "last": "2 cycles"},
    "before": {"count": "complaint.opened", "last": "7d", "before": "2d"},
    "quiet": {"since": "complaint.opened"},
    "about_calls": {"count": "complaint.opened", "last": "30d", "where": ["topic is calls or coverage"]},
}


@cache
def catalogue() -> Catalogue:
    return load_catalogue(RULES)


def compiled(*texts: str) -> Compilation:
    """The texts compiled together against the catalogue of this repository."""
    sources = [RuleSetText(f"{number}.yaml", text, number) for number, text in enumerate(texts, 1)]
    return compile_program(sources, catalogue(), read_yaml)


def _number(low: int, high: int) -> st.SearchStrategy[str]:
    return st.integers(low, high).map(str)


def _leaf() -> st.SearchStrategy[str]:
    order = st.sampled_from(("<", "<=", ">", ">=", "is", "is not"))
    ordering = st.sampled_from(("<", "<=", ">", ">="))
    country = st.sampled_from(_COUNTRIES)
    return st.one_of(
        st.builds("windows.drops {} {}".format, order, _number(0, 4)),
        st.builds("windows.used {} {}".format, ordering, _number(0, 9).map(lambda n: n + "00")),
        st.builds("windows.days {} {}".format, order, _number(0, 3)),
        st.builds("windows.topics {} {}".format, order, _number(0, 2)),
        st.builds("windows.before {} {}".format, order, _number(0, 2)),
        st.builds("windows.about_calls {} {}".format, order, _number(0, 2)),
        st.builds("windows.biggest {} {}".format, ordering, _number(0, 300)),
        st.builds("windows.quiet {} {}d".format, ordering, _number(1, 9)),
        st.builds(
            "windows.used crosses profile.plan_data_mb * {}".format, st.sampled_from(("0.5", "0.8", "1"))
        ),
        st.builds("windows.used crosses {}".format, _number(1, 500)),
        st.builds("windows.drops crosses {}".format, _number(1, 4)),
        st.builds("profile.churn_risk {} 0.{}".format, order, _number(1, 9)),
        st.builds("profile.tenure_months {} {}".format, order, _number(0, 4)),
        st.builds("profile.prepaid is {}".format, st.sampled_from(("true", "false", "not true"))),
        st.builds("profile.plan is {} or {}".format, st.just("m-5gb"), st.just('"l 50"')),
        st.builds("profile.plan is not {} or {}".format, st.just("m-5gb"), st.just("m-20gb")),
        st.builds("profile.plan starts with {}".format, st.sampled_from(("m", "l", "x"))),
        st.builds("profile.products contains {}".format, st.sampled_from(_PRODUCTS)),
        st.builds("profile.balance {} {}".format, order, st.sampled_from(("5", "5.00 EUR", "-1"))),
        st.builds("profile.balance > profile.usual_bill * {}".format, st.sampled_from(("0.5", "1.5"))),
        st.builds("profile.plan_data_mb - windows.used {} {}".format, ordering, _number(0, 400)),
        st.builds(
            "profile.contract_end within {} {}d".format, st.sampled_from(("next", "last")), _number(1, 60)
        ),
        st.builds("profile.contract_end > 2026-0{}-01".format, _number(1, 9)),
        st.builds("profile.{} {}".format, st.sampled_from(("plan", "churn_risk", "balance")), _there()),
        st.builds("event.type is {}".format, st.sampled_from(TRIGGERS)),
        st.builds("event.type is not {}".format, st.sampled_from(TRIGGERS)),
        st.builds("event.mb {} {}".format, order, _number(0, 200)),
        st.builds("event.country is {} or {}".format, country, country),
        st.builds("event.country is not {}".format, country),
        st.builds("event.topic {}".format, _there()),
        st.builds("event.topic is {}".format, st.sampled_from(("calls", "coverage", "bill"))),
        st.builds("context.cell.incident {}".format, _there()),
        st.builds(
            "now between {} and {}".format, st.just("20:00"), st.sampled_from(("22:30", "06:00", "23:00"))
        ),
        st.builds("today is {}".format, st.sampled_from(("thu", "fri", "not thu", "thu or sat"))),
        st.builds("arm is {}".format, st.sampled_from(("one", "two", "not one"))),
    )


def _there() -> st.SearchStrategy[str]:
    return st.sampled_from(("exists", "missing"))


def _conditions(facts: tuple[str, ...], absent: tuple[str, ...]) -> st.SearchStrategy[list[Any]]:
    """Lists of conditions that may ask for the facts, and for the absence of some of them.

    Inside `none` a fact is asked for only if its absence may be, and the other way round.
    """
    both = tuple(name for name in facts if name in absent)
    literals = [st.just(f"fact {name}") for name in facts] + [st.just(f"not fact {name}") for name in absent]
    inner = [st.just(f"fact {name}") for name in both] + [st.just(f"not fact {name}") for name in both]
    leaf = st.one_of(_leaf(), *literals)
    plain = st.one_of(_leaf(), *inner)
    group = st.one_of(
        st.builds(lambda parts: {"any": parts}, st.lists(leaf, max_size=3)),
        st.builds(lambda parts: {"all": parts}, st.lists(leaf, max_size=3)),
        st.builds(lambda parts: {"none": parts}, st.lists(plain, max_size=3)),
        st.builds(lambda one, two: {"any": [one, {"all": two}]}, plain, st.lists(plain, max_size=3)),
        st.builds(lambda one, two: {"none": [one, {"any": two}]}, plain, st.lists(plain, max_size=2)),
    )
    return st.lists(st.one_of(leaf, leaf, group), max_size=3)


@st.composite
def rule_sets(draw: st.DrawFn, name: str = "generated", shared_facts: tuple[str, ...] = ()) -> str:
    """The text of a rule set of up to 6 facts in several strata, and up to 8 rules, on three event types."""
    names = tuple(f"f{number}" for number in range(draw(st.integers(0, 6))))
    priority = st.integers(0, 9)
    infer = []
    for position, fact in enumerate(names):
        earlier = names[:position] + shared_facts
        for _ in range(draw(st.integers(1, 2))):
            conditions = draw(_conditions((*earlier, fact), earlier))
            infer.append({"fact": fact, "when": conditions, "priority": draw(priority)})
    known = names + shared_facts
    rules = [
        {
            "id": f"r{number}",
            "priority": draw(priority),
            "when": draw(_conditions(known, known)),
            "do": {"set": {"trait": "upset", "to": True}},
        }
        for number in range(draw(st.integers(1, 8)))
    ]
    rules[0]["do"] = [{"task": "call-back", "category": "service", "arms": {arm: {} for arm in ARMS}}]
    rule_set = {
        "ruleset": name,
        "trigger": list(TRIGGERS),
        "choose": draw(st.sampled_from(("all", "all", "first"))),
        "windows": _WINDOWS,
        "infer": infer,
        "rules": rules,
        "experiment": {"id": f"{name}-x", "arms": dict.fromkeys(ARMS, "40%")},
    }
    return json.dumps(rule_set, ensure_ascii=False)


@st.composite
def shared_rule_sets(draw: st.DrawFn) -> tuple[str, tuple[str, ...]]:
    """The text of a shared rule set, and the facts it infers."""
    names = tuple(f"s{number}" for number in range(draw(st.integers(1, 3))))
    windows = {key: _WINDOWS[key] for key in ("drops", "quiet", "topics")}
    conditions = ("windows.drops >= 1", "windows.topics > 0", "windows.quiet < 3d", "profile.prepaid is true")
    infer = []
    for position, fact in enumerate(names):
        earlier = [f"not fact {other}" for other in names[:position]]
        when = draw(st.lists(st.sampled_from((*conditions, *earlier)), max_size=2, unique=True))
        infer.append({"fact": fact, "when": when})
    text = json.dumps({"ruleset": "shared-ones", "shared": True, "windows": windows, "infer": infer})
    return text, names


def _maybe(values: st.SearchStrategy[Any]) -> st.SearchStrategy[Any]:
    return st.one_of(st.none(), values)


def _money() -> st.SearchStrategy[Money]:
    return st.sampled_from(("-1", "4.99", "5.00", "12.50", "20")).map(
        lambda text: Money(Decimal(text), "EUR")
    )


def _fields(event_type: str) -> st.SearchStrategy[dict[str, Any]]:
    fields: dict[str, dict[str, st.SearchStrategy[Any]]] = {
        "usage.data_used": {
            "mb": st.sampled_from((0.00001, 0.1, 80.0, 120.5, 200.0)),
            "country": _maybe(st.sampled_from((*_COUNTRIES, "DE"))),
            "charge": _maybe(_money()),
            "cycle": _maybe(st.sampled_from(("2026-04", "2026-05"))),
        },
        "complaint.opened": {
            "complaint": st.just("c"),
            "topic": _maybe(st.sampled_from(("calls", "coverage", "bill", 'a "quoted"\n\\ text', ""))),
            "cell": _maybe(st.sampled_from(_CELLS)),
        },
        "network.call_dropped": {"cell": _maybe(st.sampled_from(_CELLS))},
    }
    drawn = st.fixed_dictionaries(fields[event_type])
    return drawn.map(lambda values: {name: value for name, value in values.items() if value is not None})


@st.composite
def situations(draw: st.DrawFn) -> Situation:
    """One customer at one moment, with history before and after it."""
    event_type = draw(st.sampled_from(TRIGGERS))
    event = draw(_fields(event_type))
    times = sorted(draw(st.lists(st.integers(-40 * DAY // HOUR, 24), max_size=12)))
    history = []
    for hours in times:
        kind = draw(st.sampled_from(TRIGGERS))
        history.append((kind, NOW + hours * HOUR, draw(_fields(kind))))
    traits = draw(
        st.fixed_dictionaries(
            {
                "plan": _maybe(st.sampled_from((*_PLANS, "é\u2028"))),
                "plan_data_mb": _maybe(st.sampled_from((100, 500, 5000))),
                "churn_risk": _maybe(st.sampled_from((0.0, 1e-9, 0.3, 0.6, 0.9, 1e300))),
                "tenure_months": _maybe(st.integers(0, 5)),
                "prepaid": _maybe(st.booleans()),
                "products": _maybe(st.lists(st.sampled_from(_PRODUCTS), unique=True).map(tuple)),
                "balance": _maybe(_money()),
                "usual_bill": _maybe(_money()),
                "contract_end": _maybe(
                    st.sampled_from((date(2026, 5, 28), date(2026, 7, 1), date(2025, 1, 1)))
                ),
            }
        )
    )
    experiment_arm = draw(_maybe(st.sampled_from(ARMS)))
    return Situation(
        event_type=event_type,
        event=event,
        event_micros=NOW,
        sequence=draw(st.integers(0, len(history) + 1)),
        accepted_micros=NOW + draw(st.sampled_from((0, 0, 0, 2 * DAY))),
        now_micros=NOW,
        traits={name: value for name, value in traits.items() if value is not None},
        things=draw(st.sampled_from(({}, {"cell": {"incident": "INC7"}}, {"cell": {"area": "north"}}))),
        activity=activity_of(history, catalogue()),
        withheld=frozenset(
            draw(st.sets(st.sampled_from((Purpose.PROFILING_USAGE, Purpose.PROFILING_LOCATION)), max_size=2))
            if draw(st.booleans())
            else ()
        ),
        zone=draw(st.sampled_from(("Europe/Paris", "America/New_York"))),
        cycle_day=draw(st.sampled_from((1, 15, 31))),
        arms={"generated-x": experiment_arm} if experiment_arm else {},
    )
