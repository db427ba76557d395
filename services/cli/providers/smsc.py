"""A simulated SMSC: SMPP 3.4 over TCP with binds, message ids, delivery receipts, a record and faults."""

import asyncio
import hmac
import secrets
import ssl
from collections import deque
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import click

from services.cli.providers.concatenation import Assembly, part_of, text_of
from services.cli.providers.faults import FaultFile, SmscFaults
from services.cli.providers.mobile import Mobile, MobileFile
from services.cli.providers.process import ListenAddress, PasswordFile, run_provider
from services.cli.providers.receipts import DELIVERED, Dialect, Receipt, ReceiptQueue, is_wanted
from services.cli.providers.record import RecordFile
from services.cli.providers.smpp_wire import (
    RESPONSE,
    Command,
    Status,
    Submit,
    Tag,
    write_frame,
    write_text,
)
from services.cli.providers.smsc_session import Session
from services.runtime.clock import WallClock

_READ_SECONDS = 0.1


@dataclass(frozen=True, slots=True)
class ServerTls:
    """The certificate that clients see, and the authority that theirs must be from, if any."""

    cert_file: Path
    key_file: Path
    client_ca_file: Path | None = None

    def context(self) -> ssl.SSLContext:
        """For a server."""
        context = ssl.create_default_context(ssl.Purpose.CLIENT_AUTH)
        context.load_cert_chain(self.cert_file, self.key_file)
        if self.client_ca_file is not None:
            context.load_verify_locations(self.client_ca_file)
            context.verify_mode = ssl.CERT_REQUIRED
        return context


@dataclass(frozen=True, slots=True)
class SmscSettings:
    """How the SMSC is run."""

    record: Path
    """One JSON object per submit; beside it `<record>.receipts` with those that were taken."""
    system_id: str
    password: str
    reference_tag: int = 0x1401
    """Vendor parameter in which a client names its message; without it user_message_reference is recorded."""
    receipt_delay_micros: int = 100_000
    tls: ServerTls | None = None
    mobile: Path | None = None
    """File to which is appended what subscribers write (see MobileFile)."""


class Smsc:
    """The message centre: takes short messages from bound clients and sends their receipts back."""

    def __init__(
        self,
        settings: SmscSettings,
        faults: FaultFile[SmscFaults] | None = None,
        now_micros: Callable[[], int] | None = None,
    ) -> None:
        self.settings = settings
        self.faults = faults or FaultFile(SmscFaults())
        self._now_micros = now_micros or WallClock().now_micros
        self._sessions: dict[Session, None] = {}
        self._assembly = Assembly()
        # Ids stay unique over restarts without reading the record: a random start, then a counter.
        self._prefix = secrets.token_hex(4)
        self._count = 0
        self._record: RecordFile | None = None
        self._receipts: ReceiptQueue | None = None
        self._server: asyncio.Server | None = None
        self._timer: asyncio.TimerHandle | None = None
        self._mobiles: deque[Mobile] = deque()
        self._reading: asyncio.TimerHandle | None = None
        self._in_second = (0, 0)
        self.mobiles_taken = 0
        """How many of what subscribers wrote the clients have taken."""

    async def start(self, host: str, port: int) -> tuple[str, int]:
        """Open the record and listen; port 0 takes a free one. Returns what it listens on."""
        self._receipts = ReceiptQueue(self.settings.record, self.settings.receipt_delay_micros)
        self._record = RecordFile(self.settings.record)
        loop = asyncio.get_running_loop()
        self._server = await loop.create_server(
            lambda: Session(self), host, port, ssl=self.settings.tls.context() if self.settings.tls else None
        )
        if self.settings.mobile is not None:
            self._read_mobiles(MobileFile(self.settings.mobile))
        address: tuple[str, int] = self._server.sockets[0].getsockname()[:2]
        return address

    async def stop(self) -> None:
        """Stop listening, cut all links, close the record; receipts not taken wait for the next start."""
        if self._timer is not None:
            self._timer.cancel()
            self._timer = None
        if self._reading is not None:
            self._reading.cancel()
            self._reading = None
        if self._server is not None:
            self._server.close()
        self.cut_links()
        if self._server is not None:
            await self._server.wait_closed()
            self._server = None
        if self._record is not None and self._receipts is not None:
            self._record.close()
            self._receipts.close()
            self._record = self._receipts = None

    def cut_links(self) -> None:
        """Drop every link at once, as a broken network does."""
        for session in list(self._sessions):
            session.abort()

    @property
    def links(self) -> int:
        """How many clients are bound."""
        return sum(session.bound for session in self._sessions)

    def opened(self, session: Session) -> None:
        """A client has connected."""
        self._sessions[session] = None

    def closed(self, session: Session, unconfirmed: Sequence[Receipt | Mobile]) -> None:
        """A client has gone; what it did not confirm goes to the next one."""
        self._sessions.pop(session, None)
        self._mobiles.extendleft(item for item in reversed(unconfirmed) if isinstance(item, Mobile))
        if self._receipts is not None:
            self._receipts.put_back(item for item in unconfirmed if isinstance(item, Receipt))
            self.send_receipts()

    def write(self, mobiles: Sequence[Mobile]) -> None:
        """Subscribers write these; they go to whichever client may receive, now or later."""
        self._mobiles.extend(mobiles)
        self.send_receipts()

    def _read_mobiles(self, file: MobileFile) -> None:
        self.write(list(file.new()))
        self._reading = asyncio.get_running_loop().call_later(_READ_SECONDS, self._read_mobiles, file)

    def is_deaf(self, session: Session) -> bool:
        """Whether this link is to read and answer nothing."""
        faults = self.faults.current()
        return faults.deaf or session in list(self._sessions)[: faults.deaf_links]

    def bind_status(self, system_id: str, password: str) -> Status:
        """Whether these credentials may bind."""
        if self.faults.current().refuse_binds:
            return Status.BIND_FAILED
        if not hmac.compare_digest(system_id.encode(), self.settings.system_id.encode()):
            return Status.INVALID_SYSTEM_ID
        if not hmac.compare_digest(password.encode(), self.settings.password.encode()):
            return Status.INVALID_PASSWORD
        return Status.OK

    def take(self, submits: list[tuple[int, Submit]]) -> tuple[list[bytes], bool]:
        """Take what arrived together; returns the answers, and whether the link is to be cut after them."""
        faults = self.faults.current()
        entries: list[dict[str, Any]] = []
        answers: list[bytes] = []
        receipts: list[Receipt] = []
        cut = False
        for sequence, submit in submits:
            status = self._refusal(faults, submit.destination)
            entry = self._entry(submit, status)
            if not status and faults.swallow > 0:
                faults.swallow -= 1
                answers.append(write_frame(RESPONSE | Command.SUBMIT_SM, sequence, write_text(entry["id"])))
                continue
            entries.append(entry)
            if status:
                answers.append(write_frame(RESPONSE | Command.SUBMIT_SM, sequence, b"", status))
                continue
            stat = faults.stat.get(submit.destination, DELIVERED)
            if is_wanted(submit.registered_delivery, stat):
                entry["stat"] = stat
                receipts.append(
                    Receipt(
                        entry["id"],
                        submit.source,
                        submit.destination,
                        stat,
                        entry["time_micros"],
                        Dialect(faults.dialect),
                    )
                )
            if faults.drop_after is not None:
                faults.drop_after -= 1
                cut = faults.drop_after <= 0
            silent = cut or faults.silent > 0
            entry["answered"] = not silent
            if cut:
                faults.drop_after = None
                break
            if silent:
                faults.silent -= 1
                continue
            answers.append(write_frame(RESPONSE | Command.SUBMIT_SM, sequence, write_text(entry["id"])))
        assert self._record is not None
        assert self._receipts is not None
        self._record.append(entries)
        for receipt in receipts:
            self._receipts.add(receipt)
        self._plan_receipts()
        return answers, cut

    def _entry(self, submit: Submit, status: int) -> dict[str, Any]:
        part = part_of(submit)
        entry: dict[str, Any] = {
            "time_micros": self._now_micros(),
            "id": None,
            "status": status,
            "answered": True,
            "reference": self._reference(submit),
            "source": submit.source,
            "destination": submit.destination,
            "part": part.part,
            "parts": part.parts,
            "text": text_of(part.octets, submit.data_coding),
            "message": None,
            "data_coding": submit.data_coding,
            "registered_delivery": submit.registered_delivery,
            "validity": submit.validity,
        }
        if status == Status.OK:
            self._count += 1
            entry["id"] = f"{self._prefix}{self._count:08x}"
            entry["message"] = self._assembly.take(submit, part)
        return entry

    def _refusal(self, faults: SmscFaults, destination: str) -> int:
        if faults.throttle > 0:
            faults.throttle -= 1
            return Status.THROTTLED
        if faults.per_second:
            second = self._now_micros() // 1_000_000
            self._in_second = (second, self._in_second[1] + 1 if self._in_second[0] == second else 1)
            if self._in_second[1] > faults.per_second:
                return Status.THROTTLED
        return faults.reject.get(destination, Status.OK)

    def _reference(self, submit: Submit) -> str | None:
        own = submit.tlvs.get(self.settings.reference_tag)
        if own is not None:
            return own.rstrip(b"\0").decode("latin-1")
        standard = submit.tlvs.get(Tag.USER_MESSAGE_REFERENCE)
        return None if standard is None else str(int.from_bytes(standard, "big"))

    def _plan_receipts(self) -> None:
        if self._timer is not None or self._receipts is None:
            return
        due = self._receipts.next_micros()
        if due is not None:
            delay = max(0, due - self._now_micros()) / 1_000_000
            self._timer = asyncio.get_running_loop().call_later(delay, self._receipts_due)

    def _receipts_due(self) -> None:
        self._timer = None
        self.send_receipts()

    def send_receipts(self) -> None:
        """Send the receipts that are due to the clients that may receive; plan the next time."""
        if self._receipts is None:
            return
        now = self._now_micros()
        room = False
        for session in self._sessions:
            if session.receives and not self.is_deaf(session):
                most = min(len(self._mobiles), session.room)
                session.deliver([self._mobiles.popleft() for _ in range(most)], now)
                session.deliver(self._receipts.due(now, session.room), now)
                room = room or session.room > 0
        if room:
            self._plan_receipts()

    def refused(self, receipt: Receipt | Mobile, status: int) -> None:
        """A client would not take this now; it is sent again later, unless it was refused for good."""
        if isinstance(receipt, Mobile):
            if status in {Status.QUEUE_FULL, Status.NOT_NOW}:
                asyncio.get_running_loop().call_later(_READ_SECONDS, self.write, [receipt])
        elif self._receipts is not None:
            self._receipts.add_again(receipt, self._now_micros())
            self._plan_receipts()

    def confirmed(self, taken: list[Receipt | Mobile]) -> None:
        """A client has taken these."""
        self.mobiles_taken += sum(isinstance(item, Mobile) for item in taken)
        if self._receipts is not None:
            self._receipts.confirm(item for item in taken if isinstance(item, Receipt))
            self.send_receipts()


@click.command()
@click.option("--listen", type=ListenAddress(), required=True, help="Host and port; port 0 takes a free one.")
@click.option(
    "--record",
    type=click.Path(path_type=Path, dir_okay=False),
    required=True,
    help="File that gets one JSON object per submit (mode 0600).",
)
@click.option("--system-id", required=True, help="System id that clients bind with.")
@click.option(
    "--password-file",
    "password",
    type=PasswordFile(),
    required=True,
    help="File of mode 0600 with the password (at most 8 characters count in SMPP 3.4).",
)
@click.option(
    "--faults",
    type=click.Path(path_type=Path, dir_okay=False),
    help="JSON file with faults; read again whenever it changes.",
)
@click.option(
    "--receipt-delay",
    type=click.FloatRange(min=0),
    default=0.1,
    show_default=True,
    help="Seconds from a submit to its receipt.",
)
@click.option(
    "--tls",
    type=click.Path(path_type=Path, exists=True, dir_okay=False),
    nargs=2,
    help="Certificate and key (PEM): TLS from the first octet.",
)
@click.option(
    "--client-ca",
    type=click.Path(path_type=Path, exists=True, dir_okay=False),
    help="With --tls: the authority that clients' certificates must be from.",
)
@click.option(
    "--mobile",
    type=click.Path(path_type=Path, dir_okay=False),
    help="File to which is appended what subscribers write: JSON lines of source, destination, text.",
)
def main(
    listen: tuple[str, int],
    record: Path,
    system_id: str,
    password: str,
    faults: Path | None,
    receipt_delay: float,
    tls: tuple[Path, Path] | None,
    client_ca: Path | None,
    mobile: Path | None,
) -> None:
    """Run a simulated SMSC until it is told to stop (SIGTERM, SIGINT)."""
    settings = SmscSettings(
        record=record,
        system_id=system_id,
        password=password,
        receipt_delay_micros=round(receipt_delay * 1_000_000),
        tls=ServerTls(*tls, client_ca) if tls else None,
        mobile=mobile,
    )
    run_provider("smsc", lambda: Smsc(settings, FaultFile(SmscFaults(), faults)), listen)


if __name__ == "__main__":
    main()
