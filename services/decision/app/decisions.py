"""Past decisions: listed, and explained by running them again."""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING

from services.decision.app.jobs import ProgramThen
from services.decision.domain.absent import needed_for
from services.decision.domain.care import Afterwards
from services.decision.domain.explain import Step, gate_step, label_of, sentence_of
from services.decision.domain.tree import Node, action_node, with_actions
from services.runtime.errors import NotFoundError
from services.vocabulary.values import format_time
from services.vocabulary.words import ActionOutcome, MessageState

if TYPE_CHECKING:
    from collections.abc import Mapping, Sequence

    from services.decision.app.ports import (
        Asker,
        Journal,
        KeptCatalogues,
        Message,
        Messages,
        Recorded,
        RuleSets,
        Wanted,
    )
    from services.decision.domain.arbitration import Candidate, DecidedAction
    from services.vocabulary.words import RefusalReason

ARRIVED = frozenset(
    {
        MessageState.ACCEPTED,
        MessageState.PLANNED,
        MessageState.SENDING,
        MessageState.SENT,
        MessageState.DELIVERED,
    }
)
"""States in which nothing stands against a message."""
_WAITS = frozenset({MessageState.PLANNED, MessageState.DEFERRED})
_WENT = ARRIVED - _WAITS


@dataclass(frozen=True, slots=True)
class Explanation:
    """Why: the decision as recorded, sentences for author, care and regulator, the steps, the tree.

    ``difference``: the first field that a replay did not bring out the same, or why there is no replay;
    empty: it came out the same.
    """

    recorded: Recorded
    sentence: str
    care: str
    regulator: str
    steps: tuple[Step, ...]
    tree: Node
    because: Mapping[str, tuple[str, ...]]
    difference: str

    @property
    def reproduced(self) -> bool:
        """Whether it came out the same."""
        return not self.difference


class LookBack:
    """The use cases about past decisions."""

    def __init__(
        self,
        journal: Journal,
        rule_sets: RuleSets,
        asker: Asker,
        catalogues: KeptCatalogues,
        messages: Messages,
    ) -> None:
        self._journal = journal
        self._rule_sets = rule_sets
        self._asker = asker
        self._catalogues = catalogues
        self._messages = messages

    async def page(self, wanted: Wanted) -> list[tuple[int, Recorded]]:
        """Decisions, newest first, each with its number."""
        return await self._journal.page(wanted)

    async def explain(self, decision_id: str, action_id: str) -> Explanation:
        """Runs a decision again, by its id or one of its actions'. Raises NotFoundError."""
        recorded = await self._journal.find(action_id or decision_id)
        if recorded is None:
            field = "action_id" if action_id else "decision_id"
            raise NotFoundError(
                f"there is no decision of this {field.replace('_', ' ')}",
                field=field,
                suggestion="list decisions for their ids; events that triggered nothing leave none",
            )
        then = await program_then(self._rule_sets, self._catalogues, recorded.program, recorded.catalogue)
        winners = await self._winners(recorded)
        messages = await self._messages.of(dispatched(recorded))
        afterwards = Afterwards(stopped_of(messages), winners, waiting_of(messages))
        replayed = await self._asker.replay(then, recorded, action_id, afterwards)
        names = {action.candidate.action_id: label_of(action.candidate) for action in recorded.actions}
        names |= {known: f"{label_of(one)} of an earlier decision" for known, one in winners.items()}
        asked = [
            action for action in recorded.actions if not action_id or action.candidate.action_id == action_id
        ]
        gates = tuple(gate_step(action, names) for action in recorded.actions)
        difference = "" if replayed.difference is None else replayed.difference.sentence
        return Explanation(
            recorded,
            sentence_of(asked, replayed.because, names),
            replayed.care,
            replayed.regulator,
            (*replayed.steps, *gates),
            _tree(recorded, with_actions(replayed.nodes, _actions(recorded, names, messages))),
            replayed.because,
            f"program: {replayed.problem}" if replayed.problem else difference,
        )

    async def _winners(self, recorded: Recorded) -> dict[str, Candidate]:
        """The actions of earlier decisions that outranked one of these, by id."""
        own = {action.candidate.action_id for action in recorded.actions}
        winners: dict[str, Candidate] = {}
        for action in recorded.actions:
            if action.outranked_by and action.outranked_by not in {*own, *winners}:
                winner = await self._journal.find(action.outranked_by)
                winners |= {
                    other.candidate.action_id: other.candidate
                    for other in (() if winner is None else winner.actions)
                }
        return winners


def stopped_of(messages: Mapping[str, Sequence[Message]]) -> dict[str, RefusalReason | None]:
    """Actions of which every message was stopped for good, with why the last was."""
    return {
        action_id: told[-1].reason
        for action_id, told in messages.items()
        if told and all(message.state not in ARRIVED and message.state not in _WAITS for message in told)
    }


def waiting_of(messages: Mapping[str, Sequence[Message]]) -> dict[str, RefusalReason | None]:
    """Actions of which no message went out and one waits for its time, with why."""
    return {
        action_id: next(message.reason for message in told if message.state in _WAITS)
        for action_id, told in messages.items()
        if any(message.state in _WAITS for message in told)
        and all(message.state not in _WENT for message in told)
    }


def dispatched(recorded: Recorded) -> list[Candidate]:
    """What of a decision went to the channel service."""
    return [action.candidate for action in recorded.actions if action.outcome is ActionOutcome.DISPATCHED]


async def program_then(
    rule_sets: RuleSets, catalogues: KeptCatalogues, version: int, catalogue: str
) -> ProgramThen:
    """What was live as that version of the program, with the files of the catalogue if they are kept.

    ``catalogue`` empty: what is known of it is that of the activation, and today's will do.
    """
    live = await rule_sets.live(version)
    files = await catalogues.files(catalogue or live.catalogue)
    if not catalogue:
        catalogue = live.catalogue if files is not None else ""
    return ProgramThen(live.version, live.whole, catalogue, files)


def channel_node(rule_set: str, message: Message) -> Node:
    """What the channel service knows of an action, with how it came there."""
    text = f"{message.state.value} {message.where}".strip()
    text += f": {message.reason.value}" if message.reason is not None else ""
    text += f", {message.detail}" if message.detail else ""
    history = tuple(
        Node("channel", rule_set, one.state.value, one.sentence, one.state in ARRIVED)
        for one in message.history
    )
    return Node("channel", rule_set, message.state.value, text, message.state in ARRIVED, children=history)


def _actions(
    recorded: Recorded, names: Mapping[str, str], messages: Mapping[str, tuple[Message, ...]]
) -> list[tuple[str, Node]]:
    found = []
    for action in recorded.actions:
        candidate = action.candidate
        told = messages.get(candidate.action_id, ())
        channel = [channel_node(candidate.rule_set, message) for message in told]
        found.append((candidate.rule, action_node(action, names, _needed(recorded, action), channel)))
    return found


def _needed(recorded: Recorded, action: DecidedAction) -> str:
    return needed_for(action, recorded.standing, recorded.evaluation.circumstances)


def _tree(recorded: Recorded, nodes: Sequence[Node]) -> Node:
    catalogue = f", catalogue {recorded.catalogue}" if recorded.catalogue else ""
    text = (
        f"{recorded.event_type} at {format_time(recorded.event_micros)}, decided at "
        f"{format_time(recorded.decided_micros)} by program {recorded.program}{catalogue}"
    )
    held = any(action.outcome is not ActionOutcome.REFUSED for action in recorded.actions)
    return Node("decision", "", recorded.decision_id, text, held, children=tuple(nodes))
