"""What generated conditions and windows speak of: paths with values worth comparing them with."""

import re
from collections.abc import Mapping, Sequence

from hypothesis import strategies as st

ARMS = ("one", "two")
ORDER = ("<", "<=", ">", ">=")
_PLAIN = re.compile(r"[A-Za-z][^:#\[\]{},'\"&*!|>%@`]*")

# Per event type the fields, with their kinds; * = required.
FIELDS: Mapping[str, Mapping[str, str]] = {
    "usage.data_used": {"mb": "number*", "country": "country", "charge": "money", "cycle": "cycle"},
    "complaint.opened": {"complaint": "text*", "topic": "topic*", "cell": "text"},
    "network.call_dropped": {"cell": "text", "technology": "technology"},
    "order.placed": {"order": "text*", "product": "product", "price": "money", "eta": "time"},
    "bill.issued": {"bill": "text*", "amount": "money*", "due": "date", "items": "list"},
    "usage.allowance_exhausted": {"cycle": "cycle*", "days_left_in_cycle": "int*", "surcharge_next": "bool"},
}
TRIGGERS = tuple(FIELDS)
QUESTIONS: Mapping[str, Mapping[str, str]] = {
    "ask.care-call": {"topic": "topic", "channel": "text"},
    "ask.web-visit": {"topic": "topic", "product": "product"},
}
# Kept one by one for 35 days, then as totals of a day for 13 cycles; all others one by one for 13 cycles.
BY_DAY = frozenset({"usage.data_used", "network.call_dropped"})
NOT_KEPT = frozenset({("bill.issued", "items")})

VALUES: Mapping[str, tuple[str, ...]] = {
    "number": ("0", "0.001", "80", "120.5", "200"),
    "risk": ("0.3", "0.6", "0.9"),
    "mbs": ("0", "100", "500"),
    "int": ("0", "1", "2", "3", "5"),
    "money": ("0", "4.99", "5.00 EUR", "12.5"),
    "country": ("ES", "PT", "FR"),
    "topic": ("calls", "coverage", '"a, b or # c"'),
    "text": ("c-1", "FR-0042", "INC7"),
    "technology": ("4g", "5g"),
    "product": ("tv", "internet"),
    "plan": ("m-5gb", "m-20gb", '"l 50"'),
    "cycle": ("2026-04", "2026-05"),
    "bool": ("true", "false"),
    "date": ("2026-05-28", "2026-06-15", "2026-07-01"),
    "time": ("2026-05-28T20:26:40Z", "2026-06-01T00:00:00Z"),
    "duration": ("1h", "3d", "30d"),
    "list": ("tv", "internet", "phone"),
}
_TEXTS = frozenset({"country", "topic", "text", "technology", "product", "plan", "cycle"})
_NUMBERS = frozenset({"number", "int", "risk", "mbs"})

PROFILE: Mapping[str, str] = {
    "profile.churn_risk": "risk",
    "profile.tenure_months": "int",
    "profile.plan_data_mb": "mbs",
    "profile.prepaid": "bool",
    "profile.plan": "plan",
    "profile.better_plan": "plan",
    "profile.products": "list",
    "profile.balance": "money",
    "profile.usual_bill": "money",
    "profile.contract_end": "date",
    "household.members": "int",
    "household.lines": "int",
    "household.shared_data_mb": "mbs",
    "household.shared_data_left_mb": "mbs",
    "context.cell.incident": "text",
    "context.cell.eta": "time",
}
_CLOCK = (
    "now between 20:00 and 22:30",
    "now between 23:00 and 06:00",
    "now between 09:00 and 12:15",
    "today is thu",
    "today is not thu or fri",
    "today is sat or sun",
)


def quoted(line: str) -> str:
    """A line as YAML takes it."""
    return line if _PLAIN.fullmatch(line) else "'" + line.replace("'", "''") + "'"


def leaf_of(draw: st.DrawFn, triggers: Sequence[str], windows: Mapping[str, str], *, arms: bool) -> str:
    """One condition about the event, the profile, the context, a window, the clock or the arm."""
    paths = dict(PROFILE)
    event = trigger_paths(triggers)
    found = {f"windows.{name}": kind.rstrip("!") for name, kind in windows.items()}
    crossing = [f"windows.{name}" for name, kind in windows.items() if kind.endswith("!")]
    sorts = ["profile", "profile", "clock"] + ["event"] * 2 * bool(event) + ["window"] * 4 * bool(found)
    sorts += ["crosses"] * 2 * bool(crossing) + ["arm"] * arms + ["type"] * bool(triggers)
    match draw(st.sampled_from(sorts)):
        case "clock":
            return draw(st.sampled_from(_CLOCK))
        case "arm":
            return draw(st.sampled_from(("arm is one", "arm is not two", "arm is one or two")))
        case "type":
            return (
                f"event.type is {draw(st.sampled_from(('', 'not ')))}{draw(st.sampled_from(tuple(triggers)))}"
            )
        case "crosses":
            path = draw(st.sampled_from(crossing))
            return f"{path} crosses {_threshold(draw, found[path])}"
        case "event":
            paths, own = {**event}, event
        case "window":
            paths, own = {**found}, found
        case _:
            own = paths
    path = draw(st.sampled_from(tuple(own)))
    return _about(draw, path, own[path], {**PROFILE, **event, **found})


def _threshold(draw: st.DrawFn, kind: str) -> str:
    choices = list(VALUES[kind])
    if kind in _NUMBERS:
        choices += ["profile.plan_data_mb * 0.5", "profile.tenure_months", "profile.plan_data_mb / 100"]
    if kind == "money":
        choices += ["profile.usual_bill", "profile.usual_bill * 1.5"]
    return draw(st.sampled_from(choices))


def _about(draw: st.DrawFn, path: str, kind: str, known: Mapping[str, str]) -> str:
    """A condition on a path of this kind."""
    value = draw(st.sampled_from(VALUES[kind]))
    if kind == "list":
        return f"{path} contains {draw(st.sampled_from((value, f'{value} or phone', 'profile.plan')))}"
    words = ["is", "is not", "exists", "missing"]
    if kind in _TEXTS:
        words += ["or", "not or", "starts", "path"]
    elif kind != "bool":
        words = [*ORDER, *ORDER, *words]
        words += ["within"] * 4 * (kind in {"date", "time"}) + ["path"] * 3 * (kind in _NUMBERS | {"money"})
        words += ["sum"] * (kind in _NUMBERS | {"money", "duration"})
    match draw(st.sampled_from(words)):
        case "or":
            return f"{path} is {value} or {draw(st.sampled_from((*VALUES[kind], 'profile.better_plan')))}"
        case "not or":
            return f"{path} is not {value} or {draw(st.sampled_from(VALUES[kind]))}"
        case "starts":
            return f"{path} starts with {draw(st.sampled_from(('m', 'c', 'F', 'profile.plan')))}"
        case "within":
            length = draw(st.sampled_from(("1d", "18d", "60d")))
            return f"{path} within {draw(st.sampled_from(('next', 'last')))} {length}"
        case "exists" | "missing" as word:
            return f"{path} {word}"
        case "path":
            alike = [other for other, its in known.items() if other != path and _alike(its, kind)]
            other = draw(st.sampled_from(alike or [path]))
            if kind in _TEXTS:
                return f"{path} {draw(st.sampled_from(('is', 'is not')))} {other}"
            more = (" - profile.usual_bill",) if kind == "money" else (" - 1", " + 0.1")
            times = draw(st.sampled_from(("", " * 1.5", " / 2", *more)))
            return f"{path} {draw(st.sampled_from((*ORDER, 'is', 'is not')))} {other}{times}"
        case "sum":
            factor = draw(st.sampled_from((" * 2", " / 3")))
            return f"{path}{factor} {draw(st.sampled_from(ORDER))} {value}"
        case word:
            return f"{path} {word} {value}"


def _alike(kind: str, other: str) -> bool:
    return kind == other or {kind, other} <= _NUMBERS or {kind, other} <= _TEXTS


# --- windows ---------------------------------------------------------------------------------------------


def window_of(draw: st.DrawFn, triggers: Sequence[str]) -> tuple[str, str]:
    """Its kind (with `!` when it may cross), and its text."""
    own = [name for name in triggers if name in FIELDS]
    event_type = draw(st.sampled_from((*own, *TRIGGERS)))
    function = draw(
        st.sampled_from(
            ("count", "count", "distinct", "sum", "avg", "min", "max", "latest", "earliest", "since")
        )
    )
    kept = {
        name: kind.rstrip("*")
        for name, kind in FIELDS[event_type].items()
        if (event_type, name) not in NOT_KEPT
    }
    fields = kept
    if function in {"sum", "avg", "min", "max"}:
        wanted = {"number", "int", "money"} | ({"time"} if function in {"min", "max"} else set())
        fields = {name: kind for name, kind in kept.items() if kind in wanted}
        if not fields:
            function = "count"
    source, kind = event_type, "int"
    if function in {"count", "since"}:
        kind = "duration" if function == "since" else "int"
    else:
        name = draw(st.sampled_from(tuple(fields)))
        source = f"{event_type}.{name}"
        kind = "int" if function == "distinct" else fields[name]
        kind = "number" if function == "avg" and kind == "int" else kind
    where = _where(draw, kept, triggers)
    text = f"{function}: {source}"
    if function != "since":
        lasts = ("1h", "24h", "7d", "30d", "1 day", "3 days", "20 days", "1 cycle")
        if event_type not in BY_DAY or (function in {"count", "sum"} and not where):
            lasts += ("3 cycles", "6 cycles", "90 days")
        text += f", last: {draw(st.sampled_from(lasts))}"
    before = draw(st.sampled_from((None, None, None, "2d", "1h")))
    this = draw(st.sampled_from((None, None, None, "excluded", "included")))
    text += f", before: {before}" * bool(before) + f", this: {this}" * bool(this)
    crosses = function in {"count", "distinct", "sum"} and not before and this != "excluded"
    return kind + "!" * (crosses and event_type in triggers), text + where


def _where(draw: st.DrawFn, fields: Mapping[str, str], triggers: Sequence[str]) -> str:
    """Now and then conditions on the entries of the window."""
    if draw(st.integers(0, 3)):
        return ""
    known = {**PROFILE, **trigger_paths([name for name in triggers if name in FIELDS])}

    def line() -> str:
        name = draw(st.sampled_from(tuple(fields)))
        return quoted(_about(draw, name, fields[name], known))

    if draw(st.booleans()):
        return f", where: [{line()}]"
    return f", where: [{{{draw(st.sampled_from(('any', 'all', 'none')))}: [{line()}, {line()}]}}]"


def trigger_paths(triggers: Sequence[str]) -> dict[str, str]:
    """The fields of the events and questions that trigger, by path; not those that are of two kinds."""
    kinds: dict[str, set[str]] = {}
    for trigger in triggers:
        for name, kind in {**FIELDS, **QUESTIONS}[trigger].items():
            path = f"ask.{name}" if trigger in QUESTIONS else f"event.{name}"
            kinds.setdefault(path, set()).add(kind.rstrip("*"))
    return {path: next(iter(found)) for path, found in kinds.items() if len(found) == 1}


def columns_of(draw: st.DrawFn, triggers: Sequence[str], windows: Mapping[str, str]) -> dict[str, str]:
    """One or two paths that the rows of a table ask about, with their kinds."""
    known = {**PROFILE, **trigger_paths(triggers)}
    known |= {f"windows.{name}": kind.rstrip("!") for name, kind in windows.items()}
    known = {path: kind for path, kind in known.items() if kind in _NUMBERS | _TEXTS | {"bool", "money"}}
    paths = draw(st.lists(st.sampled_from(tuple(known)), min_size=1, max_size=2, unique=True))
    return {path: known[path] for path in paths}


def cell_of(draw: st.DrawFn, kind: str) -> str:
    """What a row of a table says about a path of this kind."""
    value, other = draw(st.sampled_from(VALUES[kind])), draw(st.sampled_from(VALUES[kind]))
    forms = ["any", "any", "exists", "missing", value, f"is not {value}"]
    if kind in _TEXTS:
        forms += [f"{value} or {other}"] * 2
    elif kind != "bool":
        forms += [f"under {value}", f"over {value}"]
        low, high = sorted((value, other), key=lambda text: float(text.split()[0]))
        forms += [f"{low} to {high}"] * 2 * (low != high)
    return draw(st.sampled_from(forms))
