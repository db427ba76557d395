"""One transaction of the channel service in PostgreSQL: batches in binary arrays, nothing row by row."""

from collections.abc import Callable, Collection, Iterable, Mapping, Sequence
from functools import cache
from typing import Any

from services.channel.adapters.storage import (
    campaigns,
    contacts,
    inbound,
    outcomes,
    rates,
    receipts,
    rows,
    suppression,
)
from services.channel.adapters.storage.measure import measure
from services.channel.adapters.storage.sealed import open_record, record_context, seal_wording
from services.channel.app.ports import Receipt
from services.channel.app.store import MessageKey, QuarantineFilter, Reached
from services.channel.domain.actions import Action
from services.channel.domain.campaigns import CampaignUse
from services.channel.domain.contact import Contact, SuppressedFor
from services.channel.domain.errors import StaleWriteError
from services.channel.domain.gap import Gap
from services.channel.domain.inbound import Written
from services.channel.domain.messages import FINAL, Message
from services.channel.domain.outcomes import OwnEvent
from services.channel.domain.rate import Grant, Wish
from services.channel.domain.suppression import LiftedBy, Suppression, SuppressionFilter
from services.runtime.database import Transaction
from services.runtime.keys import Sealer
from services.runtime.outbox import Outbox
from services.runtime.recovery import open_gap
from services.runtime.streams import OUTCOMES
from services.runtime.totals import add_totals
from services.runtime.tracing import trail
from services.vocabulary.words import Channel

PLANNED_NOTICE = "channel_planned"
"""NOTIFY channel on which senders hear of new work; the payload is empty."""

_FROM = f"SELECT {rows.COLUMNS} FROM message m LEFT JOIN message_body b USING (customer, message_id) "  # noqa: S608
_LOCK = """
    WITH locked AS (
        SELECT customer, erased_micros FROM customer_gate WHERE customer = ANY(%s::bigint[])
        ORDER BY customer FOR UPDATE
    )
    SELECT count(*), array_agg(customer) FILTER (WHERE erased_micros IS NOT NULL) FROM locked
"""
_RESTING = (
    ("state = 'planned'", ""),
    ("state IN ('accepted', 'deferred')", ""),
    ("state = 'sending'", " + %(lease)s"),
)
_KEYS = "(SELECT * FROM unnest(%(customers)s::bigint[], %(ids)s::text[]::uuid[])) "


def _unnest(columns: Mapping[str, tuple[str, Any]]) -> str:
    return ", ".join(
        f"%({name})s::{'text[]::' * (kind == 'uuid')}{kind}[]" for name, (kind, _) in columns.items()
    )


_ADDED = {**rows.FIXED, **rows.CHANGING}
_INSERT = (
    f"INSERT INTO message ({', '.join(_ADDED)}, history) "  # noqa: S608
    f"SELECT * FROM unnest({_unnest(_ADDED)}, %(history)s::bytea[])"
)


@cache
def _update(each: tuple[str, ...], same: tuple[str, ...]) -> str:
    """Writes those columns that changed: what is the same for all messages is said once."""
    kinds = {name: kind for name, (kind, _) in rows.CHANGING.items()} | {"history": "bytea", "before": "int"}
    arrays = "".join(f", %({name})s::{kinds[name]}[]" for name in each)
    columns = "".join(f", {name}" for name in each)
    new = {name: f"c.{name}" for name in each} | {name: f"%({name})s::{kinds[name]}" for name in same}
    before, history = new.pop("before"), new.pop("history")
    sets = ", ".join(
        [f"history = m.history || {history}", *(f"{name} = {value}" for name, value in new.items())]
    )
    return (
        f"UPDATE message AS m SET {sets} "  # noqa: S608 - our own words
        f"FROM unnest(%(customers)s::bigint[], %(ids)s::text[]::uuid[]{arrays}) "
        f"AS c (customer, message_id{columns}) "
        f"WHERE m.customer = c.customer AND m.message_id = c.message_id AND m.changes = {before}"
    )


_QUARANTINED = (
    "m.state = 'quarantined' "
    "AND (cardinality(%(ids)s::text[]) = 0 OR m.message_id = ANY(%(ids)s::text[]::uuid[])) "
    "AND (%(category)s::text = '' OR m.category = %(category)s) "
    "AND (%(name)s::text = '' OR m.name = %(name)s)"
)
_BODY = """
    INSERT INTO message_body
        (customer, message_id, record, sealed, text, subject, html, sender_plain, address)
    SELECT customer, message_id, record, sealed, '', '', '', '', ''
    FROM unnest(%(customers)s::bigint[], %(ids)s::text[]::uuid[], %(records)s::bytea[], %(sealed)s::bytea[])
        AS said (customer, message_id, record, sealed)
    ON CONFLICT (customer, message_id) DO UPDATE SET sealed = excluded.sealed,
        text = '', subject = '', html = '', sender_plain = '', address = ''
"""


class PostgresTransaction:
    """What the use cases do in one transaction; `raw` is the runtime's, for what other parts do in it."""

    def __init__(
        self,
        raw: Transaction,
        outbox: Outbox,
        read_action: Callable[[bytes], Action],
        partitions: int,
        notify: Callable[[str], None],
        sealer: Sealer,
    ) -> None:
        self.sealer = sealer
        self.raw = raw
        self._outbox = outbox
        self._read_action = read_action
        self._partitions = partitions
        self._notify = notify
        self._traces: dict[int, str] = {}

    async def lock_customers(self, customers: Sequence[int]) -> frozenset[int]:
        """Locks the customers' gates in id order; those who were erased."""
        wanted = sorted(set(customers))
        row = await self.raw.row(_LOCK, (wanted,))
        locked, erased = row if row is not None else (0, None)
        if locked != len(wanted):
            raise StaleWriteError(
                f"{len(wanted) - locked} customers were not made known before they were locked"
            )
        return frozenset(erased or ())

    async def messages(self, keys: Sequence[MessageKey], *, lock: bool = False) -> dict[str, Message]:
        """Stored messages by id, whoever's they are: an id comes once."""
        if not keys:
            return {}
        ending = "ORDER BY m.customer, m.message_id FOR UPDATE OF m" if lock else ""
        found = await self.raw.rows(
            f"{_FROM} WHERE m.message_id = ANY(%(ids)s::text[]::uuid[]) {ending}", _keys(keys)
        )
        messages = [rows.read_message(row, self.sealer) for row in found]
        return {message.message_id: message for message in messages}

    async def contacts(self, customers: Sequence[int], after_micros: int) -> dict[int, list[Contact]]:
        """Slots taken after that time."""
        return await contacts.of_customers(self.raw, customers, after_micros)

    async def household_contacts(
        self, households: Sequence[int], after_micros: int
    ) -> dict[int, list[Contact]]:
        """Slots that members of these households took after that time."""
        return await contacts.of_households(self.raw, households, after_micros)

    async def suppressed(
        self, customers: Sequence[int]
    ) -> Mapping[tuple[int, Channel], frozenset[SuppressedFor]]:
        """The suppression list of these customers."""
        return await suppression.read(self.raw, customers)

    async def adopt_suppressions(self, addresses: Sequence[Reached]) -> None:
        """Puts addresses of persons who were erased on the list, for who has them now."""
        await suppression.adopt(self.raw, addresses, self.sealer.lookup)

    async def suppressions(self, wanted: SuppressionFilter, before: int, limit: int) -> list[Suppression]:
        """Entries of the suppression list with numbers below `before` (0: the newest), newest first."""
        return await suppression.listed(self.raw, wanted, before, limit)

    async def suppress(
        self, entries: Sequence[Suppression], by: LiftedBy = LiftedBy.PERSON
    ) -> list[Suppression]:
        """Puts channels on the suppression list."""
        return await suppression.add(self.raw, entries, by=by)

    async def not_written(self, inbound_ids: Sequence[str]) -> set[str]:
        """Of these messages that customers wrote, those that were not taken before."""
        return await inbound.unknown(self.raw, inbound_ids)

    async def keep_written(self, written: Sequence[Written]) -> None:
        """Keeps messages that customers wrote."""
        if await inbound.keep(self.raw, written, self.sealer) != len(written):
            raise StaleWriteError("a message that a customer wrote was taken by another process meanwhile")

    async def sent_to(self, person: Sequence[int], channel: Channel, after_micros: int) -> list[Message]:
        """The last few messages a person got on a channel since then, newest first."""
        return await inbound.sent_to(self.raw, person, channel, after_micros, self.sealer)

    async def answered(self, person: Sequence[int], after_micros: int) -> int:
        """How many automatic answers a person got since then."""
        return await inbound.answered(self.raw, person, after_micros)

    async def replies_to(self, message_id: str) -> list[Written]:
        """What was written in answer to a message."""
        return await inbound.replies_to(self.raw, message_id, self.sealer)

    async def lift(
        self,
        customer: int,
        channel: Channel,
        reasons: Collection[SuppressedFor],
        by: LiftedBy,
        evidence: str = "",
    ) -> list[Suppression]:
        """Takes these reasons off the list."""
        return await suppression.remove(self.raw, customer, channel, reasons, by, evidence)

    async def add(self, messages: Sequence[Message], records: Mapping[str, bytes]) -> None:
        """Stores new messages."""
        if not messages:
            return
        for message in messages:
            message.trace = trail(message.customer % self._partitions)
        self._observe(messages)
        values = rows.columns_of(messages, _ADDED)
        values["history"] = [rows.history_lines(message) for message in messages]
        await self.raw.execute(_INSERT, values)
        kept = {
            message.message_id: records[message.message_id]
            for message in messages
            if message.state not in FINAL and message.message_id in records
        }
        await self._write_bodies(
            [message for message in messages if message.reworded or message.message_id in kept],
            kept,
        )
        self._told_of_work(messages)

    async def save(self, messages: Sequence[Message]) -> None:
        """Stores what changed."""
        if not messages:
            return
        self._observe(messages)
        each, same = rows.changed_columns(messages)
        counted: dict[str, list[Any]] = {
            "history": [rows.history_lines(message) for message in messages],
            "before": [message.changes - len(message.new_changes) for message in messages],
        }
        for name, values in counted.items():
            if values.count(values[0]) == len(values):
                same[name] = values[0]
            else:
                each[name] = values
        keys = _keys([(message.customer, message.message_id) for message in messages])
        written = await self.raw.execute(_update(tuple(each), tuple(same)), {**keys, **each, **same})
        if written != len(messages):
            raise StaleWriteError(f"{len(messages) - written} of {len(messages)} messages changed meanwhile")
        await self._write_bodies([message for message in messages if message.reworded], {})
        self._told_of_work(messages)

    async def take_slots(self, contacts_taken: Sequence[Contact]) -> None:
        """Slots taken."""
        if not contacts_taken:
            return
        await contacts.add(self.raw, contacts_taken)
        await campaigns.spend(
            self.raw, [(one.campaign, one.time_micros, one.cost_micros) for one in contacts_taken]
        )

    async def give_back_slots(self, keys: Sequence[MessageKey]) -> None:
        """Slots free again."""
        if keys:
            freed = await self.raw.rows(
                f"DELETE FROM contact WHERE (customer, message_id) IN {_KEYS}"  # noqa: S608
                "RETURNING campaign, time_micros, cost_micros",
                _keys(keys),
            )
            await campaigns.spend(self.raw, freed, back=True)

    async def let_go(self, now_micros: int, limit: int) -> int:
        """Lets messages that a kill switch held come before the gates at once."""
        return await self.raw.execute(
            "UPDATE message SET due_micros = %(now)s WHERE (customer, message_id) IN ("
            "SELECT customer, message_id FROM message WHERE state = 'deferred' AND reason = 'KILLED' "
            "AND due_micros > %(now)s ORDER BY number LIMIT %(limit)s FOR UPDATE SKIP LOCKED)",
            {"now": now_micros, "limit": limit},
        )

    async def lock_campaigns(self, since: Mapping[str, int | None]) -> dict[str, CampaignUse]:
        """Locks campaigns and reads what they have used."""
        return await campaigns.lock_campaigns(self.raw, since)

    async def campaign_uses(self, since: Mapping[str, int | None]) -> dict[str, CampaignUse]:
        """What campaigns have used, not locked."""
        return await campaigns.read_campaigns(self.raw, since)

    async def claim_planned(self, channel: Channel, wall_micros: int, limit: int) -> list[Message]:
        """Messages planned on the channel and not resting, locked."""
        return await self._claim(
            "m.state = 'planned' AND m.channel = %(channel)s AND m.retry_wall_micros <= %(wall)s "
            "ORDER BY m.turn, m.number",
            {"channel": channel.value, "wall": wall_micros, "limit": limit},
        )

    async def claim_waiting(
        self,
        now_micros: int,
        wall_micros: int,
        limit: int,
        lease_micros: int,
    ) -> list[tuple[Message, Action]]:
        """Messages that wait for the gates and are due, ours until the lease ends."""
        found = await self._claim(
            "m.state IN ('accepted', 'deferred') AND m.due_micros <= %(now)s "
            "AND m.retry_wall_micros <= %(wall)s ORDER BY m.due_micros",
            {"now": now_micros, "wall": wall_micros, "limit": limit},
        )
        if not found:
            return []
        keys = _keys([(message.customer, message.message_id) for message in found])
        actions = await self._actions(found)
        await self.raw.execute(
            f"UPDATE message SET retry_wall_micros = %(until)s WHERE (customer, message_id) IN {_KEYS}",  # noqa: S608
            {**keys, "until": wall_micros + lease_micros},
        )
        return [(one, actions[one.message_id]) for one in found if one.message_id in actions]

    async def _actions(self, messages: Sequence[Message]) -> dict[str, Action]:
        """What is kept of their actions, by message id."""
        records = await self.raw.rows(
            f"SELECT message_id::text, record FROM message_body WHERE (customer, message_id) IN {_KEYS}",  # noqa: S608
            _keys([(message.customer, message.message_id) for message in messages]),
        )
        return {
            message_id: self._read_action(open_record(self.sealer, message_id, bytes(record)))
            for message_id, record in records
            if record
        }

    async def claim_escalating(self, now_micros: int, limit: int) -> list[tuple[Message, Action | None]]:
        """Messages whose next channel has its turn, locked."""
        found = await self._claim(
            "m.escalates_micros BETWEEN 1 AND %(now)s ORDER BY m.escalates_micros",
            {"now": now_micros, "limit": limit},
        )
        actions = await self._actions(found) if found else {}
        return [(message, actions.get(message.message_id)) for message in found]

    async def claim_unconfirmed(self, before_wall_micros: int, limit: int) -> list[Message]:
        """Messages of which no receipt came, locked."""
        keys = await receipts.claim_unconfirmed(self.raw, before_wall_micros, limit)
        return list((await self.messages(keys, lock=True)).values())

    async def end_rests(self, wall_micros: int, longest_micros: int, lease_micros: int) -> int:
        """Ends rests and leases that lie too far ahead."""
        values = {"wall": wall_micros, "longest": longest_micros, "lease": lease_micros}
        ended = 0
        # one after the other: each is found by the short index over such messages
        for state, lease in _RESTING:
            ended += await self.raw.execute(
                f"UPDATE message SET retry_wall_micros = %(wall)s{lease} "  # noqa: S608 - our own words
                f"WHERE {state} AND retry_wall_micros > %(wall)s + %(longest)s",
                values,
            )
        return ended

    async def claim_lost(self, wall_micros: int, limit: int) -> list[Message]:
        """Messages being handed over whose lease has ended, locked."""
        return await self._claim(
            "m.state = 'sending' AND m.retry_wall_micros <= %(wall)s ORDER BY m.retry_wall_micros",
            {"wall": wall_micros, "limit": limit},
        )

    async def claim_expired(self, now_micros: int, limit: int) -> list[Message]:
        """Planned messages whose validity has ended, locked."""
        return await self._claim(
            "m.state = 'planned' AND m.ends_micros BETWEEN 1 AND %(now)s ORDER BY m.ends_micros",
            {"now": now_micros, "limit": limit},
        )

    async def gap(self) -> Gap | None:
        """The gap of the recovery that is under way."""
        gap = await open_gap(self.raw)
        return None if gap is None else Gap(gap.start_micros, gap.end_micros)

    async def claim_quarantined(self, wanted: QuarantineFilter, limit: int) -> list[Message]:
        """Messages in quarantine, locked."""
        return await self._claim(f"{_QUARANTINED} ORDER BY m.number", {**_narrowed(wanted), "limit": limit})

    async def quarantined(self, wanted: QuarantineFilter) -> int:
        """How many are in quarantine."""
        row = await self.raw.row(
            f"SELECT count(*) FROM message m WHERE {_QUARANTINED}",  # noqa: S608 - our own condition
            _narrowed(wanted),
        )
        return 0 if row is None else int(row[0])

    async def handed_over(self, provider: str, provider_ids: Mapping[str, Message]) -> dict[str, Receipt]:
        """Remembers which message a provider id names; an id used again names the newer message."""
        return await receipts.handed_over(self.raw, provider, provider_ids)

    async def received(self, came: Sequence[Receipt]) -> list[tuple[Receipt, Message]]:
        """Remembers receipts, the first per id; those whose message is known come with it, locked."""
        named = await receipts.received(self.raw, came)
        stored = await self.messages(sorted({key for _, key in named}), lock=True)
        return [(receipt, stored[message_id]) for receipt, (_, message_id) in named]

    async def take_rates(self, wishes: Sequence[Wish]) -> dict[str, Grant]:
        """Takes from shared rates."""
        return await rates.take_rates(self.raw, wishes)

    async def publish(self, events: Sequence[OwnEvent]) -> None:
        """Puts events on OUTCOMES."""
        await self._outbox.put(
            self.raw, OUTCOMES, list(outcomes.pack(events, self._partitions)), traces=self._traces or None
        )

    async def count(self, totals: Mapping[str, int]) -> None:
        """Adds to exact counters."""
        await add_totals(self.raw, totals)

    def _observe(self, messages: Sequence[Message]) -> None:
        """Counts their new steps; what is told of them belongs to their traces."""
        measure(self.raw, messages)
        self._traces.update(
            (message.customer % self._partitions, message.trace) for message in messages if message.trace
        )

    async def _claim(self, where: str, values: Mapping[str, Any]) -> list[Message]:
        found = await self.raw.rows(
            f"{_FROM} WHERE {where} LIMIT %(limit)s FOR UPDATE OF m SKIP LOCKED", values
        )
        return [rows.read_message(row, self.sealer) for row in found]

    async def _write_bodies(self, messages: Sequence[Message], records: Mapping[str, bytes]) -> None:
        if not messages:
            return
        await self.raw.execute(
            _BODY,
            {
                **_keys([(message.customer, message.message_id) for message in messages]),
                "records": [
                    self.sealer.seal(record, record_context(message.message_id)) if record else b""
                    for message in messages
                    for record in (records.get(message.message_id, b""),)
                ],
                "sealed": [
                    seal_wording(self.sealer, message.message_id, message.wording) for message in messages
                ],
            },
        )

    def _told_of_work(self, messages: Iterable[Message]) -> None:
        if any(message.is_ready for message in messages):
            self.raw.after_commit(self._tell_senders)

    def _tell_senders(self) -> None:
        self._notify(PLANNED_NOTICE)


def _narrowed(wanted: QuarantineFilter) -> dict[str, Any]:
    return {
        "ids": list(wanted.message_ids),
        "category": "" if wanted.category is None else wanted.category.value,
        "name": wanted.name,
    }


def _keys(keys: Sequence[MessageKey]) -> dict[str, list[Any]]:
    return {
        "customers": [customer for customer, _ in keys],
        "ids": [message_id for _, message_id in keys],
    }
