"""The demo's report: one HTML page that needs no network, with inline SVG pictures."""

from collections import Counter
from pathlib import Path

import jinja2

from services.cli.demo.findings import Findings
from services.cli.demo.pictures import bars, stacked_weeks

OUTCOMES = ("dispatched", "planned", "done", "refused")


def render_report(findings: Findings, *, subscribers: int, months: int) -> str:
    """The whole page as text."""
    environment = jinja2.Environment(
        loader=jinja2.FileSystemLoader(Path(__file__).parent),
        autoescape=True,
        undefined=jinja2.StrictUndefined,
    )
    good, line = findings.verdict()
    rules: dict[tuple[str, str], Counter[str]] = {}
    for (rule_set, rule, outcome), number in findings.rules.items():
        rules.setdefault((rule_set, rule), Counter())[outcome] += number
    return environment.get_template("report.html.j2").render(
        findings=findings,
        subscribers=subscribers,
        months=months,
        good=good,
        line=line,
        outcomes=OUTCOMES,
        rules=sorted(rules.items()),
        numbers=[
            (findings.events_accepted, "events taken"),
            (findings.decisions, "decisions"),
            (findings.spoken, "things to say"),
            (findings.sent, "said"),
            (findings.refused, "left unsaid, with a reason"),
        ],
        funnel=bars(
            [
                ("events, own ones included", findings.events_seen, "#9aa7bd"),
                ("decisions", findings.decisions, "#6f87b5"),
                ("offers, messages, surveys, tasks", findings.spoken, "#4577c9"),
                ("said", findings.sent, "#2f6fde"),
            ]
        ),
        weeks=stacked_weeks(findings.sent_by_week),
        refusals=bars(
            [
                (f"{reason} ({service})", number, "#c97b3d" if service == "decision" else "#b0574f")
                for (service, reason), number in findings.refusals.most_common()
            ]
        ),
        truth=[
            ("ran out of data by habit", findings.habitual_generated, findings.habitual_found),
            ("ran out of data once", findings.one_off_generated, findings.one_off_found),
        ],
    )
