"""Reports of providers as files: what is read, what is named as bad, and how a command about them ends."""

import datetime as dt

import pytest
from click.testing import CliRunner
from rapport.channel.v1 import reconciliation_pb2

from services.cli.commands.reconcile import Tally
from services.cli.commands.report_file import COLUMNS, BadLine, Form, Reading, read_csv, read_json
from services.cli.main import main
from services.cli.stack.errors import StackError

NAMES = {name: name for name in COLUMNS}
DELIVERED, FAILED = reconciliation_pb2.REPORTED_STATE_DELIVERED, reconciliation_pb2.REPORTED_STATE_FAILED


def read(text: str | bytes, form: Form | None = None, *, how=read_csv):
    reading = Reading()
    octets = text if isinstance(text, bytes) else text.encode()
    found = list(how(octets.splitlines(keepends=True), form or Form(NAMES), reading))
    return found, reading


def test_a_csv_of_another_house_is_read_with_its_own_names():
    form = Form({**NAMES, "id": "MessageID", "state": "Final Status", "time": "Submitted"}, delimiter=";")
    found, reading = read(
        "\ufeffSubmitted;MessageID;To;Final Status\r\n"
        '2026-11-22 06:00:00;"0a;1";+33600000001;DELIVRD\r\n'
        "\r\n"
        "2026-11-22T08:30:00+02:00;0a2;+33600000002;Undeliv\r\n",
        form,
    )
    assert [(line.line, line.provider_id, line.reference, line.state) for line in found] == [
        (2, "0a;1", "", DELIVERED),
        (4, "0a2", "", FAILED),
    ]
    assert (reading.lines, reading.bad) == (2, 0)
    assert reading.earliest == dt.datetime(2026, 11, 22, 6, tzinfo=dt.UTC)
    assert reading.latest == dt.datetime(2026, 11, 22, 6, 30, tzinfo=dt.UTC)


def test_json_lines_are_read_and_a_null_is_nothing():
    found, reading = read(
        '{"id": 17, "reference": null, "state": "delivered", "time": 1790000000000000}\n'
        '{"reference": "r", "other": [1]}\n',
        how=read_json,
    )
    assert [(line.provider_id, line.reference, line.state) for line in found] == [
        ("17", "", DELIVERED),
        ("", "r", 0),
    ]
    assert reading.earliest == dt.datetime.fromtimestamp(1_790_000_000, dt.UTC)


@pytest.mark.parametrize("told", ["1790000000", "1790000000000", "1790000000000000", "1790000000.0"])
def test_counts_since_1970_are_told_apart_by_their_size(told):
    _, reading = read(f"id,time\nx,{told}\n")
    assert reading.latest == dt.datetime.fromtimestamp(1_790_000_000, dt.UTC)


@pytest.mark.parametrize(
    ("line", "reason"),
    [
        (b",,delivered,", "it names no message"),
        (b"x,,delivered", "it has 3 fields, the heading has 4"),
        (b'"x,,delivered,', "unexpected end of data"),
        (b"x,,lost at sea,", "the state of the line is not known"),
        (b"x,,gone,", "the state 'gone' is not known"),
        (b"x,,33600000001,", "the state of the line is not known"),
        (b"x,,delivered,yesterday", "neither ISO 8601"),
        (b"x,,delivered,99999999999999999999", "neither ISO 8601"),
        (b"\xff\xfe,,delivered,", "it is not UTF-8"),
        (b"x" * 201 + b",,delivered,", "over 200 characters"),
        (b"x\0,,delivered,", "NUL"),
    ],
)
def test_a_bad_line_is_named_and_costs_no_other(line, reason):
    found, reading = read(b"id,reference,state,time\n" + b"a,,delivered,\n" + line + b"\nb,,failed,\n")
    assert [one.line for one in found] == [2, 3, 4]
    assert isinstance(found[1], BadLine)
    assert reason in found[1].reason
    assert "3360" not in found[1].reason  # what stands there may be a number
    assert (reading.lines, reading.bad) == (3, 1)


@pytest.mark.parametrize(
    ("line", "reason"), [("{", "no JSON"), ("[1]", "no JSON object"), ("{}", "no message")]
)
def test_a_bad_line_of_json_is_named(line, reason):
    (found,), _ = read(line + "\n", how=read_json)
    assert reason in found.reason


def test_a_report_without_ids_is_refused_with_the_columns_it_has():
    with pytest.raises(StackError, match=r"it has MessageID;Status"):
        read("MessageID;Status\n1;DELIVRD\n")
    with pytest.raises(StackError, match="no column 'Stat'"):
        read("id,state\n1,DELIVRD\n", Form({**NAMES, "state": "Stat"}))
    with pytest.raises(StackError, match="empty"):
        read("\n\n")


@pytest.mark.parametrize(
    ("arguments", "said"),
    [
        (["--column", "number=x"], "id, reference, state, time"),
        (["--word", "gone=lost"], "delivered"),
        (["--from", "2026-11-22"], "both --from and --to"),
        (["--from", "soon", "--to", "2026-11-22"], "2026-11-22T06:00:00Z"),
        (["--delimiter", ";;"], "one character"),
    ],
)
def test_wrong_use_says_what_would_be_right(arguments, said, tmp_path):
    report = tmp_path / "report.csv"
    report.write_text("id\n1\n")
    done = CliRunner().invoke(main, ["reconcile", str(report), "--provider", "smsc", *arguments])
    assert done.exit_code == 2
    assert said in done.output


@pytest.mark.parametrize(
    ("applied", "settled"),
    [([True, True], True), ([True, False], False), ([], True)],
)
def test_it_is_settled_when_nothing_differs_or_all_of_it_was_taken_over(applied, settled, capsys):
    tally = Tally(as_json=False)
    findings = [
        reconciliation_pb2.Finding(
            kind=reconciliation_pb2.FINDING_KIND_DIFFERS, line=7, message_id="m", applied=one
        )
        for one in applied
    ]
    tally.take(reconciliation_pb2.CompareReportResponse(agreed=3, findings=findings))
    assert tally.settled is settled
    assert capsys.readouterr().out.count("line 7: message m: here") == len(applied)
