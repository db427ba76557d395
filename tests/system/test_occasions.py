"""What no event of the customer calls for: schedules, silences, pairs that stay open, things; once each."""

import datetime as dt
import signal
from collections import Counter

import pytest

from services.cli.stack.progress import advance_clock
from tests.system.conftest import event, new_number, person, until, used
from tests.system.test_disturbances import came_back

HOUR = dt.timedelta(hours=1)
DAY = dt.timedelta(days=1)
ZONES = ("Europe/Paris", "Asia/Tokyo", "America/New_York")
TRIGGERS = {
    "schedule": "{{every: day at 11:00, audience: [profile.plan is {mark}, profile.products contains tv]}}",
    "silence": "{nothing: topup.received, for: 30d}",
    "pair": "{nothing: order.delivered, after: order.placed, by: order, for: 48h}",
    "thing": "{{thing: network.outage_started, audience: [profile.last_cell is event.cell]}}",
}
MESSAGES = {"schedule": "quota-50", "silence": "quota-80", "pair": "quota-100", "thing": "outage-notice"}
RULE_SET = """
ruleset: called-by-{name}
title: Called by a {name}
owner: system-tests
stage: assist
active: {{from: {first}, to: {last}, tz: UTC}}
trigger: {trigger}
rules:
  - id: tell
    when: [profile.plan is {mark}]
    do: {{message: {message}, category: service, channels: [sms]{more}}}
tests:
  - {{name: told, given: {{profile: {{plan: {mark}, products: [tv], last_cell: FR-1}}}},
      when: {when}, then: {{fires: [tell]}}}}
"""
WHENS = {
    "schedule": "{}",
    "silence": "{}",
    "pair": "{order: O-1, product: p}",
    "thing": "{type: network.outage_started, cell: FR-1, incident: INC7}",
}


@pytest.mark.timeout(300)
def test_each_occasion_reaches_the_phone_once_though_the_worker_is_killed(rapport, noon, tmp_path):
    mark = f"mark-{new_number()[1:]}"
    cell = f"FR-{new_number()[1:]}"
    files = []
    for name, trigger in TRIGGERS.items():
        text = RULE_SET.format(
            name=name,
            first=noon.date(),
            last=(noon + 6 * DAY).date(),
            trigger=trigger.format(mark=mark) if "{{" in trigger else trigger,
            mark=mark,
            message=MESSAGES[name],
            more=", with: {eta: soon}" if name == "thing" else "",
            when=WHENS[name],
        )
        files.append(tmp_path / f"called-by-{name}.yaml")
        files[-1].write_text(text)
    done = rapport("rules", "activate", *map(str, files))
    assert done.returncode == 0, done.stderr

    concerned = {name: [f"msisdn:{new_number()}" for _ in range(12)] for name in TRIGGERS}
    others = {name: [f"msisdn:{new_number()}" for _ in range(2)] for name in TRIGGERS}
    top_up = {"amount": {"amount": "5.00", "currency": "EUR"}}
    events = []
    for people, are_meant in ((concerned, True), (others, False)):
        for name, subjects in people.items():
            for place, subject in enumerate(subjects):
                traits = {"plan": mark}
                if name == "schedule":
                    traits |= {"products": ["tv" if are_meant else "phone"]}
                    traits |= {"zone": ZONES[place % 3]}
                if name == "thing":
                    traits |= {"last_cell": cell if are_meant else f"{cell}9"}
                events += person(noon, subject, "profiling_location", **traits)
                if name == "silence":
                    ago = 30 * DAY - HOUR if are_meant else 20 * DAY
                    events.append(event("topup.received", noon - ago, subject, top_up))
                if name == "pair":
                    order = {"order": f"O-{subject[-6:]}", "product": "box"}
                    events.append(event("order.placed", noon + HOUR, subject, order))
                    if not are_meant:
                        events.append(event("order.delivered", noon + 2 * HOUR, subject, order))
    worker = "decision-worker"
    rapport.take(events)

    # killed while time goes on, and runs are opened and asked
    for day in (1, 2, 3):
        restarts = rapport.stack.program(worker).restarts
        advance_clock(rapport.stack, noon + day * DAY)
        if day != 2:
            rapport.birth(worker).send(signal.SIGKILL)
            until(lambda restarts=restarts: came_back(rapport, worker, restarts))
        rapport.take([used(noon + day * DAY, concerned["pair"][0], 1)])
    outage = event("network.outage_started", noon + 3 * DAY, f"cell:{cell}", {"cell": cell, "incident": "I7"})
    assert rapport.ingest([outage, outage])["duplicate"] == 1
    beyond = used(noon + 3 * DAY + 6 * HOUR, concerned["pair"][0], 1)
    rapport.take([beyond])

    meant = {number(subject): name for name, subjects in concerned.items() for subject in subjects}
    nobody = {number(subject) for subjects in others.values() for subject in subjects}
    got = Counter(
        (entry["destination"], entry["reference"])
        for entry in rapport.received("smsc")
        if entry["destination"] in meant.keys() | nobody
    )
    assert set(got.values()) == {1}, "no message is handed over twice"
    told = Counter(to for to, _ in got)
    assert set(told) == set(meant)
    assert {told[to] for to, name in meant.items() if name != "schedule"} == {1}
    # 11:00 by each customer's own clock: three times since then in Paris and Tokyo, four in New York
    for place, subject in enumerate(concerned["schedule"]):
        assert told[number(subject)] == (3, 3, 4)[place % 3], ZONES[place % 3]
    (run,) = rapport.listing("runs", "--rule-set", "called-by-thing")
    assert (run["run"], run["kind"], run["state"], run["asked"]) == (outage["id"], "thing", "done", 12)
    (came,) = rapport.listing("campaigns", "show", str(run["number"]))
    counted = ("decided", "nothing", "dispatched", "on_their_way", "sent", "failed", "refused")
    assert [came[word] for word in counted] == [12, 0, 12, 0, 12, 0, []]
    by_zone = Counter(run["zone"] for run in rapport.listing("runs", "--rule-set", "called-by-schedule"))
    assert [by_zone[zone] for zone in ZONES] == [3, 3, 4]
    assert rapport.listing("runs", "--state", "open") == []


def number(subject):
    return subject.removeprefix("msisdn:+")
