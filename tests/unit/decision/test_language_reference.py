"""The reference of the language and its schema say what the code does."""

import ast
import re
from pathlib import Path
from typing import Any

import pytest
from jsonschema import Draft202012Validator

from services.cli.reference import CHECKOUT, REFERENCE, out_of_step, part_names, texts
from services.decision.adapters.yaml_reader import read_yaml
from services.decision.domain.language import grammar
from services.decision.domain.language.conditions import _GROUPS
from services.decision.domain.language.forms import Refer
from services.decision.domain.language.json_schema import rule_set_schema
from services.decision.domain.language.nodes import plain
from services.decision.domain.oracle import Oracle
from services.decision.domain.trial import run_tests
from services.vocabulary.words import RefusalReason
from tests.unit.decision.generators import RULES, catalogue, compiled

READERS = Path(grammar.__file__).parent
_EXAMPLE = re.compile(r"^```yaml\n(.*?)^```$", re.DOTALL | re.MULTILINE)
_HEADED = re.compile(r"^#+ (.*)$", re.MULTILINE)
SHARED = (RULES / "open-complaint.yaml").read_text(encoding="utf-8")


def completed(text: str) -> str:
    """An example with the two lines that the page says it gets."""
    lines = text.splitlines()
    if not any(line.startswith(("trigger:", "shared:", "journey:")) for line in lines):
        text = f"trigger: usage.data_used\n{text}"
    return text if any(line.startswith("ruleset:") for line in lines) else f"ruleset: example\n{text}"


def examples() -> list[Any]:
    page = (CHECKOUT / REFERENCE).read_text(encoding="utf-8")
    found = []
    for match in _EXAMPLE.finditer(page):
        heading = _HEADED.findall(page[: match.start()].replace("```yaml\n#", ""))[-1]
        found.append(
            pytest.param(completed(match[1]), id=f"{heading}:{page[: match.start()].count(chr(10))}")
        )
    return found


def schema() -> Draft202012Validator:
    return Draft202012Validator(rule_set_schema(catalogue()))


def objections(text: str) -> list[str]:
    document = read_yaml(text)
    assert document.root is not None
    return [error.message for error in schema().iter_errors(plain(document.root))]


# --- the page --------------------------------------------------------------------------------------------


def test_the_written_parts_follow_from_the_code() -> None:
    assert out_of_step(catalogue()) == [], "run: make language"


def test_a_change_of_the_code_is_noticed(tmp_path: Path) -> None:
    (tmp_path / "docs").mkdir()
    for place, text in texts(catalogue()).items():
        (tmp_path / place).write_text(text.replace("switched it off", "turned it off"), encoding="utf-8")
    assert out_of_step(catalogue(), tmp_path) == [str(REFERENCE)]


def test_every_marker_is_known_and_each_list_stands_on_the_page() -> None:
    page = (CHECKOUT / REFERENCE).read_text(encoding="utf-8")
    markers = re.findall(r"<!-- make language: (.*) -->", page)
    assert set(markers) <= part_names(catalogue())
    assert page.count("<!-- end -->") == len(markers)
    assert {"operators", "events", "traits", "things", "reasons", "checks"} <= set(markers)


@pytest.mark.parametrize("text", examples())
def test_every_example_compiles_and_its_tests_pass(text: str) -> None:
    compilation = compiled(text, SHARED)
    assert [problem.sentence() for problem in compilation.errors] == []
    assert compilation.program is not None
    results = run_tests(compilation.program, compilation.program.rule_sets[0], Oracle())
    assert [result.message for result in results if not result.passed] == []


def test_all_reasons_have_a_meaning() -> None:
    page = (CHECKOUT / REFERENCE).read_text(encoding="utf-8")
    assert [reason for reason in RefusalReason if f"| `{reason}` |" not in page] == []


def test_no_link_on_the_page_leads_nowhere() -> None:
    page = (CHECKOUT / REFERENCE).read_text(encoding="utf-8")
    anchors = {re.sub(r"[^a-z0-9 -]", "", title.lower()).replace(" ", "-") for title in _HEADED.findall(page)}
    for target in re.findall(r"\]\(([^)]+)\)", page):
        assert target.removeprefix("#") in anchors or (CHECKOUT / "docs" / target).exists(), target


# --- the grammar -----------------------------------------------------------------------------------------


def test_readers_take_the_keys_they_allow_from_the_grammar() -> None:
    elsewhere = [
        f"{path.name}:{call.lineno}"
        for path in sorted(READERS.glob("*.py"))
        for call in ast.walk(ast.parse(path.read_text(encoding="utf-8")))
        if isinstance(call, ast.Call)
        and isinstance(call.func, ast.Attribute)
        and call.func.attr == "check_keys"
        and not ast.unparse(call.args[1]).startswith(("grammar.", "block.names"))
    ]
    assert elsewhere == [], "put the keys into language/grammar.py, and run: make language"


def test_the_grammar_names_each_group_and_every_part_it_refers_to() -> None:
    assert set(grammar.GROUPS) == set(_GROUPS)
    assert {"action", "condition"} | set(grammar.PARTS) >= set(_referred(grammar.RULE_SET))
    for block in grammar.BLOCKS:
        assert {*block.among, *block.any_of} <= set(block.names)
        assert {name for pair in block.with_key for name in pair} <= set(block.names)


def _referred(form: Any) -> list[str]:
    if isinstance(form, Refer):
        return [form.name]
    values = [getattr(form, name) for name in getattr(form, "__slots__", ())]
    flat = [part for value in values for part in (value if isinstance(value, tuple) else (value,))]
    return [name for part in flat if hasattr(part, "__slots__") for name in _referred(part)]


# --- the schema ------------------------------------------------------------------------------------------


def test_the_schema_is_one() -> None:
    Draft202012Validator.check_schema(rule_set_schema(catalogue()))


@pytest.mark.parametrize("path", sorted(RULES.glob("**/*.yaml")), ids=lambda path: path.stem)
def test_it_takes_every_rule_set_of_the_repository(path: Path) -> None:
    if path.parent.name in {"catalogue", "mappings", "policies"}:
        return
    assert objections(path.read_text(encoding="utf-8")) == []


@pytest.mark.parametrize("text", examples())
def test_it_takes_every_example(text: str) -> None:
    assert objections(text) == []


GOOD = """ruleset: good
trigger: usage.data_used
rules:
  - id: r
    when: [event.mb > 3]
    do: {offer: data-top-up, with: {gb: 2}, category: sales, expires: 24h, channels: [sms]}
"""


@pytest.mark.parametrize(
    ("written", "instead"),
    [
        ("ruleset: good", "title: nameless"),
        ("ruleset: good", "ruleset: Not A Name"),
        ("trigger: usage.data_used", "owner: nobody"),
        ("trigger: usage.data_used", "trigger: usage.dat_used"),
        ("trigger: usage.data_used", "trigger: {every: day at 09:00, nothing: topup.received}"),
        ("trigger: usage.data_used", "trigger: {every: day at 09:00}"),
        ("trigger: usage.data_used", "trigger: {nothing: topup.received, for: 30d, by: amount}"),
        ("trigger: usage.data_used", "trigger: {ask: care-cal}"),
        ("trigger: usage.data_used", "on: usage.data_used"),
        ("trigger: usage.data_used", "trigger: usage.data_used\nstage: buying"),
        ("trigger: usage.data_used", "trigger: usage.data_used\nlate: a day"),
        ("trigger: usage.data_used", "trigger: usage.data_used\nchoose: best"),
        ("trigger: usage.data_used", "trigger: usage.data_used\nactive: {from: 1.12.2026}"),
        ("trigger: usage.data_used", "trigger: usage.data_used\nwindows: {mb: {last: 24h}}"),
        ("trigger: usage.data_used", "windows: {mb: {sum: cart.abandoned, last: 7d}}\ntrigger: bill.issued"),
        ("trigger: usage.data_used", "windows: {n: {count: bill.issued, last: long}}\ntrigger: bill.issued"),
        ("trigger: usage.data_used", "trigger: usage.data_used\nlimits: {perday: 3}"),
        ("trigger: usage.data_used", "trigger: usage.data_used\ninfer: [{fact: f}]"),
        ("    when: [event.mb > 3]", "    when: event.mb > 3"),
        ("    when: [event.mb > 3]", "    when: [true]"),
        ("    when: [event.mb > 3]", "    when: [{some: [event.mb > 3]}]"),
        ("    when: [event.mb > 3]", "    priority: urgent"),
        ("    when: [event.mb > 3]", "    priority: 1000"),
        ("    when: [event.mb > 3]", "    once: weekly"),
        ("    when: [event.mb > 3]", "    once: {by: event.country}"),
        ("    when: [event.mb > 3]", "    if: [event.mb > 3]"),
        ("category: sales", "category: selling"),
        ("category: sales, ", ""),
        ("expires: 24h, ", ""),
        ("offer: data-top-up", "offer: data-topup"),
        ("offer: data-top-up", "offer: data-top-up, message: quota-50"),
        ("offer: data-top-up", "sell: data-top-up"),
        ("channels: [sms]", "channels: [fax]"),
        ("channels: [sms]", "keep: [profile.adult is true]"),
        ("rules:", "tests: [{name: n, then: {fires: [], refused: {r: NO}}}]\nrules:"),
        ("rules:", "tests: [{name: n, given: {withheld: [everything]}, then: {}}]\nrules:"),
        ("rules:", "experiment: {id: e, holdout: ten}\nrules:"),
    ],
)  # fmt: skip
def test_it_refuses_what_the_compiler_refuses(written: str, instead: str) -> None:
    assert objections(GOOD) == []
    assert compiled(GOOD).errors == ()
    assert written in GOOD
    broken = GOOD.replace(written, instead)
    assert objections(broken) != []
    assert compiled(broken).errors != ()
