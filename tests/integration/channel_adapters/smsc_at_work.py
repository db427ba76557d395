"""A simulated SMSC for tests: it goes down and comes back, and tells what it was given."""

import asyncio
from collections.abc import Callable
from dataclasses import replace
from pathlib import Path
from typing import Any

from services.channel.adapters.smpp_link import LinkLimits
from services.channel.app.ports import Outgoing
from services.cli.providers.record import read_record
from services.cli.providers.smsc import Smsc, SmscSettings
from services.vocabulary.words import Category

REFERENCE_TAG = 0x1401
QUICK = LinkLimits(window=20, answer=0.6, bind=2.0, idle=5.0, enquire=0.4)


def outgoing(number: int, text: str = "Your data is used up", **changes: Any) -> Outgoing:
    message = Outgoing(
        message_id=f"00000000-0000-5000-8000-{number:012d}",
        customer=number,
        address=f"+336{number:08d}",
        text=text,
        subject="",
        html="",
        sender="",
        category=Category.SERVICE,
        name="notice",
        validity_micros=0,
        again=False,
    )
    return replace(message, **changes)


async def until(condition: Callable[[], bool], seconds: float = 10.0) -> None:
    """Wait for a condition; the bound is for a broken program, not for a slow machine."""
    async with asyncio.timeout(seconds):
        while not condition():  # noqa: ASYNC110 - what is waited for sets no event
            await asyncio.sleep(0.005)


class SmscAtWork:
    """An SMSC that can go down and come back on the same port with the same record."""

    def __init__(self, record: Path, receipt_delay_micros: int = 0) -> None:
        self.settings = SmscSettings(
            record=record, system_id="rapport", password="secret12", receipt_delay_micros=receipt_delay_micros
        )
        self.port = 0
        self.now: Smsc | None = None

    async def up(self) -> Smsc:
        smsc = Smsc(self.settings)
        _, self.port = await smsc.start("127.0.0.1", self.port)
        self.now = smsc
        return smsc

    async def down(self) -> None:
        if self.now is not None:
            await self.now.stop()
            self.now = None

    def entries(self) -> list[dict[str, Any]]:
        return list(read_record(self.settings.record))

    def taken(self) -> list[str]:
        """References of the whole messages taken, repeated ones repeatedly."""
        return [entry["reference"] for entry in self.entries() if entry["message"] is not None]
