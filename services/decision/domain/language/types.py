"""The types of the rule language, and which of them may meet."""

from enum import StrEnum


class Kind(StrEnum):
    """Type of an expression. Enumerations are texts here; their values are checked when a literal is read."""

    TEXT = "text"
    INT = "int"
    NUMBER = "number"
    MONEY = "money"
    BOOL = "bool"
    TIME = "time"
    DATE = "date"
    DURATION = "duration"
    LIST = "list(text)"


NUMERIC = frozenset({Kind.INT, Kind.NUMBER})
ORDERED = frozenset({Kind.INT, Kind.NUMBER, Kind.MONEY, Kind.TIME, Kind.DATE, Kind.DURATION})
