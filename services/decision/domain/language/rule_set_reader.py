"""Reads one rule set from its nodes: head, windows, facts, rules, experiment and tests."""

import re
from collections.abc import Collection, Mapping
from dataclasses import dataclass, field, replace
from datetime import date, datetime, time, timedelta

from services.decision.domain.language import grammar
from services.decision.domain.language.actions_reader import read_actions
from services.decision.domain.language.ast import All
from services.decision.domain.language.conditions import read_conditions
from services.decision.domain.language.experiment_reader import read_experiment
from services.decision.domain.language.journey_reader import read_journey
from services.decision.domain.language.limits_reader import read_limits
from services.decision.domain.language.nodes import Block, Listing, Node, Scalar
from services.decision.domain.language.reading import (
    choose,
    read_block,
    read_date,
    read_duration,
    read_flag,
    read_items,
    read_text,
    read_word,
)
from services.decision.domain.language.report import Report
from services.decision.domain.language.rule_parts import RULE_NAME, read_once, read_priority
from services.decision.domain.language.scope import Scope
from services.decision.domain.language.tables_reader import read_table
from services.decision.domain.language.tests_reader import read_tests
from services.decision.domain.language.triggers_reader import read_audience, read_triggers
from services.decision.domain.language.windows_reader import read_windows
from services.decision.domain.program import ActionRule, FactRule, Needs, RuleSet, RuleSetText
from services.decision.domain.triggers import Occasion, Schedule, ThingEvent
from services.vocabulary.catalogue import Catalogue
from services.vocabulary.values import DAY, ValueMistake, time_to_micros, zone

_FACT = re.compile(grammar.FACT)


@dataclass(frozen=True, slots=True)
class Draft:
    """A rule set as read, with the places of its parts, before facts are ordered and needs are known."""

    rule_set: RuleSet
    scope: Scope
    report: Report
    places: Mapping[str, Node] = field(default_factory=dict)
    top: Node | None = None


def shared_facts_of(root: Node | None) -> tuple[str, ...]:
    """The facts that a shared rule set infers; none when it is not shared."""
    if not isinstance(root, Block):
        return ()
    shared = root.get("shared")
    if not (isinstance(shared, Scalar) and shared.value is True):
        return ()
    return _fact_names(root.get("infer"))


def asked_of_audience(rules: tuple[ActionRule, ...], occasion: Occasion | None) -> tuple[ActionRule, ...]:
    """The rules, each of which asks again whether the customer is in the audience, with a fresh snapshot."""
    if not isinstance(occasion, Schedule | ThingEvent):
        return rules
    parts = occasion.audience.parts
    return tuple(replace(rule, when=All((*parts, *rule.when.parts), rule.when.source)) for rule in rules)


def _fact_names(node: Node | None) -> tuple[str, ...]:
    items = node.items if isinstance(node, Listing) else ()
    facts = [item.get("fact") for item in items if isinstance(item, Block)]
    return tuple(dict.fromkeys(fact.text for fact in facts if isinstance(fact, Scalar)))


def read_rule_set(
    source: RuleSetText, root: Node, catalogue: Catalogue, shared_facts: Collection[str], report: Report
) -> Draft | None:
    """The rule set, or None when it cannot even be named. Everything wrong goes to the report."""
    if not isinstance(root, Block):
        report.error(root, "this is no rule set", "value", "begin with `ruleset: a-name`")
        return None
    return _RuleSetReader(source, root, catalogue, shared_facts, report).read()


class _RuleSetReader:
    """Reads one file."""

    def __init__(
        self,
        source: RuleSetText,
        root: Block,
        catalogue: Catalogue,
        shared_facts: Collection[str],
        report: Report,
    ) -> None:
        self._source = source
        self._root = root
        self._catalogue = catalogue
        self._shared_facts = shared_facts
        self._report = report
        self._places: dict[str, Node] = {}
        self._name = ""

    def read(self) -> Draft | None:
        root, report = self._root, self._report
        report.check_keys(root, grammar.RULE_SET.names, grammar.RULE_SET.title)
        self._name = self._read_name()
        shared = read_flag(root.get("shared"), report, "shared")
        triggers = read_triggers(root, self._name, self._catalogue, report, shared=shared)
        scope = Scope(
            self._catalogue,
            self._name,
            triggers.events,
            any_event=shared,
            local_facts=_fact_names(root.get("infer")),
            shared_facts=tuple(self._shared_facts),
            shared=shared,
            questions=triggers.questions,
            called_by=triggers.called_by,
        )
        experiment = read_experiment(root.get("experiment"), scope, report)
        if experiment is not None:
            scope = replace(scope, experiment=experiment.id, arms=tuple(experiment.arms))
        windows, checks = read_windows(root.get("windows"), scope, report)
        scope = replace(scope, windows=windows, window_checks=checks)
        tz, from_micros, to_micros = self._active()
        late = read_duration(root.get("late"), report, "late")
        journey = read_journey(root, scope, report, self._places, self._source.version)
        facts = self._facts(scope)
        occasion = read_audience(root.get("trigger"), triggers.occasion, scope, report)
        rules = (*asked_of_audience(self._rules(scope, shared=shared), occasion), *journey.rules)
        if journey.stops is not None:
            scope = replace(scope, stops=journey.stops)
        rule_set = RuleSet(
            name=self._name,
            version=self._source.version,
            title=read_word(root.get("title"), report, "title"),
            owner=read_word(root.get("owner"), report, "owner"),
            stage=choose(root.get("stage"), report, "stage", grammar.STAGES),
            shared=shared,
            triggers=triggers.keys,
            late_micros=DAY if late is None else late,
            from_micros=from_micros,
            to_micros=to_micros,
            choose_first=(
                choose(root.get("choose"), report, "choose", grammar.CHOOSE) == "first"
                and journey.journey is None
            ),
            facts=facts,
            rules=rules,
            experiment=experiment,
            windows={name: window for name, window in windows.items() if window is not None},
            tests=read_tests(
                root.get("tests"), scope, tuple(rule.rule for rule in rules if not rule.moves), report
            ),
            zone=tz,
            leaf_needs={},
            source=self._source.text,
            file=self._source.file,
            occasion=occasion,
            limits=read_limits(root.get("limits"), self._catalogue, report, shared=shared),
            journey=journey.remembering(facts, self._catalogue),
        )
        return Draft(rule_set, scope, report, self._places, root) if self._name else None

    # --- head --------------------------------------------------------------------------------------------

    def _read_name(self) -> str:
        node = self._root.get("ruleset")
        name = read_word(node, self._report, "ruleset")
        if node is None:
            self._report.error(self._root, "the rule set has no name", "name", "begin with `ruleset: a-name`")
        elif name and not RULE_NAME.fullmatch(name):
            self._report.error(
                node,
                f"`{name}` cannot be the name of a rule set",
                "name",
                "use small letters, digits and -, at most 64",
            )
        return name

    def _active(self) -> tuple[str, int | None, int | None]:
        block = read_block(self._root.get("active"), self._report, "active")
        tz = self._catalogue.default_zone
        if block is None:
            return tz, None, None
        self._report.check_keys(block, grammar.ACTIVE.names, grammar.ACTIVE.title)
        if block.get("tz") is not None:
            tz = read_word(block.get("tz"), self._report, "tz") or tz
        try:
            place = zone(tz)
        except ValueMistake as mistake:
            self._report.error(block.get("tz"), f"`{tz}` {mistake.message}", "value", mistake.suggestion)
            tz = self._catalogue.default_zone
            place = zone(tz)
        first = read_date(block.get("from"), self._report, "from")
        last = read_date(block.get("to"), self._report, "to")
        if first and last and last < first:
            self._report.error(
                block.get("to"),
                "the last day (`to`) is before the first (`from`)",
                "never-fires",
                "change one of them",
            )

        def midnight(day: date) -> int:
            return time_to_micros(datetime.combine(day, time(), place))

        return (
            tz,
            midnight(first) if first else None,
            midnight(last + timedelta(days=1)) if last else None,
        )

    # --- facts and rules ---------------------------------------------------------------------------------

    def _facts(self, scope: Scope) -> tuple[FactRule, ...]:
        facts: list[FactRule] = []
        for order, item in enumerate(read_items(self._root.get("infer"), self._report, "infer")):
            block = read_block(item, self._report, "a fact")
            if block is None:
                continue
            self._report.check_keys(block, grammar.FACT_KEYS.names, grammar.FACT_KEYS.title)
            name = read_word(block.get("fact"), self._report, "fact")
            if not _FACT.fullmatch(name):
                self._report.error(
                    block.get("fact") or block,
                    f"`{name}` cannot be the name of a fact" if name else "the fact has no name",
                    "name",
                    "write fact: a_name, of small letters, digits and _",
                )
                continue
            if block.get("when") is None:
                self._report.error(
                    block, f"the fact `{name}` has no conditions", "condition", "add when: [ … ]"
                )
            because = block.get("because")
            key = f"{self._name}/infer.{order + 1}"
            self._places[key] = block
            facts.append(
                FactRule(
                    key=key,
                    rule_set=self._name,
                    fact=name if scope.shared else f"{self._name}/{name}",
                    when=read_conditions(block.get("when"), scope, self._report, "when"),
                    because=read_text(because, scope, self._report, "because") if because else None,
                    priority=read_priority(block.get("priority"), self._report),
                    order=order,
                    stratum=0,
                    needs=Needs(),
                )
            )
        return tuple(facts)

    def _rules(self, scope: Scope, *, shared: bool) -> tuple[ActionRule, ...]:
        node = self._root.get("rules")
        if shared:
            if node is not None:
                self._report.error(node, "a shared rule set only infers facts", "action", "move the rules")
            return ()
        items = read_items(node, self._report, "rules")
        table, journey = self._root.get("table"), self._root.get("journey")
        if not items and table is None and journey is None:
            self._report.error(node or self._root, "the rule set has no rules", "action", "add `rules`")
        rules: list[ActionRule] = []
        for order, item in enumerate(items):
            rule = self._rule(item, order, scope)
            if rule is None:
                continue
            if rule.rule in {other.rule for other in rules}:
                self._report.error(item, f"two rules are named `{rule.rule}`", "name", "give each its own id")
                continue
            rules.append(rule)
        rules += read_table(table, scope, self._report, self._places, self._source.version, rules)
        return tuple(rules)

    def _rule(self, node: Node, order: int, scope: Scope) -> ActionRule | None:
        block = read_block(node, self._report, "a rule")
        if block is None:
            return None
        self._report.check_keys(block, grammar.RULE.names, grammar.RULE.title)
        name = read_word(block.get("id"), self._report, "id")
        if not RULE_NAME.fullmatch(name):
            self._report.error(
                block.get("id") or block,
                f"`{name}` cannot be the name of a rule" if name else "the rule has no name",
                "name",
                "write id: a-name, of small letters, digits and -",
            )
        actions = read_actions(block.get("do"), scope, self._report, block)
        key = f"{self._name}/{name}"
        self._places.setdefault(key, block)
        inner = [action.once for action in actions if action.once is not None]
        once = block.get("once")
        if inner and (once is not None or len(actions) > 1):
            self._report.error(
                inner[0], "`once` belongs to the rule as a whole", "once", "write it beside `do`"
            )
        return ActionRule(
            key=key,
            rule_set=self._name,
            version=self._source.version,
            rule=name,
            when=read_conditions(block.get("when"), scope, self._report, "when"),
            actions=tuple(action.spec for action in actions),
            once=read_once(once if once is not None else next(iter(inner), None), scope, self._report),
            priority=read_priority(block.get("priority"), self._report),
            order=order,
            needs=Needs(),
        )
