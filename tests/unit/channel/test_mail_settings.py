"""What the environment says about mail: what only makes sense together is told at the start, by its name."""

from pathlib import Path
from typing import Any

import pytest
from cryptography.hazmat.primitives import serialization
from cryptography.hazmat.primitives.asymmetric.ed25519 import Ed25519PrivateKey

from services.channel.adapters.smtp_link import Relay, Tls
from services.channel.entrypoints.web import WebEndpoint
from services.channel.mail_parts import link_keys, links, mail_transport, mailbox_loop, web_endpoint
from services.channel.mail_settings import MailboxSettings, MailSettings
from services.runtime.errors import SettingError
from services.runtime.settings import Settings
from tests.fakes.channel import SetClock, SetProfile

KEY = "ab" * 32
DKIM = (
    Ed25519PrivateKey.generate()
    .private_bytes(
        serialization.Encoding.PEM, serialization.PrivateFormat.PKCS8, serialization.NoEncryption()
    )
    .decode()
)
RELAY = {"smtp": "[::1]:25, relay2.example:587", "smtp_from": "Op <hello@operator.example>"}
SIGNED = {"dkim_domain": "operator.example", "dkim_selector": "mail", "dkim_key_file": DKIM}


class Told:
    """Settings whose secrets are files."""

    def __init__(self, folder: Path) -> None:
        self._folder = folder

    def __call__(self, **extra: str) -> MailSettings:
        environment = {}
        for name, value in extra.items():
            told = value
            if name in {"link_keys_file", "dkim_key_file", "reports_secret_file", "reports_password_file"}:
                told = str(self._folder / name)
                Path(told).write_text(value)
            environment[f"RAPPORT_{name.upper()}"] = told
        return MailSettings.of(Settings.from_environment("channel", "worker", environment))


@pytest.fixture
def told(tmp_path: Path) -> Told:
    return Told(tmp_path)


def test_nothing_told_is_no_mail(told: Told) -> None:
    own = told()
    assert (own.relays, own.mailbox, links(own)) == ((), None, None)


def test_what_is_told(told: Told) -> None:
    own = told(
        **RELAY,
        **SIGNED,
        smtp_tls="required",
        smtp_return_path="bounces@operator.example",
        link_url="https://l.operator.example",
        link_keys_file=KEY,
        unsubscribe_mailto="out@operator.example",
        reports_mailbox="imaps://reports@imap.operator.example/Bounces",
        reports_password_file="hush-hush",
    )
    assert own.relays == (Relay("::1", 25), Relay("relay2.example", 587))
    assert own.tls is Tls.REQUIRED
    assert own.mailbox == MailboxSettings(
        "imaps", "Bounces", "imap.operator.example", 993, "reports", "hush-hush"
    )
    assert links(own) is not None
    assert mail_transport(own, SetClock()).channel == "email"
    for secret in (KEY, "hush-hush", "PRIVATE"):
        assert secret not in repr(own)


@pytest.mark.parametrize(
    ("extra", "field"),
    [
        ({"smtp": "h:25"}, "SMTP_FROM"),
        ({**RELAY, "smtp": "here"}, "SMTP"),
        ({**RELAY, "smtp": "a:25,b:0"}, "SMTP"),
        ({**RELAY, "smtp_tls": "perhaps"}, "SMTP_TLS"),
        ({**RELAY, "smtp_connections": "0"}, "SMTP_CONNECTIONS"),
        ({**RELAY, "smtp_return_path": "b@operator.example"}, "LINK_KEYS_FILE"),
        ({"link_url": "https://l.example"}, "LINK_KEYS_FILE"),
        ({"email_domain_rates": "gmail.com"}, "EMAIL_DOMAIN_RATES"),
        ({"link_url": "ftp://l.example", "link_keys_file": KEY}, "LINK_URL"),
        ({"link_url": "https://l.example/\r\nBcc: x", "link_keys_file": KEY}, "LINK_URL"),
        ({"unsubscribe_mailto": "out@operator.example"}, "LINK_URL"),
        ({"web_listen": "127.0.0.1:0"}, "LINK_KEYS_FILE"),
        ({"web_cert_file": "/tls.crt"}, "WEB_KEY_FILE"),
        ({"web_key_file": "/tls.key"}, "WEB_CERT_FILE"),
        ({"dkim_domain": "operator.example"}, "DKIM_SELECTOR"),
        ({"dkim_domain": "o.example", "dkim_selector": "s"}, "DKIM_KEY_FILE"),
        ({"reports_secret_file": "short"}, "REPORTS_SECRET_FILE"),
        ({"reports_mailbox": "imaps://u@h/INBOX"}, "REPORTS_PASSWORD_FILE"),
        ({"reports_mailbox": "imaps://u:p@h/INBOX"}, "REPORTS_MAILBOX"),
        ({"reports_mailbox": "imaps://u@h:port/INBOX"}, "REPORTS_MAILBOX"),
        ({"reports_mailbox": "imap://u@h/INBOX"}, "REPORTS_MAILBOX"),
        ({"reports_mailbox": "maildir://relative"}, "REPORTS_MAILBOX"),
    ],
)
def test_what_does_not_fit_is_told_by_its_name(told: Told, extra: dict[str, str], field: str) -> None:
    with pytest.raises(SettingError) as caught:
        told(**extra)
    assert caught.value.field == f"RAPPORT_{field}"


@pytest.mark.parametrize(
    ("extra", "field"),
    [
        ({"smtp_from": "nobody"}, "RAPPORT_SMTP"),
        ({"smtp_ca_file": "/nowhere"}, "RAPPORT_SMTP"),
        ({**SIGNED, "dkim_key_file": "no key"}, "RAPPORT_DKIM_KEY_FILE"),
        ({**SIGNED, "dkim_selector": "a b"}, "RAPPORT_DKIM"),
        ({**SIGNED, "dkim_domain": "other.example"}, "RAPPORT_DKIM_DOMAIN"),
        ({"link_keys_file": "abc"}, "RAPPORT_LINK_KEYS_FILE"),
    ],
)
def test_what_cannot_be_used_ends_the_start(told: Told, extra: dict[str, Any], field: str) -> None:
    own = told(**(RELAY | extra))
    with pytest.raises(SettingError) as caught:
        mail_transport(own, SetClock())
    assert caught.value.field == field


def test_keys_are_read_once_for_all(told: Told) -> None:
    own = told(link_keys_file=f"{KEY}\n{'cd' * 32}\n")
    keys = link_keys(own)
    assert keys is not None
    message_id = "2f0c1a52-9a77-5c2e-8a44-0d9f6b8f1e01"
    assert keys.read_return_tag(keys.return_tag(message_id)) == message_id


class Nothing:
    """A store that nobody asks at the start."""


def test_what_is_built_of_them(told: Told, tmp_path: Path) -> None:
    store: Any = Nothing()
    clock = SetClock()

    def endpoint(**extra: str) -> WebEndpoint | None:
        return web_endpoint(told(**extra), store, SetProfile(clock), clock, language="en")

    assert endpoint() is None
    served = {"web_listen": "127.0.0.1:0", "link_keys_file": KEY}
    plain, with_reports = endpoint(**served), endpoint(**served, reports_secret_file="sixteen letters!")
    assert plain is not None
    assert with_reports is not None
    assert len(with_reports.paths) == len(plain.paths) + 1
    assert mailbox_loop(told(), store, clock) is None
    built = mailbox_loop(told(reports_mailbox=f"maildir://{tmp_path}", link_keys_file=KEY), store, clock)
    assert built is not None
    with pytest.raises(SettingError) as caught:
        mailbox_loop(told(reports_mailbox=f"maildir://{tmp_path}"), store, clock)
    assert caught.value.field == "RAPPORT_LINK_KEYS_FILE"
