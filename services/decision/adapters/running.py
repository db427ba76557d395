"""The programs that an engine's process runs: which of them decides for whom, and what calls for a look."""

from __future__ import annotations

from dataclasses import replace
from typing import TYPE_CHECKING, Any

from services.decision.adapters.situations import trigger_key
from services.decision.app.release_ports import Compiled
from services.decision.domain.canary import CanaryText, compile_programs
from services.decision.domain.differences import differences
from services.decision.domain.experiments import arms_for
from services.decision.domain.occasions import called_by
from services.decision.domain.problems import Severity
from services.decision.domain.program import RuleSetText
from services.decision.domain.triggers import ThingEvent

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator, Mapping, Sequence

    from rapport.types.v1 import stream_pb2

    from services.decision.app.jobs import Source
    from services.decision.domain.canary import CompiledPrograms, Programs
    from services.decision.domain.occasions import Called
    from services.decision.domain.problems import Problem
    from services.decision.domain.program import Program, RuleSet, Shard
    from services.vocabulary.catalogue import Catalogue


class Running:
    """A version of the programs, with what every event asks of it at hand.

    ``triggers``: event types on which anything fires in any of them; ``calling``: those that open a pair or
    happen to a thing. ``called``: what calls for rule sets beside events of the customer; ``things``: of that
    what happens to things, by event type.
    """

    def __init__(self, version: int, programs: Programs) -> None:
        self.version = version
        self.programs = programs
        self.triggers = programs.triggers
        self.calling = frozenset(
            event_type
            for program in programs.variants
            for event_type in (*program.thing_events, *program.opens_pairs)
        )
        self.called = called_by(programs)
        self.things: dict[str, tuple[Called, ...]] = {}
        for each in self.called:
            if isinstance(each.occasion, ThingEvent):
                name = each.occasion.type
                self.things[name] = (*self.things.get(name, ()), each)
        self._experimenting = tuple(_experimenting(program) for program in programs.variants)

    def of(self, customer: int) -> Program:
        """The program that decides for a customer."""
        return self.programs.of(customer)

    def arms(
        self, event: stream_pb2.TakenEvent, stored_arms: Mapping[int, Mapping[str, str]]
    ) -> dict[str, str]:
        """The customer's arms in the experiments that the event may look at; stored ones hold."""
        experimenting = self._experimenting[self.programs.variant(event.customer)]
        looked_at = experimenting.get(trigger_key(event), ()) if experimenting else ()
        if not looked_at:
            return {}
        return arms_for(looked_at, event.customer, stored_arms.get(event.customer, {}))

    def shards(self) -> Iterator[Shard]:
        """All that the engine may have to keep."""
        for program in self.programs.variants:
            yield from program.shared
            for shards in program.shards.values():
                yield from shards


def compile_sources(
    sources: Sequence[Source], catalogue: Catalogue, read_yaml: Callable[[str], Any]
) -> CompiledPrograms:
    """The programs of what is live and its canaries, as stored."""
    texts = [(source, RuleSetText(source.file, source.text, source.version)) for source in sources]
    return compile_programs(
        [text for source, text in texts if not source.share],
        [CanaryText(text, source.name, source.share) for source, text in texts if source.share],
        catalogue,
        read_yaml,
    )


def compile_whole(
    sources: Sequence[Source], catalogue: Catalogue, read_yaml: Callable[[str], Any]
) -> Compiled:
    """What is to run together: its errors by version, or what calls for it."""
    labelled = [replace(source, file=f"{source.name}@{source.version}") for source in sources]
    compiled = compile_sources(labelled, catalogue, read_yaml)
    errors: dict[str, tuple[Problem, ...]] = {}
    for problem in compiled.problems:
        if problem.severity is Severity.ERROR:
            errors[problem.file] = (*errors.get(problem.file, ()), problem)
    programs = compiled.programs
    if programs is None:
        return Compiled(errors)
    return Compiled(
        {},
        tuple(sorted(programs.listened)),
        tuple(sorted({name for program in programs.variants for name in program.absences})),
        max(
            len(program.schedules) + sum(map(len, program.absences.values())) for program in programs.variants
        ),
    )


def differences_of(
    context: Sequence[Source],
    old: Source,
    new: Source,
    catalogue: Catalogue,
    read_yaml: Callable[[str], Any],
) -> tuple[str, ...]:
    """What differs between two versions of a rule set, beside the others; empty: one does not compile."""
    found = []
    for source in (old, new):
        programs = compile_sources([*context, source], catalogue, read_yaml).programs
        rule_set = None if programs is None else programs.base.rule_set(source.name)
        if rule_set is None:
            return ()
        found.append(rule_set)
    return differences(*found)


def _experimenting(program: Program) -> dict[str, tuple[RuleSet, ...]]:
    """By trigger, the rule sets with an experiment; empty where nothing is tried out."""
    found = {
        key: tuple(
            {
                rule_set.name: rule_set
                for shard in program.shards_for(key)
                for rule_set in shard.rule_sets
                if rule_set.experiment is not None
            }.values()
        )
        for key in program.shards
    }
    return {key: rule_sets for key, rule_sets in found.items() if rule_sets}
