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
    from services.decision.domain.program import ActionRule, FactRule, Program
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
_REFUSED = {
    RefusalReason.NO_CONSENT: "the customer had not agreed to it",
    RefusalReason.CONSENT_UNKNOWN: "it was not known whether the customer had agreed to it",
    RefusalReason.DATA_WITHHELD: "it would have needed data whose use the customer had not agreed to",
    RefusalReason.EXPIRED: "its time had passed",
    RefusalReason.TOO_LATE: "its time had passed",
    RefusalReason.QUIET_HOURS: "it would have come at a time at which customers are left in peace",
    RefusalReason.CAPPED: "the customer had been contacted often enough",
    RefusalReason.RATE_LIMITED: "the customer had been contacted often enough",
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


def data_used(
    program: Program, rules: Iterable[ActionRule], fact_rules: Iterable[FactRule], event_type: str
) -> dict[Purpose, frozenset[str]]:
    """What these rules looked at, through the facts that were inferred, and what their actions told."""
    used: Data = {}
    facts: dict[str, list[FactRule]] = {}
    for fact in fact_rules:
        facts.setdefault(fact.fact, []).append(fact)
    catalogue = program.catalogue
    _add_event(used, catalogue, event_type)
    seen: set[str] = set()
    for rule in rules:
        _add_condition(used, catalogue, rule.when, facts, event_type, seen)
        for action in rule.actions:
            texts = [*action.parameters.values(), *(text for text in (action.say, action.to_text) if text)]
            for expression in (part for text in texts for part in _parts(text)):
                _add(used, catalogue, expression, event_type)
    return {purpose: frozenset(names) for purpose, names in used.items()}


def regulator_sentence(
    catalogue: Catalogue, actions: Sequence[DecidedAction], decided_micros: int, used: Used
) -> str:
    """What was done to the person, or not, for what, on which basis, from which data, with whose word."""
    told = [action for action in actions if action.candidate.kind is not ActionKind.STEP]
    day, _, clock = format_time(decided_micros).partition("T")
    who = catalogue.controller.name or "The operator"
    when = f"On {day} at {clock[:5]} UTC, {who}"
    if not told:
        return f"{when} decided by automated means, and did nothing that concerns the customer."
    each = [_deed(catalogue, action) for action in told]
    parts = [f"{when}, by automated means, {joined(dict.fromkeys(each))}"]
    parts += _data(catalogue, used)
    purposes = {
        purpose
        for action in told
        if (purpose := _purpose(action.candidate)) is not None and purpose is not Purpose.SERVICE
    }
    purposes |= {purpose for purpose in used.data if purpose is not Purpose.SERVICE}
    parts += [_consent(catalogue, purpose, used) for purpose in Purpose if purpose in purposes]
    if used.withheld:
        titles = joined(_title(catalogue, purpose) for purpose in Purpose if purpose in used.withheld)
        parts.append(f"data were not used for {titles}, to which the customer had not agreed")
    return "; ".join(parts) + "."


def _deed(catalogue: Catalogue, action: DecidedAction) -> str:
    candidate = action.candidate
    offer = catalogue.offers.get(candidate.name) if candidate.kind is ActionKind.OFFER else None
    what = f"“{offer.title}”" if offer is not None else "a product"
    if action.outcome is ActionOutcome.REFUSED:
        deed = _CONSIDERED.get(candidate.kind, f"offering the customer {what}")
        why = _REFUSED.get(action.reason, "it could not be done") if action.reason else "it could not be done"
        return f"considered {deed}{_ground(catalogue, candidate)} and did not, because {why}"
    if action.outcome is ActionOutcome.PLANNED:
        deed = _CONSIDERED.get(candidate.kind, f"offering the customer {what}")
        planned = format_time(candidate.planned_micros or 0)[:10]
        return f"planned {deed} on {planned}, to be decided again then{_ground(catalogue, candidate)}"
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
            yield f"used were, under {title} ({basis}), {joined(sorted(names))}"


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
    event_type: str,
    seen: set[str],
) -> None:
    for part in walk(condition):
        if isinstance(part, FactIs) and part.key not in seen:
            seen.add(part.key)
            for fact in facts.get(part.key, ()):
                _add_condition(used, catalogue, fact.when, facts, event_type, seen)
    for expression in expressions_of(condition):
        _add(used, catalogue, expression, event_type)


def _add(used: Data, catalogue: Catalogue, expression: Expression, event_type: str) -> None:
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
                _note(used, purpose, f"the {_words(thing)}'s {_words(name)}")
            case WindowValue(window=window):
                _add_event(used, catalogue, window.type)
            case EventField():
                _add_event(used, catalogue, event_type)
            case AskField(name=name):
                _note(used, Purpose.SERVICE, f"what was asked about {_words(name)}")
            case _:
                pass


def _add_event(used: Data, catalogue: Catalogue, event_type: str) -> None:
    known = catalogue.events.get(event_type)
    if known is not None:
        _note(used, known.purpose, f"what happened of the kind “{_words(event_type.rpartition('.')[2])}”")


def _note(used: Data, purpose: Purpose, words: str) -> None:
    used.setdefault(purpose, set()).add(words)


def _words(name: str) -> str:
    return name.replace("_", " ").replace("-", " ")
