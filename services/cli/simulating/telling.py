"""What of a simulation's result is told, in which words and order."""

from __future__ import annotations

from datetime import datetime
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from collections.abc import Iterable, Iterator, Mapping

STAGES = (
    ("events", "events that can trigger"),
    ("decisions", "decisions, plans fallen due too"),
    ("asked", "actions asked for"),
    ("eligible", "eligible"),
    ("decided", "won arbitration"),
    ("sent", "would be sent"),
)
"""From what happened to what would be said."""

REASONS = {
    "DUPLICATE": "taken before",
    "NO_ADDRESS": "no address to write to",
    "SUPPRESSED": "asked to be left alone",
    "NO_CONSENT": "no consent",
    "CONSENT_UNKNOWN": "consent not known",
    "DATA_WITHHELD": "needs data that the customer withholds",
    "EXPIRED": "ran out before its turn",
    "TOO_LATE": "the event came too late",
    "QUIET_HOURS": "quiet hours",
    "CAPPED": "contacted often enough",
    "ONCE": "had it already",
    "RATE_LIMITED": "too many at a time",
    "BUDGET": "budget or day's number used up",
    "KILLED": "switched off",
    "HOLDOUT": "in the group that is left alone",
    "SERVICE_FIRST": "trouble goes before selling",
    "OUTRANKED": "something else mattered more",
    "NOT_ELIGIBLE": "may not have this offer",
    "VULNERABLE": "protected as vulnerable",
    "NO_LONGER_TRUE": "the reason had gone by then",
    "NO_TEMPLATE": "no text in that language",
    "PROVIDER_REJECTED": "refused by the provider",
    "HANDOVER_UNKNOWN": "perhaps said before",
    "QUARANTINED": "held back after a restore",
    "INVALID": "could not be read",
    "planned": "still planned at the end",
    "waits": "still waiting at the end",
    "limited": "over the rule set's limits",
    "unknown": "not looked at: too many",
    "not asked for": "its rule does not ask for it",
}
"""Why something is not sent, as people say it."""


def reason_words(reason: str) -> str:
    """A reason as people say it; one that is new stays as it is."""
    return REASONS.get(reason, reason)


def stage(world: Mapping[str, Any], key: str) -> int:
    """A count of one world, by its name in STAGES; what fell due again counts as asked for."""
    if key in {"events", "decisions"}:
        return int(world[key])
    funnel = world["funnel"]
    return int(funnel["asked"] + funnel["fell_due"] if key == "asked" else funnel[key])


def losses(world: Mapping[str, Any], key: str) -> list[tuple[str, int]]:
    """What kept actions of one stage from the next, in words, the most frequent first."""
    funnel = world["funnel"]
    match key:
        case "asked":
            found = _reasons(funnel["refused"])
        case "eligible":
            found = [
                (REASONS["OUTRANKED"], funnel["outranked"]),
                ("put off until later", funnel["planned"]),
                ("done at once, without a contact", funnel["done"]),
            ]
        case _:
            found = [*_reasons(funnel["gates"]), (REASONS["unknown"], funnel["unjudged"])]
    return sorted(((words, count) for words, count in found if count), key=lambda one: -one[1])


def deltas(result: Mapping[str, Any]) -> list[tuple[str, str, str, str]]:
    """By rule and action what would be sent with the drafts, and with what is live; the largest first."""
    return [
        (rule, name, f"{draft:,}", f"{live:,}" if result["live"] else "–")
        for rule, name, draft, live in changes(result)
    ]


def changes(result: Mapping[str, Any]) -> list[tuple[str, str, int, int]]:
    """The same as numbers; what changes most comes first."""
    sent: dict[tuple[str, str], list[int]] = {}
    for place, world in enumerate((result["draft"], result["live"])):
        for row in world["rules"] if world else ():
            name = (f"{row['rule_set']}/{row['rule']}", row["name"])
            sent.setdefault(name, [0, 0])[place] += row["sent"]
    rows = sorted(sent.items(), key=lambda one: (-abs(one[1][0] - one[1][1]), -max(one[1]), one[0]))
    return [(rule, name, counts[0], counts[1]) for (rule, name), counts in rows if any(counts)]


def headline(result: Mapping[str, Any]) -> Iterator[str]:
    """What came out, in sentences that need no explanation."""
    draft, live = result["draft"], result["live"]
    sent, reached = draft["funnel"]["sent"], draft["customers"]["reached"]
    yield f"{counted(sent, 'contact')} with {counted(reached, 'customer')} would be made" + (
        f", {compared(sent, live['funnel']['sent'])} what is live today." if live else "."
    )
    if live:
        gained, lost = (sum(row["actions"] for row in result["displaced"][key]) for key in ("gained", "lost"))
        if gained or lost:
            are = "is" if gained == 1 else "are"
            yield f"{gained:,} of them {are} new, and {lost:,} of today's would not be made any more."
        else:
            yield "They are the very same contacts."
    nothing = draft["customers"]["left_with_nothing"]
    if nothing:
        yield f"{counted(nothing, 'customer')} for whom rules ask for something would get nothing."
    if draft["cost"]:
        money = f"{draft['cost']:,.2f} {result.get('currency', '')}".strip()
        yield f"It would cost {money}" + (
            f", {compared(draft['cost'], live['cost'], money=True)} today." if live else "."
        )


def compared(now: float, before: float, *, money: bool = False) -> str:
    """How much more or less than before: 12 more (+8 %) than."""
    if now == before:
        return "as many as" if not money else "as much as"
    by = f"{abs(now - before):,.2f}" if money else f"{abs(now - before):,}"
    part = f" ({percent(now, before)})" if before else ""
    word = "more" if now > before else "less" if money else "fewer"
    return f"{by} {word}{part} than"


def percent(now: float, before: float) -> str:
    """The change in hundredths, with its sign; empty where there was nothing before."""
    return f"{(now - before) / before:+.0%}".replace("%", " %") if before else ""


def counted(count: int, word: str) -> str:
    """A number with its word."""
    return f"{count:,} {word}" if count == 1 else f"{count:,} {word}s"


def day_words(text: str) -> str:
    """A day or a moment as people write it: 1 Oct 2026, with the time unless it is midnight in UTC."""
    moment = datetime.fromisoformat(text)
    day = f"{moment.day} {moment:%b %Y}"
    return day if "T00:00:00" in text or "T" not in text else f"{day} {moment:%H:%M} UTC"


def verdict(rows: Iterable[Mapping[str, Any]]) -> list[str]:
    """Which groups are certainly offered more or less often than the others, in a sentence each."""
    found = []
    for row in rows:
        ratio = row["ratio"]
        if ratio is None:
            continue
        if ratio["high"] < 1:
            found.append(f"{row['group']} is offered something less often than the others")
        elif ratio["low"] > 1:
            found.append(f"{row['group']} is offered something more often than the others")
    return found


def _reasons(counts: Mapping[str, int]) -> list[tuple[str, int]]:
    return [(reason_words(reason), count) for reason, count in counts.items()]
