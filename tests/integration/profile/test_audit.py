"""Changes of consent and of listened types stand in the audit log, whichever way they came; names do not."""

import json
from collections.abc import AsyncIterator

import pytest
from rapport.operations.v1 import operations_pb2

from services.profile.adapters.pruning import Events
from services.profile.app.changes import OWN_SOURCE
from services.runtime.caller import SYSTEM
from services.runtime.database import Database
from services.runtime.prune import Pruner
from services.vocabulary.values import DAY
from tests.fakes.channel import SetClock
from tests.integration.profile.asking import ANNA, NOON, at, event, ingest
from tests.integration.profile.conftest import until
from tests.integration.profile.test_consents import change, record, rows
from tests.integration.profile.test_ingest import listen

STARTED = {"cell": "7", "incident": "i-1"}
STAFF_SAYS_YES = {"purpose": "marketing", "channel": "sms", "state": "granted", "by": "staff"}


@pytest.fixture
async def database(profile) -> AsyncIterator[Database]:
    database = Database(profile.settings.database_url, pool_size=2)
    yield database
    await database.close()


async def audit(profile, **wanted) -> list[operations_pb2.AuditEntry]:
    """Oldest first."""
    answer = await profile.operations.ListAuditEntries(operations_pb2.ListAuditEntriesRequest(**wanted))
    assert not answer.next_page_token
    return list(reversed(answer.entries))


def state(text: str) -> tuple[str, str]:
    told = json.loads(text)
    return told["state"], told["by"]


async def test_a_consent_stands_there_with_what_counted_before_and_since(profile):
    await profile.profile.IngestEvents(ingest(event("e1")))
    answer = await record(profile, "r1", change("GRANTED", channel="SMS"))
    await record(profile, "r2", change("WITHDRAWN", channel="SMS", time=at(hours=1)))
    first, second = await audit(profile, target=f"customer/{answer.customer}")
    assert first.target == f"customer/{answer.customer}/consent/marketing/sms"
    assert (first.action, first.request_id, first.before) == ("consent.record", "r1", "")
    assert state(first.after) == state(second.before) == ("granted", "person")
    assert state(second.after) == ("withdrawn", "person")
    assert json.loads(second.after)["source"] == OWN_SOURCE
    assert first.actor == second.actor
    assert first.actor != SYSTEM
    assert first.service == "profile"


async def test_a_word_that_changes_nothing_stands_there_as_such(profile):
    await profile.profile.IngestEvents(ingest(event("e1")))
    await record(profile, "r1", change("WITHDRAWN", channel="SMS"))
    await profile.profile.IngestEvents(
        ingest(event("e2", "consent.changed", STAFF_SAYS_YES, time=at(hours=1)))
    )
    _, entry = await audit(profile, action="consent.record")
    assert state(entry.before) == state(entry.after) == ("withdrawn", "person")
    assert json.loads(entry.after)["without_effect"]["state"] == "granted"
    assert json.loads(entry.after)["source"] == "test"
    assert entry.actor != SYSTEM


async def test_what_is_refused_or_repeated_is_no_change(profile):
    await profile.profile.IngestEvents(ingest(event("e1")))
    for _ in range(2):
        await profile.profile.IngestEvents(ingest(event("e2", "consent.changed", STAFF_SAYS_YES)))
        await record(profile, "r1", change("GRANTED"))
    await listen(profile, "topup.received", request_id="l1")
    await listen(profile, "topup.received", request_id="l2")
    actions = [entry.action for entry in await audit(profile)]
    changes = [action for action in actions if not action.startswith("configuration")]
    assert changes == ["consent.record", "consent.record", "listened_types.set"]
    (listening,) = await audit(profile, target="listened_types")
    assert (listening.before, json.loads(listening.after)) == (
        "", {"version": 1, "types": ["topup.received"]},
    )  # fmt: skip


async def test_no_entry_holds_a_subscriber_number(profile):
    await profile.profile.IngestEvents(ingest(event("e1"), event("e2", "consent.changed", STAFF_SAYS_YES)))
    await record(profile, "r1", change("GRANTED", evidence=f"said by {ANNA}", wording="v2"))
    number = ANNA.removeprefix("msisdn:")
    found = await rows(profile, "SELECT audit_entry::text FROM audit_entry")
    assert len(found) >= 2
    assert not [text for (text,) in found if number in text]


async def test_pages_go_on_where_the_last_one_ended(profile):
    await profile.profile.IngestEvents(ingest(event("e1")))
    for number in range(3):
        await record(profile, f"r{number}", change("GRANTED", time=at(hours=number)))
    request = operations_pb2.ListAuditEntriesRequest(page_size=2, action="consent.record")
    first = await profile.operations.ListAuditEntries(request)
    request.page_token = first.next_page_token
    second = await profile.operations.ListAuditEntries(request)
    assert [entry.request_id for entry in (*first.entries, *second.entries)] == ["r2", "r1", "r0"]
    assert not second.next_page_token


async def test_each_dead_letter_sent_again_stands_there(profile, database):
    await profile.profile.IngestEvents(ingest(event("e1")))
    own = "INSERT INTO dead_letter (kind, item_id, item_type, customer, payload, reason)"
    async with database.transaction() as tx:
        await tx.execute(
            f"{own} VALUES ('event', 'e9', 'topup.received', 0, %s, 'test')",
            (event("e9").SerializeToString(),),
        )
    for number in (1, 2):
        request = operations_pb2.ResendDeadLetterRequest(request_id=f"r{number}", dead_letter_id="1")
        await profile.operations.ResendDeadLetter(request)
    first, second = await audit(profile, target="dead_letter/1")
    assert (first.action, first.request_id, second.request_id) == ("dead_letter.resend", "r1", "r2")
    assert json.loads(first.before) == {"resent_time": None}
    sent = json.loads(first.after)
    assert sent["item_type"] == "topup.received"
    assert json.loads(second.before) == {"resent_time": sent["resent_time"]}


async def test_a_role_notes_the_files_that_it_loaded_once(profile):
    async def noted() -> list[str]:
        targets = sorted(entry.target for entry in await audit(profile, action="configuration.load"))
        return targets if len(targets) >= 3 else []

    assert await until(noted) == [f"configuration/{name}" for name in ("access", "catalogue", "retention")]


async def test_events_go_when_they_are_old_and_the_profile_stays(profile, database):
    await profile.profile.IngestEvents(
        ingest(event("e1"), event("c1", "network.outage_started", STARTED, subject="cell:7"))
    )
    clock = SetClock(int(NOON.timestamp()) * 1_000_000)
    accepted = (await rows(profile, "SELECT max(accepted_micros) FROM event"))[0][0]
    pruner = Pruner(database, clock, [Events()], lambda: {"events": 40 * DAY})
    clock.now = accepted + 40 * DAY
    await pruner.prune()
    assert len(await rows(profile, "SELECT 1 FROM event")) == 1
    clock.now += 1
    (seen,) = await pruner.preview()
    (gone,), _ = await pruner.prune()
    assert gone.rows == seen.rows == {"event": 1, "thing_event": 1}
    assert await rows(profile, "SELECT 1 FROM event") == []
    assert (await rows(profile, "SELECT sequence FROM customer")) == [(1,)]
