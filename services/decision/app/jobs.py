"""What the engine's process is asked and what it answers: plain values that travel over a pipe.

Without slots, here and in what they hold: those pickle several times slower.
"""

from __future__ import annotations

from dataclasses import dataclass, field
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from collections.abc import Mapping

    from services.decision.app.ports import Recorded
    from services.decision.domain.decide import Evaluation, Planned
    from services.decision.domain.explain import Step
    from services.decision.domain.journeys import StepDue
    from services.decision.domain.occasions import Called
    from services.decision.domain.problems import Problem
    from services.decision.domain.replaying import Difference
    from services.decision.domain.tree import Node
    from services.decision.domain.trial import TestResult


@dataclass(frozen=True)
class Evaluated:
    """An event on which rules asked for actions.

    ``item``: its position among all events of the batch. ``material``: event and snapshot, compressed, as
    kept
    with the decision. ``planned``: the action id, when it is a planned action that fell due. ``people``: the
    customer and those merged into it. ``due``: the step, when it is one of a journey. ``catalogue``: its
    version. ``run``: number of the run over an audience that called; 0: none did.
    """

    item: int
    decision_id: str
    event_id: str
    source: str
    event_type: str
    event_micros: int
    sequence: int
    customer: int
    people: tuple[int, ...]
    line: str
    hops: int
    evaluation: Evaluation
    material: bytes
    planned: str = ""
    due: StepDue | None = None
    catalogue: str = ""
    run: int = 0


@dataclass(frozen=True)
class AskedNow:
    """A question asked now: event and snapshot as they travel, the customer's stored arms.

    ``recorded``: the decision may be written down, with the material to run it again.
    """

    event: bytes
    snapshot: bytes
    arms: Mapping[str, str]
    recorded: bool = True


@dataclass(frozen=True)
class Left:
    """A journey's step that was due, from which nothing leads on: the rule set or its step is gone."""

    item: int
    customer: int
    people: tuple[int, ...]
    due: StepDue


@dataclass(frozen=True)
class FellDue:
    """A planned action whose time has come: to be evaluated once its plan has been read."""

    item: int
    customer: int
    action_id: str
    event: bytes
    snapshot: bytes


@dataclass(frozen=True)
class GivenBack:
    """An action that the channel refused or could not say in time: it frees what it had used up.

    ``people``: the customer, and the id for which it was decided, where that one was merged since.
    """

    item: int
    customer: int
    action_id: str
    people: tuple[int, ...]


@dataclass(frozen=True)
class CameBack:
    """A customer whom we called comes with a fresh snapshot."""

    item: int
    customer: int
    event_id: str


@dataclass(frozen=True)
class Told:
    """What the channel told of an action: it was sent, or failed, or was refused (with the reason)."""

    item: int
    customer: int
    action_id: str
    event_type: str
    reason: str


@dataclass(frozen=True)
class Replied:
    """A customer wrote yes or no in answer to what an action said. Times in micros.

    ``aside``: the event, should it be impossible to take. ``recorded``: the action's decision, once it was
    looked up; None: none is kept.
    """

    item: int
    customer: int
    action_id: str
    yes: bool
    said_micros: int
    aside: SetAside
    recorded: Recorded | None = None


@dataclass(frozen=True)
class SetAside:
    """An event that could not be evaluated, with its decision input (an EventBatch of one).

    ``killed_engine``: it ended the engine's process, and not only once.
    """

    item: int
    customer: int
    event_id: str
    event_type: str
    payload: bytes
    reason: str
    killed_engine: bool = False


@dataclass(frozen=True)
class ThingHappened:
    """Something happened to a thing, which calls for rule sets. Times in micros.

    ``data``: what happened, as ``triggers.pack_happening`` packs it.
    """

    item: int
    event_id: str
    source: str
    event_micros: int
    hops: int
    data: str
    called: tuple[Called, ...]


@dataclass(frozen=True)
class PairOpened:
    """An event that another is to follow, or a rule set is called: `run` names the check. Times in micros.

    ``data``: what happened, as ``triggers.pack_happening`` packs it.
    """

    item: int
    customer: int
    rule_set: str
    run: str
    opened_micros: int
    due_micros: int
    line: str
    hops: int
    data: str


@dataclass(frozen=True)
class Erased:
    """A person who is erased; ``people``: all their ids, ``customer`` the one in whose partition it came.

    ``erasure``: the message as it travels on. Times in micros.
    """

    item: int
    event_id: str
    customer: int
    people: tuple[int, ...]
    erasure_id: str
    erased_micros: int
    erasure: bytes


Item = (
    Evaluated
    | FellDue
    | GivenBack
    | Left
    | Replied
    | SetAside
    | ThingHappened
    | PairOpened
    | Erased
    | CameBack
    | Told
)


@dataclass(frozen=True)
class Batch:
    """What came of a batch: ``counts`` events per message; events without an item triggered nothing."""

    counts: tuple[int, ...]
    items: tuple[Item, ...]
    program: int = 0


@dataclass(frozen=True)
class DueQuestion:
    """A planned action that fell due, with its plan."""

    fell_due: FellDue
    planned: Planned


@dataclass(frozen=True)
class Source:
    """One version of a rule set as stored. ``share``: of a canary, in ten-thousandths of the customers."""

    name: str
    version: int
    file: str
    text: str
    share: int = 0


@dataclass(frozen=True)
class Loaded:
    """What compiling came to. All but the problems is empty when there are errors.

    ``occasions``: the rule sets that something other than events of the customer calls for.
    """

    problems: tuple[Problem, ...]
    listened: tuple[str, ...] = ()
    triggers: tuple[str, ...] = ()
    occasions: tuple[Called, ...] = ()


@dataclass(frozen=True)
class Described:
    """One compiled rule set as listings show it."""

    name: str
    title: str
    owner: str
    stage: str
    triggers: tuple[str, ...]
    rules: int


@dataclass(frozen=True)
class Checked:
    """What checking one text, beside the rule sets that are live, came to.

    ``absences``: event types whose absence is looked for; ``schedules``: how many rule sets are called at
    times.
    """

    problems: tuple[Problem, ...]
    tests: tuple[TestResult, ...] = ()
    rule_set: Described | None = None
    listened: tuple[str, ...] = ()
    differences: tuple[str, ...] = field(default=())
    absences: tuple[str, ...] = ()
    schedules: int = 0


@dataclass(frozen=True)
class ProgramThen:
    """What was live at a time: rule sets, and the catalogue they were read with.

    ``catalogue`` empty: not known, today's will do. ``files``: those of the catalogue, as kept; None: they
    are not kept.
    """

    version: int
    sources: tuple[Source, ...]
    catalogue: str = ""
    files: bytes | None = None


@dataclass(frozen=True)
class Replayed:
    """A decision run again: what differs, what was looked at, why each action (by id) was asked for.

    ``problem``: why it could not be run again; then there is nothing else. ``difference`` None: it came out
    the same. ``nodes``: what was looked at, as a tree. ``regulator``, ``care``: a
    sentence each about the actions asked for.
    """

    problem: str = ""
    difference: Difference | None = None
    steps: tuple[Step, ...] = ()
    because: Mapping[str, tuple[str, ...]] = field(default_factory=dict)
    nodes: tuple[Node, ...] = ()
    regulator: str = ""
    care: str = ""


@dataclass(frozen=True)
class Verified:
    """Some recorded decisions run again: how many came out the same, positions of the others with the field.

    ``failed``: how many could not be run again, by why.
    """

    equal: int
    different: tuple[tuple[int, str], ...]
    failed: Mapping[str, int]


@dataclass(frozen=True)
class Answered:
    """The rules' answer to a question asked now, and why each action (by id) was asked for."""

    evaluated: Evaluated
    because: Mapping[str, tuple[str, ...]] = field(default_factory=dict)
    program: int = 0
