"""Who changed what is on record, and what is old can be taken away, from the command line."""

import datetime as dt
import json

import grpc
import pytest
from rapport.operations.v1 import operations_pb2, operations_pb2_grpc

from services.cli.stack.calls import open_channel
from services.cli.stack.trust_files import caller
from services.runtime.retention import RETENTION_CLASSES
from tests.system.conftest import new_number, person, used

OPERATOR = "rapport-local#operator"


def test_who_activated_a_rule_set_and_recorded_a_consent_is_on_record(rapport, noon):
    subject = f"msisdn:{new_number()}"
    rapport.take(person(noon, subject))
    (told,) = rapport.listing("consent", "set", subject, "marketing", "granted", "--by", "person")
    (entry,) = rapport.listing("audit", "--target", f"customer/{told['customer']}")
    assert (entry["service"], entry["actor"], entry["action"]) == ("profile", OPERATOR, "consent.record")
    assert (entry["before"], entry["after"]["state"]) == (None, "granted")
    when = dt.datetime.fromisoformat(entry["time"])
    asked = ("audit", "--target", "rule_set/quota-notices", "--limit", "100")
    changes = rapport.listing(*asked)
    assert {change["actor"] for change in changes} == {OPERATOR}
    assert {"rules.put", "rules.activate"} <= {change["action"] for change in changes}
    later = when + dt.timedelta(seconds=1)
    assert rapport.listing(*asked, "--from", f"{later:%Y-%m-%dT%H:%M:%SZ}") == []
    done = rapport("audit", "--target", f"customer/{told['customer']}")
    assert f"{OPERATOR} consent.record customer/{told['customer']}/consent/marketing/all" in done.stdout


def test_each_service_says_which_files_it_works_with(rapport):
    loaded = rapport.listing("audit", "--action", "configuration.load", "--limit", "1000")
    found = {(entry["service"], entry["target"].removeprefix("configuration/")) for entry in loaded}
    everywhere = {"catalogue", "access", "retention"}
    assert found >= {(service, name) for service in ("profile", "decision", "channel") for name in everywhere}
    assert found >= {("channel", "templates"), ("channel", "policies")}


def test_the_audit_log_is_for_those_who_may_read_it(rapport):
    with open_channel(rapport.stack.target("profile"), caller(rapport.layout, "bss")) as channel:
        stub = operations_pb2_grpc.OperationsServiceStub(channel)
        with pytest.raises(grpc.RpcError) as caught:
            stub.ListAuditEntries(operations_pb2.ListAuditEntriesRequest(), timeout=10)
    assert caught.value.code() is grpc.StatusCode.PERMISSION_DENIED


def test_pruning_says_for_each_class_what_would_go_and_takes_nothing_young(rapport, noon):
    subject = f"msisdn:{new_number()}"
    rapport.take(person(noon, subject))
    seen = rapport.listing("prune", "--dry-run")
    # activity is kept as the catalogue says, and no type of events for a shorter time as shipped
    assert {one["class"] for one in seen} == {*RETENTION_CLASSES, "activity"}
    # each service has dead letters and an access log of its own
    assert len(seen) == len(RETENTION_CLASSES) + 1 + 4
    kept = {one["class"]: one["kept_seconds"] for one in seen}
    assert kept["messages"] == 400 * 86_400
    done = rapport("prune", "--json")
    assert done.returncode == 0, done.stderr
    gone = {one["class"]: one["rows"] for one in map(json.loads, done.stdout.splitlines())}
    # no test of this stack is as old as that
    assert sum(sum(gone[name].values()) for name in ("messages", "decisions", "events", "once_slots")) == 0
    assert rapport.listing("profile", "show", subject)


def test_a_customers_history_is_told_in_one_order_and_who_looked_at_it(rapport, noon):
    subject = f"msisdn:{new_number()}"
    hour = dt.timedelta(hours=1)
    rapport.take([*person(noon, subject, plan_data_mb=1000), used(noon + hour, subject, 600)])
    whole = rapport.listing("timeline", subject, "--reason", "case 7")
    kinds = {entry["kind"] for entry in whole}
    assert kinds >= {"event", "decision", "message"}
    times = [dt.datetime.fromisoformat(entry["time"]) for entry in whole]
    assert times == sorted(times, reverse=True)
    # behind any entry it goes on, decisions among the others
    assert rapport.listing("timeline", subject, "--after", whole[2]["cursor"]) == whole[3:]
    decided = [entry for entry in whole if entry["kind"] == "decision"]
    assert rapport.listing("timeline", subject, "--kind", "decision") == decided
    assert "decision" not in {entry["kind"] for entry in rapport.listing("timeline", subject, "--person")}
    rapport.listing("messages", "list", "--subject", f"customer:{whole[0]['customer']}")
    looked = rapport.listing("privacy", "readers", subject, "--limit", "100")
    assert {entry["caller"] for entry in looked} == {OPERATOR}
    found = {(entry["service"], entry["method"].rpartition("/")[2], entry["reason"]) for entry in looked}
    assert found >= {
        ("profile", "ListTimeline", "case 7"),
        ("decision", "ListDecisions", ""),
        ("channel", "ListMessages", ""),
    }
