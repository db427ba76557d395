"""Who may call without a token saying so, how often, and what is said of a file that is wrong."""

from contextlib import ExitStack
from pathlib import Path

import pytest

from services.cli.stack.layout import CHECKOUT
from services.runtime.access_policy import (
    AccessPolicyFile,
    Grant,
    Rate,
    all_scopes,
    our_services,
    read_access_policy,
    scopes_of,
)
from services.runtime.errors import SettingError, TooManyCallsError
from services.runtime.rates import Rates
from tests.fakes.hand_clock import HandClock

RIGHT = """\
callers:
  decision: {scopes: [profiles.read], calls_per_second: 10}
  crm/desk: {scopes: [decisions.make, profiles.read], calls_per_second: 0.5, burst: 3}
tokens:
  calls_per_second: 100
  burst: 200
  subjects:
    bss: {calls_per_second: 1000}
"""


def write(folder: Path, text: str) -> Path:
    path = folder / "policies" / "access.yaml"
    path.parent.mkdir(exist_ok=True)
    path.write_text(text)
    return path


def test_callers_have_scopes_and_rates(tmp_path: Path):
    policy = read_access_policy(write(tmp_path, RIGHT))
    assert policy.callers == {
        "decision": Grant(frozenset({"profiles.read"}), Rate(10, 10)),
        "crm/desk": Grant(frozenset({"decisions.make", "profiles.read"}), Rate(0.5, 3)),
    }
    assert (policy.tokens, policy.subjects) == (Rate(100, 200), {"bss": Rate(1000, 1000)})


@pytest.mark.parametrize(
    ("before", "after", "told"),
    [
        ("[profiles.read]", "[profile.read]", "which nothing needs, did you mean profiles.read?"),
        ("[profiles.read]", "profiles.read", ":2: callers.decision.scopes must be a list of texts"),
        ("crm/desk", "CRM desk", "access.yaml:3: callers.CRM desk is no name"),
        ("calls_per_second: 10}", "calls_per_second: 0}", "access.yaml:2: callers.decision.calls_per_second"),
        (", calls_per_second: 10}", "}", "access.yaml:2: callers.decision.calls_per_second is missing"),
        ("burst: 3", "burst: 0", "too small"),
        ("burst: 3", "streams: -1", "streams is no number of open streams"),
        ("burst: 3", "bursts: 3", ":3: callers.crm/desk.bursts is not known here, did you mean burst?"),
        ("tokens:", "token:", "access.yaml:1: tokens is missing"),
        ("subjects:", "subject:", "subject is not known here, did you mean subjects?"),
        ("callers:", "callers: [", "is no YAML"),
    ],
)  # fmt: skip
def test_a_mistake_is_told_with_its_line(tmp_path: Path, before: str, after: str, told: str):
    assert before in RIGHT
    with pytest.raises(SettingError) as raised:
        read_access_policy(write(tmp_path, RIGHT.replace(before, after, 1)))
    assert told in raised.value.message


def test_a_file_that_is_not_there_is_named(tmp_path: Path):
    with pytest.raises(SettingError, match=r"policies/access\.yaml cannot be read"):
        read_access_policy(tmp_path / "policies" / "access.yaml")


def test_a_changed_policy_counts_within_a_second_and_a_wrong_one_never(tmp_path: Path):
    path = write(tmp_path, RIGHT)
    clock = HandClock()
    file = AccessPolicyFile(tmp_path, clock)
    path.write_text(RIGHT.replace("  decision:", "  other:"))
    clock.pass_by(1)
    assert set(file.current().callers) == {"other", "crm/desk"}
    path.write_text("callers: [")
    clock.pass_by(1)
    assert set(file.current().callers) == {"other", "crm/desk"}
    path.write_text(RIGHT)
    clock.pass_by(1)
    assert set(file.current().callers) == {"decision", "crm/desk"}


def test_the_shipped_policy_gives_each_service_what_it_calls_and_no_more():
    policy = read_access_policy(CHECKOUT / "rules" / "policies" / "access.yaml")
    assert {name: sorted(grant.scopes) for name, grant in policy.callers.items()} == {
        "profile": [],
        "decision": [
            "audiences.read",
            "gates.simulate",
            "history.read",
            "listened.write",
            "messages.read",
            "messages.reserve",
            "profiles.read",
        ],
        "channel": ["contact.check", "identities.resolve"],
    }


def test_every_method_of_ours_declares_a_scope():
    services = our_services()
    assert len(services) >= 5
    for service in services:
        for method, scope in scopes_of(service).items():
            resource, _, verb = scope.partition(".")
            assert resource.isalpha(), method
            assert verb.isalpha(), method
    assert "" not in all_scopes()


def test_a_caller_may_call_as_often_as_its_rate_says_and_is_told_when_next():
    clock = HandClock()
    rates = Rates(clock)
    rate = Rate(calls_per_second=2, burst=3)
    for _ in range(3):
        rates.spend("a", rate)
    with pytest.raises(TooManyCallsError) as raised:
        rates.spend("a", rate)
    assert raised.value.retry_seconds == pytest.approx(0.5)
    rates.spend("b", rate)  # another's bucket is its own
    clock.pass_by(0.25)
    with pytest.raises(TooManyCallsError) as raised:
        rates.spend("a", rate)
    assert raised.value.retry_seconds == pytest.approx(0.25)
    clock.pass_by(0.25)
    rates.spend("a", rate)
    clock.pass_by(3600)
    for _ in range(3):
        rates.spend("a", rate)
    with pytest.raises(TooManyCallsError):
        rates.spend("a", rate)


def test_a_caller_may_hold_as_many_streams_as_its_rate_says():
    rates = Rates(HandClock())
    rate = Rate(1000, 1000, streams=2)
    with ExitStack() as open_streams:
        open_streams.enter_context(rates.stream("a", rate))
        with rates.stream("a", rate):
            with pytest.raises(TooManyCallsError, match="2 streams"), rates.stream("a", rate):
                pass
            with rates.stream("b", rate):
                pass
        open_streams.enter_context(rates.stream("a", rate))
    with rates.stream("a", rate), rates.stream("a", rate):
        pass


def test_callers_that_do_not_come_back_are_forgotten():
    rates = Rates(HandClock())
    rate = Rate(1, 1)
    rates.spend("first", rate)
    for number in range(10_000):
        rates.spend(f"caller {number}", rate)
    rates.spend("first", rate)
