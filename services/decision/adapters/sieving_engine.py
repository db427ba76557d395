"""The engine that runs live: what the snapshot settles fires as its tests say, chains of facts go to Rete.

An event meets a few rules that it lets fire among dozens that it does not. The network in C would look at
them all; here it is given only those that pass, each as one flag, and only where one may rest on another.
"""

from __future__ import annotations

from dataclasses import replace
from typing import TYPE_CHECKING

from services.decision.adapters.engine import FIRING_LIMIT, DurableEngine
from services.decision.domain.engine import Fired
from services.decision.domain.program import Properties
from services.decision.domain.sieve import SievedRule, sieve_of

if TYPE_CHECKING:
    from collections.abc import Collection, Iterable, Mapping, Sequence

    from services.decision.domain.engine import Property
    from services.decision.domain.program import Shard


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
        return _Run(self._engine, loaded, given_facts).fired(positions)

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
    """A shard, its sieve, and what of it the network is given."""

    __slots__ = ("network", "passed", "rules", "shard")

    def __init__(self, shard: Shard) -> None:
        sieve = sieve_of(shard)
        self.shard = shard
        self.rules = sieve.rules
        self.passed = sieve.passed
        given = [rule for rule in sieve.rules if rule.linked]
        asked = {fact for rule in given for fact in rule.chained}
        self.network = replace(
            shard,
            engine_rules={rule.name: _flagged(rule, rank) for rank, rule in enumerate(given, 1)},
            rule_of={rule.name: rule.name for rule in given},
            facts={rule.name: shard.facts[rule.key] for rule in given if rule.infers in asked},
        )


def _flagged(rule: SievedRule, rank: int) -> dict[str, object]:
    """The engine's rule with one flag in place of all that is settled: gate and snapshot are one message."""
    patterns: list[dict[str, object]] = [{"s": {"$and": [{"gate": rule.stratum}, {rule.name: True}]}}]
    patterns += [{f"f{place}": {"fact": key}} for place, key in enumerate(sorted(rule.chained))]
    return {"pri": rank, "all": patterns}


class _Run:
    """One run: what is known, inferred and fired so far."""

    __slots__ = ("_engine", "_facts", "_fired", "_known", "_loaded")

    def __init__(self, engine: DurableEngine, loaded: _SievedShard, given: Collection[str]) -> None:
        self._engine = engine
        self._loaded = loaded
        self._known = set(given)
        self._facts: list[str] = []
        self._fired: dict[str, None] = {}

    def fired(self, positions: Sequence[int]) -> Fired:
        """Stratum by stratum: those that can fire now, or all that may, where they may rest on each other."""
        known, rules, strata = self._known, self._loaded.rules, self._loaded.shard.strata
        place, count = 0, len(positions)
        while place < count:
            rule = rules[positions[place]]
            stratum = rule.stratum
            if stratum >= strata:
                break
            able: list[SievedRule] = []
            waiting: list[SievedRule] = []
            while rule.stratum == stratum:
                if rule.settled <= known and rule.absent.isdisjoint(known):
                    able.append(rule)
                    if not rule.chained <= known:
                        waiting.append(rule)
                place += 1
                if place == count:
                    break
                rule = rules[positions[place]]
            if waiting and self._may_come(waiting, able):
                self._chain(stratum, able)
                continue
            for rule in able:
                if not waiting or rule.chained <= known:
                    self._fire(rule)
        return Fired(tuple(self._facts), tuple(self._fired))

    def _may_come(self, waiting: Sequence[SievedRule], able: Sequence[SievedRule]) -> bool:
        """Whether the facts that one of these waits for may be inferred now."""
        possible = {rule.infers for rule in able} | self._known
        return any(rule.chained <= possible for rule in waiting)

    def _chain(self, stratum: int, able: Sequence[SievedRule]) -> None:
        """Fires by the network those that rest on each other, each a flag of one message; the others beside.

        What fires in the network and what does not need it do not touch each other, so that of both the one
        that comes first fires next.
        """
        linked = [rule for rule in able if rule.linked]
        beside = [rule for rule in able if not rule.linked]
        needed = {fact for rule in linked for fact in rule.chained}
        messages: list[dict[str, Property]] = [{"fact": fact} for fact in sorted(needed & self._known)]
        messages.append({"gate": stratum, **dict.fromkeys([rule.name for rule in linked], True)})
        found = self._engine.post(self._loaded.network, messages, self._known)
        by_name = {rule.name: rule for rule in linked}
        rank = {rule.name: place for place, rule in enumerate(able)}
        for name in found.rules:
            while beside and rank[beside[0].name] < rank[name]:
                self._fire(beside.pop(0))
            self._fire(by_name[name])
        for rule in beside:
            self._fire(rule)

    def _fire(self, rule: SievedRule) -> None:
        self._fired[rule.key] = None
        if rule.infers and rule.infers not in self._known:
            self._known.add(rule.infers)
            self._facts.append(rule.infers)
