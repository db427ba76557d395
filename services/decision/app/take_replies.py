"""What customers write in answer to an offer: a yes accepts it, a no declines it, once."""

from __future__ import annotations

from collections import Counter
from dataclasses import replace
from typing import TYPE_CHECKING

import structlog

from services.decision.app.jobs import Replied
from services.decision.app.outcomes import Closed, Told
from services.decision.domain.answers import REPLY_REASON, Answer, NotRecorded

if TYPE_CHECKING:
    from collections.abc import Sequence

    from services.decision.app.jobs import Item
    from services.decision.app.outcome_ports import Looking
    from services.decision.app.outcomes import CloseLoop
    from services.decision.app.ports import Recorded
    from services.runtime.database import Transaction
    from services.vocabulary.catalogue import Catalogue

_log = structlog.get_logger(__name__)
_WHO = "reply"
"""In place of an agent: the customer wrote."""


class TakeReplies:
    """Records them as RecordOutcome would; nothing follows from what is no answer to an offer that was said.

    Which message was answered, the channel service tells; here only an offer with words that accept it can be
    accepted by writing.
    """

    def __init__(self, decisions: Looking, catalogue: Catalogue, close_loop: CloseLoop) -> None:
        self._decisions = decisions
        self._catalogue = catalogue
        self._close_loop = close_loop

    async def looked_up(self, items: Sequence[Item]) -> list[Item]:
        """The same items, replies with the decision of what they answer."""
        return [
            replace(item, recorded=await self._decisions.find(item.action_id))
            if isinstance(item, Replied)
            else item
            for item in items
        ]

    async def take(self, transaction: Transaction, item: Replied) -> Counter[str]:
        """Records one, under the lock of the customer it was decided for; totals to add."""
        closed = await self._closed(transaction, item)
        if closed.refusal is None:
            return Counter({"replies.recorded": 1})
        _log.info("reply_not_recorded", action=item.action_id, reason=closed.refusal.value)
        return Counter({f"replies.{closed.refusal.value}": 1})

    async def _closed(self, transaction: Transaction, item: Replied) -> Closed:
        if item.yes and self._has_no_words(item.recorded, item.action_id):
            return Closed(NotRecorded.NOT_BY_REPLY, "the offer has no words that accept it")
        answer = Answer.ACCEPTED if item.yes else Answer.DECLINED
        told = Told(item.action_id, answer, REPLY_REASON, _WHO, item.said_micros, seen=True)
        return await self._close_loop.record(transaction, item.recorded, told)

    def _has_no_words(self, recorded: Recorded | None, action_id: str) -> bool:
        for action in () if recorded is None else recorded.actions:
            if action.candidate.action_id == action_id:
                offer = self._catalogue.offers.get(action.candidate.name)
                return offer is not None and not offer.accept
        return False
