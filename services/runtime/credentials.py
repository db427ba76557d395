"""Certificates for gRPC, read from files and read again when they are renewed (X.509, PEM)."""

import datetime as dt
import threading
from dataclasses import dataclass
from pathlib import Path

import grpc
import structlog

from services.runtime.errors import SettingError
from services.runtime.settings import Settings

_log = structlog.get_logger(__name__)
Stamp = tuple[tuple[int, int, int], ...]


@dataclass(frozen=True, slots=True)
class Certificate:
    """One certificate with its chain and key, and the authorities that we trust (PEM)."""

    chain: bytes
    key: bytes
    authority: bytes


@dataclass(frozen=True, slots=True)
class CertificateFiles:
    """Where a certificate with its chain, its key, and the trusted authorities stand."""

    chain: Path
    key: Path
    authority: Path

    @classmethod
    def of(cls, settings: Settings) -> "CertificateFiles":
        """Those that a role was told of; SettingError names the setting that is missing."""
        told = {
            "RAPPORT_TLS_CERT_FILE": settings.tls_cert_file,
            "RAPPORT_TLS_KEY_FILE": settings.tls_key_file,
            "RAPPORT_TLS_CA_FILE": settings.tls_ca_file,
        }
        for name, value in told.items():
            if not value:
                raise SettingError(
                    f"{name} is not set, and nothing is served or called without TLS",
                    field=name,
                    suggestion="name a PEM file",
                )
        return cls(*(Path(value) for value in told.values()))

    def stamp(self) -> Stamp:
        """Differs when a file was replaced or written to."""
        return tuple(file_stamp(path) for path in (self.chain, self.key, self.authority))

    def read(self) -> Certificate:
        """What they hold; SettingError: one cannot be read, is no PEM, or the key is another one."""
        # a caller with a token, each of our commands, reads none
        from cryptography import x509
        from cryptography.hazmat.primitives.serialization import (
            Encoding,
            PublicFormat,
            load_pem_private_key,
        )

        read = Certificate(*(_read(path) for path in (self.chain, self.key, self.authority)))
        try:
            leaf = x509.load_pem_x509_certificates(read.chain)[0]
            key = load_pem_private_key(read.key, password=None)
            x509.load_pem_x509_certificates(read.authority)
        except (ValueError, TypeError) as error:
            raise SettingError(
                f"{self.chain.name}, {self.key.name} or {self.authority.name} is no PEM that can be used",
                field="RAPPORT_TLS_CERT_FILE",
                suggestion="give a certificate, its key without a password, and the authorities, all in PEM",
            ) from error
        theirs, ours = (
            public.public_bytes(Encoding.DER, PublicFormat.SubjectPublicKeyInfo)
            for public in (leaf.public_key(), key.public_key())
        )
        if theirs != ours:
            raise SettingError(
                f"{self.key.name} is not the key of {self.chain.name}",
                field="RAPPORT_TLS_KEY_FILE",
                suggestion="renew both files together",
            )
        return read


class KeptCertificate:
    """The certificate in force: that of the files once they were last right. Threads may share it."""

    def __init__(self, files: CertificateFiles) -> None:
        self._files = files
        self._lock = threading.Lock()
        self._stamp = files.stamp()
        self.current = files.read()

    def renew(self) -> bool:
        """Reads the files if they changed; True when another certificate is in force now.

        Files that are wrong, perhaps because they are being written, leave the old one in force.
        """
        with self._lock:
            stamp = self._files.stamp()
            if stamp == self._stamp:
                return False
            try:
                fresh = self._files.read()
            except SettingError as error:
                _log.warning("certificate_not_taken", error=error.message)
                return False
            self._stamp = stamp
            changed = fresh != self.current
            self.current = fresh
            if changed:
                _log.info("certificate_renewed", file=self._files.chain.name)
            return changed


def server_credentials(files: CertificateFiles, *, callers_have_certificates: bool) -> grpc.ServerCredentials:
    """Credentials of a port; every handshake shows the newest certificate (TLS 1.2 or later).

    `callers_have_certificates`: a caller must show one that a trusted authority has signed.
    """
    kept = KeptCertificate(files)

    def configuration() -> grpc.ServerCertificateConfiguration:
        certificate = kept.current
        return grpc.ssl_server_certificate_configuration(
            [(certificate.key, certificate.chain)],
            root_certificates=certificate.authority if callers_have_certificates else None,
        )

    def fetch() -> grpc.ServerCertificateConfiguration | None:
        return configuration() if kept.renew() else None

    return grpc.dynamic_ssl_server_credentials(
        configuration(),
        fetch,  # type: ignore[arg-type]  # its stub file forgets that None means no change
        require_client_authentication=callers_have_certificates,
    )


def certificate_expiry(path: Path) -> dt.datetime:
    """When the first certificate in a PEM file ends (UTC); OSError or ValueError when there is none."""
    from cryptography import x509

    return x509.load_pem_x509_certificates(path.read_bytes())[0].not_valid_after_utc


def file_stamp(path: Path) -> tuple[int, int, int]:
    """Differs when the file was replaced or written to; the same for a file that is not there."""
    try:
        found = path.stat()
    except OSError:
        return (0, 0, 0)
    return (found.st_ino, found.st_mtime_ns, found.st_size)


def _read(path: Path) -> bytes:
    try:
        return path.read_bytes()
    except OSError as error:
        raise SettingError(
            f"{path.name} cannot be read ({error.strerror})",
            field="RAPPORT_TLS_CERT_FILE, RAPPORT_TLS_KEY_FILE, RAPPORT_TLS_CA_FILE",
            suggestion="name files that this user may read",
        ) from error
