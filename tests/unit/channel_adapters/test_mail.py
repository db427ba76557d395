"""A message as a mail: what readers see, and what nobody can slip in."""

import email
import email.policy
import json
from email.message import EmailMessage
from pathlib import Path
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from services.channel.adapters.mail import BadMail, Letterhead, mail_address, mail_of
from services.channel.app.ports import Outgoing
from services.channel.domain.links import Link, LinkKeys, Links, Purpose
from services.vocabulary.words import Category, Channel

SENDER = "Rapport <hello@operator.example>"
KEYS = LinkKeys([b"k" * 32])
NOW_MICROS = 1_796_148_000_000_000
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


def letterhead(base: str = "", **more: Any) -> Letterhead:
    return Letterhead(SENDER, links=Links(KEYS, base) if base else None, **more)


def read(outgoing: Outgoing, base: str = "", **more: Any) -> EmailMessage:
    mail = mail_of(outgoing, letterhead(base, **more), NOW_MICROS)
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
    parsed = read(message(category=category), "https://operator.example")
    assert ("List-Unsubscribe" in parsed) == ("List-Unsubscribe-Post" in parsed) == offers
    assert ("Precedence" in parsed) == offers
    assert "List-Unsubscribe" not in read(message(category=category))


def ways_out(parsed: EmailMessage) -> list[str]:
    return [way.strip(" <>") for way in str(parsed["List-Unsubscribe"]).split(",")]


def test_the_link_unsubscribes_the_customer_of_the_message() -> None:
    (way,) = ways_out(read(message(category=Category.SALES, customer=7), "https://operator.example/x/"))
    base, _, token = way.rpartition("/")
    assert base == "https://operator.example/x/l"
    link = Link(Purpose.OPT_OUT, 7, Channel.EMAIL, message().message_id)
    assert KEYS.read_token(token, 0) == link


def test_a_way_out_by_mail_besides() -> None:
    parsed = read(message(category=Category.SALES), "https://o.example", mailto="out@operator.example")
    link, mailto = ways_out(parsed)
    assert mailto == f"mailto:out@operator.example?subject={link.rpartition('/')[2]}"


def test_one_click_needs_https() -> None:
    parsed = read(message(category=Category.SALES), "http://127.0.0.1:8080/out/")
    assert "http://127.0.0.1:8080/out/l/" in str(parsed["List-Unsubscribe"])
    assert "List-Unsubscribe-Post" not in parsed


CASES = Path(__file__).parents[4] / "shared/data/email/rfc8058_cases.json"


@pytest.mark.skipif(not CASES.exists(), reason="shared/data/email is not beside the checkout")
def test_headers_as_in_the_cases_of_rfc_8058() -> None:
    cases = {case["name"]: case for case in json.loads(CASES.read_text())["cases"]}
    campaign = read(message(category=Category.SALES), "https://o.example")
    assert cases["campaign mail"]["expect"] == {"List-Unsubscribe": "present", "Precedence": "Bulk"}
    assert campaign["List-Unsubscribe"]
    assert str(campaign["Precedence"]) == "bulk"
    transactional = read(message(category=Category.SERVICE), "https://o.example")
    for header, expected in cases["transactional mail"]["expect"].items():
        assert transactional[header] == expected
    for base, name in (("https://e.example", "https custom header on outgoing mail"),):
        parsed = read(message(category=Category.SALES), base)
        assert parsed["List-Unsubscribe-Post"] == cases[name]["expect"]["List-Unsubscribe-Post"]


def test_bounces_come_to_an_address_of_the_message() -> None:
    lettered = letterhead(return_path="bounces@bounce.operator.example", return_keys=KEYS)
    mail = mail_of(message(), lettered, NOW_MICROS)
    local, _, domain = mail.sender.partition("@")
    name, _, tag = local.partition("+")
    assert (name, domain) == ("bounces", "bounce.operator.example")
    assert KEYS.read_return_tag(tag) == message().message_id
    assert len(local) <= 64, "RFC 5321 §4.5.3.1.1"
    assert mail_address(mail.sender) == mail.sender
    assert b"bounces" not in mail.content


def test_without_a_return_path_bounces_come_to_the_sender() -> None:
    assert mail_of(message(), letterhead(), NOW_MICROS).sender == "hello@operator.example"


@pytest.mark.parametrize(
    "text",
    [
        "x" * 5000,
        "مرحبا بك في شبكتنا\nالعرض ينتهي غدا",
        "Ünïcödé \U0001f469\u200d\U0001f469\u200d\U0001f467 " * 200,
        ".\n..\n.hidden\n.",
        "From here\n>From there\n\n\n\ttabs",
    ],
)
def test_unusual_texts_arrive_in_lines_that_servers_take(text: str) -> None:
    mail = mail_of(message(text=text, html=f"<p>{text}</p>", subject=text[:60]), letterhead(), NOW_MICROS)
    assert max(map(len, mail.content.split(b"\r\n"))) <= 998
    parsed = email.message_from_bytes(mail.content, policy=email.policy.default)
    assert isinstance(parsed, EmailMessage)
    assert body(parsed).replace("\r\n", "\n").rstrip("\n") == text.rstrip("\n")
    assert parsed.get_content_type() == "multipart/alternative"
    assert [part.get_content_type() for part in parsed.iter_parts()] == ["text/plain", "text/html"]
    assert not list(parsed.iter_attachments())


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
        mail_of(message(message_id="x>\r\nA: b"), letterhead(), 0)


@pytest.mark.parametrize(
    "changes",
    [
        {"sender": "nobody"},
        {"mailto": "nobody"},
        {"return_path": "bounces"},
        {"return_path": "undeliverable-mail@operator.example"},
    ],
)
def test_settings_are_checked_at_start(changes: dict[str, str]) -> None:
    with pytest.raises(ValueError, match=r"address|at most"):
        Letterhead(**({"sender": SENDER} | changes))  # type: ignore[arg-type]
