"""Reads what a rule does, and checks it against offers, templates and the rules of its category."""

from collections.abc import Mapping
from dataclasses import dataclass, replace

from services.decision.domain.amounts import Amount
from services.decision.domain.language import grammar
from services.decision.domain.language.amounts_reader import read_amount
from services.decision.domain.language.ast import All, Literal, Text
from services.decision.domain.language.conditions import read_conditions
from services.decision.domain.language.nodes import Block, Listing, Node, Scalar, plain
from services.decision.domain.language.reading import (
    choose,
    read_block,
    read_duration,
    read_text,
    read_word,
)
from services.decision.domain.language.report import Report
from services.decision.domain.language.rule_parts import read_happened
from services.decision.domain.language.scope import Scope
from services.decision.domain.language.templates_check import check_template
from services.decision.domain.language.types import IN_WORDS, Kind, comparable, kind_of
from services.decision.domain.problems import did_you_mean, suggest
from services.decision.domain.program import ActionSpec, ArmVariant, ChannelChoice
from services.vocabulary.catalogue import EventType, Trait
from services.vocabulary.values import ValueMistake, parse_duration
from services.vocabulary.words import PREFERRED, ActionKind, Category, Channel

_KINDS = tuple(kind.value for kind in grammar.ACTION_KINDS)


@dataclass(frozen=True, slots=True)
class ReadAction:
    """An action with the place of its `once`, which belongs to the rule."""

    spec: ActionSpec
    once: Node | None


def read_actions(node: Node | None, scope: Scope, report: Report, rule: Node) -> tuple[ReadAction, ...]:
    """What stands under `do`: one action or a list."""
    if node is None:
        report.error(rule, "the rule does nothing", "action", "add `do`")
        return ()
    items = node.items if isinstance(node, Listing) else (node,)
    if not items:
        report.error(node, "the rule does nothing", "action", "add an action under `do`")
    read = [_read_action(item, position, scope, report) for position, item in enumerate(items)]
    return tuple(action for action in read if action is not None)


def _read_action(node: Node, position: int, scope: Scope, report: Report) -> ReadAction | None:
    if not isinstance(node, Block):
        report.error(
            node, "this is not an action", "action", "write it as {message: NAME, category: service}"
        )
        return None
    kinds = [key for key, _ in node if key.text in _KINDS]
    if len(kinds) != 1:
        words = [key.text for key, _ in node]
        near = next((found for found in (did_you_mean(word, _KINDS) for word in words) if found), "")
        if kinds:
            message = f"an action does one thing; here stand {' and '.join(f'`{key.text}`' for key in kinds)}"
            report.error(kinds[1], message, "action", "write an action of its own for each, after a dash")
        else:
            near = near or f"add one of {', '.join(_KINDS)}"
            report.error(node, "the action does not say what to do", "action", near)
        return None
    kind = ActionKind(kinds[0].text)
    report.check_keys(node, grammar.ACTIONS[kind].names, grammar.ACTIONS[kind].title)
    return _ActionReader(node, kind, position, scope, report).read()


class _ActionReader:
    """Reads one action of a known kind."""

    def __init__(self, node: Block, kind: ActionKind, position: int, scope: Scope, report: Report) -> None:
        self._node = node
        self._kind = kind
        self._position = position
        self._scope = scope
        self._report = report

    def read(self) -> ReadAction | None:
        main = self._node.get(self._kind.value)
        assert main is not None
        match self._kind:
            case ActionKind.SAY:
                return self._done(self._say(main))
            case ActionKind.AVOID:
                return self._done(self._avoid(main))
            case ActionKind.SET:
                return self._done(self._set(main))
            case ActionKind.EMIT:
                return self._done(self._emit(main))
            case _:
                return self._dispatched(main)

    def _done(self, spec: ActionSpec | None) -> ReadAction | None:
        return None if spec is None else ReadAction(spec, None)

    def _dispatched(self, main: Node) -> ReadAction | None:
        name = read_word(main, self._report, self._kind.value)
        get = self._node.get
        spec = ActionSpec(
            position=self._position,
            kind=self._kind,
            name=name,
            category=self._category(),
            topic=self._topic(),
            parameters=self._parameters(get("with")),
            template=read_word(get("template"), self._report, "template"),
            channels=self._channels(get("channels")),
            value=self._amount("value", -1e9, 1e9),
            cost=self._amount("cost", 0, 1e9),
            propensity=self._amount("propensity", 0, 1),
            expires_micros=read_duration(get("expires"), self._report, "expires"),
            due_micros=read_duration(get("due"), self._report, "due"),
            after_micros=read_duration(get("after"), self._report, "after"),
            unless=self._unless(get("unless")),
            keep=self._keep(get("keep")),
            arms=self._arms(get("arms")),
            to_payer=choose(get("to"), self._report, "to", grammar.RECEIVERS) == "payer",
        )
        self._check(spec)
        if not name:
            return None
        topic = check_template(self._node, spec, self._scope.catalogue, self._report)
        if not spec.topic and topic:
            spec = replace(spec, topic=topic)
        return ReadAction(spec, get("once"))

    def _check(self, spec: ActionSpec) -> None:
        if spec.category is Category.SALES and spec.expires_micros is None and not self._node.get("expires"):
            self._report.error(
                self._node, "a sales action must expire", "sales-without-expiry", "add expires: 72h"
            )
        if spec.due_micros is not None and spec.kind is not ActionKind.TASK:
            self._report.error(
                self._node.get("due"),
                "only a task has a time by which it is due",
                "action",
                "write `expires`",
            )
        if (spec.unless or spec.keep) and spec.after_micros is None and not self._node.get("after"):
            self._report.error(
                self._node.get("unless") or self._node.get("keep"),
                "`unless` and `keep` are asked when a planned action is due, and this one is not planned",
                "action",
                "add after: 48h, or move the condition to `when`",
            )
        waits = spec.after_micros is not None and spec.expires_micros is not None
        if waits and (spec.after_micros or 0) >= (spec.expires_micros or 0):
            self._report.error(
                self._node.get("expires"),
                "it expires before `after` has passed; both count from the event",
                "never-fires",
                "let it expire later, or shorten `after`",
            )

    def _amount(self, what: str, least: float, most: float) -> Amount | None:
        money = what != "propensity"
        return read_amount(self._node.get(what), self._scope, self._report, what, (least, most), money=money)

    def _category(self) -> Category | None:
        known = grammar.CATEGORIES
        node = self._node.get("category")
        if node is None:
            self._report.error(
                self._node, "the action has no category", "missing-category", "add one of " + ", ".join(known)
            )
            return None
        word = choose(node, self._report, "category", known)
        return Category(word) if word else None

    def _topic(self) -> str:
        node = self._node.get("topic")
        topic = read_word(node, self._report, "topic")
        topics = self._scope.catalogue.topics
        if topic and topic not in topics:
            suggestion = suggest(topic, topics)
            self._report.error(node, f"the catalogue has no topic `{topic}`", "unknown-topic", suggestion)
        return topic

    def _parameters(self, node: Node | None) -> dict[str, Text]:
        block = read_block(node, self._report, "with")
        found: dict[str, Text] = {}
        for key, value in block or ():
            text = self._parameter(value, key.text)
            if text is not None:
                found[key.text] = text
        return found

    def _parameter(self, node: Node, name: str) -> Text | None:
        if isinstance(node, Block):
            self._report.error(
                node,
                f"`{name}` cannot be a block",
                "value",
                'write a text, with {…} in quotes: "{profile.plan}"',
            )
            return None
        if isinstance(node, Listing):
            items = plain(node)
            if isinstance(items, list) and all(isinstance(item, str) for item in items):
                return Text((Literal(tuple(items), Kind.LIST, name),), name)
            self._report.error(node, f"`{name}` must be a list of texts", "value", 'write ["one", "two"]')
            return None
        if isinstance(node.value, str):
            return read_text(node, self._scope, self._report, name)
        if node.value is None:
            self._report.error(
                node, f"`{name}` has no value", "value", f"write a value, or leave `{name}` out"
            )
            return None
        kinds = {bool: Kind.BOOL, int: Kind.INT, float: Kind.NUMBER}
        return Text((Literal(node.value, kinds[type(node.value)], node.text),), node.text)

    def _channels(self, node: Node | None) -> tuple[ChannelChoice, ...]:
        if node is None:
            return ()
        items = node.items if isinstance(node, Listing) else (node,)
        choices: list[ChannelChoice] = []
        known = grammar.CHANNELS
        for item in items:
            word, *rest = (item.text if isinstance(item, Scalar) else "").split() or [""]
            wait = 0
            if len(rest) == 2 and rest[0] == "after":
                try:
                    wait = parse_duration(rest[1])
                except ValueMistake as mistake:
                    self._report.error(item, f"`{rest[1]}` {mistake.message}", "value", mistake.suggestion)
            elif rest:
                self._report.error(
                    item,
                    "a channel is one word, and after it at most a wait",
                    "value",
                    "write sms, or sms after 2h",
                )
            if word not in known:
                suggestion = did_you_mean(word, known) or "write one of " + ", ".join(known)
                self._report.error(item, f"there is no channel `{word}`", "unknown-channel", suggestion)
                continue
            choice = ChannelChoice(None if word == PREFERRED else Channel(word), wait)
            if choice.channel in {each.channel for each in choices}:
                self._report.error(item, f"the channel `{word}` stands twice", "value", "keep one")
            choices.append(choice)
        return tuple(choices)

    def _unless(self, node: Node | None) -> tuple[str, ...]:
        return read_happened(
            node, self._scope.catalogue, self._report, "unless", "names events that must not happen", "unless"
        )

    def _keep(self, node: Node | None) -> All | None:
        if node is None:
            return None
        return read_conditions(node, self._scope.inside_keep(), self._report, "keep")

    def _arms(self, node: Node | None) -> dict[str, ArmVariant]:
        block = read_block(node, self._report, "arms")
        known = self._scope.arms
        if known is None:
            if block is not None:
                self._report.error(
                    block, "this rule set has no experiment", "unknown-arm", "add `experiment` with `arms`"
                )
            return {}
        found: dict[str, ArmVariant] = {}
        for key, value in block or ():
            if key.text not in known:
                suggestion = did_you_mean(key.text, known) or "add it to the experiment's arms"
                self._report.error(key, f"the experiment has no arm `{key.text}`", "unknown-arm", suggestion)
                continue
            variant = read_block(value, self._report, key.text)
            if variant is None:
                found[key.text] = ArmVariant()
                continue
            self._report.check_keys(variant, grammar.ARM.names, grammar.ARM.title)
            template = read_word(variant.get("template"), self._report, "template")
            found[key.text] = ArmVariant(template, self._parameters(variant.get("with")))
        return found

    # --- what is done at once ----------------------------------------------------------------------------

    def _say(self, main: Node) -> ActionSpec | None:
        text = read_text(main, self._scope, self._report, "say")
        category = self._category() if self._node.get("category") else None
        if text is None:
            return None
        return ActionSpec(self._position, self._kind, "", category, self._topic(), say=text)

    def _avoid(self, main: Node) -> ActionSpec | None:
        known = grammar.CATEGORIES
        items = main.items if isinstance(main, Listing) else (main,)
        words = [choose(item, self._report, "avoid", known) for item in items]
        avoid = tuple(Category(word) for word in words if word)
        if not items:
            self._report.error(main, "`avoid` names no category", "action", "write avoid: [sales]")
        return ActionSpec(self._position, self._kind, "", None, avoid=avoid) if avoid else None

    def _set(self, main: Node) -> ActionSpec | None:
        block = read_block(main, self._report, "set")
        if block is None:
            return None
        self._report.check_keys(block, grammar.SET.names, grammar.SET.title)
        name_node, to_node = block.get("trait"), block.get("to")
        name = read_word(name_node, self._report, "trait")
        trait = self._scope.catalogue.traits.get(name)
        if trait is None:
            suggestion = did_you_mean(name, self._scope.catalogue.traits) or "add it to traits.yaml"
            self._report.error(
                name_node or block, f"the catalogue has no trait `{name}`", "unknown-trait", suggestion
            )
            return None
        if to_node is None:
            self._report.error(block, "`set` does not say to what", "action", "add to: true")
            return None
        lasting = read_duration(block.get("for"), self._report, "for")
        written = plain(to_node)
        if isinstance(written, str) and "{" in written:
            text = self._computed(to_node, trait)
            if text is None:
                return None
            return ActionSpec(self._position, self._kind, name, None, to_text=text, for_micros=lasting)
        try:
            value = trait.check(written)
        except ValueMistake as mistake:
            self._report.error(to_node, f"{name} {mistake.message}", "unlike-types", mistake.suggestion)
            return None
        return ActionSpec(self._position, self._kind, name, None, to_value=value, for_micros=lasting)

    def _computed(self, node: Node, trait: Trait) -> Text | None:
        """A value of `set` with places in it: one place alone keeps its type, all else is a text."""
        text = read_text(node, self._scope, self._report, "to")
        if text is None:
            return None
        given, wanted = _kind_of_text(text), kind_of(trait.type)
        if wanted is None or not comparable(given, wanted) or (wanted is Kind.INT and given is Kind.NUMBER):
            self._report.error(
                node,
                f"{trait.name} is {trait.type}, not {given}",
                "unlike-types",
                "give a value of that type",
            )
            return None
        return text

    def _emit(self, main: Node) -> ActionSpec | None:
        name = read_word(main, self._report, "emit")
        event = self._scope.catalogue.events.get(name)
        if event is None or event.thing or event.own:
            ours = [
                each.name for each in self._scope.catalogue.events.values() if not (each.thing or each.own)
            ]
            message = f"the catalogue has no event type `{name}`"
            if event is not None:
                message = f"a rule cannot emit {name}: " + (
                    f"it is about a {event.thing}" if event.thing else "only Rapport itself sends it"
                )
            suggestion = (did_you_mean(name, ours) if event is None else "") or "name an event of a customer"
            self._report.error(main, message, "unknown-event", suggestion)
            return None
        parameters = self._parameters(self._node.get("with"))
        self._check_emitted(main, event, parameters)
        return ActionSpec(self._position, self._kind, name, None, parameters=parameters)

    def _check_emitted(self, main: Node, event: EventType, parameters: Mapping[str, Text]) -> None:
        for name, text in parameters.items():
            field = event.fields.get(name)
            if field is None:
                suggestion = did_you_mean(name, event.fields) or "it has " + ", ".join(event.fields)
                self._report.error(main, f"{event.name} has no field `{name}`", "unknown-field", suggestion)
                continue
            given, wanted = _kind_of_text(text), kind_of(field.type)
            if (
                wanted is None
                or not comparable(given, wanted)
                or (wanted is Kind.INT and given is Kind.NUMBER)
            ):
                meant = IN_WORDS[wanted] if wanted else "a map"
                message = f"{event.name}.{name} is {meant}; this is {IN_WORDS[given]}"
                self._report.error(main, message, "unlike-types", f"give {meant}")
        for name, field in event.fields.items():
            if field.required and name not in parameters and field.default is None:
                self._report.error(
                    main, f"{event.name} needs `{name}`", "missing-field", f"add with: {{{name}: …}}"
                )


def _kind_of_text(text: Text) -> Kind:
    first = text.parts[0]
    return Kind.TEXT if len(text.parts) != 1 or isinstance(first, str) else first.kind
