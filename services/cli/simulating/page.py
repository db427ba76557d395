"""A simulation's result as one HTML page that needs no network, with inline SVG pictures."""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING, Any

import jinja2

from services.cli.simulating.pictures import DRAFT_COLOUR, LIVE_COLOUR, daily, pairs, whiskers
from services.cli.simulating.telling import STAGES, deltas, stage

if TYPE_CHECKING:
    from collections.abc import Mapping


def render_page(result: Mapping[str, Any], simulation_id: str) -> str:
    """The whole page as text."""
    environment = jinja2.Environment(
        loader=jinja2.FileSystemLoader(Path(__file__).parent),
        autoescape=True,
        undefined=jinja2.StrictUndefined,
    )
    draft, live = result["draft"], result["live"]
    return environment.get_template("page.html.j2").render(
        result=result,
        draft=draft,
        live=live,
        simulation_id=simulation_id,
        colours=(DRAFT_COLOUR, LIVE_COLOUR),
        funnel=pairs(
            [(words, stage(draft, key), stage(live, key) if live else None) for key, words in STAGES]
        ),
        sent=daily(draft["days"], live["days"] if live else None, "sent"),
        cost=daily(draft["days"], live["days"] if live else None, "cost"),
        capped=daily(draft["days"], live["days"] if live else None, "capped"),
        filters=pairs(_reasons(result, "refused")),
        gates=pairs(_reasons(result, "gates")),
        rules=deltas(result),
        groups=[(group["trait"], whiskers(group["groups"]), group["groups"]) for group in result["groups"]],
        caps=_caps(draft),
    )


def _reasons(result: Mapping[str, Any], key: str) -> list[tuple[str, int, int | None]]:
    draft, live = result["draft"]["funnel"][key], result["live"] and result["live"]["funnel"][key]
    names = {*draft, *(live or {})}
    rows = [(name, draft.get(name, 0), None if live is None else live.get(name, 0)) for name in names]
    return sorted(rows, key=lambda row: (-max(row[1], row[2] or 0), row[0]))


def _caps(world: Mapping[str, Any]) -> list[tuple[str, int, int]]:
    """By cap: actions it refused, on how many days."""
    found: dict[str, list[int]] = {}
    for row in world["caps"]:
        found.setdefault(row["cap"], []).append(row["actions"])
    rows = [(cap, sum(actions), len(actions)) for cap, actions in found.items()]
    return sorted(rows, key=lambda row: -row[1])[:20]
