"""Who trusts whom in a local stack: authority, certificates, signing key, tokens; and its keys file."""

import contextlib
import datetime as dt
from pathlib import Path

from services.cli.stack.authority import Authority, Pair, ends_within, first_certificate
from services.cli.stack.issuer import ISSUER, Issuer
from services.cli.stack.layout import Layout
from services.cli.stack.options import SERVICES
from services.cli.stack.passwords import read_password, write_private
from services.cli.stack.ports import LOOPBACK
from services.cli.stack.trust_files import OPERATOR, authority_file, keys_file, token_file
from services.runtime.access_policy import all_scopes
from services.runtime.clock import MICROS, WallClock
from services.runtime.keys import Keyring
from services.runtime.settings import DEFAULT_TRUST_DOMAIN

TOKENS: dict[str, tuple[str, ...]] = {
    "bss": (
        *("consent.read", "consent.write", "decisions.make", "decisions.record", "events.write"),
        *("outcomes.read", "outcomes.stream"),
    ),
    "marketer": (
        *("decisions.read", "messages.read", "rules.read", "rules.simulate", "rules.write"),
        *("templates.read", "templates.write", "templates.test"),
    ),
    "approver": ("decisions.read", "rules.read", "rules.approve"),
    "care": (
        "accounts.read",
        "consent.read",
        "consent.write",
        "decisions.cancel",
        "decisions.make",
        "decisions.read",
        "decisions.record",
        "messages.read",
        "profiles.read",
    ),
}
"""Narrower tokens for others, by whose they are."""
TOKEN_DAYS = 90
RENEW_DAYS = 30
"""What ends within so many days is renewed when the stack starts."""
SCRAPER = "prometheus"
"""Whose certificate reads metrics, of which nobody is told without one; it may call nothing."""
CERTIFICATES = (*SERVICES, SCRAPER)
HOSTS = ("localhost", LOOPBACK, "::1")


def ensure_trust(layout: Layout, now: dt.datetime | None = None) -> None:
    """Makes what is missing and renews what ends soon; what is renewed is taken by a running stack too."""
    now = now or wall_now()
    if not keys_file(layout).exists():
        write_private(keys_file(layout), Keyring.make().text())
    authority = _authority(layout, now)
    for name in CERTIFICATES:
        certificate, key = layout.secret(f"{name}.crt"), layout.secret(f"{name}.key")
        if not _lasts(certificate, key, now):
            pair = authority.issue(name, now, hosts=(*HOSTS, name))
            write_private(key, pair.key.decode())
            write_private(certificate, pair.certificate.decode())
    issuer = _issuer(layout)
    for subject in (OPERATOR, *TOKENS):
        scopes = frozenset(all_scopes() if subject == OPERATOR else TOKENS[subject])
        path = token_file(layout, subject)
        if not _token_lasts(path, issuer, scopes, now):
            token = issuer.sign(subject, scopes, now, lasts=dt.timedelta(days=TOKEN_DAYS))
            write_private(path, token + "\n")


def trust_environment(layout: Layout, service: str) -> dict[str, str]:
    """What a service is told of all this, by setting."""
    return {
        "TLS_CERT_FILE": str(layout.secret(f"{service}.crt")),
        "TLS_KEY_FILE": str(layout.secret(f"{service}.key")),
        "TLS_CA_FILE": str(authority_file(layout)),
        "TRUST_DOMAIN": DEFAULT_TRUST_DOMAIN,
        "JWKS": str(layout.secret("jwks.json")),
        "JWT_ISSUER": ISSUER,
        "KEYS_FILE": str(keys_file(layout)),
    }


def issuer_of(layout: Layout) -> Issuer:
    """The issuer whose tokens this stack takes; FileNotFoundError before its first start."""
    return Issuer.load(layout.secret("signing.key").read_bytes())


def wall_now() -> dt.datetime:
    """The machine's time: certificates and tokens know no other."""
    return dt.datetime.fromtimestamp(WallClock().wall_micros() / MICROS, dt.UTC)


def _authority(layout: Layout, now: dt.datetime) -> Authority:
    certificate, key = authority_file(layout), layout.secret("ca.key")
    with contextlib.suppress(FileNotFoundError, ValueError):
        pair = Pair(certificate.read_bytes(), key.read_bytes())
        if not ends_within(pair.certificate, now, RENEW_DAYS):
            return Authority.read(pair, DEFAULT_TRUST_DOMAIN)
    authority = Authority.make(DEFAULT_TRUST_DOMAIN, now)
    pair = authority.pair()
    for name in CERTIFICATES:  # signed by another
        layout.secret(f"{name}.crt").unlink(missing_ok=True)
    # the one before is trusted until it ends, so that nothing fails while only some have the new one
    before = _still_good(certificate, now)
    write_private(key, pair.key.decode())
    write_private(certificate, (pair.certificate + before).decode())
    return authority


def _still_good(certificate: Path, now: dt.datetime) -> bytes:
    with contextlib.suppress(FileNotFoundError, ValueError):
        found = first_certificate(certificate.read_bytes())
        if not ends_within(found, now, 0):
            return found
    return b""


def _issuer(layout: Layout) -> Issuer:
    try:
        issuer = issuer_of(layout)
    except (FileNotFoundError, ValueError):
        issuer = Issuer.make()
        write_private(layout.secret("signing.key"), issuer.pem().decode())
    path = layout.secret("jwks.json")
    if not path.exists() or path.read_text(encoding="utf-8") != issuer.key_set():
        write_private(path, issuer.key_set())
    return issuer


def _lasts(certificate: Path, key: Path, now: dt.datetime) -> bool:
    try:
        return key.exists() and not ends_within(certificate.read_bytes(), now, RENEW_DAYS)
    except (FileNotFoundError, ValueError):
        return False


def _token_lasts(path: Path, issuer: Issuer, scopes: frozenset[str], now: dt.datetime) -> bool:
    try:
        claims = issuer.read(read_password(path))
    except (OSError, ValueError):
        return False
    until = (now + dt.timedelta(days=RENEW_DAYS)).timestamp()
    return claims["exp"] > until and frozenset(claims["scope"].split()) == scopes
