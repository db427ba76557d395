"""What a process is told by its environment, read once at start."""

import os
from collections.abc import Mapping
from dataclasses import dataclass, field
from pathlib import Path

from services.runtime.errors import SettingError

PREFIX = "RAPPORT_"
DEFAULT_TRUST_DOMAIN = "rapport.local"


@dataclass(frozen=True, slots=True)
class Settings:
    """Settings of one role of one service; every one has the environment name RAPPORT_<NAME>.

    `database_url` is complete, with the password from RAPPORT_DATABASE_PASSWORD_FILE in it; never log it.
    `listen` is for callers with a certificate, `token_listen` for callers with a token (gRPC, TLS),
    `health_listen` for health alone (gRPC, plain), `metrics_listen` for Prometheus; "": not served.
    `tls_*_file` are our own certificate and key and the authority that we trust (PEM); certificates name
    their callers under `trust_domain` (spiffe://<trust domain>/<name>); `jwks` is a file or an https address
    with the keys that tokens are signed by. `nats_ca_file` makes the connection to NATS TLS from
    its first byte (handshake_first in the server's tls block).
    `stream_replicas` is on how many servers of NATS each stream is kept (odd; for streams that are new).
    `keys_file` holds the keys that seal what identifies people (see `keys`; profile and channel need it).
    `drain_seconds` is how long what is in work at SIGTERM may take to end; grant the process 10 s more.
    `backlog_*` is how much may wait before new events are refused: messages in the outbox, messages of a work
    stream, percent of a stream's bytes; `ingest_bytes` how much of them may be in memory at once.
    `otlp_endpoint` is where traces go (OTLP/HTTP; OTEL_EXPORTER_OTLP_ENDPOINT counts too; "": no tracing),
    `trace_ratio` how many of the calls without a trace of their own begin one, from 0 to 1.
    `extra` holds what only one service knows, by lower-case name without the prefix.
    """

    service: str
    role: str = "server"
    database_url: str = ""
    database_pool: int = 8
    nats_url: str = "nats://127.0.0.1:4222"
    nats_user: str = ""
    nats_password: str = field(default="", repr=False)
    nats_ca_file: str = ""
    listen: str = "127.0.0.1:0"
    token_listen: str = ""
    health_listen: str = ""
    metrics_listen: str = ""
    tls_cert_file: str = ""
    tls_key_file: str = ""
    tls_ca_file: str = ""
    trust_domain: str = DEFAULT_TRUST_DOMAIN
    jwks: str = ""
    jwt_issuer: str = ""
    jwt_audience: str = "rapport"
    keys_file: str = ""
    profile_target: str = ""
    decision_target: str = ""
    channel_target: str = ""
    clock: str = "wall"
    partitions: int = 64
    rules_folder: Path = Path("rules")
    log_level: str = "info"
    stream_max_bytes: int = 1 << 30
    stream_replicas: int = 1
    drain_seconds: int = 20
    backlog_outbox_messages: int = 20_000
    backlog_stream_messages: int = 100_000
    backlog_stream_percent: int = 50
    ingest_bytes: int = 64 << 20
    otlp_endpoint: str = ""
    trace_ratio: float = 0.001
    extra: Mapping[str, str] = field(default_factory=dict)

    def __repr__(self) -> str:
        """Short, without what is secret."""
        return f"Settings(service={self.service!r}, role={self.role!r}, listen={self.listen!r})"

    @classmethod
    def from_environment(
        cls, service: str, role: str, environment: Mapping[str, str] | None = None
    ) -> "Settings":
        """Read RAPPORT_* from `environment` (None: the process's own); SettingError names what is wrong."""
        source = os.environ if environment is None else environment
        given = {
            name.removeprefix(PREFIX).lower(): value
            for name, value in source.items()
            if name.startswith(PREFIX)
        }
        clock = given.pop("clock", "wall")
        if clock not in {"wall", "events"}:
            raise SettingError(
                f"RAPPORT_CLOCK is {clock!r}", field="RAPPORT_CLOCK", suggestion="say wall or events"
            )
        database_password = _secret(given, "database_password_file")
        nats_password = _secret(given, "nats_password_file")
        return cls(
            service=service,
            role=role,
            database_url=_with_password(given.pop("database_url", ""), database_password),
            database_pool=_number(given, "database_pool", 8),
            nats_url=given.pop("nats_url", "nats://127.0.0.1:4222"),
            nats_user=given.pop("nats_user", ""),
            nats_password=nats_password,
            nats_ca_file=given.pop("nats_ca_file", ""),
            listen=given.pop("listen", "127.0.0.1:0"),
            token_listen=given.pop("token_listen", ""),
            health_listen=given.pop("health_listen", ""),
            metrics_listen=given.pop("metrics_listen", ""),
            tls_cert_file=given.pop("tls_cert_file", ""),
            tls_key_file=given.pop("tls_key_file", ""),
            tls_ca_file=given.pop("tls_ca_file", ""),
            trust_domain=given.pop("trust_domain", DEFAULT_TRUST_DOMAIN),
            jwks=given.pop("jwks", ""),
            jwt_issuer=given.pop("jwt_issuer", ""),
            jwt_audience=given.pop("jwt_audience", "rapport"),
            keys_file=given.pop("keys_file", ""),
            profile_target=given.pop("profile_target", ""),
            decision_target=given.pop("decision_target", ""),
            channel_target=given.pop("channel_target", ""),
            clock=clock,
            partitions=_number(given, "partitions", 64),
            rules_folder=Path(given.pop("rules_folder", "rules")),
            log_level=given.pop("log_level", "info"),
            stream_max_bytes=_number(given, "stream_max_bytes", 1 << 30),
            stream_replicas=_number(given, "stream_replicas", 1),
            otlp_endpoint=given.pop("otlp_endpoint", "") or source.get("OTEL_EXPORTER_OTLP_ENDPOINT", ""),
            trace_ratio=_share(given, "trace_ratio", 0.001),
            drain_seconds=_number(given, "drain_seconds", 20),
            backlog_outbox_messages=_number(given, "backlog_outbox_messages", 20_000),
            backlog_stream_messages=_number(given, "backlog_stream_messages", 100_000),
            backlog_stream_percent=_number(given, "backlog_stream_percent", 50),
            ingest_bytes=_number(given, "ingest_bytes", 64 << 20),
            extra=given,
        )

    def need(self, name: str) -> str:
        """A setting of the service's own that must be there, by its lower-case name without the prefix."""
        value = self.extra.get(name, "")
        if not value:
            raise SettingError(
                f"{PREFIX}{name.upper()} is not set", field=f"{PREFIX}{name.upper()}", suggestion="set it"
            )
        return value

    def secret(self, name: str) -> str:
        """What the file named by the extra setting `<name>_file` holds, without line end; "": unset."""
        return _secret(dict(self.extra), f"{name}_file")


def _number(given: dict[str, str], name: str, default: int) -> int:
    text = given.pop(name, "")
    if not text:
        return default
    if not text.isdecimal() or int(text) < 1:
        raise SettingError(
            f"{PREFIX}{name.upper()} is {text!r}",
            field=f"{PREFIX}{name.upper()}",
            suggestion="say a whole number from 1",
        )
    return int(text)


def _share(given: dict[str, str], name: str, default: float) -> float:
    text = given.pop(name, "")
    try:
        share = float(text) if text else default
    except ValueError:
        share = -1.0
    if not 0.0 <= share <= 1.0:
        raise SettingError(
            f"{PREFIX}{name.upper()} is {text!r}",
            field=f"{PREFIX}{name.upper()}",
            suggestion="say a number from 0 to 1, for example 0.01",
        )
    return share


def _secret(given: dict[str, str], name: str) -> str:
    path = given.pop(name, "")
    if not path:
        return ""
    try:
        return Path(path).read_text(encoding="utf-8").rstrip("\r\n")
    except OSError as error:
        raise SettingError(
            f"{PREFIX}{name.upper()} names a file that cannot be read ({error.strerror})",
            field=f"{PREFIX}{name.upper()}",
            suggestion="name a file that this user may read",
        ) from error


def _with_password(url: str, password: str) -> str:
    if not url or not password:
        return url
    from sqlalchemy.engine import make_url

    return make_url(url).set(password=password).render_as_string(hide_password=False)
