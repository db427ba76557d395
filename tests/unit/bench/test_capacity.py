"""What an installation needs, computed from what was measured."""

import pytest

from bench.capacity import CUSTOMERS, DAY_SECONDS, Load, Measured, kept_days, need, read_measured, table_of
from services.cli.stack.layout import CHECKOUT

MEASURED = Measured(
    source="a test",
    cpu_us={"profile-server": 100.0, "decision-worker": 300.0, "postgres: profile": 60.0, "nats": 40.0},
    row_bytes=dict.fromkeys(
        (
            *("customer", "customer_record", "customer_traits", "identity", "event", "event_key"),
            *("decision", "decision_action", "decision_lookup"),
            *("message", "message_body", "contact", "receipt"),
        ),
        100.0,
    ),
    taken_bytes=30.0,
    wal_bytes=1_000.0,
)
KEPT = {"events": 10, "decisions": 10, "messages": 10, "message_texts": 1, "contacts": 1, "receipts": 1}


def test_processors_follow_events_peak_and_the_share_that_may_be_used():
    load = Load(customers=DAY_SECONDS * 100, events_per_day=1.0, peak=10.0, busy=0.5)
    assert load.mean_per_second == pytest.approx(100)
    assert load.peak_per_second == pytest.approx(1_000)
    found = need(MEASURED, load, KEPT)
    assert found.cores == pytest.approx(
        {"profile-server": 0.2, "decision-worker": 0.6, "postgres: profile": 0.12, "nats": 0.08}
    )
    assert found.replicas == {"profile-server": 2, "decision-worker": 2}
    ten_times = need(MEASURED, Load(DAY_SECONDS * 1_000, 1.0, peak=10.0, busy=0.5), KEPT)
    assert ten_times.replicas == {"profile-server": 2, "decision-worker": 4}


def test_space_follows_customers_events_messages_and_how_long_they_are_kept():
    load = Load(customers=1_000, events_per_day=2.0, messages_per_day=1.0)
    found = need(MEASURED, load, KEPT)
    taken = 2_000 * 30 * 30 / 3
    assert found.profile_bytes == pytest.approx(1_000 * 400 + 2_000 * 10 * 100 + 2_000 * 763 * 100 + taken)
    assert found.decision_bytes == pytest.approx(1_000 * 10 * 400 + taken)
    assert found.channel_bytes == pytest.approx(1_000 * 13 * 100 + taken)
    assert found.wal_bytes_per_day == pytest.approx(2_000_000)


def test_the_runbooks_table_is_the_one_that_is_computed():
    measured = read_measured()
    kept = kept_days(CHECKOUT / "rules")
    table = table_of([need(measured, Load(customers), kept) for customers in CUSTOMERS], measured)
    runbook = (CHECKOUT / "docs" / "runbook.md").read_text(encoding="utf-8")
    assert table in runbook, f"write this into docs/runbook.md (python -m bench.capacity):\n{table}"
