"""Compares a provider's report with our messages, batch by batch, and takes over the receipts we miss."""

from collections.abc import AsyncIterator, Sequence
from contextlib import AbstractAsyncContextManager
from dataclasses import dataclass, field, replace
from typing import Protocol
from uuid import UUID

from services.channel.app.ports import Receipt, ReceiptState
from services.channel.app.receipts import take_receipts
from services.channel.app.store import MessageStore
from services.channel.domain.reconciliation import (
    Finding,
    FindingKind,
    HandedOver,
    Named,
    Reported,
    ReportLine,
    agrees,
    can_be_applied,
)
from services.runtime.clock import Clock

RECEIPT_STATES = {
    Reported.DELIVERED: ReceiptState.DELIVERED,
    Reported.FAILED: ReceiptState.FAILED,
    Reported.EXPIRED: ReceiptState.EXPIRED,
}
DETAIL = "from the provider's report"
_PAGE = 2000


class HandOverBook(Protocol):
    """What the database knows of hand-overs to one provider; only read."""

    async def providers(self) -> list[str]:
        """Every provider that anything was ever handed to."""

    async def by_provider_ids(self, provider: str, provider_ids: Sequence[str]) -> dict[str, HandedOver]:
        """Messages by the provider's ids."""

    async def by_message_ids(self, message_ids: Sequence[str]) -> dict[str, HandedOver]:
        """Messages by our ids."""

    async def awaited(self, provider: str, message_ids: Sequence[str]) -> dict[str, str]:
        """The provider's ids of those whose final state we miss, by our ids."""

    async def handed_between(
        self, provider: str, from_micros: int, to_micros: int, after: str, limit: int
    ) -> tuple[list[tuple[str, HandedOver]], int, str]:
        """A page: provider ids and messages handed over in that time, rows looked at, where to go on ("")."""


Books = AbstractAsyncContextManager[HandOverBook]


class OpensBook(Protocol):
    """Opens the book for one transaction."""

    def __call__(self) -> Books:
        """The book; closed when the block ends."""


@dataclass(slots=True)
class Compared:
    """What a batch came to."""

    agreed: int = 0
    findings: list[Finding] = field(default_factory=list)


class Comparison:
    """One report of one provider. Holds one bit per message named, and nothing else that grows."""

    def __init__(
        self, store: MessageStore, books: OpensBook, clock: Clock, provider: str, *, apply: bool
    ) -> None:
        self._store = store
        self._books = books
        self._clock = clock
        self._provider = provider
        self._apply = apply
        self._named = Named()
        self.applied = 0
        """Receipts taken over so far."""

    async def compare(self, lines: Sequence[ReportLine]) -> Compared:
        """Each line by itself; where asked, the final states that we miss are taken over."""
        ids = sorted({line.provider_id for line in lines if line.provider_id})
        references = [_message_id(line.reference) for line in lines]
        async with self._books() as book:
            by_id = await book.by_provider_ids(self._provider, ids) if ids else {}
            named = sorted({reference for reference in references if reference})
            by_reference = await book.by_message_ids(named) if named else {}
        compared = Compared()
        missing: list[int] = []
        for line, reference in zip(lines, references, strict=True):
            known = by_id.get(line.provider_id)
            message = by_reference.get(reference) or known
            if message is None:
                compared.findings.append(
                    Finding(FindingKind.UNKNOWN_HERE, line.line, None, line.state, line.provider_id)
                )
                continue
            self._named.add(message.number)
            same_part = not line.provider_id or (known is not None and known.number == message.number)
            if agrees(message, line.state, same_part=same_part):
                compared.agreed += 1
                continue
            if same_part and can_be_applied(message, line.state):
                missing.append(len(compared.findings))
            compared.findings.append(
                Finding(FindingKind.DIFFERS, line.line, message, line.state, line.provider_id)
            )
        if self._apply and missing:
            await self._take_over(compared.findings, missing)
        return compared

    async def unknown_there(self, from_micros: int, to_micros: int) -> AsyncIterator[tuple[int, Compared]]:
        """Our messages of that time that no line named: how many were looked at so far, and those found."""
        after, looked_at = "", 0
        while True:
            async with self._books() as book:
                page, looked, after = await book.handed_between(
                    self._provider, from_micros, to_micros, after, _PAGE
                )
            looked_at += looked
            found = [
                Finding(FindingKind.UNKNOWN_THERE, 0, message, provider_id=provider_id)
                for provider_id, message in page
                if message.number not in self._named
            ]
            yield looked_at, Compared(findings=found)
            if not after:
                return

    async def _take_over(self, findings: list[Finding], missing: Sequence[int]) -> None:
        nameless = [
            message.message_id
            for place in missing
            if not findings[place].provider_id and (message := findings[place].message) is not None
        ]
        awaited: dict[str, str] = {}
        if nameless:
            async with self._books() as book:
                awaited = await book.awaited(self._provider, nameless)
        receipts: list[Receipt] = []
        for place in missing:
            finding = findings[place]
            assert finding.message is not None, "what differs is known here"
            provider_id = finding.provider_id or awaited.get(finding.message.message_id, "")
            if provider_id:
                state = RECEIPT_STATES[finding.there]
                receipts.append(Receipt(self._provider, provider_id, state, detail=DETAIL))
                findings[place] = replace(finding, provider_id=provider_id, applied=True)
        await take_receipts(self._store, self._clock, receipts)
        self.applied += len(receipts)


def _message_id(reference: str) -> str:
    try:
        return str(UUID(reference))
    except ValueError:
        return ""
