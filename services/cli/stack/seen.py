"""What the roles of a running stack say of themselves: their metrics, read as Prometheus reads them."""

import http.client
import ssl
from collections.abc import Iterator, Mapping
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass, field

from prometheus_client.parser import text_string_to_metric_families

from services.cli.stack.options import ROLES
from services.cli.stack.state import Stack
from services.cli.stack.trust import SCRAPER
from services.cli.stack.trust_files import authority_file

_SECONDS = 3.0
Sample = tuple[str, Mapping[str, str], float]


@dataclass
class Seen:
    """One role, as it was a moment ago; what it does not count stays None or empty."""

    role: str
    failure: str = ""
    """Why nothing is known of it; the rest means nothing then."""
    ready: bool | None = None
    missing: list[str] = field(default_factory=list)
    """What it needs and does not reach."""
    stream: str = ""
    lag: int | None = None
    """Messages of its stream that wait or are in work."""
    oldest_seconds: float | None = None
    outbox: int | None = None
    outbox_seconds: float | None = None
    per_second: dict[str, float] = field(default_factory=dict)
    """Over the last minute: events, decisions, messages, and items by stream."""
    refusals: dict[str, int] = field(default_factory=dict)
    """By reason, since it started."""
    task_failures: int = 0
    engine_restarts: int | None = None
    engine_set_aside: int | None = None
    runs_open: int | None = None
    """Audiences that are due and not asked to their end."""
    runs_behind_seconds: float | None = None
    called: dict[str, int] = field(default_factory=dict)
    """Customers called by what (schedule, absence, thing, pair), since it started."""
    certificates: dict[str, float] = field(default_factory=dict)
    """How long each is valid, in seconds, by file."""
    resident_bytes: int | None = None

    @property
    def well(self) -> bool:
        """Whether it answers and is ready."""
        return not self.failure and self.ready is not False


def look_at_roles(stack: Stack, *, seconds: float = _SECONDS) -> list[Seen]:
    """All roles that the stack was asked to run, at the same time."""
    wanted = [role for role in ROLES if any(program.name == role for program in stack.programs)]
    if not wanted:
        return []
    with ThreadPoolExecutor(len(wanted)) as pool:
        return list(pool.map(lambda role: _look(stack, role, seconds), wanted))


def scrape(stack: Stack, role: str, *, seconds: float = _SECONDS) -> str:
    """The metrics of one role as text; OSError or http.client.HTTPException when it does not answer."""
    context = ssl.create_default_context(cafile=str(authority_file(stack.layout)))
    context.load_cert_chain(stack.layout.secret(f"{SCRAPER}.crt"), stack.layout.secret(f"{SCRAPER}.key"))
    host, _, port = stack.address(f"{role}-metrics").rpartition(":")
    connection = http.client.HTTPSConnection(host, int(port), context=context, timeout=seconds)
    try:
        connection.request("GET", "/metrics")
        return connection.getresponse().read().decode()
    finally:
        connection.close()


def read_samples(text: str) -> Iterator[Sample]:
    """Every sample of a scrape: its name, labels and value."""
    for family in text_string_to_metric_families(text):
        for sample in family.samples:
            yield sample.name, sample.labels, sample.value


def seen_in(role: str, text: str) -> Seen:
    """What a scrape says of a role."""
    seen = Seen(role)
    for name, labels, value in read_samples(text):
        _take(seen, name, labels, value)
    return seen


def _look(stack: Stack, role: str, seconds: float) -> Seen:
    try:
        return seen_in(role, scrape(stack, role, seconds=seconds))
    except FileNotFoundError:
        return Seen(role, failure="no certificate to ask it with")
    except (OSError, http.client.HTTPException):
        return Seen(role, failure="no answer")


def _take(seen: Seen, name: str, labels: Mapping[str, str], value: float) -> None:
    match name:
        case "rapport_ready":
            seen.ready = value == 1
        case "rapport_dependency_up" if value == 0:
            seen.missing.append(labels["dependency"])
        case "rapport_stream_lag_messages":
            seen.stream = labels["stream"]
            seen.lag = (seen.lag or 0) + int(value)
        case "rapport_stream_oldest_seconds":
            seen.oldest_seconds = value
        case "rapport_outbox_messages":
            seen.outbox = int(value)
        case "rapport_outbox_oldest_seconds":
            seen.outbox_seconds = value
        case "rapport_recent_per_second":
            seen.per_second[labels["of"]] = value
        case "rapport_refusals_total":
            reason = labels["reason"]
            seen.refusals[reason] = seen.refusals.get(reason, 0) + int(value)
        case "rapport_task_failures_total":
            seen.task_failures += int(value)
        case "rapport_engine_restarts_total":
            seen.engine_restarts = int(value)
        case "rapport_engine_set_aside_total":
            seen.engine_set_aside = int(value)
        case "rapport_runs_open":
            seen.runs_open = int(value)
        case "rapport_runs_behind_seconds":
            seen.runs_behind_seconds = value
        case "rapport_called_total":
            seen.called[labels["kind"]] = int(value)
        case "rapport_certificate_expiry_seconds":
            seen.certificates[labels["file"]] = value
        case "process_resident_memory_bytes":
            seen.resident_bytes = int(value)
        case _:
            pass
