"""Every worker is killed in the middle of an erasure: it is complete all the same, and leaves nothing."""

import json
import signal
from contextlib import ExitStack

import pytest

from tests.system.conftest import event, new_number, person, until
from tests.system.crash.books import open_database
from tests.system.test_crash_stopped_worker import held_up, no_message_taken

ON_THE_ROAD = ("decision", "channel", "profile")
NAME = "Augusta Byron"
PROOF = "form 4711 signed by hand"
TEXTS = """
    SELECT table_name FROM information_schema.tables
    WHERE table_schema = 'public' AND table_type = 'BASE TABLE'
"""


def found_in(counted, service, texts):
    """Tables of a service in which any of the texts stands, plain or as bytes."""
    wanted = [text for plain in texts for text in (plain, plain.encode().hex())]
    found = set()
    with open_database(counted.stack, service) as session:
        for (table,) in session.execute(TEXTS).fetchall():
            for text in wanted:
                query = f"SELECT 1 FROM {table} AS t WHERE t::text LIKE %s LIMIT 1"
                if session.execute(query, (f"%{text}%",)).fetchone():
                    found.add(table)
    return found


def kill_in_the_middle(counted, service):
    """Kills the service's worker while its batch waits for the lock, and sees it come back."""
    until(lambda: held_up(counted, service))
    birth = counted.birth(f"{service}-worker")
    birth.send(signal.SIGKILL)
    until(lambda: counted.stack.program(f"{service}-worker").birth not in {None, birth})


@pytest.mark.timeout(300)
def test_an_erasure_survives_the_death_of_every_worker_in_the_middle_of_it(counted):
    noon = counted.noon()
    number = new_number()
    subject = f"msisdn:{number}"
    exhausted = {"cycle": f"{noon:%Y-%m}", "days_left_in_cycle": 20, "surcharge_next": True}
    consent = {"purpose": "marketing", "state": "granted", "by": "person", "evidence": PROOF}
    counted.take(
        [
            *person(noon, subject, "profiling_usage", name=NAME, plan="M"),
            event("consent.changed", noon, subject, consent),
            event("usage.allowance_exhausted", noon, subject, exhausted),
        ]
    )
    (customer,) = {one["customer"] for one in counted.listing("profile", "show", subject)}
    assert counted.listing("messages", "list", "--subject", subject), "there is something to forget"
    asked = ("privacy", "erase", subject, "--ground", "objected", "--yes", "--json")
    with ExitStack() as locks:
        held = {service: locks.enter_context(ExitStack()) for service in ON_THE_ROAD}
        for service, lock in held.items():
            lock.enter_context(no_message_taken(counted, service))
        started = counted(*asked, "--wait", "0")
        assert started.returncode == 1, "it cannot be complete"
        erasure = json.loads(started.stdout)
        assert [one["service"] for one in erasure["services"] if one["finish_time"]] == ["profile"]
        for service, lock in held.items():
            kill_in_the_middle(counted, service)
            lock.close()

    def complete():
        (told,) = counted.listing("privacy", "receipt", erasure["erasure_id"])
        return told["complete_time"] and told

    until(complete)
    told = complete()
    rows = {one["service"]: one["erased"] for one in told["services"]}
    assert rows["profile"]["event"] >= 4
    assert rows["decision"]["decision"] == 1
    assert rows["channel"]["message_body"] >= 1
    for service in ON_THE_ROAD:
        assert found_in(counted, service, (number, NAME, PROOF)) == set(), service
    late = counted.ingest([event("usage.data_used", noon, subject, {"mb": 7})])
    assert (late["accepted"], late["read"]) == (0, 1)
    assert counted.total("profile", "events.erased") >= 0
    assert counted("profile", "show", f"customer:{customer}").returncode == 1
