"""What can go wrong in deciding, in the words of the domain."""

from __future__ import annotations


class DecisionError(Exception):
    """Base of this service's own errors."""


class EngineRefusedError(DecisionError):
    """The engine did not take a shard's rules or a snapshot: a fault of the compiler, never of the caller."""


class RunawayRulesError(DecisionError):
    """More rules fired than may in one decision, or more activations than a sound shard can have."""


class CatalogueConditionError(DecisionError):
    """A condition in the catalogue is none of the rule language; the text names the offer and why."""


class EngineDiedError(DecisionError):
    """The engine's process ended in the middle of a job.

    ``item`` is the position of the item it was working on, None when it was between items.
    """

    def __init__(self, message: str, item: int | None) -> None:
        super().__init__(message)
        self.item = item


class EngineNotReadyError(EngineDiedError):
    """The engine's process did not get as far as its first job: no item has anything to do with it."""

    def __init__(self, message: str) -> None:
        super().__init__(message, None)


class KillsEngineError(DecisionError):
    """This event ended the engine's process so often that it is not tried again."""


class NotReplayableError(DecisionError):
    """A recorded decision cannot be run again; the text says why."""


class JobFailedError(DecisionError):
    """A job in the engine's process raised; ``item`` is the position of the item in work, if any."""

    def __init__(self, message: str, item: int | None) -> None:
        super().__init__(message)
        self.item = item
