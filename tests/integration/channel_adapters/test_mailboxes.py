"""Mailboxes: what is read, taken out and set aside, in a Maildir folder and over IMAP with TLS."""

import asyncio
import re
import ssl
from collections.abc import AsyncIterator
from contextlib import suppress
from dataclasses import dataclass, field
from pathlib import Path

import pytest

from services.channel.adapters.mailboxes import ImapMailbox, MailboxError, Maildir
from services.channel.domain.mail_reports import MOST_OCTETS
from tests.fakes.trust import trust

PASSWORD = "hush-hush"


async def test_a_maildir_folder(tmp_path: Path) -> None:
    mailbox = Maildir(tmp_path)
    for part in ("new", "cur", "tmp"):
        (tmp_path / part).mkdir()
    (tmp_path / "new/2.b").write_bytes(b"second")
    (tmp_path / "cur/1.a:2,S").write_bytes(b"first" + b"x" * MOST_OCTETS)
    (tmp_path / "tmp/0.c").write_bytes(b"not delivered yet")
    first, second = await mailbox.fetch(10)
    assert (first.name, first.content[:5], len(first.content)) == ("cur/1.a:2,S", b"first", MOST_OCTETS)
    assert [letter.name for letter in await mailbox.fetch(1)] == [first.name]
    await mailbox.settle(first, aside=True)
    for _ in range(2):  # another worker may have done it
        await mailbox.settle(second, aside=False)
    assert await mailbox.fetch(10) == []
    assert [path.name for path in (tmp_path / ".Unknown/cur").iterdir()] == ["1.a:2,S"]
    with pytest.raises(MailboxError, match="not there"):
        await Maildir(tmp_path / "nowhere").fetch(1)


@dataclass
class ImapServer:
    """As much of IMAP4rev1 as one client needs."""

    letters: dict[int, bytes]
    deleted: set[int] = field(default_factory=set)
    copied: list[tuple[int, str]] = field(default_factory=list)
    port: int = 0
    cut_next: bool = False

    async def talk(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        writer.write(b"* OK ready\r\n")
        with suppress(ConnectionError):
            while line := (await reader.readline()).decode().strip():
                tag, _, command = line.partition(" ")
                if self.cut_next:
                    self.cut_next = False
                    break
                writer.write(self.answer(command))
                refused = command.startswith("LOGIN") and PASSWORD not in command
                writer.write(f"{tag} {'NO refused' if refused else 'OK done'}\r\n".encode())
        writer.close()

    def answer(self, command: str) -> bytes:
        kept = [uid for uid in self.letters if uid not in self.deleted]
        if command.startswith("CAPABILITY"):
            return b"* CAPABILITY IMAP4rev1\r\n"
        if command.startswith("SELECT"):
            return f"* {len(kept)} EXISTS\r\n".encode()
        if command.startswith("UID SEARCH"):
            return f"* SEARCH {' '.join(map(str, reversed(kept)))}\r\n".encode()
        if named := re.match(r"UID FETCH ([0-9]+) ", command):
            content = self.letters[int(named[1])][:MOST_OCTETS]
            head = f"* 1 FETCH (UID {named[1]} BODY[]<0> {{{len(content)}}}\r\n"
            return head.encode() + content + b")\r\n"
        if named := re.match(r"UID COPY ([0-9]+) (\w+)", command):
            self.copied.append((int(named[1]), named[2]))
        if named := re.match(r"UID STORE ([0-9]+) \+FLAGS\.SILENT \(\\Deleted\)", command):
            self.deleted.add(int(named[1]))
        return b"* BYE\r\n" if command.startswith("LOGOUT") else b""


@pytest.fixture
async def imap() -> AsyncIterator[ImapServer]:
    files = trust().certificate("imap")
    context = ssl.create_default_context(ssl.Purpose.CLIENT_AUTH)
    context.load_cert_chain(files.chain, files.key)
    at_work = ImapServer({9: b"second", 7: b"first"})
    server = await asyncio.start_server(at_work.talk, "127.0.0.1", 0, ssl=context)
    at_work.port = server.sockets[0].getsockname()[1]
    yield at_work
    server.close()


def mailbox_of(imap: ImapServer, *, password: str = PASSWORD, trusted: bool = True) -> ImapMailbox:
    ca_file = str(trust().folder / "ca.crt") if trusted else ""
    return ImapMailbox("127.0.0.1", imap.port, "reports", password, "INBOX", ca_file=ca_file)


async def test_a_folder_over_imap(imap: ImapServer) -> None:
    mailbox = mailbox_of(imap)
    first, second = await mailbox.fetch(10)
    assert [(letter.name, letter.content) for letter in (first, second)] == [
        ("7", b"first"),
        ("9", b"second"),
    ]
    await mailbox.settle(first, aside=False)
    await mailbox.settle(second, aside=True)
    assert (imap.deleted, imap.copied) == ({7, 9}, [(9, "Unknown")])
    assert await mailbox.fetch(10) == []
    imap.deleted.clear()
    imap.cut_next = True
    with pytest.raises(MailboxError):
        await mailbox.fetch(1)
    assert [letter.name for letter in await mailbox.fetch(1)] == ["7"]  # over a new connection
    await mailbox.close()


@pytest.mark.parametrize("changes", [{"password": "wrong"}, {"trusted": False}])
async def test_who_is_not_let_in_and_whom_we_do_not_know(imap: ImapServer, changes: dict) -> None:
    mailbox = mailbox_of(imap, **changes)
    with pytest.raises(MailboxError) as caught:
        await mailbox.fetch(1)
    assert "wrong" not in str(caught.value)
    await mailbox.close()


@pytest.mark.parametrize(("folder", "ca_file"), [('IN"BOX', ""), ("INBOX", "/nowhere")])
def test_a_mailbox_that_cannot_be_right(folder: str, ca_file: str) -> None:
    with pytest.raises(ValueError, match=r"folder|authorities"):
        ImapMailbox("h", 993, "u", "p", folder, ca_file=ca_file)
