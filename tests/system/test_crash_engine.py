"""Events that kill the engine's process, or make it hang, are set aside after the second time."""

import datetime as dt
from collections import Counter

import pytest

from tests.system.conftest import RULE_SETS, new_number, person, used
from tests.system.crash.by_hand import role_by_hand, settings_like

HOUR = dt.timedelta(hours=1)


@pytest.mark.timeout(300)
def test_events_that_kill_the_engine_are_set_aside_and_the_rest_flows(make_stack, tmp_path):
    rapport = make_stack(rule_sets=RULE_SETS, without=("decision-worker",))
    noon = rapport.noon()
    subjects = {f"msisdn:{new_number()}": "" for _ in range(40)}
    killers = ["crash-always-1", "hang-always-1", "crash-always-2", "crash-once-1"]
    subjects |= dict(zip(list(subjects)[5::10], killers, strict=True))
    events = [told for subject in subjects for told in person(noon, subject, plan_data_mb=1000)]
    for session in (1, 2, 3):  # half of the month's data is used up with the second of these
        for subject, killer in subjects.items():
            told = used(noon + session * HOUR, subject, 260)
            events.append({**told, "id": killer} if killer and session == 2 else told)
    environment = settings_like(rapport, "decision-server")

    crashing = ("tests.fakes.crashing_worker", "worker", str(tmp_path / "crashed"))
    with role_by_hand(rapport, "crashing", crashing, environment) as log:
        rapport.take(events)
        lost = [line for line in log.read_text(encoding="utf-8").splitlines() if "process lost" in line]
        # always: twice each, once in its batch and once alone; once: in its batch only
        assert len(lost) == 2 * 3 + 1
        letters = {letter["item_id"]: letter for letter in rapport.listing("dead", "list")}
        assert sorted(letters) == sorted(killers[:3])
        assert all("killed the engine's process 2 times" in one["reason"] for one in letters.values())
        assert rapport.total("decision", "events.set_aside") == 3
        untold = {number(subject) for subject, killer in subjects.items() if killer in letters}
        assert numbers_told(rapport) == Counter(map(number, subjects)) - Counter(untold)

    mended = ("services.decision.main", "worker")
    with role_by_hand(rapport, "mended", mended, environment):
        for letter in letters.values():
            done = rapport("dead", "resend", letter["dead_letter_id"], "--service", "decision")
            assert done.returncode == 0, done.stderr
        rapport.take([used(noon + 5 * HOUR, next(iter(subjects)), 1)])
        assert numbers_told(rapport) == Counter(map(number, subjects))


def number(subject):
    return subject.removeprefix("msisdn:+")


def numbers_told(rapport):
    return Counter(entry["destination"] for entry in rapport.received("smsc"))
