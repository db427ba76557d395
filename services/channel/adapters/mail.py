"""A message as a mail: headers that nobody can add to, a stable Message-ID, a way out of commercial mail."""

import base64
import re
from collections.abc import Callable
from dataclasses import dataclass
from email.header import Header
from email.utils import format_datetime, parseaddr

from services.channel.app.ports import Outgoing
from services.channel.domain.links import Link, LinkKeys, Links, Purpose
from services.vocabulary.values import micros_to_time
from services.vocabulary.words import Category, Channel

_CONTROLS = re.compile("[\\x00-\\x1f\\x7f-\\x9f\\u2028\\u2029]+")
# What RFC 5321 calls a dot-string; quoted local parts are not used by real subscribers and are refused.
_LOCAL_PART = re.compile(r"[A-Za-z0-9!#$%&'*+/=?^_`{|}~-]+(?:\.[A-Za-z0-9!#$%&'*+/=?^_`{|}~-]+)*")
_DOMAIN = re.compile(r"(?:[A-Za-z0-9](?:[A-Za-z0-9-]{0,61}[A-Za-z0-9])?\.)+[A-Za-z0-9-]{2,63}")
_MESSAGE_ID = re.compile(r"[0-9A-Za-z-]{1,64}")
_LONGEST_LINE = 998
_LONGEST_RETURN = 64 - len("+") - 48
_COMMERCIAL = frozenset({Category.SALES, Category.RETENTION, Category.SURVEY})


class BadMail(ValueError):  # noqa: N818 - a mistake in the message, not a failure of ours
    """The message can never be mailed; the text says why, without address or text of the message."""


@dataclass(frozen=True, slots=True)
class Mail:
    """An envelope and its content, ready for SMTP."""

    sender: str
    """Where bounces go (RFC 5321 §4.4): an address that names the message, or the sender's."""
    recipient: str
    content: bytes


@dataclass(frozen=True, slots=True)
class Letterhead:
    """What all our mails have in common."""

    sender: str
    """`Name <address>` or an address, unless the message names one."""
    links: Links | None = None
    """Commercial mail and surveys carry List-Unsubscribe (RFC 2369), and with https List-Unsubscribe-Post too
    (RFC 8058); None: no way out by a link."""
    mailto: str = ""
    """An address of ours that takes a way out by mail as well; needs `links`, whose token is the subject."""
    return_path: str = ""
    """Where bounces go, for example bounces@bounce.operator.example: each mail has an address of its own
    there, `bounces+<tag>@…`; empty: they go to the sender."""
    return_keys: LinkKeys | None = None
    """What the tags of return paths are signed with."""
    sign: Callable[[bytes], bytes] | None = None
    """Puts a signature before a mail."""

    def __post_init__(self) -> None:
        """Raises ValueError for what cannot be right."""
        sender_of("", self.sender)
        if self.mailto:
            mail_address(self.mailto)
        if self.return_path and len(mail_address(self.return_path).rpartition("@")[0]) > _LONGEST_RETURN:
            raise ValueError(f"the return path is too long before its @; at most {_LONGEST_RETURN} are right")


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


def mail_of(message: Outgoing, letterhead: Letterhead, now_micros: int) -> Mail:
    """The mail of one message to one recipient; raises BadMail. `now_micros` 0: without a Date."""
    name, address = sender_of(message.sender, letterhead.sender)
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
    if message.category in _COMMERCIAL:
        headers += _ways_out(message, letterhead)
    if message.html:
        body = _alternatives(message.text, message.html, f"=_{message_id}")
    else:
        body = _part("plain", message.text)
    lines = "".join([f"{header}: {value}\r\n" for header, value in headers])
    content = lines.encode("ascii") + body
    if letterhead.sign is not None:
        content = letterhead.sign(content)
    return Mail(_return_path(message_id, letterhead) or address, recipient, content)


def _ways_out(message: Outgoing, letterhead: Letterhead) -> list[tuple[str, str]]:
    """What commercial mail carries: that it is bulk, and how to have no more of it."""
    found = [("Precedence", "bulk")]
    links = letterhead.links
    if links is None:
        return found
    link = Link(Purpose.OPT_OUT, message.customer, Channel.EMAIL, message.message_id)
    ways = [f"<{links.address(link)}>"]
    if letterhead.mailto:
        ways.append(f"<mailto:{letterhead.mailto}?subject={links.keys.token(link)}>")
    found.append(("List-Unsubscribe", ",\r\n ".join(ways)))
    if links.base.startswith("https://"):
        found.append(("List-Unsubscribe-Post", "List-Unsubscribe=One-Click"))
    return found


def _return_path(message_id: str, letterhead: Letterhead) -> str:
    if not letterhead.return_path or letterhead.return_keys is None:
        return letterhead.return_path
    local, _, domain = mail_address(letterhead.return_path).rpartition("@")
    return f"{local}+{letterhead.return_keys.return_tag(message_id)}@{domain}"


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


def sender_of(wanted: str, default: str) -> tuple[str, str]:
    """Display name and address of the sender: the message's own, or its name with the default address."""
    default_name, default_address = parseaddr(single_line(default))
    if "@" in wanted:
        name, address = parseaddr(single_line(wanted))
        return name, mail_address(address)
    return single_line(wanted) or default_name, mail_address(default_address)
