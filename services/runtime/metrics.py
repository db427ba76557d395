"""What a role counts about itself for Prometheus: every metric, its labels, and what they mean.

Labels never name a person, an address or a single message. `service` and `role` stand on every sample.
"""

from collections.abc import Iterable, Iterator

from prometheus_client import (
    CollectorRegistry,
    Counter,
    Gauge,
    Histogram,
    disable_created_metrics,
    generate_latest,
)
from prometheus_client.gc_collector import GCCollector
from prometheus_client.metrics import MetricWrapperBase
from prometheus_client.metrics_core import Metric
from prometheus_client.process_collector import ProcessCollector
from prometheus_client.registry import Collector

CONTENT_TYPE = "text/plain; version=0.0.4; charset=utf-8"
_CALL_BUCKETS = (0.001, 0.0025, 0.005, 0.01, 0.025, 0.05, 0.1, 0.25, 0.5, 1.0, 2.5, 5.0, 10.0, 30.0, 60.0)
_CAP_BUCKETS = (0.0001, 0.00025, 0.0005, 0.001, 0.0025, 0.005, 0.01, 0.025, 0.05, 0.1, 0.25, 1.0)
_ITEM_BUCKETS = (1, 5, 10, 25, 50, 100, 200, 300, 400, 500, 1_000, 5_000)

disable_created_metrics()  # type: ignore[no-untyped-call]  # a series more for each, which nothing asks for
_families = CollectorRegistry(auto_describe=True)
_process = CollectorRegistry()
ProcessCollector(registry=_process)
GCCollector(registry=_process)

# calls

RPC_SECONDS = Histogram(
    "rapport_rpc_seconds",
    "How long a call took, a stream until its end, in seconds.",
    ("method", "code"),
    buckets=_CALL_BUCKETS,
    registry=_families,
)
RPC_IN_FLIGHT = Gauge(
    "rapport_rpc_in_flight", "Calls and streams that are being answered.", ("method",), registry=_families
)
INGESTED = Counter(
    "rapport_ingest", "Events of callers: accepted, or duplicate.", ("outcome",), registry=_families
)
INGEST_REFUSED = Counter(
    "rapport_ingest_refused",
    "Events that were not taken: those answered as wrong, and calls turned away, by reason.",
    ("reason",),
    registry=_families,
)

# the log between the services

BATCH_SECONDS = Histogram(
    "rapport_batch_seconds",
    "How long a worker's transaction for a batch of stream messages took, in seconds.",
    ("stream",),
    buckets=_CALL_BUCKETS,
    registry=_families,
)
BATCH_ITEMS = Histogram(
    "rapport_batch_items",
    "How many items (events, actions) a batch held.",
    ("stream",),
    buckets=_ITEM_BUCKETS,
    registry=_families,
)
ITEMS = Counter(
    "rapport_items",
    "Items taken from a stream: done, set_aside as dead letters, repeated (done before, nothing changed).",
    ("stream", "outcome"),
    registry=_families,
)
STREAM_LAG = Gauge(
    "rapport_stream_lag_messages",
    "Messages of a partition that wait or are in work.",
    ("stream", "partition"),
    registry=_families,
)
STREAM_OLDEST = Gauge(
    "rapport_stream_oldest_seconds",
    "Age of the oldest message of a stream that is not done, in seconds; 0: none.",
    ("stream",),
    registry=_families,
)
OUTBOX_MESSAGES = Gauge(
    "rapport_outbox_messages", "Messages that are committed and not yet published.", registry=_families
)
OUTBOX_OLDEST = Gauge(
    "rapport_outbox_oldest_seconds",
    "Age of the oldest message of the outbox, in seconds; 0: none.",
    registry=_families,
)
DEAD_LETTERS = Gauge(
    "rapport_dead_letters", "Items that were set aside and not sent again.", registry=_families
)

# decisions

DECISIONS = Counter(
    "rapport_decisions",
    "Decisions about events and questions: acted, silent (candidates, none chosen), nothing (no candidate).",
    ("result",),
    registry=_families,
)
ACTIONS = Counter("rapport_actions", "Actions that were decided.", ("kind", "category"), registry=_families)
ENGINE_RESTARTS = Counter(
    "rapport_engine_restarts", "Times that the rules engine's process was started again.", registry=_families
)
ENGINE_SET_ASIDE = Counter(
    "rapport_engine_set_aside",
    "Events that were set aside because they ended the engine's process twice.",
    registry=_families,
)
RELEASE_TROUBLE = Gauge(
    "rapport_release_trouble",
    "Rule sets of which a version was replaced because it was broken (replace), or a scheduled activation "
    "refused (refused), and nobody has released another since.",
    ("kind",),
    registry=_families,
)

RUNS_OPEN = Gauge(
    "rapport_runs_open", "Audiences that are due to be asked and not asked to their end.", registry=_families
)
RUNS_BEHIND = Gauge(
    "rapport_runs_behind_seconds",
    "Business time since the next page of an audience was to be asked, for the one most behind; 0: none is.",
    registry=_families,
)
OUTCOMES_OLDEST = Gauge(
    "rapport_outcomes_oldest_seconds",
    "Business time since the oldest outcome that a consumer has not acknowledged; 0: it has all.",
    ("consumer",),
    registry=_families,
)
RUNS_HELD = Gauge(
    "rapport_runs_held",
    "Audiences begun and asked no further: a person paused it (paused), or it waits for room (care, budget, "
    "killed, unknown).",
    ("why",),
    registry=_families,
)
RUNS_HELD_SECONDS = Gauge(
    "rapport_runs_held_seconds",
    "Business time since the audience held longest so was paused, or began to wait.",
    ("why",),
    registry=_families,
)
CALLED = Counter(
    "rapport_called",
    "Customers called for a rule set by no event of theirs: schedule, absence, thing, pair.",
    ("kind",),
    registry=_families,
)

# messages

REFUSALS = Counter(
    "rapport_refusals", "Actions that a gate refused.", ("reason", "category"), registry=_families
)
MESSAGES = Counter(
    "rapport_messages", "Messages that came into a state.", ("channel", "state"), registry=_families
)
HANDOVER_AGAIN = Counter(
    "rapport_handover_again",
    "Messages handed over again because it is not known whether the first time counted.",
    ("category",),
    registry=_families,
)
HANDOVER_UNKNOWN = Counter(
    "rapport_handover_unknown",
    "Messages given up as HANDOVER_UNKNOWN: perhaps handed over, not repeated.",
    ("category",),
    registry=_families,
)
CAP_SECONDS = Histogram(
    "rapport_cap_seconds",
    "How long a batch waited for its customers' locks and what they were told lately, in seconds.",
    buckets=_CAP_BUCKETS,
    registry=_families,
)
QUARANTINED = Gauge(
    "rapport_quarantined_messages",
    "Messages of a gap after a restore that wait for somebody's word.",
    registry=_families,
)

# mail and the web

REPLIES = Counter(
    "rapport_replies",
    "Messages that customers wrote, by what they want; of nobody: from numbers that no customer has.",
    ("channel", "intent", "of"),
    registry=_families,
)
SUPPRESSIONS = Counter(
    "rapport_suppressions",
    "Changes of the suppression list: added or lifted, by reason.",
    ("channel", "reason", "change"),
    registry=_families,
)
WEB_REQUESTS = Counter(
    "rapport_web_requests",
    "Requests to the web endpoint, by its part (links, reports) and status.",
    ("part", "status"),
    registry=_families,
)
MAIL_REPORTS = Counter(
    "rapport_mail_reports",
    "Mails about our mails: hard, soft, ours, delayed, complaint, way_out, automatic, unknown, repeated.",
    ("kind",),
    registry=_families,
)

# the role itself

READY = Gauge("rapport_ready", "1: the role takes work; 0: it does not.", registry=_families)
DEPENDENCY_UP = Gauge(
    "rapport_dependency_up",
    "1: what the role needs answers; 0: it does not.",
    ("dependency",),
    registry=_families,
)
RECENT = Gauge(
    "rapport_recent_per_second",
    "What was done per second over the last minute: events, decisions, messages, items by stream.",
    ("of",),
    registry=_families,
)
TASK_FAILURES = Counter(
    "rapport_task_failures",
    "Times that a task of the role failed and came back.",
    ("task",),
    registry=_families,
)
CERTIFICATE_EXPIRY = Gauge(
    "rapport_certificate_expiry_seconds",
    "How long a certificate of ours is still valid, in seconds; negative: it has expired.",
    ("file",),
    registry=_families,
)
BUILD = Gauge("rapport_build_info", "Always 1; the version is a label.", ("version",), registry=_families)

_NOTHING_YET = (
    OUTBOX_MESSAGES,
    OUTBOX_OLDEST,
    DEAD_LETTERS,
    ENGINE_RESTARTS,
    ENGINE_SET_ASIDE,
    RUNS_OPEN,
    RUNS_BEHIND,
    CAP_SECONDS,
    QUARANTINED,
    READY,
)
"""They have no labels, so they would show 0 in a role that never counts them."""


def _described(family: MetricWrapperBase) -> Metric:
    return next(iter(family.describe()))


_hidden: set[str] = {_described(family).name for family in _NOTHING_YET}


def show(*families: MetricWrapperBase) -> None:
    """From now on metrics without labels are part of what is scraped: this role feeds them."""
    _hidden.difference_update(_described(family).name for family in families)


def dependency_up(name: str, up: bool) -> None:  # noqa: FBT001 - what it says
    """Whether what the role needs (database, nats, profile, channel, engine, smsc …) answers."""
    DEPENDENCY_UP.labels(name).set(up)


def role_ready(ready: bool) -> None:  # noqa: FBT001 - what it says
    """Whether the role takes work."""
    show(READY)
    READY.set(ready)


class _Labelled(Collector):
    """What was counted, with the labels that all samples of a process share."""

    def __init__(self, service: str, role: str) -> None:
        self._labels = {"service": service, "role": role}

    def collect(self) -> Iterator[Metric]:
        for registry in (_families, _process):
            for metric in registry.collect():
                if metric.samples and metric.name not in _hidden:
                    metric.samples = [
                        sample._replace(labels={**self._labels, **sample.labels}) for sample in metric.samples
                    ]
                    yield metric


class _Registry(CollectorRegistry):
    """A registry of one collector, which need not describe itself."""

    def __init__(self, collector: Collector) -> None:
        super().__init__(auto_describe=False)
        self.register(collector)


def exposition(service: str, role: str) -> bytes:
    """All that this process has counted, as Prometheus reads it (text format 0.0.4)."""
    return generate_latest(_Registry(_Labelled(service, role)))


def sample_names() -> dict[str, frozenset[str]]:
    """Every sample name that can be scraped, with its labels (`le` of histograms among them)."""
    names: dict[str, frozenset[str]] = {}
    for family in _own_families():
        labels = frozenset({*family._labelnames, "service", "role"})  # noqa: SLF001 - it has no other way
        metric = _described(family)
        match metric.type:
            case "counter":
                names[f"{metric.name}_total"] = labels
            case "histogram":
                names[f"{metric.name}_bucket"] = labels | {"le"}
                names[f"{metric.name}_sum"] = names[f"{metric.name}_count"] = labels
            case _:
                names[metric.name] = labels
    for metric in _process.collect():
        for sample in metric.samples:
            names[sample.name] = frozenset({*sample.labels, "service", "role"})
    return names


def _own_families() -> Iterable[MetricWrapperBase]:
    return [value for value in globals().values() if isinstance(value, MetricWrapperBase)]
