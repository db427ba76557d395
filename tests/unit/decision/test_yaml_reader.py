"""The reader knows where everything stands, and refuses what YAML would silently take for something else."""

import pytest

from services.decision.adapters.yaml_reader import read_yaml
from services.decision.domain.language.nodes import Block, Listing, Scalar, plain


def test_values_are_those_of_yaml_1_2_and_know_their_place() -> None:
    document = read_yaml("a: on\nb: [1, 2.50, true, 'true', 2026-12-01, 24h, ~]\n")
    assert document.mistakes == ()
    assert isinstance(document.root, Block)
    assert plain(document.root) == {"a": "on", "b": [1, 2.5, True, "true", "2026-12-01", "24h", None]}
    items = document.root.get("b")
    assert isinstance(items, Listing)
    assert [(item.line, item.column) for item in items.items][:2] == [(2, 5), (2, 8)]
    assert isinstance(items.items[1], Scalar)
    assert items.items[1].text == "2.50"


def test_two_mistakes_of_different_kinds_are_both_found() -> None:
    document = read_yaml("a: 1\nb: {plan: {profile.better_plan}}\na: 2\n")
    assert [(mistake.line, mistake.column, mistake.check) for mistake in document.mistakes] == [
        (2, 11, "unquoted-braces"),
        (3, 1, "duplicate-key"),
    ]
    assert document.mistakes[0].suggestion == 'put it in quotes: "{profile.better_plan}"'
    assert "line 1" in document.mistakes[1].message


@pytest.mark.parametrize(
    ("text", "line", "suggestion"),
    [
        ("a: [1, 2\nb: 3\n", 2, "close the bracket"),
        ("a: {windows.x} drops\n", 1, "in quotes"),
        ("a: [>= 5, {b: c}]\n", 1, "write `over`"),
        ("a: b: c: d\n", 1, "in quotes"),
        ("\ta: b\n", 1, "spaces, not tabs"),
        ("", 1, "ruleset"),
        ("a: \x00", 0, "characters"),
        ("---\na: 1\n---\nb: 2\n", 3, "two files"),
        ("[" * 3000, 0, "levels"),
        ("a: b\n" * 300_000, 0, "split"),
    ],
)
def test_unreadable_text_is_a_mistake_with_a_place(text: str, line: int, suggestion: str) -> None:
    document = read_yaml(text)
    assert document.root is None
    assert [(mistake.line, mistake.check) for mistake in document.mistakes] == [(line, "yaml")]
    assert suggestion in document.mistakes[0].suggestion


@pytest.mark.parametrize("text", ["- &x [*x]\n", "a: &y 1\nb: *y\n"])
def test_aliases_are_refused(text: str) -> None:
    assert [mistake.check for mistake in read_yaml(text).mistakes] == ["yaml-alias"]


def test_tags_are_refused() -> None:
    assert [mistake.check for mistake in read_yaml("a: !!python/object:os.system x\n").mistakes] == [
        "yaml-tag"
    ]
