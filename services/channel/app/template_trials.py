"""Tests of texts: sent to staff through the real provider, at its pace, without touching any customer."""

import asyncio
import re
from collections.abc import Sequence
from contextlib import AbstractAsyncContextManager
from dataclasses import dataclass
from typing import Protocol

import structlog

from services.channel.app.ports import Handed, HandOver, Outgoing, Rendered, Transport
from services.channel.domain.errors import RecipientRefusedError
from services.channel.domain.rate import Grant, Pace, Wish
from services.vocabulary.words import Category, Channel

TRIED = (Channel.SMS, Channel.EMAIL)
"""Channels on which a test can be sent to an address."""
MARK = "[TEST] "
BATCH = 8
ANSWER_SECONDS = 20.0
_NOT_NUMBER = re.compile(r"[\s().-]")
_log = structlog.get_logger(__name__)


@dataclass(frozen=True, slots=True)
class Trial:
    """One test on its way."""

    test_id: str
    channel: Channel
    address: str
    text: str
    subject: str
    html: str
    sender: str


@dataclass(frozen=True, slots=True)
class TrialState:
    """Where a test stands: waiting, sending, sent or failed."""

    state: str
    detail: str = ""


class TrialsTransaction(Protocol):
    """What is needed of one transaction."""

    async def claim(self, channel: Channel, limit: int) -> Sequence[Trial]:
        """Those that wait, marked as being sent; those that died while being sent or waited too long fail."""

    async def settle(self, outcomes: Sequence[tuple[str, TrialState]]) -> None:
        """Keeps what came of them; the address of one that waits no longer is forgotten."""

    async def take_rates(self, wishes: Sequence[Wish]) -> dict[str, Grant]:
        """Takes from shared rates."""


class TrialStore(Protocol):
    """The service's database."""

    def transaction(self) -> AbstractAsyncContextManager[TrialsTransaction]:
        """One transaction."""

    async def waiting(self, channel: Channel) -> bool:
        """Whether any test waits or is being sent on the channel."""


class Recipients:
    """The addresses and numbers of staff that the operator listed."""

    def __init__(self, listed: Sequence[str]) -> None:
        self._listed = tuple(_same(address) for address in listed)

    def place(self, address: str, channel: Channel) -> int:
        """Its place in the list, from 1; raises RecipientRefusedError, which never names the address."""
        same = _same(address)
        fits = "@" in same if channel is Channel.EMAIL else same.startswith("+")
        if not fits:
            right = "name@example.com" if channel is Channel.EMAIL else "a number that begins with +"
            raise RecipientRefusedError(f"it is no address for {channel.value}; write {right}")
        if same not in self._listed:
            raise RecipientRefusedError(
                "tests go only to addresses that RAPPORT_TEST_RECIPIENTS lists; "
                f"it lists {len(self._listed)}, and this is none of them"
            )
        return self._listed.index(same) + 1


def marked(test_id: str, channel: Channel, address: str, said: Rendered) -> Trial:
    """The test of a text, marked as one where its reader looks first."""
    mail = channel is Channel.EMAIL
    return Trial(
        test_id=test_id,
        channel=channel,
        address=_same(address),
        text=said.text if mail else MARK + said.text,
        subject=MARK + said.subject if mail else "",
        html=said.html,
        sender=said.sender,
    )


class TrialSender:
    """Hands tests over, one turn at a time; it takes from the same pace as all other messages."""

    def __init__(self, store: TrialStore, transport: Transport, pace: Pace | None) -> None:
        self._store = store
        self._transport = transport
        self._pace = pace

    @property
    def channel(self) -> Channel:
        """The channel it serves."""
        return self._transport.channel

    async def turn(self) -> int:
        """Hands over what waits and there is room for; how many."""
        if not await self._store.waiting(self.channel):
            return 0
        async with self._store.transaction() as tx:
            room = BATCH
            if self._pace is not None:
                wish = Wish(self._pace, min(BATCH, self._pace.burst))
                room = (await tx.take_rates([wish]))[self._pace.name].granted
            tests = await tx.claim(self.channel, room)
            if self._pace is not None and len(tests) < room:
                await tx.take_rates([Wish(self._pace, len(tests) - room)])
        if not tests:
            return 0
        answers = {handed.message_id: handed for handed in await self._send(tests)}
        async with self._store.transaction() as tx:
            await tx.settle([(test.test_id, _state(answers.get(test.test_id))) for test in tests])
        return len(tests)

    async def _send(self, tests: Sequence[Trial]) -> Sequence[Handed]:
        try:
            async with asyncio.timeout(ANSWER_SECONDS):
                return await self._transport.send([_outgoing(test) for test in tests])
        except TimeoutError:
            return ()
        except Exception as error:  # noqa: BLE001 - nobody knows how much of the batch has gone
            _log.error("transport_failed", channel=self.channel.value, error=type(error).__name__)
            return ()


def _outgoing(test: Trial) -> Outgoing:
    return Outgoing(
        message_id=test.test_id,
        customer=0,
        address=test.address,
        text=test.text,
        subject=test.subject,
        html=test.html,
        sender=test.sender,
        category=Category.SERVICE,  # no way out by a link: there is nobody to take it
        name="template-test",
        validity_micros=0,
        again=False,
    )


def _state(handed: Handed | None) -> TrialState:
    if handed is None:
        return TrialState("failed", "the provider did not answer; it may have been sent")
    match handed.outcome:
        case HandOver.ACCEPTED:
            return TrialState("sent")
        case HandOver.TRANSIENT:
            return TrialState("waiting", handed.detail)
        case HandOver.PERMANENT:
            return TrialState("failed", handed.detail)
        case HandOver.UNKNOWN:
            return TrialState("failed", handed.detail or "nobody knows whether it was sent")


def _same(address: str) -> str:
    """An address as it is compared: mail in lower case, numbers without what only parts digits."""
    address = address.strip()
    return address.lower() if "@" in address else _NOT_NUMBER.sub("", address)
