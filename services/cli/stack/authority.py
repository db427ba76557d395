"""A certificate authority for one machine: makes itself, and certificates for names (RFC 5280)."""

import datetime as dt
import ipaddress
from collections.abc import Sequence
from dataclasses import dataclass

from cryptography import x509
from cryptography.hazmat.primitives import hashes
from cryptography.hazmat.primitives.asymmetric import ec
from cryptography.hazmat.primitives.serialization import (
    Encoding,
    NoEncryption,
    PrivateFormat,
    load_pem_private_key,
)
from cryptography.x509.oid import ExtendedKeyUsageOID, NameOID

AUTHORITY_DAYS = 3650
CERTIFICATE_DAYS = 90
_EARLIER = dt.timedelta(minutes=5)
"""A certificate counts a little before it was made: clocks differ."""


@dataclass(frozen=True)
class Pair:
    """A certificate and its key (PEM)."""

    certificate: bytes
    key: bytes


@dataclass(frozen=True)
class Authority:
    """An authority that signs certificates of one trust domain."""

    certificate: x509.Certificate
    key: ec.EllipticCurvePrivateKey
    trust_domain: str

    @classmethod
    def make(cls, trust_domain: str, now: dt.datetime) -> "Authority":
        """A new authority with a key of its own, valid for ten years."""
        key = ec.generate_private_key(ec.SECP256R1())
        name = x509.Name([x509.NameAttribute(NameOID.COMMON_NAME, f"Rapport authority of {trust_domain}")])
        certificate = (
            _builder(name, name, key, now, AUTHORITY_DAYS)
            .add_extension(x509.BasicConstraints(ca=True, path_length=0), critical=True)
            .add_extension(_usage(signs_certificates=True), critical=True)
            .sign(key, hashes.SHA256())
        )
        return cls(certificate, key, trust_domain)

    @classmethod
    def read(cls, pair: Pair, trust_domain: str) -> "Authority":
        """The authority that `pair` was written from; ValueError when it is none."""
        key = load_pem_private_key(pair.key, password=None)
        if not isinstance(key, ec.EllipticCurvePrivateKey):
            raise ValueError("the key of a local authority is an elliptic curve's")  # noqa: TRY004 - of a file
        return cls(x509.load_pem_x509_certificate(pair.certificate), key, trust_domain)

    def pair(self) -> Pair:
        """As it is kept in files."""
        return Pair(self.certificate.public_bytes(Encoding.PEM), _key_pem(self.key))

    def issue(
        self, name: str, now: dt.datetime, *, hosts: Sequence[str] = (), days: float = CERTIFICATE_DAYS
    ) -> Pair:
        """A certificate for `spiffe://<trust domain>/<name>` with a new key, for server and client alike.

        `hosts` are the host names and addresses it may serve under.
        """
        key = ec.generate_private_key(ec.SECP256R1())
        subject = x509.Name([x509.NameAttribute(NameOID.COMMON_NAME, name)])
        names = [
            x509.UniformResourceIdentifier(f"spiffe://{self.trust_domain}/{name}"),
            *(_host(host) for host in hosts),
        ]
        both = [ExtendedKeyUsageOID.SERVER_AUTH, ExtendedKeyUsageOID.CLIENT_AUTH]
        certificate = (
            _builder(subject, self.certificate.subject, key, now, days)
            .add_extension(x509.BasicConstraints(ca=False, path_length=None), critical=True)
            .add_extension(_usage(signs_certificates=False), critical=True)
            .add_extension(x509.ExtendedKeyUsage(both), critical=False)
            .add_extension(x509.SubjectAlternativeName(names), critical=False)
            .add_extension(
                x509.AuthorityKeyIdentifier.from_issuer_public_key(self.key.public_key()), critical=False
            )
            .sign(self.key, hashes.SHA256())
        )
        return Pair(certificate.public_bytes(Encoding.PEM), _key_pem(key))


def ends_within(certificate: bytes, now: dt.datetime, days: float) -> bool:
    """Whether a certificate (PEM) ends within so many days, or has ended."""
    return x509.load_pem_x509_certificate(certificate).not_valid_after_utc < now + dt.timedelta(days=days)


def first_certificate(certificates: bytes) -> bytes:
    """The first of several certificates (PEM); ValueError when there is none."""
    return x509.load_pem_x509_certificates(certificates)[0].public_bytes(Encoding.PEM)


def _builder(
    subject: x509.Name, issuer: x509.Name, key: ec.EllipticCurvePrivateKey, now: dt.datetime, days: float
) -> x509.CertificateBuilder:
    public = key.public_key()
    return (
        x509.CertificateBuilder()
        .subject_name(subject)
        .issuer_name(issuer)
        .public_key(public)
        .serial_number(x509.random_serial_number())
        .not_valid_before(min(now, now + dt.timedelta(days=days)) - _EARLIER)
        .not_valid_after(now + dt.timedelta(days=days))
        .add_extension(x509.SubjectKeyIdentifier.from_public_key(public), critical=False)
    )


def _usage(*, signs_certificates: bool) -> x509.KeyUsage:
    return x509.KeyUsage(
        digital_signature=not signs_certificates,
        content_commitment=False,
        key_encipherment=False,
        data_encipherment=False,
        key_agreement=False,
        key_cert_sign=signs_certificates,
        crl_sign=signs_certificates,
        encipher_only=False,
        decipher_only=False,
    )


def _host(host: str) -> x509.GeneralName:
    try:
        return x509.IPAddress(ipaddress.ip_address(host))
    except ValueError:
        return x509.DNSName(host)


def _key_pem(key: ec.EllipticCurvePrivateKey) -> bytes:
    return key.private_bytes(Encoding.PEM, PrivateFormat.PKCS8, NoEncryption())
