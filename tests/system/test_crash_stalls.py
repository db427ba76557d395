"""The network between any two parts stalls for 20 seconds while events come: nothing is lost or doubled."""

import pytest

from tests.system.conftest import RULE_SETS
from tests.system.crash.network import network
from tests.system.crash.proxy import Pair
from tests.system.crash.run import run
from tests.system.crash.stalls import Stalls

ROUNDS = [
    # each once into a database, into NATS, into another service, and out to a provider
    (
        Pair("profile-server", "postgres"),
        Pair("decision-worker", "nats"),
        Pair("channel-worker", "profile"),
        Pair("channel-worker", "smtp-sink"),
    ),
    (
        Pair("channel-worker", "postgres"),
        Pair("profile-worker", "nats"),
        Pair("feeder", "profile"),
        Pair("channel-worker", "smsc"),
    ),
]


@pytest.mark.timeout(400)
def test_a_stalled_network_loses_nothing_and_doubles_nothing(make_stack):
    with network(lambda **options: make_stack(rule_sets=RULE_SETS, **options)) as net:
        stalls = Stalls(net, ROUNDS)
        account = run(
            net.rapport,
            feed_from=net.feed_from,
            events=2_000,
            seconds=stalls.lasting,
            seed=7,
            breaking=lambda: stalls,
        )
        assert account.holds, account.table()
        assert stalls.done == ROUNDS
        assert {pair for pairs in ROUNDS for pair in pairs} <= net.proxies.seen
