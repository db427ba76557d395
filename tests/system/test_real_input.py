"""Real usage records through the running system: the days decided are the days known, for everyone."""

import csv
import datetime as dt

import pytest

from services.cli.stack.layout import CHECKOUT
from tests.system.conftest import lines, used
from tests.system.mobile_usage import known_crossings, local_day, usage_events

FOLDER = CHECKOUT.parent / "shared" / "data" / "mobile_usage_2018"
QUOTA_NOTICES = CHECKOUT / "rules" / "quota-notices.yaml"
HOUR = dt.timedelta(hours=1)
BEFORE = dt.datetime(2018, 1, 1, tzinfo=dt.UTC)

pytestmark = [
    pytest.mark.timeout(1500),
    pytest.mark.skipif(
        not FOLDER.is_dir(),
        reason="the usage records of 2018 are not beside this checkout (../shared/data/mobile_usage_2018)",
    ),
]


@pytest.fixture(scope="module")
def file(tmp_path_factory):
    """The records as a file of CloudEvents."""
    file = tmp_path_factory.mktemp("real") / "mobile_usage_2018.ndjson"
    file.write_bytes(lines(usage_events(FOLDER)))
    return file


@pytest.fixture
def real(make_stack):
    """A system that knows nobody yet, with the one rule set live."""
    return make_stack(rule_sets=[QUOTA_NOTICES], start=BEFORE)


def decided(rapport):
    """On which day each user was to be told of which share of their month's data, as decided."""
    found = []
    for decision in rapport.listing("decisions", "list", "--all"):
        (identity,) = decision["identities"]
        day = local_day(decision["event_time"])
        for action in decision["actions"]:
            assert action["outcome"] == "dispatched"
            found.append(
                (identity.removeprefix("crm:"), day[:7], int(action["name"].removeprefix("quota-")), day)
            )
    return found


def test_messages_are_decided_on_the_known_days(real, file):
    done = real("ingest", str(file), "--wait", seconds=1400)
    assert done.returncode == 0, done.stderr
    found = decided(real)
    known = known_crossings(FOLDER)
    assert len(known) == 2468
    assert set(found) == known
    assert len(found) == len(known)
    progress = real.progress()
    assert progress["channel"].totals["actions.taken"] == len(known)
    assert {told.dead_letters for told in progress.values()} == {0}


def test_the_same_file_as_history_sends_nothing_and_fills_the_profiles(real, file):
    done = real("ingest", str(file), "--history", "--wait", seconds=600)
    assert done.returncode == 0, done.stderr
    progress = real.progress()
    assert progress["profile"].totals["events.accepted"] == sum(1 for _ in usage_events(FOLDER))
    assert "decisions" not in progress["decision"].totals
    assert "actions.taken" not in progress["channel"].totals
    assert real.listing("messages", "list") == []
    with (FOLDER / "quota_crossings.csv").open(newline="") as table:
        december = [row for row in csv.DictReader(table) if row["month"] == "2018-12"]
    past_half = next(row for row in december if row["first_day_50pct"] and not row["first_day_80pct"])
    subject = f"crm:{past_half['user_id']}"
    missing = float(past_half["mb_quota"]) * 0.8 - float(past_half["mb_total"])
    last_evening = dt.datetime(2018, 12, 31, 20, tzinfo=dt.UTC)
    real.take([used(last_evening, subject, missing - 1), used(last_evening + HOUR, subject, 2)])
    (decision,) = real.listing("decisions", "list")
    assert decision["identities"] == [subject]
    assert decision["event_time"] == "2018-12-31T21:00:00Z"
    assert [action["name"] for action in decision["actions"]] == ["quota-80"]
