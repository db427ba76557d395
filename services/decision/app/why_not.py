"""Why an action did not happen for a customer around a time."""

from __future__ import annotations

from dataclasses import dataclass, field
from difflib import get_close_matches
from typing import TYPE_CHECKING

from services.decision.app.decisions import ARRIVED, dispatched, program_then
from services.decision.app.ports import Wanted
from services.decision.domain.absent import Cause, best_of, matches, needed_by_gate, needed_for
from services.decision.domain.errors import JobFailedError
from services.decision.domain.explain import fate, label_of
from services.decision.domain.phrases import joined
from services.decision.domain.triggers import ASK, CALLED_BACK
from services.vocabulary.values import DAY, format_time
from services.vocabulary.words import ActionOutcome

if TYPE_CHECKING:
    from collections.abc import Sequence

    from services.decision.app.jobs import ProgramThen
    from services.decision.app.ports import (
        Absences,
        Histories,
        Journal,
        KeptCatalogues,
        Message,
        Messages,
        Past,
        PastEvent,
        Profiles,
        Recorded,
        RuleSets,
    )
    from services.decision.domain.absent import Absence, Asking
    from services.decision.domain.arbitration import DecidedAction
    from services.decision.domain.tree import Node
    from services.runtime.clock import Clock
    from services.vocabulary.words import RefusalReason

MOST_WITHIN = 31 * DAY
"""How far around a moment is looked at most."""

_MOST_DECISIONS = 1_000
_MOST_EVENTS = 50
"""Events looked at one by one, the nearest first."""


@dataclass(frozen=True, slots=True)
class Question:
    """What did not happen; ``wanted``: an action's name, ``rule_set``, ``rule_set/rule``. Times in micros."""

    subject: str
    wanted: str
    time_micros: int
    within_micros: int


@dataclass(frozen=True, slots=True)
class Silence:
    """The answer: the first thing that stood against it, and what would have had to be different.

    ``then``: the customer's state as it was then was looked at.
    """

    cause: Cause
    sentence: str
    needed: str = ""
    customer: int = 0
    rule_set: str = ""
    version: int = 0
    rule: str = ""
    reason: RefusalReason | None = None
    recorded: Recorded | None = None
    action_id: str = ""
    event: PastEvent | None = None
    then: bool = False
    nodes: tuple[Node, ...] = ()
    message_id: str = ""
    note: str = ""


@dataclass(slots=True)
class _Search:
    """What was found so far."""

    question: Question
    customer: int
    people: tuple[int, ...]
    notes: list[str] = field(default_factory=list)

    @property
    def span(self) -> tuple[int, int]:
        """The times that count, end-exclusive."""
        around = self.question.within_micros
        return self.question.time_micros - around, self.question.time_micros + around + 1


class WhyNot:
    """The use case: first what was decided, then what the rules of then say to the events of then."""

    def __init__(
        self,
        clock: Clock,
        profiles: Profiles,
        journal: Journal,
        rule_sets: RuleSets,
        catalogues: KeptCatalogues,
        absences: Absences,
        histories: Histories,
        messages: Messages,
    ) -> None:
        self._clock = clock
        self._profiles = profiles
        self._journal = journal
        self._rule_sets = rule_sets
        self._catalogues = catalogues
        self._absences = absences
        self._histories = histories
        self._messages = messages

    async def ask(self, question: Question) -> Silence:
        """Raises NotFoundError for a customer who is not known."""
        people = await self._profiles.people(question.subject)
        search = _Search(question, people[0], people)
        found = await self._decided(search)
        return found or await self._not_decided(search)

    async def _decided(self, search: _Search) -> Silence | None:
        """What decisions of that time say; None: it was not among what they looked at."""
        first, end = search.span
        page = await self._journal.page(
            Wanted(customers=search.people, from_micros=first, until_micros=end, size=_MOST_DECISIONS)
        )
        found = [
            (recorded, action)
            for _, recorded in page
            for action in recorded.actions
            if matches(action.candidate, search.question.wanted)
        ]
        if not found:
            return None
        around = search.question.time_micros
        found.sort(
            key=lambda each: (
                each[1].outcome is ActionOutcome.REFUSED,
                abs(each[0].event_micros - around),
                each[0].decision_id,
            )
        )
        recorded, action = found[0]
        if action.outcome is ActionOutcome.REFUSED:
            return await self._refused(search, recorded, action)
        if action.outcome is ActionOutcome.PLANNED:
            planned = format_time(action.candidate.planned_micros or 0)
            sentence = f"it is planned for {planned}, and will be decided again then"
            return _of_decision(search, Cause.WAITS, sentence, recorded, action)
        told = (await self._messages.of(dispatched(recorded))).get(action.candidate.action_id, ())
        return _said(search, recorded, action, told)

    async def _refused(self, search: _Search, recorded: Recorded, action: DecidedAction) -> Silence:
        names = {each.candidate.action_id: label_of(each.candidate) for each in recorded.actions}
        if action.outranked_by and action.outranked_by not in names:
            winner = await self._journal.find(action.outranked_by)
            names |= {
                each.candidate.action_id: label_of(each.candidate)
                for each in (() if winner is None else winner.actions)
            }
        needed = needed_for(action, recorded.standing, recorded.evaluation.circumstances)
        return _of_decision(search, Cause.REFUSED, fate(action, names), recorded, action, needed=needed)

    async def _not_decided(self, search: _Search) -> Silence:
        """What the rules that were live say to what happened."""
        question = search.question
        version = await self._rule_sets.version_at(min(question.time_micros, self._clock.now_micros()))
        if not version:
            sentence = f"no rule set was live at {format_time(question.time_micros)}"
            return Silence(Cause.NOT_LIVE, sentence, customer=search.customer)
        then = await program_then(self._rule_sets, self._catalogues, version, "")
        try:
            asking = await self._absences.asking(then, question.wanted)
        except JobFailedError as error:
            return Silence(
                Cause.NOT_FOUND, f"the rules of then cannot be run again: {error}", customer=search.customer
            )
        if not asking:
            return await self._nobody_asks(search, then)
        called_by = tuple(dict.fromkeys(name for each in asking for name in each.called_by))
        first, end = search.span
        past = await self._histories.past(question.subject, called_by, first, end)
        search.notes += [past.note] if past.note else []
        if not past.events:
            return _no_event(search, asking, called_by)
        return await self._weigh(search, then, asking, past)

    async def _nobody_asks(self, search: _Search, then: ProgramThen) -> Silence:
        """Whether a rule set that is not live, or not then, would."""
        wanted = search.question.wanted
        newest = await self._rule_sets.live()
        if newest.version != then.version:
            now = await program_then(self._rule_sets, self._catalogues, newest.version, "")
            asking = await self._absences.asking(now, wanted)
            if asking:
                each = asking[0]
                return Silence(
                    Cause.NOT_LIVE,
                    f"{each.rule_set} was not live at {format_time(search.question.time_micros)}, or not in "
                    "a version that asks for it",
                    "it would have had to go live before",
                    search.customer,
                    each.rule_set,
                    each.version,
                    each.rule,
                )
        name = wanted.partition("/")[0]
        stored = await self._rule_sets.find(name, 0)
        if stored is not None:
            return Silence(
                Cause.NOT_LIVE,
                f"the rule set {name} is {stored.state}, and was not live then",
                "it would have to go live",
                search.customer,
                name,
                stored.version,
            )
        known = [source.name for source in then.sources]
        near = get_close_matches(name, known, n=1)
        hint = (
            f"did you mean {near[0]}?" if near else "name an offer, a message, a rule set, or rule_set/rule"
        )
        return Silence(Cause.UNKNOWN, f"no rule that was live asks for {wanted}", hint, search.customer)

    async def _weigh(
        self, search: _Search, then: ProgramThen, asking: Sequence[Asking], past: Past
    ) -> Silence:
        """Runs the rules on the events, the nearest first, and tells of the rule that came nearest."""
        around = search.question.time_micros
        nearest = sorted(past.events, key=lambda event: (abs(event.time_micros - around), event.event_id))
        if len(nearest) > _MOST_EVENTS:
            search.notes.append(f"of {len(nearest)} events the {_MOST_EVENTS} nearest were looked at")
        heard = [event for event in nearest if not event.why_nothing]
        if not heard:
            event = nearest[0]
            sentence = f"{event.type} happened at {format_time(event.time_micros)}, but {event.why_nothing}"
            return Silence(
                Cause.NO_EVENT, sentence, "", search.customer, event=event, note="; ".join(search.notes)
            )
        told: list[tuple[PastEvent, Absence]] = []
        for event in heard[:_MOST_EVENTS]:
            best = best_of(await self._absences.absent(then, search.question.wanted, event))
            if best is not None:
                told.append((event, best))
        if not told:
            return _no_event(search, asking, tuple(dict.fromkeys(event.type for event in heard)))
        best = best_of([each for _, each in told])
        event, found = next((event, each) for event, each in told if each is best)
        sentence, needed = found.sentence, found.needed
        if found.cause is Cause.NOT_FOUND:
            needed = ""
            sentence += (
                ", but no decision of then is kept that looked at it: it is not decided yet, is older than "
                "decisions are kept, the customer's state was another, or a journey stood elsewhere"
            )
        return Silence(
            found.cause,
            sentence,
            needed,
            search.customer,
            found.rule_set,
            found.version,
            found.rule,
            event=event,
            then=True,
            nodes=(found.node,),
            note="; ".join(search.notes),
        )


def _said(search: _Search, recorded: Recorded, action: DecidedAction, told: Sequence[Message]) -> Silence:
    """It was decided: what the channel service made of it."""
    bad = [message for message in told if message.state not in ARRIVED]
    if told and len(bad) == len(told):
        message = bad[-1]
        why = ", ".join(each for each in (message.reason and message.reason.value, message.detail) if each)
        sentence = f"it was decided, and is {message.state.value} {message.where}".strip()
        return _of_decision(
            search,
            Cause.CHANNEL,
            f"{sentence}: {why}" if why else sentence,
            recorded,
            action,
            needed=needed_by_gate(message.reason),
            message=message,
        )
    message_told = next((message for message in told if message.state in ARRIVED), None)
    where = "" if message_told is None else f", and is {message_told.state.value} {message_told.where}"
    sentence = f"it did happen: decided at {format_time(recorded.decided_micros)}{where}".strip()
    return _of_decision(search, Cause.HAPPENED, sentence, recorded, action, message=message_told)


def _of_decision(
    search: _Search,
    cause: Cause,
    sentence: str,
    recorded: Recorded,
    action: DecidedAction,
    *,
    needed: str = "",
    message: Message | None = None,
) -> Silence:
    candidate = action.candidate
    return Silence(
        cause,
        sentence,
        needed,
        search.customer,
        candidate.rule_set,
        candidate.version,
        candidate.rule,
        action.reason if message is None else message.reason,
        recorded,
        candidate.action_id,
        then=True,
        message_id="" if message is None else message.message_id,
        note="; ".join(search.notes),
    )


def _no_event(search: _Search, asking: Sequence[Asking], types: Sequence[str]) -> Silence:
    first, end = search.span
    each = asking[0]
    asked = [name for name in types if name.startswith(ASK)]
    noticed = [name for name in types if name in CALLED_BACK]
    happening = [name for name in types if name not in {*asked, *noticed}]
    ways = [f"an event {joined(happening, 'or')}"] if happening else []
    ways += [f"the question {joined([name.removeprefix(ASK) for name in asked], 'or')}"] if asked else []
    ways += ["its schedule, an absence, or a step of its journey"] if noticed else []
    needed = f"{each.rule_set} is called by {joined(ways, 'or')}"
    silent = [f"there was no {joined(happening, 'or')} of this customer"] if happening else []
    silent += [f"nobody asked {joined([name.removeprefix(ASK) for name in asked], 'or')}"] if asked else []
    silent += ["no schedule, absence or step of a journey called"] if noticed else []
    between = f"between {format_time(first)} and {format_time(end - 1)}"
    sentence = f"nothing called for it: {between} {joined(silent)}"
    return Silence(
        Cause.NO_EVENT,
        sentence,
        needed,
        search.customer,
        each.rule_set,
        each.version,
        each.rule,
        note="; ".join(search.notes),
    )
