"""The engine that runs live: the rules' tests on the snapshot are one function, all else is Rete's.

An event meets a few rules that it may let fire among dozens that it does not. Asked in the network, each test
of each rule costs; here the network is told by one flag a rule what its tests came to. Facts, chains of
them, negation, priorities and firing are the network's, in the same safe subset.
"""

from __future__ import annotations

from dataclasses import replace
from typing import TYPE_CHECKING

from services.decision.adapters.engine import FIRING_LIMIT, DurableEngine
from services.decision.domain.engine import Fired
from services.decision.domain.program import Properties
from services.decision.domain.sieve import sieve_of

if TYPE_CHECKING:
    from collections.abc import Collection, Iterable, Mapping, Sequence

    from services.decision.domain.engine import Property
    from services.decision.domain.program import Shard
    from services.decision.domain.sieve import SievedRule


class SievingEngine:
    """Runs shards as DurableEngine does, and comes to the same; not to be shared between threads."""

    def __init__(self, firing_limit: int = FIRING_LIMIT) -> None:
        self._engine = DurableEngine(firing_limit)
        self._loaded: dict[str, _SievedShard] = {}

    def run(
        self, shard: Shard, properties: Mapping[str, Property], given_facts: Collection[str] = ()
    ) -> Fired:
        """Fires a shard's rules to the fixpoint, stratum by stratum, for one snapshot.

        Raises what DurableEngine raises.
        """
        loaded = self._loaded.get(shard.key)
        if loaded is None or loaded.shard is not shard:
            loaded = self._loaded[shard.key] = _SievedShard(shard)
        look_up = properties if isinstance(properties, Properties) else _Missing(properties)
        positions = loaded.passed(look_up)
        if not positions:
            return _NOTHING
        facts = [{"fact": fact} for fact in sorted(given_facts)]
        return self._engine.post(loaded.network, [*facts, *loaded.gates(positions)], given_facts)

    def keep_only(self, shards: Iterable[Shard]) -> None:
        """Gives back the memory of all shards but these."""
        kept = {shard.key: shard for shard in shards}
        self._loaded = {key: loaded for key, loaded in self._loaded.items() if kept.get(key) is loaded.shard}
        self._engine.keep_only([loaded.network for loaded in self._loaded.values()])

    def close(self) -> None:
        """Gives back the memory of all shards."""
        self.keep_only(())


_NOTHING = Fired((), ())


class _Missing(dict[str, "Property"]):
    """Properties given whole: those that are not there are None."""

    def __missing__(self, name: str) -> None:
        return None


class _SievedShard:
    """A shard, its sieve, and its network, in which one flag stands for a rule's tests."""

    __slots__ = ("_rules", "network", "passed", "shard")

    def __init__(self, shard: Shard) -> None:
        sieve = sieve_of(shard)
        self.shard = shard
        self.passed = sieve.passed
        self._rules = sieve.rules
        self.network = replace(shard, engine_rules={rule.name: _flagged(rule) for rule in sieve.rules})

    def gates(self, positions: Sequence[int]) -> list[dict[str, Property]]:
        """The gates of those strata in which a rule may fire, each with the flags of its rules."""
        found: list[dict[str, Property]] = []
        for position in positions:
            rule = self._rules[position]
            if rule.stratum >= self.shard.strata:
                break
            if not found or found[-1]["gate"] != rule.stratum:
                found.append({"gate": rule.stratum})
            found[-1][rule.name] = True
        return found


def _flagged(rule: SievedRule) -> dict[str, object]:
    """The engine's rule with a flag in place of its tests: gate and snapshot are one message, still first."""
    tests = {"s": {"$and": [{"gate": rule.stratum}, {rule.name: True}]}}
    return {"pri": rule.rank, "all": [tests, *rule.facts]}
