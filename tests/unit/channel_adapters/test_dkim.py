"""Signatures of mails, checked by dkimpy with the records of a made-up DNS."""

import base64
from functools import cache
from types import SimpleNamespace

import dkim
import pytest
from cryptography.exceptions import InvalidSignature
from cryptography.hazmat.primitives import serialization
from cryptography.hazmat.primitives.asymmetric import dsa, ed25519, rsa

from services.channel.adapters.dkim_signer import DkimSigner
from services.channel.adapters.mail import Letterhead, mail_of
from services.channel.app.ports import Outgoing
from services.channel.domain.links import LinkKeys, Links
from services.vocabulary.words import Category

SIGNED_MICROS = 1_700_000_000_000_000


@cache
def key(kind: str):
    match kind:
        case "rsa":
            return rsa.generate_private_key(65537, 2048)
        case "short":
            return rsa.generate_private_key(65537, 1024)
        case "dsa":
            return dsa.generate_private_key(1024)
    return ed25519.Ed25519PrivateKey.generate()


def pem(kind: str) -> str:
    return (
        key(kind)
        .private_bytes(
            serialization.Encoding.PEM, serialization.PrivateFormat.PKCS8, serialization.NoEncryption()
        )
        .decode()
    )


def signer(kind: str = "rsa", **changes: str) -> DkimSigner:
    settings = {"domain": "operator.example", "selector": "mail2026", "key": pem(kind)} | changes
    return DkimSigner(**settings, wall_micros=lambda: SIGNED_MICROS)  # type: ignore[arg-type]


def records(name: bytes, **_: float) -> bytes:
    """What the operator publishes."""
    assert name == b"mail2026._domainkey.operator.example."
    octets = (
        key("rsa")
        .public_key()
        .public_bytes(serialization.Encoding.DER, serialization.PublicFormat.SubjectPublicKeyInfo)
    )
    return b"v=DKIM1; k=rsa; p=" + base64.b64encode(octets)


def mail(kind: str = "rsa", category: Category = Category.SALES, text: str = "Hello") -> bytes:
    outgoing = Outgoing(
        message_id="2f0c1a52-9a77-5c2e-8a44-0d9f6b8f1e01",
        customer=1,
        address="ada@example.com",
        text=text,
        subject="Vos données, une offre à découvrir sans attendre jusqu'à la fin du mois",
        html=f"<p>{text}</p>",
        sender="",
        category=category,
        name="notice",
        validity_micros=0,
        again=False,
    )
    letterhead = Letterhead(
        "Opérateur <hello@operator.example>",
        links=Links(LinkKeys([b"k" * 32]), "https://o.example"),
        mailto="out@operator.example",
        sign=signer(kind).signed,
    )
    return mail_of(outgoing, letterhead, SIGNED_MICROS).content


def is_right(content: bytes) -> bool:
    return bool(dkim.verify(content, dnsfunc=records))


@pytest.mark.parametrize("text", ["Hello", "Chloé 😜\n.\n" * 400, " spaces  \n\n\n and\ttabs \n\n\n", ""])
@pytest.mark.parametrize("category", [Category.SALES, Category.SERVICE])
def test_dkimpy_finds_it_right(text: str, category: Category) -> None:
    content = mail(text=text, category=category)
    assert content.startswith(b"DKIM-Signature: v=1;")
    assert max(map(len, content.split(b"\r\n\r\n", 1)[0].split(b"\r\n"))) <= 998
    assert is_right(content)


@pytest.mark.parametrize(
    ("before", "after"),
    [
        (b"To: ada@", b"To: eve@"),
        (b"Date: ", b"Date: Mon, 01 Jan 2024 00:00:00 +0000 "),
        (b"Message-ID: <2", b"Message-ID: <3"),
        (b"List-Unsubscribe: <https://o.example/l/", b"List-Unsubscribe: <https://e.example/l/"),
        (b"List-Unsubscribe-Post: List", b"List-Unsubscribe-Post: Lisp"),
        (b"\r\n\r\n", b"\r\n\r\nmore"),
        (b"From: ", b"From: eve@example.com\r\nFrom: "),
        (b"To: ", b"To: eve@example.com\r\nTo: "),
        (b"Subject: ", b"Subject: Win\r\nSubject: "),
        (b"Date: ", b"Date: Mon, 01 Jan 2024 00:00:00 +0000\r\nDate: "),
        (b"MIME-Version", b"Reply-To: eve@example.com\r\nMIME-Version"),
        (b"MIME-Version", b"List-Unsubscribe: <https://e.example/>\r\nMIME-Version"),
        (b"MIME-Version", b"List-Unsubscribe-Post: List-Unsubscribe=One-Click\r\nMIME-Version"),
        (b"MIME-Version", b"Cc: eve@example.com\r\nMIME-Version"),
    ],
)
def test_what_is_changed_or_added_on_the_way_is_found_out(before: bytes, after: bytes) -> None:
    content = mail()
    assert before in content
    assert not is_right(content.replace(before, after, 1))


def test_what_a_relay_may_do_leaves_it_right() -> None:
    content = mail()
    folded = content.replace(b"Subject: ", b"Subject:  \r\n  ", 1).replace(b"From: ", b"from:   ", 1)
    assert is_right(b"Received: by relay.example; now\r\n" + folded + b"\r\n\r\n")


def test_way_out_headers_cannot_be_put_into_a_mail_that_has_none() -> None:
    """Oversigned even where they are not (RFC 8058 §4: one click only where the signature covers it)."""
    content = mail(category=Category.SERVICE)
    assert is_right(content)
    added = b"List-Unsubscribe: <https://e.example/>\r\nMIME-Version"
    assert not is_right(content.replace(b"MIME-Version", added, 1))


class _Verify:
    """dkimpy's Ed25519 wants a library that is not here; this is the same arithmetic by another one."""

    def __init__(self, text: bytes, encoder: object) -> None:
        del encoder
        self._key = ed25519.Ed25519PublicKey.from_public_bytes(base64.b64decode(text))

    def verify(self, digest: bytes, signature: bytes) -> None:
        try:
            self._key.verify(signature, digest)
        except InvalidSignature:
            raise _BadSignatureError from None


class _BadSignatureError(Exception):
    pass


def test_ed25519(monkeypatch: pytest.MonkeyPatch) -> None:
    nacl = SimpleNamespace(
        signing=SimpleNamespace(VerifyKey=_Verify),
        encoding=SimpleNamespace(Base64Encoder=None),
        exceptions=SimpleNamespace(BadSignatureError=_BadSignatureError, ValueError=ValueError),
    )
    monkeypatch.setattr(dkim, "nacl", nacl, raising=False)
    public = key("ed25519").public_key().public_bytes_raw()

    def published(*_: bytes, **__: float) -> bytes:
        return b"v=DKIM1; k=ed25519; p=" + base64.b64encode(public)

    content = mail("ed25519")
    assert b"a=ed25519-sha256" in content
    assert dkim.verify(content, dnsfunc=published)
    assert not dkim.verify(content.replace(b"ada@", b"eve@", 1), dnsfunc=published)


@pytest.mark.parametrize(
    ("changes", "told"),
    [
        ({"key": "no key"}, "PEM"),
        ({"key": ""}, "PEM"),
        ({"key": "short"}, "1024 bits"),
        ({"key": "dsa"}, "neither RSA nor Ed25519"),
        ({"domain": "operator"}, "domain"),
        ({"domain": "operator.example;x=1"}, "domain"),
        ({"selector": ""}, "selector"),
        ({"selector": "a b"}, "selector"),
    ],
)
def test_what_cannot_be_right_is_told_at_the_start(changes: dict[str, str], told: str) -> None:
    if changes.get("key") in {"short", "dsa"}:
        changes = {"key": pem(changes["key"])}
    with pytest.raises(ValueError, match=told) as caught:
        signer(**changes)
    assert "BEGIN" not in str(caught.value)


def test_whose_mail_it_speaks_for() -> None:
    assert signer().is_aligned_with("hello@operator.example")
    assert signer().is_aligned_with("hello@news.Operator.example")
    assert not signer().is_aligned_with("hello@otheroperator.example")
