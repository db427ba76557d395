"""What the use cases need from outside."""

from __future__ import annotations

from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Protocol

if TYPE_CHECKING:
    from collections.abc import Iterable, Mapping, Sequence

    from services.decision.app.jobs import (
        Answered,
        AskedNow,
        Batch,
        Checked,
        Described,
        DueQuestion,
        Evaluated,
        Item,
        Loaded,
        ProgramThen,
        Replayed,
        SetAside,
        Source,
    )
    from services.decision.domain.absent import Absence, Asking
    from services.decision.domain.arbitration import Arbitration, Candidate, DecidedAction, Standing
    from services.decision.domain.care import Afterwards
    from services.decision.domain.decide import Evaluation, Planned
    from services.decision.domain.journeys import Position, StepDue
    from services.decision.domain.ledger import Ledger
    from services.runtime.database import Transaction
    from services.runtime.statements import Statements
    from services.vocabulary.words import Channel, MessageState, RefusalReason


@dataclass(frozen=True, slots=True)
class Decided:
    """One decision, ready to be written and handed on. Times in micros.

    ``standing``: the part of the customer's standing that it rested on. ``planned``: the plan it decides
    again.
    ``gates``: what the channel's gates refused beforehand, by action id. ``presented``: the caller shows it.
    ``catalogue``: the version of the one it was decided with.
    """

    decision_id: str
    customer: int
    event_id: str
    source: str
    event_type: str
    event_micros: int
    sequence: int
    decided_micros: int
    program: int
    line: str
    hops: int
    evaluation: Evaluation
    standing: Standing
    arbitration: Arbitration
    material: bytes
    planned: Planned | None = None
    gates: Mapping[str, tuple[RefusalReason, str]] = field(default_factory=dict)
    presented: bool = False
    catalogue: str = ""


@dataclass(frozen=True, slots=True)
class Recorded:
    """A decision as stored, with all that its replay needs; ``actions`` as they came out then.

    ``line`` of the event; ``presented``: whoever asked shows it, and the channel has nothing of it.
    """

    decision_id: str
    customer: int
    event_id: str
    source: str
    event_type: str
    event_micros: int
    decided_micros: int
    program: int
    evaluation: Evaluation
    standing: Standing
    actions: tuple[DecidedAction, ...]
    material: bytes
    planned: Planned | None
    gates: Mapping[str, tuple[RefusalReason, str]]
    line: str = ""
    presented: bool = False
    catalogue: str = ""


@dataclass(frozen=True, slots=True)
class Wanted:
    """Which decisions to list; 0 and empty: any. ``before``: number of the last one seen.

    ``customers``: all ids of one person. ``from_micros``, ``until_micros`` (end-exclusive): the event's time.
    """

    customers: tuple[int, ...] = ()
    rule_set: str = ""
    reason: str = ""
    event_type: str = ""
    before: int = 0
    size: int = 100
    from_micros: int = 0
    until_micros: int = 0


@dataclass(frozen=True, slots=True)
class Plan:
    """A planned action as stored."""

    customer: int
    decision_id: str
    planned: Planned
    line: str
    hops: int
    done: bool


@dataclass(frozen=True, slots=True)
class DuePlan:
    """A planned action whose time has come."""

    customer: int
    action_id: str
    decision_id: str
    due_micros: int
    line: str
    hops: int


@dataclass(frozen=True, slots=True)
class RuleSetRow:
    """One version of a rule set as stored. Times in micros; ``activated_micros`` 0: never.

    ``author``, ``submitter``, ``approver``: who stored, submitted and approved it; empty: nobody known.
    ``canary_share``: in ten-thousandths of the customers. ``taken_back``: it was live, and was found bad.
    ``differences`` from ``compared_version`` and ``simulation_id`` were attached when it was submitted.
    """

    name: str
    version: int
    state: str
    title: str
    owner: str
    stage: str
    triggers: tuple[str, ...]
    rules: int
    created_micros: int
    activated_micros: int
    file: str
    source: str
    author: str = ""
    submitter: str = ""
    approver: str = ""
    canary_share: int = 0
    scheduled_micros: int = 0
    scheduler: str = ""
    taken_back: bool = False
    differences: tuple[str, ...] = ()
    compared_version: int = 0
    simulation_id: str = ""


@dataclass(frozen=True, slots=True)
class LiveProgram:
    """The rule sets that are live together; ``version`` 0: none yet.

    ``sources``: what is live; ``canaries``: versions that a share of the customers meets instead.
    ``catalogue``: the one with which they went live; ``schedules``: how many of them something else than
    events calls for.
    """

    version: int
    sources: tuple[Source, ...]
    listened: tuple[str, ...]
    absences: tuple[str, ...] = ()
    canaries: tuple[Source, ...] = ()
    catalogue: str = ""
    schedules: int = 0

    @property
    def whole(self) -> tuple[Source, ...]:
        """All that an evaluator loads: what is live, then the canaries."""
        return (*self.sources, *self.canaries)


@dataclass(frozen=True, slots=True)
class MessageStep:
    """One change of a message, in a sentence."""

    state: MessageState
    sentence: str


@dataclass(frozen=True, slots=True)
class Message:
    """What the channel service made of an action. ``where``: on which channel, and when handed over."""

    message_id: str
    state: MessageState
    reason: RefusalReason | None
    detail: str
    where: str
    history: tuple[MessageStep, ...]


class Messages(Protocol):
    """The channel service, asked what became of actions."""

    async def of(self, candidates: Sequence[Candidate]) -> Mapping[str, tuple[Message, ...]]:
        """Messages by action; nothing for what it does not know, and for all when it cannot be reached."""
        ...


class KeptCatalogues(Protocol):
    """Catalogues of the past."""

    async def files(self, version: str) -> bytes | None:
        """The files of that version, packed; None: they are not kept."""
        ...


@dataclass(frozen=True, slots=True)
class PastEvent:
    """An event of a customer, and the state that goes with it. Times in micros.

    ``event`` and ``snapshot`` as they travel. ``why_nothing``: why it triggered nothing, whatever the rules
    say (loaded as history, taken back, its fields withheld); empty: it may have.
    """

    event_id: str
    source: str
    type: str
    time_micros: int
    event: bytes
    snapshot: bytes
    why_nothing: str = ""


@dataclass(frozen=True, slots=True)
class Past:
    """Events of a time, oldest first, with snapshots of their time.

    ``note``: why there may have been more, or was more to see; empty: nothing to add.
    """

    events: tuple[PastEvent, ...]
    note: str = ""


class Histories(Protocol):
    """The profile service, asked what happened to a customer."""

    async def past(self, subject: str, types: Sequence[str], from_micros: int, until_micros: int) -> Past:
        """Events of these types at these times. Raises NotFoundError and UnavailableError."""
        ...


class RuleSets(Protocol):
    """Rule sets and programs as stored."""

    async def version_at(self, time_micros: int) -> int:
        """The number of the program that was live at that business time; 0: none was."""
        ...

    async def live(self, version: int | None = None) -> LiveProgram:
        """What is live now, or was as that version of the program."""
        ...

    async def version(self) -> int:
        """The number of the program that is live; 0: none yet."""
        ...

    async def context(self) -> tuple[Source, ...]:
        """Of each rule set the live version, else the newest."""
        ...

    async def find(self, name: str, version: int) -> RuleSetRow | None:
        """One version; 0: the newest."""
        ...

    async def page(self, after: tuple[str, int] | None, size: int, *, all_versions: bool) -> list[RuleSetRow]:
        """By name, then version."""
        ...

    async def add(
        self,
        transaction: Transaction,
        described: Described,
        source: str,
        file: str,
        state: str,
        now_micros: int,
    ) -> RuleSetRow:
        """Stores the next version; the same text as the newest version is that version."""
        ...


class Checker(Protocol):
    """Compiles and tries texts in a process of their own."""

    async def check(self, context: Sequence[Source], text: str, file: str) -> Checked:
        """Compiles a text beside others and runs its tests."""
        ...

    async def trial(self, context: Sequence[Source], text: str, file: str, version: int) -> Checked:
        """The same with generated snapshots, engine against oracle, in a process started for it alone."""
        ...


class Listening(Protocol):
    """The profile service's list of event types that travel with a snapshot."""

    async def set_listened(self, types: Sequence[str], absences: Sequence[str], request_id: str) -> None:
        """Replaces the list, and that of types whose absence is looked for; in force when this returns.

        Raises UnavailableError.
        """
        ...


class Evaluator(Protocol):
    """Runs the live rules on events, in a process that may die and comes back."""

    async def load(self, version: int, sources: Sequence[Source]) -> Loaded:
        """Makes a version of the whole program the live one."""
        ...

    async def evaluate(
        self, payloads: Sequence[bytes], stored_arms: Mapping[int, Mapping[str, str]] | None = None
    ) -> Batch:
        """Evaluates messages of EVENTS."""
        ...

    async def evaluate_due(
        self, questions: Sequence[DueQuestion], stored_arms: Mapping[int, Mapping[str, str]] | None = None
    ) -> tuple[Item, ...]:
        """Evaluates planned actions that fell due."""
        ...


class Asker(Protocol):
    """Runs the rules for one question, now or as it was then."""

    async def ask(self, asked: AskedNow) -> Answered:
        """The live rules' answer to an event that happens now."""
        ...

    async def replay(
        self, then: ProgramThen, recorded: Recorded, action_id: str, afterwards: Afterwards
    ) -> Replayed:
        """A recorded decision, run again; ``action_id``: the one that is asked about, empty: all."""
        ...


class Absences(Protocol):
    """Runs rules of a time on events of that time, to see why they did not ask for something."""

    async def asking(self, then: ProgramThen, wanted: str) -> tuple[Asking, ...]:
        """The rules that ask for it. Raises NotReplayableError."""
        ...

    async def absent(self, then: ProgramThen, wanted: str, event: PastEvent) -> tuple[Absence, ...]:
        """Why each of them did not, at that event."""
        ...


@dataclass(frozen=True, slots=True)
class FreshSnapshot:
    """A customer as the profile service knows them now; ``raw`` as it travels. ``household`` 0: none."""

    customer: int
    people: tuple[int, ...]
    sequence: int
    raw: bytes
    household: int = 0


class Profiles(Protocol):
    """The profile service, asked for snapshots."""

    async def snapshot(self, subject: str) -> FreshSnapshot:
        """By identity. Raises NotFoundError and UnavailableError."""
        ...

    async def people(self, subject: str) -> tuple[int, ...]:
        """All ids of the person with an identity. Raises NotFoundError and UnavailableError."""
        ...


class Gates(Protocol):
    """The channel service, asked to let actions through before they are presented."""

    async def reserve(
        self, request_id: str, decided: Decided, channel: Channel | None
    ) -> Mapping[str, tuple[RefusalReason, str]] | None:
        """What it refuses of the dispatched actions, by id; None: it cannot be reached."""
        ...


class Standings(Protocol):
    """What decisions leave behind, in a transaction that holds the customers' locks."""

    async def lock(
        self,
        transaction: Transaction,
        customers: Sequence[int],
        from_micros: int,
        to_micros: int,
        *,
        journeys: bool = False,
    ) -> Ledger:
        """Locks customers and households in id order, then reads their accounts.

        Conversations won within the times; ``journeys``: also where they stand in journeys.
        """
        ...

    async def read(
        self,
        transaction: Statements,
        customers: Sequence[int],
        from_micros: int,
        to_micros: int,
        *,
        journeys: bool = False,
    ) -> Ledger:
        """The same without locks, for an answer that binds nobody."""
        ...

    async def households_of(self, transaction: Transaction, action_ids: Sequence[str]) -> dict[str, int]:
        """Of these actions those that hold a household's slot; it is locked with the customers."""
        ...

    async def lock_limits(
        self,
        transaction: Transaction,
        ledger: Ledger,
        rule_sets: Iterable[str],
        action_ids: Sequence[str],
        now_micros: int,
    ) -> None:
        """Locks, after the customers, what rule sets have used of their limits, in name order.

        Reads it into the ledger, with what these actions have taken, and that of their rule sets.
        """
        ...

    async def read_limits(
        self, transaction: Transaction, ledger: Ledger, rule_sets: Iterable[str], now_micros: int
    ) -> None:
        """The same without locks, for an answer that binds nobody."""
        ...

    async def write(self, transaction: Transaction, ledger: Ledger, now_micros: int) -> None:
        """Writes what has changed."""
        ...


class Decisions(Protocol):
    """Decisions and planned actions as stored."""

    async def known(self, transaction: Transaction, decision_ids: Sequence[str]) -> set[str]:
        """Those of the ids that were decided before."""
        ...

    async def write(self, transaction: Transaction, decided: Sequence[Decided]) -> None:
        """Writes decisions, their actions, and the plans among them; marks plans decided again as done."""
        ...

    async def plans(self, action_ids: Sequence[str]) -> Mapping[str, Plan]:
        """Planned actions by id."""
        ...

    async def still_waiting(self, transaction: Transaction, action_ids: Sequence[str]) -> set[str]:
        """Those of the plans that were not taken back meanwhile; exact under the customers' locks."""
        ...

    async def take_due(self, transaction: Transaction, now_micros: int, most: int) -> list[DuePlan]:
        """Claims planned actions whose time has come."""
        ...

    async def next_due(self) -> int | None:
        """When the next planned action falls due; None: nothing is planned."""
        ...


@dataclass(frozen=True, slots=True)
class DueStep:
    """Where a customer stands in a journey, at a step whose time has come."""

    customer: int
    due: StepDue
    position: Position


class Steps(Protocol):
    """Where customers stand in journeys, by what is due."""

    async def take_due(self, transaction: Transaction, now_micros: int, most: int) -> list[DueStep]:
        """Claims steps whose time has come."""
        ...

    async def next_due(self) -> int | None:
        """When the next step falls due; None: nobody waits."""
        ...


class Journal(Protocol):
    """Decisions as they were recorded."""

    async def find(self, known_id: str) -> Recorded | None:
        """By decision id, or by action id its newest decision."""
        ...

    async def page(self, wanted: Wanted) -> list[tuple[int, Recorded]]:
        """Newest first, each with its number; without material."""
        ...


class HandOver(Protocol):
    """Hands on what was decided, through the outbox."""

    async def hand_on(self, transaction: Transaction, decided: Sequence[Decided]) -> None:
        """Actions for the channel service, and own events for the profile service."""
        ...

    async def fell_due(self, transaction: Transaction, due: Sequence[DuePlan]) -> None:
        """`action.due` for each plan."""
        ...

    async def steps_fell_due(self, transaction: Transaction, due: Sequence[DueStep]) -> None:
        """`journey.due` for each step."""
        ...

    async def give_back(self, transaction: Transaction, actions: Sequence[tuple[int, str]]) -> None:
        """Has the channel service free what it reserved for these (customer and action id)."""
        ...


class SetAsides(Protocol):
    """The dead letters of this service."""

    async def set_aside(self, transaction: Transaction, item: SetAside) -> None:
        """Keeps an event that could not be decided, with its input."""
        ...

    async def set_aside_evaluated(self, transaction: Transaction, item: Evaluated, reason: str) -> None:
        """The same for an event that was evaluated and could not be written."""
        ...
