"""What a sentence shows of a value."""

import pytest

from services.decision.domain.explain import shown
from services.decision.domain.language.types import Kind
from services.vocabulary.values import DAY, HOUR, MINUTE, SECOND


@pytest.mark.parametrize(
    ("value", "kind", "text"),
    [
        (None, Kind.DURATION, "not known"),
        (7 * DAY + 16 * HOUR + 15 * MINUTE, Kind.DURATION, "7 d 16 h"),
        (90 * SECOND, Kind.DURATION, "1 min 30 s"),
        (0, Kind.DURATION, "0 s"),
        (4, Kind.INT, "4"),
        (1250.5, Kind.NUMBER, "1250.5"),
        (("a", "b"), Kind.LIST, "a, b"),
        (1_790_812_800_000_000, Kind.TIME, "2026-10-01T00:00:00Z"),
    ],
)
def test_values_read_as_people_write_them(value, kind, text):
    assert shown(value, kind) == text
