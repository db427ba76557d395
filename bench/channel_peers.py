"""What the channel's figures stand beside: a plain counter in SQL, the bare SMPP library, plain SMTP."""

import asyncio
import random
import select
import subprocess
import sys
import time
from collections.abc import Iterator
from contextlib import contextmanager
from email.message import EmailMessage
from multiprocessing.connection import Connection
from pathlib import Path

import aiosmtplib
import psycopg
import smpp34
import uvloop
from psycopg.types.array import ListBinaryDumper

from bench.channel_worker import BATCH, TEXT

SYSTEM_ID = "bench"
PASSWORD = "bench-pw"
WINDOW = 50
"""Submits under way, as the product's session has."""
CONNECTIONS = 4
"""To the mail server, as the product's transport has."""
_START_SECONDS = 10.0


@contextmanager
def provider(name: str, folder: Path) -> Iterator[int]:
    """The simulated SMSC (`smsc`) or mail server (`smtp_sink`) as a process of its own; its port."""
    folder.mkdir(parents=True, exist_ok=True)
    record = folder / f"{name}.jsonl"
    for old in folder.glob(f"{name}.jsonl*"):
        old.unlink()
    options = ["--listen", "127.0.0.1:0", "--record", str(record)]
    if name == "smsc":
        secret = folder / "smsc-password"
        secret.unlink(missing_ok=True)
        secret.touch(mode=0o600)
        secret.write_text(PASSWORD, encoding="utf-8")
        # receipts come after the run: what is measured ends with the SMSC's answer
        options += ["--system-id", SYSTEM_ID, "--password-file", str(secret), "--receipt-delay", "3600"]
    process = subprocess.Popen(
        [sys.executable, "-m", f"services.cli.providers.{name}", *options],
        stdout=subprocess.PIPE,
        text=True,
    )
    assert process.stdout is not None
    try:
        ready, _, _ = select.select([process.stdout], [], [], _START_SECONDS)
        line = process.stdout.readline() if ready else ""
        if " ready " not in line:
            raise SystemExit(f"{name} did not start: {line!r}")
        yield int(line.strip().rpartition(":")[2])
    finally:
        process.terminate()
        process.wait(_START_SECONDS)
        process.stdout.close()


def count_in_sql(
    url: str, place: int, writers: int, customers: int, seconds: float, pipe: Connection
) -> None:
    """One process of the plain counter; sends how many updates its writers committed.

    Per transaction 500 customers drawn at random, in order: one statement that adds one to the counter of
    each of them that is below its limit, and returns those it did. No windows, no message, no outbox.
    """
    uvloop.run(_count(url, place, writers, customers, seconds, pipe))


async def _count(
    url: str, place: int, writers: int, customers: int, seconds: float, pipe: Connection
) -> None:
    connections = [await psycopg.AsyncConnection.connect(url) for _ in range(writers)]
    for connection in connections:
        connection.adapters.register_dumper(list, ListBinaryDumper)
    pipe.send("ready")
    await asyncio.to_thread(pipe.recv)
    until = time.monotonic() + seconds

    async def write(number: int, connection: psycopg.AsyncConnection) -> int:
        draw = random.Random(f"{place}-{number}")
        counted = 0
        while time.monotonic() < until:
            drawn = sorted(draw.sample(range(1, customers + 1), BATCH))
            async with connection.transaction(), connection.cursor(binary=True) as cursor:
                await cursor.execute(
                    "WITH found AS (SELECT customer FROM counter WHERE customer = ANY(%s::bigint[]) "
                    "ORDER BY customer FOR UPDATE) UPDATE counter SET count = count + 1 FROM found "
                    "WHERE counter.customer = found.customer AND count < 1000 RETURNING counter.customer",
                    (drawn,),
                )
                counted += len(await cursor.fetchall())
        return counted

    counts = await asyncio.gather(*(write(n, connection) for n, connection in enumerate(connections)))
    pipe.send(sum(counts))
    for connection in connections:
        await connection.close()


def submit_bare(port: int, seconds: float) -> float:
    """Submits a second by the library alone, as fast as its window of 50 goes; nothing is kept of them."""
    return uvloop.run(_submit(port, seconds))


async def _submit(port: int, seconds: float) -> float:
    client = smpp34.Client("127.0.0.1", port, SYSTEM_ID, PASSWORD, bind_type="TRX", window_size=WINDOW)
    session = await client.connect()
    began = time.monotonic()
    count = 0

    async def keep_submitting() -> None:
        nonlocal count
        while time.monotonic() - began < seconds:
            count += 1
            await session.submit_sm(
                f"336{count % 100_000_000:08}",
                TEXT.encode(),
                dest_addr_ton=1,
                dest_addr_npi=1,
                registered_delivery=1,
                validity_period="000001000000000R",
                tlvs=[smpp34.Tlv(0x1401, b"00000000-0000-4000-8000-000000000000")],
            )

    await asyncio.gather(*(keep_submitting() for _ in range(WINDOW)))
    took = time.monotonic() - began
    await client.stop()
    return count / took


def mail_plainly(port: int, seconds: float) -> float:
    """Mails a second by aiosmtplib alone over as many connections as the product has."""
    return uvloop.run(_mail(port, seconds))


async def _mail(port: int, seconds: float) -> float:
    began = time.monotonic()

    async def keep_mailing(place: int) -> int:
        count = 0
        async with aiosmtplib.SMTP(hostname="127.0.0.1", port=port) as client:
            while time.monotonic() - began < seconds:
                mail = EmailMessage()
                mail["From"] = "Operator <news@operator.example>"
                mail["To"] = f"c{place}-{count}@bench.example"
                mail["Subject"] = "Your data"
                mail["Message-ID"] = f"<{place}-{count}@operator.example>"
                mail.set_content(TEXT)
                await client.send_message(mail)
                count += 1
        return count

    counts = await asyncio.gather(*(keep_mailing(place) for place in range(CONNECTIONS)))
    return sum(counts) / (time.monotonic() - began)
