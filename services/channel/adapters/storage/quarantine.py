"""Recovery in the channel's database: what is held back, and outcomes that are published again."""

from collections.abc import Callable
from typing import Any

import orjson

from services.channel.adapters.storage import rows
from services.channel.app.store import MessageTransaction
from services.channel.domain.gap import DETAIL, HELD_BACK
from services.channel.domain.outcomes import PUBLISHED, own_event
from services.runtime.clock import Clock
from services.runtime.database import Transaction
from services.runtime.recovery import Gap
from services.runtime.recovery_service import Held
from services.runtime.replay import Step, first_number
from services.runtime.totals import add_totals, read_totals
from services.vocabulary.words import MessageState, RefusalReason

SENT_AGAIN = "recovery.sent_again"
"""Total of the mandatory and service messages that may have been sent in the gap, and are sent."""

_LONGEST_MICROS = 3 * 86_400_000_000
"""A message that was taken longer ago has had its last outcome."""
_ROWS = 500
_HOLD = """
    UPDATE message SET state = 'quarantined', reason = %(reason)s, detail = %(detail)s, in_gap = true,
        changes = changes + 1, history = history || %(line)s
    WHERE state = 'planned' AND category = ANY(%(held_back)s::text[])
"""
# What waited for a time after the gap cannot have been said in it.
_MARK = """
    UPDATE message SET in_gap = true
    WHERE state IN ('accepted', 'deferred') AND due_micros <= %(end)s
        AND category = ANY(%(held_back)s::text[])
"""
_REPEAT = """
    UPDATE message SET resent = true
    WHERE state = 'planned' AND NOT resent AND category <> ALL(%(held_back)s::text[])
"""
_HELD = """
    SELECT (SELECT count(*) FROM message WHERE state = 'quarantined'),
        (SELECT count(*) FROM message WHERE state IN ('accepted', 'deferred') AND in_gap)
"""


class ChannelPart:
    """The channel's part in recovery: it holds back what may have been said in the gap.

    Messages that were being handed over at the backup's moment end as after any crash.
    """

    def __init__(self, clock: Clock) -> None:
        self._clock = clock

    async def begin(self, transaction: Transaction, gap: Gap, request_id: str) -> None:
        """Holds back what is ready to be sent, and marks what waits for the gates."""
        del request_id
        line = [
            self._clock.now_micros(),
            MessageState.QUARANTINED.value,
            RefusalReason.QUARANTINED.value,
            DETAIL,
        ]
        values = {
            "reason": RefusalReason.QUARANTINED.value,
            "detail": DETAIL,
            "line": orjson.dumps(line, option=orjson.OPT_APPEND_NEWLINE),
            "held_back": sorted(category.value for category in HELD_BACK),
            "end": gap.end_micros,
        }
        repeated = await transaction.execute(_REPEAT, values)
        held = await transaction.execute(_HOLD, values)
        await transaction.execute(_MARK, values)
        await add_totals(transaction, {SENT_AGAIN: repeated, "recovery.quarantined": held})

    async def held(self, transaction: Transaction) -> Held:
        """What is in quarantine, and what was sent again."""
        row = await transaction.row(_HELD)
        assert row is not None
        return Held(row[0], row[1], (await read_totals(transaction)).get(SENT_AGAIN, 0))


class OutcomesReplay:
    """Publishes outcomes again; the profile knows those that it has by their ids."""

    def __init__(self, within: Callable[[Transaction], MessageTransaction]) -> None:
        self._within = within

    async def step(self, transaction: Transaction, gap: Gap, position: str) -> Step:
        """The outcomes, since the replay's start, of the next messages by number."""
        since = gap.replay_start_micros
        number = int(position or 0) or await first_number(
            transaction, "message", "accepted_micros", since - _LONGEST_MICROS
        )
        found: list[tuple[Any, ...]] = await transaction.rows(
            f"SELECT {rows.COLUMNS}, m.history, m.number FROM message m "  # noqa: S608 - our own columns
            "LEFT JOIN message_body b USING (customer, message_id) "
            "WHERE m.number >= %s ORDER BY m.number LIMIT %s",
            (number, _ROWS),
        )
        events = [
            own_event(message, change)
            for row in found
            for message in [rows.read_message(row)]
            for change in rows.read_history(bytes(row[rows.WIDTH]))
            if change.state in PUBLISHED and change.time_micros >= since
        ]
        await self._within(transaction).publish(events)
        done = len(found) < _ROWS
        return Step("" if done else str(found[-1][-1] + 1), {"outcomes": len(events)})
