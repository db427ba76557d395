"""Credentials for tests: an authority, certificates and tokens, made once for each test process."""

import atexit
import datetime as dt
import shutil
import tempfile
from collections.abc import Collection, Iterable
from functools import cache
from pathlib import Path

import grpc
from google.protobuf import descriptor_pb2, descriptor_pool, empty_pb2
from rapport.access.v1 import access_pb2

from services.cli.stack.authority import Authority
from services.cli.stack.issuer import ISSUER, Issuer
from services.cli.stack.layout import CHECKOUT
from services.cli.stack.trust import wall_now
from services.runtime.access_policy import all_scopes
from services.runtime.client import TokenFiles, connect
from services.runtime.credentials import CertificateFiles, server_credentials
from services.runtime.settings import DEFAULT_TRUST_DOMAIN
from tests.fakes.keys import keys_file

HOUR = dt.timedelta(hours=1)
TEST_SCOPE = "test.call"
"""What methods of services that only tests know need."""


class Trust:
    """One authority and one issuer, and what they give out, in a folder."""

    def __init__(self, folder: Path):
        self.folder = folder
        self.authority = Authority.make(DEFAULT_TRUST_DOMAIN, wall_now())
        self.issuer = Issuer.make()
        self.jwks = folder / "jwks.json"
        self.jwks.write_text(self.issuer.key_set())
        (folder / "ca.crt").write_bytes(self.authority.pair().certificate)
        self._serial = 0

    def certificate(self, name: str, *, days: float = 1) -> CertificateFiles:
        """A new certificate for a caller or a server of this machine."""
        self._serial += 1
        pair = self.authority.issue(name, wall_now(), hosts=("localhost", "127.0.0.1"), days=days)
        files = CertificateFiles(
            self.folder / f"{self._serial}.crt", self.folder / f"{self._serial}.key", self.folder / "ca.crt"
        )
        files.chain.write_bytes(pair.certificate)
        files.key.write_bytes(pair.key)
        return files

    def token(
        self,
        scopes: Collection[str] | None = None,
        *,
        subject: str = "tester",
        lasts: dt.timedelta = HOUR,
        issuer: Issuer | None = None,
        **claims,
    ) -> TokenFiles:
        """A new token, by default with every scope there is."""
        self._serial += 1
        path = self.folder / f"{self._serial}.token"
        scopes = [*all_scopes(), TEST_SCOPE] if scopes is None else scopes
        path.write_text((issuer or self.issuer).sign(subject, scopes, wall_now(), lasts=lasts, **claims))
        return TokenFiles(path, self.folder / "ca.crt")

    def settings(self, name: str = "profile") -> dict:
        """Fields of Settings for a server of that name, which takes tokens on a free port too."""
        files = _certificate_of(name)
        return {
            "tls_cert_file": str(files.chain),
            "tls_key_file": str(files.key),
            "tls_ca_file": str(files.authority),
            "jwks": str(self.jwks),
            "jwt_issuer": ISSUER,
            "token_listen": "127.0.0.1:0",
            "keys_file": str(keys_file()),
            "rules_folder": CHECKOUT / "rules",
        }

    def environment(self, name: str = "profile") -> dict[str, str]:
        """The same for a process."""
        return {f"RAPPORT_{key.upper()}": str(value) for key, value in self.settings(name).items()}

    def connect(self, token_address: str, **options) -> grpc.aio.Channel:
        """A connection of a caller that may do everything to a server's port for tokens."""
        return connect(token_address, _all_scopes_token(), **options)

    def server_credentials(self, name: str) -> grpc.ServerCredentials:
        """For a fake of a service, on a port that demands a certificate."""
        return server_credentials(_certificate_of(name), callers_have_certificates=True)


@cache
def trust() -> Trust:
    folder = Path(tempfile.mkdtemp(prefix="rapport-trust-"))
    atexit.register(shutil.rmtree, folder, ignore_errors=True)
    return Trust(folder)


@cache
def _certificate_of(name: str) -> CertificateFiles:
    return trust().certificate(name)


@cache
def _all_scopes_token() -> TokenFiles:
    return trust().token()


@cache
def declare(service: str, methods: Iterable[str], scope: str = TEST_SCOPE) -> None:
    """Makes a service known that has no proto file; its methods need this scope ("": none is declared)."""
    package, _, name = service.rpartition(".")
    file = descriptor_pb2.FileDescriptorProto(
        name=f"{service}.proto", package=package, syntax="proto3", dependency=[empty_pb2.DESCRIPTOR.name]
    )
    declared = file.service.add(name=name)
    for method in methods:
        made = declared.method.add(
            name=method, input_type=".google.protobuf.Empty", output_type=".google.protobuf.Empty"
        )
        if scope:
            made.options.Extensions[access_pb2.scope] = scope
    descriptor_pool.Default().Add(file)
