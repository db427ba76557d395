"""Customers go through a journey on the running stack: each step once, though a worker is killed."""

import datetime as dt
import signal
from collections import Counter

import pytest

from services.cli.stack.progress import advance_clock
from tests.system.conftest import event, new_number, person, until, used
from tests.system.test_disturbances import came_back

HOUR = dt.timedelta(hours=1)
DAY = dt.timedelta(days=1)
RULE_SET = """
ruleset: first-days
title: The first days
owner: system-tests
stage: buy
active: {{from: {first}, tz: UTC}}
journey:
  key: event.order
  start: order.activated
  exit: [subscription.ended happened]
  steps:
    - do: {{message: quota-50, category: service, channels: [sms]}}
    - wait: 1d
    - await: topup.received
      within: 1d
      then:
        - do: {{message: quota-80, category: service, channels: [sms]}}
      nothing:
        - do: {{message: quota-100, category: service, channels: [sms]}}
tests:
  - {{name: hello, when: {{order: o}}, then: {{fires: [step-1]}}}}
  - {{name: thanks, when: {{type: topup.received}}, then: {{fires: [step-3.then-1]}}}}
  - {{name: nothing, when: {{step: step-3}}, then: {{fires: [step-3.nothing-1]}}}}
"""


@pytest.mark.timeout(240)
def test_each_step_reaches_the_phone_once_though_the_worker_is_killed(rapport, noon, tmp_path):
    file = tmp_path / "first-days.yaml"
    file.write_text(RULE_SET.format(first=noon.date()))
    done = rapport("rules", "activate", str(file))
    assert done.returncode == 0, done.stderr
    silent, answering, leaving = people = [[f"msisdn:{new_number()}" for _ in range(8)] for _ in range(3)]
    top_up = {"amount": {"amount": "5.00", "currency": "EUR"}}
    worker = "decision-worker"
    orders = [
        event("order.activated", noon + HOUR, subject, {"order": f"O-{subject[-8:]}", "product": "box"})
        for subjects in people
        for subject in subjects
    ]
    rapport.take(
        [fact for subjects in people for subject in subjects for fact in person(noon, subject)] + orders
    )
    rapport.take([event("subscription.ended", noon + 2 * HOUR, subject, {}) for subject in leaving])
    for day in (1, 2, 3):
        restarts = rapport.stack.program(worker).restarts
        advance_clock(rapport.stack, noon + day * DAY + 3 * HOUR)
        if day == 1:
            rapport.birth(worker).send(signal.SIGKILL)
            until(lambda restarts=restarts: came_back(rapport, worker, restarts))
        at = noon + day * DAY + 3 * HOUR
        answers = [event("topup.received", at, subject, top_up) for subject in answering] if day == 1 else []
        rapport.take([*answers, used(at, silent[0], 1)])
    texts = {"silent": Counter(), "answering": Counter(), "leaving": Counter()}
    of = {
        subject.removeprefix("msisdn:+"): name
        for name, group in zip(texts, people, strict=True)
        for subject in group
    }
    got = Counter(
        (entry["destination"], entry["reference"])
        for entry in rapport.received("smsc")
        if entry["destination"] in of
    )
    assert set(got.values()) == {1}, "no message is handed over twice"
    for to, _ in got:
        texts[of[to]][to] += 1
    assert set(texts["silent"].values()) == set(texts["answering"].values()) == {2}
    assert set(texts["leaving"].values()) == {1}
    rules = Counter(
        action["rule"]
        for decision in rapport.listing("decisions", "list", "--rule-set", "first-days")
        for action in decision["actions"]
        if action["kind"] == "message"
    )
    assert (rules["step-3.then-1"], rules["step-3.nothing-1"]) == (8, 8)
