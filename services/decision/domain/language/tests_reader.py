"""Reads the tests embedded in a rule set."""

from collections.abc import Mapping
from decimal import Decimal
from typing import Any

from services.decision.domain.language import grammar
from services.decision.domain.language.ast import Window
from services.decision.domain.language.lexer import LineError
from services.decision.domain.language.nodes import Block, Listing, Node, Scalar, plain
from services.decision.domain.language.reading import (
    choose,
    read_block,
    read_duration,
    read_items,
    read_word,
    read_words,
)
from services.decision.domain.language.report import Report
from services.decision.domain.language.scope import Scope
from services.decision.domain.language.types import IN_WORDS, Check, Kind, kind_of, read_literal
from services.decision.domain.problems import did_you_mean, suggest
from services.decision.domain.program import Case
from services.decision.domain.triggers import ASK, JOURNEY_DUE, TRIGGER_DUE
from services.vocabulary.catalogue import CONSENTS, Field
from services.vocabulary.values import Money, ValueMistake
from services.vocabulary.words import ConsentState, Purpose, RefusalReason


def read_tests(node: Node | None, scope: Scope, rules: tuple[str, ...], report: Report) -> tuple[Case, ...]:
    """All tests of a set; what is wrong with one is reported and the test left out."""
    cases: list[Case] = []
    for item in read_items(node, report, "tests"):
        block = read_block(item, report, "a test")
        if block is None:
            continue
        case = _CaseReader(block, scope, rules, report).read()
        if case is not None and case.name in {known.name for known in cases}:
            report.error(block, f"two tests are named `{case.name}`", "test", "give each its own name")
        if case is not None:
            cases.append(case)
    return tuple(cases)


def read_customer(node: Node, scope: Scope, report: Report) -> Case | None:
    """A customer as a test describes it, `given` and `when`, of whom nothing is expected."""
    block = read_block(node, report, "a customer")
    if block is None:
        return None
    return _CaseReader(block, scope, (), report).described("", Block(block.line, block.column, ()))


class _CaseReader:
    """Reads one test."""

    def __init__(self, block: Block, scope: Scope, rules: tuple[str, ...], report: Report) -> None:
        self._block = block
        self._scope = scope
        self._rules = rules
        self._report = report

    def read(self) -> Case | None:
        block, report = self._block, self._report
        report.check_keys(block, grammar.TEST.names, grammar.TEST.title)
        name = read_word(block.get("name"), report, "name")
        if not name:
            report.error(block, "the test has no name", "test", "add name: what it shows")
        then = read_block(block.get("then"), report, "then")
        if then is None:
            report.error(block, "the test expects nothing", "test", "add then: {fires: [a-rule]}")
            return None
        report.check_keys(then, grammar.THEN.names, grammar.THEN.title)
        if not then.entries:
            report.error(then, "the test expects nothing", "test", "add then: {fires: [a-rule]}")
        return self.described(name, then)

    def described(self, name: str, then: Block) -> Case:
        """The customer and the event, with what is expected."""
        block, report = self._block, self._report
        given = read_block(block.get("given"), report, "given") or Block(block.line, block.column, ())
        report.check_keys(given, grammar.GIVEN.names, grammar.GIVEN.title)
        step = self._step(block.get("when"))
        event_type, event, ask = self._event(block.get("when"))
        consents = self._consents(given.get("consents"))
        return Case(
            name=name,
            line=block.line,
            traits=self._traits(given.get("profile")),
            things=self._things(given.get("context")),
            windows=self._windows(given.get("windows")),
            facts=self._facts(given.get("facts")),
            withheld=self._withheld(given.get("withheld")) | _refused(consents),
            consents=consents,
            history=self._history(given.get("history")),
            arm=self._arm(given.get("arm")),
            event_type=event_type,
            event=event,
            ask=ask,
            then_fires=self._names(then.get("fires"), "fires"),
            then_facts=self._fact_names(then.get("facts")),
            then_wins=self._names(then.get("wins"), "wins"),
            then_refused=self._refusals(then.get("refused")),
            step=step,
            household=self._household(given.get("household")),
        )

    def _step(self, node: Node | None) -> str:
        """Where the customer stands in the journey, if the test says so: at a wait or an await."""
        stops = self._scope.stops
        written = node.get("step") if stops is not None and isinstance(node, Block) else None
        step = read_word(written, self._report, "step")
        if stops is None or not step:
            return ""
        if step not in stops:
            suggestion = did_you_mean(step, stops) or "customers stand at " + ", ".join(stops)
            message = f"no customer stands at `{step}`: only at a wait or an await"
            self._report.error(written, message, "test", suggestion)
            return ""
        event_type = node.get("type") if isinstance(node, Block) else None
        if isinstance(event_type, Scalar) and event_type.text not in stops[step]:
            message = f"`{step}` does not await {event_type.text}"
            self._report.error(written, message, "test", "leave out the type, or the step")
        return step

    def _in_journey(self, block: Block) -> tuple[str, Mapping[str, Any], Mapping[str, Any]]:
        """The start event; where a step is named, it is this step's time that has come."""
        start = self._scope.triggers[0]
        fields = self._fields(start.name, start.fields, block, ("step",))
        return (start.name if block.get("step") is None else JOURNEY_DUE), fields, {}

    def _event(self, node: Node | None) -> tuple[str, Mapping[str, Any], Mapping[str, Any]]:
        """The event's type and fields, and the question's parameters; one of the two has any."""
        block = read_block(node, self._report, "when") or Block(self._block.line, self._block.column, ())
        scope = self._scope
        if scope.called_by:
            return self._occasion(block)
        if scope.stops is not None and scope.triggers and block.get("type") is None:
            return self._in_journey(block)
        if block.get("ask") is not None or (scope.questions and block.get("type") is None):
            return self._question(block)
        triggers = {event.name: event for event in scope.triggers}
        written = block.get("type")
        name = read_word(written, self._report, "type")
        if scope.any_event:
            triggers = dict(scope.catalogue.events)
        if not triggers:
            return "", {}, {}  # which is said where the triggers are read
        if not name and len(triggers) > 1:
            what = (
                "a shared rule set runs on every event" if scope.any_event else "there are several triggers"
            )
            self._report.error(
                block, f"{what}: the test must say the type", "test", "add type: TYPE to `when`"
            )
            return "", {}, {}
        event = triggers.get(name) if name else next(iter(triggers.values()))
        if event is None:
            suggestion = suggest(name, triggers)
            self._report.error(written, f"`{name}` does not trigger this rule set", "test", suggestion)
            return "", {}, {}
        skip = ("type",) if scope.stops is None else ("type", "step")
        return event.name, self._fields(event.name, event.fields, block, skip), {}

    def _occasion(self, block: Block) -> tuple[str, Mapping[str, Any], Mapping[str, Any]]:
        if self._scope.triggers:
            event = self._scope.triggers[0]
            return TRIGGER_DUE, self._fields(event.name, event.fields, block, ()), {}
        for key, _ in block:
            self._report.error(
                key,
                f"{self._scope.called_by} calls for this rule set; there is no event with `{key.text}`",
                "test",
                "leave `when` out; what is known of the customer stands under `given`",
            )
        return TRIGGER_DUE, {}, {}

    def _question(self, block: Block) -> tuple[str, Mapping[str, Any], Mapping[str, Any]]:
        known = {question.name: question for question in self._scope.questions}
        written = block.get("ask")
        name = read_word(written, self._report, "ask")
        alone = len(known) == 1 and not self._scope.triggers
        if not name and not alone:
            self._report.error(
                block,
                "the rule set has several triggers: the test must say which",
                "test",
                "add type: TYPE or ask: QUESTION to `when`",
            )
            return "", {}, {}
        question = known.get(name) if name else next(iter(known.values()))
        if question is None:
            suggestion = did_you_mean(name, known) or (
                "questions are " + ", ".join(known) if known else "add {ask: …} to `trigger`"
            )
            self._report.error(written, f"`{name}` is no question of this rule set", "test", suggestion)
            return "", {}, {}
        parameters = self._fields(question.name, question.parameters, block, ("ask",), "parameter")
        return f"{ASK}{question.name}", {}, parameters

    def _fields(
        self,
        name: str,
        known: Mapping[str, Field],
        block: Block,
        skip: tuple[str, ...],
        what: str = "field",
    ) -> dict[str, Any]:
        fields: dict[str, Any] = {}
        for key, value in block:
            if key.text in skip:
                continue
            field = known.get(key.text)
            if field is None:
                suggestion = suggest(key.text, known, f"leave it out: {name} has no {what}s")
                self._report.error(key, f"{name} has no {what} `{key.text}`", "unknown-field", suggestion)
                continue
            kind = kind_of(field.type)
            read = self._value(value, kind, field.check, f"{name}.{key.text}")
            if read is not None:
                fields[key.text] = read
        for field_name, field in known.items():
            if field.default is not None:
                fields.setdefault(field_name, field.default)
        return fields

    def _value(self, node: Node, kind: Kind | None, check: Check, what: str) -> Any:
        written = plain(node)
        try:
            if kind is Kind.MONEY and isinstance(node, Scalar):
                currency = self._scope.catalogue.currency
                return Money(read_literal(node.text, Kind.MONEY, None, currency), currency)
            if kind is Kind.TEXT and isinstance(node, Scalar) and written is not None:
                return check(node.text)
            return None if written is None else check(written)
        except ValueMistake as mistake:
            self._report.error(node, f"{what} {mistake.message}", "unlike-types", mistake.suggestion)
            return None

    def _traits(self, node: Node | None) -> dict[str, Any]:
        traits: dict[str, Any] = {}
        for key, value in read_block(node, self._report, "profile") or ():
            trait = self._scope.catalogue.traits.get(key.text)
            if trait is not None and trait.household:
                message = f"`{key.text}` belongs to the household, not to the person"
                self._report.error(
                    key, message, "unknown-trait", f"write household: {{{key.text}: …}} beside `profile`"
                )
                continue
            if trait is None:
                suggestion = suggest(key.text, self._scope.catalogue.traits)
                if key.text == CONSENTS:
                    suggestion = "write consents: {marketing: granted} beside `profile`"
                self._report.error(
                    key, f"the catalogue has no trait `{key.text}`", "unknown-trait", suggestion
                )
                continue
            read = self._value(value, kind_of(trait.type), trait.check, key.text)
            if read is not None:
                traits[key.text] = read
        return traits

    def _household(self, node: Node | None) -> dict[str, Any]:
        found: dict[str, Any] = {}
        for key, value in read_block(node, self._report, "household") or ():
            try:
                named = self._scope.name(f"household.{key.text}")
            except LineError as error:
                self._report.error(key, error.message, error.check, error.suggestion)
                continue
            assert named.check is not None
            read = self._value(value, named.expression.kind, named.check, key.text)
            if read is not None:
                found[key.text] = read
        return found

    def _things(self, node: Node | None) -> dict[str, dict[str, Any]]:
        from services.vocabulary.values import value_check

        things: dict[str, dict[str, Any]] = {}
        for key, value in read_block(node, self._report, "context") or ():
            thing = self._scope.catalogue.things.get(key.text)
            if thing is None:
                suggestion = suggest(key.text, self._scope.catalogue.things)
                self._report.error(
                    key, f"the catalogue has no thing `{key.text}`", "unknown-thing", suggestion
                )
                continue
            things[key.text] = {}
            for name, written in read_block(value, self._report, key.text) or ():
                value_type = thing.attributes.get(name.text)
                if value_type is None:
                    suggestion = suggest(name.text, thing.attributes)
                    message = f"a {key.text} has no attribute `{name.text}`"
                    self._report.error(name, message, "unknown-thing", suggestion)
                    continue
                read = self._value(written, kind_of(value_type), value_check(value_type), name.text)
                if read is not None:
                    things[key.text][name.text] = read
        return things

    def _windows(self, node: Node | None) -> dict[str, Any]:
        windows: dict[str, Any] = {}
        for key, value in read_block(node, self._report, "windows") or ():
            known = self._scope.windows
            if key.text not in known:
                suggestion = suggest(key.text, known, "add it under `windows`")
                self._report.error(key, f"there is no window `{key.text}`", "unknown-window", suggestion)
                continue
            window = known[key.text]
            if window is not None:
                windows[key.text] = self._window_value(value, window, self._scope.window_checks.get(key.text))
        return windows

    def _window_value(self, node: Node, window: Window, check: Check | None) -> Any:
        text = node.text if isinstance(node, Scalar) else ""
        try:
            value = read_literal(text, window.kind, check, self._scope.catalogue.currency)
        except ValueMistake as mistake:
            message = f"`{text}` {mistake.message}; the window is {IN_WORDS[window.kind]}"
            self._report.error(node, message, "unlike-types", mistake.suggestion)
            return None
        return Decimal(value) if window.kind is Kind.MONEY else value

    def _facts(self, node: Node | None) -> tuple[str, ...]:
        keys: list[str] = []
        for word in read_words(node, self._report, "facts") if _not_empty(node) else ():
            name = word.text
            if name in self._scope.local_facts and not self._scope.shared:
                keys.append(f"{self._scope.rule_set}/{name}")
            elif name in self._scope.local_facts or name in self._scope.shared_facts:
                keys.append(name)
            else:
                known = {*self._scope.local_facts, *self._scope.shared_facts}
                suggestion = suggest(name, sorted(known), "add it under `infer`")
                self._report.error(word, f"nobody infers the fact `{name}`", "unknown-fact", suggestion)
        return tuple(keys)

    def _fact_names(self, node: Node | None) -> tuple[str, ...] | None:
        return None if node is None else self._facts(node)

    def _withheld(self, node: Node | None) -> frozenset[Purpose]:
        purposes: set[Purpose] = set()
        names = {purpose.value.removeprefix("profiling_"): purpose for purpose in Purpose}
        names |= {purpose.value: purpose for purpose in Purpose}
        for word in read_words(node, self._report, "withheld") if _not_empty(node) else ():
            purpose = names.get(word.text)
            if purpose is None:
                suggestion = suggest(word.text, names)
                self._report.error(word, f"there is no purpose `{word.text}`", "test", suggestion)
            else:
                purposes.add(purpose)
        return frozenset(purposes)

    def _consents(self, node: Node | None) -> dict[Purpose, ConsentState]:
        consents: dict[Purpose, ConsentState] = {}
        purposes = {purpose.value: purpose for purpose in Purpose}
        for key, value in read_block(node, self._report, "consents") or ():
            state = choose(value, self._report, key.text, grammar.CONSENT_STATES)
            if key.text not in purposes:
                suggestion = suggest(key.text, purposes)
                self._report.error(key, f"there is no purpose `{key.text}`", "test", suggestion)
            elif state:
                consents[purposes[key.text]] = ConsentState(state)
        return consents

    def _history(self, node: Node | None) -> tuple[tuple[str, int, Mapping[str, Any]], ...]:
        events: list[tuple[str, int, Mapping[str, Any]]] = []
        for item in read_items(node, self._report, "history"):
            block = read_block(item, self._report, "an event of the history")
            if block is None:
                continue
            name = read_word(block.get("type"), self._report, "type")
            ago = read_duration(block.get("ago"), self._report, "ago")
            event = self._scope.catalogue.events.get(name)
            if event is None:
                suggestion = did_you_mean(name, self._scope.catalogue.events)
                message = f"the catalogue has no event type `{name}`"
                self._report.error(block.get("type") or block, message, "unknown-event", suggestion)
                continue
            if ago is None:
                if block.get("ago") is None:
                    self._report.error(block, "the event has no `ago`", "test", "add ago: 35d")
                continue
            events.append((name, ago, self._fields(name, event.fields, block, ("type", "ago"))))
        return tuple(events)

    def _arm(self, node: Node | None) -> str:
        arm = read_word(node, self._report, "arm")
        if arm and arm not in (self._scope.arms or ()):
            suggestion = suggest(arm, self._scope.arms or (), "add `experiment` with `arms`")
            message = (
                f"the experiment has no arm `{arm}`"
                if self._scope.arms
                else "there is no experiment with arms"
            )
            self._report.error(node, message, "unknown-arm", suggestion)
        return arm

    def _names(self, node: Node | None, what: str) -> tuple[str, ...] | None:
        if node is None:
            return None
        words = read_words(node, self._report, what) if _not_empty(node) else ()
        for word in words:
            if self._rules and word.text not in self._rules:
                suggestion = suggest(word.text, self._rules)
                self._report.error(word, f"there is no rule `{word.text}`", "unknown-rule", suggestion)
        return tuple(word.text for word in words)

    def _refusals(self, node: Node | None) -> Mapping[str, RefusalReason] | None:
        if node is None:
            return None
        found: dict[str, RefusalReason] = {}
        for key, value in read_block(node, self._report, "refused") or ():
            reason = choose(value, self._report, key.text, grammar.REASONS)
            if key.text not in self._rules:
                suggestion = suggest(key.text, self._rules, "add the rule")
                self._report.error(key, f"there is no rule `{key.text}`", "unknown-rule", suggestion)
            elif reason:
                found[key.text] = RefusalReason(reason)
        return found


def _not_empty(node: Node | None) -> bool:
    return node is not None and not (isinstance(node, Listing) and not node.items)


def _refused(consents: Mapping[Purpose, ConsentState]) -> frozenset[Purpose]:
    return frozenset(purpose for purpose, state in consents.items() if state is not ConsentState.GRANTED)
