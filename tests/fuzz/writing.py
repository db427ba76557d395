"""Hypothesis strategies that write whole rule sets, as the YAML an author would write.

What is written compiles, except that a rule may contradict itself or be shadowed by another; such a rule is
then given another condition (`mended`).
"""

from collections.abc import Sequence
from dataclasses import dataclass, field, replace
from typing import Any

from hypothesis import strategies as st

from tests.fuzz.things_to_say import (
    ARMS,
    QUESTIONS,
    TRIGGERS,
    cell_of,
    columns_of,
    leaf_of,
    quoted,
    window_of,
)

SETS = ("alpha", "beta", "gamma")
SHARED = ("common", "more")
_DO = (
    ("{task: call-back, category: service}",),
    ("{set: {trait: upset, to: true}}",),
    ('{task: call-back, category: service, with: {note: "{profile.plan} {profile.better_plan}"}}',),
    ("{message: surcharge-notice, category: mandatory, channels: [sms]}",),
    ("{task: call-back, category: service}", "{avoid: [sales]}"),
    ("{survey: ces-after-care, category: survey, after: 48h, keep: [profile.churn_risk > 0.3]}",),
)


@dataclass(frozen=True)
class Group:
    """`any`, `all` or `none` with lines inside."""

    word: str
    parts: "tuple[str | Group, ...]"


Line = str | Group


@dataclass(frozen=True)
class Item:
    """A fact or a rule: its name, its other lines, its conditions."""

    head: str
    more: tuple[str, ...]
    when: tuple[Line, ...]


@dataclass(frozen=True)
class Written:
    """One rule set. It is shown as its text, by a failing test too."""

    head: tuple[str, ...]
    windows: tuple[str, ...]
    facts: tuple[Item, ...] = ()
    rules: tuple[Item, ...] = ()
    table: tuple[str, ...] = ()
    tail: tuple[str, ...] = ()
    places: dict[int, tuple[str, int]] = field(default_factory=dict, compare=False)

    def __repr__(self) -> str:
        return "\n" + self.text

    def _repr_pretty_(self, printer: Any, _cycle: bool) -> None:  # noqa: FBT001 - what hypothesis calls
        printer.text(repr(self))

    @property
    def text(self) -> str:
        """The YAML."""
        lines = [*self.head]
        if self.windows:
            lines += ["windows:", *self.windows]
        for section, items in (("infer", self.facts), ("rules", self.rules)):
            if items:
                lines.append(f"{section}:")
            for position, item in enumerate(items):
                self.places[len(lines) + 1] = (section, position)
                lines.append(f"  - {item.head}")
                lines += [f"    {line}" for line in item.more]
                lines += _when(item.when)
        self.places[len(lines) + 1] = ("table", 0)
        return "\n".join([*lines, *self.table, *self.tail]) + "\n"

    def mended(self, lines: Sequence[int]) -> "Written":
        """With another condition for the facts and rules in which these lines of the text stand."""
        self.text  # noqa: B018 - notes the places
        bad = {self.places[max(start for start in self.places if start <= line)] for line in lines}
        sections = {
            section: tuple(
                replace(item, when=(f"profile.tenure_months is {position}",))
                if (section, position) in bad
                else item
                for position, item in enumerate(items)
            )
            for section, items in (("infer", self.facts), ("rules", self.rules))
        }
        table = () if ("table", 0) in bad else self.table  # one of its rows is never reached
        again = replace(self, facts=sections["infer"], rules=sections["rules"], table=table, places={})
        if again == self:  # mended already, and still shadowed
            head = tuple(line for line in self.head if not line.startswith("choose"))
            again = replace(again, head=head)
        return again


def _when(parts: Sequence[Line]) -> list[str]:
    if not parts:
        return ["    when: []"]
    if len(parts) == 1 and isinstance(parts[0], str) and not set(parts[0]) & set(",[]{}"):
        return [f"    when: [{quoted(parts[0])}]"]
    return ["    when:", *_lines(parts, "      ")]


def _lines(parts: Sequence[Line], indent: str) -> list[str]:
    found: list[str] = []
    for part in parts:
        if isinstance(part, str):
            found.append(f"{indent}- {quoted(part)}")
        elif part.parts:
            found += [f"{indent}- {part.word}:", *_lines(part.parts, indent + "    ")]
        else:
            found.append(f"{indent}- {part.word}: []")
    return found


# --- conditions ------------------------------------------------------------------------------------------


@dataclass(frozen=True)
class _Scope:
    """What conditions may speak of here. `facts` may be asked for, `settled` negated too."""

    triggers: tuple[str, ...]
    windows: dict[str, str]
    arms: bool
    facts: tuple[str, ...] = ()
    settled: tuple[str, ...] = ()


def _line(draw: st.DrawFn, scope: _Scope, *, negated: bool) -> str:
    both = tuple(name for name in scope.facts if name in scope.settled)
    asked = both if negated else scope.facts
    absent = both if negated else scope.settled
    if (asked or absent) and draw(st.integers(0, 2)) == 0:
        return draw(
            st.sampled_from([f"fact {name}" for name in asked] + [f"not fact {name}" for name in absent])
        )
    return leaf_of(draw, scope.triggers, scope.windows, arms=scope.arms)


def _part(draw: st.DrawFn, scope: _Scope, depth: int = 0, *, negated: bool = False) -> Line:
    words = ("line",) * 7 + (("any", "any", "none", "all") if depth < 2 else ())
    word = draw(st.sampled_from(words))
    if word == "line":
        return _line(draw, scope, negated=negated)
    inside = negated or word == "none"
    count = draw(st.sampled_from((1, 2, 2, 3, 0)))
    return Group(word, tuple(_part(draw, scope, depth + 1, negated=inside) for _ in range(count)))


def _conditions(draw: st.DrawFn, scope: _Scope) -> tuple[Line, ...]:
    count = draw(st.sampled_from((1, 2, 1, 3, 0)))
    return tuple(_part(draw, scope) for _ in range(count))


# --- rule sets -------------------------------------------------------------------------------------------


def _windows(draw: st.DrawFn, triggers: Sequence[str], most: int) -> tuple[dict[str, str], tuple[str, ...]]:
    """Kinds by name (with `!` where the window may cross), and the lines."""
    kinds: dict[str, str] = {}
    lines: list[str] = []
    for number in range(draw(st.integers(0, most))):
        name = f"w{number}"
        kind, text = window_of(draw, triggers)
        kinds[name] = kind
        lines.append(f"  {name}: {{{text}}}")
    return kinds, tuple(lines)


def _facts(draw: st.DrawFn, scope: _Scope, prefix: str, most: int, outer: Sequence[str]) -> tuple[Item, ...]:
    """Facts in layers: one of its own layer or below may be asked for, one of a layer below negated."""
    names = [f"{prefix}{number}" for number in range(draw(st.integers(0, most)))]
    layers = {name: draw(st.integers(0, 3)) for name in names}
    items: list[Item] = []
    for name in names:
        below = tuple(other for other in names if layers[other] < layers[name])
        beside = tuple(other for other in names if layers[other] <= layers[name])
        inner = replace(scope, facts=(*beside, *outer), settled=(*below, *outer))
        for _ in range(draw(st.sampled_from((1, 1, 2)))):
            more = draw(st.sampled_from(((), ("priority: 3",), ("priority: 70",))))
            items.append(Item(f"fact: {name}", more, _conditions(draw, inner)))
    return tuple(items)


def names_of(items: Sequence[Item]) -> tuple[str, ...]:
    """The facts that are inferred."""
    return tuple(dict.fromkeys(item.head.removeprefix("fact: ") for item in items))


@st.composite
def shared_rule_sets(draw: st.DrawFn, name: str, others: tuple[str, ...] = ()) -> Written:
    """A set that only infers facts, in part from those of `others`."""
    kinds, windows = _windows(draw, (), 2)
    prefix = name[0]
    facts = _facts(draw, _Scope((), kinds, arms=False), prefix, 3, others)
    if not facts:
        facts = (Item(f"fact: {prefix}0", (), ("profile.prepaid is true",)),)
    return Written((f"ruleset: {name}", "shared: true"), windows, facts)


@st.composite
def rule_sets(
    draw: st.DrawFn, name: str = SETS[0], shared: tuple[str, ...] = (), *, big: bool = False
) -> Written:
    """A set with facts, rules and windows on one to three event types; a big one takes several shards."""
    possible = st.sampled_from((*TRIGGERS, *TRIGGERS, *QUESTIONS))
    triggers = tuple(draw(st.lists(possible, min_size=1, max_size=3, unique=True)))
    choose = draw(st.sampled_from((None, None, "first", "all")))
    active = draw(st.sampled_from((None,) * 6 + ("{from: 2026-05-28, tz: Europe/Paris}", "{to: 2026-05-27}")))
    late = draw(st.sampled_from((None, None, None, "72h")))
    arms = draw(st.booleans())
    kinds, windows = _windows(draw, triggers, 4)
    scope = _Scope(triggers, kinds, arms=arms)
    facts = _facts(draw, scope, "f", 6, shared)
    known = (*names_of(facts), *shared)
    scope = replace(scope, facts=known, settled=known)
    few = draw(st.integers(1, 7))
    rules = [_rule(draw, scope, number) for number in range(few)]
    if big:
        simple = [leaf_of(draw, triggers, kinds, arms=arms) for _ in range(6)]
        rules += [
            Item(
                f"id: r{number}", (f"priority: {number % 7}", "do: {set: {trait: upset, to: true}}"), (when,)
            )
            for number in range(few, few + draw(st.integers(60, 130)))
            for when in (simple[number % 6],)
        ]
    tail: tuple[str, ...] = ()
    if arms:
        named = "{" + ", ".join(f"{arm}: {{}}" for arm in ARMS) + "}"
        rules[0] = replace(
            rules[0], more=("do:", f"  - {{task: call-back, category: service, arms: {named}}}")
        )
        tail = (
            "experiment:",
            f"  id: {name}-x",
            "  arms: {" + ", ".join(f"{arm}: 40%" for arm in ARMS) + "}",
        )
    called = [f"{{ask: {key.removeprefix('ask.')}}}" if key in QUESTIONS else key for key in triggers]
    head = [f"ruleset: {name}", f"trigger: [{', '.join(called)}]"]
    head += [
        f"{key}: {value}" for key, value in (("choose", choose), ("active", active), ("late", late)) if value
    ]
    table = _table(draw, triggers, kinds) if draw(st.sampled_from((False, False, True))) else ()
    return Written(tuple(head), windows, facts, tuple(rules), table, tail)


def _table(draw: st.DrawFn, triggers: Sequence[str], windows: dict[str, str]) -> tuple[str, ...]:
    columns = columns_of(draw, triggers, windows)
    lines = ["table:"]
    if draw(st.booleans()):
        lines.append(f"  choose: {draw(st.sampled_from(('first', 'all')))}")
    lines += [f"  columns: [{', '.join(columns)}, do]", "  rows:"]
    for _ in range(draw(st.integers(1, 4))):
        cells = [quoted(cell_of(draw, kind)) for kind in columns.values()]
        lines.append(f"    - [{', '.join(cells)}, {draw(st.sampled_from(_DO))[0]}]")
    return tuple(lines)


def _rule(draw: st.DrawFn, scope: _Scope, number: int) -> Item:
    priority = draw(st.sampled_from((None, 0, 1, 50, 50, 999)))
    actions = draw(st.sampled_from((_DO[0], _DO[1], *_DO)))
    more = [] if priority is None else [f"priority: {priority}"]
    more += ["do:", *(f"  - {action}" for action in actions)]
    if draw(st.integers(0, 7)) == 0:
        more.append("once: 7d")
    return Item(f"id: r{number}", tuple(more), _conditions(draw, scope))


@st.composite
def programs(draw: st.DrawFn) -> tuple[Written, ...]:
    """One to three rule sets, and none to two shared ones whose facts they may ask for."""
    shared: list[Written] = []
    facts: tuple[str, ...] = ()
    for name in SHARED[: draw(st.sampled_from((0, 1, 0, 2)))]:
        written = draw(shared_rule_sets(name, facts))
        shared.append(written)
        facts += tuple(key for key in names_of(written.facts) if key not in facts)
    count = draw(st.sampled_from((1, 1, 2, 3)))
    big = draw(st.sampled_from((False,) * 19 + (True,)))
    return (
        *(draw(rule_sets(name, facts, big=big and not index)) for index, name in enumerate(SETS[:count])),
        *shared,
    )
