"""What of the channel service's database is kept for a time only."""

from collections.abc import Callable
from dataclasses import dataclass
from typing import Any

from services.channel.domain.mail_reports import SOFT_WINDOW
from services.channel.domain.policies import Policies
from services.runtime.access_log import ACCESS_LOG
from services.runtime.database import Transaction
from services.runtime.prune import DEAD_LETTERS, ByPages, Cut, Prunable, Step

_ROWS = 500
_DONE = ("sent", "delivered", "failed", "expired", "refused")
"""Nothing more is done with messages in these states, but for a receipt."""
_OLD = "message.accepted_micros < %(before)s AND message.state = ANY(%(done)s::text[])"
_THESE = "IN (SELECT * FROM unnest(%(customers)s::bigint[], %(ids)s::text[]::uuid[]))"
_NOT_NEWEST = "cursor < (SELECT max(cursor) FROM inbox)"
"""Cursors go on from the newest entry, which therefore stays."""

_WRITTEN_BEFORE = "time_micros < %(before)s"
_SECOND = 1 << 62
"""Above every number of a message."""


class _ByNumber:
    """Messages, walked through in the order of their numbers: that of their times but for a little."""

    name = ""
    by_wall = False

    def kept_at_least(self) -> int:
        """Nothing else needs them."""
        return 0

    async def _page(
        self, transaction: Transaction, cut: Cut, place: int
    ) -> tuple[dict[str, list[Any]], int | None]:
        """Keys of what is older among the next few hundred, and where to go on."""
        page = await transaction.rows(
            f"""
            SELECT number, customer, message_id::text, accepted_micros < %(before)s, {_OLD}
            FROM message WHERE number > %(place)s ORDER BY number LIMIT %(rows)s
            """,  # noqa: S608  our own words
            {"before": cut.business_micros, "done": list(_DONE), "place": place, "rows": _ROWS},
        )
        going = [(customer, message) for _, customer, message, _, goes in page if goes]
        keys = {"customers": [customer for customer, _ in going], "ids": [message for _, message in going]}
        old = any(is_old for _, _, _, is_old, _ in page)
        return keys, page[-1][0] if old and len(page) == _ROWS else None


class Messages(_ByNumber):
    """Messages with their history, and what is left of their texts."""

    name = "messages"

    async def count(self, transaction: Transaction, cut: Cut) -> dict[str, int]:
        """Messages accepted earlier with which nothing more is done."""
        row = await transaction.row(
            f"SELECT count(*) FROM message WHERE {_OLD}",  # noqa: S608  our own words
            {"before": cut.business_micros, "done": list(_DONE)},
        )
        return {"message": int(row[0]) if row else 0}

    async def remove(self, transaction: Transaction, cut: Cut, place: int) -> Step:
        """Of the next few hundred, what is older."""
        keys, following = await self._page(transaction, cut, place)
        rows = await _delete_texts(transaction, keys)
        rows["message"] = await transaction.execute(
            f"DELETE FROM message WHERE (customer, message_id) {_THESE}",  # noqa: S608  our own words
            keys,
        )
        return Step(rows, following)


class MessageTexts(_ByNumber):
    """What was said and to which address, and the inbox entries that show it; messages themselves stay."""

    name = "message_texts"

    def __init__(self) -> None:
        self._seen = 0

    async def count(self, transaction: Transaction, cut: Cut) -> dict[str, int]:
        """Texts and inbox entries of messages accepted earlier."""
        row = await transaction.row(
            f"""
            SELECT count(message_body.message_id), count(inbox.message_id)
            FROM message LEFT JOIN message_body USING (customer, message_id)
                LEFT JOIN inbox ON inbox.message_id = message.message_id AND {_NOT_NEWEST}
            WHERE {_OLD}
            """,  # noqa: S608  our own words
            {"before": cut.business_micros, "done": list(_DONE)},
        )
        texts, entries = row or (0, 0)
        return {"message_body": int(texts), "inbox": int(entries)}

    async def remove(self, transaction: Transaction, cut: Cut, place: int) -> Step:
        """Of the next few hundred, what is older; a process goes on where its last run ended."""
        keys, following = await self._page(transaction, cut, max(place, self._seen))
        rows = await _delete_texts(transaction, keys)
        if following is not None:
            self._seen = following
        return Step(rows, following)


async def _delete_texts(transaction: Transaction, keys: dict[str, list[Any]]) -> dict[str, int]:
    return {
        "message_body": await transaction.execute(
            f"DELETE FROM message_body WHERE (customer, message_id) {_THESE}",  # noqa: S608  our own words
            keys,
        ),
        "inbox": await transaction.execute(
            f"DELETE FROM inbox WHERE message_id = ANY(%(ids)s::text[]::uuid[]) AND {_NOT_NEWEST}",  # noqa: S608  our own words
            keys,
        ),
    }


@dataclass(frozen=True, slots=True)
class Beside:
    """A class of two tables: the second is walked through when the first is done."""

    first: Prunable
    second: Prunable

    @property
    def name(self) -> str:
        """That of the first."""
        return self.first.name

    @property
    def by_wall(self) -> bool:
        """As the first."""
        return self.first.by_wall

    def kept_at_least(self) -> int:
        """The longer of both."""
        return max(self.first.kept_at_least(), self.second.kept_at_least())

    async def count(self, transaction: Transaction, cut: Cut) -> dict[str, int]:
        """Of both."""
        return {**await self.first.count(transaction, cut), **await self.second.count(transaction, cut)}

    async def remove(self, transaction: Transaction, cut: Cut, place: int) -> Step:
        """Of the first, then of the second, whose places are counted from far above."""
        if place < _SECOND:
            step = await self.first.remove(transaction, cut, place)
            return Step(step.rows, _SECOND if step.next is None else step.next)
        step = await self.second.remove(transaction, cut, place - _SECOND)
        return Step(step.rows, None if step.next is None else step.next + _SECOND)


def prunables(policies: Callable[[], Policies]) -> list[Prunable]:
    """All retention classes of this service; slots are kept for as long as any cap looks back."""
    return [
        Beside(Messages(), ByPages("messages", "inbound", _WRITTEN_BEFORE)),
        Beside(MessageTexts(), ByPages("message_texts", "inbound_text", _WRITTEN_BEFORE)),
        ByPages(
            "contacts",
            "contact",
            "time_micros < %(before)s",
            least=lambda: policies().looks_back_micros,
        ),
        Beside(
            ByPages(
                "receipts",
                "receipt",
                # one that has not come yet knows the wall clock's time alone
                "CASE WHEN time_micros > 0 THEN time_micros < %(before)s "
                "ELSE noted_at < to_timestamp(%(before_wall)s::numeric / 1000000) END",
            ),
            ByPages("receipts", "mail_report", "time_micros < %(before)s", least=lambda: SOFT_WINDOW),
        ),
        ACCESS_LOG,
        DEAD_LETTERS,
    ]
