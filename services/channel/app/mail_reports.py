"""Acts on mails about our mails: each once, acknowledged after its commit."""

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Protocol

from services.channel.app.receipts import settle
from services.channel.app.store import MessageStore, MessageTransaction
from services.channel.app.suppression import opt_out
from services.channel.app.ways_out import ONE_CLICK
from services.channel.domain.contact import SuppressedFor
from services.channel.domain.mail_reports import FAILURES, SOFT_MOST, SOFT_WINDOW, MailReport, ReportKind
from services.channel.domain.messages import Message
from services.runtime.clock import Clock
from services.vocabulary.words import Channel, MessageState


@dataclass(frozen=True, slots=True)
class Letter:
    """A mail as it lies in a mailbox."""

    name: str
    """Which one it is, for the mailbox."""
    content: bytes
    """As much of it as is read."""


class Mailbox(Protocol):
    """Where mails about our mails arrive."""

    async def fetch(self, limit: int) -> Sequence[Letter]:
        """Letters that were not settled, the oldest first. Raises OSError while it is away."""

    async def settle(self, letter: Letter, *, aside: bool) -> None:
        """Takes a letter out; `aside`: into a folder for people. Gone already is settled. Raises OSError."""

    async def close(self) -> None:
        """Says goodbye."""


class ReportReader(Protocol):
    """Reads what was sent to us; never raises for what is in it."""

    def read(self, content: bytes) -> MailReport:
        """A mail."""

    def read_json(self, body: bytes) -> MailReport:
        """What a mail service made of one."""


class ReportLog(Protocol):
    """Which reports were acted on."""

    async def note(self, tx: MessageTransaction, report: MailReport, customer: int, time_micros: int) -> bool:
        """Notes a report; False: it was noted before, so nothing must follow from it."""

    async def soft_failures(self, tx: MessageTransaction, customer: int, after_micros: int) -> int:
        """How many messages to a customer failed softly after that time."""


class NotSentYetError(Exception):
    """The report is about a message whose hand-over is not committed yet: it must come again."""


async def take_report(store: MessageStore, log: ReportLog, clock: Clock, report: MailReport) -> ReportKind:
    """Does what follows from a report and notes it, in one transaction; what it was.

    A failure ends its message and gives its slot back; an address that is none, or failed five messages in 30
    days, and one that complained, goes on the suppression list. A complaint or a way out under our signature
    counts when its message is gone, too.
    """
    found = await store.find(report.message_id) if report.message_id else None
    message = found[0] if found is not None else None
    customer = message.person if message is not None else report.link.customer if report.link else 0
    kind = report.kind if customer or report.kind is ReportKind.AUTOMATIC else ReportKind.UNKNOWN
    async with store.transaction() as tx:
        if not await log.note(tx, report, customer, clock.now_micros()):
            await tx.count({"mail_reports.repeated": 1})
            return ReportKind.REPEATED
        if message is not None and message.channel is Channel.EMAIL:
            await _end_message(tx, clock, message, report)
        elif report.kind in FAILURES | {ReportKind.DELIVERED}:
            kind = ReportKind.UNKNOWN
        if kind is not ReportKind.UNKNOWN:
            await _suppress(tx, log, clock, report, customer)
        await tx.count({f"mail_reports.{kind.value}": 1})
    return kind


async def _end_message(tx: MessageTransaction, clock: Clock, known: Message, report: MailReport) -> None:
    if report.kind in FAILURES:
        state, detail = MessageState.FAILED, f"bounced {report.status or 'without a code'}"
    elif report.kind is ReportKind.DELIVERED:
        state, detail = MessageState.DELIVERED, ""
    else:
        return
    stored = await tx.messages([(known.customer, known.message_id)], lock=True)
    changed = []
    for message in stored.values():
        if message.state is MessageState.SENDING:
            raise NotSentYetError
        if message.receipt(clock.now_micros(), state, detail):
            changed.append(message)
    await settle(tx, changed)


async def _suppress(
    tx: MessageTransaction, log: ReportLog, clock: Clock, report: MailReport, customer: int
) -> None:
    reason, evidence, said = None, "", ""
    match report.kind:
        case ReportKind.HARD:
            reason, evidence = SuppressedFor.BOUNCED, f"bounce {report.status}"
        case ReportKind.SOFT:
            after = clock.now_micros() - SOFT_WINDOW
            if await log.soft_failures(tx, customer, after) >= SOFT_MOST:
                reason, evidence = SuppressedFor.BOUNCED, f"{SOFT_MOST} bounces, the last {report.status}"
        case ReportKind.COMPLAINT:
            reason, evidence = SuppressedFor.COMPLAINED, "complaint"
        case ReportKind.WAY_OUT:
            reason, evidence, said = SuppressedFor.UNSUBSCRIBED, "a mail with the link's token", ONE_CLICK
    if reason is not None:
        await opt_out(
            tx,
            clock,
            customer=customer,
            channel=Channel.EMAIL,
            reason=reason,
            evidence=f"{evidence}; report {report.key}",
            message_id=report.message_id,
            said=said,
        )
