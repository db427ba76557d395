"""The records of simulated providers: private, complete after a kill, readable with a torn end."""

from pathlib import Path

import pytest

from services.cli.providers.faults import FaultFile, SmscFaults, SmtpFaults
from services.cli.providers.record import RecordFile, read_record, read_secret


def test_only_the_owner_reads_it(tmp_path: Path) -> None:
    path = tmp_path / "record.jsonl"
    path.touch(mode=0o644)
    with RecordFile(path):
        assert path.stat().st_mode & 0o777 == 0o600


def test_what_was_appended_is_there_before_the_file_is_closed(tmp_path: Path) -> None:
    path = tmp_path / "record.jsonl"
    with RecordFile(path) as record:
        record.append([{"n": 1, "text": "é\n"}, {"n": 2}])
        assert [entry["n"] for entry in read_record(path)] == [1, 2]
        record.append([])
        record.append([{"n": 3}])
        assert [entry["n"] for entry in read_record(path)] == [1, 2, 3]


def test_a_torn_line_spoils_no_other(tmp_path: Path) -> None:
    path = tmp_path / "record.jsonl"
    path.write_bytes(b'{"n":1}\n{"n":')
    with RecordFile(path) as record:
        record.append([{"n": 2}])
    assert [entry["n"] for entry in read_record(path)] == [1, 2]


def test_no_file_is_an_empty_record(tmp_path: Path) -> None:
    assert list(read_record(tmp_path / "none")) == []


def test_a_password_that_others_can_read_is_refused(tmp_path: Path) -> None:
    path = tmp_path / "password"
    path.write_text("secret12\n")
    path.chmod(0o640)
    with pytest.raises(PermissionError, match="0600"):
        read_secret(path)
    path.chmod(0o600)
    assert read_secret(path) == "secret12"


def test_faults_are_read_again_when_their_file_changes(tmp_path: Path) -> None:
    path = tmp_path / "faults.json"
    faults = FaultFile(SmscFaults(), path)
    assert faults.current() == SmscFaults()
    path.write_text('{"throttle": 3}')
    assert faults.current().throttle == 3
    faults.current().throttle -= 1
    assert faults.current().throttle == 2
    path.write_text('{"reject": {"336": 11}}')
    assert faults.current() == SmscFaults(reject={"336": 11})


def test_an_unknown_fault_is_named(tmp_path: Path) -> None:
    path = tmp_path / "faults.json"
    path.write_text('{"reject": {}}')
    with pytest.raises(ValueError, match="unknown fault 'reject'; known are busy"):
        FaultFile(SmtpFaults(), path).current()
