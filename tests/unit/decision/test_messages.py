"""Every message that an author can meet, with what calls for it: `messages/*.yaml`.

An entry writes a text into a frame (`messages/frames.yaml`), or gives a whole `file`, perhaps with others
`beside` it, or with its `…` being something to `repeat` so many times. `»` marks where the problem is said
to be. What is expected is all that the compiler says: `says`, `instead` (what to write instead), `text` (what
is pointed at), `check`, and `warning: true` for one that stops nothing; `and` holds further ones.
"""

import ast
import inspect
from dataclasses import replace
from datetime import date
from functools import cache
from pathlib import Path
from typing import Any

import pytest
from ruamel.yaml import YAML

import services.decision
from services.decision.adapters.yaml_reader import read_yaml
from services.decision.domain.compiler import compile_program
from services.decision.domain.language.lexer import LineError
from services.decision.domain.language.meanings import CHECKS
from services.decision.domain.language.nodes import Mistake
from services.decision.domain.language.report import Report
from services.decision.domain.problems import Problem, Severity
from services.decision.domain.program import RuleSetText
from services.vocabulary.catalogue import Catalogue
from services.vocabulary.values import ValueMistake
from services.vocabulary.words import Channel
from tests.unit.decision.generators import catalogue

FOLDER = Path(__file__).parent / "messages"
SERVICE = Path(services.decision.__file__).parent
SPEAKING = (
    *sorted((SERVICE / "domain/language").glob("*.py")),
    SERVICE / "domain/checks.py",
    SERVICE / "domain/compiler.py",
    SERVICE / "domain/contradictions.py",
    SERVICE / "domain/overlaps.py",
    SERVICE / "domain/reach.py",
    SERVICE / "adapters/yaml_reader.py",
)
# Messages that no rule set can call for, each with its reason.
UNREACHABLE: dict[str, str] = {
    "cannot be compared with a list": "every operator refuses a list before its right side is read",
}
_RAISED = ("LineError", "Mistake", "ValueMistake", "_unreadable")
_REPORTED = ("error", "warn")


def load(name: str) -> Any:
    return YAML(typ="safe").load((FOLDER / name).read_text(encoding="utf-8"))


FRAMES: dict[str, str] = load("frames.yaml")
ENTRIES: list[Any] = [
    pytest.param(entry, id=f"{path.stem}:{number}")
    for path in sorted(FOLDER.glob("*.yaml"))
    if path.name != "frames.yaml"
    for number, entry in enumerate(load(path.name), 1)
]


def text_of(entry: dict[str, Any]) -> str:
    """The rule set of an entry, marks included."""
    if "file" in entry:
        piece, times = entry.get("repeat", ("…", 1))
        return str(entry["file"]).replace("…", piece * times)
    frame = FRAMES[entry["in"]]
    line = next(line for line in frame.splitlines() if "…" in line)
    indent = " " * (len(line) - len(line.lstrip(" -")))
    written = entry["write"].replace("\n", f"\n{indent}")
    return frame.replace("…", written, 1)


def marked(text: str) -> tuple[str, list[tuple[int, int]]]:
    """The text without its marks, and where they stood, from 1."""
    places = []
    for number, line in enumerate(text.split("\n"), 1):
        pieces = line.split("»")
        column = 1
        for piece in pieces[:-1]:
            column += len(piece)
            places.append((number, column))
    return text.replace("»", ""), places


@cache
def acme() -> Catalogue:
    """The catalogue of this repository with what an operator may add, and some messages need."""
    known = catalogue()
    gift, bill, data = (
        known.offers["goodwill-1gb"],
        known.events["bill.issued"],
        known.events["usage.data_used"],
    )
    gift = replace(
        gift,
        name="summer-gift",
        valid_from=date(2026, 6, 1),
        valid_to=date(2026, 8, 31),
        templates=dict.fromkeys(Channel, "goodwill-1gb"),
    )
    noted = {"mb": replace(bill.fields["bill"], name="mb"), "eta": replace(bill.fields["bill"], name="eta")}
    call = known.questions["care-call"]
    return replace(
        known,
        offers={**known.offers, gift.name: gift},
        events={
            **known.events,
            bill.name: replace(bill, keep=replace(bill.keep, fields=(*bill.keep.fields, "items"))),
            "acme.noted": replace(data, name="acme.noted", fields=noted),
        },
        questions={
            **known.questions,
            "acme-call": replace(call, name="acme-call", parameters={"topic": data.fields["mb"]}),
        },
    )


def problems_of(text: str, beside: list[str]) -> tuple[Problem, ...]:
    """What the compiler says of the text, compiled together with others."""
    sources = [RuleSetText(f"beside-{number}.yaml", other) for number, other in enumerate(beside, 1)]
    found = compile_program([*sources, RuleSetText("entry.yaml", text)], acme(), read_yaml).problems
    return tuple(problem for problem in found if problem.file == "entry.yaml")


def expected(entry: dict[str, Any]) -> list[dict[str, Any]]:
    return [entry, *entry.get("and", ())]


@pytest.mark.parametrize("entry", ENTRIES)
def test_the_message_is_said_where_it_belongs(entry: dict[str, Any]) -> None:
    text, places = marked(text_of(entry))
    problems = problems_of(text, entry.get("beside", []))
    assert [told(problem) for problem in problems] == [
        {key: each[key] for key in ("says", "instead", "text", "check", "warning") if key in each}
        for each in expected(entry)
    ]
    assert sorted({(problem.line, problem.column) for problem in problems}) == (places or [(0, 0)])
    assert {problem.check for problem in problems} <= CHECKS.keys()


def told(problem: Problem) -> dict[str, Any]:
    """A problem as an entry has it."""
    found: dict[str, Any] = {"says": problem.message, "text": problem.text, "check": problem.check}
    if problem.suggestion:
        found["instead"] = problem.suggestion
    if problem.severity is Severity.WARNING:
        found["warning"] = True
    return found


def test_the_frames_are_good_rule_sets() -> None:
    fillings = {
        "condition": "event.type is complaint.opened",
        "action": "{task: call-back, category: service}",
        "window": "mb: {sum: usage.data_used.mb, last: 7d}",
        "rule": "{id: r, do: {task: call-back, category: service}}",
        "fact": "{fact: heavy, when: [event.mb > 3]}",
        "head": "trigger: usage.data_used",
        "experiment": "{id: e, arms: {one: 10%}}",
        "test": "{name: two, then: {fires: []}}",
        "limits": "{pace: 50/s, per day: 20000, budget: 15000 EUR}",
        "table": "{columns: [event.mb, do], rows: [[any, {task: call-back, category: service}]]}",
    }
    assert fillings.keys() == FRAMES.keys()
    for name, written in fillings.items():
        assert problems_of(text_of({"in": name, "write": written}), []) == ()


def test_every_check_is_met_by_an_entry() -> None:
    met = {each["check"] for entry in ENTRIES for each in expected(entry.values[0])}
    assert set(CHECKS) - met == set()


def test_messages_read_well() -> None:
    for entry in ENTRIES:
        for each in expected(entry.values[0]):
            assert not each["says"].endswith((".", "!")), each["says"]
            assert not each["says"][:1].isupper() or each["says"].startswith("YAML"), each["says"]
            assert "None" not in each["says"] + each.get("instead", ""), each["says"]
            assert each.get("instead"), f"what to write instead? {each['says']}"
            assert len(each["says"]) <= 160, each["says"]


# --- completeness ----------------------------------------------------------------------------------------


def speaking_lines() -> dict[tuple[str, int, int], str]:
    """Each call by which a message is said, by module, first and last line."""
    found: dict[tuple[str, int, int], str] = {}
    for path in SPEAKING:
        for call in ast.walk(ast.parse(path.read_text(encoding="utf-8"))):
            if isinstance(call, ast.Call) and _speaks(call, path):
                found[str(path), call.lineno, call.end_lineno or call.lineno] = ast.unparse(call)
    return found


def _speaks(call: ast.Call, path: Path) -> bool:
    if isinstance(call.func, ast.Name):
        return call.func.id in _RAISED
    if not isinstance(call.func, ast.Attribute):
        return False
    if path.name == "yaml_reader.py" and call.func.attr == "_add":
        return True
    return call.func.attr in _REPORTED and "report" in ast.unparse(call.func.value)


def speakers(monkeypatch: pytest.MonkeyPatch) -> set[tuple[str, int]]:
    """A set to which the lines are added from which messages are said, as long as the patch lasts."""
    modules = {str(path) for path in SPEAKING}
    lines: set[tuple[str, int]] = set()

    def listened(said: Any) -> Any:
        def say(*arguments: Any, **named: Any) -> Any:
            frame = inspect.currentframe()
            while frame is not None:
                if frame.f_code.co_filename in modules:
                    lines.add((frame.f_code.co_filename, frame.f_lineno))
                frame = frame.f_back
            return said(*arguments, **named)

        return say

    monkeypatch.setattr(Report, "_add", listened(Report._add))
    for kind in (LineError, Mistake, ValueMistake):
        monkeypatch.setattr(kind, "__init__", listened(kind.__init__))
    return lines


def test_no_message_is_without_an_entry(monkeypatch: pytest.MonkeyPatch) -> None:
    reached = speakers(monkeypatch)
    read_yaml.cache_clear()  # what is remembered is not said again
    for entry in ENTRIES:
        text, _ = marked(text_of(entry.values[0]))
        problems_of(text, entry.values[0].get("beside", []))
    missing = [
        f"{Path(module).name}:{first}: {call[:140]}"
        for (module, first, last), call in sorted(speaking_lines().items())
        if not any((module, line) in reached for line in range(first, last + 1))
        and not any(literal in call for literal in UNREACHABLE)
    ]
    assert missing == [], (
        "add an entry to tests/unit/decision/messages/ that calls for each of these:\n" + "\n".join(missing)
    )
