"""Spans and their contexts: whose child, linked to what, handed on where, and off by default."""

import sys

import pytest
from opentelemetry.sdk.trace.export.in_memory_span_exporter import InMemorySpanExporter

from services.runtime import tracing
from services.runtime.log import configure_logging
from services.runtime.settings import Settings

FIRST = f"00-{'a' * 32}-{'1' * 16}-01"
SECOND = f"00-{'b' * 32}-{'2' * 16}-01"
UNSAMPLED = f"00-{'c' * 32}-{'3' * 16}-00"


class Spans:
    """What was exported, by name of the span."""

    def __init__(self, exporter):
        self._exporter = exporter

    def all(self):
        tracing.stop_tracing()  # which sends what is left
        return self._exporter.get_finished_spans()

    def named(self, name):
        return [span for span in self.all() if span.name == name]


@pytest.fixture
def on():
    exporter = InMemorySpanExporter()
    tracing.start_tracing(Settings(service="profile", trace_ratio=1.0), exporter)
    yield Spans(exporter)
    tracing.stop_tracing()


def ids(span):
    return f"{span.context.trace_id:032x}", f"{span.context.span_id:016x}"


def parent(span):
    return f"{span.parent.span_id:016x}" if span.parent else ""


def test_without_an_endpoint_nothing_is_traced_and_nothing_handed_on():
    tracing.start_tracing(Settings(service="profile"))
    with tracing.span("call", parent=FIRST) as made, tracing.spans("batch", {3: FIRST}, by_partition=True):
        assert made is None
        assert (tracing.traceparent(), tracing.trail(3), tracing.trace_ids()) == ("", "", None)
    assert not tracing.tracing_on()


def test_a_call_goes_on_with_the_callers_trace_and_hands_its_own_span_on(on):
    with tracing.span("call", parent=FIRST, kind=tracing.SERVER, attributes={"rpc.method": "x"}):
        handed = tracing.traceparent()
        assert tracing.trail(5) == handed
        with tracing.span("inside"):
            pass
    call, inside = on.named("call")[0], on.named("inside")[0]
    assert ids(call)[0] == "a" * 32
    assert parent(call) == "1" * 16
    assert parent(inside) == ids(call)[1]
    assert handed == f"00-{'a' * 32}-{ids(call)[1]}-01"


@pytest.mark.parametrize(
    "text", ["", "nonsense", f"00-{'0' * 32}-{'1' * 16}-01", f"ff-{'a' * 32}-{'1' * 16}-01", FIRST.upper()]
)
def test_what_is_no_traceparent_begins_a_trace_of_its_own(on, text):
    with tracing.span("call", parent=text):
        pass
    (call,) = on.named("call")
    assert parent(call) == ""
    assert ids(call)[0] != "a" * 32


def test_a_batch_has_a_span_in_each_trace_linked_to_the_others_and_goes_on_by_partition(on):
    parents = {3: FIRST, 5: SECOND, 7: "", 9: FIRST, 11: UNSAMPLED}
    with tracing.spans("batch", parents, kind=tracing.CONSUMER, by_partition=True) as handed:
        trails = {partition: tracing.trail(partition) for partition in (3, 5, 7, 9, 11)}
    assert (trails[7], trails[11]) == ("", "")
    assert trails[3] == trails[9]
    assert handed == {3: trails[3], 5: trails[5], 9: trails[9]}
    first, second = on.named("batch")
    assert (parent(first), parent(second)) == ("1" * 16, "2" * 16)
    assert trails[3] == f"00-{'a' * 32}-{ids(first)[1]}-01"
    assert trails[5] == f"00-{'b' * 32}-{ids(second)[1]}-01"
    assert [f"{link.context.trace_id:032x}" for link in first.links] == ["b" * 32]
    assert [f"{link.context.trace_id:032x}" for link in second.links] == ["a" * 32]


def test_work_of_no_trace_does_not_go_on_with_the_one_around_it(on):
    with tracing.span("call", parent=FIRST), tracing.spans("batch", {0: ""}):
        assert tracing.traceparent() == ""
    assert on.named("batch") == []


def test_an_unsampled_call_is_neither_exported_nor_handed_on_but_has_an_id_for_the_log(on):
    with tracing.span("call", parent=UNSAMPLED):
        assert tracing.traceparent() == ""
        assert tracing.trace_ids()[0] == "c" * 32
    assert on.all() == ()


def test_a_failed_span_names_the_error_and_never_its_text(on):
    with pytest.raises(ValueError, match="33612345678"), tracing.span("call", parent=FIRST):
        raise ValueError("+33612345678")
    with pytest.raises(ValueError, match="33612345678"), tracing.spans("batch", {1: FIRST}):
        raise ValueError("+33612345678")
    spans = on.all()
    assert [span.status.description for span in spans] == ["ValueError", "ValueError"]
    assert all("33612345678" not in span.to_json() for span in spans)


def test_how_many_calls_begin_a_trace_is_a_setting():
    exporter = InMemorySpanExporter()
    tracing.start_tracing(Settings(service="profile", trace_ratio=0.0), exporter)
    with tracing.span("own", parent=""), tracing.span("followed", parent=FIRST):
        pass
    tracing.stop_tracing()
    assert [span.name for span in exporter.get_finished_spans()] == ["followed"]


def test_log_lines_carry_the_trace_they_belong_to(on):
    import logging

    import orjson
    import structlog

    root = logging.getLogger()
    handlers, level = root.handlers[:], root.level
    try:
        configure_logging("profile", "server")
        (handler,) = root.handlers
        record = logging.LogRecord("x", logging.INFO, "", 0, "something", (), None)
        with tracing.span("call", parent=FIRST):
            inside = orjson.loads(handler.format(record))
        outside = orjson.loads(handler.format(record))
    finally:
        root.handlers[:] = handlers
        root.setLevel(level)
        structlog.reset_defaults()
        structlog.contextvars.clear_contextvars()
    (call,) = on.named("call")
    assert (inside["trace_id"], inside["span_id"]) == ids(call)
    assert "trace_id" not in outside


def test_off_means_that_nothing_of_it_is_imported():
    import subprocess

    program = """
import sys, services.runtime.server, services.runtime.consumer
print([name for name in sys.modules if name.startswith("opentelemetry")])
"""
    told = subprocess.run([sys.executable, "-c", program], capture_output=True, text=True, check=True)
    assert told.stdout.strip() == "[]"
