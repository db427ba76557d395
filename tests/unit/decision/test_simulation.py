"""A simulation end to end, with a past and gates of our own: the same code as live, and nothing written."""

import asyncio
import os
import sys
from contextlib import aclosing, asynccontextmanager
from dataclasses import replace

import orjson
import pytest
from rapport.types.v1 import stream_pb2

from services.decision.adapters.engine_process import EngineProcess
from services.decision.adapters.simulation_bench import SimulationBench
from services.decision.adapters.yaml_reader import read_yaml
from services.decision.app.jobs import Source
from services.decision.app.ports import LiveProgram
from services.decision.app.simulate import MOST_AT_ONCE, Done, Progress, Refused, SimulateRules
from services.decision.app.simulation_ports import Header, Judged, Piece
from services.decision.app.simulation_telling import Wanted
from services.decision.domain.errors import EngineDiedError
from services.runtime.errors import OverloadedError
from services.vocabulary.arbitration_policy import ArbitrationPolicy
from services.vocabulary.catalogue import load_catalogue
from services.vocabulary.ids import own_event_id
from services.vocabulary.values import DAY, HOUR, parse_time
from services.vocabulary.wire import value_to_wire
from tests.fakes.hand_clock import HandClock
from tests.unit.decision.generators import RULES

CATALOGUE = load_catalogue(RULES)
NOON = parse_time("2026-12-10T12:00:00Z")
HEAD = """
ruleset: {name}
title: A
owner: test
stage: complain
trigger: {trigger}
rules:
"""
CALL = "{task: call-back, with: {queue: care}, category: service"


def text(*rules, name="calls", trigger="complaint.opened"):
    return HEAD.format(name=name, trigger=trigger) + "".join(f"  - {rule}\n" for rule in rules)


def rule(rule_id="call", when="profile.tenure_months >= 1", do=CALL + "}", more=""):
    return f"{{id: {rule_id}, when: ['{when}'], do: {do}{more}}}"


def snapshot(customer, sequence=1, **traits):
    return stream_pb2.Snapshot(
        customer=customer,
        sequence=sequence,
        traits=[
            stream_pb2.Trait(
                name=name, value=value_to_wire(value, CATALOGUE.traits[name].type), time_micros=1
            )
            for name, value in traits.items()
        ],
    )


def event(customer, number=1, event_type="complaint.opened", at=NOON, **more):
    return stream_pb2.TakenEvent(
        id=more.pop("id", f"e{customer}-{number}"),
        source=more.pop("source", "crm"),
        type=event_type,
        time_micros=at,
        accepted_micros=at,
        data=orjson.dumps(more.pop("data", {"complaint": "c", "topic": "calls"})),
        customer=customer,
        sequence=number,
        **more,
    )


def batch(*events, **traits):
    found = stream_pb2.EventBatch()
    for one in events:
        taken = found.events.add()
        taken.CopyFrom(one)
        found.snapshots.append(snapshot(one.customer, one.sequence, **traits).SerializeToString())
        taken.snapshot = len(found.snapshots)
    return found.SerializeToString()


class FakeHistory:
    def __init__(self, pasts, **header):
        self.pasts, self.header = pasts, header
        self.asked, self.which, self.traits = [], [], {"tenure_months": 5}
        self.left_out = {}
        self.hold = None

    async def replay(self, which):
        self.which.append(which)
        yield Piece(Header(len(self.pasts), **self.header))
        if self.hold is not None:
            await self.hold.wait()
        for customer, payload in self.pasts:
            if customer % which.shards == which.shard:
                yield Piece(None, [(customer, payload)], 1)
        yield Piece(None, left_out=self.left_out)

    async def moments(self, asked):
        self.asked += asked
        return {one: snapshot(one[0], 9, **self.traits).SerializeToString() for one in asked}


class FakeGates:
    def __init__(self, judge=None):
        self.judge_one = judge or (lambda *_: Judged(passed=True, channel="task"))
        self.worlds = []

    @asynccontextmanager
    async def open(self):
        gates, tried = self, []
        self.worlds.append(tried)

        class Open:
            async def judge(self, batch):
                found = []
                for one in batch:
                    found.append(gates.judge_one(one, sum(1 for key, _ in tried if key == one.key)))
                    tried.append((one.key, one.micros))
                return found

        yield Open()


class Unwatched:
    def at(self, item):
        self.item = item


class InProcess:
    """As EngineProcess, without a process."""

    def __init__(self, killer=None):
        self.bench = SimulationBench(CATALOGUE, read_yaml, Unwatched(), ArbitrationPolicy)
        self.killer, self.closed = killer, False
        self.ends = []
        """At which item the process ends next, from outside."""

    async def set_up(self, job, *arguments):
        return self.bench.jobs()[job](*arguments)

    async def call(self, job, *arguments):
        if self.ends:
            raise EngineDiedError("ended", self.ends.pop(0))
        for place, past in enumerate(arguments[0]):
            if past.customer == self.killer:
                raise EngineDiedError("died", place)
        return self.bench.jobs()[job](*arguments)

    async def close(self):
        self.closed = True


class FakeRuleSets:
    def __init__(self, *texts):
        sources = tuple(Source(read_name(one), 1, "live", one) for one in texts)
        self.program = LiveProgram(1, sources, ())

    async def live(self):
        return self.program


def read_name(one):
    return one.split("ruleset: ", 1)[1].splitlines()[0]


class Nothing:
    async def before(self, *_):
        return {}


class Kept:
    def __init__(self):
        self.kept = []

    async def keep(self, kept):
        self.kept.append(kept)


class Bench:
    """A use case on fakes; `run` gives the result as JSON."""

    def __init__(self, drafts, pasts, live=(), gates=None, killer=None, **header):
        self.history, self.gates, self.kept = FakeHistory(pasts, **header), gates or FakeGates(), Kept()
        self.processes = []

        def start():
            self.processes.append(InProcess(killer))
            return self.processes[-1]

        self.use_case = SimulateRules(
            FakeRuleSets(*live),
            self.history,
            Nothing(),
            self.gates,
            self.kept,
            start,
            HandClock(),
            CATALOGUE,
            2,
        )
        sources = tuple(Source(f"draft {n}", 0, f"draft-{n}.yaml", one) for n, one in enumerate(drafts))
        self.wanted = Wanted(sources, NOON - 10 * DAY, NOON + 10 * DAY)

    def run(self, **more):
        async def all_of_it():
            return [told async for told in self.use_case.run(replace(self.wanted, **more))]

        self.told = asyncio.run(all_of_it())
        last = self.told[-1]
        return orjson.loads(last.json) if isinstance(last, Done) else last


def rows(world):
    return {row["rule"]: row for row in world["rules"]}


def test_drafts_are_decided_beside_what_is_live_by_all_processes():
    strict, mild = text(rule(when="profile.tenure_months >= 12")), text(rule())
    pasts = [(n, batch(event(n), tenure_months=n)) for n in range(1, 21)]
    bench = Bench([strict], pasts, live=[mild])
    result = bench.run()
    assert (result["events"], result["customers"], result["drafts"]) == (20, 20, ["calls"])
    assert (result["draft"]["funnel"]["sent"], result["live"]["funnel"]["sent"]) == (9, 20)
    assert result["displaced"]["gained"] == []
    lost = result["displaced"]["lost"]
    assert [(row["rule"], row["why"], row["actions"]) for row in lost] == [("call", "not asked for", 11)]
    assert sorted(which.shard for which in bench.history.which) == [0, 1]
    assert isinstance(bench.told[0], Progress)
    assert all(process.closed for process in bench.processes)
    assert bench.kept.kept[0].result == bench.told[-1].json
    assert (bench.kept.kept[0].rule_sets, result["notices"]) == (("calls",), [])


def test_alone_there_is_nothing_to_compare_with():
    result = Bench([text(rule())], [(1, batch(event(1), tenure_months=5))], live=[text(rule())]).run(
        alone=True
    )
    assert (result["live"], result["displaced"]) == (None, None)
    assert result["draft"]["funnel"]["sent"] == 1


def test_a_draft_that_does_not_compile_is_told_of_and_nothing_is_read():
    bench = Bench([text(rule(when="profile.tenure >= 1"))], [(1, batch(event(1)))])
    refused = bench.run()
    assert isinstance(refused, Refused)
    assert {problem.file for problem in refused.problems} == {"draft-0.yaml"}
    assert bench.history.which == []
    assert bench.processes[0].closed


def test_two_drafts_of_one_rule_set_are_refused():
    refused = Bench([text(rule()), text(rule())], []).run()
    assert {problem.check for problem in refused.problems} == {"draft-twice"}


def test_a_time_in_which_nothing_happened_is_said_with_since_when_events_are_kept():
    result = Bench([text(rule())], [], kept_since_micros=NOON - 5 * DAY).run()
    assert (result["events"], result["draft"]["funnel"]["sent"]) == (0, 0)
    nothing = "nothing happened in that time that these rule sets or those that are live listen to"
    assert result["notices"] == [
        f"{nothing}; events are kept since 2026-12-05T12:00:00Z",
        "events from before 2026-12-05T12:00:00Z are kept no more: the past begins there",
    ]


def test_events_of_a_type_since_removed_are_counted_and_named():
    bench = Bench([text(rule())], [(1, batch(event(1), tenure_months=5))])
    bench.history.left_out = {("fax.received", "unknown type"): 3}
    result = bench.run(processes=1)
    assert result["left_out"] == [{"type": "fax.received", "reason": "unknown type", "events": 3}]
    said = "3 events of fax.received are left out: the catalogue does not have that type any more"
    assert result["notices"] == [said]
    assert result["draft"]["funnel"]["sent"] == 1


def test_events_on_which_no_rule_can_fire_any_more_are_counted_and_told():
    late = event(1, 2)
    late.accepted_micros = NOON + 2 * DAY
    bench = Bench([text(rule())], [(1, batch(event(1, history=True), late, event(1, 3), tenure_months=5))])
    result = bench.run(processes=1)
    assert result["notices"] == [
        "taken as history, so that rules do not fire on them, here as then: events 1",
        (
            "reached us so long after they happened that rules do not fire on them, here as then "
            "(`late` of a rule set): events 1"
        ),
    ]
    assert result["draft"]["funnel"]["sent"] == 1


def test_once_holds_over_the_simulated_time():
    past = [event(1, n, at=NOON + n * HOUR) for n in (1, 2, 3)]
    result = Bench([text(rule(more=", once: 7d"))], [(1, batch(*past, tenure_months=5))]).run()
    call = rows(result["draft"])["call"]
    assert (call["asked"], call["refused"], call["eligible"], call["sent"]) == (3, {"ONCE": 2}, 1, 1)


def test_a_plan_is_decided_again_with_what_was_known_then():
    later = rule(do=CALL + ", after: 48h, keep: ['profile.tenure_months >= 1']}")
    bench = Bench([text(later)], [(1, batch(event(1), tenure_months=5))])
    result = bench.run()
    call = rows(result["draft"])["call"]
    assert bench.history.asked == [(1, NOON + 2 * DAY)]
    assert (call["asked"], call["planned"], call["fell_due"], call["sent"]) == (1, 1, 1, 1)
    assert bench.gates.worlds[0][0][1] == NOON + 2 * DAY
    bench.history.traits = {"tenure_months": 0}
    call = rows(bench.run()["draft"])["call"]
    assert (call["refused"], call["sent"]) == ({"NO_LONGER_TRUE": 1}, 0)
    assert rows(bench.run(until_micros=NOON + DAY)["draft"])["call"]["fell_due"] == 0


def test_what_we_really_planned_is_decided_with_the_snapshot_that_came_with_it():
    later = text(rule(do=CALL + ", after: 48h}"))
    first = Bench([later], [(1, batch(event(1), tenure_months=5))])
    first.run(alone=True)
    action = first.gates.worlds[0][0][0]
    real = event(
        1,
        2,
        "action.due",
        NOON + 2 * DAY,
        id=own_event_id("action.due", action, NOON + 2 * DAY),
        source="decision",
        data={"action": action, "decision": "d"},
    )
    again = Bench([later], [(1, batch(event(1), real, tenure_months=5))])
    assert again.run(alone=True)["draft"]["funnel"]["sent"] == 1
    assert again.history.asked == []


def test_what_a_draft_sets_and_emits_is_seen_by_what_comes_later():
    sets = text(rule("mark", do="{set: {trait: upset, to: true}}"))
    reads = text(rule("sorry", when="profile.upset is true"), name="sorry", trigger="topup.received")
    money = {"amount": {"amount": "5.00", "currency": "EUR"}}
    later = event(1, 2, "topup.received", NOON + HOUR, data=money)
    pasts = [(1, batch(event(1), later, tenure_months=5))]
    assert rows(Bench([sets, reads], pasts).run()["draft"])["sorry"]["sent"] == 1
    assert "sorry" not in rows(Bench([reads], pasts).run()["draft"])


@pytest.mark.parametrize(
    ("seen", "do"),
    [
        ("action.sent", "{message: quota-80, category: service, channels: [sms]}"),
        ("care.contact_ended", "{emit: care.contact_ended, with: {contact: c, channel: call}}"),
    ],
)
def test_what_is_said_in_the_simulation_is_counted_by_windows_later(seen, do):
    says = text(rule("say", when="event.topic is calls", do=do), name="says")
    counts = text(rule("counted", when="windows.said >= 1"), name="counts", trigger="topup.received")
    counts = counts.replace("rules:", f"windows: {{said: {{count: {seen}, last: 7d}}}}\nrules:")
    money = {"amount": {"amount": "5.00", "currency": "EUR"}}
    past = [event(1), event(1, 2, "topup.received", NOON + HOUR, data=money)]
    result = Bench([says, counts], [(1, batch(*past, tenure_months=5))], live=[counts]).run()
    assert rows(result["draft"])["counted"]["sent"] == 1
    assert "counted" not in rows(result["live"])


def test_our_own_past_events_count_only_in_the_world_that_causes_them():
    reads = text(rule(), name="reads", trigger="action.refused")
    told = {"action": "a", "rule_set": "x", "rule": "y", "name": "z", "reason": "CAPPED"}
    own = event(1, 1, "action.refused", source="decision", data=told)
    foreign = event(1, 2, "action.refused", source="channel", data=told)
    result = Bench([reads], [(1, batch(own, foreign, tenure_months=5))]).run()
    assert result["draft"]["decisions"] == 0


def test_the_gates_refusals_and_waits_end_in_the_funnel():
    def judge(one, again):
        if one.key == keys[0]:
            return Judged(False, "sms", "CAPPED", "at most 3 in 7d")
        if one.key == keys[1] and not again:
            return Judged(False, "sms", "QUIET_HOURS", "", one.micros + 9 * HOUR, waits=True)
        if one.key == keys[2]:
            return Judged(False, "sms", "QUIET_HOURS", "", 0, waits=True)
        return Judged(True, "sms")

    pasts = [(n, batch(event(n, at=NOON + n), tenure_months=5)) for n in range(1, 5)]
    plain = Bench([text(rule())], pasts)
    plain.run(alone=True)
    keys = [key for key, _ in plain.gates.worlds[0]]
    bench = Bench([text(rule())], pasts, gates=FakeGates(judge))
    draft = bench.run(alone=True)["draft"]
    funnel = draft["funnel"]
    assert (funnel["decided"], funnel["sent"], funnel["waits"], funnel["gates"]) == (
        4,
        2,
        1,
        {"CAPPED": 1, "QUIET_HOURS": 1},
    )
    times = [micros for _, micros in bench.gates.worlds[0]]
    assert times == sorted(times)
    assert times[-1] == NOON + 2 + 9 * HOUR
    assert draft["caps"] == [{"day": "2026-12-10", "cap": "at most 3 in 7d", "actions": 1}]
    assert draft["customers"] == {"asked_for": 4, "reached": 2, "left_with_nothing": 2}
    assert draft["days"][0]["sent"] == 2


def test_limits_hold_over_all_customers_in_order_of_time():
    limited = text(rule()) + "limits: {per day: 3}\n"
    pasts = [(n, batch(event(n, at=NOON + n), tenure_months=5)) for n in range(1, 11)]
    funnel = Bench([limited], pasts).run(alone=True)["draft"]["funnel"]
    assert (funnel["sent"], funnel["limited"], funnel["gates"]) == (3, 7, {"BUDGET": 7})


def test_groups_are_compared_and_small_ones_told_as_one():
    pasts = [(n, batch(event(n), tenure_months=1 + n % 2)) for n in range(1, 21)]
    pasts += [(21, batch(event(21), tenure_months=77))]
    result = Bench([text(rule(when="profile.tenure_months >= 2"))], pasts).run(groups=("tenure_months",))
    found = result["groups"][0]
    assert found["trait"] == "tenure_months"
    assert [(row["group"], row["customers"]) for row in found["groups"]] == [
        ("1", 10),
        ("2", 10),
        ("others", 1),
    ]
    assert [row["offered"] for row in found["groups"]] == [0, 0, 0]  # a task is no offer


def test_offers_are_compared_between_groups_with_how_sure_one_may_be():
    offer = "{offer: goodwill-1gb, category: retention, value: 6.00, expires: 7d}"
    pasts = [
        (n, batch(event(n), tenure_months=9, plan="m-5gb" if n % 2 else "m-20gb", prepaid=n % 4 == 0))
        for n in range(1, 41)
    ]
    drafts = [text(rule(do=offer), rule("all", when="profile.prepaid is true", do=CALL + "}"))]
    prepaid = [text(rule(when="profile.prepaid is true", do=offer))]
    (plan,) = Bench(drafts, pasts).run(groups=("plan",))["groups"]
    assert [(row["group"], row["offered"]) for row in plan["groups"]] == [("m-20gb", 20), ("m-5gb", 20)]
    assert plan["groups"][0]["ratio"] == {"value": 1.0, "low": 1.0, "high": 1.0}
    more = text(rule(when="any: [profile.prepaid is true, profile.plan is m-5gb]", do=offer)).replace(
        "'any: [profile.prepaid is true, profile.plan is m-5gb]'",
        "{any: [profile.prepaid is true, profile.plan is m-5gb]}",
    )
    (plan,) = Bench([more], pasts, live=prepaid).run(groups=("plan",))["groups"]
    first, second = plan["groups"]
    assert (first["group"], first["customers"], first["offered"]) == ("m-20gb", 20, 10)
    assert first["share"] == {"value": 0.5, "low": 0.2993, "high": 0.7007}
    assert (second["offered"], second["ratio"]) == (20, {"value": 2.0, "low": 1.2903, "high": 3.1})


def test_what_is_displaced_says_why_it_is_not_in_the_other_world():
    past = [event(1, n, at=NOON + n * HOUR) for n in (1, 2, 3)]
    result = Bench(
        [text(rule(more=", once: 7d"))], [(1, batch(*past, tenure_months=5))], [text(rule())]
    ).run()
    (lost,) = result["displaced"]["lost"]
    assert (lost["rule"], lost["why"], lost["actions"]) == ("call", "ONCE", 2)
    assert result["displaced"]["gained"] == []


def test_actions_go_before_the_gates_in_order_of_time_whoever_they_are_for():
    pasts = [(n, batch(event(n, at=NOON + (9 - n) * HOUR), tenure_months=5)) for n in range(1, 9)]
    bench = Bench([text(rule())], pasts)
    bench.run(alone=True, processes=1)
    times = [micros for _, micros in bench.gates.worlds[0]]
    assert times == sorted(times)
    assert len(times) == 8


def test_what_the_channel_really_refused_frees_the_slot_that_it_held():
    first = [event(1), event(1, 3, at=NOON + 2 * HOUR)]
    once = [text(rule(more=", once: 7d"))]
    held = Bench(once, [(1, batch(*first, tenure_months=5))])
    assert rows(held.run(alone=True)["draft"])["call"]["refused"] == {"ONCE": 1}
    told = {"action": held.gates.worlds[0][0][0], "rule_set": "calls", "rule": "call", "name": "call-back"}
    for reason, refused in (("CAPPED", {}), ("HANDOVER_UNKNOWN", {"ONCE": 1})):
        refusal = event(
            1, 2, "action.refused", NOON + HOUR, source="channel", data={**told, "reason": reason}
        )
        past = batch(first[0], refusal, first[1], tenure_months=5)
        assert rows(Bench(once, [(1, past)]).run(alone=True)["draft"])["call"]["refused"] == refused


def test_plans_without_end_are_left_out_and_counted(monkeypatch):
    monkeypatch.setattr("services.decision.app.simulate._MOST_ROUNDS", 1)
    later = text(rule(do=CALL + ", after: 48h}"))
    result = Bench([later], [(1, batch(event(1), tenure_months=5))]).run(alone=True)
    said = "1 customers have more planned than a simulation follows, and are left out"
    assert (result["customers"], result["notices"][-1]) == (0, said)


def test_a_sample_is_asked_of_the_past():
    bench = Bench([text(rule())], [(1, batch(event(1), tenure_months=5))])
    assert bench.run(sample=1_000)["sample"] == 0.1
    assert {which.sample for which in bench.history.which} == {1_000}


def test_a_customer_whose_events_end_the_engine_is_left_out_and_counted():
    pasts = [(n, batch(event(n), tenure_months=5)) for n in (1, 2, 3)]
    result = Bench([text(rule())], pasts, killer=2).run(processes=1)
    assert result["customers"] == 2
    assert result["notices"] == ["the events of 1 customers ended the rules engine, and are left out"]


@pytest.mark.parametrize("ends", [[1], [None], [0, 1, None]])
def test_a_process_that_is_ended_from_outside_costs_no_customer(ends):
    bench = Bench([text(rule())], [(n, batch(event(n), tenure_months=5)) for n in (1, 2, 3)])
    start = bench.use_case._start

    def start_and_end():
        process = start()
        process.ends = list(ends)
        return process

    bench.use_case._start = start_and_end
    result = bench.run(processes=1)
    assert bench.processes[0].ends == []
    assert (result["customers"], result["draft"]["funnel"]["sent"], result["notices"]) == (3, 3, [])


def test_a_process_that_ends_again_and_again_ends_the_simulation():
    bench = Bench([text(rule())], [(1, batch(event(1)))])
    start = bench.use_case._start

    def start_and_end():
        process = start()
        process.ends = [None, None]
        return process

    bench.use_case._start = start_and_end
    with pytest.raises(EngineDiedError):
        bench.run(processes=1)
    assert bench.processes[0].closed


@pytest.mark.parametrize(("months", "value"), [(0, 0.0), (4, 2.5)])
def test_a_formula_that_divides_by_zero_leaves_a_number_to_its_default(months, value):
    offer = "{offer: goodwill-1gb, category: retention, value: 10.00 / profile.tenure_months, expires: 7d}"
    half = rule("half", when="10 / profile.tenure_months >= 1", do=CALL + "}")
    drafts = [text(rule(when="profile.tenure_months >= 0", do=offer), half)]
    result = Bench(drafts, [(1, batch(event(1), tenure_months=months))]).run(alone=True)
    assert result["notices"] == []
    assert result["draft"]["value"] == value
    assert rows(result["draft"])["call"]["sent"] == 1
    assert ("half" in rows(result["draft"])) is bool(months)


def test_who_goes_away_while_processes_begin_leaves_none_behind():
    bench = Bench([text(rule())], [])
    begun, all_begun = [], asyncio.Event()

    class Deaf(EngineProcess):
        """Its process reads, and never answers."""

        def __init__(self):
            super().__init__([sys.executable, "-S", "-c", "import sys; sys.stdin.buffer.read()"])

        async def _exchange(self, *job):
            begun.append(self.pid)
            if len(begun) == 2:
                all_begun.set()
            return await super()._exchange(*job)

    bench.use_case._start = Deaf

    async def go():
        going = asyncio.ensure_future(anext(bench.use_case.run(bench.wanted)))
        await all_begun.wait()
        going.cancel()
        with pytest.raises(asyncio.CancelledError):
            await going

    asyncio.run(go())
    for pid in begun:
        with pytest.raises(ProcessLookupError):
            os.kill(pid, 0)


def test_who_goes_away_ends_it_and_a_third_at_once_is_refused():
    bench = Bench([text(rule())], [(1, batch(event(1), tenure_months=5))])

    async def go():
        bench.history.hold = asyncio.Event()
        under_way = [bench.use_case.run(bench.wanted) for _ in range(MOST_AT_ONCE)]
        for one in under_way:
            await anext(one)
        async with aclosing(bench.use_case.run(bench.wanted)) as third:
            with pytest.raises(OverloadedError):
                await anext(third)
        for one in under_way:
            await one.aclose()
        assert all(process.closed for process in bench.processes)
        bench.history.hold.set()
        async with aclosing(bench.use_case.run(bench.wanted)) as again:
            return [told async for told in again]

    assert isinstance(asyncio.run(go())[-1], Done)
    assert len(bench.kept.kept) == 1
