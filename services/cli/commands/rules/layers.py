"""Where the nodes of a layered graph go: columns from left to right, few crossings, edges without bends."""

from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass, field
from itertools import pairwise

_SWEEPS = 12
_PULLS = 24
Point = tuple[float, float]


@dataclass(slots=True)
class Layout:
    """`centre`: the height of each node's middle. `column`: of each node. `roads`: the places edges pass.

    A road runs through the middles of the columns between its two ends; those ends are not in it.
    """

    centre: dict[str, float] = field(default_factory=dict)
    column: dict[str, int] = field(default_factory=dict)
    roads: dict[tuple[str, str], tuple[tuple[int, float], ...]] = field(default_factory=dict)


def lay_out(
    columns: Mapping[str, int], edges: Iterable[tuple[str, str]], *, gap: float, road_gap: float
) -> Layout:
    """The layout of nodes whose columns are known; each edge runs from a lower column to a higher one.

    `gap`: between the middles of two nodes; `road_gap`: between an edge that passes and its neighbour.
    """
    chains = {(start, end): _chain(start, end, columns) for start, end in dict.fromkeys(edges)}
    layers: list[list[str]] = [[] for _ in range(max(columns.values(), default=-1) + 1)]
    for node, column in columns.items():
        layers[column].append(node)
    before: dict[str, list[str]] = {}
    after: dict[str, list[str]] = {}
    roads: set[str] = set()
    for chain in chains.values():
        for (first, column), (second, _) in pairwise(chain):
            after.setdefault(first, []).append(second)
            before.setdefault(second, []).append(first)
            if first not in columns and first not in roads:
                roads.add(first)
                layers[column].append(first)
    layers = _ordered(layers, before, after)
    centre = _placed(layers, before, after, roads, gap, road_gap)
    return Layout(
        {node: centre[node] for node in columns},
        dict(columns),
        {
            edge: tuple((column, centre[place]) for place, column in chain[1:-1])
            for edge, chain in chains.items()
        },
    )


def _chain(start: str, end: str, columns: Mapping[str, int]) -> list[tuple[str, int]]:
    between = range(columns[start] + 1, columns[end])
    return [
        (start, columns[start]),
        *((f"{start} → {end} @{column}", column) for column in between),
        (end, columns[end]),
    ]


def _ordered(
    layers: list[list[str]], before: Mapping[str, list[str]], after: Mapping[str, list[str]]
) -> list[list[str]]:
    """The layers in the order with the fewest crossings that sweeps to and fro have found."""
    best, fewest = [list(layer) for layer in layers], _crossings(layers, after)
    for sweep in range(_SWEEPS):
        forth = sweep % 2 == 0
        neighbours = before if forth else after
        order = range(1, len(layers)) if forth else range(len(layers) - 2, -1, -1)
        for number in order:
            beside = layers[number - 1 if forth else number + 1]
            layers[number] = _sorted_by_neighbours(layers[number], beside, neighbours)
        crossings = _crossings(layers, after)
        if crossings < fewest:
            best, fewest = [list(layer) for layer in layers], crossings
    return best


def _sorted_by_neighbours(
    layer: Sequence[str], beside: Sequence[str], neighbours: Mapping[str, list[str]]
) -> list[str]:
    """The layer by the mean place of each node's neighbours in the layer beside it."""
    there = {node: place for place, node in enumerate(beside)}
    here = {node: place for place, node in enumerate(layer)}

    def wanted(node: str) -> float:
        places = [there[other] for other in neighbours.get(node, ()) if other in there]
        return sum(places) / len(places) if places else here[node] * len(there) / len(here)

    return sorted(layer, key=lambda node: (wanted(node), here[node]))


def _crossings(layers: Sequence[Sequence[str]], after: Mapping[str, list[str]]) -> int:
    total = 0
    for left, right in pairwise(layers):
        places = {node: place for place, node in enumerate(right)}
        ends = [
            place
            for node in left
            for place in sorted(places[other] for other in after.get(node, ()) if other in places)
        ]
        total += sum(earlier > later for number, later in enumerate(ends) for earlier in ends[:number])
    return total


def _placed(
    layers: Sequence[Sequence[str]],
    before: Mapping[str, list[str]],
    after: Mapping[str, list[str]],
    roads: set[str],
    gap: float,
    road_gap: float,
) -> dict[str, float]:
    """Heights: each node near the middle of its neighbours, none nearer to the next than allowed."""

    def apart(first: str, second: str) -> float:
        narrow = (first in roads) + (second in roads)
        return (gap, (gap + road_gap) / 2, road_gap)[narrow]

    centre: dict[str, float] = {}
    for layer in layers:
        height = 0.0
        for number, node in enumerate(layer):
            height += apart(layer[number - 1], node) if number else 0.0
            centre[node] = height
    for pull in range(_PULLS):
        forth = pull % 2 == 0
        for layer in layers if forth else reversed(layers):
            wanted = []
            for node in layer:
                beside = [centre[other] for other in (*before.get(node, ()), *after.get(node, ()))]
                wanted.append(sum(beside) / len(beside) if beside else centre[node])
            gaps = [apart(first, second) for first, second in pairwise(layer)]
            centre |= zip(layer, _spread(wanted, gaps), strict=True)
    lowest = min(centre.values(), default=0.0)
    return {node: place - lowest for node, place in centre.items()}


def _spread(wanted: Sequence[float], gaps: Sequence[float]) -> list[float]:
    """Places as near to the wanted ones as the gaps allow, in this order (pool adjacent violators)."""
    offsets = [0.0]
    for each in gaps:
        offsets.append(offsets[-1] + each)
    pools: list[tuple[float, int]] = []
    for place, offset in zip(wanted, offsets, strict=False):
        pools.append((place - offset, 1))
        while len(pools) > 1 and pools[-2][0] > pools[-1][0]:
            (later, many), (earlier, few) = pools.pop(), pools.pop()
            pools.append(((earlier * few + later * many) / (few + many), few + many))
    flat = [place for place, many in pools for _ in range(many)]
    return [place + offset for place, offset in zip(flat, offsets, strict=False)]
