"""Periods of keeping: read from the policy file, never shorter than everything else relies on."""

from pathlib import Path

import pytest

from services.runtime.errors import SettingError
from services.runtime.retention import RETENTION_CLASSES, read_event_retention, read_retention
from services.vocabulary.values import DAY

RULES = Path(__file__).parents[3] / "rules"


def written(folder: Path, text: str) -> Path:
    (folder / "policies").mkdir(exist_ok=True)
    (folder / "policies" / "retention.yaml").write_text(text, encoding="utf-8")
    return folder


def test_the_shipped_policy_names_every_class():
    assert read_retention(RULES).keys() == RETENTION_CLASSES.keys()


def test_what_is_left_out_is_kept_for_good(tmp_path):
    assert read_retention(tmp_path) == {}
    assert read_retention(written(tmp_path, "retention: {messages: 100d}")) == {"messages": 100 * DAY}
    assert read_retention(written(tmp_path, "")) == {}


@pytest.mark.parametrize(
    ("text", "said"),
    [
        ("retention:\n  messages: 3d", "policies/retention.yaml:2: retention.messages is 3d: .* write 35d"),
        ("retention:\n  mesages: 100d", "retention.mesages is not known here; did you mean messages"),
        ("retention:\n  messages: long", "retention.messages is not a length of time"),
        ("retention:\n  once_slots: 30d", "retention.once_slots is 30d: an event that old is still taken"),
        ("keep: {}", "keep is not known here"),
        ("- a", "must hold a mapping"),
    ],
)
def test_a_mistake_is_named_with_its_line_and_what_would_be_right(tmp_path, text, said):
    with pytest.raises(SettingError, match=said):
        read_retention(written(tmp_path, text))


def test_all_mistakes_are_named_at_once(tmp_path):
    with pytest.raises(SettingError) as caught:
        read_retention(written(tmp_path, "retention:\n  messages: 3d\n  decisions: 4d"))
    assert len(caught.value.message.splitlines()) == 2


TYPES = ("usage.data_used", "usage.voice_used", "topup.received")


def test_types_of_events_have_shorter_periods_of_their_own_the_narrower_name_counts(tmp_path):
    text = "retention:\n  events: 400d\n  events_by_type: {usage.*: 90d, usage.voice_used: 60d}"
    rules = written(tmp_path, text)
    assert read_retention(rules) == {"events": 400 * DAY}
    assert read_event_retention(rules, TYPES) == {"usage.data_used": 90 * DAY, "usage.voice_used": 60 * DAY}
    assert read_event_retention(RULES, TYPES) == {}


@pytest.mark.parametrize(
    ("text", "said"),
    [
        ("{usage.*: 20d}", "events_by_type.usage.\\* is 20d: .* write 35d"),
        (
            "{usage.*: 500d}",
            "usage.\\* is longer than retention.events, which takes all away; write 400d or less",
        ),
        (
            "{usage.data_use: 90d}",
            "usage.data_use is no event type of the catalogue; did you mean usage.data_",
        ),
        ("[usage.data_used]", "events_by_type must be a mapping"),
    ],
)
def test_a_mistake_in_the_periods_of_types_is_named(tmp_path, text, said):
    rules = written(tmp_path, f"retention:\n  events: 400d\n  events_by_type: {text}")
    with pytest.raises(SettingError, match=said):
        read_event_retention(rules, TYPES)
