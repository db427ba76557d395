"""From the texts of rule sets to a program: reads, checks, orders, and shards them for the engine."""

import operator
from collections.abc import Mapping, Sequence
from dataclasses import replace

from services.decision.domain.checks import check_draft
from services.decision.domain.engine_rules import MOST_ALTERNATIVES, TooManyAlternatives
from services.decision.domain.language.nodes import Document, ReadYaml
from services.decision.domain.language.report import Report
from services.decision.domain.language.rule_set_reader import Draft, read_rule_set, shared_facts_of
from services.decision.domain.needs import fact_needs, leaf_needs, with_needs
from services.decision.domain.overlaps import check_overlaps
from services.decision.domain.problems import Severity
from services.decision.domain.program import Compilation, FactRule, Program, RuleSet, RuleSetText, Shard
from services.decision.domain.reach import check_reach
from services.decision.domain.shards import MOST_ENGINE_RULES, Piece, count_engine_rules, pack, pieces_of
from services.decision.domain.strata import NegationCycle, strata_of
from services.decision.domain.triggers import ASK, OpenPair, ThingEvent, type_of_key
from services.vocabulary.catalogue import Catalogue

DUE = "action.due"
_MOST_FACT_RULES = 40


def compile_program(
    sources: Sequence[RuleSetText], catalogue: Catalogue, read_yaml: ReadYaml, *, overlaps: bool = True
) -> Compilation:
    """Compile all live rule sets together; all problems at once. With an error there is no program.

    `overlaps`: also look for customers whom several rule sets want; not needed where nobody reads warnings.
    """
    documents = [read_yaml(source.text) for source in sources]
    shared = tuple(dict.fromkeys(name for document in documents for name in shared_facts_of(document.root)))
    reports: list[Report] = []
    drafts: list[Draft] = []
    for source, document in zip(sources, documents, strict=True):
        report = Report(source.file)
        reports.append(report)
        draft = _read(source, document, catalogue, shared, report)
        if draft is not None:
            drafts.append(draft)
    _check_names(drafts)
    for draft in drafts:
        check_draft(draft, catalogue, shared)
        _check_size(draft)
    _check_shared_size(drafts)
    strata = _strata(drafts)
    check_reach(drafts, catalogue)
    problems = tuple(problem for report in reports for problem in report.problems)
    if strata is None or any(problem.severity is Severity.ERROR for problem in problems):
        return Compilation(None, problems)
    program = assemble([_settle(draft, drafts, strata, catalogue) for draft in drafts], catalogue)
    if overlaps:
        check_overlaps(program, drafts)
        problems = tuple(problem for report in reports for problem in report.problems)
    return Compilation(program, problems)


def _read(
    source: RuleSetText, document: Document, catalogue: Catalogue, shared: Sequence[str], report: Report
) -> Draft | None:
    report.take(document.mistakes)
    if document.root is None:
        return None
    return read_rule_set(source, document.root, catalogue, shared, report)


def _check_names(drafts: Sequence[Draft]) -> None:
    seen: dict[str, Draft] = {}
    for draft in drafts:
        name = draft.rule_set.name
        if name in seen:
            draft.report.error(
                draft.top,
                f"two rule sets are named `{name}`",
                "name",
                f"the other is in {seen[name].rule_set.file or 'another text'}",
                text=name,
            )
        seen.setdefault(name, draft)


def _check_size(draft: Draft) -> None:
    rule_set = draft.rule_set
    for rule in rule_set.all_rules:
        try:
            count_engine_rules([rule.when])
        except TooManyAlternatives:
            draft.report.error(
                draft.places[rule.key],
                f"its facts can be joined in more than {MOST_ALTERNATIVES} ways",
                "too-many-alternatives",
                "name some of the alternatives with a fact of their own",
            )
            return
    fixed = count_engine_rules([fact.when for fact in rule_set.facts])
    most = MOST_ENGINE_RULES if rule_set.shared else _MOST_FACT_RULES
    if fixed > most:
        draft.report.error(
            draft.top,
            f"the rule set infers facts in {fixed} ways; at most {most} are possible",
            "too-many-facts",
            "split it into several rule sets",
        )


def _check_shared_size(drafts: Sequence[Draft]) -> None:
    shared = [draft for draft in drafts if draft.rule_set.shared and not draft.report.failed]
    if shared:
        total = sum(count_engine_rules([fact.when for fact in draft.rule_set.facts]) for draft in shared)
        if total > MOST_ENGINE_RULES:
            shared[-1].report.error(
                shared[-1].top,
                f"all shared rule sets infer facts in {total} ways; at most {MOST_ENGINE_RULES} are possible",
                "too-many-facts",
                "infer some of them in the rule sets that use them",
            )


def _strata(drafts: Sequence[Draft]) -> Mapping[str, int] | None:
    """The stratum of every fact, by key; None when there is a cycle, which is then reported."""
    found: dict[str, int] = {}
    groups = [[draft] for draft in drafts if not draft.rule_set.shared]
    groups.insert(0, [draft for draft in drafts if draft.rule_set.shared])
    failed = False
    for group in groups:
        strata = strata_of([fact for draft in group for fact in draft.rule_set.facts])
        if not isinstance(strata, NegationCycle):
            found.update(strata)
            continue
        failed = True
        keys = [key for key, _ in strata.path]
        for draft in group:
            inferring = [fact for fact in draft.rule_set.facts if fact.fact in keys]
            inferring.sort(key=lambda fact: keys.index(fact.fact))
            place = draft.places[inferring[0].key] if inferring else None
            if place is not None:
                draft.report.error(
                    place,
                    f"a fact rests on its own absence: {strata.sentence()}",
                    "negation-cycle",
                    "remove one `not`, or split the fact in two",
                )
    return None if failed else found


def _settle(
    draft: Draft, drafts: Sequence[Draft], strata: Mapping[str, int], catalogue: Catalogue
) -> RuleSet:
    """The rule set with what each of its rules needs, and the stratum of each fact."""
    rule_set = draft.rule_set
    visible: list[FactRule] = [
        fact for other in drafts if other.rule_set.shared or other is draft for fact in other.rule_set.facts
    ]
    triggers = {other.rule_set.name: other.scope.triggers for other in drafts}
    needs = fact_needs(visible, catalogue, triggers)
    return replace(
        rule_set,
        facts=tuple(
            replace(fact, stratum=strata[fact.fact], needs=needs[fact.fact], line=_line_of(fact.key, draft))
            for fact in rule_set.facts
        ),
        rules=tuple(
            replace(with_needs(rule, needs, catalogue, draft.scope.triggers), line=_line_of(rule.key, draft))
            for rule in rule_set.rules
        ),
        leaf_needs=leaf_needs(
            [*(fact.when for fact in visible), *(rule.when for rule in rule_set.rules)], catalogue
        ),
    )


def _line_of(key: str, draft: Draft) -> int:
    place = draft.places.get(key)
    return place.line if place is not None else 0


def assemble(
    rule_sets: Sequence[RuleSet], catalogue: Catalogue, *, variant: int = 0, like: Program | None = None
) -> Program:
    """The program of compiled rule sets.

    `variant` tells its shards from those of other programs that run beside it; of `like`, whose shared rule
    sets are the same, it takes over the shards of the same rule sets.
    """
    shared = [Piece(rule_set, rule_set.facts, ()) for rule_set in rule_sets if rule_set.shared]
    own = f"variant {variant} " if variant else ""
    packed: dict[tuple[str, ...], tuple[Shard, ...]] = {}
    shards: dict[str, tuple[Shard, ...]] = {}
    keys = frozenset(key for rule_set in rule_sets for key in rule_set.triggers)
    triggers = frozenset(type_of_key(key) for key in keys)
    events = frozenset(name for name in triggers if not name.startswith(ASK))
    for key in sorted(keys):
        chosen = [rule_set for rule_set in rule_sets if key in rule_set.triggers]
        names = tuple(rule_set.name for rule_set in chosen)
        if like is not None and _same(like, key, chosen):
            shards[key] = like.shards[key]
            continue
        if names not in packed:
            pieces = [piece for rule_set in chosen for piece in pieces_of(rule_set)]
            packed[names] = pack(own + ("+".join(names) if len(names) < 4 else key), pieces)
        shards[key] = packed[names]
    return Program(
        rule_sets=tuple(rule_sets),
        triggers=triggers,
        listened=events | _measured(rule_sets) | _awaited(rule_sets) | _noticed(rule_sets),
        shards=shards,
        shared=pack(f"{own}shared", shared) if like is None else like.shared,
        catalogue=catalogue,
    )


def _same(program: Program, key: str, chosen: Sequence[RuleSet]) -> bool:
    """Whether these very rule sets are what the program runs for a key."""
    found = [rule_set for rule_set in program.rule_sets if key in rule_set.triggers]
    return len(found) == len(chosen) and all(map(operator.is_, found, chosen))


def _measured(rule_sets: Sequence[RuleSet]) -> frozenset[str]:
    experiments = [rule_set.experiment for rule_set in rule_sets if rule_set.experiment]
    measures = [measure for each in experiments for measure in (each.metric, each.guardrail)]
    return frozenset(measure.event for measure in measures if measure is not None)


def _noticed(rule_sets: Sequence[RuleSet]) -> frozenset[str]:
    """Types from which occasions arise: what opens a pair, and what happens to things."""
    occasions = [rule_set.occasion for rule_set in rule_sets]
    opened = {each.after for each in occasions if isinstance(each, OpenPair)}
    return frozenset(opened | {each.type for each in occasions if isinstance(each, ThingEvent)})


def _awaited(rule_sets: Sequence[RuleSet]) -> frozenset[str]:
    paced = any(rule_set.limits.per_second is not None for rule_set in rule_sets)
    planned = paced or any(
        action.after_micros is not None
        for rule_set in rule_sets
        for rule in rule_set.rules
        for action in rule.actions
    )
    return frozenset({DUE}) if planned else frozenset()
