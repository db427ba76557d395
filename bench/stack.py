"""A stack of its own for each run, with rules of its own: 50 live rules, and caps wide enough for all."""

import asyncio
import shutil
from collections.abc import AsyncIterator, Callable, Iterator, Mapping
from contextlib import asynccontextmanager
from pathlib import Path

from services.cli.commands.rules import activate_files
from services.cli.connections import Connections, connected
from services.cli.stack.account import database_account
from services.cli.stack.down import stop_stack
from services.cli.stack.layout import CHECKOUT, Layout
from services.cli.stack.options import StackOptions
from services.cli.stack.up import start_stack

FOLDER = CHECKOUT / "var" / "bench"
TEMPLATE = "bench-thanks"
RULE_SET = "bench-payments"
TEXT = "Thank you, your payment has arrived: "
"""What stands before the event's id in the text message; by it the hand-over is known at the SMSC."""
ONE_IN = 10
"""One event in so many leads to a text message."""
LISTENED_TYPES = ("usage.data_used", "network.call_dropped", "topup.received", "payment.received")

_HEAD = """\
ruleset: {name}
title: {title}
owner: bench
stage: {stage}
active: {{from: 2020-01-01}}
trigger: {trigger}
windows:
{windows}
rules:
"""
_RULE = """\
  - id: rule-{number:02}
    priority: {priority}
    when: [{conditions}]
    do: {{message: {template}, with: {{note: "{{profile.plan}}"}}, category: service, channels: [sms]}}
    once: 7d
"""
_THANKS = """\
  - id: thanks
    priority: 90
    when: [event.amount >= 0.01]
    do: {{message: {template}, with: {{note: "{{event.bill}}"}}, category: service, channels: [sms]}}
"""
_CAPS = """\
caps:
  service-day: {{most: {most}, within: 24h, limits: [service], counts: [service]}}
  service-sms-week: {{most: {most}, within: 7d, limits: [service], counts: [service], channels: [sms]}}
  all-day:
    most: {most}
    within: 24h
    limits: [retention, sales, survey]
    counts: [mandatory, service, retention, sales, survey]
"""
_NO_RATE = "  subjects: {operator: {calls_per_second: 1000000}}\n"
"""Under `tokens`, the last of the file: what is measured is not how much a caller may ask."""
_QUIET = "quiet: {}\nclosed: []\n"


def rule_sets() -> dict[str, str]:
    """The 50 rules, ten in each of five rule sets, by file name; none but `thanks` is met by the traffic.

    They look at what marketers look at: sums and counts over windows, traits, the event's fields, facts.
    """
    usage = (
        "  mb_cycle: {sum: usage.data_used.mb, last: 1 cycle}\n"
        "  mb_7d: {sum: usage.data_used.mb, last: 7d}\n"
        "  sessions_24h: {count: usage.data_used, last: 24h}\n"
        "infer:\n  - {fact: heavy, when: [windows.mb_7d >= 400000]}"
    )
    drops = (
        "  drops_24h: {count: network.call_dropped, last: 24h}\n"
        "  drops_7d: {count: network.call_dropped, last: 7d}\n"
        "infer:\n  - {fact: bad_day, when: [windows.drops_24h >= 500]}\n"
        "  - {fact: known_fault, when: [context.cell.incident exists]}"
    )
    topups = (
        "  topups_30d: {count: topup.received, last: 30d}\n"
        "  topped_up_30d: {sum: topup.received.amount, last: 30d}"
    )
    payments = "  payments_30d: {count: payment.received, last: 30d}"
    return {
        "bench-marks.yaml": _rule_set(
            "bench-marks",
            "Marks of the month's data",
            "usage.data_used",
            usage,
            [f"windows.mb_cycle crosses profile.plan_data_mb * {10 + n}, not fact heavy" for n in range(10)],
        ),
        "bench-habits.yaml": _rule_set(
            "bench-habits",
            "Habits in using data",
            "usage.data_used",
            usage,
            [
                f"fact heavy, windows.sessions_24h >= {1000 + n}, profile.tenure_months >= {n}"
                for n in range(10)
            ],
        ),
        "bench-drops.yaml": _rule_set(
            "bench-drops",
            "Dropped calls",
            "network.call_dropped",
            drops,
            [f"fact bad_day, fact known_fault, windows.drops_7d >= {600 + n}" for n in range(10)],
        ),
        "bench-top-ups.yaml": _rule_set(
            "bench-top-ups",
            "Top-ups",
            "topup.received",
            topups,
            [
                f"windows.topped_up_30d >= {5000 + n}, event.amount > profile.plan_price * {50 + n}"
                for n in range(10)
            ],
        ),
        f"{RULE_SET}.yaml": _rule_set(
            RULE_SET,
            "Payments",
            "payment.received",
            payments,
            [f"windows.payments_30d >= {4000 + n}, profile.plan is m-20gb" for n in range(9)],
        )
        + _THANKS.format(template=TEMPLATE),
    }


def _rule_set(name: str, title: str, trigger: str, windows: str, conditions: list[str]) -> str:
    stage = {"usage": "bill", "network": "complain"}.get(trigger.partition(".")[0], "bill")
    head = _HEAD.format(name=name, title=title, stage=stage, trigger=trigger, windows=windows)
    return head + "".join(
        _RULE.format(number=number, priority=10 + number, conditions=condition, template=TEMPLATE)
        for number, condition in enumerate(conditions)
    )


def write_rules(folder: Path, texts: Mapping[str, str] | None = None) -> list[Path]:
    """The checkout's catalogue and one template more, wide caps, no quiet hours; gives the rule sets.

    ``texts``: rule sets by file name in place of the 50 rules.
    """
    shutil.rmtree(folder, ignore_errors=True)
    shutil.copytree(CHECKOUT / "rules" / "catalogue", folder / "catalogue")
    shutil.copytree(CHECKOUT / "rules" / "templates", folder / "templates")
    with (folder / "catalogue" / "templates.yaml").open("a", encoding="utf-8") as templates:
        templates.write(f"{TEMPLATE}: {{topic: plan, parameters: [note]}}\n")
    (folder / "templates" / TEMPLATE).mkdir()
    for locale in ("en", "fr"):
        file = folder / "templates" / TEMPLATE / f"{locale}.sms.j2"
        file.write_text(TEXT + "{{ note }}\n", encoding="utf-8")
    (folder / "policies").mkdir()
    access = (CHECKOUT / "rules" / "policies" / "access.yaml").read_text(encoding="utf-8")
    (folder / "policies" / "access.yaml").write_text(access + _NO_RATE, encoding="utf-8")
    (folder / "policies" / "caps.yaml").write_text(_CAPS.format(most=100_000), encoding="utf-8")
    (folder / "policies" / "quiet_hours.yaml").write_text(_QUIET, encoding="utf-8")
    files = []
    for name, text in (rule_sets() if texts is None else texts).items():
        files.append(folder / name)
        files[-1].write_text(text, encoding="utf-8")
    return files


@asynccontextmanager
async def bench_stack(
    folder: Path, write: Callable[[Path], list[Path]] = write_rules
) -> AsyncIterator[tuple[Connections, list[Path]]]:
    """A fresh stack in this folder, stopped afterwards, and the rule sets to make live in it.

    ``write`` makes the rules folder, and gives the rule sets.
    """
    _forget(folder)
    rules = folder / "rules"
    files = write(rules)
    await asyncio.to_thread(start_stack, StackOptions(folder=folder, rules=rules, clock="wall"))
    try:
        async with connected(folder) as connections:
            yield connections, files
    finally:
        await asyncio.to_thread(stop_stack, folder)


async def make_live(connections: Connections, files: list[Path]) -> None:
    """Activates the rule sets."""
    await activate_files(connections, files, say=lambda _line: None)


def _forget(folder: Path) -> None:
    """Ends and removes what an earlier run left."""
    stop_stack(folder)
    for left in _homes(folder):
        shutil.rmtree(left, ignore_errors=True)
    folder.mkdir(parents=True, exist_ok=True)


def _homes(folder: Path) -> Iterator[Path]:
    if folder.exists():
        yield Layout(folder).database_home(database_account())
        yield folder
