"""Protobuf messages of the shared vocabulary to and from Python values; for adapters and entrypoints only."""

from __future__ import annotations

from datetime import date
from enum import StrEnum
from typing import TYPE_CHECKING, Generic, TypeVar

from google.protobuf.duration_pb2 import Duration
from google.protobuf.timestamp_pb2 import Timestamp
from rapport.types.v1 import vocabulary_pb2

from services.vocabulary.values import Money, Value, ValueType, make_money, parse_date
from services.vocabulary.words import (
    ActionKind,
    ActionOutcome,
    Category,
    Channel,
    ConsentBy,
    ConsentState,
    Purpose,
    RefusalReason,
)

if TYPE_CHECKING:
    from google.protobuf.internal.enum_type_wrapper import _EnumTypeWrapper

SECOND_MICROS = 1_000_000

Word = TypeVar("Word", bound=StrEnum)
Number = TypeVar("Number", bound=int)


class WordTable(Generic[Word, Number]):
    """One word list beside its proto enum; the unspecified zero is None."""

    def __init__(self, words: type[Word], numbers: _EnumTypeWrapper[Number], prefix: str) -> None:
        """Raises ValueError when the two lists differ, so that a word added to one only is found at start."""
        self.words = tuple(words)
        self._number = {word: numbers.Value(prefix + word.name) for word in words}
        self._word = {int(number): word for word, number in self._number.items()}
        self._zero = numbers.Value(prefix + "UNSPECIFIED")
        strangers = set(map(int, numbers.values())) - self._word.keys() - {int(self._zero)}
        if strangers:
            raise ValueError(f"{words.__name__} lacks a word for {prefix} {sorted(strangers)}")

    def to_wire(self, word: Word | None) -> Number:
        """The number of a word; the unspecified zero for None."""
        return self._zero if word is None else self._number[word]

    def from_wire(self, number: int) -> Word | None:
        """The word of a number; None for the unspecified zero; raises ValueError for a number never given."""
        if number == self._zero:
            return None
        try:
            return self._word[number]
        except KeyError:
            known = ", ".join(f"{n} {word.name}" for n, word in self._word.items())
            raise ValueError(f"{number} is not in the list; known are {known}") from None


CHANNELS = WordTable(Channel, vocabulary_pb2.Channel, "CHANNEL_")
CATEGORIES = WordTable(Category, vocabulary_pb2.Category, "CATEGORY_")
PURPOSES = WordTable(Purpose, vocabulary_pb2.Purpose, "PURPOSE_")
CONSENT_STATES = WordTable(ConsentState, vocabulary_pb2.ConsentState, "CONSENT_STATE_")
CONSENT_BY = WordTable(ConsentBy, vocabulary_pb2.ConsentBy, "CONSENT_BY_")
ACTION_KINDS = WordTable(ActionKind, vocabulary_pb2.ActionKind, "ACTION_KIND_")
ACTION_OUTCOMES = WordTable(ActionOutcome, vocabulary_pb2.ActionOutcome, "ACTION_OUTCOME_")
REFUSAL_REASONS = WordTable(RefusalReason, vocabulary_pb2.RefusalReason, "REFUSAL_REASON_")


def timestamp(micros: int) -> Timestamp:
    """Microseconds since the epoch as a Timestamp."""
    seconds, rest = divmod(micros, SECOND_MICROS)
    return Timestamp(seconds=seconds, nanos=rest * 1000)


def micros(moment: Timestamp) -> int:
    """A Timestamp as microseconds since the epoch; nanoseconds are cut off."""
    return moment.seconds * SECOND_MICROS + moment.nanos // 1000


def value_to_wire(value: Value, value_type: ValueType | None = None) -> vocabulary_pb2.Value:
    """A value as protobuf; the type tells times and durations (both int here) from whole numbers.

    Raises TypeError when the value is of no type of the catalogue.
    """
    if value_type is ValueType.TIME and isinstance(value, int):
        return vocabulary_pb2.Value(time=timestamp(value))
    if value_type is ValueType.DURATION and isinstance(value, int):
        seconds, rest = divmod(value, SECOND_MICROS)
        return vocabulary_pb2.Value(duration=Duration(seconds=seconds, nanos=rest * 1000))
    match value:
        case str():
            return vocabulary_pb2.Value(text=value)
        case bool():
            return vocabulary_pb2.Value(bool=value)
        case int():
            if value_type is ValueType.NUMBER:
                return vocabulary_pb2.Value(number=value)
            return vocabulary_pb2.Value(int=value)
        case float():
            return vocabulary_pb2.Value(number=value)
        case Money():
            return vocabulary_pb2.Value(
                money=vocabulary_pb2.Money(amount=f"{value.amount:f}", currency=value.currency)
            )
        case date():
            return vocabulary_pb2.Value(date=value.isoformat())
        case tuple():
            return vocabulary_pb2.Value(list=vocabulary_pb2.TextList(items=value))
        case _:
            raise TypeError(f"{type(value).__name__} is no type of the catalogue")


def value_from_wire(message: vocabulary_pb2.Value) -> Value | None:
    """The Python value; None when no kind is set; raises ValueMistake for money or a date that is none."""
    kind = message.WhichOneof("kind")
    match kind:
        case "text":
            return message.text
        case "int":
            return message.int
        case "number":
            return message.number
        case "bool":
            return message.bool
        case "money":
            return make_money(message.money.amount, message.money.currency)
        case "time":
            return micros(message.time)
        case "date":
            return parse_date(message.date)
        case "duration":
            return message.duration.seconds * SECOND_MICROS + message.duration.nanos // 1000
        case "list":
            return tuple(message.list.items)
        case _:
            return None


def type_of_wire(message: vocabulary_pb2.Value) -> ValueType | None:
    """The catalogue type that its kind stands for (an enum travels as text); None when no kind is set."""
    kind = message.WhichOneof("kind")
    return None if kind is None else ValueType(kind)
