"""One customer's past, read once for all worlds of a simulation, and looked at once where they are alike."""

from __future__ import annotations

from dataclasses import dataclass, replace
from functools import cached_property
from typing import TYPE_CHECKING

import orjson
from rapport.types.v1 import stream_pb2

from services.decision.adapters.handover import SOURCE
from services.decision.domain.contacts import SENT

if TYPE_CHECKING:
    from collections.abc import Collection, Mapping

    from services.decision.app.simulation_jobs import CustomerPast
    from services.decision.domain.decide import Evaluation
    from services.decision.domain.engine import Fired
    from services.decision.domain.own_past import OwnPast
    from services.decision.domain.situation import Situation


@dataclass(frozen=True, slots=True)
class Look:
    """What one world saw at an event, and what its rules asked for.

    ``said``, ``kinds``: of its own past by then. ``plain``: nothing of that past was looked at. ``fired``: of
    each shard that ran.
    """

    situation: Situation
    evaluation: Evaluation | None
    said: int
    kinds: frozenset[str]
    foreign: frozenset[tuple[int, int]]
    plain: bool
    fired: dict[tuple[object, ...], Fired]

    def seen_by(self, own: OwnPast, arms: Mapping[str, str]) -> Situation | None:
        """The situation as another world sees it that said ``own``; None: it has to look for itself.

        What was read and computed holds there too if both said the same so far, or if nothing was looked at
        that the two could have said differently.
        """
        if own.said == self.said and own.foreign == self.foreign:
            return self.situation if arms == self.situation.arms else replace(self.situation, arms=arms)
        if self.plain and not own.traits and own.kinds == self.kinds:
            return own.over_again(self.situation, arms)
        return None


class Past:
    """One customer's events with their snapshots, each read once for both programs."""

    def __init__(self, past: CustomerPast) -> None:
        self.customer = past.customer
        self.accounts = past.accounts
        self.events: list[tuple[stream_pb2.TakenEvent, bytes]] = []
        for payload in past.batches:
            batch = stream_pb2.EventBatch.FromString(payload)
            snapshots = list(batch.snapshots)
            self.events += [
                (event, snapshots[event.snapshot - 1] if event.snapshot else b"") for event in batch.events
            ]
        self._read: tuple[bytes, stream_pb2.Snapshot] = (b"", stream_pb2.Snapshot())
        self.look: Look | None = None
        """What the world before saw at the event that is looked at now."""

    def snapshot(self, raw: bytes) -> stream_pb2.Snapshot:
        """The snapshot, read; events come in order, so that the last one is the one asked for again."""
        if self._read[0] is not raw:
            self._read = (raw, stream_pb2.Snapshot.FromString(raw))
        return self._read[1]

    def has(self, types: Collection[str]) -> bool:
        """Whether an event of one of these types is among them."""
        return any(event.type in types for event, _ in self.events)

    @cached_property
    def own(self) -> Mapping[str, tuple[stream_pb2.TakenEvent, bytes]]:
        """What the decision service really said to itself, by id."""
        return {event.id: (event, raw) for event, raw in self.events if event.source == SOURCE}

    @cached_property
    def contacts(self) -> tuple[tuple[int, int, str], ...]:
        """Contacts really made: time, sequence and rule set."""
        return tuple(
            (event.time_micros, event.sequence, orjson.loads(event.data).get("rule_set", ""))
            for event, _ in self.events
            if event.type == SENT
        )

    @property
    def newest(self) -> stream_pb2.Snapshot | None:
        """What was known last."""
        return next((self.snapshot(raw) for _, raw in reversed(self.events) if raw), None)
