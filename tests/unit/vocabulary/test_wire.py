"""Wire: values and words come back from protobuf as they went."""

from datetime import date
from decimal import Decimal

import pytest
from hypothesis import given
from hypothesis import strategies as st
from rapport.types.v1 import vocabulary_pb2

from services.vocabulary import wire
from services.vocabulary.values import Money, ValueType
from services.vocabulary.words import Channel, ConsentBy, RefusalReason


@pytest.mark.parametrize(
    ("value", "value_type"),
    [
        ("text", ValueType.TEXT),
        ("", ValueType.TEXT),
        (-3, ValueType.INT),
        (0, ValueType.INT),
        (120.5, ValueType.NUMBER),
        (Money(Decimal("12.50"), "EUR"), ValueType.MONEY),
        (False, ValueType.BOOL),
        (1_793_607_300_000_001, ValueType.TIME),
        (-1, ValueType.TIME),
        (date(2026, 11, 2), ValueType.DATE),
        (86_400_000_001, ValueType.DURATION),
        (("a", "b"), ValueType.LIST),
        ((), ValueType.LIST),
    ],
)
def test_a_value_comes_back_with_its_type(value, value_type):
    message = wire.value_to_wire(value, value_type)
    found = wire.value_from_wire(vocabulary_pb2.Value.FromString(message.SerializeToString()))
    assert found == value
    assert type(found) is type(value)
    assert wire.type_of_wire(message) is value_type


def test_the_type_is_guessed_from_the_value_where_it_is_not_said():
    assert wire.value_to_wire(True).WhichOneof("kind") == "bool"
    assert wire.value_to_wire(3).WhichOneof("kind") == "int"
    assert wire.value_to_wire(3, ValueType.NUMBER).WhichOneof("kind") == "number"
    assert wire.value_to_wire("x", ValueType.ENUM).WhichOneof("kind") == "text"


def test_no_kind_is_none_and_no_value_of_the_catalogue_is_an_error():
    assert wire.value_from_wire(vocabulary_pb2.Value()) is None
    assert wire.type_of_wire(vocabulary_pb2.Value()) is None
    with pytest.raises(TypeError, match="dict"):
        wire.value_to_wire({})


@given(st.integers(min_value=-(10**15), max_value=10**16))
def test_times_are_exact(micros):
    assert wire.micros(wire.timestamp(micros)) == micros


@pytest.mark.parametrize(
    "table",
    [
        wire.CHANNELS,
        wire.CATEGORIES,
        wire.PURPOSES,
        wire.CONSENT_STATES,
        wire.CONSENT_BY,
        wire.ACTION_KINDS,
        wire.ACTION_OUTCOMES,
        wire.REFUSAL_REASONS,
    ],
)
def test_every_word_comes_back_and_unspecified_is_none(table):
    assert len(table.words) > 2
    for word in table.words:
        assert table.from_wire(table.to_wire(word)) is word
    assert table.to_wire(None) == 0
    assert table.from_wire(0) is None
    with pytest.raises(ValueError, match="known are 1"):
        table.from_wire(999)


def test_a_list_of_words_that_differs_from_its_proto_is_found_at_once():
    with pytest.raises(ValueError, match="CHANNEL_PERSON"):
        wire.WordTable(ConsentBy, vocabulary_pb2.Channel, "CHANNEL_")


def test_numbers_are_those_of_the_proto():
    assert wire.CHANNELS.to_wire(Channel.TASK) == vocabulary_pb2.CHANNEL_TASK
    assert wire.REFUSAL_REASONS.from_wire(16) is RefusalReason.SERVICE_FIRST
