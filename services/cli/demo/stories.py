"""Three customers of the town, explained: by habit, as an exception, and with an open complaint."""

from collections.abc import Callable, Iterable

from rapport.channel.v1 import channel_pb2
from rapport.decision.v1 import decision_pb2
from rapport.types.v1 import vocabulary_pb2

from services.cli.connections import Connections
from services.cli.demo.findings import Example, Step
from services.cli.demo.gather import EXCEPTION_RULE, HABIT_RULE, Listings, channel_name, refusal_name
from services.vocabulary import wire

Wanted = Callable[[decision_pb2.DecidedAction, channel_pb2.Message | None], bool]

HANDED_OVER = (channel_pb2.MESSAGE_STATE_SENT, channel_pb2.MESSAGE_STATE_DELIVERED)


def _said(rule: str) -> Wanted:
    def wanted(action: decision_pb2.DecidedAction, message: channel_pb2.Message | None) -> bool:
        return action.rule == rule and message is not None and message.state in HANDED_OVER

    return wanted


def _not_sold(action: decision_pb2.DecidedAction, message: channel_pb2.Message | None) -> bool:
    del message
    return action.reason == vocabulary_pb2.REFUSAL_REASON_SERVICE_FIRST


STORIES: tuple[tuple[str, Wanted], ...] = (
    ("Runs out of data by habit: the better plan", _said(HABIT_RULE)),
    ("Ran out once: a top-up", _said(EXCEPTION_RULE)),
    ("Has an open complaint: nothing is sold", _not_sold),
)


async def tell_stories(connections: Connections, listings: Listings) -> list[Example]:
    """One explained decision for each story of which the run holds one."""
    messages = {message.action_id: message for message in listings.messages}
    told: list[Example] = []
    for title, wanted in STORIES:
        found = _first(listings.decisions, messages, wanted)
        if found is None:
            continue
        decision, action = found
        answer = await connections.decision.ExplainDecision(
            decision_pb2.ExplainDecisionRequest(action_id=action.action_id)
        )
        told.append(
            Example(
                title=title,
                customer=decision.customer,
                decision_id=decision.decision_id,
                sentence=answer.sentence,
                steps=tuple(Step(step.kind, step.name, step.text, step.held) for step in answer.steps),
                outcome=_outcome(action, messages.get(action.action_id)),
            )
        )
    return told


def _first(
    decisions: Iterable[decision_pb2.Decision], messages: dict[str, channel_pb2.Message], wanted: Wanted
) -> tuple[decision_pb2.Decision, decision_pb2.DecidedAction] | None:
    for decision in decisions:
        for action in decision.actions:
            if wanted(action, messages.get(action.action_id)):
                return decision, action
    return None


def _outcome(action: decision_pb2.DecidedAction, message: channel_pb2.Message | None) -> str:
    if message is None:
        kind = wire.ACTION_KINDS.from_wire(action.kind)
        what = f"{kind.value if kind else 'action'} {action.name}"
        return f"The {what} was refused: {refusal_name(action.reason)}."
    state = channel_pb2.MessageState.Name(message.state).removeprefix("MESSAGE_STATE_").lower()
    return f"The {channel_name(message.channel)} message was {state}: “{message.text}”"
