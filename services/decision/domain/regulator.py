"""What a decision meant for the person, in one sentence for a regulator: no word of rules, names or scores.

GDPR art. 13(2)(f), 15(1)(h) and 22: which purpose, on which lawful basis, from which data, and what the
person had said to it.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING

from services.decision.domain.language.ast import (
    AskField,
    EventField,
    FactIs,
    HouseholdValue,
    ThingAttribute,
    Trait,
    WindowValue,
    expressions_of,
    leaves_of,
    walk,
)
from services.decision.domain.phrases import joined
from services.decision.domain.triggers import CALLED_BACK, Absence, OpenPair
from services.vocabulary.purposes import LawfulBasis, text_for
from services.vocabulary.values import format_time
from services.vocabulary.words import (
    CATEGORY_FACTS,
    UNKNOWN_MEANS_YES,
    ActionKind,
    ActionOutcome,
    Category,
    Channel,
    ConsentBy,
    ConsentState,
    Purpose,
    RefusalReason,
)

if TYPE_CHECKING:
    from collections.abc import Iterable, Iterator, Mapping, Sequence

    from services.decision.domain.arbitration import Candidate, DecidedAction
    from services.decision.domain.language.ast import Condition, Expression, Text
    from services.decision.domain.program import ActionRule, FactRule, Program, RuleSet
    from services.vocabulary.catalogue import Catalogue

Data = dict[Purpose, set[str]]
"""What was used, in words, by the purpose for which people agree to its use."""

_LOCALE = "en"
_BASES = {
    LawfulBasis.CONSENT: "consent",
    LawfulBasis.CONTRACT: "the contract",
    LawfulBasis.LEGAL_OBLIGATION: "a legal obligation",
    LawfulBasis.VITAL_INTERESTS: "vital interests",
    LawfulBasis.PUBLIC_TASK: "a public task",
    LawfulBasis.LEGITIMATE_INTERESTS: "legitimate interests",
}
_DONE = {
    ActionKind.MESSAGE: "sent the customer a message",
    ActionKind.SURVEY: "asked the customer for an opinion",
    ActionKind.TASK: "gave an employee the task to attend to the customer",
    ActionKind.SAY: "suggested to an employee what to say to the customer",
    ActionKind.AVOID: "told employees what not to bring up with the customer",
    ActionKind.SET: "noted something about the customer",
    ActionKind.EMIT: "noted that something had happened",
}
_CONSIDERED = {
    ActionKind.MESSAGE: "sending the customer a message",
    ActionKind.SURVEY: "asking the customer for an opinion",
    ActionKind.TASK: "giving an employee the task to attend to the customer",
    ActionKind.SAY: "suggesting to an employee what to say to the customer",
    ActionKind.AVOID: "telling employees what not to bring up with the customer",
    ActionKind.SET: "noting something about the customer",
    ActionKind.EMIT: "noting that something had happened",
}
REFUSED = {
    RefusalReason.NO_CONSENT: "the customer had not agreed to it",
    RefusalReason.CONSENT_UNKNOWN: "it was not known whether the customer had agreed to it",
    RefusalReason.DATA_WITHHELD: "it would have needed data whose use the customer had not agreed to",
    RefusalReason.EXPIRED: "its time had passed",
    RefusalReason.TOO_LATE: "its time had passed",
    RefusalReason.QUIET_HOURS: "it would have come at a time at which customers are left in peace",
    RefusalReason.CAPPED: "the customer had been contacted often enough",
    RefusalReason.RATE_LIMITED: "more was to be sent at that time than could be",
    RefusalReason.ONCE: "it had been done already",
    RefusalReason.BUDGET: "what may be spent on it was spent",
    RefusalReason.KILLED: "it was taken out of use",
    RefusalReason.HOLDOUT: "the customer was in a group that is left alone, to see what such contacts do",
    RefusalReason.SERVICE_FIRST: "something that mattered more to the customer went before it",
    RefusalReason.OUTRANKED: "something that mattered more was said instead",
    RefusalReason.NOT_ELIGIBLE: "the customer did not meet its conditions",
    RefusalReason.VULNERABLE: "the customer is protected as vulnerable",
    RefusalReason.NO_LONGER_TRUE: "the reason for it had gone",
    RefusalReason.NO_ADDRESS: "there was no way to reach the customer",
    RefusalReason.SUPPRESSED: "the customer had asked to be left alone",
}
"""Why something was not done, as part of a sentence for people."""
_WAITS = {
    RefusalReason.QUIET_HOURS: "at this hour the customer is left in peace",
    RefusalReason.CAPPED: "the customer has been contacted often enough for now",
    RefusalReason.RATE_LIMITED: "more is to be sent just now than can be",
    RefusalReason.BUDGET: "what may be spent on it is spent for now",
    RefusalReason.KILLED: "it is held for now",
}

_SAID = {
    ConsentState.GRANTED: "agreed",
    ConsentState.DENIED: "refused",
    ConsentState.WITHDRAWN: "withdrew the agreement",
    ConsentState.EXPIRED: "let the agreement run out",
    ConsentState.OBJECTED: "objected",
}
_BY = {
    ConsentBy.PERSON: "in person",
    ConsentBy.STAFF: "as noted by an employee",
    ConsentBy.IMPORT: "as carried over from another system",
}


@dataclass(frozen=True)
class ConsentWord:
    """What the customer last said about a purpose on a channel; None: on every one."""

    purpose: Purpose
    channel: Channel | None
    state: ConsentState
    by: ConsentBy | None
    time_micros: int


@dataclass(frozen=True)
class Used:
    """What went into a decision: data by purpose, what the customer had said, what was withheld."""

    data: Mapping[Purpose, frozenset[str]]
    words: tuple[ConsentWord, ...]
    withheld: frozenset[Purpose]


@dataclass(frozen=True)
class Looking:
    """At which event things were looked at: its type, and of which kinds of things it named one.

    What is known of a thing that the event named is used as the event is, without asking where the customer
    is.
    """

    type: str
    named: frozenset[str] = frozenset()

    def of(self, rule_set: RuleSet | None) -> Looking:
        """The same for a rule set; where the system itself called, what its `event` stands for."""
        if rule_set is None or self.type not in CALLED_BACK:
            return self
        if rule_set.journey is not None:
            return Looking(rule_set.journey.start, self.named)
        match rule_set.occasion:
            case OpenPair(after=name) | Absence(type=name):
                return Looking(name, self.named)
            case _:
                return self


def data_used(
    program: Program, rules: Iterable[ActionRule], fact_rules: Iterable[FactRule], event: Looking
) -> dict[Purpose, frozenset[str]]:
    """What these rules looked at, through the facts that were inferred, and what their actions told."""
    used: Data = {}
    facts = _by_name(fact_rules)
    catalogue = program.catalogue
    _add_event(used, catalogue, event.type)
    seen: set[str] = set()
    for rule in rules:
        meant = event.of(program.rule_set(rule.rule_set))
        _add_condition(used, catalogue, rule.when, facts, meant, seen)
        for action in rule.actions:
            texts = [*action.parameters.values(), *(text for text in (action.say, action.to_text) if text)]
            for expression in (part for text in texts for part in _parts(text)):
                _add(used, catalogue, expression, meant)
    return {purpose: frozenset(names) for purpose, names in used.items()}


def data_kept(
    program: Program, keep: Condition | None, fact_rules: Iterable[FactRule], event: Looking
) -> dict[Purpose, frozenset[str]]:
    """What a planned action looked at when its time had come."""
    used: Data = {}
    if keep is not None:
        _add_condition(used, program.catalogue, keep, _by_name(fact_rules), event, set())
    return {purpose: frozenset(names) for purpose, names in used.items()}


def _by_name(fact_rules: Iterable[FactRule]) -> dict[str, list[FactRule]]:
    facts: dict[str, list[FactRule]] = {}
    for fact in fact_rules:
        facts.setdefault(fact.fact, []).append(fact)
    return facts


def regulator_sentence(
    catalogue: Catalogue,
    actions: Sequence[DecidedAction],
    decided_micros: int,
    used: Used,
    stopped: Mapping[str, RefusalReason | None],
    waiting: Mapping[str, RefusalReason | None],
) -> str:
    """What was done to the person, or not, for what, on which basis, from which data, with whose word.

    ``stopped``: actions that the channel service stopped after the decision, with why if it is known.
    ``waiting``: those that wait there for their time, the same.
    """
    told = [action for action in actions if action.candidate.kind is not ActionKind.STEP]
    day, _, clock = format_time(decided_micros).partition("T")
    who = catalogue.controller.name or "The operator"
    when = f"On {day} at {clock[:5]} UTC, {who}"
    if not told:
        return f"{when} decided by automated means, and did nothing that concerns the customer."
    each = [_deed(catalogue, action, stopped, waiting) for action in told]
    parts = [f"{when}, by automated means, {joined(dict.fromkeys(each))}"]
    data = list(_data(catalogue, used))
    parts += [f"the data used were {', and '.join(data)}"] if data else []
    purposes = {
        purpose
        for action in told
        if (purpose := _purpose(action.candidate)) is not None and purpose is not Purpose.SERVICE
    }
    purposes |= {purpose for purpose in used.data if purpose is not Purpose.SERVICE}
    parts += [_consent(catalogue, purpose, used) for purpose in Purpose if purpose in purposes]
    beside = used.withheld & used.data.keys()
    for no, withheld in (("no other data were used", beside), ("data were not used", used.withheld - beside)):
        if withheld:
            titles = joined(_title(catalogue, purpose) for purpose in Purpose if purpose in withheld)
            parts.append(f"{no} for {titles}, to which the customer had not agreed")
    return "; ".join(parts) + "."


def why_it_waits(reason: RefusalReason | None) -> str:
    """For what an action waits at the channel service, as part of a sentence."""
    return _WAITS.get(reason, "its turn has not come yet") if reason else "its turn has not come yet"


def _deed(
    catalogue: Catalogue,
    action: DecidedAction,
    stopped: Mapping[str, RefusalReason | None],
    waiting: Mapping[str, RefusalReason | None],
) -> str:
    candidate = action.candidate
    offer = catalogue.offers.get(candidate.name) if candidate.kind is ActionKind.OFFER else None
    what = f"“{offer.title}”" if offer is not None else "a product"
    if action.outcome is ActionOutcome.REFUSED:
        deed = _CONSIDERED.get(candidate.kind, f"offering the customer {what}")
        why = REFUSED.get(action.reason, "it could not be done") if action.reason else "it could not be done"
        return f"considered {deed}{_ground(catalogue, candidate)} and did not, because {why}"
    if action.outcome is ActionOutcome.PLANNED:
        deed = _CONSIDERED.get(candidate.kind, f"offering the customer {what}")
        planned = format_time(candidate.planned_micros or 0)[:10]
        return f"planned {deed} on {planned}{_ground(catalogue, candidate)}, to be decided again then"
    if candidate.action_id in waiting:
        deed = _CONSIDERED.get(candidate.kind, f"offering the customer {what}")
        why = why_it_waits(waiting[candidate.action_id])
        return f"decided on {deed}{_ground(catalogue, candidate)}, which waits, because {why}"
    if candidate.action_id in stopped:
        deed = _CONSIDERED.get(candidate.kind, f"offering the customer {what}")
        reason = stopped[candidate.action_id]
        why = (
            "it could not be delivered"
            if reason is None
            else REFUSED.get(reason, "it could not be delivered")
        )
        return (
            f"decided on {deed}{_ground(catalogue, candidate)} but did not go through with it, because {why}"
        )
    return _DONE.get(candidate.kind, f"offered the customer {what}") + _ground(catalogue, candidate)


def _ground(catalogue: Catalogue, candidate: Candidate) -> str:
    """For what, and on which basis; nothing for what stays inside."""
    if candidate.category is Category.MANDATORY:
        template = catalogue.templates.get(candidate.template or candidate.name)
        clause = f" ({template.ground})" if template is not None and template.ground else ""
        return f", which the law or the contract requires{clause} (GDPR art. 6(1)(b), (c))"
    purpose = _purpose(candidate)
    if purpose is None:
        return ""
    return f" for the purpose {_title(catalogue, purpose)}, on the basis of {_basis(catalogue, purpose)}"


def _purpose(candidate: Candidate) -> Purpose | None:
    return None if candidate.category is None else CATEGORY_FACTS[candidate.category].purpose


def _title(catalogue: Catalogue, purpose: Purpose) -> str:
    terms = catalogue.purposes.get(purpose)
    title = "" if terms is None else text_for(terms.titles, _LOCALE, catalogue.default_locale)
    return f"“{title or purpose.value.replace('_', ' ')}”"


def _basis(catalogue: Catalogue, purpose: Purpose) -> str:
    terms = catalogue.purposes.get(purpose)
    if terms is None:
        return "a ground that the operator has not named"
    interest = text_for(terms.interest, _LOCALE, catalogue.default_locale).rstrip(".")
    said = f": {interest[0].lower()}{interest[1:]}" if interest else ""
    return f"{_BASES[terms.basis]} (GDPR art. 6(1)({terms.basis.letter}){said})"


def _data(catalogue: Catalogue, used: Used) -> Iterator[str]:
    for purpose in Purpose:
        names = used.data.get(purpose)
        if names:
            title, basis = _title(catalogue, purpose), _basis(catalogue, purpose)
            yield f"under {title} ({basis}) {joined(sorted(names))}"


def _consent(catalogue: Catalogue, purpose: Purpose, used: Used) -> str:
    title = _title(catalogue, purpose)
    words = sorted(
        (word for word in used.words if word.purpose is purpose),
        key=lambda word: (-word.time_micros, word.channel or ""),
    )
    if not words:
        if purpose in UNKNOWN_MEANS_YES:
            return f"to {title} the customer had not objected"
        return f"to {title} no word of the customer was on record"
    told = []
    for word in words:
        where = f" on {word.channel.value}" if word.channel is not None else ""
        by = f" ({_BY[word.by]})" if word.by is not None else ""
        told.append(f"{_SAID[word.state]}{where} on {format_time(word.time_micros)[:10]}{by}")
    return f"to {title} the customer {joined(dict.fromkeys(told))}"


def _parts(text: Text) -> Iterator[Expression]:
    for part in text.parts:
        if not isinstance(part, str):
            yield part


def _add_condition(
    used: Data,
    catalogue: Catalogue,
    condition: Condition,
    facts: Mapping[str, Sequence[FactRule]],
    event: Looking,
    seen: set[str],
) -> None:
    for part in walk(condition):
        if isinstance(part, FactIs) and part.key not in seen:
            seen.add(part.key)
            for fact in facts.get(part.key, ()):
                _add_condition(used, catalogue, fact.when, facts, event, seen)
    for expression in expressions_of(condition):
        _add(used, catalogue, expression, event)


def _add(used: Data, catalogue: Catalogue, expression: Expression, event: Looking) -> None:
    for leaf in leaves_of(expression):
        match leaf:
            case Trait(name=name):
                trait = catalogue.traits.get(name)
                _note(used, Purpose.SERVICE if trait is None else trait.purpose, _words(name))
            case HouseholdValue(name=name):
                trait = catalogue.traits.get(name)
                purpose = Purpose.SERVICE if trait is None else trait.purpose
                _note(used, purpose, f"the household's {_words(name)}")
            case ThingAttribute(thing=thing, name=name):
                kind = catalogue.things.get(thing)
                purpose = Purpose.SERVICE if kind is None else kind.purpose
                if thing in event.named and event.type in catalogue.events:
                    purpose = catalogue.events[event.type].purpose
                _note(used, purpose, f"the {_words(thing)}'s {_words(name)}")
            case WindowValue(window=window):
                _add_event(used, catalogue, window.type)
            case EventField():
                _add_event(used, catalogue, event.type)
            case AskField(name=name):
                _note(used, Purpose.SERVICE, f"what was asked about {_words(name)}")
            case _:
                pass


def _add_event(used: Data, catalogue: Catalogue, event_type: str) -> None:
    known = catalogue.events.get(event_type)
    if known is not None and event_type not in CALLED_BACK:
        stage, _, name = event_type.rpartition(".")
        words = _words(name) if "_" in name else f"{_words(stage)} {name}"
        _note(used, known.purpose, f"what happened of the kind “{words}”")


def _note(used: Data, purpose: Purpose, words: str) -> None:
    used.setdefault(purpose, set()).add(words)


def _words(name: str) -> str:
    return name.replace("_", " ").replace("-", " ")
