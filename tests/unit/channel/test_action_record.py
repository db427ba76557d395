"""Actions of our own making are kept as if they had come over the wire."""

from dataclasses import replace

from services.channel.entrypoints.translate import action_from_record, action_record
from services.vocabulary.values import ValueType
from services.vocabulary.words import Category, Channel
from tests.fakes.channel import NOON, make_action


def test_an_action_comes_back_as_it_was() -> None:
    action = make_action(
        1,
        category=Category.MANDATORY,
        channels=(Channel.SMS, Channel.EMAIL),
        parameters={"link": "https://links.example/l/x"},
        types={"link": ValueType.TEXT},
        decided_micros=NOON,
        event_micros=NOON,
        expires_micros=NOON + 7_000_000,
        line="2",
    )
    record = action_record(action)
    assert action_from_record(record) == replace(action, record=record)
