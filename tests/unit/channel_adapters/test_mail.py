"""A message as a mail: what readers see, and what nobody can slip in."""

import email
import email.policy
from email.message import EmailMessage
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from services.channel.adapters.mail import BadMail, mail_address, mail_of
from services.channel.adapters.smtp import SmtpSettings, SmtpTransport
from services.channel.app.ports import Outgoing
from services.vocabulary.words import Category

SENDER = "Rapport <hello@operator.example>"
HEADERS = {
    "From",
    "To",
    "Subject",
    "Message-ID",
    "Auto-Submitted",
    "MIME-Version",
    "Date",
    "Content-Type",
    "Content-Transfer-Encoding",
}


def message(**changes: Any) -> Outgoing:
    fields: dict[str, Any] = {
        "message_id": "2f0c1a52-9a77-5c2e-8a44-0d9f6b8f1e01",
        "customer": 1,
        "address": "ada@example.com",
        "text": "Hello",
        "subject": "Your data",
        "html": "",
        "sender": "",
        "category": Category.SERVICE,
        "name": "notice",
        "validity_micros": 0,
        "again": False,
    }
    return Outgoing(**(fields | changes))


def read(outgoing: Outgoing, base: str = "") -> EmailMessage:
    mail = mail_of(outgoing, sender=SENDER, unsubscribe_base=base, now_micros=1_796_148_000_000_000)
    assert mail.content.isascii()
    assert mail.content.replace(b"\r\n", b"").count(b"\n") == 0
    parsed = email.message_from_bytes(mail.content, policy=email.policy.default)
    assert isinstance(parsed, EmailMessage)
    assert not parsed.defects
    return parsed


def body(parsed: EmailMessage, kind: str = "plain") -> str:
    part = parsed.get_body((kind,))
    assert part is not None
    assert not part.defects
    return str(part.get_content())


def test_headers() -> None:
    parsed = read(message())
    assert str(parsed["From"]) == "Rapport <hello@operator.example>"
    assert str(parsed["To"]) == "ada@example.com"
    assert parsed["Date"].datetime.isoformat() == "2026-12-01T18:00:00+00:00"
    assert parsed["Message-ID"] == "<2f0c1a52-9a77-5c2e-8a44-0d9f6b8f1e01@operator.example>"
    assert set(parsed.keys()) == HEADERS


@pytest.mark.parametrize(
    ("sender", "shown"),
    [
        ("", ("Rapport", "hello@operator.example")),
        ('Opé, the "best"', ('Opé, the "best"', "hello@operator.example")),
        ("Care <care@operator.example>", ("Care", "care@operator.example")),
        ("care@operator.example", ("", "care@operator.example")),
    ],
)
def test_sender(sender: str, shown: tuple[str, str]) -> None:
    (address,) = read(message(sender=sender))["From"].addresses
    assert (address.display_name, address.addr_spec) == shown


@pytest.mark.parametrize("category", list(Category))
def test_only_commercial_mail_and_surveys_offer_a_way_out(category: Category) -> None:
    offers = category in {Category.SALES, Category.RETENTION, Category.SURVEY}
    parsed = read(message(category=category), "https://operator.example/out")
    assert ("List-Unsubscribe" in parsed) == ("List-Unsubscribe-Post" in parsed) == offers
    assert "List-Unsubscribe" not in read(message(category=category))


def test_one_click_needs_https() -> None:
    parsed = read(message(category=Category.SALES), "http://127.0.0.1:8080/out/")
    assert "http://127.0.0.1:8080/out/2f0c1a52" in str(parsed["List-Unsubscribe"])
    assert "List-Unsubscribe-Post" not in parsed


@given(st.text(max_size=300), st.text(max_size=60), st.text(max_size=400))
def test_nothing_in_a_message_adds_a_header(subject: str, sender: str, text: str) -> None:
    try:
        parsed = read(message(subject=subject, sender=sender, text=text))
    except BadMail:
        assert "@" in sender
        return
    assert set(parsed.keys()) == HEADERS


@given(st.text(alphabet=st.characters(exclude_categories=("Cs", "Cc")), max_size=3000))
def test_texts_arrive_as_they_are(text: str) -> None:
    assert body(read(message(text=text, html=f"<p>{text}</p>"))).rstrip("\n") == text
    assert body(read(message(text=text, html=f"<p>{text}</p>")), "html").rstrip("\n") == f"<p>{text}</p>"


@pytest.mark.parametrize(
    "address",
    [
        "",
        "ada",
        "@example.com",
        "ada@",
        "ada@example",
        "ada@exa mple.com",
        "ada@example.com\r\nBcc: eve@example.com",
        "ada@example.com>",
        "a da@example.com",
        '"ada"@example.com',
        "ada@eve@example.com",
        "é@example.com",
        "x" * 65 + "@example.com",
        "ada@" + "x" * 250 + ".com",
    ],
)
def test_bad_addresses(address: str) -> None:
    with pytest.raises(BadMail) as caught:
        mail_address(address)
    assert "ada" not in str(caught.value)


def test_international_domains_travel_in_ascii() -> None:
    assert mail_address("ada@bücher.example") == "ada@xn--bcher-kva.example"


def test_a_message_id_that_no_header_may_hold() -> None:
    with pytest.raises(BadMail):
        mail_of(message(message_id="x>\r\nA: b"), sender=SENDER, unsubscribe_base="", now_micros=0)


@pytest.mark.parametrize(
    "changes",
    [{"sender": "nobody"}, {"unsubscribe_base": "ftp://x"}, {"unsubscribe_base": "https://x/\r\nA:"}],
)
def test_settings_are_checked_at_start(changes: dict[str, str]) -> None:
    settings = {"host": "127.0.0.1", "port": 25, "sender": SENDER} | changes
    with pytest.raises(ValueError, match=r"address|https"):
        SmtpTransport(SmtpSettings(**settings), lambda: 0)  # type: ignore[arg-type]
