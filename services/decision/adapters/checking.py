"""Inside the engine's process: one text compiled beside others, its tests, its trial by the oracle."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

from services.decision.app.jobs import Checked, Described
from services.decision.domain.arbitration import Standing
from services.decision.domain.compiler import compile_program
from services.decision.domain.decide import Question, decide, evaluation_of
from services.decision.domain.eligibility import Eligibility
from services.decision.domain.errors import EngineRefusedError, RunawayRulesError
from services.decision.domain.generated import generated_runs
from services.decision.domain.graph import what_calls
from services.decision.domain.journeys import standing_where_asked
from services.decision.domain.oracle import Oracle
from services.decision.domain.problems import Problem, Severity
from services.decision.domain.program import RuleSetText
from services.decision.domain.run import MOST_FIRED, too_many_fired
from services.decision.domain.trial import Arbitrated, run_tests
from services.vocabulary.words import (
    CATEGORY_FACTS,
    ActionKind,
    ActionOutcome,
    ConsentState,
    RefusalReason,
)

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator, Sequence

    from services.decision.app.jobs import Source
    from services.decision.domain.arbitration import DecidedAction
    from services.decision.domain.engine import RulesEngine
    from services.decision.domain.program import Case, Program, RuleSet
    from services.decision.domain.run import Outcome
    from services.decision.domain.situation import Situation
    from services.vocabulary.catalogue import Catalogue

MOST_DIFFERENCES = 5


def check_text(
    engine: RulesEngine,
    catalogue: Catalogue,
    read_yaml: Callable[[str], Any],
    context: Sequence[Source],
    text: str,
    file: str,
    version: int,
    generated: int,
) -> Checked:
    """Compiles ``text`` in place of the context's set of the same name; reports only its own problems.

    With ``generated`` snapshots a shard, whatever engine and oracle do not agree on comes back too.
    """
    name = name_of(read_yaml(text))
    beside = [
        RuleSetText(file=f"{source.name}@{source.version}", text=source.text, version=source.version)
        for source in context
        if source.name != name
    ]
    compilation = compile_program([*beside, RuleSetText(file, text, version)], catalogue, read_yaml)
    problems = tuple(problem for problem in compilation.problems if problem.file == file)
    program = compilation.program
    if program is None:
        return Checked(problems or compilation.problems)
    rule_set = next(known for known in program.rule_sets if known.name == name)
    try:
        tests = run_tests(program, rule_set, engine, arbitrator(program, catalogue))
    except RunawayRulesError as error:
        return Checked((*problems, _too_many_fired(rule_set, str(error))))
    return Checked(
        problems=problems,
        tests=tests,
        rule_set=_described(rule_set),
        listened=tuple(sorted(program.listened)),
        differences=tuple(_differences(program, rule_set, engine, generated)) if generated else (),
        absences=tuple(sorted(program.absences)),
        schedules=len(program.schedules) + sum(map(len, program.absences.values())),
    )


def arbitrator(program: Program, catalogue: Catalogue) -> Callable[[Case, Situation, Outcome], Arbitrated]:
    """Arbitrates an embedded test's outcome for a customer without any standing."""
    eligibility = Eligibility(catalogue)

    def arbitrate(case: Case, situation: Situation, outcome: Outcome) -> Arbitrated:
        evaluation = evaluation_of(program, eligibility, Question(case.name, situation), outcome)
        positions = standing_where_asked(evaluation.candidates, situation.now_micros)
        standing = Standing(positions=positions)
        actions = decide(evaluation, standing, catalogue.conversation_micros).actions

        def name(action: DecidedAction) -> tuple[str, str]:
            return action.candidate.rule_set, action.candidate.rule

        wins = [
            name(action)
            for action in actions
            if action.outcome is not ActionOutcome.REFUSED and action.candidate.kind is not ActionKind.STEP
        ]
        unwanted = {name(action) for action in actions if _unwanted(case, action)}
        return Arbitrated(
            tuple(rule for rule in dict.fromkeys(wins) if rule not in unwanted),
            dict.fromkeys(unwanted, RefusalReason.NO_CONSENT)
            | {name(action): action.reason for action in actions if action.reason is not None},
        )

    return arbitrate


def _unwanted(case: Case, action: DecidedAction) -> bool:
    """Whether the test says no to what the channel service would ask about the action."""
    category = action.candidate.category
    if action.outcome is not ActionOutcome.DISPATCHED or category is None:
        return False
    purpose = CATEGORY_FACTS[category].purpose
    said = None if purpose is None else case.consents.get(purpose)
    return said is not None and said is not ConsentState.GRANTED


def name_of(document: Any) -> str:
    """The name under `ruleset:`; empty when the text has none."""
    get = getattr(document.root, "get", None)
    node = None if get is None else get("ruleset")
    return str(getattr(node, "value", "") or "")


def _described(rule_set: RuleSet) -> Described:
    return Described(
        rule_set.name,
        rule_set.title,
        rule_set.owner,
        rule_set.stage,
        tuple(what_calls(key, rule_set) for key in rule_set.triggers),
        len(rule_set.rules),
    )


def _too_many_fired(rule_set: RuleSet, sentence: str) -> Problem:
    message, _, suggestion = sentence.partition(": ")
    return Problem(Severity.ERROR, 1, 1, rule_set.name, message, suggestion, "too-many-fired", rule_set.file)


def _differences(program: Program, rule_set: RuleSet, engine: RulesEngine, count: int) -> Iterator[str]:
    oracle: RulesEngine = Oracle()
    shards = {
        shard.key: shard
        for shard in (*program.shared, *(shard for shards in program.shards.values() for shard in shards))
        if any(known.name == rule_set.name for known in shard.rule_sets)
    }
    found = 0
    fired: dict[str, list[int]] = {}
    for shard in shards.values():
        for properties, given in generated_runs(shard, count):
            by_oracle = oracle.run(shard, properties, given)
            fired.setdefault(shard.key, []).append(len(by_oracle.rules))
            try:
                by_engine = engine.run(shard, properties, given)
            except (EngineRefusedError, RunawayRulesError) as error:
                yield f"the engine gave up on a made-up customer: {error}"
                return
            if by_engine != by_oracle:
                found += 1
                yield (
                    f"the engine and the plain evaluator differ on {properties} with facts {list(given)}: "
                    f"{list(by_engine.rules)} against {list(by_oracle.rules)}"
                )
            if found >= MOST_DIFFERENCES:
                return
    for group in program.shards.values():
        together = [fired[shard.key] for shard in group if shard.key in fired]
        if any(sum(counts) > MOST_FIRED for counts in zip(*together, strict=True)):
            yield too_many_fired(rule_set.all_rules[-1].key)
            return
