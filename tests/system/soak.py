"""`make soak`: breaks a stack of its own at random for as long as told, and gives an account of every run."""

import argparse
import shutil
import signal
import sys
import tempfile
import time
from collections import Counter
from collections.abc import Callable
from contextlib import ExitStack
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import click

from services.cli.stack.down import stop_stack
from services.cli.stack.layout import CHECKOUT
from services.cli.stack.options import StackOptions
from services.cli.stack.progress import advance_clock
from services.cli.stack.up import start_stack
from tests.system.conftest import RULE_SETS, START, Rapport
from tests.system.crash.company import RuleDesk
from tests.system.crash.disasters import INNER, PARTS, PROVIDERS, Disasters
from tests.system.crash.network import Network, network
from tests.system.crash.reconcile import Reconciliation
from tests.system.crash.run import run
from tests.system.crash.stalls import Cuts, Stalls, dealt

Told = argparse.Namespace
Run = Callable[[int], tuple[Reconciliation, dict[str, int]]]
"""A run by its seed: its account, and what was done to whom how often."""


def main() -> int:
    """0: every run's account holds; 1: something was lost, or doubled beyond what is allowed."""
    told = _arguments()
    signal.signal(signal.SIGTERM, signal.default_int_handler)  # ends like Ctrl-C: the stack is stopped
    folder = Path(tempfile.mkdtemp(prefix="rapport-soak-"))
    folder.chmod(0o755)
    soak = Soak(told)
    try:
        with ExitStack() as around:
            soak.go_on(_CASES[told.case](folder, told, around))
    except KeyboardInterrupt:
        click.echo("ended early")
    finally:
        stop_stack(folder / "var")
        if told.keep:
            click.echo(f"kept: {folder}")
        else:
            shutil.rmtree(folder, ignore_errors=True)
        soak.print_account()
    return 0 if soak.total.holds else 1


def _arguments() -> Told:
    parser = argparse.ArgumentParser(prog="python -m tests.system.soak", description=__doc__)
    add = parser.add_argument
    add("--case", choices=_CASES, default="kills", help="parts are killed, or the network stalls, or breaks")
    add("--minutes", type=float, default=10, help="how long new runs are begun (10)")
    add("--seed", type=int, default=1, help="of the first run; each further run's is one more")
    add("--events", type=int, default=20_000, help="of each run (20,000)")
    add("--seconds", type=float, default=120, help="over which a run's events are fed (120)")
    add("--stall", type=float, help="longest stall of a process (10), length of one of the network (20)")
    add("--at-once", type=int, default=3, help="stalls: pairs of parts that stall together (3)")
    add("--go-on", action="store_true", help="begin further runs after one that is broken")
    add("--keep", action="store_true", help="leave the folder with all logs behind")
    return parser.parse_args()


def _kills(folder: Path, told: Told, _around: ExitStack) -> Run:
    """Everything is killed, one by one, by twos, and all at once; some parts stand still for a while."""
    options = StackOptions(folder=folder / "var", rules=CHECKOUT / "rules", clock="events")
    rapport = _start(options)

    def once(seed: int) -> tuple[Reconciliation, dict[str, int]]:
        disasters = Disasters(
            rapport,
            seed,
            parts=(*PARTS, *INNER, *PROVIDERS),
            stall=10.0 if told.stall is None else told.stall,
            start_again=lambda: start_stack(options),
        )
        with RuleDesk(rapport, folder) as desk:
            account = run(
                rapport, events=told.events, seconds=told.seconds, seed=seed, breaking=lambda: disasters
            )
        desk.check(rapport.noon())
        desk.check_explained()
        return account, disasters.counted | {
            "rules changed": len(desk.done),
            "rules refused": len(desk.failed),
        }

    return once


def _stalls(folder: Path, told: Told, around: ExitStack) -> Run:
    """The network between every two parts stalls once in each run, some pairs at a time."""

    net = _network(folder, around)

    def once(seed: int) -> tuple[Reconciliation, dict[str, int]]:
        stalls = Stalls(net, dealt(seed, told.at_once), seconds=20.0 if told.stall is None else told.stall)
        account = run(
            net.rapport,
            feed_from=net.feed_from,
            events=told.events,
            seconds=stalls.lasting,
            seed=seed,
            breaking=lambda: stalls,
        )
        return account, {str(pair): 1 for pairs in stalls.done for pair in pairs}

    return once


def _cuts(folder: Path, told: Told, around: ExitStack) -> Run:
    """The connections between every two parts break again and again, and what was under way is lost."""
    net = _network(folder, around)

    def once(seed: int) -> tuple[Reconciliation, dict[str, int]]:
        cuts = Cuts(net, seed)
        account = run(
            net.rapport,
            feed_from=net.feed_from,
            events=told.events,
            seconds=told.seconds,
            seed=seed,
            breaking=lambda: cuts,
        )
        return account, Counter(map(str, cuts.done))

    return once


_CASES = {"kills": _kills, "stalls": _stalls, "cuts": _cuts}


def _network(folder: Path, around: ExitStack) -> Network:
    def start(**how: Any) -> Rapport:
        return _start(StackOptions(folder=folder / "var", rules=CHECKOUT / "rules", clock="events", **how))

    return around.enter_context(network(start))


def _start(options: StackOptions) -> Rapport:
    advance_clock(start_stack(options), START)
    rapport = Rapport(options.folder)
    done = rapport("rules", "activate", *map(str, RULE_SETS))
    if done.returncode:
        sys.exit(done.stderr)
    return rapport


@dataclass
class Soak:
    """All runs so far."""

    told: Told
    runs: int = 0
    total: Reconciliation = field(default_factory=Reconciliation)
    blows: Counter[str] = field(default_factory=Counter)

    def go_on(self, once: Run) -> None:
        """Begins runs until the time is up, or one's account does not hold."""
        end = time.monotonic() + self.told.minutes * 60
        seed = self.told.seed
        while not self.runs or time.monotonic() < end:
            began = time.monotonic()
            account, blows = once(seed)
            self.runs += 1
            self.blows.update(blows)
            for name, number in account.figures.items():
                self.total.figures[name] = self.total.figures.get(name, 0) + number
            self.total.findings += account.findings
            self.total.ambiguous += account.ambiguous
            verdict = "holds" if account.holds else "BROKEN"
            took = time.monotonic() - began
            click.echo(f"seed {seed}: {verdict} after {took:.0f} s, {sum(blows.values())} blows")
            click.echo(account.table())
            sys.stdout.flush()
            if not account.holds and not self.told.go_on:
                return
            seed += 1

    def print_account(self) -> None:
        """Blows, figures, what is ambiguous, and the verdict."""
        click.echo(f"\n{self.runs} runs, {sum(self.blows.values())} blows:")
        for name, number in sorted(self.blows.items()):
            click.echo(f"  {name:<32} {number:>5}")
        click.echo("\nThe account of all runs:")
        click.echo(self.total.table())
        if self.total.ambiguous:
            click.echo("\nHand-overs of unknown outcome, as must be allowed for after a crash:")
            for line in self.total.ambiguous:
                click.echo(f"  {line}")
        click.echo(f"\nVerdict: {'nothing lost, nothing doubled' if self.total.holds else 'BROKEN'}")


if __name__ == "__main__":
    sys.exit(main())
