"""Draws the graph of rule sets as an SVG, from left to right; needs nothing but itself."""

from collections.abc import Iterator, Mapping
from xml.sax.saxutils import escape, quoteattr

from services.cli.commands.rules.layers import Layout, lay_out
from services.decision.domain.graph import Edge, Graph, Node, Sort

_WIDTH, _HEIGHT = 220, 44
_BETWEEN = 84
_GAP, _ROAD_GAP = 60.0, 16.0
_MARGIN, _TOP = 30, 92
_LETTER, _SMALL = 7.6, 6.3
"""How wide a letter of a title and of a note is at most, on average."""

_PAINT: Mapping[str, tuple[str, str]] = {
    # fill, edge; light enough for black text to have a contrast over 7:1
    "trigger": ("#e8eaf0", "#5b6478"),
    "window": ("#eef3e6", "#6b8a3a"),
    "fact": ("#fff6d6", "#a8841a"),
    "rule": ("#ffffff", "#333333"),
    "mandatory": ("#f6d5d5", "#a02020"),
    "service": ("#d8e8f8", "#2a6db0"),
    "retention": ("#e6dcf5", "#6f45b0"),
    "sales": ("#d7f0dd", "#2a8a4a"),
    "survey": ("#fde6cf", "#b8681a"),
    "": ("#ececec", "#777777"),
}
_HEADS = {
    Sort.TRIGGER: "Called by",
    Sort.WINDOW: "Windows",
    Sort.FACT: "Facts",
    Sort.RULE: "Rules",
    Sort.ACTION: "Actions",
}
_CATEGORIES = ("mandatory", "service", "retention", "sales", "survey")


_ARROW = (
    '<defs><marker id="tip" viewBox="0 0 8 8" refX="8" refY="4" markerWidth="7" markerHeight="7" '
    'orient="auto"><path d="M0 0 L8 4 L0 8 z" fill="#666"/></marker></defs>'
)


def draw(graph: Graph, title: str) -> str:
    """The whole picture: a head, a legend, and a column for each step from what calls to what is done."""
    columns = _columns(graph)
    layout = lay_out(columns, [(edge.start, edge.end) for edge in graph.edges], gap=_GAP, road_gap=_ROAD_GAP)
    many = max(columns.values(), default=0) + 1
    width = max(2 * _MARGIN + many * _WIDTH + (many - 1) * _BETWEEN, 760)
    tallest = max(
        [*layout.centre.values(), *(height for road in layout.roads.values() for _, height in road)],
        default=0.0,
    )
    height = int(_TOP + 40 + tallest + _HEIGHT + _MARGIN)
    head = (
        f'<svg xmlns="http://www.w3.org/2000/svg" viewBox="0 0 {width} {height}" width="{width}" '
        f'height="{height}" font-family="system-ui, Helvetica, Arial, sans-serif" role="img" '
        f"aria-label={quoteattr(_clean(title))}>"
    )
    lines = [
        head,
        f"<title>{escape(_clean(title))}</title>",
        _ARROW,
        f'<rect width="{width}" height="{height}" fill="#fff"/>',
        f'<text x="{_MARGIN}" y="34" font-size="18" font-weight="600">{escape(_cut(title, 90))}</text>',
        *_legend(graph),
        *_heads(graph, columns),
        *(_edge(edge, layout) for edge in graph.edges),
        *(line for node in graph.nodes for line in _node(node, layout)),
        "</svg>",
    ]
    return "\n".join(lines) + "\n"


def _columns(graph: Graph) -> dict[str, int]:
    """The column of each node: facts after what they rest on, then all rules, then all actions."""
    sorts = {node.key: node.sort for node in graph.nodes}
    start = int(Sort.TRIGGER in sorts.values())
    first_fact = start + int(Sort.WINDOW in sorts.values())
    depth = {key: first_fact for key, sort in sorts.items() if sort is Sort.FACT}
    between = [edge for edge in graph.edges if edge.start in depth and edge.end in depth]
    for _ in range(len(depth)):
        deeper = {edge.end: depth[edge.start] + 1 for edge in between if depth[edge.end] <= depth[edge.start]}
        if not deeper:
            break
        depth |= deeper
    rules = max(depth.values(), default=first_fact - 1) + 1
    own = {Sort.TRIGGER: 0, Sort.WINDOW: start, Sort.RULE: rules, Sort.ACTION: rules + 1}
    return {key: depth[key] if sort is Sort.FACT else own[sort] for key, sort in sorts.items()}


def _left(column: int) -> int:
    return _MARGIN + column * (_WIDTH + _BETWEEN)


def _heads(graph: Graph, columns: Mapping[str, int]) -> Iterator[str]:
    seen: dict[int, Sort] = {}
    for node in graph.nodes:
        seen.setdefault(columns[node.key], node.sort)
    for column, sort in sorted(seen.items()):
        yield (
            f'<text x="{_left(column)}" y="{_TOP + 6}" font-size="13" font-weight="600" fill="#555">'
            f"{_HEADS[sort]}</text>"
        )


def _legend(graph: Graph) -> Iterator[str]:
    x = _MARGIN
    y = 58
    used = {node.category for node in graph.nodes if node.sort is Sort.ACTION}
    for category in _CATEGORIES:
        if category in used:
            fill, edge = _PAINT[category]
            yield f'<rect x="{x}" y="{y - 11}" width="14" height="14" rx="3" fill="{fill}" stroke="{edge}"/>'
            yield f'<text x="{x + 20}" y="{y}" font-size="12">{category}</text>'
            x += 100
    yield f'<path d="M{x} {y - 4} h40" stroke="#666" fill="none"/>'
    yield f'<text x="{x + 46}" y="{y}" font-size="12">rests on</text>'
    if any(edge.negated for edge in graph.edges):
        x += 110
        yield f'<path d="M{x} {y - 4} h40" stroke="#b02020" stroke-dasharray="5 4" fill="none"/>'
        yield f'<text x="{x + 46}" y="{y}" font-size="12">rests on its absence (not)</text>'


def _node(node: Node, layout: Layout) -> Iterator[str]:
    x = _left(layout.column[node.key])
    y = _TOP + 40 + layout.centre[node.key]
    fill, edge = _PAINT[node.category if node.sort is Sort.ACTION else node.sort.value]
    round_ = {Sort.FACT: 22, Sort.TRIGGER: 3, Sort.WINDOW: 3}.get(node.sort, 8)
    tip = escape(_clean("\n".join(filter(None, (node.title, node.tip)))))
    yield f'<g class="{node.sort.value}"><title>{tip}</title>'
    yield (
        f'<rect x="{x}" y="{y - _HEIGHT / 2:.1f}" width="{_WIDTH}" height="{_HEIGHT}" rx="{round_}" '
        f'fill="{fill}" stroke="{edge}" stroke-width="1.2"/>'
    )
    name_y = y + (4.5 if not node.note else -3)
    yield (
        f'<text x="{x + 12}" y="{name_y:.1f}" font-size="12.5" font-weight="600">'
        f"{escape(_cut(node.title, int((_WIDTH - 24) / _LETTER)))}</text>"
    )
    if node.note:
        yield (
            f'<text x="{x + 12}" y="{y + 13:.1f}" font-size="11" fill="#333">'
            f"{escape(_cut(node.note, int((_WIDTH - 24) / _SMALL)))}</text>"
        )
    yield "</g>"


def _edge(edge: Edge, layout: Layout) -> str:
    def at(key: str) -> float:
        return _TOP + 40 + layout.centre[key]

    x, y = float(_left(layout.column[edge.start]) + _WIDTH), at(edge.start)
    path = f"M{x:.1f} {y:.1f}"
    bend = _BETWEEN / 2
    for column, height in layout.roads[edge.start, edge.end]:
        left, through = float(_left(column)), _TOP + 40 + height
        path += f" C{x + bend:.1f} {y:.1f} {left - bend:.1f} {through:.1f} {left:.1f} {through:.1f}"
        path += f" H{left + _WIDTH:.1f}"
        x, y = left + _WIDTH, through
    end_x, end_y = float(_left(layout.column[edge.end])), at(edge.end)
    path += f" C{x + bend:.1f} {y:.1f} {end_x - bend:.1f} {end_y:.1f} {end_x:.1f} {end_y:.1f}"
    look = 'stroke="#b02020" stroke-dasharray="5 4"' if edge.negated else 'stroke="#666"'
    return f'<path d="{path}" fill="none" {look} stroke-width="1.2" opacity="0.8" marker-end="url(#tip)"/>'


def _cut(text: str, most: int) -> str:
    text = _clean(text).replace("\n", " ")
    return text if len(text) <= most else text[: most - 1] + "…"


def _clean(text: str) -> str:
    """Without characters that XML 1.0 cannot hold."""
    return "".join(each for each in text if each in "\n\t" or 0x20 <= ord(each) < 0xFFFE)
