"""What a customer did lately, one event type at a time, as plain lists that windows can run over."""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field


@dataclass(slots=True)
class Activity:
    """Recent events of one type: lists of equal length, ordered by time, then sequence.

    `times`: micros since the epoch. `sequences`: the customer-wide sequence of each. `numbers`: per kept
    numeric field (also bool 0/1, money amount, time and duration in seconds), NaN where missing. `texts`: per
    kept text field, None where missing. Older entries are kept only as totals by local calendar day: `days`
    (days since 1970-01-01), `day_counts` and `day_sums` per field. An event is either among the entries or in
    a day's total, never in both.
    """

    times: Sequence[int] = ()
    sequences: Sequence[int] = ()
    numbers: Mapping[str, Sequence[float]] = field(default_factory=dict)
    texts: Mapping[str, Sequence[str | None]] = field(default_factory=dict)
    days: Sequence[int] = ()
    day_counts: Sequence[int] = ()
    day_sums: Mapping[str, Sequence[float]] = field(default_factory=dict)


NO_ACTIVITY = Activity()
