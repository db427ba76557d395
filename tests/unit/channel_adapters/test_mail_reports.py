"""Mails about our mails: what is believed, what is not, and that nothing in them does harm."""

import json
import time
from typing import Any

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from services.channel.adapters.mail_reports import MailReportReader
from services.channel.domain.links import Link, LinkKeys, Purpose
from services.channel.domain.mail_reports import MOST_OCTETS, ReportKind, kind_of_failure
from services.vocabulary.words import Channel

KEYS = LinkKeys([b"k" * 32])
MESSAGE = "2f0c1a52-9a77-5c2e-8a44-0d9f6b8f1e01"
TAG = KEYS.return_tag(MESSAGE)
TO_US = f"bounces+{TAG}@bounce.operator.example"
LINK = Link(Purpose.OPT_OUT, 7, Channel.EMAIL, MESSAGE)
TOKEN = KEYS.token(LINK)
READER = MailReportReader(KEYS)
ORIGINAL = f"""From: hello@operator.example
To: ada@example.com
Subject: An offer
Message-ID: <{MESSAGE}@operator.example>
List-Unsubscribe: <https://l.operator.example/l/{TOKEN}>

Hello
"""


def dsn(
    action: str = "failed",
    status: str = "5.1.1",
    diagnostic: str = "smtp; 550 5.1.1 no such user",
    to: str = TO_US,
    original: str = ORIGINAL,
    kind: str = "message/rfc822",
) -> bytes:
    return f"""Return-Path: <>
From: MAILER-DAEMON@mx.example.com
To: {to}
Auto-Submitted: auto-replied
Subject: Undelivered Mail Returned to Sender
MIME-Version: 1.0
Content-Type: multipart/report; report-type=delivery-status; boundary="b"

--b
Content-Type: text/plain

I'm sorry. 5.7.1 is not what it is about.
--b
Content-Type: message/delivery-status

Reporting-MTA: dns; mx.example.com
Arrival-Date: Tue, 1 Dec 2026 18:00:00 +0000

Final-Recipient: rfc822; ada@example.com
Action: {action}
Status: {status}
Diagnostic-Code: {diagnostic}

--b
Content-Type: {kind}

{original}
--b--
""".encode()


def arf(feedback: str = "abuse", mail_from: str = f"<{TO_US}>", original: str = ORIGINAL) -> bytes:
    return f"""From: feedback@isp.example
To: abuse@operator.example
Subject: FW: An offer
MIME-Version: 1.0
Content-Type: multipart/report; report-type=feedback-report; boundary="b"

--b
Content-Type: text/plain

This is an abuse report.
--b
Content-Type: message/feedback-report

Feedback-Type: {feedback}
User-Agent: SomeGenerator/1.0
Version: 1
Original-Mail-From: {mail_from}

--b
Content-Type: message/rfc822
Content-Disposition: inline

{original}
--b--
""".encode()


@pytest.mark.parametrize(
    ("action", "status", "kind"),
    [
        ("failed", "5.1.1", ReportKind.HARD),
        ("Failed", "5.1.2 (bad host)", ReportKind.HARD),
        ("failed", "5.1.10", ReportKind.HARD),
        ("failed", "5.2.1", ReportKind.HARD),
        ("failed", "5.2.2", ReportKind.SOFT),
        ("failed", "4.4.7", ReportKind.SOFT),
        ("failed", "5.4.4", ReportKind.SOFT),
        ("failed", "5.1.8", ReportKind.SOFT),
        ("failed", "5.7.1", ReportKind.OURS),
        ("failed", "5.6.0", ReportKind.OURS),
        ("delayed", "4.4.1", ReportKind.DELAYED),
        ("delivered", "2.0.0", ReportKind.DELIVERED),
        ("relayed", "2.0.0", ReportKind.DELAYED),
        ("dreamt", "2.0.0", ReportKind.UNKNOWN),
    ],
)
def test_what_a_bounce_says(action: str, status: str, kind: ReportKind) -> None:
    report = READER.read(dsn(action, status))
    assert (report.kind, report.message_id) == (kind, MESSAGE)
    assert report.status == status.split(maxsplit=1)[0]


def test_a_code_without_detail_is_looked_for_in_the_diagnosis() -> None:
    assert READER.read(dsn(status="5.0.0")).status == "5.1.1"
    assert READER.read(dsn(status="5.0.0", diagnostic="smtp; 550 at 192.5.1.1")).kind is ReportKind.SOFT
    assert READER.read(dsn(status="", diagnostic="x")).kind is ReportKind.SOFT


@pytest.mark.parametrize(
    ("to", "original", "kind"),
    [
        (TO_US, "", "message/rfc822"),
        (TO_US.upper(), "", "text/rfc822-headers"),
        ("bounces@operator.example", ORIGINAL, "message/rfc822"),
        ("bounces@operator.example", ORIGINAL.partition("\n\n")[0], "text/rfc822-headers"),
        ("x@operator.example", f"Return-Path: <{TO_US}>\n\nHello", "message/rfc822"),
    ],
)
def test_which_message_it_is_about(to: str, original: str, kind: str) -> None:
    assert READER.read(dsn(to=to, original=original, kind=kind)).message_id == MESSAGE


def test_a_return_path_that_we_did_not_sign_names_nothing() -> None:
    forged = LinkKeys([b"f" * 32]).return_tag(MESSAGE)
    assert READER.read(dsn(to=f"bounces+{forged}@operator.example", original="")).message_id == ""


@pytest.mark.parametrize("feedback", ["abuse", "Abuse", "fraud", "other", "opt-out"])
@pytest.mark.parametrize(
    ("mail_from", "original"),
    [
        (f"<{TO_US}>", ""),
        ("", ORIGINAL),
        ("", f"List-Unsubscribe: <mailto:out@x>,\n <https://l.example/l/{TOKEN}>\n\n"),
        ("", f"Message-ID: <{MESSAGE}@operator.example>\n\nredacted"),
    ],
)
def test_a_complaint(feedback: str, mail_from: str, original: str) -> None:
    report = READER.read(arf(feedback, mail_from, original))
    assert (report.kind, report.message_id) == (ReportKind.COMPLAINT, MESSAGE)
    assert report.link == (LINK if TOKEN in original else None)


def test_feedback_that_is_no_complaint() -> None:
    assert READER.read(arf("not-spam")).kind is ReportKind.AUTOMATIC
    assert READER.read(arf("auth-failure")).kind is ReportKind.OURS


def mail(*headers: str, text: str = "Hello") -> bytes:
    return "\r\n".join([f"To: {TO_US}", *headers, "", text]).encode()


@pytest.mark.parametrize(
    ("headers", "kind"),
    [
        ((f"Subject: {TOKEN}",), ReportKind.WAY_OUT),
        ((f"Subject: Re: {TOKEN} please",), ReportKind.WAY_OUT),
        ((f"Subject: {TOKEN}", "Auto-Submitted: auto-replied"), ReportKind.AUTOMATIC),
        (("Subject: Away", "Auto-Submitted: auto-replied (vacation)"), ReportKind.AUTOMATIC),
        (("Subject: Away", "X-Autoreply: yes"), ReportKind.AUTOMATIC),
        (("Subject: Away", "Precedence: auto_reply"), ReportKind.AUTOMATIC),
        (("Subject: 5.1.1 unknown user",), ReportKind.UNKNOWN),
        ((f"Subject: {LinkKeys([b'f' * 32]).token(LINK)}",), ReportKind.UNKNOWN),
        (("Auto-Submitted: no",), ReportKind.UNKNOWN),
    ],
)
def test_other_mails(headers: tuple[str, ...], kind: ReportKind) -> None:
    report = READER.read(mail(*headers))
    assert report.kind is kind
    assert (report.link == LINK) == (kind is ReportKind.WAY_OUT)


def test_an_opt_in_link_in_a_mail_opts_nobody_out() -> None:
    token = KEYS.token(Link(Purpose.OPT_IN, 7, Channel.EMAIL, MESSAGE))
    assert READER.read(mail(f"Subject: {token}")).kind is ReportKind.UNKNOWN


def test_the_same_mail_has_the_same_key_and_no_other_has() -> None:
    assert READER.read(dsn()).key == READER.read(dsn()).key != READER.read(dsn("delayed")).key


@given(st.binary(max_size=2000))
def test_any_octets_are_read(content: bytes) -> None:
    assert READER.read(content).message_id == ""
    assert READER.read_json(content).kind is ReportKind.UNKNOWN


@given(st.integers(0, 1200), st.integers(0, 255), st.integers(0, 300))
def test_a_damaged_report_is_read(place: int, octet: int, cut: int) -> None:
    content = bytearray(dsn())
    content[place % len(content)] = octet
    report = READER.read(bytes(content[: len(content) - cut]))
    assert report.message_id in {"", MESSAGE}


@given(st.text(max_size=60), st.text(max_size=60), st.text(max_size=60))
@settings(max_examples=40)
def test_fields_of_any_text_are_read(action: str, status: str, charset: str) -> None:
    content = dsn(action, status).replace(b"text/plain", f"text/plain; charset={charset}".encode())
    assert READER.read(content).message_id in {"", MESSAGE}


BOMBS = {
    "nested": b"".join(
        b'Content-Type: multipart/mixed; boundary="%d"\r\n\r\n--%d\r\n' % (n, n) for n in range(5000)
    ),
    "forwarded": b"Content-Type: message/rfc822\r\n\r\n" * 30_000,
    "parts": b'Content-Type: multipart/report; boundary="b"\r\n\r\n' + b"--b\r\n\r\nx\r\n" * 90_000,
    "blocks": dsn().replace(b"Reporting-MTA", b"X: y\n\n" * 100_000 + b"Reporting-MTA"),
    "headers": b"To: a@b\r\n" * 100_000,
    "one line": b"To: " + b"+a@" * 350_000,
    "long tag": f"To: {'+' + 'a' * 48 + '@'}".encode() * 20_000,
    "huge": dsn() + b"x" * (5 * MOST_OCTETS),
}


@pytest.mark.parametrize("name", sorted(BOMBS))
def test_a_bomb_does_not_go_off(name: str) -> None:
    began = time.process_time()
    READER.read(BOMBS[name])
    assert time.process_time() - began < 1.5


def own(**told: Any) -> bytes:
    return json.dumps(told).encode()


def ses(kind: str, **told: Any) -> bytes:
    mail_told = {"source": TO_US, "commonHeaders": {"messageId": f"<{MESSAGE}@operator.example>"}}
    return json.dumps({"notificationType": kind, "mail": mail_told, **told}).encode()


@pytest.mark.parametrize(
    ("body", "kind"),
    [
        (own(kind="bounce", return_path=TO_US, status="5.1.1"), ReportKind.HARD),
        (own(kind="bounce", message_id=MESSAGE, status="5.2.2"), ReportKind.SOFT),
        (own(kind="complaint", return_path=TO_US), ReportKind.COMPLAINT),
        (
            ses("Bounce", bounce={"bounceType": "Permanent", "bouncedRecipients": [{"status": "5.1.1"}]}),
            ReportKind.HARD,
        ),
        (
            ses("Bounce", bounce={"bounceType": "Transient", "bouncedRecipients": [{"status": "5.1.1"}]}),
            ReportKind.SOFT,
        ),
        (
            ses(
                "Bounce",
                bounce={"bounceType": "Permanent", "bounceSubType": "NoEmail", "bouncedRecipients": [{}]},
            ),
            ReportKind.HARD,
        ),
        (ses("Complaint", complaint={}), ReportKind.COMPLAINT),
        (ses("Delivery", delivery={}), ReportKind.DELIVERED),
    ],
)
def test_what_mail_services_post(body: bytes, kind: ReportKind) -> None:
    report = READER.read_json(body)
    assert (report.kind, report.message_id) == (kind, MESSAGE)


@pytest.mark.parametrize(
    "body",
    [
        b"[]",
        b"null",
        own(kind="bounce"),
        own(kind="bounce", return_path=TO_US, status="gone"),
        own(kind="praise", return_path=TO_US),
        ses("Bounce"),
        ses("Bounce", bounce={"bounceType": "Permanent", "bouncedRecipients": []}),
        ses("Open"),
    ],
)
def test_forms_that_say_nothing(body: bytes) -> None:
    assert READER.read_json(body).kind is ReportKind.UNKNOWN


def test_what_a_failure_says_about_the_address() -> None:
    assert kind_of_failure("5.1.1") is ReportKind.HARD
    assert kind_of_failure("4.1.1") is ReportKind.SOFT
    assert kind_of_failure("") is ReportKind.SOFT
    assert kind_of_failure("5.7.26") is ReportKind.OURS
