"""Programs in which some customers meet another version of a rule set than the others.

Which version a customer meets is settled before any rule is looked at: there is one whole program for each
mix of versions, and a hash of customer and rule set says which one decides. Everything else knows rule sets
by their names, so that once-slots, arms, journeys and plans go on whichever version a customer meets.
"""

from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from typing import TypeVar

from services.decision.domain.compiler import assemble, compile_program
from services.decision.domain.experiments import bucket_of
from services.decision.domain.language.nodes import ReadYaml
from services.decision.domain.problems import Problem
from services.decision.domain.program import Program, RuleSet, RuleSetText
from services.vocabulary.catalogue import Catalogue

Each = TypeVar("Each")

WHOLE = 10_000
"""Shares are given in so many parts of the customers."""


@dataclass(frozen=True, slots=True)
class CanaryText:
    """A version as written that only ``share`` (of WHOLE) of the customers meet."""

    text: RuleSetText
    name: str
    share: int


def meets(rule_set: str, share: int, customer: int) -> bool:
    """Whether a customer meets the canary of a rule set; at a greater share all of a smaller one still do."""
    return bucket_of(f"canary {rule_set}", customer) < share


@dataclass(frozen=True)
class Programs:
    """The programs that run together. ``variants[n]``: with the canaries of the bits of n; [0] has none."""

    variants: tuple[Program, ...]
    canaries: tuple[CanaryText, ...] = ()
    _shares: tuple[tuple[str, int], ...] = field(init=False, repr=False, compare=False)

    def __post_init__(self) -> None:
        """Keeps what every event asks for at hand."""
        object.__setattr__(self, "_shares", tuple((each.name, each.share) for each in self.canaries))

    @property
    def base(self) -> Program:
        """What is live for everybody."""
        return self.variants[0]

    def variant(self, customer: int) -> int:
        """Which of the variants decides for a customer."""
        if not self._shares:
            return 0
        return sum(1 << bit for bit, (name, share) in enumerate(self._shares) if meets(name, share, customer))

    def of(self, customer: int) -> Program:
        """The program that decides for a customer."""
        return self.variants[self.variant(customer)]

    @property
    def listened(self) -> frozenset[str]:
        """Event types that any of them listens to."""
        return frozenset().union(*(program.listened for program in self.variants))

    @property
    def triggers(self) -> frozenset[str]:
        """Event types on which anything can fire in any of them."""
        return frozenset().union(*(program.triggers for program in self.variants))


@dataclass(frozen=True, slots=True)
class CompiledPrograms:
    """All variants, or why there are none; warnings stand beside programs too."""

    programs: Programs | None
    problems: tuple[Problem, ...]


def compile_programs(
    sources: Sequence[RuleSetText],
    canaries: Sequence[CanaryText],
    catalogue: Catalogue,
    read_yaml: ReadYaml,
) -> CompiledPrograms:
    """What is live, and each mix of it with canaries; without any it costs what `compile_program` does."""
    live = compile_program(sources, catalogue, read_yaml, overlaps=False)
    if live.program is None or not canaries:
        return CompiledPrograms(None if live.program is None else Programs((live.program,)), live.problems)
    problems = [*live.problems]
    new: dict[str, RuleSet] = {}
    shared = [rule_set.name for rule_set in live.program.rule_sets if rule_set.shared]
    by_name = {rule_set.name: text for rule_set, text in zip(live.program.rule_sets, sources, strict=True)}
    for canary in canaries:
        # what other rule sets say does not matter to it, but for what is shared
        beside = [by_name[name] for name in shared if name != canary.name]
        alone = compile_program([*beside, canary.text], catalogue, read_yaml, overlaps=False)
        problems += [problem for problem in alone.problems if problem.file == canary.text.file]
        if alone.program is None:
            return CompiledPrograms(None, tuple(problems or alone.problems))
        new[canary.name] = alone.program.rule_sets[-1]
    variants = [live.program]
    for number in range(1, 1 << len(canaries)):
        chosen = [canary for bit, canary in enumerate(canaries) if number >> bit & 1]
        if any(new[canary.name].shared or canary.name in shared for canary in chosen):
            texts = mixed_in(by_name, {canary.name: canary.text for canary in chosen})
            mixed = compile_program(texts, catalogue, read_yaml, overlaps=False)
            if mixed.program is None:
                return CompiledPrograms(None, (*problems, *mixed.errors))
            program = assemble(mixed.program.rule_sets, catalogue, variant=number)
        else:
            old = {rule_set.name: rule_set for rule_set in live.program.rule_sets}
            program = assemble(
                mixed_in(old, {canary.name: new[canary.name] for canary in chosen}),
                catalogue,
                variant=number,
                like=live.program,
            )
        variants.append(program)
    return CompiledPrograms(Programs(tuple(variants), tuple(canaries)), tuple(problems))


def mixed_in(live: Mapping[str, Each], instead: Mapping[str, Each]) -> list[Each]:
    """What is live with some of it replaced; what is new in the order of names."""
    return list(_in_order(live, instead))


def _in_order(live: Mapping[str, Each], instead: Mapping[str, Each]) -> Iterator[Each]:
    waiting = sorted(name for name in instead if name not in live)
    for name, each in live.items():
        while waiting and waiting[0] < name:
            yield instead[waiting.pop(0)]
        yield instead.get(name, each)
    for name in waiting:
        yield instead[name]
