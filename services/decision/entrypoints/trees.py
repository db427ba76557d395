"""Trees of explanations as callers see them."""

from __future__ import annotations

from typing import TYPE_CHECKING

from rapport.decision.v1 import explanation_pb2

if TYPE_CHECKING:
    from services.decision.domain.tree import Node


def node_to_wire(node: Node) -> explanation_pb2.ExplanationNode:
    """One thing that was looked at, with all that it rests on."""
    return explanation_pb2.ExplanationNode(
        kind=node.kind,
        rule_set=node.rule_set,
        name=node.name,
        text=node.text,
        held=node.held,
        line=node.line,
        seen=[
            explanation_pb2.SeenValue(path=seen.path, value=seen.text, missing=seen.missing)
            for seen in node.seen
        ],
        factors=[
            explanation_pb2.SeenFactor(name=factor.name, value=factor.value, source=factor.source)
            for factor in node.factors
        ],
        children=[node_to_wire(child) for child in node.children],
    )
