"""Stalls of the network between two parts, 20 seconds each, several pairs at a time."""

import random
import threading
from dataclasses import dataclass, field
from typing import Self

from tests.system.crash.network import PAIRS, Network
from tests.system.crash.proxy import Pair

STALL_SECONDS = 20.0


@dataclass
class Stalls:
    """Stalls the rounds given, one after the other; `between` seconds of good network lie before each."""

    network: Network
    rounds: list[tuple[Pair, ...]]
    between: float = 3.0
    seconds: float = STALL_SECONDS
    done: list[tuple[Pair, ...]] = field(default_factory=list)

    def __post_init__(self) -> None:
        self._thread = threading.Thread(target=self._run, name="stalls", daemon=True)
        self._never = threading.Event()

    @property
    def lasting(self) -> float:
        """Seconds that all rounds take together."""
        return len(self.rounds) * (self.between + self.seconds)

    def __enter__(self) -> Self:
        self._thread.start()
        return self

    def __exit__(self, *_: object) -> None:
        self._thread.join()

    def _run(self) -> None:
        for pairs in self.rounds:
            self._never.wait(self.between)
            with self.network.proxies.stalled(*pairs):
                self._never.wait(self.seconds)
            self.done.append(pairs)


def dealt(seed: int, at_once: int, pairs: tuple[Pair, ...] = PAIRS) -> list[tuple[Pair, ...]]:
    """All pairs in an order by the seed, so many in each round."""
    deck = list(pairs)
    random.Random(seed).shuffle(deck)
    return [tuple(deck[at : at + at_once]) for at in range(0, len(deck), at_once)]
