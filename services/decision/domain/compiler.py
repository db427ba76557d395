"""From the texts of rule sets to a program: reads, checks, orders, and shards them for the engine."""

from collections.abc import Callable, Sequence
from typing import Any

from services.decision.domain.program import Compilation, RuleSetText
from services.vocabulary.catalogue import Catalogue


def compile_program(
    sources: Sequence[RuleSetText], catalogue: Catalogue, read_yaml: Callable[[str], Any]
) -> Compilation:
    """Compile all live rule sets together. All problems are reported at once; with an error there is no program."""
    raise NotImplementedError
