"""Trees of explanations in the terminal and as JSON."""

from collections.abc import Iterator
from typing import Any

from rapport.decision.v1 import explanation_pb2


def tree_lines(node: explanation_pb2.ExplanationNode, depth: int = 0) -> Iterator[str]:
    """One line for each node, indented by what it rests on; factors on a line of their own."""
    mark = "✓" if node.held else "✗"
    line = f"  (line {node.line})" if node.line and node.kind in {"rule", "fact"} else ""
    if node.kind == "decision":
        yield node.text
    else:
        name = f"{node.kind} {node.name}" if node.kind != "condition" else node.name
        yield f"{'  ' * depth}{mark} {name}: {node.text}{line}"
    if node.factors:
        told = ", ".join(
            f"{factor.name} {factor.value:g}" + (f" ({factor.source})" if factor.source else "")
            for factor in node.factors
        )
        yield f"{'  ' * (depth + 1)}  {told}"
    for child in node.children:
        yield from tree_lines(child, depth + 1)


def node_json(node: explanation_pb2.ExplanationNode) -> dict[str, Any]:
    """The same as JSON; the names are a contract."""
    return {
        "kind": node.kind,
        "rule_set": node.rule_set,
        "name": node.name,
        "text": node.text,
        "held": node.held,
        "line": node.line,
        "seen": [{"path": seen.path, "value": None if seen.missing else seen.value} for seen in node.seen],
        "factors": [
            {"name": factor.name, "value": factor.value, "source": factor.source} for factor in node.factors
        ],
        "children": [node_json(child) for child in node.children],
    }
