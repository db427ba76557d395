"""The pace towards one SMSC, against a server that throttles, on a clock of the test's own."""

import pytest

from services.channel.adapters.smpp_pace import Pace


class Throttling:
    """Takes so many in each second; says so at once."""

    def __init__(self, per_second: int) -> None:
        self.per_second = per_second
        self.second = -1
        self.left = 0
        self.taken = 0
        self.refused = 0

    def submit(self, pace: Pace, now: float) -> None:
        if int(now) != self.second:
            self.second, self.left = int(now), self.per_second
        pace.spend(now)
        if self.left > 0:
            self.left -= 1
            self.taken += 1
            pace.accepted(now)
        else:
            self.refused += 1
            pace.throttled(now)


def run(pace: Pace, server: Throttling, begin: float, seconds: float) -> None:
    """A sender that always has something to send, 2,000 times a second at most."""
    for step in range(int(seconds * 2_000)):
        now = begin + step / 2_000
        if pace.free_at(now) <= now:
            server.submit(pace, now)


@pytest.mark.parametrize("per_second", [20, 200, 700])
def test_it_finds_what_a_throttling_server_takes(per_second: int) -> None:
    pace, server = Pace(), Throttling(per_second)
    run(pace, server, 0.0, 20.0)
    server.taken = server.refused = 0
    run(pace, server, 20.0, 40.0)
    assert server.taken >= 0.7 * per_second * 40
    assert server.refused <= 0.05 * server.taken


def test_it_recovers_when_the_server_does() -> None:
    pace, server = Pace(), Throttling(100)
    run(pace, server, 0.0, 5.0)
    assert 0 < pace.rate < 150
    server.per_second = 10_000
    run(pace, server, 5.0, 30.0)
    assert pace.rate == 0.0  # no limit any more


def test_the_agreed_rate_is_kept_and_come_back_to() -> None:
    pace, server = Pace(50.0), Throttling(10_000)
    run(pace, server, 0.0, 10.0)
    assert 495 <= server.taken <= 505
    server.per_second = 0
    run(pace, server, 10.0, 1.0)
    assert pace.rate < 50.0
    server.per_second = 10_000
    run(pace, server, 11.0, 30.0)
    assert pace.rate == 50.0


def test_what_was_under_way_slows_it_down_once() -> None:
    pace = Pace()
    for step in range(100):
        pace.accepted(step / 100)
    for _ in range(50):
        pace.throttled(1.0)
    assert 45 <= pace.rate <= 55
