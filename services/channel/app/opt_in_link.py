"""Sends a person a link that lifts the own opt-out of a channel: nobody else can."""

from collections.abc import Callable
from dataclasses import dataclass, replace

from services.channel.app.admit import Admission, Prepared
from services.channel.app.store import MessageTransaction
from services.channel.domain.actions import Action, ChannelChoice
from services.channel.domain.contact import SuppressedFor
from services.channel.domain.inbound import Owner
from services.channel.domain.links import Link, Links, Purpose
from services.channel.domain.messages import Message
from services.runtime.clock import Clock
from services.vocabulary import ids
from services.vocabulary.values import DAY, ValueType
from services.vocabulary.words import ActionKind, Category, Channel

TEMPLATE = "opt-in-link"
GOOD_FOR_MICROS = 7 * DAY
RULE_SET = "suppression"
WAYS = (Channel.SMS, Channel.EMAIL)
"""How a link goes out, in this order where nothing else is said."""


@dataclass(frozen=True, slots=True)
class Offered:
    """A link ready to be sent."""

    owner: Owner
    channel: Channel
    links: dict[int, Prepared]
    """By the id under which the opt-out may stand."""


class OptInLinks:
    """Makes and sends links; `record` gives an action as it would have come over the wire."""

    def __init__(
        self, admission: Admission, links: Links, record: Callable[[Action], bytes], clock: Clock
    ) -> None:
        self._admission = admission
        self._links = links
        self._record = record
        self._clock = clock

    async def prepare(self, owner: Owner, channel: Channel, via: Channel | None, request_id: str) -> Offered:
        """What takes time, before the transaction."""
        actions = [self._action(owner, customer, channel, via, request_id) for customer in owner.person]
        prepared = await self._admission.prepare(actions)
        return Offered(owner, channel, dict(zip(owner.person, prepared, strict=True)))

    async def send(self, tx: MessageTransaction, offered: Offered) -> Message | None:
        """Takes it through the gates; None: the person has not opted out, so there is nothing to open."""
        standing = await tx.suppressed(offered.owner.person)
        for customer, prepared in offered.links.items():
            if SuppressedFor.UNSUBSCRIBED in standing.get((customer, offered.channel), frozenset()):
                (taken,) = await self._admission.take(tx, [prepared])
                return taken.message
        return None

    def _action(
        self, owner: Owner, customer: int, channel: Channel, via: Channel | None, request_id: str
    ) -> Action:
        now_micros = self._clock.now_micros()
        action_id = ids.derived_id(TEMPLATE, request_id, customer)
        link = Link(
            Purpose.OPT_IN, customer, channel, ids.message_id(action_id), now_micros + GOOD_FOR_MICROS
        )
        action = Action(
            action_id=action_id,
            customer=owner.customer,
            kind=ActionKind.MESSAGE,
            name=TEMPLATE,
            category=Category.SERVICE,
            rule_set=RULE_SET,
            rule=TEMPLATE,
            channels=tuple(ChannelChoice(way) for way in ((via,) if via is not None else WAYS)),
            parameters={"link": self._links.address(link)},
            types={"link": ValueType.TEXT},
            decided_micros=now_micros,
            event_micros=now_micros,
            expires_micros=link.until_micros,
        )
        return replace(action, record=self._record(action))
