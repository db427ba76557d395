"""Ids: the same cause gives the same id, another cause another."""

from uuid import UUID, uuid5

from hypothesis import given
from hypothesis import strategies as st

from services.vocabulary.ids import (
    _NAMESPACE,
    action_id,
    decision_id,
    derived_id,
    message_id,
    own_event_id,
    partition_of,
    thing_partition,
)


def test_an_id_never_changes_from_one_release_to_the_next():
    assert decision_id("dpi", "u-1", 7) == "c1716f55-e1b6-5d15-b8d9-b0538183ec90"


def test_ids_are_uuids_of_version_5():
    ids = [
        decision_id("dpi", "u-1", 7),
        action_id("d", "s", "r", 0),
        message_id("a"),
        own_event_id("action.due", "a"),
    ]
    for text in ids:
        assert UUID(text).version == 5
        assert str(UUID(text)) == text


@given(st.text(max_size=20), st.integers())
def test_an_id_is_what_the_standard_library_makes_of_the_same_name(source, customer):
    name = "\x1f".join(["decision", source, "e", str(customer)])
    assert decision_id(source, "e", customer) == str(uuid5(UUID(bytes=_NAMESPACE), name))


def test_every_part_of_the_cause_counts():
    ids = {
        decision_id("dpi", "u-1", 7),
        decision_id("dpi", "u-1", 8),
        decision_id("dpi", "u-2", 7),
        decision_id("crm", "u-1", 7),
        action_id("d", "s", "r", 0),
        action_id("d", "s", "r", 1),
        action_id("d", "s", "q", 0),
        message_id("a"),
        own_event_id("a"),
    }
    assert len(ids) == 9


@given(st.lists(st.text(alphabet="ab:", max_size=3), min_size=2, max_size=3))
def test_parts_do_not_run_into_each_other(parts):
    assert derived_id("k", *parts) != derived_id("k", "".join(parts))


def test_partitions():
    assert partition_of(130) == 2
    assert thing_partition("cell", "FR-0042") == thing_partition("cell", "FR-0042")
    assert {thing_partition("cell", f"FR-{number}") for number in range(2000)} == set(range(64))
