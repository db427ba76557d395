"""`make fuzz`: generated rule sets and customers, run by the engine, the oracle, plainly, and by CLIPS.

usage: python -m tests.fuzz [--examples 20000] [--seed N] [--processes 2]

An example is one decision: a program on a customer at a moment. They come in rounds of a seed each, so that a
long run keeps no memory of what was tried. A disagreement is shrunk to as few lines of YAML as show it; the
round in which a process died in C is named, so that it can be run again.
"""

import argparse
import random
import subprocess
import sys
import threading
import time
from collections import Counter
from pathlib import Path

ROOT = Path(__file__).resolve().parents[2]
ROUND = 50
"""Programs of a round."""
PER_PROGRAM = 4


def work(seed: int, examples: int) -> None:
    """Rounds until so many decisions have been compared; tells of each on a line of its own."""
    from tests.fuzz.agreement import run_round

    seen: Counter[str] = Counter()
    while seen["decisions"] < examples:
        print(f"round {seed}", flush=True)
        run_round(seed, min(ROUND, -(-(examples - seen["decisions"]) // PER_PROGRAM)), seen)
        print("seen " + ";".join(f"{name}={count}" for name, count in seen.items()), flush=True)
        seed += 1


class Worker(threading.Thread):
    """Listens to one process."""

    def __init__(self, seed: int, examples: int) -> None:
        super().__init__()
        command = [sys.executable, "-m", "tests.fuzz", "--work"]
        command += ["--seed", str(seed), "--examples", str(examples)]
        self._process = subprocess.Popen(
            command, cwd=ROOT, stdout=subprocess.PIPE, stderr=subprocess.STDOUT, text=True
        )
        self.seen: Counter[str] = Counter()
        self.round = ""
        self.said: list[str] = []

    def run(self) -> None:
        assert self._process.stdout is not None
        for line in self._process.stdout:
            word, _, rest = line.rstrip("\n").partition(" ")
            if word == "round":
                self.round = rest
            elif word == "seen":
                self.seen = Counter({n: int(c) for n, _, c in (p.partition("=") for p in rest.split(";"))})
            else:
                self.said.append(line)
        self._process.wait()

    @property
    def code(self) -> int:
        return self._process.returncode


def main() -> int:
    parser = argparse.ArgumentParser(prog="make fuzz")
    parser.add_argument("--examples", type=int, default=20_000)
    parser.add_argument("--seed", type=int, default=0)
    parser.add_argument("--processes", type=int, default=2)
    parser.add_argument("--work", action="store_true", help=argparse.SUPPRESS)
    wanted = parser.parse_args()
    if wanted.work:
        work(wanted.seed, wanted.examples)
        return 0
    seed = wanted.seed or random.SystemRandom().randrange(1, 1_000_000)
    print(f"{wanted.examples} decisions, {wanted.processes} processes, SEED={seed}", flush=True)
    began = time.monotonic()
    each = -(-wanted.examples // wanted.processes)
    # the rounds of a process count up from its seed: far apart, so that none is run twice
    workers = [Worker(seed + number * 10_000_000, each) for number in range(wanted.processes)]
    for worker in workers:
        worker.start()
    for worker in workers:
        while worker.is_alive():
            worker.join(timeout=15)
            done = sum(other.seen["decisions"] for other in workers)
            print(f"{time.monotonic() - began:6.0f} s  {done} of {wanted.examples} decisions", flush=True)
    total = sum((worker.seen for worker in workers), Counter[str]())
    for name, count in sorted(total.items()):
        print(f"{count:>10} {name}")
    failed = [worker for worker in workers if worker.code]
    for worker in failed:
        print(
            f"\n--- ended with code {worker.code} in the round of SEED={worker.round}\n{''.join(worker.said)}"
        )
    print("not all came to the same" if failed else "all came to the same, and nothing crashed")
    return 1 if failed else 0


if __name__ == "__main__":
    sys.exit(main())
