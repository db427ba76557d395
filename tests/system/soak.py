"""`make soak`: breaks a stack of its own at random for as long as told, and gives an account of every run."""

import argparse
import shutil
import signal
import sys
import tempfile
import time
from collections import Counter
from pathlib import Path

import click

from services.cli.stack.down import stop_stack
from services.cli.stack.layout import CHECKOUT
from services.cli.stack.options import StackOptions
from services.cli.stack.progress import advance_clock
from services.cli.stack.up import start_stack
from tests.system.conftest import RULE_SETS, START, Rapport
from tests.system.crash.disasters import Disasters
from tests.system.crash.reconcile import Reconciliation
from tests.system.crash.run import run


def main() -> int:
    """0: every run's account holds; 1: something was lost, or doubled beyond what is allowed."""
    told = _arguments()
    signal.signal(signal.SIGTERM, signal.default_int_handler)  # ends like Ctrl-C: the stack is stopped
    folder = Path(tempfile.mkdtemp(prefix="rapport-soak-"))
    folder.chmod(0o755)
    total = Reconciliation()
    blows: Counter[str] = Counter()
    end = time.monotonic() + told.minutes * 60
    seed = told.seed
    runs = 0
    try:
        rapport = _start(folder)
        while not runs or time.monotonic() < end:
            disasters = Disasters(rapport, seed, stall=told.stall)
            began = time.monotonic()
            result = run(
                rapport, events=told.events, seconds=told.seconds, seed=seed, breaking=lambda d=disasters: d
            )
            runs += 1
            took = time.monotonic() - began
            verdict = "holds" if result.holds else "BROKEN"
            click.echo(f"seed {seed}: {verdict} after {took:.0f} s, {len(disasters.blows)} blows")
            click.echo(result.table())
            _add(total, result)
            blows.update(disasters.counted)
            seed += 1
            if not result.holds and not told.go_on:
                break
    finally:
        stop_stack(folder / "var")
        if told.keep:
            click.echo(f"kept: {folder}")
        else:
            shutil.rmtree(folder, ignore_errors=True)
    _print_account(runs, blows, total)
    return 0 if total.holds else 1


def _arguments() -> argparse.Namespace:
    parser = argparse.ArgumentParser(prog="python -m tests.system.soak", description=__doc__)
    parser.add_argument("--minutes", type=float, default=10, help="how long new runs are begun (10)")
    parser.add_argument(
        "--seed", type=int, default=1, help="of the first run; each further run's is one more"
    )
    parser.add_argument("--events", type=int, default=20_000, help="of each run (20,000)")
    parser.add_argument("--seconds", type=float, default=120, help="over which a run's events are fed (120)")
    parser.add_argument("--stall", type=float, default=10, help="longest stall in seconds, 0 for none (10)")
    parser.add_argument("--go-on", action="store_true", help="begin further runs after one that is broken")
    parser.add_argument("--keep", action="store_true", help="leave the folder with all logs behind")
    return parser.parse_args()


def _start(folder: Path) -> Rapport:
    stack = start_stack(StackOptions(folder=folder / "var", rules=CHECKOUT / "rules", clock="events"))
    advance_clock(stack, START)
    rapport = Rapport(folder / "var")
    done = rapport("rules", "activate", *map(str, RULE_SETS))
    if done.returncode:
        sys.exit(done.stderr)
    return rapport


def _add(total: Reconciliation, result: Reconciliation) -> None:
    for name, number in result.figures.items():
        total.figures[name] = total.figures.get(name, 0) + number
    total.findings += result.findings
    total.ambiguous += result.ambiguous


def _print_account(runs: int, blows: Counter[str], total: Reconciliation) -> None:
    click.echo(f"\n{runs} runs, {sum(blows.values())} blows:")
    for name, number in sorted(blows.items()):
        click.echo(f"  {name:<28} {number:>5}")
    click.echo("\nThe account of all runs:")
    click.echo(total.table())
    if total.ambiguous:
        click.echo("\nHand-overs of unknown outcome, as the blueprint allows after a crash:")
        for line in total.ambiguous:
            click.echo(f"  {line}")
    click.echo(f"\nVerdict: {'nothing lost, nothing doubled' if total.holds else 'BROKEN'}")


if __name__ == "__main__":
    sys.exit(main())
