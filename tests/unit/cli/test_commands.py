"""Commands: their help, their exit codes, what they print, and how failures are told."""

import json

import click
import grpc
import pytest
from click.testing import CliRunner
from rapport.channel.v1 import channel_pb2
from rapport.decision.v1 import decision_pb2
from rapport.types.v1 import vocabulary_pb2

from services.cli.commands import support
from services.cli.commands.ask import parameters_of
from services.cli.commands.decisions import decision_json
from services.cli.commands.ingest import _tell
from services.cli.commands.messages import message_json
from services.cli.commands.support import enum_word, iso, print_table, runs
from services.cli.feed import FeedReport, Rejection
from services.cli.main import COMMANDS, main
from services.cli.quiet import StillBusyError
from services.cli.stack.errors import StackError
from services.cli.stack.layout import CHECKOUT
from services.vocabulary import wire
from tests.fakes.road import away

SHIPPED = sorted((CHECKOUT / "rules").glob("*.yaml"))
MOMENT = 1_793_606_400_000_000


def run(*arguments):
    return CliRunner().invoke(main, arguments)


def all_commands(group=main, path=()):
    context = click.Context(group)
    for name in group.list_commands(context):
        command = group.get_command(context, name)
        if isinstance(command, click.Group):
            yield from all_commands(command, (*path, name))
        else:
            yield (*path, name), command


EVERY = {" ".join(path): command for path, command in all_commands()}


@pytest.mark.parametrize("name", EVERY)
def test_every_command_and_option_says_what_it_does(name):
    command = EVERY[name]
    assert command.help
    for parameter in command.params:
        if isinstance(parameter, click.Option) and parameter.name != "help":
            assert parameter.help, parameter.name
    done = run(*name.split(), "--help")
    assert done.exit_code == 0
    assert done.output.startswith(f"Usage: main {name} ")


def test_the_commands_of_the_road_are_there():
    assert set(COMMANDS) >= {
        *("up", "down", "status", "demo", "ingest", "profile", "consent"),
        *("ask", "rules", "decisions", "messages", "inbox", "dead", "audit", "prune", "controls"),
    }


@pytest.mark.parametrize(
    "arguments",
    [
        ("profile", "show", "crm:1"),
        ("decisions", "list"),
        ("ask", "crm:1", "care-call", "--set", "topic=calls"),
        ("messages", "list"),
        ("inbox", "watch"),
        ("dead", "list"),
        ("audit",),
        ("prune", "--dry-run"),
        ("controls", "stop", "--all", "--reason", "a wrong price"),
        ("controls", "policies", "list"),
        ("rules", "list"),
        ("runs",),
        ("consent", "set", "crm:1", "marketing", "granted"),
    ],
)
def test_without_a_running_stack_the_way_out_is_said(tmp_path, arguments):
    done = run(*arguments, "--folder", str(tmp_path))
    assert done.exit_code == 1
    assert "rapport up" in done.output


def test_wrong_use_ends_in_2():
    assert run("consent", "set", "crm:1", "marketing", "perhaps").exit_code == 2
    assert run("ingest", "no-such-file").exit_code == 2
    assert run("messages", "list", "--limit", "0").exit_code == 2
    assert run("nothing").exit_code == 2
    assert "one of --all" in run("controls", "stop", "--reason", "x").output
    assert "one of --all" in run("controls", "resume", "--all", "--channel", "sms").output
    assert "length of time" in run("controls", "stop", "--all", "--reason", "x", "--for", "long").output
    assert "or say files" in run("controls", "policies", "revert", "before").output
    assert "topic=calls" in run("ask", "crm:1", "care-call", "--set", "topic").output
    assert run("ask", "crm:1", "care-call", "--set", "a=1", "--set", "a=2").exit_code == 2


def test_ids_and_times_are_told_whole_and_words_are_not_cut_off(capsys, monkeypatch):
    cells = ("f809810e-7f05-54c3-8ba9-67798ca08f02", "2026-11-22T13:54:00Z", "a-long-name-of-an-event " * 3)
    print_table(("decision", "time", "event"), [cells, ("", None, "x")], empty="none")
    assert " ".join(cells).split() == capsys.readouterr().out.split("\n")[1].split()
    monkeypatch.setattr(support, "_WIDE", 70)
    print_table(("decision", "time", "event"), [cells], empty="none")
    lines = capsys.readouterr().out.split("\n")
    assert lines[1].split()[:2] == list(cells[:2])
    assert "".join("".join(line[-10:] for line in lines[1:]).split()) == cells[2].replace(" ", "")


def test_a_length_of_time_that_is_none_is_told_with_its_option():
    result = run("decisions", "why-not", "customer:7", "data-top-up", "--within", "1x")
    assert (result.exit_code, "--within: '1x' is not a length of time" in result.output) == (2, True)


def test_a_folder_for_a_simulation_that_cannot_be_written_is_told():
    result = run("simulate", str(SHIPPED[0]), "--since", "2026-11-01", "--out", "/dev/null/x")
    assert isinstance(result.exception, SystemExit)
    assert "--out /dev/null/x: " in result.output
    assert "name a folder that can be written" in result.output


def test_parameters_of_a_question_are_typed_as_written():
    found = parameters_of(("topic=calls", "n=3", "share=0.5", "open=true", 'code="3"', "note=a=b", "empty="))
    assert {name: value.WhichOneof("kind") for name, value in found.items()} == {
        "topic": "text",
        "n": "int",
        "share": "number",
        "open": "bool",
        "code": "text",
        "note": "text",
        "empty": "text",
    }
    assert (found["code"].text, found["note"].text, found["empty"].text) == ("3", "a=b", "")


def test_the_shipped_rule_sets_are_without_errors_and_their_tests_pass():
    assert run("rules", "lint", *map(str, SHIPPED)).exit_code == 0
    done = run("rules", "test", *map(str, SHIPPED))
    assert done.exit_code == 0, done.output
    assert "0 failed" in done.output


def test_a_failing_test_of_a_rule_set_is_shown_and_ends_in_1(tmp_path):
    shipped = (CHECKOUT / "rules" / "quota-notices.yaml").read_text()
    file = tmp_path / "quota-notices.yaml"
    file.write_text(shipped.replace("then: {fires: [half]}", "then: {fires: [all-of-it]}", 1))
    done = run("rules", "test", str(file), "--json")
    assert done.exit_code == 1
    told = [json.loads(line) for line in done.output.splitlines()]
    (failed,) = [result for result in told if not result["passed"]]
    assert failed["name"] == "exactly half is half"
    assert "half" in failed["message"]


def test_a_rule_set_may_use_the_facts_of_the_shared_one_beside_it(tmp_path):
    for name in ("bill-shock.yaml", "open-complaint.yaml"):
        (tmp_path / name).write_text((CHECKOUT / "rules" / name).read_text())
    assert run("rules", "lint", str(tmp_path / "bill-shock.yaml")).exit_code == 0
    (tmp_path / "open-complaint.yaml").unlink()
    done = run("rules", "lint", str(tmp_path / "bill-shock.yaml"))
    assert done.exit_code == 1
    assert "complaint_open" in done.output


def test_a_decision_is_listed_with_the_fields_of_the_contract():
    action = decision_pb2.DecidedAction(
        action_id="a",
        rule_set="bill-shock",
        version=3,
        rule="one-off-top-up",
        kind=vocabulary_pb2.ACTION_KIND_OFFER,
        name="data-top-up",
        category=vocabulary_pb2.CATEGORY_SALES,
        outcome=vocabulary_pb2.ACTION_OUTCOME_REFUSED,
        reason=vocabulary_pb2.REFUSAL_REASON_SERVICE_FIRST,
        score=2.5,
        detail="a complaint is open",
    )
    said = {"propensity": 1.0, "value": 2.0, "cost": 0.0, "urgency": 1.25, "pressure": 0.0}
    for name, value in said.items():
        factor = getattr(action.factors, name)
        factor.value, factor.source = value, "rule"
    action.factors.cost.detail = "formula divided by zero"
    decision = decision_pb2.Decision(
        decision_id="d",
        event_id="e",
        event_type="usage.allowance_exhausted",
        event_time=wire.timestamp(MOMENT),
        decided_time=wire.timestamp(MOMENT),
        customer=7,
        facts=["complaint_open"],
        actions=[action],
    )
    assert decision_json(decision, ["crm:1"]) == {
        "decision_id": "d",
        "event_id": "e",
        "event_type": "usage.allowance_exhausted",
        "event_time": "2026-11-02T08:00:00Z",
        "decided_time": "2026-11-02T08:00:00Z",
        "customer": 7,
        "identities": ["crm:1"],
        "facts": ["complaint_open"],
        "actions": [
            {
                "action_id": "a",
                "rule_set": "bill-shock",
                "version": 3,
                "rule": "one-off-top-up",
                "kind": "offer",
                "name": "data-top-up",
                "category": "sales",
                "outcome": "refused",
                "reason": "SERVICE_FIRST",
                "score": 2.5,
                "detail": "a complaint is open",
                "factors": {
                    "propensity": {"value": 1.0, "source": "rule"},
                    "value": {"value": 2.0, "source": "rule"},
                    "cost": {"value": 0.0, "source": "rule", "detail": "formula divided by zero"},
                    "urgency": {"value": 1.25, "source": "rule"},
                    "pressure": {"value": 0.0, "source": "rule"},
                },
            }
        ],
    }


def test_a_message_is_listed_with_the_fields_of_the_contract():
    message = channel_pb2.Message(
        message_id="m",
        action_id="a",
        decision_id="d",
        customer=7,
        channel=vocabulary_pb2.CHANNEL_SMS,
        category=vocabulary_pb2.CATEGORY_SERVICE,
        name="quota-50",
        state=channel_pb2.MESSAGE_STATE_DELIVERED,
        planned_time=wire.timestamp(MOMENT),
        text="Half of it is used.",
    )
    assert message_json(message) == {
        "message_id": "m",
        "action_id": "a",
        "decision_id": "d",
        "customer": 7,
        "channel": "sms",
        "category": "service",
        "name": "quota-50",
        "state": "delivered",
        "reason": None,
        "planned_time": "2026-11-02T08:00:00Z",
        "sent_time": None,
        "text": "Half of it is used.",
    }


def test_what_is_not_set_is_not_invented():
    assert iso(channel_pb2.Message().sent_time) is None
    assert enum_word("MESSAGE_STATE_UNSPECIFIED", "MESSAGE_STATE_") == ""
    assert enum_word("MESSAGE_STATE_SENT", "MESSAGE_STATE_") == "sent"


@pytest.mark.parametrize(
    ("error", "told"),
    [
        (away(), "rapport status"),
        (away(grpc.StatusCode.NOT_FOUND, "nobody has this identity"), "nobody has this identity"),
        (away(grpc.StatusCode.DEADLINE_EXCEEDED, ""), "DEADLINE_EXCEEDED"),
        (StillBusyError("nothing moved for 120 s"), "nothing moved"),
    ],
)
def test_a_failed_call_is_told_in_words(error, told):
    @runs
    async def fails():
        raise error

    with pytest.raises(StackError, match=told):
        fails()


def test_the_report_shows_some_rejections_and_keeps_all(tmp_path, capsys):
    report = FeedReport(read=30, accepted=5, skipped=2)
    report.rejections = [Rejection(n, "data.mb", f"reason {n}") for n in range(1, 24)]
    _tell(report, tmp_path / "all", as_json=False)
    out, err = capsys.readouterr()
    assert out == "30 events read, 5 accepted, 2 answered in an earlier attempt, 23 rejected\n"
    assert "line 20: data.mb: reason 20" in err
    assert "line 21" not in err
    assert "3 more" in err
    kept = (tmp_path / "all").read_text().splitlines()
    assert len(kept) == 23
    assert kept[22] == "23\tdata.mb\treason 23"
    _tell(report, None, as_json=True)
    assert json.loads(capsys.readouterr().out)["rejected"][0] == {
        "line": 1,
        "field": "data.mb",
        "reason": "reason 1",
    }
