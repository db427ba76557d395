"""A simulation's result as one HTML page that needs no network, with inline SVG pictures."""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING, Any

import jinja2

from services.cli.simulating.pictures import DRAFT_COLOUR, LIVE_COLOUR, daily, funnel, pairs, whiskers
from services.cli.simulating.telling import (
    changes,
    day_words,
    headline,
    losses,
    percent,
    reason_words,
    stage,
    verdict,
)

if TYPE_CHECKING:
    from collections.abc import Mapping

_STAGES = (
    ("asked", "rules asked for it"),
    ("eligible", "allowed for this customer"),
    ("decided", "chosen to be said"),
    ("sent", "sent"),
)
_MOST_ROWS = 40


def render_page(result: Mapping[str, Any], simulation_id: str) -> str:
    """The whole page as text."""
    environment = jinja2.Environment(
        loader=jinja2.FileSystemLoader(Path(__file__).parent),
        autoescape=True,
        undefined=jinja2.StrictUndefined,
    )
    environment.filters |= {"day": day_words, "reason": reason_words}
    draft, live = result["draft"], result["live"]
    days = (draft["days"], live["days"] if live else None)
    return environment.get_template("page.html.j2").render(
        result=result,
        draft=draft,
        live=live,
        simulation_id=simulation_id,
        colours=(DRAFT_COLOUR, LIVE_COLOUR),
        headline=list(headline(result)),
        numbers=_numbers(result),
        funnel=funnel(
            [
                (words, stage(draft, key), stage(live, key) if live else None, losses(draft, key))
                for key, words in _STAGES
            ]
        ),
        sent=daily(*days, "sent"),
        cost=daily(*days, "cost") if draft["cost"] or (live and live["cost"]) else None,
        capped=daily(*days, "capped"),
        refusals=[
            (title, pairs(rows))
            for key, title in (("refused", "by the rules' own filters"), ("gates", "by limits and gates"))
            if (rows := _reasons(result, key))
        ],
        rules=[(*row, percent(*row[2:])) for row in changes(result)],
        displaced=_displaced(result),
        groups=[
            (group["trait"], whiskers(group["groups"]), group["groups"], verdict(group["groups"]))
            for group in result["groups"]
        ],
        caps=_caps(draft),
    )


def _numbers(result: Mapping[str, Any]) -> list[tuple[str, str, str]]:
    """What stands large at the top: a number, its words, and what it is today."""
    draft, live = result["draft"], result["live"]
    money = result.get("currency", "")
    found = []
    for words, part, key, shown in (
        ("contacts made", "funnel", "sent", "{:,}"),
        ("customers reached", "customers", "reached", "{:,}"),
        ("customers left with nothing", "customers", "left_with_nothing", "{:,}"),
        (f"cost {money}".strip(), "", "cost", "{:,.2f}"),
        (f"value {money}, as rules say it".replace(" ,", ","), "", "value", "{:,.2f}"),
    ):
        now = (draft[part] if part else draft)[key]
        today = ""
        if live:
            before = (live[part] if part else live)[key]
            change = percent(now, before) if now != before else "the same"
            today = f"today {shown.format(before)}" + (f" · {change}" if change else "")
        found.append((shown.format(now), words, today))
    return found


def _displaced(result: Mapping[str, Any]) -> list[tuple[str, str, int, list[Mapping[str, Any]]]]:
    """What is new and what is no longer: a title, what its reasons are, how many, and the rows."""
    if not result["displaced"]:
        return []
    return [
        (
            title,
            why,
            sum(row["actions"] for row in result["displaced"][key]),
            result["displaced"][key][:_MOST_ROWS],
        )
        for key, title, why in (
            ("gained", "New", "why it is not made today"),
            ("lost", "No longer", "why not any more"),
        )
    ]


def _reasons(result: Mapping[str, Any], key: str) -> list[tuple[str, int, int | None]]:
    draft, live = result["draft"]["funnel"][key], result["live"] and result["live"]["funnel"][key]
    names = {*draft, *(live or {})}
    rows = [
        (reason_words(name), draft.get(name, 0), None if live is None else live.get(name, 0))
        for name in names
    ]
    return sorted(rows, key=lambda row: (-max(row[1], row[2] or 0), row[0]))


def _caps(world: Mapping[str, Any]) -> list[tuple[str, int, int]]:
    """By cap: actions it refused, on how many days."""
    found: dict[str, list[int]] = {}
    for row in world["caps"]:
        found.setdefault(row["cap"], []).append(row["actions"])
    rows = [(cap, sum(actions), len(actions)) for cap, actions in found.items()]
    return sorted(rows, key=lambda row: -row[1])[:20]
