"""Databases restored from backups of different moments: nothing commercial is said twice or forgotten."""

import datetime as dt
import shutil
import tempfile
from collections import Counter
from pathlib import Path

import pytest

from services.cli.stack.down import stop_stack
from services.cli.stack.layout import CHECKOUT
from services.cli.stack.options import StackOptions
from services.cli.stack.progress import advance_clock
from services.cli.stack.up import start_stack
from tests.system.conftest import event, new_number, person, until, used

HOUR = dt.timedelta(hours=1)
PEOPLE = 8
GROUPS = 4
RULES = CHECKOUT / "rules"
EXHAUSTED = {"cycle": "2026-10", "days_left_in_cycle": 9, "surcharge_next": False}


class Town:
    """A stack of its own, and the groups of customers that lived on it."""

    def __init__(self, make_stack, backup: Path) -> None:
        self.rapport = make_stack(
            rule_sets=[RULES / f"{name}.yaml" for name in ("open-complaint", "bill-shock", "quota-notices")]
        )
        self.backup = backup
        self.now = self.rapport.noon()
        self.events: list[dict] = []

    def live_an_hour(self) -> None:
        """A group comes: each customer is told that half the data is used, and offered more."""
        for _ in range(PEOPLE):
            subject = f"msisdn:{new_number()}"
            self.events += person(self.now, subject, "marketing", plan_data_mb=1000)
            self.events.append(used(self.now, subject, 600))
            self.events.append(event("usage.allowance_exhausted", self.now + HOUR / 2, subject, EXHAUSTED))
        self.rapport.ingest(self.events)
        self.now = advance_clock(self.rapport.stack, self.now + HOUR)

    def keep(self, service: str) -> None:
        done = self.rapport("backup", "--into", str(self.backup), "--service", service)
        assert done.returncode == 0, done.stderr

    def lose_all(self) -> None:
        """The disks are gone; the databases come back from their backups, the log between them does not."""
        stop_stack(self.rapport.folder)
        shutil.rmtree(self.rapport.layout.nats)
        done = self.rapport("restore", "--yes", "--from", str(self.backup))
        assert done.returncode == 0, done.stderr
        start_stack(StackOptions(folder=self.rapport.folder, rules=RULES))
        advance_clock(self.rapport.stack, self.now)

    def said(self) -> Counter[tuple[str, str]]:
        """How often each number was sent each message, whatever the databases remember."""
        return Counter((entry["destination"], entry["message"]) for entry in self.rapport.received("smsc"))

    def recovery(self) -> dict[str, dict]:
        return {told["service"]: told for told in self.rapport.listing("recover", "status")}


def is_offer(said: tuple[str, str]) -> bool:
    return "2 GB more" in said[1]


@pytest.mark.timeout(600)
def test_nothing_commercial_is_said_twice_and_nothing_is_forgotten(make_stack):
    """The profile comes back an hour older than the channel, and the channel than the decisions."""
    with tempfile.TemporaryDirectory() as folder:
        town = Town(make_stack, Path(folder))
        rapport = town.rapport
        town.live_an_hour()
        oldest = town.now
        town.keep("profile")
        town.live_an_hour()
        town.keep("channel")
        town.live_an_hour()
        town.keep("decision")
        town.live_an_hour()
        before = town.said()
        assert set(before.values()) == {1}
        assert PEOPLE < sum(map(is_offer, before)) <= GROUPS * PEOPLE
        town.lose_all()

    assert {told["state"] for told in town.recovery().values()} == {"restored"}
    done = rapport("recover", "begin", "--from", f"{oldest:%FT%TZ}", "--to", f"{town.now:%FT%TZ}")
    assert done.returncode == 0, done.stderr
    until(lambda: all(told["replayed"] for told in town.recovery().values()))
    # the callers send again what they have sent: what the profile has is a duplicate
    report = rapport.ingest(town.events)
    assert report["duplicate"] == len(town.events) // GROUPS

    repeated = [said for said, times in town.said().items() if times == 2]
    assert len(repeated) == (GROUPS - 1) * PEOPLE == town.recovery()["channel"]["sent_again"]
    assert not any(map(is_offer, repeated))
    held = rapport.listing("recover", "list", "--all")
    assert {message["action_id"] for message in held} == offers_decided_again(rapport)
    assert len(held) == town.recovery()["channel"]["quarantined"] > PEOPLE

    refused = rapport("recover", "end")
    assert refused.returncode == 1
    assert f"{len(held)} messages are in quarantine" in refused.stderr
    sent = sum(town.said().values())
    assert rapport("recover", "release", held[0]["message_id"]).stdout == "1 messages released\n"
    until(lambda: sum(town.said().values()) == sent + 1)
    assert rapport("recover", "discard", "--all").stdout == f"{len(held) - 1} messages discarded\n"
    assert rapport("recover", "end").returncode == 0
    assert {told["state"] for told in town.recovery().values()} == {"working"}
    done_by_staff = Counter(entry["action"] for entry in rapport.listing("audit", "--limit", "1000"))
    wanted = {
        "recovery.begin": 3,
        "messages.release": 1,
        "messages.discard": len(held) - 1,
        "recovery.end": 3,
    }
    assert {action: done_by_staff[action] for action in wanted} == wanted


def offers_decided_again(rapport) -> set[str]:
    """Offers to the customers that came back under new ids, because the profile had forgotten them."""
    return {
        action["action_id"]
        for decision in rapport.listing("decisions", "list", "--limit", "1000")
        for action in decision["actions"]
        if decision["customer"] > 1_000_000_000
        and (action["category"], action["outcome"]) == ("sales", "dispatched")
    }
