"""Nothing that the stack writes about itself names a person: no log, metric, trace, error or audit entry."""

import asyncio
import datetime as dt
import json

import nats
import psycopg
import pytest
from rapport.types.v1 import stream_pb2

from tests.system.conftest import event, lines, new_number, person, until, used
from tests.system.personal_data import logs_of, metrics_of, numbers_in_logs, people_in, spellings
from tests.system.test_road import complaint_after_drops

HOUR = dt.timedelta(hours=1)
GIVEN_NAME = "Zéphyrine Quatremère-{number}"
TRACE_PARENT = "00-4bf92f3577b34da6a3ce929d0e0e4736-00f067aa0ba902b7-01"


class Someone:
    """A person with everything that may not be written down."""

    def __init__(self) -> None:
        self.number = new_number()
        self.email = f"zephyrine.{self.number[1:]}@private.example"
        self.name = GIVEN_NAME.format(number=self.number[-4:])
        self.msisdn, self.mail = f"msisdn:{self.number}", f"email:{self.email}"

    @property
    def told(self) -> list[str]:
        return [self.number.removeprefix("+"), self.email, self.name]


@pytest.fixture
def life(rapport, noon) -> tuple[list[Someone], list[tuple[str, bytes]]]:
    """People to whom everything happens that may make a system write; and what callers were answered."""
    people = [Someone() for _ in range(4)]
    first, second, third, fourth = people
    errors: list[tuple[str, bytes]] = []

    def ingest(*events: dict, told: str) -> None:
        done = rapport("ingest", "-", "--wait", "--json", stdin=lines(events))
        errors.append((told, done.stdout.encode() + done.stderr.encode()))

    def say(*arguments: str) -> None:
        done = rapport(*arguments)
        errors.append((f"rapport {arguments[0]}", done.stdout.encode() + done.stderr.encode()))
        assert done.returncode != 0, "only failures are looked at: answers name whom they were asked about"

    # what goes well: three channels, consents, complaints
    for one, channel in ((first, "sms"), (second, "email"), (third, "app")):
        rapport.take(
            [
                *person(noon, f"{one.msisdn} {one.mail} device:{one.number[1:]}", "marketing", name=one.name),
                event(
                    "profile.updated",
                    noon,
                    one.msisdn,
                    {"traits": {"plan_data_mb": 1000, "preferred_channel": channel, "churn_risk": 0.9}},
                ),
                used(noon + HOUR, one.msisdn, 600),
                *complaint_after_drops(noon + HOUR, one.msisdn),
            ]
        )
        done = rapport("consent", "set", one.msisdn, "marketing", "withdrawn", "--by", "person")
        assert done.returncode == 0, done.stderr
    # what providers refuse, and what they do not answer
    refusal = f"550 5.1.1 <{fourth.email}> {fourth.name} is unknown here"
    rapport.faults("smtp-sink", refuse={fourth.email: refusal})
    try:
        rapport.take(
            [
                *person(noon, fourth.mail, plan_data_mb=1000, preferred_channel="email", name=fourth.name),
                used(noon + HOUR, fourth.mail, 600),
            ]
        )
    finally:
        rapport.faults("smtp-sink")
    # what is refused at the edge, with people in all the wrong places
    good = used(noon, first.msisdn, 1)
    ingest(
        {**good, "id": "p-1", "subject": f"phone:{first.number}"},
        {**good, "id": "p-2", "subject": f"{first.msisdn}x {second.mail}x"},
        {**good, "id": "p-3", "type": first.email},
        {**good, "id": "p-4", "data": {"mb": second.number}},
        {**good, "id": "p-5", "data": {"mb": 1, first.email: first.name}},
        {**good, "id": "p-6", "data": {"mb": 1, "country": third.name}},
        {**good, "id": "p-7", "time": first.number},
        event("profile.updated", noon, first.msisdn, {"traits": {"name": {"first": first.name}}}),
        event("profile.updated", noon, first.msisdn, {"traits": {first.name: 1}}),
        event("profile.updated", noon, first.msisdn, {"traits": {"zone": second.name}}),
        event("consent.changed", noon, first.msisdn, {"purpose": first.name, "state": "granted"}),
        # one event with the identities of several customers
        {**good, "id": "p-8", "subject": f"{first.msisdn} {second.mail} {third.msisdn}"},
        told="what ingest says of bad events",
    )
    done = rapport("ingest", "-", "--json", stdin=f'{{"name": "{first.name}", {first.number}\n'.encode())
    errors.append(("what ingest says of no JSON", done.stdout.encode() + done.stderr.encode()))
    stranger = Someone()
    people.append(stranger)
    say("profile", "show", stranger.msisdn)
    say("profile", "show", stranger.number)
    say("profile", "show", f"msisdn:{stranger.name}")
    say("consent", "set", stranger.mail, "marketing", "granted")
    say("inbox", "watch", "--subject", stranger.mail, "--count", "1")
    # what fails alone further down, and what a database refuses
    set_aside(rapport, noon, stranger)
    break_a_key(rapport, first)
    return people, errors


def set_aside(rapport, noon: dt.datetime, someone: Someone) -> None:
    """An event of our own that does not fit the catalogue, with a person in it."""
    own = stream_pb2.OwnEvent(
        id="p-own",
        source="channel",
        type="action.sent",
        customer=1,
        time_micros=int(noon.timestamp()) * 1_000_000,
        data=json.dumps({someone.email: someone.name, "action": someone.number}).encode(),
    )

    async def publish() -> None:
        password = rapport.layout.secret("nats").read_text().strip()
        client = await nats.connect(rapport.stack.nats_url, user="rapport", password=password)
        await client.jetstream().publish(
            "rapport.outcomes.1", stream_pb2.OwnEventBatch(events=[own]).SerializeToString()
        )
        await client.close()

    before = rapport.progress()["profile"].dead_letters
    asyncio.run(publish())
    until(lambda: rapport.progress()["profile"].dead_letters > before)


def break_a_key(rapport, someone: Someone) -> None:
    """A mistake of ours: the database says which value it was, but only to us."""
    import sqlalchemy

    url = sqlalchemy.make_url(rapport.stack.database_url("profile"))
    told = url.translate_connect_args(username="user", database="dbname") | dict(url.query)
    told["password"] = rapport.stack.database_password("profile").read_text().strip()
    with (
        psycopg.connect(**told) as connection,
        pytest.raises(psycopg.errors.UniqueViolation, match=someone.number[1:]),
    ):
        connection.execute(
            f"INSERT INTO identity_plain VALUES ('{someone.msisdn}', 1, ''), ('{someone.msisdn}', 2, '')"
        )


def everything(rapport, traces) -> list[tuple[str, bytes]]:
    """All that the stack has written about itself so far, and what it tells operators."""
    texts = [*logs_of(rapport.folder), *metrics_of(rapport.stack)]
    texts += [("traces", body) for body in list(traces.bodies)]
    for asked in (("audit", "--limit", "100000"), ("dead", "list"), ("status",)):
        done = rapport(*asked, "--json")
        assert done.returncode == 0, done.stderr
        texts.append((f"rapport {asked[0]}", done.stdout.encode()))
    return texts


def test_nobody_is_named_in_what_the_stack_writes_about_itself(rapport, traces, life):
    people, errors = life
    texts = [*everything(rapport, traces), *errors]
    said = {entry["text"] for provider in ("smtp-sink",) for entry in rapport.received(provider)}
    named = [text for text in said if any(one.name in text for one in people)]
    assert named, "nobody was ever named: the test proves nothing"
    where = dict(texts)
    assert b"consent.record" in where["rapport audit"]
    assert b"own_event" in where["rapport dead"]
    assert any(body for place, body in texts if place == "traces"), "no trace was exported"
    found = people_in(texts, [*(text for one in people for text in one.told), *named])
    assert [(one.what, one.where, one.line) for one in found] == []


def test_no_number_of_any_test_so_far_is_in_a_log(rapport):
    assert numbers_in_logs(rapport.folder) == []


@pytest.mark.parametrize("spell", sorted(spellings("+33612345678 Zoé, zoe@private.example"))[:8])
def test_somebody_who_is_named_would_be_found(rapport, spell):
    planted = rapport.folder / "log" / "planted.log"
    planted.write_bytes(b'{"event": "x"}\n{"event": "call_failed", "about": "' + spell + b'"}\n')
    try:
        (found,) = people_in(logs_of(rapport.folder), ["+33612345678 Zoé, zoe@private.example"])[:1]
        assert found.where == "log of planted.log"
    finally:
        planted.unlink()


def test_a_number_would_be_found(rapport):
    planted = rapport.folder / "log" / "planted.log"
    planted.write_bytes(
        b"times 1791336000000000 and 0.33612345678, then\nlocal: msisdn:+33612345678 failed\n"
    )
    try:
        (found,) = numbers_in_logs(rapport.folder)
        assert (found.what, found.where) == ("+33612345678", "log of planted.log")
        assert found.line.startswith(b"local: ")
    finally:
        planted.unlink()
