"""A stream handler for tests: writes what it is given into `done` and fails where told to."""

import asyncio
from collections.abc import Sequence

from services.runtime.consumer import Delivery, take_messages
from services.runtime.database import Database, Transaction
from services.runtime.dead_letters import DeadLetters


class Recorder:
    """Items of a message are words separated by spaces; the word `poison` fails."""

    def __init__(self, database: Database, dead_letters: DeadLetters | None = None) -> None:
        self._database = database
        self._dead_letters = dead_letters
        self.batches: list[list[str]] = []
        self.deliveries: list[Delivery] = []
        self.gate = asyncio.Event()
        self.gate.set()
        self.begun = asyncio.Event()

    def count(self, payload: bytes) -> int:
        return len(payload.split())

    async def handle(self, deliveries: Sequence[Delivery]) -> None:
        self.deliveries.extend(deliveries)
        self.batches.append([delivery.payload.decode() for delivery in deliveries])
        async with self._database.transaction() as tx:
            new = await take_messages(tx, [delivery.key for delivery in deliveries])
            for delivery in deliveries:
                if delivery.key in new:
                    for word in delivery.payload.decode().split():
                        await self._write(tx, word)
            self.begun.set()
            await self.gate.wait()

    async def _write(self, tx: Transaction, word: str) -> None:
        if word == "poison":
            raise ValueError(word)
        await tx.execute("INSERT INTO done (word) VALUES (%s)", (word,))

    async def handle_singly(self, delivery: Delivery) -> None:
        async with self._database.transaction() as tx:
            if not await take_messages(tx, [delivery.key]):
                return
            for word in delivery.payload.decode().split():
                try:
                    async with tx.savepoint():
                        await self._write(tx, word)
                except ValueError:
                    assert self._dead_letters is not None
                    await self._dead_letters.add(
                        tx,
                        kind="event",
                        item_id=word,
                        item_type="test.word",
                        customer=delivery.partition,
                        payload=word.encode(),
                        reason="the word is poison",
                    )
