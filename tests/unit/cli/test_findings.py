"""The demo's reconciliation says OK only when every equation holds."""

import dataclasses
from collections import Counter

import pytest

from services.cli.demo.findings import Example, Findings
from services.cli.demo.report import render_report


def good_findings(**changes):
    story = Example("title", 1, "d", "because <it> was so", (), "sent")
    findings = Findings(
        events_fed=100,
        events_accepted=100,
        events_own=20,
        events_seen=120,
        events_nothing=100,
        decisions=20,
        actions=Counter({("message", "dispatched"): 8, ("survey", "planned"): 2, ("offer", "refused"): 3}),
        refusals=Counter({("decision", "SERVICE_FIRST"): 3, ("channel", "CAPPED"): 1}),
        messages=Counter({("sms", "delivered"): 5, ("email", "sent"): 2, ("", "refused"): 1}),
        sent_by_week={"2026-10-05": Counter({"sms": 5, "email": 2})},
        received={"sms": 5, "email": 2, "app": 0},
        planned_due=1,
        planned_waiting=1,
        habitual_found=frozenset({"crm:1"}),
        habitual_generated=frozenset({"crm:1"}),
        examples=[story, story, story],
    )
    return dataclasses.replace(findings, **changes)


def test_equal_ends_are_ok():
    assert good_findings().verdict() == (
        True,
        "DEMO OK events=100 decisions=20 actions=11 sent=7 refused=4 lost=0 duplicated=0",
    )


@pytest.mark.parametrize(
    "changes",
    [
        {"events_accepted": 99},
        {"events_seen": 119},
        {"events_nothing": 99},
        {"messages": Counter({("sms", "delivered"): 5, ("email", "sent"): 2})},
        {
            "messages": Counter(
                {("sms", "delivered"): 5, ("email", "sent"): 1, ("email", "planned"): 1, ("", "refused"): 1}
            )
        },
        {"received": {"sms": 6, "email": 2, "app": 0}},
        {"received": {"sms": 4, "email": 2, "app": 0}},
        {"repeated": 1},
        {"pending": 1},
        {"dead_letters": 1},
        {"planned_due": 0},
        {"habitual_found": frozenset()},
        {"habitual_found": frozenset({"crm:2"})},
        {"one_off_found": frozenset({"crm:3"})},
        {"examples": []},
    ],
)
def test_any_difference_fails(changes):
    good, line = good_findings(**changes).verdict()
    assert not good
    assert line.startswith("DEMO FAILED events=")


def test_what_went_in_and_never_came_out_is_counted_as_lost():
    assert good_findings(events_seen=117, events_nothing=97).lost == 3


def test_the_report_shows_all_and_escapes_what_it_shows():
    page = render_report(good_findings(), subscribers=100, months=6)
    assert "because &lt;it&gt; was so" in page
    assert "SERVICE_FIRST (decision)" in page
    assert "DEMO OK events=100" in page
    assert "http" not in page.replace("http-equiv", "")
