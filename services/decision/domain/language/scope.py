"""What the names in a condition mean at the place where it stands."""

from collections.abc import Collection, Mapping
from dataclasses import dataclass, field, replace

from services.decision.domain.language.ast import (
    AskField,
    EntryField,
    EventField,
    Expression,
    HouseholdValue,
    ThingAttribute,
    Trait,
    Window,
    WindowValue,
)
from services.decision.domain.language.lexer import LineError
from services.decision.domain.language.types import IN_WORDS, Check, Kind, kind_of
from services.decision.domain.problems import did_you_mean, suggest
from services.decision.domain.triggers import ASK
from services.vocabulary.catalogue import CONSENTS, HOUSEHOLD_COUNTS, Catalogue, EventType, Field, Question
from services.vocabulary.catalogue import Trait as KnownTrait
from services.vocabulary.values import ValueMistake, ValueType, value_check
from services.vocabulary.words import Purpose


@dataclass(frozen=True, slots=True)
class Named:
    """An expression a path stands for, and the check that literals compared with it must pass.

    `item`: the same for what a list may contain.
    """

    expression: Expression
    check: Check | None = None
    item: Check | None = None


@dataclass(frozen=True, slots=True)
class Scope:
    """Names known at one place. `windows`: None marks one that is itself wrong, so that it is reported once.

    `triggers`: the event types the rule set is triggered by; `any_event`: a shared set, run on every event.
    `entry`: inside `where`, the type whose entries are looked at. `event_known`: False inside `keep`, which
    is asked when the event has passed; `local_facts_known` likewise. `arms`: of the experiment, None without
    one. `questions`: those that call for the rule set. `called_by`: what does so instead of an event, such as
    "a schedule"; then `triggers` has whose fields are known, if any. `audience`: inside its conditions.
    `stops`: of a journey, its waits and awaits with the types awaited; its start is the first trigger.
    """

    catalogue: Catalogue
    rule_set: str
    triggers: tuple[EventType, ...] = ()
    any_event: bool = False
    windows: Mapping[str, Window | None] = field(default_factory=dict)
    window_checks: Mapping[str, Check | None] = field(default_factory=dict)
    local_facts: Collection[str] = ()
    shared_facts: Collection[str] = ()
    shared: bool = False
    experiment: str = ""
    arms: Collection[str] | None = None
    entry: EventType | None = None
    event_known: bool = True
    windows_known: bool = True
    facts_known: bool = True
    local_facts_known: bool = True
    questions: tuple[Question, ...] = ()
    called_by: str = ""
    audience: bool = False
    stops: Mapping[str, Collection[str]] | None = None

    def inside_where(self, entry: EventType) -> "Scope":
        """The scope of a window's `where`: the entry's fields by their bare names; no windows, no facts."""
        return replace(self, entry=entry, windows_known=False, facts_known=False)

    def inside_keep(self) -> "Scope":
        """The scope of `keep`: asked when due, when the event has passed."""
        return replace(self, event_known=False, local_facts_known=False)

    def inside_audience(self) -> "Scope":
        """The scope of an audience: traits and consents, and the fields of what happened to the thing."""
        return replace(self, audience=True, windows_known=False, facts_known=False)

    def name(self, path: str) -> Named:
        """What a path stands for; raises LineError with the nearest known name."""
        root, _, rest = path.partition(".")
        if self.audience and root not in {"profile", "event"}:
            raise LineError(
                f"an audience cannot ask for {root}.…",
                "audience",
                "ask for traits and consents here, for the rest in `when` of the rules",
            )
        match root:
            case "event":
                return self._event(path, rest)
            case "profile":
                return self._trait(path, rest)
            case "windows":
                return self._window(path, rest)
            case "context":
                return self._thing(path, rest)
            case "ask":
                return self._parameter(path, rest)
            case _:
                return self._household(path, rest)

    def nearest(self, word: str) -> str:
        """What to write instead of a word that is no path."""
        paths = [f"event.{name}" for event in self.triggers for name in event.fields]
        paths += [
            f"{'household' if trait.household else 'profile'}.{name}"
            for name, trait in self.catalogue.traits.items()
        ]
        paths += [f"household.{name}" for name in HOUSEHOLD_COUNTS]
        paths += [f"windows.{name}" for name in self.windows]
        meant = [path for path in dict.fromkeys(paths) if path.partition(".")[2] == word]
        return f"did you mean {' or '.join(meant[:2])}?" if meant else _ROOTS

    def entry_field(self, name: str) -> Named:
        """A field of the entry that `where` looks at."""
        assert self.entry is not None
        known = self.entry.fields.get(name)
        if known is None:
            raise LineError(
                f"{self.entry.name} has no field `{name}`",
                "unknown-field",
                did_you_mean(name, self.entry.fields) or _listed(self.entry.fields),
            )
        if name not in self.entry.keep.fields:
            raise LineError(
                f"the activity does not keep {self.entry.name}.{name}",
                "field-not-kept",
                f"use one that is kept: {', '.join(self.entry.keep.fields) or 'none is'}",
            )
        return Named(EntryField(name, _kind(known, name), name), known.check)

    def fact(self, name: str) -> str:
        """The key of a fact; raises LineError when nobody infers it."""
        if self.audience:
            raise LineError(
                "an audience cannot ask for facts", "audience", "ask for traits and consents; facts in `when`"
            )
        if not self.facts_known:
            raise LineError("a fact cannot be asked here", "fact", "ask for it under `when`")
        if name in self.local_facts and not self.shared:
            if not self.local_facts_known:
                raise LineError(
                    f"`keep` is asked when the event has passed; the fact `{name}` is not known then",
                    "keep",
                    "ask for traits, windows, context or facts of shared sets",
                )
            return f"{self.rule_set}/{name}"
        if name in self.shared_facts or name in self.local_facts:
            return name
        known = {*self.local_facts, *self.shared_facts}
        raise LineError(
            f"nobody infers the fact `{name}`",
            "unknown-fact",
            did_you_mean(name, known) or "add it under `infer`",
        )

    def _event(self, path: str, name: str) -> Named:
        if not self.event_known:
            raise LineError(
                "`keep` is asked when the event has passed; event.… is not known then",
                "keep",
                "ask for traits, windows or context",
            )
        if self.called_by and (name == "type" or not self.triggers):
            raise LineError(
                f"{self.called_by} calls for this rule set, not an event: {path} means nothing here",
                "unknown-field",
                "ask for traits, windows or context" if not self.triggers else "leave the condition out",
            )
        if not (self.triggers or self.questions or self.any_event):
            raise LineError("", "reported")  # that nothing calls for the rule set
        if name == "type":
            return Named(EventField("type", Kind.TEXT, path), self._check_type)
        if self.any_event:
            raise LineError(
                "a shared rule set runs on every event, so it can only ask for event.type",
                "unknown-field",
                "use a window, or infer the fact in the rule set of that event",
            )
        known = [event.fields[name] for event in self.triggers if name in event.fields]
        if not known:
            fields = {"type", *(field_name for event in self.triggers for field_name in event.fields)}
            if self.questions and not self.triggers:
                raise LineError(
                    f"a question calls for this rule set, not an event: {path} means nothing here",
                    "unknown-field",
                    f"its parameters are read as {ASK}{name}",
                )
            types = self.triggers[0].name if len(self.triggers) == 1 else "no trigger of this rule set"
            has = "has no field" if len(self.triggers) == 1 else "has a field"
            raise LineError(
                f"{types} {has} `{name}`",
                "unknown-field",
                did_you_mean(name, fields) or _listed(fields),
            )
        if any(name in event.direct for event in self.triggers):
            raise LineError(
                f"{path} identifies a person and is kept sealed; no condition may read it",
                "direct-trait",
                "ask for another field, a trait or a window",
            )
        kinds = {_kind(each, path) for each in known}
        if len(kinds) > 1:
            meant = " or ".join(sorted(IN_WORDS[kind] for kind in kinds))
            raise LineError(
                f"{path} is {meant}, depending on the event type",
                "unlike-types",
                "write one rule set for each type",
            )
        return Named(EventField(name, kinds.pop(), path), known[0].check)

    def _parameter(self, path: str, name: str) -> Named:
        if not self.event_known:
            raise LineError(
                "`keep` is asked when the question has passed; ask.… is not known then",
                "keep",
                "ask for traits, windows or context",
            )
        if not self.questions:
            raise LineError(
                f"no question calls for this rule set: {path} means nothing here",
                "unknown-field",
                "add a question to `trigger`, such as {ask: care-call}",
            )
        known = [each.parameters[name] for each in self.questions if name in each.parameters]
        if not known:
            names = {parameter for each in self.questions for parameter in each.parameters}
            raise LineError(
                f"{', '.join(each.name for each in self.questions)} has no parameter `{name}`",
                "unknown-field",
                did_you_mean(name, names) or _listed(names),
            )
        kinds = {_kind(each, path) for each in known}
        if len(kinds) > 1:
            meant = " or ".join(sorted(IN_WORDS[kind] for kind in kinds))
            raise LineError(
                f"{path} is {meant}, depending on the question",
                "unlike-types",
                "write one rule set for each question",
            )
        return Named(AskField(name, kinds.pop(), path), known[0].check)

    def _check_type(self, raw: object) -> str:
        types = {event.name for event in self.triggers}
        asked = {f"{ASK}{question.name}" for question in self.questions}
        if self.any_event:
            types = set(self.catalogue.events)
            asked = {f"{ASK}{name}" for name in self.catalogue.questions}
        if isinstance(raw, str) and raw in asked:
            return raw
        if isinstance(raw, str) and raw.removeprefix(ASK) in self.catalogue.questions:
            name = raw.removeprefix(ASK)
            raise ValueMistake(
                "is not among the triggers of this rule set", f"add {{ask: {name}}} to `trigger`"
            )
        if not isinstance(raw, str) or raw not in self.catalogue.events:
            raise ValueMistake(
                "is no event type of the catalogue", did_you_mean(str(raw), {*self.catalogue.events, *asked})
            )
        if raw not in types:
            raise ValueMistake("does not trigger this rule set", "add it to `trigger`")
        return raw

    def _trait(self, path: str, name: str) -> Named:
        if name == CONSENTS:
            return Named(Trait(CONSENTS, Kind.LIST, path), item=_check_purpose)
        trait = self.catalogue.traits.get(name)
        if trait is None:
            raise LineError(
                f"the catalogue has no trait `{name}`",
                "unknown-trait",
                did_you_mean(name, self.catalogue.traits) or "the reference lists the traits",
            )
        if trait.household:
            raise LineError(
                f"{path} belongs to the household, not to the person",
                "unknown-trait",
                f"write household.{name}",
            )
        return Named(Trait(name, _readable(trait, path), path), trait.check)

    def _household(self, path: str, name: str) -> Named:
        if name in HOUSEHOLD_COUNTS:
            return Named(HouseholdValue(name, Kind.INT, path), value_check(ValueType.INT))
        traits = self.catalogue.traits
        trait = traits.get(name)
        if trait is None or not trait.household:
            known = [*HOUSEHOLD_COUNTS, *(each.name for each in traits.values() if each.household)]
            own = f"write profile.{name}: each person has their own" if trait else did_you_mean(name, known)
            raise LineError(f"a household has no `{name}`", "unknown-trait", own or _listed(known))
        return Named(HouseholdValue(name, _readable(trait, path), path), trait.check)

    def _window(self, path: str, name: str) -> Named:
        if not self.windows_known:
            raise LineError(
                "a window cannot be asked inside a window", "condition", "use a field of the event"
            )
        if name not in self.windows:
            raise LineError(
                f"there is no window `{name}`",
                "unknown-window",
                did_you_mean(name, self.windows) or "add it under `windows`",
            )
        window = self.windows[name]
        if window is None:
            raise LineError("", "reported")
        key = f"{self.rule_set}/{name}"
        return Named(WindowValue(key, window, window.kind, path), self.window_checks.get(name))

    def _thing(self, path: str, rest: str) -> Named:
        kind, _, name = rest.partition(".")
        thing = self.catalogue.things.get(kind)
        if thing is None:
            raise LineError(
                f"the catalogue has no thing `{kind}`",
                "unknown-thing",
                did_you_mean(kind, self.catalogue.things) or _listed(self.catalogue.things),
            )
        value_type = thing.attributes.get(name)
        if value_type is None:
            raise LineError(
                f"a {kind} has no attribute `{name}`",
                "unknown-thing",
                did_you_mean(name, thing.attributes) or _listed(thing.attributes),
            )
        attribute_kind = kind_of(value_type)
        assert attribute_kind is not None
        return Named(ThingAttribute(kind, name, attribute_kind, path))


def _check_purpose(raw: object) -> str:
    known = [purpose.value for purpose in Purpose]
    if not isinstance(raw, str) or raw not in known:
        raise ValueMistake(
            "is nothing a customer agrees to",
            suggest(str(raw), known),
        )
    return raw


_ROOTS = "a path begins with event. profile. household. windows. context. or ask."


def _readable(trait: KnownTrait, path: str) -> Kind:
    """The kind of a trait that a condition may read."""
    if trait.sensitive:
        raise LineError(
            f"{path} is sensitive; no condition may read it",
            "sensitive-trait",
            "use a trait that says only what is needed, such as profile.adult",
        )
    if trait.direct:
        raise LineError(
            f"{path} identifies the person and is kept sealed; no condition may read it",
            "direct-trait",
            "show it in a template, as {{ profile." + trait.name + " }}",
        )
    kind = kind_of(trait.type)
    assert kind is not None
    return kind


def _kind(known: Field, path: str) -> Kind:
    kind = kind_of(known.type)
    if kind is None:
        raise LineError(
            f"{path} holds many values; no condition can read it", "unlike-types", "use another field"
        )
    return kind


def _listed(names: Collection[str]) -> str:
    shown = sorted(names)
    return "write one of " + ", ".join(shown[:12]) + (", …" if len(shown) > 12 else "") if shown else ""
