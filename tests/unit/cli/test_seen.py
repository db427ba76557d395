"""What a role says of itself is shown as JSON, whatever it has counted."""

import json

from services.cli.stack.seen import seen_in
from services.cli.stack.status import audiences, role_json

SCRAPE = """\
# TYPE rapport_ready gauge
rapport_ready 1
# TYPE rapport_refusals counter
rapport_refusals_total{reason="CAPPED",category="sales"} 2
rapport_refusals_total{reason="CAPPED",category="service"} 1
rapport_refusals_total{reason="NO_CONSENT",category="sales"} 4
"""


def test_refusals_are_summed_by_reason_and_told():
    told = json.loads(json.dumps(role_json(seen_in("channel-worker", SCRAPE))))
    assert told["refusals"] == {"CAPPED": 3, "NO_CONSENT": 4}
    assert told["ready"] is True


def test_audiences_that_are_behind_are_told_once_for_all_workers():
    scrape = """\
# TYPE rapport_runs_open gauge
rapport_runs_open 2
# TYPE rapport_runs_behind_seconds gauge
rapport_runs_behind_seconds {behind}
# TYPE rapport_called counter
rapport_called_total{{kind="schedule"}} 40
rapport_called_total{{kind="pair"}} 2
"""
    workers = [seen_in("decision-worker", scrape.format(behind=behind)) for behind in (90, 93)]
    assert role_json(workers[0])["called"] == {"schedule": 40, "pair": 2}
    assert audiences(workers) == (
        "audiences: 2 under way, 93 s behind, 84 customers called since the roles started"
    )
