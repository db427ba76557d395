"""The port behind which rules are run: by durable_rules, or by the oracle."""

from collections.abc import Collection, Mapping
from dataclasses import dataclass
from typing import Protocol

from services.decision.domain.program import Shard

Property = bool | int | float | str


@dataclass(frozen=True, slots=True)
class Fired:
    """What one run of one shard came to.

    `facts`: keys of the facts inferred in this run, in the order inferred, without those given. `rules`: keys
    of the rules that fired (fact rules and action rules), each once, in the order fired.
    """

    facts: tuple[str, ...]
    rules: tuple[str, ...]


class RulesEngine(Protocol):
    """Runs a shard on the properties of one situation.

    Order: the snapshot fact `{"kind": "snap", **properties}` and the given facts (`{"fact": key}`), then one
    gate fact `{"gate": n}` for each stratum from 0 to `shard.strata - 1`, each to its fixpoint. A fired
    engine rule stands for `shard.rule_of[name]`; a rule fires once per run, and a fact rule asserts `{"fact":
    rule.fact}` unless given or inferred before. Raises on anything but success; a run leaves nothing behind.
    """

    def run(self, shard: Shard, properties: Mapping[str, Property], given_facts: Collection[str]) -> Fired:
        """Facts and rules, in order."""
        ...
