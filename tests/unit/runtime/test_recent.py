"""Rates over the last minute from counters that only grow."""

from services.runtime import metrics
from services.runtime.recent import RecentRates, counted


def test_a_rate_is_over_what_was_looked_at_and_then_over_the_last_minute():
    rates = RecentRates()
    assert rates.look(0, {"events": 100}) == {}
    assert rates.look(10, {"events": 200}) == {"events": 10}
    for second in range(20, 130, 10):
        rates.look(second, {"events": 200})
    assert rates.look(130, {"events": 320}) == {"events": 2}


def test_what_is_counted_for_the_first_time_counts_from_nothing():
    rates = RecentRates()
    rates.look(0, {})
    assert rates.look(5, {"messages": 10}) == {"messages": 2}


def test_only_what_came_of_something_counts():
    before = counted()
    metrics.DECISIONS.labels("acted").inc(2)
    metrics.DECISIONS.labels("silent").inc()
    metrics.DECISIONS.labels("nothing").inc(7)
    metrics.INGESTED.labels("accepted").inc(4)
    metrics.INGESTED.labels("duplicate").inc(9)
    metrics.MESSAGES.labels("sms", "sent").inc(3)
    metrics.MESSAGES.labels("sms", "delivered").inc(3)
    after = counted()
    grown = {name: after[name] - before.get(name, 0) for name in ("decisions", "events", "messages")}
    assert grown == {"decisions": 3, "events": 4, "messages": 3}
