"""Files of other systems: what a row says, what is wrong with it, and that the same row is the same event."""

import json
import subprocess
import sys
from pathlib import Path

import duckdb
import pytest
from click.testing import CliRunner

from services.cli.importing.checking import Findings, Report, check, taken_events
from services.cli.importing.command import import_files
from services.cli.importing.mapping_reader import read_mapping
from services.cli.importing.reading import opened
from services.cli.importing.rows import RowReader
from services.cli.stack.errors import StackError
from services.cli.stack.programs import python_environment
from services.vocabulary.catalogue import load_catalogue

ROOT = Path(__file__).parents[3]
CATALOGUE = load_catalogue(ROOT / "rules")
DAY = 86_400
PEOPLE = """\
source: crm
subject: {crm: id, msisdn: phone}
time: {column: since, zone: Europe/Paris}
traits: {plan: plan, tenure_months: months, prepaid: paid, plan_price: {column: price, currency: EUR}}
consents:
  - {purpose: marketing, channel: sms, state: {column: sms, values: {"Y": granted, "N": denied}}}
events:
  - {type: subscription.ended, fields: {reason: {is: left}}, when: {left: [yes, true]}}
"""
HEAD = "id,phone,since,plan,months,paid,price,sms,left\n"
ANNA = "7,+33612345678,2026-10-01,m,12,no,9.99,Y,\n"


@pytest.fixture
def run(tmp_path):
    """Look through a file, and give what was found and the events that would be sent."""

    def look(content: str | bytes, mapping: str = PEOPLE, name: str = "people.csv", now: int = 0):
        file, rules = tmp_path / name, tmp_path / "mapping.yaml"
        if content:
            file.write_bytes(content if isinstance(content, bytes) else content.encode())
        rules.write_text(mapping)
        said = read_mapping(rules, "Europe/Paris").of(file)
        assert said is not None
        findings = Findings(file.name)
        with opened(file, said) as rows:
            reader = RowReader(said, rows.columns, CATALOGUE, now_micros=now)
            check(rows, reader, findings, Report(None))
            return findings, list(taken_events(rows, reader, findings.unreadable))

    return look


def told(events):
    return [(one.event.type, json.loads(one.event.data)) for one in events]


def test_a_row_says_traits_consents_and_events(run):
    findings, events = run(HEAD + ANNA.replace(",\n", ",yes\n"))
    assert (findings.rows, findings.refused, findings.events) == (1, 0, 3)
    assert told(events) == [
        (
            "profile.updated",
            {
                "traits": {
                    "plan": "m",
                    "tenure_months": 12,
                    "prepaid": False,
                    "plan_price": {"amount": "9.99", "currency": "EUR"},
                }
            },
        ),
        ("consent.changed", {"purpose": "marketing", "channel": "sms", "state": "granted", "by": "import"}),
        ("subscription.ended", {"reason": "left"}),
    ]
    first = events[0].event
    assert (first.source, first.subject) == ("crm", "crm:7 msisdn:+33612345678")
    assert first.time.ToJsonString() == "2026-10-01T10:00:00Z"  # noon in Paris


def test_the_same_row_is_the_same_event_wherever_it_stands_and_another_is_another(run):
    other = ANNA.replace("12", "13")
    _, once = run(HEAD + ANNA + other)
    _, again = run(HEAD + other + ANNA)
    assert {one.event.id for one in once} == {one.event.id for one in again}
    assert len({one.event.id for one in once}) == len(once) == 4
    _, keyed = run(HEAD + ANNA + other, PEOPLE + "id: [id]\n")
    assert len({one.event.id for one in keyed}) == 2
    assert not any(one.event.id == "7" or "+336" in one.event.id for one in once)


def test_mistakes_are_counted_by_column_with_rows_and_without_what_stands_there(run):
    lines = [
        ANNA,
        ANNA.replace("12,", "twelve,"),
        ANNA.replace("Y,", "perhaps,"),
        ANNA.replace("+33612345678", "secret"),
        ANNA.replace("2026-10-01", "yesterday"),
        ANNA.replace("12,", "twelve,"),
        ANNA.replace("7,+33612345678", ","),
    ]
    findings, events = run(HEAD + "".join(lines))
    found = {
        column: (fault.rows, fault.examples, reason) for (column, reason), fault in findings.faults.items()
    }
    assert {column: entry[:2] for column, entry in found.items()} == {
        "months": (2, [2, 6]),
        "sms": (1, [3]),
        "phone": (1, [4]),
        "since": (1, [5]),
        "id and phone": (1, [7]),
    }
    assert findings.refused == 6
    assert {one.line for one in events} == {1}
    text = json.dumps(findings.to_json())
    assert not any(value in text for value in ("twelve", "perhaps", "secret", "yesterday"))


def test_broken_rows_are_told_by_number_and_the_others_keep_theirs(run):
    content = (
        (HEAD + ANNA).encode()
        + b"8,caf\xe9,2026-10-01,m,1,no,1,Y,\n"
        + b"9,x\n"
        + ANNA.replace("7", "10").encode()
    )
    findings, events = run(content)
    assert [(fault.examples, "bytes" in reason) for (_, reason), fault in findings.faults.items()] == [
        ([2], True),
        ([3], False),
    ]
    assert (findings.rows, findings.refused) == (4, 2)
    assert {one.line for one in events} == {1, 4}


def test_another_encoding_is_read_when_the_mapping_says_so(run):
    content = (HEAD + ANNA.replace(",m,", ",café,")).encode("latin-1")
    assert run(content)[0].refused == 1
    _, events = run(content, PEOPLE + "encoding: latin-1\n")
    assert told(events)[0][1]["traits"]["plan"] == "café"
    with pytest.raises(StackError, match="ebcdic is not known; say one of utf-8, utf-16, latin-1"):
        run(content, PEOPLE + "encoding: ebcdic\n")
    with pytest.raises(StackError, match="not of the encoding"):
        run(content, PEOPLE + "encoding: utf-16\n")


def test_rows_that_repeat_others_are_told(run):
    findings, events = run(HEAD + ANNA + ANNA.replace("7", "8") + ANNA + ANNA)
    assert (findings.repeated, findings.repeated_examples) == (2, [4])
    assert len({one.event.id for one in events}) == 4


@pytest.mark.parametrize("form", ["parquet", "json", "ndjson"])
def test_parquet_and_json_say_the_same(run, tmp_path, form):
    _, by_csv = run(HEAD + ANNA)
    made = duckdb.connect()
    query = (
        "SELECT 7 AS id, '+33612345678' AS phone, DATE '2026-10-01' AS since, 'm' AS plan, 12 AS months, "
        "false AS paid, 9.99::DECIMAL(9,2) AS price, 'Y' AS sms, NULL::VARCHAR AS left"
    )
    how = {"parquet": "FORMAT parquet", "json": "FORMAT json, ARRAY true", "ndjson": "FORMAT json"}[form]
    made.execute(f"COPY ({query}) TO '{tmp_path / ('people.' + form)}' ({how})")
    made.close()
    findings, events = run("", name=f"people.{form}")
    assert findings.refused == 0
    assert told(events) == told(by_csv)
    assert [one.event.time for one in events] == [one.event.time for one in by_csv]


@pytest.mark.parametrize(
    ("change", "message"),
    [
        (("plan: plan", "plan: plam"), "there is no column plam; did you mean plan?"),
        (("id, msisdn", "ID, msisdn"), "there is no column ID; did you mean id?"),
        (("plan: plan", "plam: plan"), "did you mean plan?"),
        (
            ("reason: {is: left}", "raison: {is: left}"),
            "subscription.ended has no field raison; did you mean reason?",
        ),
        (("type: subscription.ended", "type: subscription.end"), "line 8: subscription.end is no event type"),
        (("tenure_months: months", "tenure_months: {is: twelve}"), "the value 'twelve' is not a number"),
        (("subject: {crm", "subject: {crn"), "mapping.yaml:2: subject.crn is no kind of identity"),
        (("time: {", "tyme: {"), "tyme is not known here; did you mean time?"),
        (("source: crm", "format: csv"), "source is missing"),
        (("zone: Europe/Paris", "zone: Paris"), "time.zone is not a time zone"),
    ],
)
def test_a_mapping_that_does_not_fit_is_told_before_anything_is_sent(run, change, message):
    with pytest.raises(StackError, match=message.replace("?", r"\?").replace(".", r"\.")):
        run(HEAD + ANNA, PEOPLE.replace(*change))


def test_all_that_does_not_fit_is_told_at_once(run):
    wrong = PEOPLE.replace("plan: plan", "plam: plam").replace("type: subscription.ended", "type: no.such")
    with pytest.raises(StackError) as caught:
        run(HEAD + ANNA, wrong)
    assert all(word in str(caught.value) for word in ("no column plam", "plam is no trait", "no.such"))


def test_an_event_that_is_too_long_is_told_before_it_is_sent(run):
    mapping = "source: crm\nsubject: {crm: id}\ntime: 2026-11-02\ntraits: {plan: plan}\n"
    findings, events = run(f"id,plan\n7,{'m' * 64_000}\n8,m\n", mapping)
    assert [fault.examples for fault in findings.faults.values()] == [[1]]
    assert [one.line for one in events] == [2]


def test_what_is_to_be_deleted_is_taken_back(run):
    mapping = "source: crm\nsubject: {crm: id}\ntime: 2026-11-02\ndelete: true\ntraits: [plan, device]\n"
    _, events = run("id\n7\n", mapping)
    assert told(events) == [("profile.updated", {"traits": {"plan": None, "device": None}})]
    _, later = run("id\n7\n", mapping.replace("11-02", "11-03"))
    assert events[0].event.id != later[0].event.id


def test_the_service_would_refuse_what_is_too_old_or_not_yet(run):
    now = 1_796_000_000 * 1_000_000
    findings, _ = run(HEAD + ANNA.replace("2026-10-01", "2024-01-01") + ANNA.replace("2026", "2027"), now=now)
    assert {reason.partition(",")[0] for _, reason in findings.faults} == {
        "is older than 25 months",
        "is in the future",
    }


def test_files_are_told_apart_by_their_names(tmp_path):
    rules = tmp_path / "mapping.yaml"
    rules.write_text(
        "source: bss\nsubject: {crm: id}\ntime: 2026-11-02\n"
        "files:\n  users: {traits: {plan: plan}}\n  '*_left.csv': {events: [{type: subscription.ended}]}\n"
    )
    known = read_mapping(rules, "UTC")
    users, left = known.of(Path("users.csv.gz")), known.of(Path("2026_left.csv"))
    assert users is not None
    assert left is not None
    assert (users.source, left.source) == ("bss/users", "bss/left")
    assert known.of(Path("other.csv")) is None


def test_a_dry_run_needs_no_stack_and_its_exit_code_says_whether_all_fits(tmp_path):
    file, rules, report = tmp_path / "people.csv", tmp_path / "mapping.yaml", tmp_path / "refused.tsv"
    rules.write_text(PEOPLE)
    arguments = [str(file), "--mapping", str(rules), "--dry-run", "--folder", str(tmp_path / "none")]
    file.write_text(HEAD + ANNA)
    assert CliRunner().invoke(import_files, arguments).exit_code == 0
    file.write_text(HEAD + ANNA + ANNA.replace("12,", "twelve,"))
    answer = CliRunner().invoke(import_files, [*arguments, "--json", "--report", str(report)])
    assert answer.exit_code == 1
    assert json.loads(answer.stdout)["faults"] == [
        {"column": "months", "reason": "is not a number", "rows": 1, "examples": [2]}
    ]
    assert report.read_text() == "people.csv\t2\tmonths\tis not a number\n"


@pytest.mark.parametrize(
    "mapping", sorted((ROOT / "rules" / "mappings").glob("*.yaml")), ids=lambda path: path.stem
)
def test_shipped_mappings_fit_the_catalogue(mapping):
    for _, said in read_mapping(mapping, CATALOGUE.default_zone).by_name:
        RowReader(said, sorted(said.columns()), CATALOGUE)


def test_a_process_that_took_files_says_nothing_more_at_its_end(tmp_path):
    file, rules = tmp_path / "people.csv", tmp_path / "mapping.yaml"
    file.write_text(HEAD + ANNA)
    rules.write_text(PEOPLE)
    command = [
        sys.executable,
        "-m",
        "services.cli.main",
        "import",
        str(file),
        "--mapping",
        str(rules),
        "--dry-run",
    ]
    done = subprocess.run(
        command, cwd=ROOT, env=python_environment(), capture_output=True, text=True, check=False
    )
    assert (done.returncode, done.stderr) == (0, "")
