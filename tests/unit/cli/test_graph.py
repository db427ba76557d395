"""The drawing of rule sets: valid, complete, from left to right, with nothing on top of anything else."""

from pathlib import Path
from xml.etree import ElementTree as ET

import pytest
from click.testing import CliRunner, Result

from services.cli.commands.rules import rules
from services.cli.commands.rules.drawing import draw
from services.cli.commands.rules.layers import lay_out
from services.cli.stack.layout import CHECKOUT
from services.decision.domain.graph import Edge, Graph, Node, Sort, graph_of
from tests.unit.decision.generators import compiled

SVG = "{http://www.w3.org/2000/svg}"
RULES = CHECKOUT / "rules"
TWENTY = """ruleset: twenty
title: "Twenty <rules> & more"
trigger: [usage.data_used, complaint.opened]
windows:
  drops: {count: network.call_dropped, last: 24h}
  mb: {sum: usage.data_used.mb, last: 7 days}
infer:
  - {fact: a, when: [windows.drops > 1]}
  - {fact: b, when: [fact a, windows.mb > 5]}
  - {fact: c, when: [not fact b, profile.adult is true]}
  - {fact: d, when: [{none: [fact c, not fact a]}]}
rules:
""" + "".join(
    f"  - {{id: r{number}, when: [fact {'abcd'[number % 4]}, event.type is {kind}],"
    f" do: {{task: call-back, category: {'service' if number % 2 else 'retention'}}}}}\n"
    for number, kind in enumerate(["usage.data_used", "complaint.opened"] * 10)
)


def graph(*texts: str) -> Graph:
    program = compiled(*texts).program
    assert program is not None
    return graph_of(program.rule_sets)


def run(*arguments: object) -> Result:
    return CliRunner().invoke(rules, ["graph", *map(str, arguments)])


def boxes(picture: str) -> list[tuple[str, float, float, float, float]]:
    """Sort, left, top, width and height of each node."""
    root = ET.fromstring(picture)
    found = []
    for group in root.iter(f"{SVG}g"):
        rect = group.find(f"{SVG}rect")
        assert rect is not None
        place = [float(rect.attrib[name]) for name in ("x", "y", "width", "height")]
        found.append((group.attrib["class"], place[0], place[1], place[2], place[3]))
    return found


def test_what_rests_on_what_is_taken_from_the_conditions() -> None:
    edges = {(edge.start, edge.end): edge.negated for edge in graph(TWENTY).edges}
    assert edges["window/twenty/drops", "fact/twenty/a"] is False
    assert edges["fact/twenty/a", "fact/twenty/b"] is False
    assert edges["fact/twenty/b", "fact/twenty/c"] is True
    assert edges["fact/twenty/c", "fact/twenty/d"] is True
    assert edges["fact/twenty/a", "fact/twenty/d"] is False  # not, inside none
    assert edges["trigger/usage.data_used", "window/twenty/mb"] is False
    assert ("trigger/complaint.opened", "rule/twenty/r1") in edges
    assert ("trigger/usage.data_used", "rule/twenty/r1") not in edges
    assert ("rule/twenty/r3", "action/twenty/r3/0") in edges


def test_of_shared_sets_only_the_facts_in_use_are_drawn() -> None:
    shared = (
        "ruleset: all\nshared: true\nwindows: {n: {count: complaint.opened, last: 7d}}\ninfer:\n"
        "  - {fact: used, when: [fact below]}\n  - {fact: below, when: [windows.n > 1]}\n"
        "  - {fact: unused, when: [windows.n > 2]}\n"
    )
    user = (
        "ruleset: user\ntrigger: usage.data_used\n"
        "rules: [{id: r, when: [not fact used], do: {task: call-back, category: service}}]\n"
    )
    names = {node.key for node in graph(shared, user).nodes}
    assert {"fact/used", "fact/below", "window/all/n"} <= names
    assert "fact/unused" not in names
    assert "fact/unused" in {node.key for node in graph(shared).nodes}


def test_steps_of_a_journey_are_called_by_what_brings_customers_to_them() -> None:
    journey = (RULES / "starters" / "journey.yaml").read_text(encoding="utf-8")
    edges = {(edge.start, edge.end) for edge in graph(journey).edges}
    begins, due, answer = "trigger/order.activated", "trigger/journey.due/journey", "trigger/survey.answered"
    assert (begins, "rule/journey/step-1") in edges
    assert (due, "rule/journey/step-1") not in edges
    assert (due, "rule/journey/step-3") in edges
    assert (answer, "rule/journey/step-3") not in edges
    assert (answer, "rule/journey/answer.then-1") in edges


@pytest.mark.parametrize("text", [TWENTY, (RULES / "dropped-calls.yaml").read_text()])
def test_nothing_lies_on_anything_else_and_columns_follow_the_sense(text: str) -> None:
    picture = draw(graph(text), "title")
    found = boxes(picture)
    assert len(found) == len(graph(text).nodes)
    for number, (_, x, y, width, height) in enumerate(found):
        for _, other_x, other_y, _, _ in found[:number]:
            assert abs(x - other_x) >= width or abs(y - other_y) >= height
    left = {sort: [x for name, x, *_ in found if name == sort.value] for sort in Sort}
    assert max(left[Sort.TRIGGER]) < min(left[Sort.WINDOW]) <= max(left[Sort.WINDOW]) < min(left[Sort.FACT])
    assert max(left[Sort.FACT]) < min(left[Sort.RULE]) <= max(left[Sort.RULE]) < min(left[Sort.ACTION])
    root = ET.fromstring(picture)
    for _, x, y, width, height in found:
        assert x + width <= float(root.attrib["width"])
        assert y + height <= float(root.attrib["height"])


def test_absence_is_dashed_and_categories_have_their_colour() -> None:
    drawn = graph(TWENTY)
    picture = draw(drawn, "title")
    assert picture.count('marker-end="url(#tip)"') == len(drawn.edges)
    dashed = [line for line in picture.splitlines() if "dasharray" in line and "marker-end" in line]
    assert len(dashed) == sum(edge.negated for edge in drawn.edges) == 2
    fills = {
        node.find(f"{SVG}rect").attrib["fill"]  # type: ignore[union-attr]
        for node in ET.fromstring(picture).iter(f"{SVG}g")
        if node.attrib["class"] == "action"
    }
    assert len(fills) == 2


def test_what_authors_write_is_escaped() -> None:
    nasty = '<b> & "q" \x07 ]]>'
    picture = draw(Graph((Node("a", Sort.RULE, nasty, nasty, nasty),), ()), nasty)
    root = ET.fromstring(picture)
    assert root.attrib["aria-label"] == '<b> & "q"  ]]>'
    tip = next(root.iter(f"{SVG}g")).findtext(f"{SVG}title")
    assert tip == '<b> & "q"  ]]>\n<b> & "q"  ]]>'


def test_a_road_is_straightened_and_crossings_are_undone() -> None:
    columns = {"a": 0, "b": 0, "c": 1, "d": 1, "e": 2}
    layout = lay_out(columns, [("a", "d"), ("b", "c"), ("b", "e")], gap=10, road_gap=4)
    assert (layout.centre["a"] < layout.centre["b"]) == (layout.centre["d"] < layout.centre["c"])
    assert [column for column, _ in layout.roads["b", "e"]] == [1]
    assert abs(layout.centre["a"] - layout.centre["b"]) >= 10
    assert abs(layout.centre["c"] - layout.centre["d"]) >= 10


def test_nothing_at_all_can_be_drawn() -> None:
    ET.fromstring(draw(Graph((), ()), ""))
    ET.fromstring(draw(Graph((Node("a", Sort.RULE, "a"),), (Edge("a", "a"),) * 0), "one"))


def test_the_command_writes_a_file_or_to_standard_output(tmp_path: Path) -> None:
    file = tmp_path / "twenty.yaml"
    file.write_text(TWENTY)
    done = run(file, "-o", tmp_path / "out.svg")
    assert done.exit_code == 0, done.output
    assert (tmp_path / "out.svg").read_text() == run(file).output
    ET.fromstring(run(file).output)


def test_what_does_not_compile_is_said(tmp_path: Path) -> None:
    file = tmp_path / "twenty.yaml"
    file.write_text(TWENTY.replace("windows.drops > 1", "windows.drop > 1"))
    done = run(file)
    assert done.exit_code == 1
    assert "there is no window `drop`" in done.output
