"""The rules engine of durable_rules, driven through its C module alone, within the safe subset.

The library's own ``Host`` starts threads that race the caller and swallows errors, so none of it is used.
What is relied on here, and held by tests/conformance: one snapshot fact per run, one gate fact per stratum, a
fresh ``sid`` for every run, ``delete_state`` whatever happens, a bound on firings.
"""

from __future__ import annotations

import itertools
from typing import TYPE_CHECKING, Any

import durable_rules_engine
import orjson

from services.decision.domain.engine import Fired
from services.decision.domain.errors import EngineRefusedError, RunawayRulesError
from services.decision.domain.program import LazyProperties

if TYPE_CHECKING:
    from collections.abc import Collection, Iterable, Mapping

    from services.decision.domain.engine import Property
    from services.decision.domain.program import Shard

FIRING_LIMIT = 2_000
"""Activations allowed within one run; a shard of 60 rules needs at most a few hundred."""

_WARM_UP = "warm-up"


class DurableEngine:
    """Runs shards on the Rete network in C; not to be shared between threads.

    A segmentation fault in C ends the process: live work belongs in a child (engine_process).
    """

    def __init__(self, firing_limit: int = FIRING_LIMIT) -> None:
        self._firing_limit = firing_limit
        self._loaded: dict[str, _LoadedShard] = {}
        self._serial = itertools.count()
        self._sessions = itertools.count()

    def run(
        self,
        shard: Shard,
        properties: Mapping[str, Property],
        given_facts: Collection[str] = (),
    ) -> Fired:
        """Fires a shard's rules to the fixpoint, stratum by stratum, for one snapshot.

        Raises EngineRefusedError when the engine does not take the shard or the snapshot, and
        RunawayRulesError when more activations fire than a sound shard can have.
        """
        snapshot = properties.whole() if isinstance(properties, LazyProperties) else properties
        facts = [{"fact": fact} for fact in sorted(given_facts)]
        gates = [{"gate": stratum} for stratum in range(shard.strata)]
        return self.post(shard, [{"kind": "snap", **snapshot}, *facts, *gates], given_facts)

    def post(
        self, shard: Shard, messages: Iterable[Mapping[str, Property]], known: Collection[str] = ()
    ) -> Fired:
        """Asserts these messages one after the other, each to its fixpoint; facts known are not new.

        Raises what `run` raises.
        """
        loaded = self._loaded.get(shard.key)
        if loaded is None or loaded.shard is not shard:
            loaded = self._load(shard)
        session = f"{next(self._sessions):x}"
        run = _Run(loaded, session, known, self._firing_limit)
        try:
            for message in messages:
                run.post(message)
        finally:
            if run.began:
                durable_rules_engine.delete_state(loaded.handle, session)
        return Fired(facts=tuple(run.facts), rules=tuple(run.fired))

    def keep_only(self, shards: Iterable[Shard]) -> None:
        """Gives back the memory of all shards but these."""
        kept = {shard.key: shard for shard in shards}
        for key in [key for key, loaded in self._loaded.items() if kept.get(key) is not loaded.shard]:
            durable_rules_engine.delete_ruleset(self._loaded.pop(key).handle)

    def close(self) -> None:
        """Gives back the memory of all shards."""
        self.keep_only(())

    def _load(self, shard: Shard) -> _LoadedShard:
        """Compiles a shard into a network of its own, in place of an older one of the same key."""
        old = self._loaded.pop(shard.key, None)
        if old is not None:
            durable_rules_engine.delete_ruleset(old.handle)
        warm_up = {_WARM_UP: {"pri": 1, "all": [{"w": {"kind": _WARM_UP}}]}}
        text = orjson.dumps({**shard.engine_rules, **warm_up}).decode()
        try:
            handle = durable_rules_engine.create_ruleset(f"shard-{next(self._serial)}", text)
        except durable_rules_engine.error as error:
            raise EngineRefusedError(
                f"shard {shard.key}: the engine does not take its rules ({error})"
            ) from error
        _warm_up(handle)
        loaded = _LoadedShard(shard, handle)
        self._loaded[shard.key] = loaded
        return loaded


def _warm_up(handle: int) -> None:
    """Lets one action start and end in a network before its first use.

    The module does not initialise the place where a context keeps its running action, and delete_state frees
    what it finds there: a crash, unless an action was started in that place before. Contexts are used one
    at a time, so that all of a network's have the same place.
    """
    text = orjson.dumps({"sid": _WARM_UP, "kind": _WARM_UP}).decode()
    offset = durable_rules_engine.assert_fact(handle, text)[1]
    state, _ = durable_rules_engine.start_action_for_state(handle, offset)
    durable_rules_engine.update_state(handle, state)
    durable_rules_engine.complete_and_start_action(handle, offset)
    durable_rules_engine.delete_state(handle, _WARM_UP)


class _LoadedShard:
    """A shard with its network's handle."""

    __slots__ = ("handle", "shard")

    def __init__(self, shard: Shard, handle: int) -> None:
        self.shard = shard
        self.handle = handle


class _Run:
    """One session: what was posted, inferred and fired in it."""

    __slots__ = (
        "_activations",
        "_handle",
        "_known",
        "_limit",
        "_session",
        "_shard",
        "began",
        "facts",
        "fired",
    )

    def __init__(self, loaded: _LoadedShard, session: str, given: Collection[str], limit: int) -> None:
        self._handle = loaded.handle
        self._shard = loaded.shard
        self._session = session
        self._limit = limit
        self._activations = 0
        self._known = set(given)
        self.began = False
        self.facts: list[str] = []
        self.fired: dict[str, None] = {}

    def post(self, message: Mapping[str, Any]) -> None:
        """Asserts one fact and fires what it makes fire."""
        offset = self._assert(message)
        started = durable_rules_engine.start_action_for_state(self._handle, offset)
        if not started:
            return
        state, activations = started[0], started[1]
        while activations:
            for name in orjson.loads(activations):
                self._fire(name)
            durable_rules_engine.update_state(self._handle, state)
            activations = durable_rules_engine.complete_and_start_action(self._handle, offset)

    def _fire(self, name: str) -> None:
        """Notes the rule, once, in the order of its first firing, and asserts what it infers."""
        self._activations += 1
        key = self._shard.rule_of[name]
        if self._activations > self._limit:
            raise RunawayRulesError(
                f"shard {self._shard.key}: over {self._limit} activations in one run; the last rule was {key}"
            )
        if key in self.fired:
            return
        self.fired[key] = None
        infers = self._shard.facts.get(key)
        if infers is not None and infers.fact not in self._known:
            self._known.add(infers.fact)
            self.facts.append(infers.fact)
            self._assert({"fact": infers.fact})

    def _assert(self, message: Mapping[str, Any]) -> int:
        """Asserts one fact in this run's session and returns the state's offset."""
        text = orjson.dumps({"sid": self._session, **message}).decode()
        try:
            offset = int(durable_rules_engine.assert_fact(self._handle, text)[1])
        except durable_rules_engine.error as error:
            raise EngineRefusedError(
                f"shard {self._shard.key}: the engine does not take {sorted(message)} ({error})"
            ) from error
        self.began = True
        return offset
