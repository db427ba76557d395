"""What can be scraped: names as promised, service and role on every sample, nothing that is not fed."""

from prometheus_client.parser import text_string_to_metric_families

from services.runtime import metrics

PROMISED = {
    "rapport_rpc_seconds_bucket": {"method", "code", "le"},
    "rapport_rpc_in_flight": {"method"},
    "rapport_batch_seconds_bucket": {"stream", "le"},
    "rapport_batch_items_bucket": {"stream", "le"},
    "rapport_items_total": {"stream", "outcome"},
    "rapport_stream_lag_messages": {"stream", "partition"},
    "rapport_stream_oldest_seconds": {"stream"},
    "rapport_outbox_messages": set(),
    "rapport_outbox_oldest_seconds": set(),
    "rapport_refusals_total": {"reason", "category"},
    "rapport_decisions_total": {"result"},
    "rapport_actions_total": {"kind", "category"},
    "rapport_messages_total": {"channel", "state"},
    "rapport_handover_again_total": {"category"},
    "rapport_handover_unknown_total": {"category"},
    "rapport_engine_restarts_total": set(),
    "rapport_engine_set_aside_total": set(),
    "rapport_release_trouble": {"kind"},
    "rapport_runs_open": set(),
    "rapport_runs_behind_seconds": set(),
    "rapport_outcomes_oldest_seconds": {"consumer"},
    "rapport_runs_held": {"why"},
    "rapport_runs_held_seconds": {"why"},
    "rapport_called_total": {"kind"},
    "rapport_cap_seconds_bucket": {"le"},
    "rapport_dead_letters": set(),
    "rapport_dependency_up": {"dependency"},
    "rapport_ready": set(),
    "rapport_ingest_refused_total": {"reason"},
    "rapport_task_failures_total": {"task"},
    "rapport_quarantined_messages": set(),
    "rapport_certificate_expiry_seconds": {"file"},
    "rapport_build_info": {"version"},
}
"""Alerts and dashboards are written against these."""


def scraped(service="profile", role="worker"):
    text = metrics.exposition(service, role).decode()
    return [sample for family in text_string_to_metric_families(text) for sample in family.samples]


def test_every_promised_metric_is_there_with_its_labels():
    names = metrics.sample_names()
    told = {name: set(names[name]) - {"service", "role"} for name in PROMISED}
    assert told == PROMISED
    assert all({"service", "role"} <= labels for labels in names.values())


def test_service_and_role_stand_on_every_sample_and_every_sample_was_announced():
    metrics.ITEMS.labels("EVENTS", "done").inc(3)
    metrics.RPC_SECONDS.labels("rapport.profile.v1.ProfileService/GetCustomer", "OK").observe(0.2)
    metrics.dependency_up("nats", up=False)
    samples = scraped()
    assert {(sample.labels["service"], sample.labels["role"]) for sample in samples} == {
        ("profile", "worker")
    }
    names = metrics.sample_names()
    for sample in samples:
        assert set(sample.labels) == names[sample.name], sample
    assert {"rapport_items_total", "rapport_rpc_seconds_bucket", "process_resident_memory_bytes"} <= {
        sample.name for sample in samples
    }
    down = next(
        sample
        for sample in samples
        if sample.name == "rapport_dependency_up" and sample.labels["dependency"] == "nats"
    )
    assert down.value == 0


def test_what_a_role_does_not_feed_does_not_stand_there_as_zero(monkeypatch):
    monkeypatch.setattr(metrics, "_hidden", {"rapport_quarantined_messages"})
    assert "rapport_quarantined_messages" not in {sample.name for sample in scraped()}
    metrics.show(metrics.QUARANTINED)
    assert "rapport_quarantined_messages" in {sample.name for sample in scraped()}
