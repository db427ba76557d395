"""What a person's own link does: once, whoever presses its button and however often."""

from services.channel.app.store import MessageStore
from services.channel.app.suppression import lift, opt_out
from services.channel.domain.contact import SuppressedFor
from services.channel.domain.links import Link, Purpose
from services.channel.domain.suppression import LiftedBy
from services.runtime.clock import Clock

ONE_CLICK = "List-Unsubscribe=One-Click"
"""What a mail program posts to a link (RFC 8058 §3.2), and what our own button does."""


async def follow(store: MessageStore, clock: Clock, link: Link) -> bool:
    """Does what the link is for, for the person whom it was made for.

    Opting out leaves exactly one record however often it is asked for: while it stands nothing is added.
    False: after opting in something else still keeps the channel shut (a complaint, a bounce, staff).
    """
    async with store.transaction() as tx:
        if link.purpose is Purpose.OPT_OUT:
            await opt_out(
                tx,
                clock,
                customer=link.customer,
                channel=link.channel,
                reason=SuppressedFor.UNSUBSCRIBED,
                evidence="the link of a message",
                message_id=link.reference,
                said=ONE_CLICK,
            )
            return True
        lifted = await lift(
            tx,
            clock,
            customer=link.customer,
            channel=link.channel,
            by=LiftedBy.PERSON,
            evidence=f"a link that was asked for: {link.reference}",
            said="the link to opt in",
        )
        return not lifted.standing
