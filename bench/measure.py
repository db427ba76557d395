"""What a benchmark found: a value, beside what was measured in the same run to judge it by."""

import json
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any


@dataclass(frozen=True, slots=True)
class Measure:
    """One figure. `reference`: what it stands beside, measured in the same run; empty: nothing."""

    name: str
    value: float
    unit: str
    reference: str = ""
    reference_value: float | None = None

    @property
    def ratio(self) -> float | None:
        """Value by reference; None: there is nothing to divide by."""
        return self.value / self.reference_value if self.reference_value else None

    def to_json(self) -> dict[str, Any]:
        """As it stands in the JSON list."""
        return {
            "name": self.name,
            "value": _short(self.value),
            "unit": self.unit,
            "reference": self.reference or None,
            "reference_value": _short(self.reference_value),
            "ratio": _short(self.ratio),
        }


def write_json(measures: Sequence[Measure], file: Path) -> None:
    """Writes the list, with the folders above it."""
    file.parent.mkdir(parents=True, exist_ok=True)
    file.write_text(json.dumps([m.to_json() for m in measures], indent=1) + "\n", encoding="utf-8")


def table(measures: Sequence[Measure]) -> str:
    """The same for people."""
    rows = [("", "value", "unit", "beside", "its value", "ratio")]
    rows += [
        (m.name, _words(m.value), m.unit, m.reference, _words(m.reference_value), _words(m.ratio))
        for m in measures
    ]
    widths = [max(len(row[place]) for row in rows) for place in range(len(rows[0]))]
    right = {1, 4, 5}
    return "\n".join(
        "  ".join(
            cell.rjust(width) if place in right else cell.ljust(width)
            for place, (cell, width) in enumerate(zip(row, widths, strict=True))
        ).rstrip()
        for row in rows
    )


def percentile(values: Sequence[float], percent: float) -> float:
    """The smallest value that at least so many percent of all do not exceed (nearest rank)."""
    if not values:
        raise ValueError("there is no percentile of nothing")
    ordered = sorted(values)
    rank = -(-len(ordered) * percent // 100)
    return ordered[max(0, int(rank) - 1)]


def _short(value: float | None) -> float | None:
    """Four digits that count: more would claim a precision that no run has."""
    return None if value is None else float(f"{value:.4g}")


def _words(value: float | None) -> str:
    if value is None:
        return ""
    return f"{value:,.0f}" if abs(value) >= 100 else f"{value:.3g}"
