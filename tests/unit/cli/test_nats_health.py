"""When a nats-server must be started again although it runs."""

from services.cli.stack import nats_health
from services.cli.stack.nats_health import stuck_for_want_of_space

COMPLAINT = "JetStream stream '$G > EVENTS' write error: write 1.blk: no space left on device"


def test_a_server_that_could_not_write_is_started_again_once_there_is_room(tmp_path, monkeypatch):
    assert str(tmp_path) in stuck_for_want_of_space(COMPLAINT, tmp_path)
    monkeypatch.setattr(nats_health, "free_bytes", lambda _folder: 1 << 20)
    assert stuck_for_want_of_space(COMPLAINT, tmp_path) == ""


def test_other_complaints_are_no_reason(tmp_path):
    assert stuck_for_want_of_space("", tmp_path) == ""
    assert stuck_for_want_of_space("JetStream stream '$G > EVENTS' is not current", tmp_path) == ""
