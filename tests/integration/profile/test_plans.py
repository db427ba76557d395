"""No statement of the hot paths reads more where there are more customers: its plan says so."""

import json
from collections.abc import Iterator
from contextlib import contextmanager
from typing import Any

import orjson
import pytest

from services.profile.app.changes import Changes
from services.profile.app.questions import ContactQuestion, Questions
from services.profile.app.timeline import Timelines
from services.profile.domain.consent import Consent
from services.profile.domain.timeline import Kind, Wanted
from services.runtime.access_log import list_reads
from services.runtime.caller import Caller, set_caller
from services.runtime.database import Transaction
from services.vocabulary.words import Category, Channel, ConsentBy, ConsentState, Purpose
from tests.integration.profile.test_store import CATALOGUE, NOW, Profile, profile  # noqa: F401 - fixture

FEW, MANY = 10_000, 100_000
FIRST = 1_000
"""Synthetic customers have ids from here on; those below were made by events."""
FILLED = (
    # table, its columns, and what stands in them of customer n
    ("customer", "id, sequence, hot", "n, 3, '\\x'::bytea"),
    ("customer_record", "customer, record", "n, '\\x'::bytea"),
    ("customer_traits", "customer, traits", 'n, \'{"plan": "S"}\''),
    ("customer_zone", "customer, zone", "n, 'Europe/Paris'"),
    ("identity", "lookup, customer, line", "sha256(n::text::bytea), n, ''"),
    ("identity_past", "lookup, until_micros, customer, line", "sha256(n::text::bytea), 1, n, ''"),
    ("event_key", "key, time_micros", "sha256(n::text::bytea), 1"),
    ("last_time", "type, customer, time_micros", "'topup.received', n, n"),
    ("consent_head", "customer, length, hash, seal", "n, 1, '\\x', '\\x'"),
    (
        "event",
        "customer, sequence, time_micros, accepted_micros, type, source, event_id, line, hops, history, data",
        "n, 1, n, n, 'topup.received', 's', 'e', '', 0, false, '\\x'",
    ),
    (
        "consent_ledger",
        "customer, purpose, state, said_by, time_micros, expiry_micros, evidence, wording, source, event_id",
        "n, 'marketing', 'granted', 'person', 1, 0, '', '', 's', 'e'",
    ),
    ("access_entry", "customer, caller, method, reason", "n, 'c', 'm', ''"),
)
Statement = tuple[str, Any]


async def fill(profile: Profile, start: int, end: int) -> None:  # noqa: F811
    async with profile.database.transaction() as tx:
        for table, columns, values in FILLED:
            await tx.execute(
                f"INSERT INTO {table} ({columns}) "
                f"SELECT {values} FROM generate_series({start}, {end - 1}) AS n"
            )
        for table, *_ in FILLED:
            await tx.execute(f"ANALYZE {table}")


@contextmanager
def recorded(monkeypatch: pytest.MonkeyPatch) -> Iterator[dict[str, Statement]]:
    """Every statement that transactions run meanwhile, by its text, with what it was given."""
    found: dict[str, Statement] = {}
    with monkeypatch.context() as patch:
        for name in ("rows", "row", "execute"):
            whole = getattr(Transaction, name)

            async def run(self, sql, params=(), whole=whole):
                if sql.split(None, 1)[0] in {"SELECT", "INSERT", "UPDATE", "DELETE", "WITH"}:
                    found.setdefault(sql, (sql, params))
                return await whole(self, sql, params)

            patch.setattr(Transaction, name, run)
        yield found


async def use(profile: Profile, people: int) -> None:  # noqa: F811
    """What is asked at every moment: events, senders' and decisions' questions, the care desk."""
    questions = Questions(CATALOGUE, profile.packer)
    changes = Changes(CATALOGUE, profile.taker, questions, profile.packer, orjson.dumps, wall=False)
    timelines = Timelines(CATALOGUE, questions)
    subjects = [f"crm:{n} email:p{n}@example.org" for n in range(people)]
    async with profile.store.work() as work:
        await work.set_listened(frozenset({"bill.issued", "topup.received"}), frozenset({"topup.received"}))
    money = {"amount": "1.00", "currency": "EUR"}
    consent = {"purpose": "marketing", "state": "granted", "by": "person"}
    for turn in range(2):
        told: list[tuple[str, str, dict[str, Any]]] = [
            *((subject, "topup.received", {"amount": money}) for subject in subjects),
            *(
                (subject, "profile.updated", {"traits": {"plan": f"S{people}-{turn}"}})
                for subject in subjects
            ),
            ("crm:1", "consent.changed", consent),
            ("crm:1", "area.entered", {"area": "a"}),
            ("crm:1 email:p2@example.org", "bill.issued", {"bill": "b", "amount": money}),
            (f"crm:1 cookie:c{turn}", "topup.received", {"amount": money}),
        ]
        events = [
            profile.event(f"{people}-{turn}-{place}", subject, kind=kind, **data)
            for place, (subject, kind, data) in enumerate(told)
        ]
        async with profile.store.work() as work:
            await profile.taker.take(work, events, NOW)
    async with profile.store.work() as work:
        asked = [ContactQuestion(n, Category.SALES) for n in range(1, people + 1)]
        await questions.contacts(work, asked, NOW)
        await questions.snapshots(work, subjects, NOW)
        await questions.owners(work, subjects)
        said = Consent(Purpose.MARKETING, Channel.SMS, ConsentState.DENIED, NOW, ConsentBy.PERSON)
        await changes.record_consent(work, "crm:3", [(said, "form", "v1")], f"r{people}", NOW)
        for oldest_first in (False, True):
            wanted = Wanted(frozenset(Kind), oldest_first=oldest_first)
            page = await timelines.page(work, "crm:3", wanted, size=1, for_person=False, now_micros=NOW)
            behind = Wanted(frozenset(Kind), page.entries[0].entry.place, oldest_first=oldest_first)
            await timelines.page(work, "crm:3", behind, size=1, for_person=False, now_micros=NOW)
        await work.versions(range(1, people + 1))
        set_caller(Caller("somebody"))
        await work.note_reads(range(1, people + 1), "method")
        await list_reads(work.transaction, [1, 2], limit=10)


async def plans(profile: Profile, statements: dict[str, Statement]) -> dict[str, dict[str, Any]]:  # noqa: F811
    found: dict[str, dict[str, Any]] = {}
    for sql, params in statements.values():
        async with profile.database.transaction() as tx:
            ((plan,),) = await tx.rows(f"EXPLAIN (FORMAT JSON) {sql}", params)
        found[sql] = (json.loads(plan) if isinstance(plan, str) else plan)[0]["Plan"]
    return found


def nodes(plan: dict[str, Any]) -> Iterator[dict[str, Any]]:
    yield plan
    for below in plan.get("Plans", ()):
        yield from nodes(below)


def reads_all_of(plan: dict[str, Any], growing: set[str]) -> list[str]:
    """Tables that grow with the customers and of which the plan reads everything."""
    return [
        f"{node['Node Type']} on {node['Relation Name']}"
        for node in nodes(plan)
        if node.get("Relation Name") in growing
        and node["Node Type"] in {"Seq Scan", "Index Scan", "Index Only Scan", "Sample Scan"}
        and "Index Cond" not in node
    ]


async def test_no_hot_statement_reads_more_where_there_are_more_customers(profile, monkeypatch):  # noqa: F811
    with recorded(monkeypatch) as statements:
        await use(profile, 8)
    with recorded(monkeypatch) as in_batches:
        await use(profile, 300)
    growing = {table for table, *_ in FILLED}
    assert growing <= {word for sql in statements for word in sql.replace("(", " ").split()} | {
        "event",  # copied into
        "consent_ledger",
        "consent_head",
        "identity_past",
        "customer_zone",
    }
    await fill(profile, FIRST, FEW)
    few = await plans(profile, statements)
    await fill(profile, FEW, MANY)
    many = await plans(profile, statements)
    for asked in (many, await plans(profile, in_batches)):
        assert {sql: found for sql, plan in asked.items() if (found := reads_all_of(plan, growing))} == {}
    grown = {
        sql: (few[sql]["Total Cost"], plan["Total Cost"])
        for sql, plan in many.items()
        # ten times the customers: another level of an index, rows on more pages, and never ten times the cost
        if plan["Total Cost"] > 3 * few[sql]["Total Cost"]
    }
    assert grown == {}
    # and it would be seen: who asks for a trait reads everybody
    bad = {"bad": ('SELECT customer FROM customer_traits WHERE traits @> \'{"plan": "S"}\'', ())}
    assert reads_all_of((await plans(profile, bad))[bad["bad"][0]], growing) == [
        "Seq Scan on customer_traits"
    ]
