"""Decisions of the real road, run again: how many a second, and whether all come out as recorded.

Usage: python -m bench.verify [--json FILE] [--decisions N] [--folder DIRECTORY]

The rules use all there is: windows, formulas, facts, things, households, journeys, tables, an experiment,
limits, plans decided again, pairs that stay open, a campaign, a version that a share of the customers meets,
and questions answered at once. Rates are by processor time of all that takes part, so that what else runs
disturbs them little. Ends with 1 when a decision comes out otherwise.
"""

import argparse
import asyncio
import shutil
import sys
import time
from pathlib import Path
from uuid import uuid4

import psycopg
import uvloop
from rapport.decision.v1 import campaign_pb2, explanation_pb2, release_pb2, rule_set_pb2

from bench.cost import cost_table, spent, stack_cost
from bench.measure import Measure, table, write_json
from bench.stack import FOLDER, bench_stack, make_live
from bench.verify.bare import bare_micros
from bench.verify.traffic import Traffic
from services.cli.connections import Connections
from services.cli.quiet import look, wait_quiet
from services.cli.stack.layout import CHECKOUT
from services.cli.stack.state import Stack

RULES = Path(__file__).parent / "rules"
ROUND = 4_000
"""Events between two looks at how many decisions there are."""
AHEAD = 8_000
"""So much may be on its way before more is sent."""
CANARY = "data-used"
_WORTH = "profile.plan_price * 0.2"
_QUIET = "quiet: {}\nclosed: []\n"


def write_rules(folder: Path) -> list[Path]:
    """The checkout's catalogue, templates and policies without quiet hours; gives the rule sets."""
    shutil.rmtree(folder, ignore_errors=True)
    for part in ("catalogue", "templates", "policies"):
        shutil.copytree(CHECKOUT / "rules" / part, folder / part)
    (folder / "policies" / "quiet_hours.yaml").write_text(_QUIET, encoding="utf-8")
    shared = CHECKOUT / "rules" / "open-complaint.yaml"
    return [Path(shutil.copy(file, folder)) for file in (shared, *sorted(RULES.glob("*.yaml")))]


async def start_canary(connections: Connections, rules: Path) -> None:
    """A third of the customers meet another version of one rule set."""
    text = (rules / f"{CANARY}.yaml").read_text(encoding="utf-8").replace(_WORTH, f"{_WORTH}5")
    put = await connections.rule_sets.PutRuleSet(
        rule_set_pb2.PutRuleSetRequest(request_id=str(uuid4()), source=text, file=f"{CANARY}.yaml")
    )
    if not put.HasField("rule_set"):
        raise SystemExit(f"no canary: {put.problems}")
    answer = await connections.releases.StartCanary(
        release_pb2.StartCanaryRequest(request_id=str(uuid4()), name=CANARY, share=0.3)
    )
    if answer.HasField("refusal"):
        raise SystemExit(f"no canary: {answer.refusal.detail}")


async def make_decisions(connections: Connections, rules: Path, wanted: int) -> int:
    """Feeds the road until so many decisions are recorded and nothing is on its way; how many they are."""
    traffic, began = Traffic(), time.monotonic()
    await traffic.begin(connections)
    await wait_quiet(connections)
    count = round_ = 0
    while count < wanted:
        round_ += 1
        seen = await look(connections)
        while seen.pending > AHEAD:
            await asyncio.sleep(0.2)
            seen = await look(connections)
        await traffic.send(connections, ROUND)
        if round_ == 2:
            await start_canary(connections, rules)
            run = campaign_pb2.StartRunRequest(request_id=str(uuid4()), rule_set="autumn", reason="bench")
            await connections.campaigns.StartRun(run)
        if round_ % 5 == 3:
            await traffic.outages(connections, round_)
        count = recorded(connections.stack)
        took = time.monotonic() - began
        _say(f"  {traffic.sent:,} events, {traffic.answered:,} answers, {count:,} decisions, {took:.0f} s")
    await wait_quiet(connections)
    if traffic.refused:
        raise SystemExit(f"{traffic.refused} events were refused")
    return recorded(connections.stack)


def recorded(stack: Stack) -> int:
    """How many decisions are in the table."""
    with connect(stack) as connection:
        row = connection.execute("SELECT count(*) FROM decision").fetchone()
    return row[0] if row is not None and isinstance(row[0], int) else 0


def connect(stack: Stack) -> "psycopg.Connection[tuple[object, ...]]":
    """To the decision service's database."""
    return psycopg.connect(
        host=str(stack.database_socket),
        user="decision",
        password=stack.database_password("decision").read_text(encoding="utf-8").strip(),
        dbname="decision",
        autocommit=True,
    )


async def verified(connections: Connections, processes: int) -> explanation_pb2.VerifyDecisionsResponse:
    """What running all of them again came to."""
    answer = explanation_pb2.VerifyDecisionsResponse()
    request = explanation_pb2.VerifyDecisionsRequest(processes=processes)
    async for answer in connections.explanations.VerifyDecisions(request):
        for each in answer.differences:
            _say(f"  {each.decision_id} differs in {each.difference}")
    return answer


async def measure(folder: Path, wanted: int) -> tuple[list[Measure], bool]:
    """The figures, and whether all came out equal."""
    rows: list[Measure] = []
    equal = True
    async with bench_stack(folder, write_rules) as (connections, files):
        await make_live(connections, files)
        _say(f"making {wanted:,} decisions")
        count = await make_decisions(connections, folder / "rules", wanted)
        _say("the bare engine on the same events")
        bare = 1e6 / bare_micros(connect(connections.stack), folder / "rules", files)
        for processes in (1, 2):
            before, began = stack_cost(connections.stack), time.monotonic()
            answer = await verified(connections, processes)
            took = time.monotonic() - began
            used = spent(before, stack_cost(connections.stack))
            _say(
                f"{processes} processes: of {answer.total:,} decisions {answer.equal:,} equal, "
                f"{answer.different:,} different; {took:.1f} s"
            )
            for each in answer.not_replayable:
                _say(f"  {each.count:,} could not be run again: {each.reason}")
            _say(cost_table(used, answer.total, took))
            equal = equal and answer.equal == answer.total == count
            core = used["decision-server"] + used.get("postgres: decision", 0.0)
            suffix = "" if processes == 1 else f".{processes}"
            rows.append(
                Measure(
                    f"verify.decisions_per_s_per_core{suffix}",
                    answer.total / core,
                    "decisions/s",
                    "bare_engine",
                    bare,
                )
            )
            rows.append(Measure(f"verify.decisions_per_s{suffix}", answer.total / took, "decisions/s"))
    return rows, equal


def _say(line: str) -> None:
    print(line, flush=True)


def main() -> int:
    """The exit status."""
    parser = argparse.ArgumentParser(
        prog="python -m bench.verify", description=(__doc__ or "").partition("\n")[0]
    )
    parser.add_argument("--json", type=Path, help="write the figures to this file")
    parser.add_argument("--decisions", type=int, default=100_000, help="at least so many (100000)")
    parser.add_argument("--folder", type=Path, default=FOLDER / "verify", help="where the stack runs")
    told = parser.parse_args()
    found, equal = uvloop.run(measure(told.folder.absolute(), told.decisions))
    _say(table(found))
    if told.json is not None:
        write_json(found, told.json)
    return 0 if equal else 1


if __name__ == "__main__":
    sys.exit(main())
