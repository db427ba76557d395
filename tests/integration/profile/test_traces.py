"""Callers whose events share a transaction: each event goes on in its own caller's trace, or in none."""

import asyncio

import pytest
from opentelemetry.sdk.trace.export.in_memory_span_exporter import InMemorySpanExporter
from rapport.profile.v1 import profile_pb2
from rapport.types.v1 import stream_pb2

from services.runtime import tracing
from services.runtime.database import Database
from services.runtime.settings import Settings
from tests.integration.profile.asking import event, ingest
from tests.integration.profile.conftest import running_profile

CALLERS = 30


@pytest.fixture
def exported():
    exporter = InMemorySpanExporter()
    tracing.start_tracing(Settings(service="profile", trace_ratio=0.0), exporter)
    yield exporter
    tracing.stop_tracing()


async def handed_on(settings):
    """Payload and traceparent of what lies in the outbox."""
    database = Database(settings.database_url, pool_size=1)
    async with database.transaction() as tx:
        rows = await tx.rows("SELECT payload, trace FROM outbox WHERE stream = 'EVENTS' ORDER BY id")
    await database.close()
    return rows


async def test_events_of_many_callers_in_one_transaction_go_on_in_their_own_traces(
    profile_settings, exported
):
    """Every third caller brings no trace; each event makes a customer, so that no two share a partition."""
    settings = profile_settings(partitions=64)
    traces = {f"e{n}": f"{n + 1:032x}" if n % 3 else "" for n in range(CALLERS)}

    async def send(profile, name):
        metadata = [("traceparent", f"00-{traces[name]}-{'1' * 16}-01")] if traces[name] else []
        request = ingest(event(name, subject=f"crm:{name}"))
        await profile.profile.IngestEvents(request, metadata=metadata)

    async with running_profile(settings) as profile:
        await asyncio.gather(*(send(profile, name) for name in traces))
    rows = await handed_on(settings)
    tracing.stop_tracing()
    spans = {f"{span.context.span_id:016x}": span for span in exported.get_finished_spans()}
    found = {}
    for payload, trace in rows:
        (taken,) = stream_pb2.EventBatch.FromString(payload).events
        found[taken.id] = trace.split("-")[1] if trace else ""
        if trace:
            assert spans[trace.split("-")[2]].name == "take events"
    assert found == traces
    assert any(span.links for span in spans.values()), "no two callers shared a transaction"


async def test_each_batch_of_a_stream_is_a_span_of_its_callers_trace(profile_settings, exported):
    settings = profile_settings()

    async def requests():
        yield profile_pb2.StreamEventsRequest(open=profile_pb2.OpenStream(stream_id="s"))
        for number in (1, 2):
            batch = profile_pb2.StreamBatch(first_sequence=number, events=[event(f"e{number}")])
            yield profile_pb2.StreamEventsRequest(batch=batch)

    async with running_profile(settings) as profile:
        metadata = [("traceparent", f"00-{'a' * 32}-{'1' * 16}-01")]
        answers = [answer async for answer in profile.profile.StreamEvents(requests(), metadata=metadata)]
    assert answers[-1].acknowledged_sequence == 2
    rows = await handed_on(settings)
    assert {trace.split("-")[1] for _, trace in rows} == {"a" * 32}
    tracing.stop_tracing()
    batches = [
        span
        for span in exported.get_finished_spans()
        if span.name == "rapport.profile.v1.ProfileService/StreamEvents batch"
    ]
    assert [f"{span.parent.span_id:016x}" for span in batches] == ["1" * 16] * 2
