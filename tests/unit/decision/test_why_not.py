"""Why an action did not happen: which of what was decided, live and known is told first."""

from dataclasses import dataclass, field

import pytest

from services.decision.app.decisions import stopped_of, waiting_of
from services.decision.app.jobs import Source
from services.decision.app.ports import (
    LiveProgram,
    Message,
    Past,
    PastEvent,
    Recorded,
)
from services.decision.app.why_not import Question, WhyNot, _no_event, _Search
from services.decision.domain.absent import Absence, Asking, Cause
from services.decision.domain.arbitration import Candidate, Circumstances, DecidedAction, Standing
from services.decision.domain.decide import Evaluation
from services.decision.domain.errors import JobFailedError
from services.decision.domain.once import Slot, Taken
from services.decision.domain.tree import Node
from services.vocabulary.words import ActionKind, ActionOutcome, Category, MessageState, RefusalReason
from tests.fakes.hand_clock import HandClock
from tests.fakes.messages import MessagesFake

NOW = 1_790_000_000_000_000
DAY = 86_400_000_000


def candidate(name="plan-upgrade", rule="upgrade", **more):
    return Candidate("a-1", "shock", 3, rule, 0, ActionKind.OFFER, name, Category.SALES, 0, **more)


def decision(action, at=NOW, standing=None):
    evaluation = Evaluation((), (action.candidate,), Circumstances(at))
    return Recorded(
        "d-1", 7, "e-1", "crm", "usage.data_used", at, at, 2, evaluation, standing or Standing(), (action,),
        b"", None, {},
    )  # fmt: skip


def happened(at, why_nothing=""):
    return PastEvent(f"e{at}", "crm", "usage.data_used", at, b"", b"", why_nothing)


def found(cause, met=0.5, rule="upgrade"):
    return Absence(
        "shock", 3, rule, cause, f"{rule} {cause}", "more", met, Node("rule", "shock", rule, "", False)
    )


@dataclass
class World:
    """All that WhyNot asks, as a test says it is."""

    decided: list = field(default_factory=list)
    live_at: int = 2
    asking_by: dict = field(default_factory=dict)
    events: tuple = ()
    note: str = ""
    absent_by: dict = field(default_factory=dict)
    stored: object = None
    told: dict = field(default_factory=dict)
    broken: bool = False

    async def people(self, subject):
        assert subject == "crm:7"
        return (7, 8)

    async def page(self, wanted):
        assert wanted.customers == (7, 8)
        between = (
            one for one in self.decided if wanted.from_micros <= one.event_micros < wanted.until_micros
        )
        return list(enumerate(between))

    async def find(self, known, version=0):
        del version
        return self.stored if known == "shock" else None

    async def version_at(self, time_micros):
        assert time_micros <= NOW
        return self.live_at

    async def live(self, version=None):
        return LiveProgram(3 if version is None else version, (Source("shock", 3, "s.yaml", ""),), ())

    async def files(self, version):
        del version

    async def asking(self, then, wanted):
        if self.broken:
            raise JobFailedError("NotReplayableError: they no longer compile", None)
        return self.asking_by.get((then.version, wanted), ())

    async def absent(self, then, wanted, event):
        assert (then.version, wanted) == (2, "plan-upgrade")
        return self.absent_by.get(event.time_micros, ())

    async def past(self, subject, types, from_micros, until_micros):
        assert (subject, tuple(types)) == ("crm:7", ("usage.data_used",))
        assert until_micros - from_micros == 2 * DAY + 1
        return Past(self.events, self.note)

    async def ask(self, wanted="plan-upgrade", at=NOW):
        why_not = WhyNot(HandClock(NOW), self, self, self, self, self, self, MessagesFake(self.told))
        return await why_not.ask(Question("crm:7", wanted, at, DAY))


ASKING = {(2, "plan-upgrade"): (Asking("shock", 3, "upgrade", ("usage.data_used",), None, None),)}


async def test_a_refusal_is_told_with_what_was_needed():
    slot = Slot("shock", "upgrade", "", 2 * DAY)
    refused = DecidedAction(candidate(slot=slot), ActionOutcome.REFUSED, RefusalReason.ONCE)
    standing = Standing({slot.name: Taken(NOW - DAY, ("a-0",))})
    told = await World([decision(refused, standing=standing)]).ask()
    assert (told.cause, told.reason, told.action_id) == (Cause.REFUSED, RefusalReason.ONCE, "a-1")
    assert told.needed == "it was done at 2026-09-20T14:13:20Z; it could be again from 2026-09-22T14:13:20Z"
    assert told.recorded.decision_id == "d-1"


async def test_what_was_done_after_all_goes_before_a_nearer_refusal():
    done = decision(DecidedAction(candidate(), ActionOutcome.DISPATCHED), at=NOW - DAY // 2)
    refused = decision(DecidedAction(candidate(), ActionOutcome.REFUSED, RefusalReason.ONCE))
    told = await World([refused, done]).ask()
    assert told.cause is Cause.HAPPENED
    waiting = DecidedAction(candidate(planned_micros=NOW + DAY), ActionOutcome.PLANNED)
    assert (await World([decision(waiting)]).ask()).cause is Cause.WAITS


async def test_the_channel_may_have_said_no():
    world = World([decision(DecidedAction(candidate(), ActionOutcome.DISPATCHED))])
    no = Message("m-1", MessageState.REFUSED, RefusalReason.NO_CONSENT, "for marketing", "on sms", ())
    world.told = {"a-1": (no,)}
    told = await world.ask()
    assert (told.cause, told.reason, told.message_id) == (Cause.CHANNEL, RefusalReason.NO_CONSENT, "m-1")
    assert told.sentence == "it was decided, and is refused on sms: NO_CONSENT, for marketing"
    assert told.needed == "the customer would have to agree to it"
    world.told = {"a-1": (no, Message("m-2", MessageState.SENT, None, "", "on email", ()))}
    assert (await world.ask()).cause is Cause.HAPPENED


async def test_the_rule_that_came_nearest_at_any_event_is_told():
    world = World(
        asking_by=ASKING,
        events=(happened(NOW - 5), happened(NOW - 3)),
        absent_by={
            NOW - 3: (found(Cause.CONDITION, 0.2),),
            NOW - 5: (found(Cause.CONDITION, 0.5), found(Cause.WITHHELD, 0.0, "held")),
        },
    )
    told = await world.ask()
    assert (told.cause, told.rule, told.event.time_micros, told.then) == (
        Cause.WITHHELD, "held", NOW - 5, True,
    )  # fmt: skip
    world.absent_by = {
        NOW - 3: (found(Cause.CONDITION, 0.2, "far"),),
        NOW - 5: (found(Cause.CONDITION, 0.5, "near"),),
    }
    assert (await world.ask()).rule == "near"
    world.absent_by = {NOW - 3: (found(Cause.NOT_FOUND),)}
    told = await world.ask()
    assert (told.cause, told.needed) == (Cause.NOT_FOUND, "")
    assert "no decision of then is kept" in told.sentence


async def test_without_an_event_that_calls_for_it_it_says_what_would():
    world = World(asking_by=ASKING, note="not all is kept")
    told = await world.ask()
    assert (told.cause, told.needed) == (Cause.NO_EVENT, "shock is called by an event usage.data_used")
    assert told.note == "not all is kept"
    world.events = (happened(NOW, "it was loaded as history, which triggers nothing"),)
    told = await world.ask()
    assert told.cause is Cause.NO_EVENT
    assert told.sentence.endswith("but it was loaded as history, which triggers nothing")


@pytest.mark.parametrize(
    ("world", "wanted", "cause", "words"),
    [
        (World(live_at=0), "plan-upgrade", Cause.NOT_LIVE, "no rule set was live"),
        (World(asking_by={(3, "plan-upgrade"): ASKING[2, "plan-upgrade"]}), "plan-upgrade", Cause.NOT_LIVE,
         "shock was not live at"),
        (World(), "shok", Cause.UNKNOWN, "no rule that was live asks for shok"),
        (World(broken=True), "plan-upgrade", Cause.NOT_FOUND, "cannot be run again"),
    ],
)  # fmt: skip
async def test_what_was_not_live_or_is_not_known_is_told_apart(world, wanted, cause, words):
    told = await world.ask(wanted)
    assert told.cause is cause
    assert words in told.sentence
    if cause is Cause.UNKNOWN:
        assert told.needed == "did you mean shock?"


def test_what_did_not_call_is_told_in_words_and_by_no_name_of_ours():
    called_by = ("usage.data_used", "ask.care-call", "trigger.due")

    called = Asking("shock", 3, "x", called_by, None, None)
    told = _no_event(_Search(Question("crm:7", "shock", NOW, DAY), 7, (7,)), (called,), called_by)
    assert told.sentence.endswith(
        "there was no usage.data_used of this customer; nobody asked care-call; and no schedule, absence or "
        "step of a journey called"
    )


def test_an_action_counts_as_stopped_when_every_message_was():
    no = Message("m-1", MessageState.REFUSED, RefusalReason.NO_CONSENT, "", "on sms", ())
    late = Message("m-2", MessageState.REFUSED, RefusalReason.EXPIRED, "", "on email", ())
    sent = Message("m-3", MessageState.SENT, None, "", "on app", ())
    assert stopped_of({"a": (no, late), "b": (no, sent), "c": ()}) == {"a": RefusalReason.EXPIRED}
    quiet = Message("m-4", MessageState.DEFERRED, RefusalReason.QUIET_HOURS, "", "on sms", ())
    messages = {"a": (no, quiet), "b": (quiet, sent), "c": (no,), "d": ()}
    assert stopped_of(messages) == {"c": RefusalReason.NO_CONSENT}
    assert waiting_of(messages) == {"a": RefusalReason.QUIET_HOURS}
