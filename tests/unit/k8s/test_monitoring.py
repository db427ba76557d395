"""Alerts fire when they should; they and the dashboard ask for nothing that no role counts."""

import json
import re
import shutil
import subprocess
from io import StringIO

import pytest
from ruamel.yaml import YAML

from k8s.check.__main__ import CHECKOUT
from services.runtime import metrics
from services.runtime.streams import WORK_STREAMS
from services.vocabulary.words import MessageState

FOLDER = CHECKOUT / "k8s/components/monitoring"
SERVICES, ROLES = ("profile", "decision", "channel"), ("server", "worker")


def rules():
    told = YAML(typ="safe").load(FOLDER / "alerts.yaml")
    return [rule for group in told["spec"]["groups"] for rule in group["rules"]]


def panels():
    return json.loads((FOLDER / "rapport.json").read_text())["panels"]


def dashboard_queries():
    return [target["expr"] for panel in panels() for target in panel.get("targets", [])]


QUERIES = [rule["expr"] for rule in rules()] + dashboard_queries()


def metrics_in(query):
    return set(re.findall(r"\b(?:rapport|process)_[a-z_]+\b", re.sub(r'"[^"]*"', '""', query)))


def stem(metric):
    return re.sub(r"_(bucket|count|sum)$", "", metric)


def selections_in(query):
    """Metric, label and value of each selection."""
    for metric, told in re.findall(r"\b((?:rapport|process)_[a-z_]+)\{([^}]*)\}", query):
        for label, value in re.findall(r'(\w+)\s*(?:=~|!~|!=|=)\s*"([^"]*)"', told):
            yield metric, label, value


@pytest.mark.parametrize("query", QUERIES)
def test_a_query_asks_for_what_is_counted(query):
    known = metrics.sample_names()
    asked = metrics_in(query)
    assert asked
    assert asked <= known.keys()
    for metric, label, _ in selections_in(query):
        assert label in known[metric], (metric, label)
    for grouped in re.findall(r"\bby \(([^)]*)\)", query):
        for label in grouped.split(", "):
            assert any(label in known[metric] for metric in asked), label


def test_selected_values_are_ones_that_there_are():
    known = {
        "service": set(SERVICES),
        "role": set(ROLES),
        "stream": {*WORK_STREAMS, "$stream"},
        "state": {state.value for state in MessageState},
    }
    for query in QUERIES:
        for metric, label, value in selections_in(query):
            if label in known:
                assert set(value.split("|")) <= known[label], (metric, label, value)


def test_what_must_be_seen_is_on_the_dashboard():
    seen = {name for query in dashboard_queries() for name in metrics_in(query)}
    own = {name for name in metrics.sample_names() if name.startswith("rapport_")}
    shown = {name for name in seen if name.startswith("rapport_")}
    assert set(map(stem, own)) == set(map(stem, shown))


def test_panels_lie_beside_each_other():
    taken = set()
    ids = [panel["id"] for panel in panels()]
    assert len(set(ids)) == len(ids)
    for panel in panels():
        place = panel["gridPos"]
        assert place["x"] + place["w"] <= 24
        cells = {
            (x, y)
            for x in range(place["x"], place["x"] + place["w"])
            for y in range(place["y"], place["y"] + place["h"])
        }
        assert not cells & taken, panel["title"]
        taken |= cells


def test_an_alert_says_what_is_wrong_and_where_to_read_on():
    names = [rule["alert"] for rule in rules()]
    assert len(set(names)) == len(names)
    for rule in rules():
        assert rule["labels"]["severity"] in {"warning", "critical"}
        assert rule["annotations"]["summary"].endswith(".")
        assert rule["annotations"]["runbook_url"] == f"docs/runbook.md#{rule['alert'].lower()}"
        for label in re.findall(r"\$labels\.(\w+)", rule["annotations"]["summary"]):
            assert " by (" not in rule["expr"] or re.search(rf"\b{label}\b", rule["expr"]), rule["alert"]


def test_the_runbook_tells_of_every_alert_and_of_no_other():
    told = re.findall(r"^### (Rapport\w+)$", (CHECKOUT / "docs/runbook.md").read_text(), re.MULTILINE)
    assert sorted(told) == sorted(rule["alert"] for rule in rules())


def everything_ready(but=(), without=()):
    return {
        f'rapport_ready{{service="{service}",role="{role}"}}': "0x200" if (service, role) in but else "1x200"
        for service in SERVICES
        for role in ROLES
        if (service, role) not in without
    }


def decide(per_minute):
    bucket = 'rapport_rpc_seconds_bucket{service="decision",method="/d.D/Decide",code="OK",le="%s"}'
    return {bucket % bound: f"0+{calls}x30" for bound, calls in per_minute.items()}


# What Prometheus has seen, minute by minute, and what it must warn of after which time. In a world that is
# as the second column says but healthy (third column), it must be silent.
CASES = {
    "RapportRoleMissing": (
        everything_ready(but=[("channel", "worker")]),
        everything_ready(),
        "10m",
        {"service": "channel", "role": "worker"},
    ),
    "RapportRoleNotReady": (
        {'rapport_ready{service="profile",role="server"}': "0x60"},
        {'rapport_ready{service="profile",role="server"}': "0x5 1x55"},
        "30m",
        {"service": "profile", "role": "server"},
    ),
    "RapportDependencyDown": (
        {'rapport_dependency_up{service="channel",role="worker",dependency="smsc"}': "1x5 0x20"},
        {
            'rapport_dependency_up{service="channel",role="worker",dependency="smsc",pod="a"}': "0x20",
            'rapport_dependency_up{service="channel",role="worker",dependency="smsc",pod="b"}': "1x20",
        },
        "15m",
        {"service": "channel", "role": "worker", "dependency": "smsc"},
    ),
    "RapportTaskFailing": (
        {'rapport_task_failures_total{service="channel",role="worker",task="relay"}': "0+1x30"},
        {'rapport_task_failures_total{service="channel",role="worker",task="relay"}': "0x10 1x20"},
        "20m",
        {"service": "channel", "role": "worker", "task": "relay"},
    ),
    "RapportCertificateExpiring": (
        {'rapport_certificate_expiry_seconds{service="profile",role="server",file="tls.crt"}': "500000x30"},
        {'rapport_certificate_expiry_seconds{service="profile",role="server",file="tls.crt"}': "900000x30"},
        "20m",
        {"service": "profile", "role": "server", "file": "tls.crt"},
    ),
    "RapportVersionsMixed": (
        {
            'rapport_build_info{service="profile",version="1"}': "1x120",
            'rapport_build_info{service="profile",version="2"}': "1x120",
        },
        {
            'rapport_build_info{service="profile",version="1"}': "1x20",
            'rapport_build_info{service="profile",version="2"}': "_x15 1x105",
        },
        "110m",
        {"service": "profile"},
    ),
    "RapportEventsWaiting": (
        {'rapport_stream_oldest_seconds{stream="EVENTS"}': "90x30"},
        {'rapport_stream_oldest_seconds{stream="EVENTS"}': "90x2 0x28"},
        "10m",
        {"stream": "EVENTS"},
    ),
    "RapportEventsStuck": (
        {'rapport_stream_oldest_seconds{stream="EVENTS"}': "0+60x30"},
        {'rapport_stream_oldest_seconds{stream="EVENTS"}': "300x30"},
        "20m",
        {"stream": "EVENTS"},
    ),
    "RapportPartitionStuck": (
        {'rapport_stream_lag_messages{stream="EVENTS",partition="7"}': "5x60"},
        {'rapport_stream_lag_messages{stream="EVENTS",partition="7"}': "5" + " 3 5" * 30},
        "40m",
        {"stream": "EVENTS", "partition": "7"},
    ),
    "RapportOutcomesNotTaken": (
        {'rapport_outcomes_oldest_seconds{service="decision",role="worker",consumer="bss"}': "0+60x60"},
        {'rapport_outcomes_oldest_seconds{service="decision",role="worker",consumer="bss"}': "600x60"},
        "40m",
        {"consumer": "bss"},
    ),
    "RapportOutboxStuck": (
        {'rapport_outbox_oldest_seconds{service="profile",role="worker"}': "0+60x30"},
        {'rapport_outbox_oldest_seconds{service="profile",role="worker"}': "30x30"},
        "10m",
        {"service": "profile"},
    ),
    "RapportDeadLetters": (
        {'rapport_dead_letters{service="channel",role="worker"}': "3x20 4x20"},
        {'rapport_dead_letters{service="channel",role="worker"}': "3x40"},
        "25m",
        {"service": "channel"},
    ),
    "RapportIngestTurnedAway": (
        {'rapport_ingest_refused_total{reason="backlog"}': "0+120x30"},
        {'rapport_ingest_refused_total{reason="backlog"}': "0+6x30"},
        "25m",
        {"reason": "backlog"},
    ),
    "RapportCallsFailing": (
        {
            'rapport_rpc_seconds_count{service="profile",method="/p/G",code="OK"}': "0+100x30",
            'rapport_rpc_seconds_count{service="profile",method="/p/G",code="INTERNAL"}': "0+5x30",
        },
        {
            'rapport_rpc_seconds_count{service="profile",method="/p/G",code="OK"}': "0+100x30",
            'rapport_rpc_seconds_count{service="profile",method="/p/G",code="NOT_FOUND"}': "0+50x30",
        },
        "20m",
        {"service": "profile"},
    ),
    "RapportDecideSlow": (
        decide({"0.1": 50, "0.5": 100, "+Inf": 100}),
        decide({"0.01": 100, "0.1": 100, "+Inf": 100}),
        "25m",
        {},
    ),
    "RapportCallersRefused": (
        {'rapport_rpc_seconds_count{service="profile",method="/p/G",code="UNAUTHENTICATED"}': "0+120x30"},
        {'rapport_rpc_seconds_count{service="profile",method="/p/G",code="UNAUTHENTICATED"}': "0+6x30"},
        "25m",
        {"service": "profile", "code": "UNAUTHENTICATED"},
    ),
    "RapportEngineRestarts": (
        {'rapport_engine_restarts_total{service="decision",role="worker"}': "0+1x30"},
        {'rapport_engine_restarts_total{service="decision",role="worker"}': "0x10 1x20"},
        "20m",
        {"role": "worker"},
    ),
    "RapportEngineSetAside": (
        {'rapport_engine_set_aside_total{service="decision",role="worker"}': "0x10 1x20"},
        {'rapport_engine_set_aside_total{service="decision",role="worker"}': "1x30"},
        "20m",
        {},
    ),
    "RapportRuleSetReplaced": (
        {'rapport_release_trouble{service="decision",role="server",kind="replace"}': "0x10 1x20"},
        {'rapport_release_trouble{service="decision",role="server",kind="replace"}': "0x30"},
        "20m",
        {},
    ),
    "RapportActivationRefused": (
        {'rapport_release_trouble{service="decision",role="server",kind="refused"}': "0x10 1x20"},
        {'rapport_release_trouble{service="decision",role="server",kind="replace"}': "1x30"},
        "20m",
        {},
    ),
    "RapportCampaignWaits": (
        {'rapport_runs_held_seconds{service="decision",role="worker",why="care"}': "0+600x30"},
        {
            'rapport_runs_held_seconds{service="decision",role="worker",why="care"}': "0+60x30",
            'rapport_runs_held_seconds{service="decision",role="worker",why="paused"}': "15000x30",
        },
        "28m",
        {"why": "care"},
    ),
    "RapportCampaignUnanswered": (
        {'rapport_runs_held{service="decision",role="worker",why="unknown"}': "0x2 1x28"},
        {
            'rapport_runs_held{service="decision",role="worker",why="unknown"}': "0x2 1x3 0x25",
            'rapport_runs_held{service="decision",role="worker",why="budget"}': "1x30",
        },
        "10m",
        {},
    ),
    "RapportCampaignPaused": (
        {'rapport_runs_held_seconds{service="decision",role="worker",why="paused"}': "0+6000x30"},
        {'rapport_runs_held_seconds{service="decision",role="worker",why="paused"}': "0+600x30"},
        "20m",
        {},
    ),
    "RapportNothingSaid": (
        {
            'rapport_actions_total{kind="message",category="service"}': "0+60x60",
            'rapport_messages_total{channel="sms",state="refused"}': "0+60x60",
        },
        {
            'rapport_actions_total{kind="message",category="service"}': "0+60x60",
            'rapport_messages_total{channel="sms",state="sent"}': "0+10x60",
        },
        "50m",
        {},
    ),
    "RapportSendsFailing": (
        {
            'rapport_messages_total{channel="sms",state="sent"}': "0+10x60",
            'rapport_messages_total{channel="sms",state="failed"}': "0+10x60",
        },
        {
            'rapport_messages_total{channel="sms",state="sent"}': "0+100x60",
            'rapport_messages_total{channel="sms",state="failed"}': "0+1x60",
        },
        "50m",
        {"channel": "sms"},
    ),
    "RapportHandoverUnknown": (
        {'rapport_handover_unknown_total{category="sales"}': "0x10 1x50"},
        {'rapport_handover_unknown_total{category="sales"}': "1x60"},
        "30m",
        {"category": "sales"},
    ),
    "RapportHandoverAgain": (
        {'rapport_handover_again_total{category="service"}': "0+1x60"},
        {'rapport_handover_again_total{category="service"}': "0x10 3x50"},
        "50m",
        {"category": "service"},
    ),
    "RapportCapsSlow": (
        {
            'rapport_cap_seconds_bucket{service="channel",role="worker",le="0.1"}': "0+50x30",
            'rapport_cap_seconds_bucket{service="channel",role="worker",le="0.25"}': "0+100x30",
            'rapport_cap_seconds_bucket{service="channel",role="worker",le="+Inf"}': "0+100x30",
        },
        {
            'rapport_cap_seconds_bucket{service="channel",role="worker",le="0.1"}': "0+100x30",
            'rapport_cap_seconds_bucket{service="channel",role="worker",le="+Inf"}': "0+100x30",
        },
        "25m",
        {},
    ),
    "RapportQuarantine": (
        {'rapport_quarantined_messages{service="channel",role="worker"}': "4x120"},
        {'rapport_quarantined_messages{service="channel",role="worker"}': "4x20 0x100"},
        "90m",
        {},
    ),
}


MORE_CASES = [
    (
        "RapportRoleMissing",
        (
            everything_ready(without=[("decision", "server")]),
            everything_ready(),
            "10m",
            {"service": "decision", "role": "server"},
        ),
    ),
]


def test_every_alert_has_a_case():
    assert CASES.keys() == {rule["alert"] for rule in rules()}


@pytest.mark.skipif(shutil.which("promtool") is None, reason="promtool is not installed")
def test_alerts_fire_when_they_should_and_only_then(tmp_path):
    yaml = YAML()
    (tmp_path / "rules.yaml").write_text("")
    told = YAML(typ="safe").load(FOLDER / "alerts.yaml")
    yaml.dump({"groups": told["spec"]["groups"]}, tmp_path / "rules.yaml")
    tests = []
    by_name = {rule["alert"]: rule for rule in rules()}
    for name, (bad, good, moment, labels) in [*CASES.items(), *MORE_CASES]:
        rule = by_name[name]
        summary = rule["annotations"]["summary"]
        for label, value in labels.items():
            summary = summary.replace(f"{{{{ $labels.{label} }}}}", value)
        fired = {
            "exp_labels": {**rule["labels"], **labels},
            "exp_annotations": {**rule["annotations"], "summary": summary},
        }
        for world, expected in ((bad, [fired]), (good, [])):
            tests.append(
                {
                    "interval": "1m",
                    "input_series": [{"series": one, "values": seen} for one, seen in world.items()],
                    "alert_rule_test": [
                        {"eval_time": moment, "alertname": rule["alert"], "exp_alerts": expected}
                    ],
                }
            )
    text = StringIO()
    yaml.dump({"rule_files": ["rules.yaml"], "evaluation_interval": "1m", "tests": tests}, text)
    (tmp_path / "tests.yaml").write_text(text.getvalue())
    tested = subprocess.run(
        ["promtool", "test", "rules", str(tmp_path / "tests.yaml")],
        capture_output=True,
        text=True,
        check=False,
    )
    assert tested.returncode == 0, tested.stdout + tested.stderr
