"""Orders facts so that a negated fact is settled before anyone asks for it: stratified, as in Datalog."""

from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass

from services.decision.domain.language.ast import All, AnyOf, Condition, FactIs, NoneOf
from services.decision.domain.program import FactRule


@dataclass(frozen=True, slots=True)
class NegationCycle:
    """Facts that rest on each other's absence: `path` begins and ends with the same fact."""

    path: tuple[tuple[str, bool], ...]

    def sentence(self) -> str:
        """The cycle as one would say it: a needs not b, b needs a."""
        names = [key.rpartition("/")[2] for key, _ in self.path]
        steps = [
            f"{name} needs {'not ' if negated else ''}{after}"
            for name, after, (_, negated) in zip(names, names[1:], self.path[1:], strict=False)
        ]
        return ", ".join(steps)


def fact_literals(condition: Condition, *, negated: bool = False) -> Iterator[tuple[str, bool]]:
    """The facts a condition asks for, and whether their absence is asked for."""
    match condition:
        case FactIs(key=key, negated=own):
            yield key, own is not negated
        case All(parts=parts) | AnyOf(parts=parts):
            for part in parts:
                yield from fact_literals(part, negated=negated)
        case NoneOf(parts=parts):
            for part in parts:
                yield from fact_literals(part, negated=not negated)
        case _:
            return


def strata_of(facts: Sequence[FactRule]) -> dict[str, int] | NegationCycle:
    """The stratum of each fact, from 0; or the first cycle through a negation."""
    edges: dict[str, list[tuple[str, bool]]] = {fact.fact: [] for fact in facts}
    for fact in facts:
        edges[fact.fact] += [literal for literal in fact_literals(fact.when) if literal[0] in edges]
    for name, needed in edges.items():
        for key, negated in needed:
            back = _path(key, name, edges) if negated else None
            if back is not None:
                return NegationCycle(((name, False), (key, True), *back))
    strata = dict.fromkeys(edges, 0)
    changed = True
    while changed:
        changed = False
        for name, needed in edges.items():
            least = max((strata[key] + negated for key, negated in needed), default=0)
            if least > strata[name]:
                strata[name] = least
                changed = True
    return strata


def _path(
    start: str, goal: str, edges: Mapping[str, Sequence[tuple[str, bool]]]
) -> tuple[tuple[str, bool], ...] | None:
    """The steps from `start` to `goal`, without `start`; empty: they are the same; None: there is no way."""
    if start == goal:
        return ()
    came: dict[str, tuple[str, bool]] = {}
    waiting = [start]
    while waiting:
        here = waiting.pop(0)
        for key, negated in edges[here]:
            if key not in came and key != start:
                came[key] = (here, negated)
                waiting.append(key)
    if goal not in came:
        return None
    steps: list[tuple[str, bool]] = []
    here = goal
    while here != start:
        before, negated = came[here]
        steps.append((here, negated))
        here = before
    return tuple(reversed(steps))
