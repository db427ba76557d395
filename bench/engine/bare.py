"""The C module by itself on the compiled rules, snapshots prepared: what a decision is measured by.

It is given what `Shard.engine_rules` says, the tests in its own network, one snapshot and one gate a stratum,
and asserts the facts that rules infer; nothing else is done.
"""

from collections.abc import Collection, Sequence

import durable_rules_engine
import orjson

from services.decision.domain.engine import Property
from services.decision.domain.program import Shard

_WARM_UP = "warm-up"


class BareShard:
    """One shard's network, and what is posted to it."""

    def __init__(self, shard: Shard) -> None:
        warm_up = {_WARM_UP: {"pri": 1, "all": [{"w": {"kind": _WARM_UP}}]}}
        text = orjson.dumps({**shard.engine_rules, **warm_up}).decode()
        self._handle = durable_rules_engine.create_ruleset(f"bare-{id(self)}", text)
        self._strata = shard.strata
        self._infers = {
            name: shard.facts[key].fact for name, key in shard.rule_of.items() if key in shard.facts
        }
        text = orjson.dumps({"sid": _WARM_UP, "kind": _WARM_UP}).decode()
        offset = durable_rules_engine.assert_fact(self._handle, text)[1]
        state, _ = durable_rules_engine.start_action_for_state(self._handle, offset)
        durable_rules_engine.update_state(self._handle, state)
        durable_rules_engine.complete_and_start_action(self._handle, offset)
        durable_rules_engine.delete_state(self._handle, _WARM_UP)

    def prepared(
        self, session: str, properties: dict[str, Property], given: Collection[str]
    ) -> tuple[str, ...]:
        """What to assert, in order."""
        messages: list[dict[str, Property]] = [{"kind": "snap", **properties}]
        messages += [{"fact": fact} for fact in sorted(given)]
        messages += [{"gate": stratum} for stratum in range(self._strata)]
        return tuple(orjson.dumps({"sid": session, **message}).decode() for message in messages)

    def run(self, session: str, prepared: Sequence[str]) -> int:
        """How many rules fired."""
        handle, known, fired = self._handle, set[str](), 0
        for text in prepared:
            offset = durable_rules_engine.assert_fact(handle, text)[1]
            started = durable_rules_engine.start_action_for_state(handle, offset)
            if not started:
                continue
            state, activations = started[0], started[1]
            while activations:
                for name in orjson.loads(activations):
                    fired += 1
                    fact = self._infers.get(name)
                    if fact is not None and fact not in known:
                        known.add(fact)
                        inferred = f'{{"sid":"{session}","fact":"{fact}"}}'
                        durable_rules_engine.assert_fact(handle, inferred)
                durable_rules_engine.update_state(handle, state)
                activations = durable_rules_engine.complete_and_start_action(handle, offset)
        durable_rules_engine.delete_state(handle, session)
        return fired

    def close(self) -> None:
        """Gives its memory back."""
        durable_rules_engine.delete_ruleset(self._handle)
