"""Two worlds walked side by side come out as each alone, and what is live comes out as it did live."""

import mmap
import random
import tempfile
from dataclasses import replace

import pytest
from rapport.types.v1 import stream_pb2

from services.decision.adapters.engine_child import Progress
from services.decision.adapters.sieving_engine import SievingEngine
from services.decision.adapters.simulation_bench import SimulationBench
from services.decision.adapters.simulation_walk import Walk
from services.decision.adapters.workbench import Workbench
from services.decision.adapters.yaml_reader import read_yaml
from services.decision.app.jobs import Evaluated, Source
from services.decision.app.simulation_jobs import DRAFT, LIVE, CustomerPast, Span
from services.decision.domain.decide import assumed_wrongly
from services.decision.domain.ledger import Ledger
from services.decision.domain.settling import Asked, settle
from services.vocabulary.arbitration_policy import ArbitrationPolicy
from services.vocabulary.values import DAY, HOUR, MINUTE
from services.vocabulary.words import ActionOutcome
from tests.unit.decision.generators import RULES
from tests.unit.decision.test_simulation import (
    CATALOGUE,
    NOON,
    Unwatched,
    event,
    rule,
    snapshot,
    text,
)

SPAN = Span(NOON - DAY, NOON + 60 * DAY)
SHIPPED = tuple(
    Source(name, 1, f"{name}.yaml", (RULES / f"{name}.yaml").read_text(encoding="utf-8"))
    for name in ("bill-shock", "dropped-calls", "open-complaint")
)
OFFER = "{offer: goodwill-1gb, category: retention, value: profile.tenure_months * 0.5, expires: 7d}"
SETS = text(
    rule("mark", when="profile.tenure_months >= 3", do="{set: {trait: upset, to: true}}"),
    rule("thank", when="profile.upset is true", do=OFFER, more=", once: 3d"),
    rule(
        "later",
        do="{survey: ces-after-care, after: 30h, unless: [topup.received happened], category: survey}",
    ),
    name="sets",
    trigger="[complaint.opened, topup.received]",
)
EMITS = text(
    rule("tell", do="{emit: care.contact_ended, with: {contact: c, channel: call, topic: calls}}"),
    name="emits",
    trigger="complaint.opened",
)
HEARS = text(rule("heard", more=", once: 2d"), name="hears", trigger="care.contact_ended")
STRICT = SETS.replace("tenure_months >= 3", "tenure_months >= 30").replace("once: 3d", "once: 9d")
LIVE_SOURCES = (*SHIPPED, Source("sets", 1, "sets", SETS), Source("hears", 1, "hears", HEARS))
DRAFTS = {
    "another threshold and a new one": (Source("", 0, "d", STRICT), Source("", 0, "e", EMITS)),
    "a shared one": (Source("", 0, "d", f"# changed\n{SHIPPED[2].text}"), Source("", 0, "e", STRICT)),
}
MONEY = {"amount": {"amount": "5.00", "currency": "EUR"}}
KINDS = (
    ("complaint.opened", {"complaint": "c", "topic": "calls"}),
    ("network.call_dropped", {}),
    ("network.call_dropped", {}),
    ("topup.received", MONEY),
    ("usage.allowance_exhausted", {"cycle": "2026-12", "days_left_in_cycle": 9, "surcharge_next": True}),
    ("care.contact_ended", {"contact": "k", "channel": "call"}),
)


class Known(dict):
    """What was known at any moment: the same."""

    def get(self, moment, default=None):
        del default
        return snapshot(moment[0], 90, tenure_months=moment[0] % 40).SerializeToString()


def life(customer, draw, contacts=()):
    """A past: events, each with what was known by then, contacts that were really made among it."""
    found, at, happened = stream_pb2.EventBatch(), NOON, []
    for number in range(1, draw.randint(2, 14)):
        kind, data = draw.choice(KINDS)
        at += draw.randint(1, 40) * HOUR // 2
        one = event(customer, 3 * number, kind, at, data=data)
        known = snapshot(
            customer, 3 * number, tenure_months=customer % 40, churn_risk=0.7, better_plan="m-20gb"
        )
        for name in {name for name, _ in happened}:
            times = [
                (time, sequence)
                for (kept, time), sequence in zip(happened, range(1, 99), strict=False)
                if kept == name
            ]
            _remember(known, name, times)
        _remember(known, "action.sent", [(time, sequence) for time, sequence in contacts if time < at])
        happened.append((kind, at))
        taken = found.events.add()
        taken.CopyFrom(one)
        found.snapshots.append(known.SerializeToString())
        taken.snapshot = len(found.snapshots)
    return found


def _remember(known, name, times):
    if times:
        kept = known.activity.add(type=name)
        for place, of in enumerate(("time_delta_micros", "sequence_deltas")):
            column = [moment[place] for moment in times]
            getattr(kept, of).extend([b - a for a, b in zip([0, *column], column, strict=False)])


def bench(drafts, names, live=LIVE_SOURCES):
    found = SimulationBench(CATALOGUE, read_yaml, Unwatched(), ArbitrationPolicy)
    prepared = found.prepare(drafts, live, names)
    assert prepared.types, prepared.problems
    return found


def told(world):
    funnel = {
        name: (stages.asked, stages.fell_due, stages.decided, dict(stages.refused))
        for name, stages in world.funnel.stages.items()
    }
    return world.funnel.events, world.funnel.decisions, funnel, world.would, world.asked


@pytest.mark.parametrize("drafts", DRAFTS.values(), ids=DRAFTS)
def test_worlds_side_by_side_come_out_as_each_alone(drafts):
    draw = random.Random(11)
    pasts = [CustomerPast(n, (life(n, draw).SerializeToString(),)) for n in range(1, 21)]
    both = bench(drafts, (DRAFT, LIVE)).walk(pasts, SPAN, Known())
    draft = bench(drafts, (DRAFT,)).walk(pasts, SPAN, Known())
    live = bench((), (DRAFT,)).walk(pasts, SPAN, Known())
    assert told(both.worlds[DRAFT]) == told(draft.worlds[DRAFT])
    assert told(both.worlds[LIVE]) == told(live.worlds[DRAFT])
    assert not both.failed
    assert len(both.worlds[DRAFT].would) > 12


def test_a_draft_competes_from_the_place_that_the_live_version_has():
    offer = "{offer: goodwill-1gb, category: retention, value: 5.00, expires: 7d}"
    live = tuple(
        Source(name, 1, name, text(rule("sell", do=offer), name=name)) for name in ("a-first", "b-second")
    )
    known = snapshot(1, tenure_months=5).SerializeToString()
    batch = stream_pb2.EventBatch(events=[event(1)], snapshots=[known])
    batch.events[0].snapshot = 1
    past = CustomerPast(1, (batch.SerializeToString(),))
    worlds = bench((_changed(live[1]),), (DRAFT, LIVE), live).walk([past], SPAN, {}).worlds
    (won,) = worlds[LIVE].would
    assert worlds[DRAFT].would == [won]
    assert won.name.rule_set == "a-first"


def test_who_meets_nothing_that_differs_is_walked_once(monkeypatch):
    taken = []
    take = Walk.take
    monkeypatch.setattr(Walk, "take", lambda walk, *event: (taken.append(walk.side.name), take(walk, *event)))
    past = [event(1, 1, "topup.received", data=MONEY), event(1, 2, "network.call_dropped", data={})]
    batch = stream_pb2.EventBatch(events=past, snapshots=[snapshot(1).SerializeToString()])
    for one in batch.events:
        one.snapshot = 1
    customer = CustomerPast(1, (batch.SerializeToString(),))
    found = bench((_changed(SHIPPED[0]),), (DRAFT, LIVE)).walk([customer], SPAN, {})
    assert taken == [DRAFT, DRAFT]
    assert found.worlds[LIVE].funnel.events == found.worlds[DRAFT].funnel.events == 2
    taken.clear()
    bench((_changed(SHIPPED[1]),), (DRAFT, LIVE)).walk([customer], SPAN, {})
    assert taken == [DRAFT, LIVE] * 2
    taken.clear()
    bench((SHIPPED[1],), (DRAFT, LIVE)).walk([customer], SPAN, {})
    assert taken == [DRAFT, DRAFT]


def _changed(source):
    return replace(source, text=f"# changed\n{source.text}")


class AsLive:
    """The engine's process and the ledger of live decisions, with nothing around them."""

    def __init__(self, sources):
        with tempfile.TemporaryFile() as file:
            file.truncate(mmap.PAGESIZE)
            self.workbench = Workbench(SievingEngine(), CATALOGUE, read_yaml, Progress(file.fileno()))
        assert self.workbench.load(1, sources).triggers

    def decide(self, batch):
        """What was sent, and when: (action id, event time); by event, what was refused."""
        ledger, sent, refused, arms = Ledger({}), [], {}, {}
        for one in batch.events:
            alone = stream_pb2.EventBatch(events=[one], snapshots=[batch.snapshots[one.snapshot - 1]])
            alone.events[0].snapshot = 1
            for item in self.workbench.evaluate([alone.SerializeToString()], {one.customer: arms}).items:
                assert isinstance(item, Evaluated), item
                standing = ledger.standing(item.people, item.evaluation.households)
                assert not assumed_wrongly(item.evaluation, standing)
                asked = Asked(item.people, item.line, item.hops)
                _, arbitration = settle(
                    ledger,
                    asked,
                    item.evaluation,
                    standing,
                    one.accepted_micros,
                    CATALOGUE.conversation_micros,
                )
                arms = dict(ledger.standing(item.people).arms)
                for action in arbitration.actions:
                    if action.outcome is ActionOutcome.DISPATCHED:
                        sent.append((action.candidate.action_id, one.time_micros))
                    elif action.outcome is ActionOutcome.REFUSED:
                        refused[action.candidate.action_id] = action.reason.value
        return sent, refused


def test_what_is_live_comes_out_as_it_did_live():
    sources = SHIPPED
    live, simulated = AsLive(sources), bench((), (DRAFT,), sources)
    sent = refusals = 0
    for customer in range(1, 41):
        # what was sent is among what is known of the customer afterwards; until that settles, once more
        contacts = []
        while True:
            batch = life(customer, random.Random(customer), contacts)
            was_sent, refused = live.decide(batch)
            made = [(time + MINUTE, 1_000 + place) for place, (_, time) in enumerate(was_sent)]
            if made == contacts:
                break
            contacts = made
        found = simulated.walk([CustomerPast(customer, (batch.SerializeToString(),))], SPAN, Known())
        world = found.worlds[DRAFT]
        at_once = [(one.action_id, one.micros) for one in world.would if one.name.kind != "survey"]
        assert at_once == was_sent
        assert sum(
            stages.refused.total() + stages.outranked for stages in world.funnel.stages.values()
        ) >= len(refused)
        sent, refusals = sent + len(was_sent), refusals + len(refused)
    assert sent > 30
    assert refusals > 5
