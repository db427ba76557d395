"""What the channel service is told by its environment about mail, links and the web."""

import re
from dataclasses import dataclass, field
from urllib.parse import urlsplit

from services.channel.adapters.smtp_link import Relay, Tls
from services.channel.domain.mail_domains import DomainPaces
from services.runtime.errors import SettingError
from services.runtime.settings import Settings

_BASE = re.compile(r"https?://[A-Za-z0-9._~:/\[\]%-]+")


@dataclass(frozen=True, slots=True)
class MailboxSettings:
    """Where bounces and complaints arrive: RAPPORT_REPORTS_MAILBOX.

    `imaps://user@host:993/INBOX` with RAPPORT_REPORTS_PASSWORD_FILE and, for an authority of one's own,
    RAPPORT_REPORTS_CA_FILE; or `maildir:///var/mail/rapport`.
    """

    scheme: str
    path: str
    """The IMAP folder, or the Maildir's own."""
    host: str = ""
    port: int = 993
    user: str = ""
    password: str = field(default="", repr=False)
    ca_file: str = ""


@dataclass(frozen=True, slots=True)
class MailSettings:
    """Mail, links and the web endpoint.

    RAPPORT_SMTP: relays as `host:port`, the best first, with commas between; unset: mail waits. With it
    RAPPORT_SMTP_FROM, _USER, _PASSWORD_FILE, _TLS (required, offered, never, implicit), _TLS_NAME, _CA_FILE,
    _CONNECTIONS (of each worker; 4) and _RETURN_PATH (where bounces go; needs link keys).
    RAPPORT_EMAIL_DOMAIN_RATES: mails a second by recipient's domain, over all workers, as
    `gmail.com|googlemail.com=20, orange.fr=5`.
    RAPPORT_DKIM_KEY_FILE (PEM), _DOMAIN, _SELECTOR: all three, or no mail is signed.
    RAPPORT_LINK_URL with RAPPORT_LINK_KEYS_FILE: where links are served from outside, and what signs them.
    RAPPORT_UNSUBSCRIBE_MAILTO: an address whose mail arrives in the mailbox of reports, as a second way out.
    RAPPORT_WEB_LISTEN: the server answers links and reports on this host:port; RAPPORT_WEB_CERT_FILE and
    _KEY_FILE: with TLS. RAPPORT_REPORTS_SECRET_FILE: who posts reports shows it as a bearer token.
    """

    relays: tuple[Relay, ...] = ()
    sender: str = ""
    user: str = ""
    password: str = field(default="", repr=False)
    tls: Tls = Tls.OFFERED
    tls_name: str = ""
    ca_file: str = ""
    connections: int = 4
    return_path: str = ""
    domains: DomainPaces = field(default_factory=lambda: DomainPaces({}))
    dkim_domain: str = ""
    dkim_selector: str = ""
    dkim_key: str = field(default="", repr=False)
    link_url: str = ""
    link_keys: str = field(default="", repr=False)
    mailto: str = ""
    web_listen: str = ""
    web_cert_file: str = ""
    web_key_file: str = ""
    reports_secret: str = field(default="", repr=False)
    mailbox: MailboxSettings | None = None

    @classmethod
    def of(cls, settings: Settings) -> "MailSettings":
        """Read from the settings of the process; SettingError names what is wrong."""
        extra = settings.extra
        relays = tuple(_relay(one.strip()) for one in extra.get("smtp", "").split(",") if one.strip())
        found = cls(
            relays=relays,
            sender=settings.need("smtp_from") if relays else extra.get("smtp_from", ""),
            user=extra.get("smtp_user", ""),
            password=settings.secret("smtp_password"),
            tls=_tls(extra.get("smtp_tls", "")),
            tls_name=extra.get("smtp_tls_name", ""),
            ca_file=extra.get("smtp_ca_file", ""),
            connections=_connections(extra.get("smtp_connections", "4")),
            return_path=extra.get("smtp_return_path", ""),
            domains=_domains(extra.get("email_domain_rates", "")),
            dkim_domain=extra.get("dkim_domain", ""),
            dkim_selector=extra.get("dkim_selector", ""),
            dkim_key=settings.secret("dkim_key"),
            link_url=extra.get("link_url", ""),
            link_keys=settings.secret("link_keys"),
            mailto=extra.get("unsubscribe_mailto", ""),
            web_listen=extra.get("web_listen", ""),
            web_cert_file=extra.get("web_cert_file", ""),
            web_key_file=extra.get("web_key_file", ""),
            reports_secret=settings.secret("reports_secret"),
            mailbox=_mailbox(
                extra.get("reports_mailbox", ""),
                settings.secret("reports_password"),
                extra.get("reports_ca_file", ""),
            ),
        )
        found._check()
        return found

    def _check(self) -> None:
        """What only makes sense together."""
        if self.link_url and not _BASE.fullmatch(self.link_url):
            raise _wrong("LINK_URL", "no web address", "write https://links.operator.example")
        if self.link_url and not self.link_keys:
            raise _wrong("LINK_KEYS_FILE", "not set, and links need it", "name a file with a key")
        if self.return_path and not self.link_keys:
            raise _wrong(
                "LINK_KEYS_FILE", "not set, and RAPPORT_SMTP_RETURN_PATH needs it", "name a file with a key"
            )
        if self.mailto and not self.link_url:
            raise _wrong("LINK_URL", "not set, and RAPPORT_UNSUBSCRIBE_MAILTO needs it", "set it")
        dkim = {"DOMAIN": self.dkim_domain, "SELECTOR": self.dkim_selector, "KEY_FILE": self.dkim_key}
        missing = [name for name, value in dkim.items() if not value]
        if missing and len(missing) < len(dkim):
            raise _wrong(f"DKIM_{missing[0]}", "not set", "set the domain, the selector and the key, or none")
        if bool(self.web_cert_file) != bool(self.web_key_file):
            missing_file = "WEB_KEY_FILE" if self.web_cert_file else "WEB_CERT_FILE"
            raise _wrong(missing_file, "not set", "set the certificate and its key, or none")
        if self.web_listen and not self.link_keys:
            raise _wrong("LINK_KEYS_FILE", "not set, and the web endpoint needs it", "name a file with a key")
        if self.reports_secret and len(self.reports_secret) < 16:
            raise _wrong("REPORTS_SECRET_FILE", "too short", "write at least 16 characters into it")


def _wrong(name: str, what: str, suggestion: str) -> SettingError:
    return SettingError(f"RAPPORT_{name} is {what}", field=f"RAPPORT_{name}", suggestion=suggestion)


def _relay(text: str) -> Relay:
    host, _, port = text.rpartition(":")
    if not host or not port.isdecimal() or not 0 < int(port) < 65536:
        raise _wrong("SMTP", repr(text), "say host:port, with commas between several")
    return Relay(host.strip("[]"), int(port))


def _tls(text: str) -> Tls:
    try:
        return Tls(text or Tls.OFFERED)
    except ValueError:
        raise _wrong("SMTP_TLS", repr(text), f"say {', '.join(Tls)}") from None


def _connections(text: str) -> int:
    if not text.isdecimal() or not 1 <= int(text) <= 64:
        raise _wrong("SMTP_CONNECTIONS", repr(text), "say a whole number from 1 to 64")
    return int(text)


def _domains(text: str) -> DomainPaces:
    try:
        return DomainPaces.read(text)
    except ValueError as error:
        raise _wrong("EMAIL_DOMAIN_RATES", f"not right: {error}", "write gmail.com=20, orange.fr=5") from None


def _mailbox(text: str, password: str, ca_file: str) -> MailboxSettings | None:
    if not text:
        return None
    try:
        found = urlsplit(text)
        port = found.port or 993
    except ValueError:
        found, port = urlsplit(""), 0
    if found.scheme == "maildir" and not found.netloc and found.path.startswith("/"):
        return MailboxSettings("maildir", found.path)
    if found.scheme == "imaps" and found.hostname and found.username and not found.password:
        if not password:
            raise _wrong("REPORTS_PASSWORD_FILE", "not set, and the mailbox needs it", "name a file")
        folder = found.path.strip("/") or "INBOX"
        return MailboxSettings("imaps", folder, found.hostname, port, found.username, password, ca_file)
    raise _wrong(
        "REPORTS_MAILBOX",
        "no mailbox that can be read",
        "write imaps://user@host:993/INBOX or maildir:///path, without a password",
    )
