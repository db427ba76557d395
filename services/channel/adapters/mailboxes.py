"""Mailboxes that bounces and complaints arrive in: a Maildir folder, or IMAP over TLS."""

import asyncio
import contextlib
import imaplib
import os
import re
import ssl
from collections.abc import Callable, Sequence
from pathlib import Path
from typing import Any, Final, TypeVar

from services.channel.app.mail_reports import Letter
from services.channel.domain.mail_reports import MOST_OCTETS

ASIDE: Final = "Unknown"
"""Folder beside the mailbox for what people must look at."""
_SECONDS = 20.0
_UID = re.compile(rb"\bUID ([0-9]+)")
_FOLDER = re.compile(r"[A-Za-z0-9 ._/-]+")
Result = TypeVar("Result")


class MailboxError(OSError):
    """The mailbox does not answer, or not as it should; the message tells no address and no text."""


class Maildir:
    """A Maildir folder: letters in `new` and `cur` are read, and removed once they are settled.

    What is set aside moves to `.Unknown/cur`. Several processes may read the same folder.
    """

    def __init__(self, folder: Path) -> None:
        self._folder = folder

    async def fetch(self, limit: int) -> Sequence[Letter]:
        """The oldest letters."""
        return await asyncio.to_thread(self._fetch, limit)

    def _fetch(self, limit: int) -> list[Letter]:
        if not self._folder.is_dir():
            raise MailboxError("the Maildir folder is not there")
        found = []
        for part in ("new", "cur"):
            with contextlib.suppress(FileNotFoundError), os.scandir(self._folder / part) as entries:
                found += [(entry.name, part) for entry in entries if entry.is_file(follow_symlinks=False)]
        letters = []
        for name, part in sorted(found)[:limit]:
            with contextlib.suppress(FileNotFoundError), (self._folder / part / name).open("rb") as file:
                letters.append(Letter(f"{part}/{name}", file.read(MOST_OCTETS)))
        return letters

    async def settle(self, letter: Letter, *, aside: bool) -> None:
        """Removes a letter, or sets it aside."""
        await asyncio.to_thread(self._settle, letter, aside=aside)

    def _settle(self, letter: Letter, *, aside: bool) -> None:
        place = self._folder / letter.name
        with contextlib.suppress(FileNotFoundError):
            if not aside:
                place.unlink()
                return
            folder = self._folder / f".{ASIDE}"
            for part in ("tmp", "new", "cur"):
                (folder / part).mkdir(parents=True, exist_ok=True, mode=0o700)
            place.rename(folder / "cur" / f"{place.name.partition(':')[0]}:2,S")

    async def close(self) -> None:
        """Nothing is open."""


class ImapMailbox:
    """A folder of an IMAP server (RFC 9051), over TLS from the first octet.

    Settled letters are deleted, what is set aside goes to the folder `Unknown`. The connection is kept for as
    long as it works.
    """

    def __init__(
        self, host: str, port: int, user: str, password: str, folder: str, *, ca_file: str = ""
    ) -> None:
        """Raises ValueError for authorities that cannot be read, and a folder's name that is none."""
        if not _FOLDER.fullmatch(folder):
            raise ValueError("the mailbox's folder has a name of other than letters, digits, blanks and ._/-")
        try:
            self._context = ssl.create_default_context(cafile=ca_file or None)
        except (OSError, ssl.SSLError):
            raise ValueError("the file with the mailbox's authorities cannot be read") from None
        self._host, self._port = host, port
        self._user, self._password = user, password
        self._folder = folder
        self._imap: imaplib.IMAP4_SSL | None = None
        self._turn = asyncio.Lock()

    async def fetch(self, limit: int) -> Sequence[Letter]:
        """The oldest letters, each cut off at its bound."""
        return await self._do(lambda imap: _fetch(imap, limit))

    async def settle(self, letter: Letter, *, aside: bool) -> None:
        """Deletes a letter, after a copy where it is set aside."""
        await self._do(lambda imap: _settle(imap, letter.name, aside=aside))

    async def close(self) -> None:
        """Logs out."""
        imap, self._imap = self._imap, None
        if imap is not None:
            await asyncio.to_thread(_log_out, imap)

    async def _do(self, work: Callable[[imaplib.IMAP4_SSL], Result]) -> Result:
        async with self._turn:
            return await asyncio.to_thread(self._work, work)

    def _work(self, work: Callable[[imaplib.IMAP4_SSL], Result]) -> Result:
        try:
            imap = self._imap or self._log_in()
            self._imap = imap
            return work(imap)
        except (imaplib.IMAP4.error, OSError, ValueError) as error:
            imap_then, self._imap = self._imap, None
            if imap_then is not None:
                _log_out(imap_then)
            if isinstance(error, MailboxError):
                raise
            raise MailboxError(
                f"the mailbox does not answer as it should: {type(error).__qualname__}"
            ) from None

    def _log_in(self) -> imaplib.IMAP4_SSL:
        imap = imaplib.IMAP4_SSL(self._host, self._port, ssl_context=self._context, timeout=_SECONDS)
        try:
            imap.login(self._user, self._password)
            _good(imap.select(f'"{self._folder}"'))
        except BaseException:  # whatever ends it, the mailbox is not left open
            _log_out(imap)
            raise
        return imap


def _fetch(imap: imaplib.IMAP4_SSL, limit: int) -> list[Letter]:
    imap.noop()
    (listed,) = _good(imap.uid("SEARCH", "UNDELETED"))
    uids = sorted(map(int, (listed or b"").split()))[:limit]
    letters = []
    for uid in uids:
        for part in _good(imap.uid("FETCH", str(uid), f"(UID BODY.PEEK[]<0.{MOST_OCTETS}>)")):
            if isinstance(part, tuple):
                found = _UID.search(part[0])
                if found is None or int(found[1]) == uid:
                    letters.append(Letter(str(uid), part[1]))
    return letters


def _settle(imap: imaplib.IMAP4_SSL, uid: str, *, aside: bool) -> None:
    if aside:
        imap.create(ASIDE)  # it may be there
        _good(imap.uid("COPY", uid, ASIDE))
    _good(imap.uid("STORE", uid, "+FLAGS.SILENT", r"(\Deleted)"))
    imap.expunge()


def _good(answer: tuple[str, list[Any]]) -> list[Any]:
    kind, found = answer
    if kind != "OK":
        raise MailboxError("the mailbox refused a command")
    return found


def _log_out(imap: imaplib.IMAP4_SSL) -> None:
    with contextlib.suppress(imaplib.IMAP4.error, OSError):
        imap.logout()
    with contextlib.suppress(OSError):
        imap.shutdown()  # a goodbye that nobody hears leaves the socket open
