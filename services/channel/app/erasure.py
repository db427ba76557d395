"""A person is erased: nothing more is said to them, and what was said is forgotten."""

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from typing import Any, Protocol

import structlog

from services.channel.app.store import Customers, MessageTransaction
from services.channel.domain.messages import Message
from services.channel.domain.outcomes import totals
from services.runtime.clock import Clock
from services.vocabulary.words import Channel, MessageState, RefusalReason

_ERASED = "the customer was erased"
_log = structlog.get_logger(__name__)


@dataclass(frozen=True, slots=True)
class Erasure:
    """A person to erase. `customer`: the id in whose partition it came; `people`: all their ids.

    `addresses`: look-ups of what the person was reached by. `key`: the same for a repeat.
    """

    key: str
    erasure_id: str
    customer: int
    people: tuple[int, ...]
    erased_micros: int
    addresses: tuple[tuple[Channel, bytes], ...] = ()


class ErasingRows(Protocol):
    """The tables that hold something of persons; `raw` is the transaction that it happens in."""

    async def open_messages(self, raw: Any, customers: Sequence[int]) -> list[tuple[int, str]]:
        """Keys of messages that are still to be said, in order."""

    async def erase(self, raw: Any, erasure: Erasure) -> dict[str, int]:
        """Deletes or empties all rows of the person and marks the ids; rows by table.

        What suppresses their addresses is kept by look-up.
        """

    async def finished(self, raw: Any, erasure: Erasure, rows: Mapping[str, int], now_micros: int) -> None:
        """Tells the profile service what was done."""


class ErasePersons:
    """What travels comes in order: whatever was decided before has been taken when an erasure comes."""

    def __init__(
        self,
        customers: Customers,
        within: Callable[[Any], MessageTransaction],
        rows: ErasingRows,
        clock: Clock,
    ) -> None:
        self._customers = customers
        self._within = within
        self._rows = rows
        self._clock = clock

    async def prepare(self, erasures: Sequence[Erasure]) -> None:
        """Makes rows to lock, in a transaction of its own."""
        people = {customer for erasure in erasures for customer in erasure.people}
        if people:
            await self._customers.know_customers(sorted(people))

    async def erase(self, raw: Any, erasure: Erasure) -> None:
        """Erases in one transaction; the same again finds nothing more.

        What is being handed over at this moment has gone: its text is forgotten, and it is not tried again.
        """
        tx = self._within(raw)
        now_micros = self._clock.now_micros()
        await tx.lock_customers(erasure.people)
        keys = await self._rows.open_messages(raw, erasure.people)
        stopped = [
            message for message in (await tx.messages(keys, lock=True)).values() if _stop(message, now_micros)
        ]
        await tx.give_back_slots([(message.customer, message.message_id) for message in stopped])
        await tx.save(stopped)
        await tx.count({**totals(stopped), "erasures": 1})
        rows = await self._rows.erase(raw, erasure)
        await self._rows.finished(raw, erasure, rows, now_micros)
        _log.info("person_erased", erasure=erasure.erasure_id, rows=sum(rows.values()), stopped=len(stopped))


def _stop(message: Message, now_micros: int) -> bool:
    """Ends a message that was not handed over; False: there is nothing to end."""
    message.escalates_micros = 0
    if message.state is MessageState.QUARANTINED:
        message.discard(now_micros)
        return True
    if message.waits or message.is_ready:
        message.refuse(now_micros, message.channel, RefusalReason.NO_ADDRESS, _ERASED)
        return True
    return False
