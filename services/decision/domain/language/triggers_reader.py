"""Reads what calls for a rule set."""

from dataclasses import dataclass

from services.decision.domain.language.nodes import Block, Listing, Node
from services.decision.domain.language.reading import read_word
from services.decision.domain.language.report import Report
from services.decision.domain.language.scope import Scope
from services.decision.domain.problems import did_you_mean
from services.decision.domain.triggers import Occasion
from services.vocabulary.catalogue import Catalogue, EventType


@dataclass(frozen=True, slots=True)
class Triggers:
    """`events`: whose fields `event.…` means; `keys`: by which events find the rule set."""

    events: tuple[EventType, ...] = ()
    keys: tuple[str, ...] = ()


def read_triggers(
    root: Block, rule_set: str, catalogue: Catalogue, report: Report, *, shared: bool
) -> Triggers:
    """What stands under `trigger`, audiences aside (see `read_occasion`)."""
    del rule_set
    node = root.get("trigger")
    if shared:
        if node is not None:
            report.error(node, "a shared rule set runs before all others", "trigger", "remove `trigger`")
        return Triggers()
    if node is None:
        report.error(root, "the rule set has no trigger", "trigger", "add trigger: EVENT_TYPE")
        return Triggers()
    found: list[EventType] = []
    items = node.items if isinstance(node, Listing) else (node,)
    if not items:
        report.error(node, "the rule set has no trigger", "trigger", "name an event type")
    for item in items:
        event = _event(item, catalogue, report)
        if event is not None and event in found:
            report.error(item, f"the trigger {event.name} stands twice", "trigger", "keep one")
        elif event is not None:
            found.append(event)
    return Triggers(tuple(found), tuple(event.name for event in found))


def read_occasion(node: Node | None, scope: Scope, report: Report) -> Occasion | None:
    """An absence, a schedule or a thing, with its audience; None: events of a customer."""
    del node, scope, report
    return None


def _event(node: Node, catalogue: Catalogue, report: Report) -> EventType | None:
    if isinstance(node, Block):
        kind = node.entries[0][0].text if node.entries else "a block"
        report.not_yet(node, f"trigger: {{{kind}: …}}")
        return None
    name = read_word(node, report, "trigger")
    event = catalogue.events.get(name)
    if event is None:
        if name:
            suggestion = did_you_mean(name, catalogue.events) or "events.yaml lists the known types"
            report.error(node, f"the catalogue has no event type `{name}`", "unknown-event", suggestion)
        return None
    if event.thing:
        report.not_yet(node, f"a trigger about a {event.thing}: {name}")
        return None
    return event
