"""What a role says of itself is shown as JSON, whatever it has counted."""

import json

from services.cli.stack.seen import seen_in
from services.cli.stack.status import role_json

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
