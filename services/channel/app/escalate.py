"""Gives the next channel of an action its turn when the one before did not reach the customer in time."""

from collections.abc import Sequence

from services.channel.app.admit import Admission, Prepared
from services.channel.app.store import MessageStore
from services.channel.app.upkeep import tell_all
from services.channel.domain.actions import Action
from services.channel.domain.escalation import Next, next_of, step_after
from services.channel.domain.messages import FOLLOWED, Message
from services.runtime.clock import Clock
from services.vocabulary import ids
from services.vocabulary.values import MINUTE

BATCH = 256
LEASE_MICROS = MINUTE
"""After so long, in business time, what was begun and not ended is begun again."""


async def escalate(store: MessageStore, admission: Admission, clock: Clock, limit: int = BATCH) -> int:
    """Looks at messages whose next channel has its turn; how many there were.

    A message that was not handed over goes there itself; one that was sent, and is not delivered, is followed
    by another of the same action. That one's id derives from the action and the step, so a crash in between
    repeats nothing.
    """
    now_micros = clock.now_micros()
    following: list[tuple[Message, Action]] = []
    async with store.transaction() as tx:
        found = await tx.claim_escalating(now_micros, limit)
        moved: list[Message] = []
        for message, action in found:
            what = next_of(message) if action is not None else Next.STAYS
            message.escalates_micros = now_micros + LEASE_MICROS
            match what:
                case Next.FOLLOWS if action is not None:
                    following.append((message, action))
                case Next.MOVES if action is not None and _move(message, action, now_micros):
                    moved.append(message)
                case Next.STAYS | Next.MOVES | Next.FOLLOWS:
                    message.escalates_micros = 0
                case Next.LATER:
                    pass
        await tx.save([message for message, _ in found])
        await tx.give_back_slots([message.slot for message in moved])
        await tell_all(tx, moved)
    if following:
        await _follow(store, admission, clock, following)
    return len(found)


def _move(message: Message, action: Action, now_micros: int) -> bool:
    """Sends it back to the gates, for the channels that are left."""
    after = step_after(action.choices(None), message.channel)
    if after is None:
        return False
    message.after_micros = after
    message.escalates_micros = 0
    message.wait(now_micros, now_micros, message.channel, None, "not handed over when the next had its turn")
    return True


async def _follow(
    store: MessageStore, admission: Admission, clock: Clock, following: Sequence[tuple[Message, Action]]
) -> None:
    prepared = await admission.prepare([action for _, action in following])
    next_ones: list[tuple[Message, Prepared]] = []
    for (message, action), one in zip(following, prepared, strict=True):
        after = step_after(one.choices, message.channel)
        if after is not None:
            one.carried_by(ids.later_message_id(action.action_id, after), after)
            next_ones.append((message, one))
    async with store.transaction() as tx:
        await tx.lock_customers(sorted({customer for _, one in next_ones for customer in one.locks}))
        stored = await tx.messages(
            [(message.customer, message.message_id) for message, _ in following], lock=True
        )
        taken: list[Prepared] = []
        for message in stored.values():
            message.escalates_micros = 0
        for before, one in next_ones:
            followed = stored.get(before.message_id)
            if followed is not None and next_of(followed) is Next.FOLLOWS:
                followed.escalates_micros = FOLLOWED
                followed.note(clock.now_micros(), "not delivered when the next channel had its turn")
                taken.append(one)
        await tx.save(list(stored.values()))
        if taken:
            await admission.take(tx, taken)
