"""Laying out a rule set: one way to write it, nothing changed, no comment lost."""

import json
import random
import re
from dataclasses import replace
from pathlib import Path

import pytest
from hypothesis import HealthCheck, Phase, given, settings
from hypothesis import strategies as st

from services.decision.adapters.commented_yaml import CannotLayOut, laid_out
from services.decision.adapters.yaml_reader import read_yaml
from services.decision.domain.language.nodes import plain
from tests.unit.decision.generators import RULES, compiled, rule_sets

FILES = sorted(RULES.glob("*.yaml"))


def meaning(text):
    """What a text compiles to, or what is wrong with it, apart from places in it."""
    compilation = compiled(text)
    if compilation.program is None:
        return sorted(problem.message for problem in compilation.problems)
    (rule_set,) = compilation.program.rule_sets
    tests = tuple(replace(case, line=0) for case in rule_set.tests)
    return replace(rule_set, source="", tests=tests)


def comments(text):
    return sorted(re.findall(r"# note [0-9]+", text))


# --- the same in many writings ----------------------------------------------------------------------------


class Writer:
    """Writes a rule set as some author might: any order of keys, brackets or not, comments anywhere."""

    def __init__(self, chance):
        self.chance = chance
        self.notes = 0

    def text(self, value):
        return "".join(f"{line}\n" for line in self.block(value, 0))

    def note(self):
        self.notes += 1
        return f"# note {self.notes}"

    def beside(self):
        return f"{' ' * self.chance.randint(1, 9)}{self.note()}" if self.chance.random() < 0.1 else ""

    def between(self, indent):
        while self.chance.random() < 0.15:
            yield self.chance.choice(("", " " * indent + self.note(), " " * (indent + 2) + self.note(), ""))

    def word(self, value):
        if not isinstance(value, str):
            return json.dumps(value)
        if re.fullmatch(r"[a-z][a-z0-9_. >=<-]*", value) and self.chance.random() < 0.7:
            return value
        return "'" + value.replace("'", "''") + "'" if self.chance.random() < 0.5 else json.dumps(value)

    def flow(self, value):
        if isinstance(value, dict):
            return (
                "{"
                + ", ".join(f"{self.word(key)}: {self.flow(each)}" for key, each in self.shuffled(value))
                + "}"
            )
        if isinstance(value, list):
            return "[" + ", ".join(map(self.flow, value)) + "]"
        return self.word(value)

    def wide(self, value, indent):
        """In brackets over several lines, with comments inside."""
        keyed = isinstance(value, dict)
        yield ("{" if keyed else "[") + self.beside()
        entries = self.shuffled(value) if keyed else [(None, each) for each in value]
        for key, each in entries:
            yield from self.between(indent)
            yield " " * indent + (f"{key}: " if keyed else "") + self.flow(each) + "," + self.beside()
        yield " " * indent + ("}" if keyed else "]") + self.beside()

    def shuffled(self, value):
        entries = list(value.items())
        self.chance.shuffle(entries)
        return entries

    def inside(self, value, indent):
        """What stands behind a key or a dash: the rest of its line, and the lines after it."""
        if not isinstance(value, dict | list) or not value or self.chance.random() < 0.3:
            return [" " + self.flow(value) + self.beside()]
        if self.chance.random() < 0.2:
            first, *rest = self.wide(value, indent)
            return [" " + first, *rest]
        return [self.beside(), *self.block(value, indent)]

    def block(self, value, indent):
        space = " " * indent
        deeper = indent + self.chance.choice((2, 4))
        if isinstance(value, dict):
            for key, each in self.shuffled(value):
                yield from self.between(indent)
                first, *rest = self.inside(each, deeper)
                yield f"{space}{self.word(key)}:{first}"
                yield from rest
        else:
            for each in value:
                yield from self.between(indent)
                if isinstance(each, dict) and each and self.chance.random() < 0.5:
                    first, *rest = self.block(each, indent + 2)
                    while not first.strip() or first.strip().startswith("#"):
                        yield first
                        first, *rest = rest
                    yield f"{space}- {first.lstrip()}"
                else:
                    first, *rest = self.inside(each, deeper)
                    yield f"{space}-{first}"
                yield from rest


def unchanged(text):
    once = laid_out(text)
    assert laid_out(once) == once
    assert comments(once) == comments(text)
    assert meaning(once) == meaning(text)


# What fails is shown as it was drawn: making it smaller takes minutes, and each attempt compiles.
@settings(
    max_examples=4,
    suppress_health_check=list(HealthCheck),
    deadline=None,
    phases=[phase for phase in Phase if phase is not Phase.shrink],
)
@given(rule_sets(), st.integers(0, 10**9))
def test_meaning_and_comments_stay_and_a_second_time_changes_nothing(written, seed):
    for number in range(4):
        unchanged(Writer(random.Random(seed + number)).text(json.loads(written)))


@pytest.mark.parametrize("path", FILES, ids=lambda path: path.stem)
def test_however_it_is_written_it_stays_the_same(path: Path):
    source = plain(read_yaml(path.read_text(encoding="utf-8")).root)
    for seed in range(6):
        unchanged(Writer(random.Random(seed)).text(source))


@pytest.mark.parametrize("path", FILES, ids=lambda path: path.stem)
def test_the_order_of_keys_is_always_the_same(path: Path):
    source = plain(read_yaml(path.read_text(encoding="utf-8")).root)
    orders = set()
    for seed in range(5):
        text = laid_out(
            Writer(random.Random(seed)).text({key: source[key] for key in source if key in ORDERED})
        )
        keys = plain(read_yaml(text).root)
        orders.add(
            json.dumps(
                [list(keys), *(list(each) for key in ("infer", "rules") for each in keys.get(key, ()))]
            )
        )
    assert len(orders) == 1
    assert next(iter(keys)) == "ruleset"


ORDERED = {"ruleset", "title", "trigger", "windows", "infer", "rules", "tests"}


@pytest.mark.parametrize("path", FILES, ids=lambda path: path.stem)
def test_the_shipped_rule_sets_stay_what_they_are(path: Path):
    text = path.read_text(encoding="utf-8")
    once = laid_out(text)
    assert laid_out(once) == once
    beside = [other.read_text(encoding="utf-8") for other in FILES if other != path]
    before, after = compiled(text, *beside).program, compiled(once, *beside).program
    assert before is not None
    assert after is not None
    plain = [
        replace(
            each.rule_sets[0],
            source="",
            tests=tuple(replace(case, line=0) for case in each.rule_sets[0].tests),
        )
        for each in (before, after)
    ]
    assert plain[0] == plain[1]


# --- what it looks like -----------------------------------------------------------------------------------

UGLY = """# what it is for
trigger: usage.data_used   # when
ruleset:    'nice'


rules:

    # the first
    - do: {category: "service",  message: quota-50}   # say it
      when: [ fact heavy,   # because
              any: [profile.plan is m-5gb, "profile.plan is not \\"l 50\\""] ]
      id: one
    # - id: two
    #   do: nothing

infer: [{when: [windows.used > 100], because: 'used {windows.used}', fact: heavy}]
windows: {used: {last: 1 cycle, sum: usage.data_used.mb, where: [country is ES, mb > 1]}}
# the end
"""
NICE = """ruleset: nice
# what it is for
trigger: usage.data_used   # when
windows:
  used:
    sum: usage.data_used.mb
    last: 1 cycle
    where:
      - country is ES
      - mb > 1

infer:
  - {fact: heavy, when: [windows.used > 100], because: "used {windows.used}"}

rules:
  # the first
  - id: one
    when:
      - fact heavy          # because
      - any:
          - profile.plan is m-5gb
          - 'profile.plan is not "l 50"'
    do: {message: quota-50, category: service}        # say it
  # - id: two
  #   do: nothing
# the end
"""


def test_a_rule_set_laid_out():
    assert laid_out(UGLY).splitlines() == NICE.splitlines()


@pytest.mark.parametrize(
    ("before", "after"),
    [
        ('title: "one"', "title: one"),
        ("title: 'two words'", 'title: "two words"'),
        ("title: two words", "title: two words"),
        ('title: "true"', 'title: "true"'),
        ('title: "12"', 'title: "12"'),
        ("title: on", "title: on"),
        ('title: "on"', 'title: "on"'),
        ("title: 42.00", "title: 42.00"),
        ("title: 'say \"no\"'", "title: 'say \"no\"'"),
        ('title: "it\'s \\"it\\""', "title: 'it''s \"it\"'"),
        ('title: "a\\tb"', 'title: "a\\tb"'),
        ("title: 'a # b'", 'title: "a # b"'),
        ("title: one\n  two", "title: one two"),
        ("title: |\n  one\n  two\n", "title: |\n  one\n  two"),
        ("title: >-\n  one\n  two\n", 'title: "one two"'),
        ("title: |\n  # no comment\n", "title: |\n  # no comment"),
        ("title:", "title:"),
        ("title: {}", "title: {}"),
        ("table: {rows: [[1, {category: service, message: a}]], columns: [event.mb, do]}",
         "table:\n  columns: [event.mb, do]\n  rows:\n    - [1, {message: a, category: service}]"),
        ("trigger: {audience: [profile.plan is a], every: day at 09:00}",
         "trigger: {every: day at 09:00, audience: [profile.plan is a]}"),
        ("tests: [{then: {facts: [], fires: []}, name: x}]",
         "tests:\n  - {name: x, then: {fires: [], facts: []}}"),
        ('table: {columns: [event.country, do], rows: [["any", {category: service, message: "a"}]]}',
         'table:\n  columns: [event.country, do]\n  rows:\n    - ["any", {message: a, category: service}]'),
        ("unknown: {b: 1, a: 2}", "unknown: {b: 1, a: 2}"),
    ],
)  # fmt: skip
def test_values_and_parts(before, after):
    assert laid_out(f"ruleset: x\n{before}\n") == f"ruleset: x\n{after}\n"


def test_a_comment_stays_beside_a_text_that_looks_like_one():
    written = 'ruleset: x\ntitle: "a # b"      # note 1\nowner: "# c"  # note 2\n'
    assert comments(laid_out(written)) == ["# note 1", "# note 2"]


def test_a_line_too_long_is_spread():
    arms = ", ".join(f"arm-number-{number}: 10%" for number in range(8))
    spread = "".join(f"    arm-number-{number}: 10%\n" for number in range(8))
    assert (
        laid_out(f"experiment: {{arms: {{{arms}}}, id: x}}\n") == f"experiment:\n  id: x\n  arms:\n{spread}"
    )


@pytest.mark.parametrize(
    "text",
    [
        "",
        "- a\n",
        "a: [b\n",
        "ruleset: &x a\ntitle: *x\n",
        "ruleset: a\nruleset: b\n",
        "ruleset: !x a\n",
        "just words",
    ],
)
def test_what_cannot_be_read_is_left(text):
    with pytest.raises(CannotLayOut):
        laid_out(text)
