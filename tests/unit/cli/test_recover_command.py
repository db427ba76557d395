"""What `rapport recover` asks for by itself, and what it refuses before it calls anybody."""

import datetime as dt

import pytest
from click.testing import CliRunner
from google.protobuf.timestamp_pb2 import Timestamp
from rapport.operations.v1 import recovery_pb2

from services.cli.commands.recover import oldest_known
from services.cli.main import main
from services.cli.stack.errors import StackError

NOON = dt.datetime(2026, 11, 22, 12, tzinfo=dt.UTC)


def told(service: str, state: int, known: dt.datetime | None = None) -> recovery_pb2.Recovery:
    found = recovery_pb2.Recovery(service=service, state=state)
    if known is not None:
        stamp = Timestamp()
        stamp.FromDatetime(known)
        found.known_time.CopyFrom(stamp)
    return found


RESTORED = recovery_pb2.INSTALLATION_STATE_RESTORED
WORKING = recovery_pb2.INSTALLATION_STATE_WORKING


def test_the_gap_begins_with_what_the_oldest_restored_database_knows():
    hour = dt.timedelta(hours=1)
    found = [
        told("profile", RESTORED, NOON - hour),
        told("decision", RESTORED, NOON - 2 * hour),
        told("channel", WORKING, NOON - 9 * hour),  # restored at another time, and long recovered
    ]
    assert oldest_known(found, clock="wall") == NOON - 2 * hour


@pytest.mark.parametrize(
    ("found", "clock"),
    [
        ([told("profile", RESTORED, NOON)], "events"),
        ([told("profile", RESTORED)], "wall"),
        ([told("profile", WORKING, NOON)], "wall"),
    ],
)
def test_where_the_databases_cannot_tell_it_must_be_said(found, clock):
    with pytest.raises(StackError, match="--from"):
        oldest_known(found, clock=clock)


@pytest.mark.parametrize("command", ["release", "discard"])
def test_nothing_is_settled_unless_it_is_said_what(command, tmp_path):
    done = CliRunner().invoke(main, ["recover", command, "--folder", str(tmp_path)])
    assert done.exit_code == 2
    assert "--all" in done.output


def test_a_folder_that_was_never_used_has_nothing_to_restore_into(tmp_path):
    (tmp_path / "backup").mkdir()
    (tmp_path / "backup" / "channel.dump").write_bytes(b"")
    arguments = ["restore", "--yes", "--from", str(tmp_path / "backup"), "--folder", str(tmp_path / "var")]
    done = CliRunner().invoke(main, [*arguments, "--service", "profile"])
    assert (done.exit_code, "no backup of profile" in done.output) == (1, True)
    done = CliRunner().invoke(main, [*arguments, "--service", "channel"])
    assert (done.exit_code, "never used" in done.output) == (1, True)
