"""Snapshots made up for a shard's trial: around every constant its rules name, with gaps."""

from __future__ import annotations

import random
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from collections.abc import Iterator, Mapping

    from services.decision.domain.engine import Property
    from services.decision.domain.program import Shard

_OPERATORS = frozenset({"$lt", "$lte", "$gt", "$gte", "$neq", "$ex", "$nex", "$mt", "$imt"})
_NOT_OF_THE_SNAPSHOT = frozenset({"kind", "gate", "fact", "sid"})
_MISSING = 0.2
"""Share of properties left out."""


def generated_runs(shard: Shard, count: int) -> Iterator[tuple[dict[str, Property], tuple[str, ...]]]:
    """``count`` snapshots with given facts, the same at every call.

    Each property is missing, equal to a constant that some rule compares it with, or just beside one.
    """
    chance = random.Random(shard.key)  # noqa: S311  reproducible, not secret
    values = {name: _choices(constants) for name, constants in sorted(_constants(shard).items())}
    shared = sorted(shard.uses)
    for _ in range(count):
        properties = {
            name: chance.choice(choices) for name, choices in values.items() if chance.random() >= _MISSING
        }
        yield properties, tuple(fact for fact in shared if chance.random() < 0.5)


def _constants(shard: Shard) -> dict[str, set[Any]]:
    """Per property, the constants that the engine's rules compare it with."""
    found: dict[str, set[Any]] = {name: set() for name in shard.properties}
    _collect(shard.engine_rules, found)
    return found


def _collect(node: Any, found: dict[str, set[Any]]) -> None:
    if isinstance(node, list):
        for part in node:
            _collect(part, found)
        return
    if not isinstance(node, dict):
        return
    for key, value in node.items():
        if key in _OPERATORS:
            _note(value, found)
        elif isinstance(value, dict | list):
            _collect(value, found)
        else:
            _note({key: value}, found)


def _note(comparison: Mapping[str, Any], found: dict[str, set[Any]]) -> None:
    for name, value in comparison.items():
        if name in found and name not in _NOT_OF_THE_SNAPSHOT and isinstance(value, bool | int | float | str):
            found[name].add(value)


def _choices(constants: set[Any]) -> list[Property]:
    """The constants and their neighbours, all of one type; without any, a flag."""
    texts = sorted(value for value in constants if isinstance(value, str))
    flags = any(isinstance(value, bool) for value in constants)
    numbers = sorted(
        value for value in constants if isinstance(value, int | float) and not isinstance(value, bool)
    )
    if texts:
        return [*texts, "another"]
    if flags or not numbers:
        return [True, False]
    near = {round(value + step, 6) for value in numbers for step in (-1, -0.5, 0, 0.5, 1)}
    if all(isinstance(value, int) for value in numbers):
        return sorted({round(value) for value in near} | {0})
    return sorted({float(value) for value in near})
