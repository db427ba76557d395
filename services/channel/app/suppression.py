"""Puts channels on the suppression list and takes them off, inside the transaction of whoever asks."""

from collections.abc import Sequence
from dataclasses import dataclass

from services.channel.app.store import MessageTransaction
from services.channel.domain.contact import SuppressedFor
from services.channel.domain.replies import Intent, reply_event
from services.channel.domain.suppression import (
    MAY_LIFT,
    OWN_WORD,
    LiftedBy,
    Suppression,
    change_totals,
)
from services.runtime.clock import Clock
from services.vocabulary.words import Channel


@dataclass(frozen=True, slots=True)
class Lifted:
    """What was taken off the list, and what still stands there."""

    lifted: frozenset[SuppressedFor]
    standing: frozenset[SuppressedFor]


async def opt_out(
    tx: MessageTransaction,
    clock: Clock,
    *,
    customer: int,
    channel: Channel,
    reason: SuppressedFor,
    evidence: str,
    message_id: str = "",
    said: str = "",
) -> bool:
    """Puts a channel of a customer on the list; False: it stood there for this reason already.

    Exactly one record and one entry of the audit log, which `evidence` goes into: no address and no text.
    `said` is what the person said by it: it is told as `message.replied` with the intent stop and the action
    of the message (empty: nothing is told, as for a bounce, or by who tells it otherwise).
    """
    entry = Suppression(customer, channel, reason, clock.now_micros(), evidence, message_id)
    own = reason in OWN_WORD
    added = await suppress_all(tx, [entry], LiftedBy.PERSON if own else LiftedBy.STAFF)
    if said:
        await _tell(tx, added, entry.time_micros, said, Intent.STOP)
    return bool(added)


async def suppress_all(
    tx: MessageTransaction, entries: Sequence[Suppression], by: LiftedBy
) -> Sequence[Suppression]:
    """The same for many, of whom nothing is told; those that were new. `by`: whose doing it is."""
    added = await tx.suppress(entries, by)
    await tx.count(change_totals([entry.reason for entry in added], lifted=False))
    return added


async def opt_in(
    tx: MessageTransaction,
    clock: Clock,
    *,
    customer: int,
    channel: Channel,
    by: LiftedBy,
    evidence: str = "",
    said: str = "",
) -> bool:
    """Takes a channel off the list; False: nothing stood there that this asker may lift.

    A person lifts the own opt-out only, staff what staff or a bounce put there: see MAY_LIFT. `said` is told
    as in `opt_out`, with the intent start.
    """
    lifted = await lift(tx, clock, customer=customer, channel=channel, by=by, evidence=evidence, said=said)
    return bool(lifted.lifted)


async def lift(
    tx: MessageTransaction,
    clock: Clock,
    *,
    customer: int,
    channel: Channel,
    by: LiftedBy,
    evidence: str = "",
    said: str = "",
) -> Lifted:
    """The same; tells what was lifted and what stands on."""
    removed = await tx.lift(customer, channel, MAY_LIFT[by], by, evidence)
    lifted = frozenset(entry.reason for entry in removed)
    await tx.count(change_totals(lifted, lifted=True))
    if said:
        await _tell(tx, removed[:1], clock.now_micros(), said, Intent.START)
    standing = await tx.suppressed([customer])
    return Lifted(lifted, standing.get((customer, channel), frozenset()))


async def lift_for(
    tx: MessageTransaction,
    clock: Clock,
    *,
    person: Sequence[int],
    channel: Channel,
    by: LiftedBy,
    evidence: str = "",
) -> Lifted:
    """The same under all ids of a person."""
    done = [
        await lift(tx, clock, customer=customer, channel=channel, by=by, evidence=evidence)
        for customer in person
    ]
    return Lifted(
        frozenset().union(*(one.lifted for one in done)), frozenset().union(*(one.standing for one in done))
    )


async def _tell(
    tx: MessageTransaction, changed: Sequence[Suppression], now_micros: int, said: str, intent: Intent
) -> None:
    keys = [(entry.customer, entry.message_id) for entry in changed if entry.message_id]
    answered = await tx.messages(keys)
    events = []
    for entry in changed:
        message = answered.get(entry.message_id)
        event = reply_event(
            customer=entry.customer,
            key=f"{entry.number}/{entry.time_micros}/{intent.value}",
            time_micros=now_micros,
            text=said,
            intent=intent,
            action_id=message.action_id if message is not None else "",
            line=message.line if message is not None else "",
        )
        events.append(event)
    await tx.publish(events)
