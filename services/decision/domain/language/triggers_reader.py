"""Reads what calls for a rule set: events, questions, or an occasion that the system notices."""

from collections.abc import Collection
from dataclasses import dataclass, replace

from services.decision.domain.language import grammar
from services.decision.domain.language.conditions import read_conditions
from services.decision.domain.language.journey_reader import journey_events
from services.decision.domain.language.nodes import Block, Listing, Node
from services.decision.domain.language.reading import read_duration, read_word
from services.decision.domain.language.report import Report
from services.decision.domain.language.schedule_reader import read_schedule
from services.decision.domain.language.scope import Scope
from services.decision.domain.problems import did_you_mean, one_of
from services.decision.domain.triggers import (
    ASK,
    CALLED_BACK,
    NO_AUDIENCE,
    TRIGGER_DUE,
    Absence,
    Occasion,
    OpenPair,
    Schedule,
    ThingEvent,
    due_key,
)
from services.vocabulary.catalogue import CYCLE_DAYS, Catalogue, EventType, Question
from services.vocabulary.values import DAY, format_duration

_KEYS = {form: block.names for form, block in grammar.TRIGGERS.items()}
_FORMS = "{nothing: …, for: …}, {every: …, audience: […]}, {thing: …, audience: […]} or {ask: …}"
_LONGEST_SILENCE = 13 * CYCLE_DAYS * DAY


@dataclass(frozen=True, slots=True)
class Triggers:
    """`events`: whose fields `event.…` means; `questions`: whose parameters `ask.…` means.

    `keys`: by which events find the rule set. `called_by`: what calls for it instead of an event, in words.
    `occasion`: as written, its audience not yet read (see `read_audience`).
    """

    events: tuple[EventType, ...] = ()
    questions: tuple[Question, ...] = ()
    keys: tuple[str, ...] = ()
    called_by: str = ""
    occasion: Occasion | None = None


def read_triggers(
    root: Block, rule_set: str, catalogue: Catalogue, report: Report, *, shared: bool
) -> Triggers:
    """What stands under `trigger`, audiences aside."""
    node = root.get("trigger")
    if shared:
        if node is not None:
            report.error(node, "a shared rule set runs before all others", "trigger", "remove `trigger`")
        return Triggers()
    if root.get("journey") is not None:
        if node is not None:
            report.error(node, "a journey is begun by its `start`", "trigger", "remove `trigger`")
        events, keys = journey_events(root, rule_set, catalogue)
        return Triggers(events=events, keys=keys)
    if node is None:
        report.error(root, "the rule set has no trigger", "trigger", "add trigger: EVENT_TYPE")
        return Triggers()
    return _TriggerReader(rule_set, catalogue, report).read(node)


def read_audience(
    node: Node | None, occasion: Occasion | None, scope: Scope, report: Report
) -> Occasion | None:
    """The occasion with its audience, if it has one."""
    if not isinstance(occasion, Schedule | ThingEvent) or not isinstance(node, Block):
        return occasion
    written = node.get("audience")
    if written is None:
        report.error(
            node,
            "the trigger does not say who is meant",
            "trigger",
            "add audience: [profile.plan is m-20gb], or audience: [] for everyone",
        )
        return occasion
    return replace(occasion, audience=read_conditions(written, scope.inside_audience(), report, "audience"))


class _TriggerReader:
    """Reads one `trigger`."""

    def __init__(self, rule_set: str, catalogue: Catalogue, report: Report) -> None:
        self._rule_set = rule_set
        self._catalogue = catalogue
        self._report = report

    def read(self, node: Node) -> Triggers:
        if isinstance(node, Block):
            return self._form(node)
        return self._several(node.items if isinstance(node, Listing) else (node,), node)

    # --- events and questions ----------------------------------------------------------------------------

    def _several(self, items: tuple[Node, ...], node: Node) -> Triggers:
        if not items:
            self._report.error(node, "the rule set has no trigger", "trigger", "name an event type")
        events: list[EventType] = []
        questions: list[Question] = []
        keys: list[str] = []
        for item in items:
            found = self._question_in(item) if isinstance(item, Block) else self._event(item)
            if found is None:
                continue
            key = found.name if isinstance(found, EventType) else f"{ASK}{found.name}"
            if key in keys:
                self._report.error(item, f"the trigger {found.name} stands twice", "trigger", "keep one")
                continue
            keys.append(key)
            if isinstance(found, EventType):
                events.append(found)
            else:
                questions.append(found)
        return Triggers(tuple(events), tuple(questions), tuple(keys))

    def _question_in(self, block: Block) -> Question | None:
        forms = [key.text for key, _ in block if key.text in _KEYS]
        if forms and forms != ["ask"]:
            self._report.error(
                block,
                f"`{forms[0]}` cannot stand in a list of triggers",
                "trigger",
                "a list names event types and questions; give this trigger a rule set of its own",
            )
            return None
        self._check_keys(block, "ask", "in a list of triggers, a block has")
        return self._question(block.get("ask")) if forms else None

    def _question(self, node: Node | None) -> Question | None:
        name = read_word(node, self._report, "ask")
        found = self._catalogue.questions.get(name)
        if found is None and name:
            known = self._catalogue.questions
            suggestion = did_you_mean(name, known) or (
                one_of(known) if known else "questions.yaml describes them"
            )
            self._report.error(
                node, f"the catalogue has no question `{name}`", "unknown-question", suggestion
            )
        return found

    def _event(self, node: Node | None, *, what: str = "trigger") -> EventType | None:
        """A type of what happens to customers."""
        event = self._type(node, what)
        if event is None:
            return None
        if event.thing:
            self._report.error(
                node,
                f"{event.name} happens to a {event.thing}, not to a customer",
                "trigger",
                f"write trigger: {{thing: {event.name}, "
                f"audience: [profile.last_{event.thing} is event.{event.thing}]}}"
                if what == "trigger"
                else "name an event of a customer",
            )
            return None
        return event

    def _type(self, node: Node | None, what: str) -> EventType | None:
        name = read_word(node, self._report, what)
        event = self._catalogue.events.get(name)
        if event is None:
            if name in self._catalogue.questions:
                self._report.error(node, f"`{name}` is a question", "trigger", f"write {{ask: {name}}}")
            elif name:
                suggestion = (
                    did_you_mean(name, self._catalogue.events) or "the reference lists the event types"
                )
                self._report.error(
                    node, f"the catalogue has no event type `{name}`", "unknown-event", suggestion
                )
            return None
        if name in CALLED_BACK:
            self._report.error(
                node,
                f"{name} is how Rapport reminds itself",
                "trigger",
                f"for what happens without an event write {_FORMS}",
            )
            return None
        return event

    # --- the other forms ---------------------------------------------------------------------------------

    def _form(self, block: Block) -> Triggers:
        forms = [key.text for key, _ in block if key.text in _KEYS]
        if len(forms) > 1:
            self._report.error(
                block,
                f"a trigger has one form; here stand {' and '.join(f'`{form}`' for form in forms)}",
                "trigger",
                "make a rule set of each",
            )
            return Triggers()
        if not forms:
            keys = [key.text for key, _ in block]
            close = next((near for key in keys if (near := did_you_mean(key, _KEYS))), "")
            self._report.error(
                block.entries[0][0] if block.entries else block,
                "this is no trigger",
                "trigger",
                close or f"write an event type, {_FORMS}",
            )
            return Triggers()
        form = forms[0]
        self._check_keys(block, form, f"a trigger with `{form}` has")
        match form:
            case "nothing":
                return self._pair(block) if block.get("after") is not None else self._absence(block)
            case "every":
                return self._schedule(block)
            case "thing":
                return self._thing(block)
            case _:
                question = self._question(block.get("ask"))
                return Triggers((), (question,), (f"{ASK}{question.name}",)) if question else Triggers()

    def _check_keys(self, block: Block, form: str, what: str) -> None:
        allowed = _KEYS[form]
        for key, _ in block:
            if key.text not in allowed:
                suggestion = did_you_mean(key.text, allowed) or f"{what} " + ", ".join(allowed)
                self._report.error(key, f"a trigger has no key `{key.text}` here", "unknown-key", suggestion)

    def _called(self, event: EventType | None, called_by: str, occasion: Occasion | None) -> Triggers:
        return Triggers(
            events=(event,) if event is not None else (),
            keys=(due_key(TRIGGER_DUE, self._rule_set),),
            called_by=called_by,
            occasion=occasion,
        )

    def _time(self, block: Block, example: str) -> int | None:
        if block.get("for") is None:
            self._report.error(
                block, "the trigger does not say for how long nothing happened", "trigger", example
            )
        return read_duration(block.get("for"), self._report, "for")

    def _absence(self, block: Block) -> Triggers:
        event = self._event(block.get("nothing"), what="nothing")
        length = self._time(block, "add for: 30d")
        if block.get("by") is not None:
            self._report.error(
                block.get("by"),
                "`by` joins two events, and only one is named",
                "trigger",
                "add after: EVENT_TYPE, or leave `by` out",
            )
        if length is not None and length < DAY:
            self._report.error(
                block.get("for"),
                "an absence is looked for once a day",
                "trigger",
                "write 1d or more; for less, name what began it: after: EVENT_TYPE, by: FIELD",
            )
        if length is not None and length > _LONGEST_SILENCE:
            self._report.error(
                block.get("for"),
                "nobody who is silent for more than 13 cycles is looked for",
                "never-fires",
                f"write {_LONGEST_SILENCE // DAY}d or less",
            )
        since = self._catalogue.events[TRIGGER_DUE].fields["since"]
        called = replace(self._catalogue.events[TRIGGER_DUE], name="an absence", fields={"since": since})
        if event is None or length is None:
            return self._called(called, "an absence", None)
        # since when nothing happened says as much of the customer as the event would
        called = replace(called, purpose=event.purpose)
        return self._called(called, "an absence", Absence(event.name, length))

    def _pair(self, block: Block) -> Triggers:
        nothing = self._event(block.get("nothing"), what="nothing")
        after = self._event(block.get("after"), what="after")
        length = self._time(block, "add for: 72h")
        by = self._by(block, nothing, after)
        if nothing is not None and length is not None and length > nothing.keep.each_micros:
            self._report.error(
                block.get("for"),
                f"{nothing.name} is kept for {format_duration(nothing.keep.each_micros)} only",
                "window-too-long",
                "write a shorter time, or keep it longer in events.yaml",
            )
        if nothing is None or after is None or length is None or not by:
            return self._called(after, "a pair that stays open", None)
        return self._called(after, "a pair that stays open", OpenPair(nothing.name, after.name, by, length))

    def _by(self, block: Block, nothing: EventType | None, after: EventType | None) -> str:
        node = block.get("by")
        both: list[str] = []
        if nothing is not None and after is not None:
            both = [
                name
                for name, field in nothing.fields.items()
                if name in nothing.keep.fields
                and name in after.fields
                and after.fields[name].type is field.type
            ]
        if node is None:
            self._report.error(
                block,
                "the trigger does not say which two events belong together",
                "trigger",
                f"add by: {both[0]}" if both else "add by: a field that both have",
            )
            return ""
        by = read_word(node, self._report, "by")
        if not by or nothing is None or after is None or by in both:
            return by
        for event in (nothing, after):
            if by not in event.fields:
                suggestion = did_you_mean(by, both) or _both(both)
                self._report.error(node, f"{event.name} has no field `{by}`", "unknown-field", suggestion)
                return ""
        if by not in nothing.keep.fields:
            message = f"the activity does not keep {nothing.name}.{by}"
            self._report.error(node, message, "field-not-kept", _both(both))
        else:
            self._report.error(node, f"`{by}` is of two types in the two events", "unlike-types", _both(both))
        return ""

    def _schedule(self, block: Block) -> Triggers:
        schedule = read_schedule(block.get("every"), block.get("zone"), self._report)
        return self._called(None, "a schedule", schedule)

    def _thing(self, block: Block) -> Triggers:
        node = block.get("thing")
        event = self._type(node, "thing")
        if event is not None and not event.thing:
            self._report.error(
                node, f"{event.name} happens to a customer", "trigger", f"write trigger: {event.name}"
            )
            event = None
        if event is None:
            return Triggers(keys=(due_key(TRIGGER_DUE, self._rule_set),), called_by="an event of a thing")
        occasion = ThingEvent(event.name, NO_AUDIENCE)
        return Triggers((event,), (), (due_key(TRIGGER_DUE, self._rule_set),), "", occasion)


def _both(names: Collection[str]) -> str:
    return "both have " + ", ".join(names) if names else "choose two events that share a field"
