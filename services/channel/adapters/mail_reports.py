"""Reads mails about our mails: DSNs (RFC 3464), complaints (ARF, RFC 5965), ways out, automatic replies.

They come from anywhere, so nothing in them is believed but what we signed (return paths, links), or an id of
ours that nobody can guess; sizes and numbers of parts are bounded, and whatever cannot be read is unknown.
"""

import email
import email.policy
import hashlib
import re
from collections.abc import Iterator
from email.message import Message as Mail
from typing import Any
from uuid import UUID

import orjson

from services.channel.domain.links import Link, LinkKeys, Purpose
from services.channel.domain.mail_reports import MOST_OCTETS, MailReport, ReportKind, kind_of_failure

_MOST_BOUNDARIES = 20
_MOST_LINES = 10_000
_MOST_PARTS = 30
_MOST_BLOCKS = 10
_TAG = re.compile(r"\+([a-z2-7]{48})@", re.IGNORECASE)
_TOKEN = re.compile(r"(?<![A-Za-z0-9_-])([A-Za-z0-9_-]{68})(?![A-Za-z0-9_-])")
_STATUS = re.compile(r"(?<![0-9.])([245]\.[0-9]{1,3}\.[0-9]{1,3})(?![0-9.])")
_MESSAGE_ID = re.compile(r"<([0-9a-f-]{36})@", re.IGNORECASE)
_DELIVERED_TO = ("Delivered-To", "X-Original-To", "Envelope-To", "X-Envelope-To", "X-Delivered-To", "To")
_ACTIONS = {
    "delayed": ReportKind.DELAYED,
    "delivered": ReportKind.DELIVERED,
    "relayed": ReportKind.DELAYED,
    "expanded": ReportKind.DELAYED,
}
_NO_COMPLAINTS = {"not-spam": ReportKind.AUTOMATIC, "auth-failure": ReportKind.OURS}
"""Feedback types that are none (RFC 5965 §7.3, RFC 6591)."""


class MailReportReader:
    """Reads mails and JSON forms; never raises for what is in them."""

    def __init__(self, keys: LinkKeys) -> None:
        self._keys = keys

    def read(self, content: bytes) -> MailReport:
        """What a mail says; takes a few milliseconds, so it does not belong on the loop."""
        content = content[:MOST_OCTETS]
        key = _key(content)
        if content.lower().count(b"boundary=") > _MOST_BOUNDARIES or content.count(b"\n") > _MOST_LINES:
            return MailReport(key, ReportKind.UNKNOWN)
        try:
            return self._read(key, email.message_from_bytes(content, policy=email.policy.compat32))
        except Exception:  # noqa: BLE001 - the library has its own ways with broken mails
            return MailReport(key, ReportKind.UNKNOWN)

    def read_json(self, body: bytes) -> MailReport:
        """What a mail service posts: our own form, or the notification of Amazon SES; see docs/email.md."""
        key = _key(body)
        try:
            told = orjson.loads(body)
            if isinstance(told, dict) and "notificationType" in told:
                return self._read_ses(key, told)
            return self._read_own(key, told)
        except (orjson.JSONDecodeError, KeyError, TypeError, ValueError, AttributeError, IndexError):
            return MailReport(key, ReportKind.UNKNOWN)

    def _read_own(self, key: str, told: dict[str, Any]) -> MailReport:
        message_id = self._tagged(str(told.get("return_path", ""))) or _uuid(str(told.get("message_id", "")))
        match told["kind"]:
            case "bounce":
                status = _status(str(told["status"]))
                kind = kind_of_failure(status) if status else ReportKind.UNKNOWN
                return MailReport(key, kind, message_id, status)
            case "complaint":
                return MailReport(key, ReportKind.COMPLAINT, message_id)
        return MailReport(key, ReportKind.UNKNOWN)

    def _read_ses(self, key: str, told: dict[str, Any]) -> MailReport:
        mail = told["mail"]
        message_id = self._tagged(str(mail.get("source", ""))) or _message_id(
            str(mail.get("commonHeaders", {}).get("messageId", ""))
        )
        match told["notificationType"]:
            case "Bounce":
                bounce = told["bounce"]
                status = _status(str(bounce["bouncedRecipients"][0].get("status", "")))
                permanent = bounce["bounceType"] == "Permanent"
                if permanent and bounce.get("bounceSubType") in {"NoEmail", "General"} and not status:
                    status = "5.1.1"
                kind = kind_of_failure(status) if permanent else ReportKind.SOFT
                return MailReport(key, kind, message_id, status)
            case "Complaint":
                return MailReport(key, ReportKind.COMPLAINT, message_id)
            case "Delivery":
                return MailReport(key, ReportKind.DELIVERED, message_id)
        return MailReport(key, ReportKind.UNKNOWN)

    def _read(self, key: str, mail: Mail) -> MailReport:
        parts = list(_parts(mail))
        for part in parts:
            match part.get_content_type():
                case "message/delivery-status":
                    return self._bounce(key, mail, part, parts)
                case "message/feedback-report":
                    return self._complaint(key, mail, part, parts)
        if _is_automatic(mail):
            return MailReport(key, ReportKind.AUTOMATIC)
        link = self._link(_text(mail, "Subject"))
        if link is not None and link.purpose is Purpose.OPT_OUT:
            return MailReport(key, ReportKind.WAY_OUT, link.reference, link=link)
        return MailReport(key, ReportKind.UNKNOWN, self._named_by(mail, []))

    def _bounce(self, key: str, mail: Mail, report: Mail, parts: list[Mail]) -> MailReport:
        message_id = self._named_by(mail, parts)
        blocks = report.get_payload()
        for block in blocks[:_MOST_BLOCKS] if isinstance(blocks, list) else []:
            if not isinstance(block, Mail):
                continue
            action = _text(block, "Action").strip().lower()
            if not action:
                continue
            status = _status(_text(block, "Status"))
            if action == "failed" and (not status or status.endswith(".0.0")):
                status = _status(_text(block, "Diagnostic-Code")) or status
            if action == "failed":
                return MailReport(key, kind_of_failure(status), message_id, status)
            return MailReport(key, _ACTIONS.get(action, ReportKind.UNKNOWN), message_id, status)
        return MailReport(key, ReportKind.UNKNOWN, message_id)

    def _complaint(self, key: str, mail: Mail, report: Mail, parts: list[Mail]) -> MailReport:
        fields = _fields(report)
        told = self._tagged(_text(fields, "Original-Mail-From"))
        link = next(filter(None, (self._link(_text(o, "List-Unsubscribe")) for o in _originals(parts))), None)
        message_id = told or (link.reference if link is not None else "") or self._named_by(mail, parts)
        feedback = _text(fields, "Feedback-Type").strip().lower()
        kind = _NO_COMPLAINTS.get(feedback, ReportKind.COMPLAINT) if feedback else ReportKind.UNKNOWN
        return MailReport(key, kind, message_id, link=link)

    def _named_by(self, mail: Mail, parts: list[Mail]) -> str:
        """The message that a mail is about: by the address that it came to, else by what it returns."""
        for header in _DELIVERED_TO:
            for value in mail.get_all(header, [])[:5]:
                found = self._tagged(str(value))
                if found:
                    return found
        for original in _originals(parts):
            found = self._tagged(_text(original, "Return-Path")) or _message_id(_text(original, "Message-ID"))
            if found:
                return found
        return ""

    def _tagged(self, text: str) -> str:
        for tag in _TAG.findall(text[:2_000]):
            message_id = self._keys.read_return_tag(tag)
            if message_id is not None:
                return message_id
        return ""

    def _link(self, text: str) -> Link | None:
        for token in _TOKEN.findall(text[:2_000])[:3]:
            link = self._keys.read_token(token, 0)
            if link is not None:
                return link
        return None


def _key(content: bytes) -> str:
    return hashlib.sha256(content).hexdigest()[:32]


def _parts(mail: Mail) -> Iterator[Mail]:
    for number, part in enumerate(mail.walk()):
        if number >= _MOST_PARTS:
            return
        yield part


def _originals(parts: list[Mail]) -> Iterator[Mail]:
    """The mail that came back: whole (message/rfc822), or its headers (text/rfc822-headers, RFC 6522)."""
    for part in parts:
        kind = part.get_content_type()
        payload = part.get_payload()
        if kind == "message/rfc822" and isinstance(payload, list) and isinstance(payload[0], Mail):
            yield payload[0]
        elif kind in {"text/rfc822-headers", "message/rfc822-headers"}:
            yield _fields(part)


def _fields(part: Mail) -> Mail:
    """What a part says in header fields."""
    payload = part.get_payload()
    if isinstance(payload, list):
        return payload[0] if payload and isinstance(payload[0], Mail) else Mail()
    octets = part.get_payload(decode=True)
    text = octets if isinstance(octets, bytes) else b""
    return email.message_from_bytes(text.lstrip()[:65_536], policy=email.policy.compat32)


def _text(mail: Mail, header: str) -> str:
    """A header as text, whatever it is made of."""
    return str(mail.get(header, ""))[:4_000]


def _status(text: str) -> str:
    found = _STATUS.search(text)
    return found[1] if found else ""


def _message_id(text: str) -> str:
    found = _MESSAGE_ID.search(text if text.startswith("<") else f"<{text}")
    return _uuid(found[1]) if found else ""


def _uuid(text: str) -> str:
    try:
        return str(UUID(text))
    except ValueError:
        return ""


def _is_automatic(mail: Mail) -> bool:
    """RFC 3834 §5, and what was written before it."""
    if _text(mail, "Auto-Submitted").strip().lower() not in {"", "no"}:
        return True
    if any(name in mail for name in ("X-Autoreply", "X-Autorespond", "X-Auto-Response-Suppress")):
        return True
    return _text(mail, "Precedence").strip().lower() in {"auto_reply", "bulk", "junk", "list"}
