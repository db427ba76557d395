"""What breaks in the middle comes back, and nothing is lost, nothing is done twice that must not be."""

import datetime as dt
import os
import signal
import subprocess
import sys
from collections import Counter

import pytest

from services.cli.stack.options import SERVICES
from services.cli.stack.programs import SMSC_SYSTEM_ID
from tests.system.conftest import RULE_SETS, lines, new_number, person, until, used

ROLES = [f"{service}-{role}" for service in SERVICES for role in ("server", "worker")]
FINAL = {"sent", "delivered", "failed", "expired", "refused"}
HOUR = dt.timedelta(hours=1)


def month_of_use(noon, people, sessions):
    """Customers who each pass 50, 80 and 100 % of their month's data, session by session, an hour apart.

    The month's data is what one session fewer than half of all uses: 100 % is passed half-way through.
    """
    subjects = [f"msisdn:{new_number()}" for _ in range(people)]
    quota = 100 * (sessions // 2)
    events = [told for subject in subjects for told in person(noon, subject, plan_data_mb=quota)]
    for session in range(sessions):
        events += [used(noon + session * HOUR, subject, 100) for subject in subjects]
    return subjects, events


def month_after(noon):
    """The first of the next month at noon, so that no other use counts in the month's sum."""
    return (noon.replace(day=1) + dt.timedelta(days=32)).replace(day=1)


class Counts:
    """How far totals have moved since."""

    def __init__(self, rapport):
        self._rapport = rapport
        self._before = {name: told.totals for name, told in rapport.progress().items()}

        self._dead = self._dead_letters()

    def since(self, service, name):
        return self._rapport.total(service, name) - self._before[service].get(name, 0)

    def set_aside(self):
        return self._dead_letters() - self._dead

    def _dead_letters(self):
        return sum(told.dead_letters for told in self._rapport.progress().values())


def messages_of(rapport, subjects):
    """Their messages, by (customer's identity, name)."""
    customers = {
        decision["customer"]: decision["identities"][0]
        for decision in rapport.listing("decisions", "list", "--all", "--rule-set", "quota-notices")
        if decision["identities"][0] in subjects
    }
    found = Counter()
    for message in rapport.listing("messages", "list", "--all", "--channel", "sms"):
        if message["customer"] in customers and message["name"].startswith("quota-"):
            assert message["state"] in FINAL
            found[customers[message["customer"]], message["name"]] += 1
    return found


def wanted_messages(subjects):
    return Counter((subject, f"quota-{share}") for subject in subjects for share in (50, 80, 100))


def test_messages_wait_for_an_smsc_that_comes_later(make_stack, tmp_path):
    """Nothing listens where the SMSC should be when the stack starts; then it does."""
    rapport = make_stack(rule_sets=RULE_SETS, without=("smsc",))
    noon = rapport.noon()
    numbers = [new_number() for _ in range(40)]
    file = tmp_path / "events.ndjson"
    events = [told for number in numbers for told in person(noon, f"msisdn:{number}", plan_data_mb=1000)]
    events += [used(noon + HOUR, f"msisdn:{number}", 600) for number in numbers]
    file.write_bytes(lines(events))
    with rapport.running("ingest", str(file), "--wait") as feeder:
        until(lambda: rapport.total("channel", "actions.taken") == len(numbers))
        waiting = rapport.listing("messages", "list")
        assert {m["state"] for m in waiting} <= {"accepted", "planned", "deferred"}
        assert len(waiting) == len(numbers)
        assert rapport.received("smsc") == []
        with subprocess.Popen(smsc_command(rapport)) as smsc:
            try:
                _, told = feeder.communicate(timeout=120)
                assert feeder.returncode == 0, told
                messages = rapport.listing("messages", "list", "--all")
            finally:
                smsc.terminate()
    assert [m["state"] for m in messages] == ["delivered"] * len(numbers)
    got = rapport.received("smsc")
    assert sorted(entry["destination"] for entry in got) == sorted(n.lstrip("+") for n in numbers)
    assert {entry["reference"] for entry in got} == {m["message_id"] for m in messages}


def smsc_command(rapport):
    """The simulator as `rapport up` would start it."""
    layout = rapport.layout
    return [
        *(sys.executable, "-m", "services.cli.providers.smsc"),
        *("--listen", rapport.stack.address("smsc")),
        *("--record", str(layout.record("smsc"))),
        *("--password-file", str(layout.secret("smsc"))),
        *("--system-id", SMSC_SYSTEM_ID),
    ]


@pytest.mark.timeout(600)
def test_each_role_killed_in_turn_while_events_come_loses_nothing(rapport, noon, tmp_path):
    subjects, events = month_of_use(month_after(noon), people=30, sessions=60)
    file = tmp_path / "events.ndjson"
    file.write_bytes(lines(events))
    counts = Counts(rapport)
    with rapport.running("ingest", str(file), "--wait", "--json") as feeder:
        for turn, role in enumerate(ROLES, start=1):
            mark = len(events) * turn // (len(ROLES) + 2)
            until(lambda mark=mark: counts.since("profile", "events.accepted") >= mark)
            assert feeder.poll() is None
            restarts = rapport.stack.program(role).restarts
            rapport.birth(role).send(signal.SIGKILL)
            until(lambda role=role, restarts=restarts: came_back(rapport, role, restarts))
        told, errors = feeder.communicate(timeout=300)
        assert feeder.returncode == 0, errors
    assert '"rejected":[]' in told
    assert counts.since("profile", "events.accepted") == len(events)
    own = counts.since("profile", "events.own")
    assert counts.since("decision", "events.seen") == len(events) + own
    assert messages_of(rapport, subjects) == wanted_messages(subjects)
    assert counts.set_aside() == 0
    numbers = {subject.removeprefix("msisdn:+") for subject in subjects}
    handed = Counter(e["reference"] for e in rapport.received("smsc") if e["destination"] in numbers)
    assert len(handed) == 3 * len(subjects)
    # a service message that the killed sender had in its hands is handed over again, and says so
    for message_id in (reference for reference, times in handed.items() if times > 1):
        (told,) = rapport.listing("messages", "show", message_id)
        assert "HANDOVER_UNKNOWN" in {entry["reason"] for entry in told["history"]}


def came_back(rapport, role, restarts):
    program = rapport.stack.program(role)
    return program.restarts > restarts and program.state == "running"


@pytest.mark.timeout(300)
def test_a_feeder_killed_in_the_middle_goes_on_where_it_was(rapport, noon, tmp_path):
    subjects, events = month_of_use(month_after(noon), people=40, sessions=40)
    file = tmp_path / "events.ndjson"
    file.write_bytes(lines(events))
    counts = Counts(rapport)
    with rapport.running("ingest", str(file)) as feeder:
        until(lambda: counts.since("profile", "events.accepted") >= len(events) // 3)
        os.kill(feeder.pid, signal.SIGKILL)
        feeder.wait()
    so_far = counts.since("profile", "events.accepted")
    assert so_far < len(events)
    done = rapport("ingest", str(file), "--wait")
    assert done.returncode == 0, done.stderr
    assert f"{len(events):,} events read" in done.stdout
    assert "answered in an earlier attempt" in done.stdout
    assert counts.since("profile", "events.accepted") == len(events)
    assert messages_of(rapport, subjects) == wanted_messages(subjects)
    numbers = {subject.removeprefix("msisdn:+") for subject in subjects}
    handed = Counter(e["reference"] for e in rapport.received("smsc") if e["destination"] in numbers)
    assert len(handed) == sum(handed.values()) == 3 * len(subjects)
