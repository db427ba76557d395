"""A message as a mail: headers that nobody can add to, a stable Message-ID, a way out of commercial mail."""

import re
from dataclasses import dataclass
from email.headerregistry import Address
from email.message import EmailMessage
from email.policy import SMTP
from email.utils import format_datetime, parseaddr

from services.channel.app.ports import Outgoing
from services.vocabulary.values import micros_to_time
from services.vocabulary.words import Category

# Seven bits on the wire, so that no server needs an extension to carry a text.
_POLICY = SMTP.clone(cte_type="7bit")
_CONTROLS = re.compile("[\\x00-\\x1f\\x7f-\\x9f\\u2028\\u2029]+")
# What RFC 5321 calls a dot-string; quoted local parts are not used by real subscribers and are refused.
_LOCAL_PART = re.compile(r"[A-Za-z0-9!#$%&'*+/=?^_`{|}~-]+(?:\.[A-Za-z0-9!#$%&'*+/=?^_`{|}~-]+)*")
_DOMAIN = re.compile(r"(?:[A-Za-z0-9](?:[A-Za-z0-9-]{0,61}[A-Za-z0-9])?\.)+[A-Za-z0-9-]{2,63}")
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
    local, _, domain = recipient.rpartition("@")
    mail = EmailMessage(policy=_POLICY)
    mail["From"] = Address(name, addr_spec=address)
    mail["To"] = Address(username=local, domain=domain)
    mail["Subject"] = single_line(message.subject)
    if now_micros:
        mail["Date"] = format_datetime(micros_to_time(now_micros).replace(microsecond=0))
    mail["Message-ID"] = f"<{single_line(message.message_id)}@{address.rpartition('@')[2]}>"
    mail["Auto-Submitted"] = "auto-generated"
    if unsubscribe_base and message.category in _COMMERCIAL:
        mail["List-Unsubscribe"] = f"<{unsubscribe_base.rstrip('/')}/{single_line(message.message_id)}>"
        if unsubscribe_base.startswith("https://"):
            mail["List-Unsubscribe-Post"] = "List-Unsubscribe=One-Click"
    mail.set_content(message.text)
    if message.html:
        mail.add_alternative(message.html, subtype="html")
    return Mail(address, recipient, mail.as_bytes())


def _sender(wanted: str, default: str) -> tuple[str, str]:
    """Display name and address of the sender: the message's own, or its name with the default address."""
    default_name, default_address = parseaddr(single_line(default))
    if "@" in wanted:
        name, address = parseaddr(single_line(wanted))
        return name, mail_address(address)
    return single_line(wanted) or default_name, mail_address(default_address)
