"""A person is erased: what was decided about them goes, and the channel service hears of it."""

from __future__ import annotations

from typing import TYPE_CHECKING, Protocol

import structlog

from services.runtime.totals import add_totals

if TYPE_CHECKING:
    from collections.abc import Mapping

    from services.decision.app.jobs import Erased
    from services.runtime.clock import Clock
    from services.runtime.database import Transaction

_log = structlog.get_logger(__name__)


class Erasing(Protocol):
    """The tables that hold something of persons."""

    async def erase(self, transaction: Transaction, item: Erased) -> dict[str, int]:
        """Erases all ids of the person, and marks them; rows by table. The same again finds none."""
        ...


class HandErasureOn(Protocol):
    """The way to the other services."""

    async def erased(
        self, transaction: Transaction, item: Erased, rows: Mapping[str, int], now_micros: int
    ) -> None:
        """The erasure for the channel service, after all that went before; what was done for the profile."""
        ...


class ErasePersons:
    """What travels comes in order: nothing that was decided before can come after it.

    It goes in each id's partition, and erases all ids each time: an event of one may have written about
    another.
    """

    def __init__(self, erasing: Erasing, hand_over: HandErasureOn, clock: Clock) -> None:
        self._erasing = erasing
        self._clock = clock
        self._hand_over = hand_over

    async def erase(self, transaction: Transaction, item: Erased) -> None:
        """Erases, in the transaction that holds the locks of all ids of the person."""
        rows = await self._erasing.erase(transaction, item)
        await self._hand_over.erased(transaction, item, rows, self._clock.now_micros())
        await add_totals(transaction, {"erasures": 1})
        transaction.after_commit(
            lambda: _log.info("person_erased", erasure=item.erasure_id, rows=sum(rows.values()))
        )
