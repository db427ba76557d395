"""The road: from an event by `rapport ingest` to a message in a customer's hand, and back."""

import datetime as dt

import pytest

from tests.system.conftest import event, lines, new_number, person, used

DECISION_FIELDS = {
    "decision_id",
    "event_id",
    "event_type",
    "event_time",
    "decided_time",
    "customer",
    "identities",
    "facts",
    "actions",
}
ACTION_FIELDS = {
    "action_id",
    "rule_set",
    "version",
    "rule",
    "kind",
    "name",
    "category",
    "outcome",
    "reason",
    "score",
    "factors",
}
MESSAGE_FIELDS = {
    "message_id",
    "action_id",
    "decision_id",
    "customer",
    "channel",
    "category",
    "name",
    "state",
    "reason",
    "planned_time",
    "sent_time",
    "text",
}
MINUTE = dt.timedelta(minutes=1)
HOUR = dt.timedelta(hours=1)
GOODWILL_TRAITS = {"churn_risk": 0.9}


def complaint_after_drops(moment, subject, cell="FR-0042"):
    """What makes the rule set `dropped-calls` ask for goodwill (retention) and a task."""
    at = {"cell": cell} if cell else {}
    complaint = {"complaint": f"C-{subject}", "topic": "calls", **at}
    return [
        *(event("network.call_dropped", moment + n * MINUTE, subject, at) for n in range(3)),
        event("complaint.opened", moment + HOUR, subject, complaint),
    ]


def test_a_short_message_arrives_and_its_receipt_comes_back(rapport, noon):
    number = new_number()
    subject = f"msisdn:{number}"
    over_half = used(noon + HOUR, subject, 600)
    rapport.take([*person(noon, subject, plan_data_mb=1000), over_half])

    (decision,) = rapport.listing("decisions", "list", "--subject", subject)
    assert set(decision) == DECISION_FIELDS
    assert decision["event_id"] == over_half["id"]
    assert decision["event_type"] == "usage.data_used"
    assert decision["event_time"] == over_half["time"]
    assert decision["identities"] == [subject]
    (action,) = decision["actions"]
    assert set(action) == ACTION_FIELDS
    wanted = {
        "rule_set": "quota-notices",
        "version": 1,
        "rule": "half",
        "kind": "message",
        "name": "quota-50",
        "category": "service",
        "outcome": "dispatched",
        "reason": None,
    }
    assert action.items() >= wanted.items()

    (message,) = rapport.listing("messages", "list", "--subject", subject)
    assert set(message) == MESSAGE_FIELDS
    assert message["action_id"] == action["action_id"]
    assert message["decision_id"] == decision["decision_id"]
    assert message["customer"] == decision["customer"]
    assert (message["channel"], message["state"], message["reason"]) == ("sms", "delivered", None)

    (taken,) = [entry for entry in rapport.received("smsc") if entry["destination"] == number.lstrip("+")]
    assert taken["reference"] == message["message_id"]
    assert taken["message"] == message["text"]
    assert "half" in message["text"]

    (profile,) = rapport.listing("profile", "show", subject)
    assert {entry["type"] for entry in profile["activity"]} >= {
        "usage.data_used",
        "action.sent",
        "action.delivered",
    }


def test_an_e_mail_arrives(rapport, noon):
    subject = f"email:half{new_number()[1:]}@customer.example"
    rapport.take(
        [
            *person(noon, subject, plan_data_mb=1000, preferred_channel="email", language="fr"),
            used(noon + HOUR, subject, 600),
        ]
    )
    (message,) = rapport.listing("messages", "list", "--subject", subject)
    assert (message["channel"], message["state"]) == ("email", "sent")
    (mail,) = [e for e in rapport.received("smtp-sink") if e["recipient"] == subject.removeprefix("email:")]
    assert mail["reference"] == message["message_id"]
    assert mail["text"] == message["text"]
    assert "moitié" in mail["text"]
    assert mail["list_unsubscribe"] is None


def test_the_app_is_shown_its_message_and_says_so(rapport, noon):
    subject = f"device:phone-{new_number()[1:]}"
    rapport.take(
        [
            *person(noon, subject, plan_data_mb=1000, preferred_channel="app"),
            used(noon + HOUR, subject, 600),
        ]
    )
    (entry,) = rapport.listing("inbox", "watch", "--subject", subject, "--count", "1")
    assert set(entry) == {"cursor", *MESSAGE_FIELDS}
    assert (entry["channel"], entry["name"], entry["state"]) == ("app", "quota-50", "sent")
    rapport.take([used(noon + 2 * HOUR, subject, 300)])
    (later,) = rapport.listing(
        "inbox", "watch", "--subject", subject, "--after", str(entry["cursor"]), "--count", "1"
    )
    assert later["name"] == "quota-80"
    states = {m["name"]: m["state"] for m in rapport.listing("messages", "list", "--subject", subject)}
    assert states == {"quota-50": "delivered", "quota-80": "sent"}


def test_a_complaint_after_drops_leads_to_a_task_and_to_goodwill(rapport, noon):
    subject = f"msisdn:{new_number()}"
    rapport.take(
        [
            *person(noon, subject, "marketing", **GOODWILL_TRAITS),
            *complaint_after_drops(noon + MINUTE, subject),
        ]
    )
    messages = rapport.listing("messages", "list", "--subject", subject)
    assert {(m["channel"], m["name"], m["category"]) for m in messages} == {
        ("task", "call-back", "service"),
        ("sms", "goodwill-1gb", "retention"),
    }
    assert {m["state"] for m in messages if m["channel"] == "sms"} == {"delivered"}
    (decision,) = rapport.listing("decisions", "list", "--subject", subject)
    assert decision["facts"] == [
        "complaint_open",
        *(f"dropped-calls/{fact}" for fact in ("bad_day", "network_complaint", "at_risk")),
    ]
    planned = [a for a in decision["actions"] if a["outcome"] == "planned"]
    assert [a["name"] for a in planned] == ["ces-after-care"]


def test_what_the_customer_did_not_agree_to_have_used_is_not_used(rapport, noon):
    """Without a cell in the event, where the customer is would have to be known from where they were."""
    subject = f"msisdn:{new_number()}"
    rapport.take(
        [
            *person(noon, subject, "marketing", **GOODWILL_TRAITS),
            *complaint_after_drops(noon + MINUTE, subject, cell=""),
        ]
    )
    reasons = {
        action["name"]: action["reason"]
        for decision in rapport.listing("decisions", "list", "--subject", subject)
        for action in decision["actions"]
        if action["outcome"] == "refused"
    }
    assert reasons == {"goodwill-1gb": "DATA_WITHHELD", "outage-notice": "DATA_WITHHELD"}


@pytest.mark.parametrize("state", ["withdrawn", "denied", "objected"])
def test_consent_taken_back_stops_the_message(rapport, noon, state):
    subject = f"msisdn:{new_number()}"
    rapport.take(person(noon, subject, "marketing", **GOODWILL_TRAITS))
    (told,) = rapport.listing("consent", "set", subject, "marketing", state, "--by", "person")
    assert {(entry["purpose"], entry["state"]) for entry in told["consents"]} == {("marketing", state)}
    rapport.take(complaint_after_drops(noon + MINUTE, subject))
    (message,) = [
        m for m in rapport.listing("messages", "list", "--subject", subject) if m["name"] == "goodwill-1gb"
    ]
    assert (message["state"], message["reason"], message["sent_time"]) == ("refused", "NO_CONSENT", None)
    number = subject.removeprefix("msisdn:+")
    assert not [entry for entry in rapport.received("smsc") if entry["destination"] == number]


def test_no_consent_known_is_no_consent_for_what_is_commercial(rapport, noon):
    subject = f"msisdn:{new_number()}"
    rapport.take([*person(noon, subject, **GOODWILL_TRAITS), *complaint_after_drops(noon + MINUTE, subject)])
    reasons = {
        m["name"]: m["reason"]
        for m in rapport.listing("messages", "list", "--subject", subject)
        if m["channel"] != "task"
    }
    assert reasons == {"goodwill-1gb": "CONSENT_UNKNOWN"}


def test_consent_withdrawn_while_the_message_waits_for_the_morning_stops_it(rapport, noon):
    subject = f"msisdn:{new_number()}"
    in_california = person(noon, subject, plan_data_mb=1000, zone="America/Los_Angeles")
    rapport.take([*in_california, used(noon + HOUR, subject, 600)])
    (message,) = rapport.listing("messages", "list", "--subject", subject)
    assert (message["state"], message["reason"]) == ("deferred", "QUIET_HOURS")
    assert rapport("consent", "set", subject, "service", "withdrawn", "--by", "person").returncode == 0
    morning_there = noon + 8 * HOUR
    rapport.take([used(morning_there, f"msisdn:{new_number()}", 1)])
    (message,) = rapport.listing("messages", "list", "--subject", subject)
    assert (message["state"], message["reason"]) == ("refused", "NO_CONSENT")


def test_an_open_complaint_removes_sales(rapport, noon):
    """Ten customers, because one in ten is held out of the experiment by the hash of its id."""
    exhausted = {"cycle": f"{noon:%Y-%m}", "days_left_in_cycle": 9, "surcharge_next": False}
    calm, cross = ([f"msisdn:{new_number()}" for _ in range(10)] for _ in range(2))
    events = []
    for subject in (*calm, *cross):
        events += person(noon, subject, "marketing")
    for subject in cross:
        events.append(
            event("complaint.opened", noon + HOUR, subject, {"complaint": subject, "topic": "billing"})
        )
    for subject in (*calm, *cross):
        events.append(event("usage.allowance_exhausted", noon + 1.5 * HOUR, subject, exhausted))
    rapport.take(events)

    decisions = rapport.listing("decisions", "list", "--all", "--event-type", "usage.allowance_exhausted")

    def outcomes(subjects):
        actions = [d["actions"] for d in decisions if not set(subjects).isdisjoint(d["identities"])]
        assert len(actions) == len(subjects)
        assert {action["rule"] for (action,) in actions} == {"one-off-top-up"}
        return {(action["outcome"], action["reason"]) for (action,) in actions}

    assert ("dispatched", None) in outcomes(calm)
    assert outcomes(calm) <= {("dispatched", None), ("refused", "HOLDOUT")}
    assert ("refused", "SERVICE_FIRST") in outcomes(cross)
    assert outcomes(cross) <= {("refused", "SERVICE_FIRST"), ("refused", "HOLDOUT")}


def test_a_decision_explains_itself(rapport, noon):
    subject = f"msisdn:{new_number()}"
    rapport.take([*person(noon, subject, plan_data_mb=1000), used(noon + HOUR, subject, 600)])
    (decision,) = rapport.listing("decisions", "list", "--subject", subject)
    for by in (decision["decision_id"], decision["actions"][0]["action_id"]):
        (told,) = rapport.listing("decisions", "explain", by)
        assert told["decision_id"] == decision["decision_id"]
        assert told["identities"] == [subject]
        assert told["reproduced"] is True
        assert "quota-50" in told["sentence"]


ON_THE_LINE = """
ruleset: on-the-line
trigger: {ask: care-call}
rules:
  - id: tell
    when: [ask.topic is calls, profile.plan_data_mb >= 1000, profile.consents contains marketing]
    do: {say: "They have {profile.plan_data_mb} MB."}
tests:
  - name: about calls
    given: {profile: {plan_data_mb: 1000}, consents: {marketing: granted}}
    when: {topic: calls}
    then: {fires: [tell]}
"""


def test_a_question_is_answered_from_what_is_known_now(rapport, noon, tmp_path):
    subject = f"msisdn:{new_number()}"
    rapport.take(person(noon, subject, "marketing", plan_data_mb=1000))
    file = tmp_path / "on-the-line.yaml"
    file.write_text(ON_THE_LINE)
    done = rapport("rules", "activate", str(file))
    assert done.returncode == 0, done.stderr
    (live,) = [each for each in rapport.listing("rules", "list") if each["name"] == "on-the-line"]
    assert live["triggers"] == ["question care-call"]
    asked = ("ask", subject, "care-call", "--set", "topic=calls")
    (peeked,) = rapport.listing(*asked)
    assert not rapport.listing("decisions", "list", "--subject", subject)
    (answer,) = rapport.listing(*asked, "--present")
    for given in (peeked, answer):
        (action,) = given["actions"]
        assert action["parameters"] == {"say": "They have 1000 MB."}
    (recorded,) = rapport.listing("decisions", "list", "--subject", subject)
    assert (recorded["decision_id"], recorded["event_type"]) == (answer["decision_id"], "ask.care-call")
    (told,) = rapport.listing("decisions", "explain", answer["decision_id"])
    assert told["reproduced"] is True
    wrong = rapport("ask", subject, "care-call", "--set", "topik=calls")
    assert (wrong.returncode, "topik is no parameter of care-call" in wrong.stderr) == (1, True)


def test_a_planned_survey_is_sent_when_due_and_not_after_another_complaint(rapport, noon):
    content, again = (f"msisdn:{new_number()}" for _ in range(2))
    events = []
    for subject in (content, again):
        events += person(noon, subject, "research")
        events.append(
            event("complaint.opened", noon + HOUR, subject, {"complaint": f"{subject}-1", "topic": "calls"})
        )
    later = event(
        "complaint.opened", noon + 25 * HOUR, again, {"complaint": f"{again}-2", "topic": "billing"}
    )
    passing = used(noon + 50 * HOUR, f"msisdn:{new_number()}", 1)
    rapport.take([*events, later, passing])
    surveys = {
        subject: [
            (m["state"], m["name"])
            for m in rapport.listing("messages", "list", "--subject", subject)
            if m["name"] == "ces-after-care"
        ]
        for subject in (content, again)
    }
    assert surveys == {content: [("delivered", "ces-after-care")], again: []}
    (due,) = [
        action
        for decision in rapport.listing("decisions", "list", "--subject", again, "--event-type", "action.due")
        for action in decision["actions"]
    ]
    assert (due["outcome"], due["reason"]) == ("refused", "NO_LONGER_TRUE")


def test_the_same_file_again_changes_nothing(rapport, noon, tmp_path):
    subject = f"msisdn:{new_number()}"
    file = tmp_path / "events.ndjson"
    file.write_bytes(lines([*person(noon, subject, plan_data_mb=1000), used(noon + HOUR, subject, 600)]))
    first, second, third = (
        rapport("ingest", str(file), "--wait", "--json", *named) for named in ((), (), ("--name", "other"))
    )
    assert [done.returncode for done in (first, second, third)] == [0, 0, 0], third.stderr
    assert '"accepted":2' in first.stdout
    assert '"skipped":2' in second.stdout
    assert '"duplicate":2' in third.stdout
    assert len(rapport.listing("messages", "list", "--subject", subject)) == 1
