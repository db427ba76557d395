"""A journey in plain English: what begins it, what ends it, and each step in its place."""

from __future__ import annotations

from typing import TYPE_CHECKING

from services.decision.domain.action_words import action_words, words, written
from services.decision.domain.language.nodes import Block, Listing
from services.decision.domain.phrases import joined, length_words, path_words

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator

    from services.decision.domain.language.nodes import Node
    from services.vocabulary.catalogue import Catalogue


def journey_sentences(
    journey: Block, catalogue: Catalogue, conditions: Callable[[Node], str]
) -> Iterator[str]:
    """All of it, steps under the names that they have in tests."""
    start, key, ends = written(journey.get("start")), journey.get("key"), words(journey.get("exit"))
    each = f", one for each value of {path_words(written(key))}" if key is not None else ""
    yield f"A journey begins when {start} happens{each}."
    if ends:
        yield f"It ends early when {joined((name.removesuffix(' happened') for name in ends), 'or')} happens."
    yield from _steps(journey.get("steps"), "", "", catalogue, conditions)


def _steps(
    node: Node | None, path: str, when: str, catalogue: Catalogue, conditions: Callable[[Node], str]
) -> Iterator[str]:
    for number, step in enumerate(node.items if isinstance(node, Listing) else (), 1):
        if not isinstance(step, Block):
            continue
        name = written(step.get("id")) or (f"{path}-{number}" if path else f"step-{number}")
        yield f"{name}{when}: {_step(step, catalogue, conditions)}."
        for key, came in (("then", "when it came"), ("nothing", "when it did not come")):
            yield from _steps(step.get(key), f"{name}.{key}", f" ({came})", catalogue, conditions)


def _step(step: Block, catalogue: Catalogue, conditions: Callable[[Node], str]) -> str:
    asked, does, wait = (step.get(key) for key in ("if", "do", "wait"))
    if does is not None:
        done = action_words(does, catalogue, conditions)
        return done if asked is None else f"if {conditions(asked)}, then {done}"
    if wait is not None:
        return f"wait for {length_words(written(wait))}"
    awaited = joined(words(step.get("await")), "or")
    return f"wait until {awaited} happens, but for at most {length_words(written(step.get('within')))}"
