"""Asks Decide from a process of its own, as a care desk's system does: over TLS, with a token.

Usage: python -m bench.decide_caller FOLDER open|closed RATE_OR_CALLERS SECONDS PROFILES SEED

Prints one line of JSON. Answers are kept as bytes, as reading them is the caller's cost and not the
server's; one in a hundred is read and looked at.
"""

import random
import sys
from pathlib import Path
from typing import TYPE_CHECKING, Any

import orjson
import uvloop
from rapport.decision.v1 import decision_pb2
from rapport.types.v1 import vocabulary_pb2

from bench.decide_rules import QUESTION
from bench.open_loop import call_as_planned, call_without_pause, plan_arrivals
from bench.traffic import msisdn
from services.cli.stack.state import find_stack
from services.cli.stack.trust_files import caller
from services.runtime.client import connect
from services.runtime.garbage import collect_seldom

if TYPE_CHECKING:
    import grpc

METHOD = "/rapport.decision.v1.DecisionService/Decide"
_READ_ONE_IN = 100
_TOPICS = ("network", "usage", "bill", "other")


class Desk:
    """Asks about customers, one after the other."""

    def __init__(self, channel: "grpc.aio.Channel", profiles: int, seed: int) -> None:
        self._call: Any = channel.unary_unary(METHOD)
        self._draw = random.Random(seed)
        self._profiles = profiles
        self._seed = seed
        self.read = 0
        self.actions = 0
        self.explained = 0

    async def ask(self, place: int) -> None:
        """Asks about a random customer."""
        topic = vocabulary_pb2.Value(text=_TOPICS[place % len(_TOPICS)])
        request = decision_pb2.DecideRequest(
            request_id=f"bench-{self._seed}-{place}",
            subject=f"msisdn:{msisdn(self._draw.randint(1, self._profiles))}",
            ask=QUESTION,
            ask_parameters={"topic": topic},
            mode=decision_pb2.DECIDE_MODE_PEEK,
        )
        answer = await self._call(request.SerializeToString())
        if place % _READ_ONE_IN == 0:
            self._look_at(request, decision_pb2.DecideResponse.FromString(answer))

    def _look_at(self, request: decision_pb2.DecideRequest, answer: decision_pb2.DecideResponse) -> None:
        decision = answer.decision
        if decision.event_id != request.request_id or not decision.customer:
            raise ValueError("this is no answer to what was asked")
        self.read += 1
        self.actions += len(decision.actions)
        self.explained += sum(bool(action.because) for action in decision.actions)


async def run(folder: Path, mode: str, amount: float, seconds: float, profiles: int, seed: int) -> bytes:
    """What was found, as JSON."""
    collect_seldom()
    stack = find_stack(folder)
    async with connect(stack.decision_target, caller(stack.layout), deadline_seconds=30) as channel:
        desk = Desk(channel, profiles, seed)
        for place in range(20):
            await desk.ask(place)  # the connection stands, the token is known
        found: dict[str, Any]
        if mode == "open":
            latencies = await call_as_planned(plan_arrivals(amount, seconds, seed), desk.ask)
            found = {"seconds": latencies.seconds, "failed": latencies.failed}
        else:
            rate, failed = await call_without_pause(int(amount), seconds, desk.ask)
            found = {"rate": rate, "failed": failed}
    read = max(desk.read, 1)
    found |= {"actions": desk.actions / read, "explained": desk.explained / max(desk.actions, 1)}
    return orjson.dumps(found)


def main() -> None:
    """As the command line says."""
    folder, mode, amount, seconds, profiles, seed = sys.argv[1:]
    found = uvloop.run(run(Path(folder), mode, float(amount), float(seconds), int(profiles), int(seed)))
    sys.stdout.write(found.decode() + "\n")


if __name__ == "__main__":
    main()
