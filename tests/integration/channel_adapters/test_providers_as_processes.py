"""The simulated providers as processes: ready line, private records, and counts that hold after a kill."""

import asyncio
import json
import signal
import socket
import sys
from collections import Counter
from collections.abc import AsyncIterator, Callable
from contextlib import AsyncExitStack
from pathlib import Path

import pytest

from services.channel.adapters.mail import Letterhead
from services.channel.adapters.smpp import SmppSettings, SmppTransport
from services.channel.adapters.smtp import SmtpSettings, SmtpTransport
from services.channel.adapters.smtp_link import LinkSettings, Relay, Tls
from services.channel.app.ports import HandOver
from services.cli.providers.record import read_record
from tests.integration.channel_adapters.smsc_at_work import QUICK, REFERENCE_TAG, outgoing, until

Start = Callable[..., "asyncio.Future[tuple[asyncio.subprocess.Process, int]]"]


def free_port() -> int:
    with socket.socket() as probe:
        probe.bind(("127.0.0.1", 0))
        port: int = probe.getsockname()[1]
        return port


@pytest.fixture
def password(tmp_path: Path) -> Path:
    path = tmp_path / "password"
    path.touch(mode=0o600)
    path.write_text("secret12\n")
    return path


@pytest.fixture
def open_password(password: Path) -> Path:
    password.chmod(0o644)
    return password


@pytest.fixture
async def start() -> AsyncIterator[Start]:
    async with AsyncExitStack() as stack:

        async def begin(module: str, port: int, *arguments: str) -> tuple[asyncio.subprocess.Process, int]:
            process = await asyncio.create_subprocess_exec(
                *(sys.executable, "-m", f"services.cli.providers.{module}"),
                *("--listen", f"127.0.0.1:{port}", *arguments),
                stdout=asyncio.subprocess.PIPE,
            )

            async def end() -> None:
                if process.returncode is None:
                    process.kill()
                await process.wait()

            stack.push_async_callback(end)
            assert process.stdout is not None
            async with asyncio.timeout(30):
                line = (await process.stdout.readline()).decode()
            assert " ready 127.0.0.1:" in line
            return process, int(line.rpartition(":")[2])

        yield begin  # type: ignore[misc]


async def test_an_smsc_killed_under_load_has_recorded_all_it_acknowledged(
    tmp_path: Path, password: Path, start: Start
) -> None:
    record = tmp_path / "smsc.jsonl"
    arguments = ("--record", str(record), "--system-id", "rapport", "--password-file", str(password))
    # Receipts come late, so that none is taken before the kill.
    process, port = await start("smsc", 0, *arguments, "--receipt-delay", "60")
    settings = SmppSettings(
        "127.0.0.1", port, "rapport", "secret12", reference_tag=REFERENCE_TAG, limits=QUICK, longest_pause=0.1
    )
    transport = SmppTransport(settings)
    try:
        handed = list(await transport.send([outgoing(number) for number in range(50)]))
        sending = asyncio.ensure_future(transport.send([outgoing(number) for number in range(50, 306)]))
        await until(lambda: record.read_bytes().count(b"\n") > 80)
        process.kill()
        await process.wait()
        handed.extend(await sending)
        assert record.stat().st_mode & 0o777 == 0o600
        recorded = {entry["reference"] for entry in read_record(record)}
        by_outcome = {
            outcome: {item.message_id for item in handed if item.outcome is outcome} for outcome in HandOver
        }
        assert by_outcome[HandOver.ACCEPTED] <= recorded
        assert not by_outcome[HandOver.TRANSIENT] & recorded
        assert recorded <= by_outcome[HandOver.ACCEPTED] | by_outcome[HandOver.UNKNOWN]

        await start("smsc", port, *arguments, "--receipt-delay", "0")
        await until(lambda: transport.bound)
        waiting = {item.provider_id for item in handed if item.provider_id}
        async with asyncio.timeout(10):
            async for batch in transport.receipts():
                waiting -= {receipt.provider_id for receipt in batch}
                if not waiting:
                    break
    finally:
        await transport.close()


async def test_an_smsc_stops_when_told_and_follows_its_fault_file(
    tmp_path: Path, password: Path, start: Start
) -> None:
    record, faults = tmp_path / "smsc.jsonl", tmp_path / "faults.json"
    process, port = await start(
        "smsc",
        0,
        *("--record", str(record), "--system-id", "rapport", "--password-file", str(password)),
        *("--faults", str(faults)),
    )
    transport = SmppTransport(SmppSettings("127.0.0.1", port, "rapport", "secret12", limits=QUICK))
    try:
        faults.write_text(json.dumps({"reject": {"33600000001": 11}, "throttle": 0}))
        handed = await transport.send([outgoing(number) for number in range(3)])
        assert Counter(item.outcome for item in handed) == {HandOver.ACCEPTED: 2, HandOver.PERMANENT: 1}
    finally:
        await transport.close()
    process.send_signal(signal.SIGTERM)
    async with asyncio.timeout(10):
        assert await process.wait() == 0


async def test_a_mail_sink_killed_has_recorded_all_it_acknowledged(
    tmp_path: Path, password: Path, start: Start
) -> None:
    record = tmp_path / "mail.jsonl"
    arguments = ("--record", str(record), "--user", "rapport", "--password-file", str(password))
    process, port = await start("smtp_sink", 0, *arguments)
    link = LinkSettings(
        (Relay("127.0.0.1", port),), user="rapport", password="secret12", tls=Tls.NEVER, content=2.0
    )
    transport = SmtpTransport(SmtpSettings(link, Letterhead("hello@operator.example")), lambda: 0)
    try:
        batch = [outgoing(number, address=f"u{number}@example.com") for number in range(200)]
        sending = asyncio.ensure_future(transport.send(batch))
        await until(lambda: record.exists() and record.read_bytes().count(b"\n") > 20)
        process.kill()
        await process.wait()
        handed = await sending
        recorded = Counter(entry["reference"] for entry in read_record(record))
        outcomes = {item.message_id: item.outcome for item in handed}
        assert max(recorded.values()) == 1
        assert {key for key, value in outcomes.items() if value is HandOver.ACCEPTED} <= set(recorded)
        assert all(outcomes[key] in {HandOver.ACCEPTED, HandOver.UNKNOWN} for key in recorded)
        assert record.stat().st_mode & 0o777 == 0o600
    finally:
        await transport.close()


async def test_a_port_that_is_taken_is_told(tmp_path: Path) -> None:
    port = free_port()
    taken = await asyncio.start_server(lambda _reader, writer: writer.close(), "127.0.0.1", port)
    async with taken:
        process = await asyncio.create_subprocess_exec(
            *(sys.executable, "-m", "services.cli.providers.smtp_sink", "--listen", f"127.0.0.1:{port}"),
            *("--record", str(tmp_path / "mail.jsonl")),
            stderr=asyncio.subprocess.PIPE,
        )
        _, errors = await process.communicate()
    assert process.returncode == 1
    assert f"cannot listen on 127.0.0.1:{port}" in errors.decode()
    assert "Traceback" not in errors.decode()


async def test_a_password_that_others_can_read_is_told(tmp_path: Path, open_password: Path) -> None:
    process = await asyncio.create_subprocess_exec(
        *(sys.executable, "-m", "services.cli.providers.smsc", "--listen", "127.0.0.1:0"),
        *("--record", str(tmp_path / "smsc.jsonl"), "--system-id", "rapport"),
        *("--password-file", str(open_password)),
        stderr=asyncio.subprocess.PIPE,
    )
    _, errors = await process.communicate()
    assert process.returncode == 2
    assert "0600" in errors.decode()
