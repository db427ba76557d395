"""What a bad network does between two parts: it stalls for 20 seconds, or its connections break."""

import random
import threading
from dataclasses import dataclass, field
from typing import Self

from tests.system.crash.network import PAIRS, Network
from tests.system.crash.proxy import Pair

STALL_SECONDS = 20.0


@dataclass
class Stalls:
    """Stalls the rounds given, one after the other; `between` seconds of good network lie before each.

    After every other round what waited does not arrive late but never: the connections break.
    """

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
        for number, pairs in enumerate(self.rounds):
            self._never.wait(self.between)
            with self.network.proxies.stalled(*pairs):
                self._never.wait(self.seconds)
                if number % 2:
                    self.network.proxies.cut(*pairs)
            self.done.append(pairs)


@dataclass
class Cuts:
    """Breaks the connections of one pair after the other until stopped, `pause` seconds apart.

    Before each cut the pair stalls for up to `stall` seconds: a request that was taken has lost its answer.
    """

    network: Network
    seed: int
    pause: tuple[float, float] = (0.3, 1.2)
    stall: float = 1.0
    done: list[Pair] = field(default_factory=list)

    def __post_init__(self) -> None:
        self._random = random.Random(self.seed)
        self._stop = threading.Event()
        self._thread = threading.Thread(target=self._run, name="cuts", daemon=True)

    def __enter__(self) -> Self:
        self._thread.start()
        return self

    def __exit__(self, *_: object) -> None:
        self._stop.set()
        self._thread.join()

    def _run(self) -> None:
        deck: list[Pair] = []
        while not self._stop.wait(self._random.uniform(*self.pause)):
            deck = deck or self._random.sample(PAIRS, len(PAIRS))
            pair = deck.pop()
            with self.network.proxies.stalled(pair):
                self._stop.wait(self._random.uniform(0, self.stall))
                self.network.proxies.cut(pair)
            self.done.append(pair)


def dealt(seed: int, at_once: int, pairs: tuple[Pair, ...] = PAIRS) -> list[tuple[Pair, ...]]:
    """All pairs in an order by the seed, so many in each round."""
    deck = list(pairs)
    random.Random(seed).shuffle(deck)
    return [tuple(deck[at : at + at_once]) for at in range(0, len(deck), at_once)]
