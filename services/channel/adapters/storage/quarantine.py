"""Recovery in the channel's database: what is held back, and outcomes that are published again."""

from collections.abc import Callable
from typing import Any

import orjson

from services.channel.adapters.storage import rows
from services.channel.adapters.storage.sealed import open_written
from services.channel.app.store import MessageTransaction
from services.channel.domain.gap import DETAIL, HELD_BACK
from services.channel.domain.outcomes import PUBLISHED, own_event
from services.channel.domain.replies import Intent, reply_event
from services.runtime.clock import Clock
from services.runtime.database import Transaction
from services.runtime.keys import Sealer
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
_WRITTEN = "w"
"""Begins positions among what customers wrote."""
_REPLIES = """
    SELECT i.number, i.inbound_id::text, i.customer, i.time_micros, t.recipient, t.text, t.sealed,
        i.intent, i.action_id, coalesce(m.line, '')
    FROM inbound i JOIN inbound_text t USING (inbound_id)
        LEFT JOIN message m ON m.message_id = nullif(i.message_id, '')::uuid
    WHERE i.number >= %s AND i.customer <> 0 AND i.time_micros >= %s ORDER BY i.number LIMIT %s
"""
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

    def __init__(self, within: Callable[[Transaction], MessageTransaction], sealer: Sealer) -> None:
        self._within = within
        self._sealer = sealer

    async def step(self, transaction: Transaction, gap: Gap, position: str) -> Step:
        """The outcomes, since the replay's start, of the next messages by number; then what was written."""
        since = gap.replay_start_micros
        if position.startswith(_WRITTEN):
            return await self._written(transaction, since, int(position.removeprefix(_WRITTEN)))
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
            for message in [rows.read_message(row, self._sealer)]
            for change in rows.read_history(bytes(row[rows.WIDTH]))
            if change.state in PUBLISHED and change.time_micros >= since
        ]
        await self._within(transaction).publish(events)
        done = len(found) < _ROWS
        return Step(f"{_WRITTEN}0" if done else str(found[-1][-1] + 1), {"outcomes": len(events)})

    async def _written(self, transaction: Transaction, since: int, number: int) -> Step:
        """What customers wrote since then, from that number on; what has no text any more is long known."""
        number = number or await first_number(transaction, "inbound", "time_micros", since)
        found = await transaction.rows(_REPLIES, (number, since, _ROWS))
        events = [
            reply_event(
                customer=customer,
                key=inbound_id,
                time_micros=time_micros,
                text=open_written(self._sealer, inbound_id, columns)[1],
                intent=Intent(intent),
                action_id=action_id,
                line=line,
            )
            for _, inbound_id, customer, time_micros, *columns, intent, action_id, line in found
        ]
        await self._within(transaction).publish(events)
        following = f"{_WRITTEN}{found[-1][0] + 1}" if len(found) == _ROWS else ""
        return Step(following, {"replies": len(events)})
