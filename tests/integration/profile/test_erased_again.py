"""After a restore whoever was erased since the backup is erased again, by a file of receipts kept outside."""

import asyncio
import json
from contextlib import asynccontextmanager
from types import SimpleNamespace

import grpc
import pytest
from click.testing import CliRunner
from rapport.privacy.v1 import erasure_pb2, erasure_pb2_grpc
from rapport.profile.v1 import profile_pb2

from services.cli.commands import persons
from services.cli.main import main
from services.profile.main import MIGRATIONS
from services.runtime.database import Database
from tests.fakes.trust import trust
from tests.integration.profile.asking import NOON, event, ingest, stamp
from tests.integration.profile.conftest import running_profile

ADA, BOB, EVE = "crm:ada", "crm:bob", "crm:eve"


@pytest.fixture
def rapport(monkeypatch):
    """The command against one running profile service; its output's last line, and its exit code."""
    at = ""

    @asynccontextmanager
    async def connected(_folder):
        async with trust().connect(at) as channel:
            yield SimpleNamespace(erasures=erasure_pb2_grpc.ErasureServiceStub(channel))

    async def run(running, *arguments):
        nonlocal at
        at = running.token_address
        return await asyncio.to_thread(CliRunner().invoke, main, ["privacy", *map(str, arguments)])

    monkeypatch.setattr(persons, "connected", connected)
    return run


async def filled(running, *subjects):
    """Customers in this order, so that both databases have them under the same ids."""
    clock = profile_pb2.AdvanceClockRequest(request_id="c", time=stamp(NOON))
    await running.profile.AdvanceClock(clock)
    for subject in subjects:
        await running.profile.IngestEvents(ingest(event(f"e-{subject}", subject=subject)))
    return [(await whose(running, subject)) for subject in subjects]


async def whose(running, subject):
    found = await running.profile.ResolveIdentity(profile_pb2.ResolveIdentityRequest(subject=subject))
    return found.customer


async def rows(running, sql):
    database = Database(running.settings.database_url, pool_size=1)
    try:
        async with database.transaction() as transaction:
            return await transaction.rows(sql)
    finally:
        await database.close()


async def test_a_restored_profile_forgets_again_whom_the_receipts_name(
    profile, profile_settings, make_database, rapport, tmp_path
):
    ada, bob, eve = await filled(profile, ADA, BOB, EVE)
    erase = ("erase", "--ground", "objected", "--reference", "case 7", "--wait", 0, "--yes", "--json")
    for subject in (ADA, EVE):
        done = await rapport(profile, *erase, subject)
        assert "not complete yet" in done.output, "no other service runs"
    receipts = tmp_path / "receipts.jsonl"
    receipts.write_text((await rapport(profile, "receipt", "--all", "--json")).stdout)
    assert [one["customers"] for one in map(json.loads, receipts.read_text().splitlines())] == [[eve], [ada]]
    assert ADA not in receipts.read_text()

    # the backup is of before, and of a moment at which nobody knew Eve
    async with running_profile(profile_settings(database_url=make_database(MIGRATIONS))) as restored:
        assert await filled(restored, ADA, BOB) == [ada, bob]
        again = ("erase", "--receipts", receipts, "--wait", 0, "--yes", "--json")
        done = await rapport(restored, *again)
        assert f"customer:{eve} is not known here" in done.stderr
        told = [json.loads(line) for line in done.stdout.splitlines() if line.startswith("{")]
        assert [(one["customers"], one["ground"], one["reference"]) for one in told] == [
            ([ada], "objected", "case 7")
        ]
        assert await rows(restored, "SELECT customer FROM event ORDER BY customer") == [(bob,)]
        with pytest.raises(grpc.aio.AioRpcError) as unknown:
            await whose(restored, ADA)
        assert unknown.value.code() is grpc.StatusCode.NOT_FOUND
        late = await restored.profile.IngestEvents(ingest(event("late", subject=ADA)))
        assert [profile_pb2.RejectionReason.Name(one.reason)[17:] for one in late.results] == ["ERASED"]
        # the same file once more goes down the road again: the other services may be the restored ones
        await rapport(restored, *again)
        request = erasure_pb2.ListErasuresRequest()
        listed = await erasure_pb2_grpc.ErasureServiceStub(restored.grpc_channel).ListErasures(request)
        assert [list(one.customers) for one in listed.erasures] == [[ada]]
        sent = await rows(restored, "SELECT count(*) FROM audit_entry WHERE action = 'erasure.again'")
        assert sent == [(1,)]
        assert await whose(restored, BOB) == bob
