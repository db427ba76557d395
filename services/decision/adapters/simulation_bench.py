"""What runs inside a process of a simulation: the drafts' program and the live one, and customers' pasts."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

from services.decision.adapters.checking import name_of
from services.decision.adapters.handover import SOURCE
from services.decision.adapters.running import Running, compile_sources
from services.decision.adapters.sieving_engine import SievingEngine
from services.decision.adapters.simulation_differing import (
    PROFILE_UPDATED,
    Differing,
    SharingEngine,
    with_common_shards,
)
from services.decision.adapters.simulation_past import Past
from services.decision.adapters.simulation_walk import CHANNEL, MissingMomentsError, Side, Walk
from services.decision.adapters.situations import LazyTraits
from services.decision.adapters.workbench import FREES_WHAT_IT_USED
from services.decision.app.simulation_jobs import DRAFT, LIVE, Prepared, Walked, World
from services.decision.app.versions import digest_of
from services.decision.domain.canary import mixed_in
from services.decision.domain.contacts import SENT
from services.decision.domain.eligibility import Eligibility
from services.decision.domain.problems import Problem, Severity
from services.vocabulary.values import to_json
from services.vocabulary.words import ActionKind

if TYPE_CHECKING:
    from collections.abc import Callable, Mapping, Sequence

    from services.decision.adapters.engine_child import Progress
    from services.decision.app.jobs import Source
    from services.decision.app.simulation_jobs import CustomerPast, Moment, Span
    from services.decision.domain.program import Program
    from services.vocabulary.arbitration_policy import ArbitrationPolicy
    from services.vocabulary.catalogue import Catalogue

UNKNOWN, WITHHELD = "unknown", "withheld"


class SimulationBench:
    """Two programs and an engine for each. Not to be shared between threads."""

    def __init__(
        self,
        catalogue: Catalogue,
        read_yaml: Callable[[str], Any],
        progress: Progress,
        policy: Callable[[], ArbitrationPolicy],
    ) -> None:
        self._catalogue = catalogue
        self._read_yaml = read_yaml
        self._progress = progress
        self._policy = policy
        self._sides: tuple[Side, ...] = ()
        self._differing = Differing()
        self._latest = 0

    def jobs(self) -> dict[str, Callable[..., Any]]:
        """The jobs by the names under which the parent asks for them."""
        return {"prepare": self.prepare, "walk": self.walk}

    def prepare(self, drafts: Sequence[Source], live: Sequence[Source], names: Sequence[str]) -> Prepared:
        """Compiles what is live, and the drafts in the place of those of their names.

        ``names``: of the worlds. A draft has its name from its text; the problems of drafts alone are told.
        """
        drafted = [name_of(self._read_yaml(draft.text)) for draft in drafts]
        twice = [
            Problem(
                Severity.ERROR,
                *(
                    0,
                    0,
                    name,
                    f"two drafts are of the rule set {name}",
                    "leave one of them out",
                    "draft-twice",
                ),
                file=draft.file,
            )
            for draft, name in zip(drafts, drafted, strict=True)
            if name and drafted.count(name) > 1
        ]
        if twice:
            return Prepared(tuple(twice))
        compiled = compile_sources(_with_drafts(live, drafted, drafts), self._catalogue, self._read_yaml)
        files = {draft.file for draft in drafts}
        told = tuple(
            problem
            for problem in compiled.problems
            if problem.file in files or problem.severity is Severity.ERROR
        )
        if compiled.programs is None:
            return Prepared(told)
        worlds = {DRAFT: Running(0, compiled.programs)}
        if LIVE in names:
            beside = compile_sources(live, self._catalogue, self._read_yaml)
            if beside.programs is None:
                errors = tuple(one for one in beside.problems if one.severity is Severity.ERROR)
                return Prepared((*told, *errors))
            worlds[LIVE] = Running(0, beside.programs)
        self._differing = Differing.between(worlds.values(), drafted, self._catalogue)
        together = with_common_shards(tuple(worlds.values()), self._differing)
        worlds = dict(zip(worlds, together, strict=True))
        self._sides = tuple(self._side(name, running) for name, running in worlds.items())
        programs = {name: running.programs.base for name, running in worlds.items()}
        self._latest = max(one.late_micros for program in programs.values() for one in program.rule_sets)
        types = frozenset().union(*(running.programs.listened for running in worlds.values()))
        return Prepared(
            told,
            types=tuple(sorted(types)),
            bare=tuple(sorted(_bare(programs.values()) - types)),
            drafts=tuple(sorted(name for name in drafted if name)),
            limits={
                name: {one.name: one.limits for one in program.rule_sets if one.limits.any}
                for name, program in programs.items()
            },
            called=tuple(
                one.name
                for one in programs[DRAFT].occasions
                if one.name in drafted and not _calls_alike(one.name, programs)
            ),
            digests={
                name: digest_of(draft.text) for draft, name in zip(drafts, drafted, strict=True) if name
            },
        )

    def walk(self, pasts: Sequence[CustomerPast], span: Span, moments: Mapping[Moment, bytes]) -> Walked:
        """Decides customers' pasts again; who needs a moment that is not known is left for the next time."""
        walked = Walked({side.name: World() for side in self._sides})
        for position, one in enumerate(pasts):
            self._progress.at(position)
            past = Past(one)
            walks = [Walk(side, past, span, moments) for side in self._sides_for(past)]
            missing = _walk_together(walks, past)
            if missing:
                walked.missing[one.customer] = tuple(sorted(missing))
            else:
                self._enter(walked, past, walks, span)
        return walked

    def _sides_for(self, past: Past) -> tuple[Side, ...]:
        """The worlds to walk through: one is enough for a customer who meets nothing that differs."""
        return self._sides if self._differing.may_concern(past) else self._sides[:1]

    def _enter(self, walked: Walked, past: Past, walks: Sequence[Walk], span: Span) -> None:
        walked.customers += 1
        walked.events += len(past.events)
        self._count_idle(walked, past)
        by_name = {walk.side.name: walk for walk in walks}
        for side in self._sides:
            walk = by_name.get(side.name, walks[0])
            world = walked.worlds[side.name]
            world.funnel.add(walk.world.funnel)
            world.would += walk.world.would
            world.asked |= walk.world.asked
        walked.failed.update(walks[0].failed)
        for one, other in zip(walks, reversed(walks), strict=True):
            if one is not other:
                for action_id in one.decided - other.decided:
                    walked.why[other.side.name, action_id] = other.refused.get(action_id, "")
        if span.groups:
            walked.groups[past.customer] = self._groups(past, span.groups)

    def _count_idle(self, walked: Walked, past: Past) -> None:
        running = self._sides[0].running
        for event, _ in past.events:
            if event.type in running.triggers and event.source not in (CHANNEL, SOURCE):
                if event.history:
                    walked.history += 1
                elif event.accepted_micros - event.time_micros > self._latest:
                    walked.late += 1

    def _groups(self, past: Past, names: Sequence[str]) -> tuple[str, ...]:
        newest = past.newest
        if newest is None:
            return (UNKNOWN,) * len(names)
        traits = LazyTraits(newest.traits, "")
        withheld = {trait.name for trait in newest.traits if trait.withheld}
        found: list[str] = []
        for name in names:
            value = traits.get(name)
            if value is None:
                found.append(WITHHELD if name in withheld else UNKNOWN)
            else:
                found.append(str(to_json(value)))
        return tuple(found)

    def _side(self, name: str, running: Running) -> Side:
        engine = SievingEngine()
        engine.keep_only(running.shards())
        eligibility = Eligibility(self._catalogue)
        eligibility.policy = self._policy()
        conversation = self._catalogue.conversation_micros
        types = self._differing.types
        return Side(name, running, SharingEngine(engine), eligibility, self._catalogue, conversation, types)


def _walk_together(walks: Sequence[Walk], past: Past) -> set[Moment]:
    """Takes all worlds through the events side by side; what was not known of the past, in any of them."""
    missing: set[Moment] = set()
    going = list(walks)
    for event, raw in past.events:
        past.look = None
        for walk in tuple(going):
            try:
                walk.take(event, raw)
            except MissingMomentsError as error:
                missing.update(error.moments)
                going.remove(walk)
    for walk in going:
        try:
            walk.end()
        except MissingMomentsError as error:
            missing.update(error.moments)
    return missing


def _with_drafts(live: Sequence[Source], names: Sequence[str], drafts: Sequence[Source]) -> list[Source]:
    """What is live with the drafts in their places, in the order of what is live; then canaries."""
    stays = {source.name: source for source in live if not source.share}
    canaries = [source for source in live if source.share and source.name not in names]
    named = {name or draft.file: draft for name, draft in zip(names, drafts, strict=True)}
    return [*mixed_in(stays, named), *canaries]


def _bare(programs: Any) -> frozenset[str]:
    """Types by which it is seen what really happened: contacts, refusals, and what we said to ourselves."""
    found = {SENT, *FREES_WHAT_IT_USED}
    for program in programs:
        for rule_set in program.rule_sets:
            for rule in rule_set.rules:
                for spec in rule.actions:
                    if spec.kind is ActionKind.SET:
                        found.add(PROFILE_UPDATED)
                    elif spec.kind is ActionKind.EMIT:
                        found.add(spec.name)
    return frozenset(found)


def _calls_alike(name: str, programs: Mapping[str, Program]) -> bool:
    """Whether the live rule set of that name is called for by the same."""
    live = programs[LIVE].rule_set(name) if LIVE in programs else None
    draft = programs[DRAFT].rule_set(name)
    return live is not None and draft is not None and live.occasion == draft.occasion
