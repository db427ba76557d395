"""One trace from what a caller sent to what a customer gets: OpenTelemetry spans, exported over OTLP/HTTP.

Off unless an endpoint is set; then nothing of OpenTelemetry is even imported. Context travels as W3C
`traceparent`: in gRPC metadata, with outbox rows, in headers of stream messages, with the channel's messages.
Only sampled traces go on from service to service. Spans carry no text of errors and nothing of a person.
"""

import re
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from contextvars import ContextVar
from typing import TYPE_CHECKING, Any, TypeVar

from services.runtime.settings import Settings

if TYPE_CHECKING:
    from opentelemetry.context import Context
    from opentelemetry.sdk.trace import TracerProvider
    from opentelemetry.sdk.trace.export import SpanExporter
    from opentelemetry.trace import Span, SpanContext, Tracer

HEADER = "traceparent"
SERVER, CLIENT, CONSUMER, PRODUCER, INTERNAL = "SERVER", "CLIENT", "CONSUMER", "PRODUCER", "INTERNAL"
_MOST_LINKS = 32
_FORM = re.compile(r"([0-9a-f]{2})-([0-9a-f]{32})-([0-9a-f]{16})-([0-9a-f]{2})(-.*)?")
_SAMPLED = 1
Key = TypeVar("Key")
Attributes = Mapping[str, str | int]


class _Tracing:
    """What tracing is made of while it is on."""

    def __init__(self, provider: "TracerProvider") -> None:
        self.provider = provider
        self.tracer: Tracer = provider.get_tracer("rapport")


_tracing: _Tracing | None = None
_trails: ContextVar[Mapping[int, str] | None] = ContextVar("trails", default=None)


def start_tracing(settings: Settings, exporter: "SpanExporter | None" = None) -> None:
    """Begin to trace if `settings` name an endpoint, or to `exporter`; `stop_tracing` ends it."""
    global _tracing  # noqa: PLW0603 - one process exports to one place
    if not settings.otlp_endpoint and exporter is None:
        return
    from opentelemetry.sdk.resources import Resource
    from opentelemetry.sdk.trace import TracerProvider
    from opentelemetry.sdk.trace.export import BatchSpanProcessor
    from opentelemetry.sdk.trace.sampling import ParentBasedTraceIdRatio

    if exporter is None:
        from opentelemetry.exporter.otlp.proto.http.trace_exporter import OTLPSpanExporter

        exporter = OTLPSpanExporter(endpoint=f"{settings.otlp_endpoint.rstrip('/')}/v1/traces", timeout=5)
    provider = TracerProvider(
        sampler=ParentBasedTraceIdRatio(settings.trace_ratio),
        resource=Resource.create(
            {
                "service.namespace": "rapport",
                "service.name": f"{settings.service}-{settings.role}",
            }
        ),
        shutdown_on_exit=False,
    )
    provider.add_span_processor(BatchSpanProcessor(exporter, schedule_delay_millis=1_000))
    _tracing = _Tracing(provider)


def stop_tracing() -> None:
    """Export what is left; may take as long as an export does."""
    global _tracing
    tracing, _tracing = _tracing, None
    if tracing is not None:
        tracing.provider.shutdown()


def tracing_on() -> bool:
    """Whether spans are made at all."""
    return _tracing is not None


@contextmanager
def span(
    name: str, *, parent: str | None = None, kind: str = INTERNAL, attributes: Attributes | None = None
) -> Iterator["Span | None"]:
    """A span around the block, current in it.

    `parent`: a traceparent; "": a trace of its own; None: what is current.
    """
    tracing = _tracing
    if tracing is None:
        yield None
        return
    from opentelemetry.trace import use_span

    made = _start(tracing, name, _context(parent), kind, attributes)
    with use_span(made, end_on_exit=True, record_exception=False, set_status_on_exception=False):
        try:
            yield made
        except BaseException as error:
            failed(made, type(error).__name__)
            raise


@contextmanager
def spans(
    name: str,
    parents: Mapping[Key, str],
    *,
    kind: str = INTERNAL,
    attributes: Attributes | None = None,
    by_partition: bool = False,
) -> Iterator[Mapping[Key, str]]:
    """Work that belongs to several traces: in each of them a span, with links to the others.

    `parents` are traceparents ("": not traced); the block gets those of the new spans, by the same keys. The
    first span is current in the block. `by_partition`: keys are partitions, and what the block puts into the
    outbox for a partition belongs to that partition's trace.
    """
    tracing = _tracing
    if tracing is None:
        yield {}
        return
    from opentelemetry.context import attach, detach
    from opentelemetry.trace import INVALID_SPAN, Link, set_span_in_context

    contexts = {
        parent: found
        for parent in parents.values()
        if parent and (found := _read(parent)) is not None and found.trace_flags & _SAMPLED
    }
    made: dict[str, Span] = {}
    for parent in contexts:
        links = [Link(other) for text, other in contexts.items() if text != parent][:_MOST_LINKS]
        made[parent] = _start(tracing, name, _context(parent), kind, attributes, links)
    trails = {key: _write(made[parent]) for key, parent in parents.items() if parent in made}
    current = next(iter(made.values()), INVALID_SPAN)
    token = attach(set_span_in_context(current))
    trail_token = _trails.set(trails if by_partition else None)  # type: ignore[arg-type]
    try:
        yield trails
    except BaseException as error:
        for one in made.values():
            failed(one, type(error).__name__)
        raise
    finally:
        _trails.reset(trail_token)
        detach(token)
        for one in made.values():
            one.end()


def failed(made: "Span", why: str) -> None:
    """Mark a span as failed, unless it is: `why` is the name of an error or a status, never its text."""
    from opentelemetry.sdk.trace import Span as RecordedSpan
    from opentelemetry.trace import Status, StatusCode

    if isinstance(made, RecordedSpan) and made.status.status_code is StatusCode.UNSET:
        made.set_status(Status(StatusCode.ERROR, why))


def trail(partition: int) -> str:
    """The traceparent that what is now handed on for a partition belongs to; "": it is not traced."""
    if _tracing is None:
        return ""
    trails = _trails.get()
    return traceparent() if trails is None else trails.get(partition, "")


def traceparent() -> str:
    """The current span's, if its trace is sampled; else ""."""
    if _tracing is None:
        return ""
    from opentelemetry.trace import get_current_span

    current = get_current_span()
    return _write(current) if current.get_span_context().trace_flags & _SAMPLED else ""


def trace_ids() -> tuple[str, str] | None:
    """Trace id and span id of what is being done, for the log; None: there is no span."""
    if _tracing is None:
        return None
    from opentelemetry.trace import get_current_span

    context = get_current_span().get_span_context()
    return (f"{context.trace_id:032x}", f"{context.span_id:016x}") if context.is_valid else None


def _start(
    tracing: _Tracing,
    name: str,
    context: "Context | None",
    kind: str,
    attributes: Attributes | None,
    links: list[Any] | None = None,
) -> "Span":
    from opentelemetry.trace import SpanKind

    return tracing.tracer.start_span(
        name, context=context, kind=SpanKind[kind], attributes=attributes, links=links
    )


def _context(parent: str | None) -> "Context | None":
    from opentelemetry.context import Context
    from opentelemetry.trace import NonRecordingSpan, set_span_in_context

    if parent is None:
        return None
    found = _read(parent)
    return Context() if found is None else set_span_in_context(NonRecordingSpan(found), Context())


def _read(text: str) -> "SpanContext | None":
    """A W3C traceparent (Trace Context, level 1); None when it is none, or not of a form known."""
    from opentelemetry.trace import SpanContext, TraceFlags

    found = _FORM.fullmatch(text)
    if found is None or found[1] == "ff" or (found[1] == "00" and found[5]):
        return None
    context = SpanContext(
        int(found[2], 16), int(found[3], 16), is_remote=True, trace_flags=TraceFlags(int(found[4], 16))
    )
    return context if context.is_valid else None


def _write(made: "Span") -> str:
    context = made.get_span_context()
    return f"00-{context.trace_id:032x}-{context.span_id:016x}-{context.trace_flags:02x}"
