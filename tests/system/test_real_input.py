"""Real usage records through the running system: the days decided are the days known, for everyone."""

import csv
import datetime as dt
from dataclasses import dataclass

import pytest

from services.cli.stack.layout import CHECKOUT
from services.cli.stack.progress import Progress
from tests.system.conftest import Rapport, lines, used
from tests.system.mobile_usage import Crossing, known_crossings, local_day, usage_events

FOLDER = CHECKOUT.parent / "shared" / "data" / "mobile_usage_2018"
QUOTA_NOTICES = CHECKOUT / "rules" / "quota-notices.yaml"
HOUR = dt.timedelta(hours=1)
OTHERS = "crm:other-"
BEFORE = dt.datetime(2018, 1, 1, tzinfo=dt.UTC)

pytestmark = [
    pytest.mark.timeout(1500),
    pytest.mark.skipif(
        not FOLDER.is_dir(),
        reason="the usage records of 2018 are not beside this checkout (../shared/data/mobile_usage_2018)",
    ),
]


@dataclass(frozen=True)
class Live:
    """A system on which the records went by live, and how all stood when they had."""

    rapport: Rapport
    progress: dict[str, Progress]
    decided: list[Crossing]


@pytest.fixture(scope="module")
def live(make_stack, tmp_path_factory):
    """A system with the one rule set live that knew nobody before the records came."""
    rapport = make_stack(rule_sets=[QUOTA_NOTICES], start=BEFORE)
    file = tmp_path_factory.mktemp("real") / "mobile_usage_2018.ndjson"
    file.write_bytes(lines(usage_events(FOLDER)))
    done = rapport("ingest", str(file), "--wait", seconds=1400)
    assert done.returncode == 0, done.stderr
    return Live(rapport, rapport.progress(), decided(rapport))


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


def test_messages_are_decided_on_the_known_days(live):
    known = known_crossings(FOLDER)
    assert len(known) == 2468
    assert set(live.decided) == known
    assert len(live.decided) == len(known)
    assert live.progress["channel"].totals["actions.taken"] == len(known)
    assert {told.dead_letters for told in live.progress.values()} == {0}


def test_the_same_records_as_history_send_nothing_and_fill_the_profiles(live, tmp_path):
    """They are told of others here: of nobody whom the system knows yet."""
    rapport = live.rapport
    before = rapport.progress()
    messages = rapport.listing("messages", "list")
    decisions = rapport.listing("decisions", "list")
    file = tmp_path / "others.ndjson"
    file.write_bytes(lines(_of_others(usage_events(FOLDER))))
    done = rapport("ingest", str(file), "--history", "--wait", seconds=600)
    assert done.returncode == 0, done.stderr
    progress = rapport.progress()
    accepted = progress["profile"].totals["events.accepted"] - before["profile"].totals["events.accepted"]
    assert accepted == sum(1 for _ in usage_events(FOLDER))
    assert progress["decision"].totals["decisions"] == before["decision"].totals["decisions"]
    assert progress["channel"].totals["actions.taken"] == before["channel"].totals["actions.taken"]
    assert rapport.listing("messages", "list") == messages
    assert rapport.listing("decisions", "list") == decisions
    with (FOLDER / "quota_crossings.csv").open(newline="") as table:
        december = [row for row in csv.DictReader(table) if row["month"] == "2018-12"]
    past_half = next(row for row in december if row["first_day_50pct"] and not row["first_day_80pct"])
    subject = f"{OTHERS}{past_half['user_id']}"
    missing = float(past_half["mb_quota"]) * 0.8 - float(past_half["mb_total"])
    last_evening = dt.datetime(2018, 12, 31, 20, tzinfo=dt.UTC)
    rapport.take([used(last_evening, subject, missing - 1), used(last_evening + HOUR, subject, 2)])
    known = {decision["decision_id"] for decision in decisions}
    (decision,) = [
        decision for decision in rapport.listing("decisions", "list") if decision["decision_id"] not in known
    ]
    assert decision["identities"] == [subject]
    assert decision["event_time"] == "2018-12-31T21:00:00Z"
    assert [action["name"] for action in decision["actions"]] == ["quota-80"]


def _of_others(events):
    for event in events:
        source, subject = f"{event['source']}/others", event["subject"].replace("crm:", OTHERS)
        yield {**event, "source": source, "subject": subject}
