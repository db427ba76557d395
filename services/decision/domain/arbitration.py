"""Which actions are done of those that rules ask for: hard filters, tiers, score, one per conversation."""

from __future__ import annotations

from dataclasses import dataclass, field, replace
from typing import TYPE_CHECKING, Any

from services.decision.domain import avoiding
from services.decision.domain.avoiding import NOTHING_AVOIDED
from services.decision.domain.experiments import HOLDOUT
from services.decision.domain.limits import Room, Turns, Use
from services.decision.domain.once import Slot, Taken, is_free
from services.decision.domain.scoring import BY_DEFAULT, Factor, Factors, Origin, factors_of
from services.vocabulary.arbitration_policy import TERMS, Terms, over_share, share_words
from services.vocabulary.values import DAY
from services.vocabulary.words import (
    CATEGORY_FACTS,
    DISPATCHED_KINDS,
    ActionKind,
    ActionOutcome,
    Category,
    RefusalReason,
)

if TYPE_CHECKING:
    from collections.abc import Mapping

    from services.decision.domain.journeys import Passage, Position, PositionName
    from services.decision.domain.program import ChannelChoice
    from services.vocabulary.values import ValueType

_NEVER_HELD_OUT = frozenset({Category.MANDATORY, Category.SERVICE})
# tuples, in which a word is found faster than in a set: words hash themselves in Python
_SENT = tuple(DISPATCHED_KINDS)
_CONTACTS = tuple(kind for kind in _SENT if kind is not ActionKind.TASK)
"""What the customer hears of by itself."""
_CATEGORIES = tuple(CATEGORY_FACTS)
_TIERS = tuple(facts.tier for facts in CATEGORY_FACTS.values())
_COMMERCIAL = tuple(category for category, facts in CATEGORY_FACTS.items() if facts.commercial)
_REFUSED, _PLANNED = ActionOutcome.REFUSED, ActionOutcome.PLANNED


@dataclass(frozen=True)
class Candidate:
    """One action that a rule asks for, filled in for its customer.

    Times in micros since the epoch, None: none. ``value`` and ``cost`` in the operator's currency,
    ``propensity`` from 0 to 1; ``…_from``: who said them. ``excludes``: offers that do not go with it.
    ``order``: its place among those that were asked for.
    ``refusal``: what was known against it before arbitration (withheld data, not eligible, no longer true).
    ``detail`` says more about that. ``experiment``: the one its rule set runs, empty: none.
    ``to_value``: what ``set`` writes, in its JSON form. ``journey``: where the customer
    must stand in one for it to count.
    """

    action_id: str
    rule_set: str
    version: int
    rule: str
    position: int
    kind: ActionKind
    name: str
    category: Category | None
    priority: int
    topic: str = ""
    channels: tuple[ChannelChoice, ...] = ()
    parameters: Mapping[str, tuple[ValueType, Any]] = field(default_factory=dict)
    template: str = ""
    arm: str = ""
    experiment: str = ""
    value: float = 0.0
    cost: float = 0.0
    expires_micros: int | None = None
    due_micros: int | None = None
    planned_micros: int | None = None
    unless: tuple[str, ...] = ()
    to_payer: bool = False
    to_value: Any = None
    for_micros: int | None = None
    say: str = ""
    avoid: tuple[Category, ...] = ()
    slot: Slot | None = None
    refusal: RefusalReason | None = None
    detail: str = ""
    journey: Passage | None = None
    propensity: float = 1.0
    propensity_from: Origin = BY_DEFAULT
    value_from: Origin = BY_DEFAULT
    cost_from: Origin = BY_DEFAULT
    excludes: tuple[str, ...] = ()
    order: int = field(default=0, compare=False)

    @property
    def commercial(self) -> bool:
        """Sales and retention: at most one of them wins a conversation."""
        return self.category in _COMMERCIAL and self.kind in _SENT


@dataclass(frozen=True, slots=True)
class Won:
    """A sales or retention action that won a conversation at that event time."""

    action_id: str
    time_micros: int


@dataclass(frozen=True)
class Circumstances:
    """What of the customer's situation the filters look at.

    ``time_micros``: the event's time, or the due time of a planned action. ``service_first``: why nothing
    may be sold now, empty: no reason. ``pressure``: contacts of late, as ``terms`` say. ``was_planned``: the
    actions were decided before and fell due. ``contacts``: those that count for the share of sales,
    ``sales_contacts`` of them sales; None: they are not known. ``household``: whose conversation it is, 0:
    the customer's own. ``terms``: what the operator's policy said. ``heeds_avoid``: what rules ask to avoid
    is not done; not so in records of releases that only told the agent.
    """

    time_micros: int
    service_first: str = ""
    vulnerable: bool = False
    pressure: int = 0
    was_planned: bool = False
    contacts: int | None = 0
    sales_contacts: int = 0
    household: int = 0
    terms: Terms = TERMS
    heeds_avoid: bool = True


@dataclass(frozen=True, slots=True)
class Standing:
    """What earlier decisions left: slots of `once`, conversations won, arms, and places in journeys.

    ``rooms``: what the rule sets with `limits` have used of them, for whomever, by rule set.
    """

    slots: Mapping[tuple[str, str, str], Taken] = field(default_factory=dict)
    won: tuple[Won, ...] = ()
    arms: Mapping[str, str] = field(default_factory=dict)
    rooms: Mapping[str, Room] = field(default_factory=dict)
    positions: Mapping[PositionName, Position] = field(default_factory=dict)


@dataclass(frozen=True, slots=True)
class DecidedAction:
    """What became of one candidate. ``outranked_by``: the action that won the conversation.

    ``factors``: what the score is made of; None: it has none, because nothing is sent.
    """

    candidate: Candidate
    outcome: ActionOutcome
    reason: RefusalReason | None = None
    score: float = 0.0
    outranked_by: str = ""
    detail: str = ""
    factors: Factors | None = None


@dataclass(frozen=True, slots=True)
class Arbitration:
    """All candidates with their outcomes, in the order asked for, and what those that passed used up.

    ``uses``: of the limits of their rule sets, by action. ``free``: when the next action of a rule set with a
    pace may follow. ``moves``: where the customer stands in journeys from now on; None: in none.
    ``household``: whose conversation was won, until ``won_until_micros``; 0: the customer's own.
    """

    actions: tuple[DecidedAction, ...]
    taken: Mapping[tuple[str, str, str], Taken]
    won: tuple[Won, ...]
    uses: Mapping[str, Use] = field(default_factory=dict)
    free: Mapping[str, int] = field(default_factory=dict)
    moves: Mapping[PositionName, Position | None] = field(default_factory=dict)
    household: int = 0
    won_until_micros: int = 0


def factors_for(candidate: Candidate, circumstances: Circumstances) -> Factors:
    """What the score of a candidate is made of, and the score."""
    until = candidate.expires_micros
    return factors_of(
        Factor(candidate.propensity, *candidate.propensity_from),
        Factor(candidate.value, *candidate.value_from),
        Factor(candidate.cost, *candidate.cost_from),
        None if until is None else until - circumstances.time_micros,
        circumstances.pressure,
        circumstances.terms,
    )


def score_of(candidate: Candidate, circumstances: Circumstances) -> float:
    """Propensity × (value − cost) × urgency − contact pressure."""
    return factors_for(candidate, circumstances).score


def refusal_of(
    candidate: Candidate,
    circumstances: Circumstances,
    standing: Standing,
    avoided: Mapping[Category, str] = NOTHING_AVOIDED,
) -> tuple[RefusalReason, str] | None:
    """The first hard filter that stands against a candidate, with what to say about it; None: it may compete.

    Whether selling fits is asked when an action is due, not when it is planned. ``avoided``: what is not to
    be brought up, each with who asks for that.
    """
    if candidate.refusal is not None:
        return candidate.refusal, candidate.detail
    time, category = circumstances.time_micros, candidate.category
    if candidate.expires_micros is not None and candidate.expires_micros <= time:
        return RefusalReason.EXPIRED, "its validity ended before it could be said"
    later = candidate.planned_micros is not None and not circumstances.was_planned
    if category is Category.SALES and not later:
        if circumstances.service_first:
            return RefusalReason.SERVICE_FIRST, circumstances.service_first
        if circumstances.vulnerable:
            return RefusalReason.VULNERABLE, "the customer is marked as vulnerable"
        over = _over_share(candidate, circumstances)
        if over:
            return RefusalReason.CAPPED, over
    if category is not None and category in avoided and not later:
        return RefusalReason.SERVICE_FIRST, avoided[category]
    if (
        candidate.experiment
        and category is not None
        and category not in _NEVER_HELD_OUT
        and standing.arms.get(candidate.experiment) == HOLDOUT
    ):
        return RefusalReason.HOLDOUT, f"in the group that experiment {candidate.experiment} leaves alone"
    slot = candidate.slot
    if slot is not None and not is_free(slot, standing.slots.get(slot.name), time, candidate.action_id):
        return RefusalReason.ONCE, "done already within the time in which the rule may do it once"
    return None


def arbitrate(
    candidates: tuple[Candidate, ...],
    circumstances: Circumstances,
    standing: Standing,
    conversation_micros: int = DAY,
) -> Arbitration:
    """Decides about all candidates of one event. A pure function: the same arguments, the same answer.

    All are looked at by rank (see `rank_of`). Mandatory and service actions and surveys pass, unless a hard
    filter stands against them; of sales and retention at most one passes within a conversation
    (``conversation_micros`` around the event). Of two offers that exclude each other the first passes. What
    passes takes its turn under the limits of its rule set; whoever has none leaves the conversation to the
    next. What any rule of any rule set asks to avoid is not done, in this decision and in the conversation
    after it. In which order the candidates are given changes nothing but the order of the answer.
    """
    judged = [_judged(candidate, circumstances) for candidate in candidates]
    ranked = sorted(
        (*_rank(candidate, score), position)
        for position, (candidate, (score, _)) in enumerate(zip(candidates, judged, strict=True))
    )
    outcomes: dict[int, DecidedAction] = {}
    limited = _Limited(standing)
    heeds = circumstances.heeds_avoid
    avoided = NOTHING_AVOIDED
    if heeds:
        avoided = avoiding.kept(standing.slots, circumstances.time_micros, conversation_micros)
    asked: list[Candidate] = []
    winner = _winner_of(standing, circumstances.time_micros, conversation_micros)
    won: list[Won] = []
    offered: list[Candidate] = []
    for *_, position in ranked:
        candidate, (score, factors) = candidates[position], judged[position]
        against = refusal_of(candidate, circumstances, standing, avoided)
        if against is None and offered:
            against = _clash(candidate, offered)
        later = candidate.planned_micros is not None and not circumstances.was_planned
        commercial = candidate.commercial
        beaten_by = "" if later or not commercial or winner == candidate.action_id else winner
        if against is not None or beaten_by:
            reason, detail = against or (RefusalReason.OUTRANKED, "")
            outcomes[position] = DecidedAction(
                candidate, _REFUSED, reason, score, "" if against else beaten_by, detail, factors
            )
            continue
        if later:
            outcomes[position] = DecidedAction(candidate, _PLANNED, None, score, "", "", factors)
        else:
            outcomes[position] = limited.passed(candidate, score, factors)
            if outcomes[position].outcome is _REFUSED:
                continue
            if commercial:
                winner = candidate.action_id
                won.append(Won(winner, circumstances.time_micros))
        if candidate.kind is ActionKind.OFFER:
            offered.append(candidate)
        elif candidate.avoid and heeds:
            # it has no category, so that it was looked at before all that it may concern
            asked.append(candidate)
            avoided = {**avoided, **avoiding.words_of(candidate)}
    actions = tuple(outcomes[position] for position in range(len(candidates)))
    taken = _slots_taken(actions, standing, circumstances.time_micros)
    if asked:
        taken |= avoiding.taken(asked, circumstances.time_micros, conversation_micros)
    household = circumstances.household if won else 0
    return Arbitration(
        actions,
        taken,
        tuple(won),
        limited.uses,
        limited.free(),
        household=household,
        won_until_micros=circumstances.time_micros + conversation_micros if household else 0,
    )


def rank_of(action: DecidedAction) -> tuple[int, float, int, int, str]:
    """By which actions are looked at, lowest first: tier, score, priority, the order asked for, id."""
    return _rank(action.candidate, action.score)


def _rank(candidate: Candidate, score: float) -> tuple[int, float, int, int, str]:
    category = candidate.category
    tier = 0 if category is None else _TIERS[_CATEGORIES.index(category)]
    return tier, -score, -candidate.priority, candidate.order, candidate.action_id


def _judged(candidate: Candidate, circumstances: Circumstances) -> tuple[float, Factors | None]:
    """The score of a candidate and what it is made of; what is not sent has none."""
    if candidate.kind not in _SENT:
        return 0.0, None
    factors = factors_for(candidate, circumstances)
    return factors.score, factors


def _clash(candidate: Candidate, offered: list[Candidate]) -> tuple[RefusalReason, str] | None:
    """Whether an offer does not go with one that passed already."""
    if candidate.kind is ActionKind.OFFER:
        for other in offered:
            if other.name in candidate.excludes or candidate.name in other.excludes:
                detail = f"{other.name} is offered at the same time, and they exclude each other"
                return RefusalReason.NOT_ELIGIBLE, detail
    return None


def _over_share(candidate: Candidate, circumstances: Circumstances) -> str:
    """Why one more sales contact would be more than the operator's share allows; empty: it would not.

    A task for an agent is no contact. Who had no contact at all may get one; contacts that are not known
    leave no room.
    """
    terms, contacts = circumstances.terms, circumstances.contacts
    if terms.most_sales is None or candidate.kind not in _CONTACTS:
        return ""
    if contacts is None:
        share = share_words(terms.most_sales, terms.share_micros)
        return f"{share}, and the customer's contacts may not be counted"
    return over_share(terms.most_sales, terms.share_micros, contacts, circumstances.sales_contacts)


class _Limited:
    """The limits of the rule sets whose actions pass."""

    def __init__(self, standing: Standing) -> None:
        self._turns = {name: Turns(name, room) for name, room in standing.rooms.items()}
        self.uses: dict[str, Use] = {}

    def passed(self, candidate: Candidate, score: float, factors: Factors | None) -> DecidedAction:
        """What becomes of an action that nothing else stands against."""
        if candidate.kind not in _SENT:
            return DecidedAction(candidate, ActionOutcome.DONE, None, score, "", "", factors)
        turns = self._turns.get(candidate.rule_set)
        if turns is None or candidate.category is Category.MANDATORY:
            return DecidedAction(candidate, ActionOutcome.DISPATCHED, None, score, "", "", factors)
        if candidate.cost_from.detail and turns.has_budget:
            detail = (
                f"the budget of {candidate.rule_set} cannot be kept: its cost, {candidate.cost_from.detail}"
            )
            return DecidedAction(candidate, _REFUSED, RefusalReason.BUDGET, score, "", detail, factors)
        turn = turns.take(candidate.action_id, candidate.cost, candidate.expires_micros)
        if isinstance(turn, tuple):
            return DecidedAction(candidate, _REFUSED, turn[0], score, "", turn[1], factors)
        if turn.use is not None:
            self.uses[candidate.action_id] = turn.use
        if turn.planned:
            waiting = replace(candidate, planned_micros=turn.at_micros)
            detail = f"its turn under the pace of {candidate.rule_set}"
            return DecidedAction(waiting, _PLANNED, None, score, "", detail, factors)
        return DecidedAction(candidate, ActionOutcome.DISPATCHED, None, score, "", "", factors)

    def free(self) -> dict[str, int]:
        """When the next action of each may follow."""
        return {name: turns.free_micros for name, turns in self._turns.items()}


def _winner_of(standing: Standing, time_micros: int, conversation_micros: int) -> str:
    """The action that already won the conversation around that time; empty: none."""
    near = [won for won in standing.won if abs(time_micros - won.time_micros) < conversation_micros]
    return max(near, key=lambda won: (won.time_micros, won.action_id)).action_id if near else ""


def _slots_taken(
    actions: tuple[DecidedAction, ...], standing: Standing, time_micros: int
) -> dict[tuple[str, str, str], Taken]:
    """The slots that the actions which passed take now; those of one rule share theirs."""
    taken: dict[tuple[str, str, str], Taken] = {}
    passed = [each for each in actions if each.candidate.slot is not None and each.outcome is not _REFUSED]
    for action in sorted(passed, key=lambda each: (each.candidate.order, each.candidate.action_id)):
        slot = action.candidate.slot
        assert slot is not None
        action_id = action.candidate.action_id
        before = taken.get(slot.name)
        if before is not None:
            taken[slot.name] = replace(before, holders=(*before.holders, action_id))
            continue
        held = standing.slots.get(slot.name)
        if held is None or action_id not in held.holders:
            taken[slot.name] = Taken(time_micros, (action_id,), slot.ends_micros(time_micros))
    return taken
