"""What every rule engine beside ours offers to the benchmark."""

from collections.abc import Mapping, Sequence
from typing import Any, Protocol

from bench.engine.plain import PlainRules, Value


class OtherEngine(Protocol):
    """One engine with all rules loaded, compiled once, one knowledge base for each event type."""

    @property
    def name(self) -> str:
        """As in the names of figures."""
        ...

    def load(self, rules: Sequence[PlainRules]) -> None:
        """Takes the rules of each event type."""
        ...

    def prepared(self, rules: PlainRules, snapshot: Mapping[str, Value]) -> Any:
        """The snapshot in the form that the engine takes soonest; this is not timed."""
        ...

    def refresh(self) -> None:
        """Makes it as quick as it was at first; called before each round, and not timed."""
        ...

    def run(self, event_type: str, prepared: Any) -> Sequence[str]:
        """Names of the action rules that fire."""
        ...


class NotHereError(Exception):
    """Why an engine cannot take part, in a sentence."""
