"""The audit log: written with the change, by whom, found again, and never changed."""

import asyncio

import psycopg
import pytest

from services.runtime.audit import AuditFilter, Change, list_audit, newest_audit, write_audit
from services.runtime.caller import Caller, set_caller
from services.runtime.configuration import ConfigurationLog, WatchedFile
from services.runtime.database import Database
from services.runtime.digests import digest_files


async def listed(database: Database, **wanted) -> list:
    async with database.transaction() as tx:
        return await list_audit(tx, AuditFilter(**wanted))


async def test_an_entry_says_who_did_what_from_what_to_what_for_which_request(database: Database):
    set_caller(Caller("spiffe://rapport/marketing", frozenset({"rules.write"})))
    async with database.transaction() as tx:
        tx.request_id = "r-1"
        await write_audit(
            tx,
            Change("rules.put", "rule_set/a", before={"version": 1}, after={"version": 2}),
            Change("x", "y"),
        )
    second, first = await listed(database)
    assert (first.actor, first.action, first.target, first.request_id) == (
        "spiffe://rapport/marketing", "rules.put", "rule_set/a", "r-1",
    )  # fmt: skip
    assert (first.before, first.after) == ({"version": 1}, {"version": 2})
    assert (second.before, second.after) == (None, None)
    assert abs(first.time_micros - second.time_micros) < 60_000_000


async def test_what_a_worker_does_by_itself_is_the_systems(database: Database):
    async with database.transaction() as tx:
        await write_audit(tx, Change("prune", "retention/decisions"))
    (entry,) = await listed(database)
    assert entry.actor == "system"


async def test_an_entry_is_undone_with_its_change(database: Database):
    async def fail() -> None:
        async with database.transaction() as tx:
            await write_audit(tx, Change("rules.put", "rule_set/a"))
            raise RuntimeError

    with pytest.raises(RuntimeError):
        await fail()
    assert await listed(database) == []


@pytest.mark.parametrize(
    "statement",
    [
        "UPDATE audit_entry SET actor = 'nobody'",
        "DELETE FROM audit_entry",
        "DELETE FROM audit_entry WHERE false",
        "TRUNCATE audit_entry",
        """INSERT INTO audit_entry (id, actor, action, target) OVERRIDING SYSTEM VALUE
        SELECT id, 'nobody', action, target FROM audit_entry
        ON CONFLICT (id) DO UPDATE SET actor = excluded.actor""",
    ],
)
async def test_no_statement_changes_or_takes_away_an_entry(database: Database, statement: str):
    async with database.transaction() as tx:
        await write_audit(tx, Change("rules.put", "rule_set/a"))
    with pytest.raises(psycopg.errors.RaiseException, match="append-only"):
        async with database.transaction() as tx:
            await tx.execute(statement)
    (entry,) = await listed(database)
    assert (entry.actor, entry.target) == ("system", "rule_set/a")


async def test_entries_are_found_by_target_and_below_actor_action_and_time(database: Database):
    async with database.transaction() as tx:
        await write_audit(
            tx,
            Change("consent.record", "customer/7/consent/marketing/sms", actor="bss"),
            Change("consent.record", "customer/77/consent/marketing/sms", actor="care"),
            Change("rules.put", "rule_set/100%_off", actor="care"),
        )
    customer, other, rules = reversed(await listed(database))
    assert await listed(database, target="customer/7") == [customer]
    assert await listed(database, target="customer/77/consent/marketing/sms") == [other]
    assert await listed(database, target="rule_set/100%_off") == [rules]
    assert await listed(database, target="rule_set/%") == []
    assert await listed(database, actor="care") == [rules, other]
    assert await listed(database, action="consent.record") == [other, customer]
    assert await listed(database, from_micros=rules.time_micros + 1) == []
    assert await listed(database, from_micros=other.time_micros, to_micros=rules.time_micros) == [other]
    async with database.transaction() as tx:
        assert await list_audit(tx, AuditFilter(), before=rules.number, limit=1) == [other]
        assert await newest_audit(tx, "customer/7") is None


async def test_a_configuration_is_noted_when_it_differs_from_the_one_noted_last(database: Database, tmp_path):
    (tmp_path / "a.yaml").write_text("one")
    watched = WatchedFile(tmp_path, "a.yaml")
    worker = ConfigurationLog(database, "worker", {"a": watched.digests})
    server = ConfigurationLog(database, "server", {"a": lambda: digest_files(tmp_path, "*.yaml")})
    assert [await worker.note(), await server.note(), await worker.note()] == [1, 0, 0]
    (tmp_path / "a.yaml").write_text("another")
    assert [await server.note(), await worker.note()] == [1, 0]
    newest, first = await listed(database, target="configuration/a")
    assert (first.before, first.after["role"], list(first.after["files"])) == (None, "worker", ["a.yaml"])
    assert newest.before == {"files": first.after["files"]}
    assert newest.after["files"] != first.after["files"]
    assert newest.after["role"] == "server"


async def test_two_roles_that_start_together_note_a_configuration_once(database: Database, tmp_path):
    (tmp_path / "a.yaml").write_text("one")
    logs = [ConfigurationLog(database, "x", {"a": lambda: digest_files(tmp_path, "*")}) for _ in range(4)]
    assert sorted(await asyncio.gather(*(log.note() for log in logs))) == [0, 0, 0, 1]
