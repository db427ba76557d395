"""Metrics over HTTPS: for callers with a certificate of our authority, with certificates as they are now."""

import http.client
import shutil
import ssl

import pytest

from services.runtime import metrics
from services.runtime.credentials import CertificateFiles
from services.runtime.errors import SettingError
from services.runtime.scrape import MetricsServer
from services.runtime.settings import Settings
from tests.fakes.trust import Trust, trust


@pytest.fixture
def files(tmp_path):
    """A certificate of the role's own, in files that a test may replace."""
    issued = trust().certificate("profile")
    found = CertificateFiles(tmp_path / "role.crt", tmp_path / "role.key", issued.authority)
    renew(found, issued)
    return found


def renew(files, issued):
    shutil.copy(issued.key, files.key)
    shutil.copy(issued.chain, files.chain)


@pytest.fixture
async def server(files):
    server = MetricsServer(
        Settings(
            service="profile",
            role="worker",
            metrics_listen="127.0.0.1:0",
            tls_cert_file=str(files.chain),
            tls_key_file=str(files.key),
            tls_ca_file=str(files.authority),
        )
    )
    server.start()
    yield server
    await server.stop()


def get(server, identity=None, path="/metrics"):
    """The answer's status and body, and the certificate that the server showed."""
    context = ssl.create_default_context(cafile=str(trust().folder / "ca.crt"))
    if identity:
        context.load_cert_chain(identity.chain, identity.key)
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


def test_a_caller_with_our_certificate_reads_what_was_counted(server):
    metrics.ITEMS.labels("OUTCOMES", "done").inc()
    prometheus = trust().certificate("prometheus")
    status, body, _ = get(server, prometheus)
    assert status == 200
    assert 'rapport_items_total{outcome="done",role="worker",service="profile",stream="OUTCOMES"}' in body
    assert get(server, prometheus, path="/")[0] == 404


def test_without_a_certificate_or_with_a_foreign_one_nothing_is_answered(server, tmp_path):
    with pytest.raises((ssl.SSLError, ConnectionError)):
        get(server)
    with pytest.raises((ssl.SSLError, ConnectionError)):
        get(server, Trust(tmp_path).certificate("prometheus"))
    plain = http.client.HTTPConnection("localhost", int(server.address.rsplit(":", 1)[1]), timeout=10)
    plain.request("GET", "/metrics")
    with pytest.raises((ConnectionError, http.client.HTTPException)):
        plain.getresponse()
    plain.close()


def test_a_renewed_certificate_is_shown_without_a_restart_and_a_broken_one_is_not_taken(server, files):
    caller = trust().certificate("prometheus")
    first = get(server, caller)[2]
    renew(files, trust().certificate("profile"))
    renewed = get(server, caller)[2]
    assert renewed["serialNumber"] != first["serialNumber"]
    files.chain.write_text("half a file", encoding="utf-8")
    assert get(server, caller)[2]["serialNumber"] == renewed["serialNumber"]


def test_metrics_are_never_served_in_the_clear():
    with pytest.raises(SettingError, match="without TLS") as refused:
        MetricsServer(Settings(service="profile", metrics_listen="127.0.0.1:0"))
    assert refused.value.field == "RAPPORT_TLS_CERT_FILE"
