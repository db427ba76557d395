"""A message as a mail: headers that nobody can add to, a stable Message-ID, a way out of commercial mail."""

import base64
import re
from dataclasses import dataclass
from email.header import Header
from email.utils import format_datetime, parseaddr

from services.channel.app.ports import Outgoing
from services.vocabulary.values import micros_to_time
from services.vocabulary.words import Category

_CONTROLS = re.compile("[\\x00-\\x1f\\x7f-\\x9f\\u2028\\u2029]+")
# What RFC 5321 calls a dot-string; quoted local parts are not used by real subscribers and are refused.
_LOCAL_PART = re.compile(r"[A-Za-z0-9!#$%&'*+/=?^_`{|}~-]+(?:\.[A-Za-z0-9!#$%&'*+/=?^_`{|}~-]+)*")
_DOMAIN = re.compile(r"(?:[A-Za-z0-9](?:[A-Za-z0-9-]{0,61}[A-Za-z0-9])?\.)+[A-Za-z0-9-]{2,63}")
_MESSAGE_ID = re.compile(r"[0-9A-Za-z-]{1,64}")
_LONGEST_LINE = 998
_COMMERCIAL = frozenset({Category.SALES, Category.RETENTION, Category.SURVEY})


class BadMail(ValueError):  # noqa: N818 - a mistake in the message, not a failure of ours
    """The message can never be mailed; the text says why, without address or text of the message."""


@dataclass(frozen=True, slots=True)
class Mail:
    """An envelope and its content, ready for SMTP."""

    sender: str
    recipient: str
    content: bytes


def mail_address(text: str) -> str:
    """The address as SMTP takes it, its domain in ASCII (IDNA); raises BadMail."""
    local, _, domain = text.rpartition("@")
    try:
        domain = domain.encode("idna").decode("ascii")
    except UnicodeError:
        domain = ""
    if len(text) > 254 or len(local) > 64:
        raise BadMail("the address is longer than RFC 5321 allows")
    if _LOCAL_PART.fullmatch(local) is None or _DOMAIN.fullmatch(domain) is None:
        raise BadMail("the address is not a mail address such as name@example.com")
    return f"{local}@{domain}"


def single_line(text: str) -> str:
    """Text for a header: control characters, line ends among them, become one blank."""
    return " ".join(_CONTROLS.sub(" ", text).split())


def mail_of(message: Outgoing, *, sender: str, unsubscribe_base: str, now_micros: int) -> Mail:
    """The mail of one message to one recipient; raises BadMail.

    `sender`: `Name <address>` or an address, unless the message names one. `unsubscribe_base`: commercial
    mail and surveys carry List-Unsubscribe below it (RFC 2369), and List-Unsubscribe-Post (RFC 8058) when it
    is https; empty: none do. `now_micros` 0: no Date, the server adds one.
    """
    name, address = _sender(message.sender, sender)
    recipient = mail_address(message.address)
    message_id = single_line(message.message_id)
    if _MESSAGE_ID.fullmatch(message_id) is None:
        raise BadMail("the message id holds what a header may not hold; a UUID is right")
    headers = [
        ("From", f"{_phrase(name)} <{address}>" if name else address),
        ("To", recipient),
        ("Subject", _words(single_line(message.subject))),
        ("Message-ID", f"<{message_id}@{address.rpartition('@')[2]}>"),
        ("Auto-Submitted", "auto-generated"),
        ("MIME-Version", "1.0"),
    ]
    if now_micros:
        headers.append(("Date", format_datetime(micros_to_time(now_micros).replace(microsecond=0))))
    if unsubscribe_base and message.category in _COMMERCIAL:
        headers.append(("List-Unsubscribe", f"<{unsubscribe_base.rstrip('/')}/{message_id}>"))
        if unsubscribe_base.startswith("https://"):
            headers.append(("List-Unsubscribe-Post", "List-Unsubscribe=One-Click"))
    if message.html:
        body = _alternatives(message.text, message.html, f"=_{message_id}")
    else:
        body = _part("plain", message.text)
    lines = "".join([f"{header}: {value}\r\n" for header, value in headers])
    return Mail(address, recipient, lines.encode("ascii") + body)


def _part(kind: str, text: str) -> bytes:
    """One text with its headers: as it is when it is ASCII in lines that RFC 5321 allows, else base64."""
    octets = text.replace("\r\n", "\n").encode("utf-8", "replace")
    if text.isascii() and max(map(len, octets.split(b"\n"))) <= _LONGEST_LINE:
        head = f'Content-Type: text/{kind}; charset="us-ascii"\r\nContent-Transfer-Encoding: 7bit\r\n\r\n'
        return head.encode() + octets.replace(b"\n", b"\r\n") + b"\r\n"
    head = f'Content-Type: text/{kind}; charset="utf-8"\r\nContent-Transfer-Encoding: base64\r\n\r\n'
    return head.encode() + base64.encodebytes(octets).replace(b"\n", b"\r\n")


def _alternatives(text: str, html: str, boundary: str) -> bytes:
    """Text and HTML of the same message; the boundary has `=_`, which base64 and words do not (RFC 2045)."""
    line = f"--{boundary}\r\n".encode()
    return b"".join(
        (
            f'Content-Type: multipart/alternative; boundary="{boundary}"\r\n\r\n'.encode(),
            *(line + _part(kind, content) for kind, content in (("plain", text), ("html", html))),
            f"--{boundary}--\r\n".encode(),
        )
    )


def _words(text: str) -> str:
    """Header text in ASCII, in encoded words where it needs them (RFC 2047)."""
    if text.isascii() and "=?" not in text:
        return text
    return Header(text, "utf-8").encode(linesep="\r\n")


def _phrase(name: str) -> str:
    """A display name: quoted, or in encoded words (RFC 5322 §3.2.5)."""
    words = _words(name)
    if words != name:
        return words
    escaped = name.replace("\\", "\\\\").replace('"', '\\"')
    return f'"{escaped}"'


def _sender(wanted: str, default: str) -> tuple[str, str]:
    """Display name and address of the sender: the message's own, or its name with the default address."""
    default_name, default_address = parseaddr(single_line(default))
    if "@" in wanted:
        name, address = parseaddr(single_line(wanted))
        return name, mail_address(address)
    return single_line(wanted) or default_name, mail_address(default_address)
