"""Metrics over HTTPS: for callers with a certificate of our authority, with certificates as they are now."""

import datetime as dt
import http.client
import ssl
from pathlib import Path

import pytest
from cryptography import x509
from cryptography.hazmat.primitives import hashes, serialization
from cryptography.hazmat.primitives.asymmetric import ec
from cryptography.x509.oid import NameOID

from services.runtime import metrics
from services.runtime.errors import SettingError
from services.runtime.scrape import MetricsServer
from services.runtime.settings import Settings

BEGAN = dt.datetime(2020, 1, 1, tzinfo=dt.UTC)
ENDS = dt.datetime(2100, 1, 1, tzinfo=dt.UTC)


class Authority:
    """Makes certificates into a folder: <name>.crt and <name>.key, and its own authority.crt."""

    def __init__(self, folder: Path, name: str = "authority") -> None:
        self.folder = folder
        self.file = folder / f"{name}.crt"
        self._key = ec.generate_private_key(ec.SECP256R1())
        self._subject = x509.Name([x509.NameAttribute(NameOID.COMMON_NAME, name)])
        certificate = self._builder(self._subject, self._key).add_extension(
            x509.BasicConstraints(ca=True, path_length=0), critical=True
        )
        self._write(self.file, certificate.sign(self._key, hashes.SHA256()))

    def issue(self, name: str) -> tuple[str, str]:
        """The certificate's file and its key's, valid for localhost."""
        key = ec.generate_private_key(ec.SECP256R1())
        subject = x509.Name([x509.NameAttribute(NameOID.COMMON_NAME, name)])
        certificate = self._builder(subject, key).add_extension(
            x509.SubjectAlternativeName([x509.DNSName("localhost")]), critical=False
        )
        certificate_file, key_file = self.folder / f"{name}.crt", self.folder / f"{name}.key"
        key_file.write_bytes(
            key.private_bytes(
                serialization.Encoding.PEM,
                serialization.PrivateFormat.PKCS8,
                serialization.NoEncryption(),
            )
        )
        self._write(certificate_file, certificate.sign(self._key, hashes.SHA256()))
        return str(certificate_file), str(key_file)

    def _builder(self, subject: x509.Name, key: ec.EllipticCurvePrivateKey) -> x509.CertificateBuilder:
        return (
            x509.CertificateBuilder()
            .subject_name(subject)
            .issuer_name(self._subject)
            .public_key(key.public_key())
            .serial_number(x509.random_serial_number())
            .not_valid_before(BEGAN)
            .not_valid_after(ENDS)
        )

    @staticmethod
    def _write(path: Path, certificate: x509.Certificate) -> None:
        path.write_bytes(certificate.public_bytes(serialization.Encoding.PEM))


@pytest.fixture
def authority(tmp_path):
    return Authority(tmp_path)


@pytest.fixture
async def server(authority):
    certificate, key = authority.issue("role")
    server = MetricsServer(
        Settings(
            service="profile",
            role="worker",
            metrics_listen="127.0.0.1:0",
            tls_cert_file=certificate,
            tls_key_file=key,
            tls_ca_file=str(authority.file),
        )
    )
    server.start()
    yield server
    await server.stop()


def get(server, trusted, identity=None, path="/metrics"):
    """The answer's status and body, and the certificate that the server showed."""
    context = ssl.create_default_context(cafile=str(trusted.file))
    if identity:
        context.load_cert_chain(*identity)
    connection = http.client.HTTPSConnection(
        "localhost", int(server.address.rsplit(":", 1)[1]), context=context, timeout=10
    )
    try:
        connection.request("GET", path)
        shown = connection.sock.getpeercert()
        answer = connection.getresponse()
        return answer.status, answer.read().decode(), shown
    finally:
        connection.close()


def test_a_caller_with_our_certificate_reads_what_was_counted(server, authority):
    metrics.ITEMS.labels("OUTCOMES", "done").inc()
    status, body, _ = get(server, authority, authority.issue("prometheus"))
    assert status == 200
    assert 'rapport_items_total{outcome="done",role="worker",service="profile",stream="OUTCOMES"}' in body
    assert get(server, authority, authority.issue("prometheus"), path="/")[0] == 404


def test_without_a_certificate_or_with_a_foreign_one_nothing_is_answered(server, authority, tmp_path):
    foreign = tmp_path / "foreign"
    foreign.mkdir()
    with pytest.raises((ssl.SSLError, ConnectionError)):
        get(server, authority)
    with pytest.raises((ssl.SSLError, ConnectionError)):
        get(server, authority, Authority(foreign, "foreign").issue("prometheus"))
    plain = http.client.HTTPConnection("localhost", int(server.address.rsplit(":", 1)[1]), timeout=10)
    plain.request("GET", "/metrics")
    with pytest.raises((ConnectionError, http.client.HTTPException)):
        plain.getresponse()
    plain.close()


def test_a_renewed_certificate_is_shown_without_a_restart_and_a_broken_one_is_not_taken(server, authority):
    caller = authority.issue("prometheus")
    first = get(server, authority, caller)[2]
    authority.issue("role")
    renewed = get(server, authority, caller)[2]
    assert renewed["serialNumber"] != first["serialNumber"]
    (authority.folder / "role.crt").write_text("half a file", encoding="utf-8")
    assert get(server, authority, caller)[2]["serialNumber"] == renewed["serialNumber"]


def test_metrics_are_never_served_in_the_clear():
    with pytest.raises(SettingError, match="over TLS only") as refused:
        MetricsServer(Settings(service="profile", metrics_listen="127.0.0.1:0"))
    assert refused.value.field == "RAPPORT_TLS_CERT_FILE"
