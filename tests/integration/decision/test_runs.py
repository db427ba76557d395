"""Schedules, absences, things and pairs on a real database: who is called, when, and exactly once."""

import asyncio
from dataclasses import replace

import orjson
import pytest

from services.decision.adapters.pruning import prunables
from services.decision.adapters.replay import DecisionsReplay
from services.decision.adapters.run_store import PAIRS_CHANNEL, RUNS_CHANNEL
from services.decision.app.ask_audiences import AskAudiences
from services.decision.app.check_pairs import CheckPairs
from services.decision.app.open_runs import OpenRuns
from services.runtime.errors import UnavailableError
from services.runtime.prune import Pruner
from services.runtime.recovery import Gap, begin
from services.runtime.replay import Replay
from services.vocabulary.values import DAY, HOUR, format_time, parse_time
from tests.fakes.audiences import AudiencesFake, LagFake, RoomsFake
from tests.integration.decision.conftest import NOON, activity, event, snapshot

SCHEDULE = """
ruleset: morning
title: Every morning
owner: care
stage: explore
active: {from: 2026-12-01}
trigger: {every: day at 09:00, audience: [profile.plan is s-5gb]}
rules:
  - id: hello
    when: [profile.plan exists]
    do: {task: call-back, with: {queue: q}, category: service, due: 4h}
tests:
  - {name: t, given: {profile: {plan: s-5gb}}, then: {fires: [hello]}}
"""
ABSENCE = SCHEDULE.replace("morning", "quiet").replace(
    "{every: day at 09:00, audience: [profile.plan is s-5gb]}", "{nothing: topup.received, for: 30d}"
)
THING = SCHEDULE.replace("morning", "outage").replace(
    "{every: day at 09:00, audience: [profile.plan is s-5gb]}",
    "{thing: network.outage_started, audience: [profile.last_cell is event.cell]}",
)
PAIR = SCHEDULE.replace("morning", "waiting").replace(
    "{every: day at 09:00, audience: [profile.plan is s-5gb]}",
    "{nothing: case.closed, after: case.opened, by: case, for: 72h}",
)


class Calling:
    """A worker with all that calls for rule sets beside events."""

    def __init__(self, worker, audiences=None, most=3):
        self.worker = worker
        self.audiences = audiences or AudiencesFake()
        self.lag = LagFake()
        self.rooms = RoomsFake()
        self.opening = OpenRuns(
            worker.database, worker.clock, worker.runs, self.audiences, worker.follow, "Europe/Paris"
        )
        self.asking = AskAudiences(
            worker.database,
            worker.clock,
            worker.runs,
            self.audiences,
            worker.hand_over,
            worker.follow,
            self.lag,
            self.rooms,
            worker.catalogue,
            channel=RUNS_CHANNEL,
            most=most,
        )
        self.pairs = CheckPairs(
            worker.database, worker.clock, worker.runs, worker.hand_over, channel=PAIRS_CHANNEL
        )

    async def at(self, moment):
        """Moves business time, and looks at the times."""
        self.worker.clock.advance_to(parse_time(moment) if isinstance(moment, str) else moment)
        return await self.opening.look()

    async def finish(self):
        while await self.asking.step():
            pass
        return await self.calls()

    async def calls(self):
        """Who was called, in order: (rule set, run, customer)."""
        events = await self.worker.own_events()
        assert {one.type for one in events} <= {"trigger.due"}
        ids = [one.id for one in events]
        assert len(set(ids)) == len(ids)
        self.events = events
        return [
            (data["rule_set"], data["run"], one.customer)
            for one in events
            for data in [orjson.loads(one.data)]
        ]

    async def runs(self):
        return list(reversed(await self.worker.runs.page(0, 100)))

    async def pending(self):
        async with self.worker.database.transaction() as transaction:
            return await self.worker.runs.count_due(transaction, self.worker.clock.now_micros())


async def calling(make_worker, *texts, **more):
    worker = make_worker()
    await worker.install(*texts)
    return Calling(worker, **more)


async def test_a_schedule_calls_everyone_once_in_each_zone_at_its_own_time(make_worker):
    audiences = AudiencesFake(dict.fromkeys(range(1, 8), 0), zones=("Europe/Paris", "Asia/Tokyo"))
    it = await calling(make_worker, SCHEDULE, audiences=audiences)
    assert (await it.pending()) == (1, 0)  # nobody has looked at its times
    assert await it.opening.look() == parse_time("2026-12-11T00:00:00Z")  # 09:00 in Tokyo
    assert await it.runs() == []
    assert (await it.pending()) == (0, 0)
    assert await it.at("2026-12-10T23:59:59Z") == parse_time("2026-12-11T00:00:00Z")
    it.worker.clock.advance_to(parse_time("2026-12-11T00:00:00Z"))
    assert (await it.pending()) == (1, 0)
    assert await it.opening.look() == parse_time("2026-12-11T08:00:00Z")  # 09:00 in Paris
    (run,) = await it.runs()
    assert (run.zone, run.name, run.kind) == ("Asia/Tokyo", "2026-12-11T09:00", "schedule")
    assert await it.finish() == [("morning", "2026-12-11T09:00", customer) for customer in range(1, 8)]
    assert {one.time_micros for one in it.events} == {run.due_micros}
    assert [size for _, _, size in audiences.asked] == [3, 3, 3]
    assert [clause.trait for clause in audiences.asked[0][1].clauses] == ["plan"]
    (run,) = await it.runs()
    assert (run.state, run.asked, run.pages) == ("done", 7, 3)
    # the same again changes nothing
    await it.at("2026-12-11T00:00:01Z")
    assert await it.finish() == []
    await it.at("2026-12-11T08:00:00Z")
    assert {run.zone for run in await it.runs()} == {"Asia/Tokyo", "Europe/Paris"}
    totals = await it.worker.totals()
    assert (totals["runs.opened"], totals["runs.done"], totals["runs.asked"]) == (2, 1, 7)


async def test_what_was_missed_is_caught_up_unless_it_is_too_late(make_worker):
    it = await calling(make_worker, SCHEDULE.replace("active:", "late: 30h\nactive:"))
    await it.opening.look()
    await it.at("2026-12-14T12:00:00Z")
    # of 11, 12, 13 and 14 December the last two
    assert [run.name for run in await it.runs()] == ["2026-12-13T09:00", "2026-12-14T09:00"]
    assert (await it.worker.totals())["runs.missed"] == 2


async def test_nothing_is_called_outside_active(make_worker):
    it = await calling(
        make_worker, SCHEDULE.replace("from: 2026-12-01", "from: 2026-12-12, to: 2026-12-12, tz: UTC")
    )
    for day in range(11, 16):
        await it.at(f"2026-12-{day}T12:00:00Z")
    assert [run.name for run in await it.runs()] == ["2026-12-12T09:00"]
    assert "runs.missed" not in await it.worker.totals()


async def test_the_clocks_going_on_or_back_skip_and_repeat_nothing(make_worker):
    text = SCHEDULE.replace("day at 09:00", "day at 02:30").replace(
        "audience:", "zone: Europe/Paris, audience:"
    )
    it = await calling(make_worker, text, audiences=AudiencesFake({1: 0}))
    called = []
    for moment in range(parse_time("2027-03-27T12:00:00Z"), parse_time("2027-03-29T12:00:00Z"), HOUR // 2):
        await it.at(moment)
        called += [(run, format_time(it.worker.clock.now_micros())) for _, run, _ in await it.finish()]
    assert called[-2:] == [
        ("2027-03-28T02:30", "2027-03-28T01:00:00Z"),  # there is no 02:30: the next minute is 03:00
        ("2027-03-29T02:30", "2027-03-29T00:30:00Z"),
    ]
    called = []
    for moment in range(parse_time("2027-10-30T12:00:00Z"), parse_time("2027-11-01T12:00:00Z"), HOUR // 2):
        await it.at(moment)
        called += [(run, format_time(it.worker.clock.now_micros())) for _, run, _ in await it.finish()]
    assert called[-2:] == [
        ("2027-10-31T02:30", "2027-10-31T00:30:00Z"),  # the first of the two
        ("2027-11-01T02:30", "2027-11-01T01:30:00Z"),
    ]


async def test_a_zone_where_somebody_lives_only_now_is_called_at_its_time(make_worker):
    audiences = AudiencesFake({1: 0}, zones=("Europe/Paris",))
    it = await calling(make_worker, SCHEDULE, audiences=audiences)
    await it.opening.look()
    await it.at("2026-12-10T23:00:00Z")
    audiences.living = ("Europe/Paris", "Asia/Tokyo")
    await it.at("2026-12-11T00:00:00Z")
    assert [run.zone for run in await it.runs()] == ["Asia/Tokyo"]


async def test_two_workers_call_nobody_twice_and_forget_nobody(make_worker):
    it = await calling(make_worker, SCHEDULE, audiences=AudiencesFake(dict.fromkeys(range(1, 101), 0)))
    other = Calling(make_worker(url=it.worker.database.engine.url.render_as_string(hide_password=False)))
    await other.worker.follow.refresh()
    other.audiences = it.audiences
    other.asking._audiences = it.audiences
    await it.opening.look()
    for one in (it, other):
        one.worker.clock.advance_to(parse_time("2026-12-11T12:00:00Z"))
    await asyncio.gather(it.opening.look(), other.opening.look(), it.opening.look())
    assert len(await it.runs()) == 1

    async def work(one):
        for _ in range(200):
            await one.asking.step()
            (run,) = await it.runs()
            if run.state == "done":
                return

    await asyncio.gather(work(it), work(other), work(it))
    assert sorted(customer for _, _, customer in await it.calls()) == list(range(1, 101))
    assert (await it.runs())[0].asked == 100


async def test_a_page_that_two_workers_asked_for_moves_a_run_on_once(make_worker):
    it = await calling(make_worker, SCHEDULE, audiences=AudiencesFake(dict.fromkeys(range(1, 8), 0)))
    await it.opening.look()
    await it.at("2026-12-11T12:00:00Z")
    page, faster = it.audiences.page, [True]

    async def slow(*asked):
        if faster and faster.pop():
            await _released(it)  # the first was so slow that its lease ended
            assert await it.asking.step()
        return await page(*asked)

    it.audiences.page = slow
    assert await it.asking.step()
    assert [customer for _, _, customer in await it.calls()] == [1, 2, 3]
    assert [run.pages for run in await it.runs()] == [1]


async def test_a_crash_between_or_in_pages_loses_nobody(make_worker):
    it = await calling(make_worker, SCHEDULE, audiences=AudiencesFake(dict.fromkeys(range(1, 11), 0)))
    await it.opening.look()
    await it.at("2026-12-11T12:00:00Z")
    assert await it.asking.step()
    called = it.worker.hand_over.called

    async def crash(transaction, calls):
        await called(transaction, calls)
        raise ConnectionError("gone in the middle")

    it.asking._hand_over = type("Crashing", (), {"called": staticmethod(crash)})()
    with pytest.raises(ConnectionError):
        await it.asking.step()
    # the one that died keeps the run for some seconds
    assert not await it.asking.step()
    assert (await it.pending()) == (1, 0)
    async with it.worker.database.transaction() as transaction:
        await transaction.execute("UPDATE audience_run SET leased_until = clock_timestamp()")
    again = Calling(it.worker, it.audiences)
    assert [customer for _, _, customer in await again.finish()] == list(range(1, 11))


async def test_who_comes_while_it_runs_is_called_if_the_walk_has_not_passed_them(make_worker):
    it = await calling(make_worker, SCHEDULE, audiences=AudiencesFake(dict.fromkeys(range(10, 20), 0)))
    await it.opening.look()
    await it.at("2026-12-11T12:00:00Z")
    assert await it.asking.step()
    it.audiences.members |= {5: 0, 25: 0}
    assert [customer for _, _, customer in await it.finish()] == [*range(10, 20), 25]


async def test_a_paced_run_takes_its_time(make_worker):
    it = await calling(make_worker, SCHEDULE, audiences=AudiencesFake(dict.fromkeys(range(1, 6), 0)))
    it.worker.follow.occasions = (replace(it.worker.follow.occasions[0], per_second=2.0),)
    await it.opening.look()
    await it.at("2026-12-11T09:00:00Z")
    assert len(await it.finish()) == 2
    assert await it.pending() == (0, 1)
    it.worker.clock.advance_to(parse_time("2026-12-11T09:00:01Z"))
    assert [customer for _, _, customer in await it.finish()] == [3, 4]
    assert {format_time(one.time_micros) for one in it.events} == {"2026-12-11T09:00:01Z"}
    it.worker.clock.advance_to(parse_time("2026-12-11T15:00:00Z"))
    assert [customer for _, _, customer in await it.finish()] == [5]


async def test_a_run_waits_while_the_profile_is_away_or_gathers(make_worker):
    it = await calling(make_worker, ABSENCE, audiences=AudiencesFake({1: NOON - 31 * DAY}))
    await it.at("2026-12-11T12:00:00Z")
    it.audiences.away = True
    with pytest.raises(UnavailableError):
        await it.asking.step()
    it.audiences.away, it.audiences.filling = False, True
    await _released(it)
    assert await it.asking.step()
    assert not await it.asking.step()  # for a moment nobody asks again
    assert (await it.pending()) == (1, 0)
    it.audiences.filling = False
    await _released(it)
    assert len(await it.finish()) == 1


async def _released(it):
    async with it.worker.database.transaction() as transaction:
        await transaction.execute("UPDATE audience_run SET leased_until = NULL")


async def test_the_loops_open_runs_and_work_them_off_and_pause_while_events_wait(make_worker):
    it = await calling(make_worker, SCHEDULE, audiences=AudiencesFake(dict.fromkeys(range(1, 8), 0)))
    it.lag.is_behind = True
    loops = [asyncio.create_task(each.run()) for each in (it.opening, it.asking, it.pairs)]
    try:
        await _until(lambda: _looked(it))
        it.worker.clock.advance_to(parse_time("2026-12-11T09:00:00Z"))
        await _until(it.runs)
        assert (await it.runs())[0].pages == 0
        it.lag.is_behind = False

        async def done():
            return (await it.runs())[0].state == "done"

        await _until(done)
        assert len(await it.calls()) == 7
    finally:
        for loop in loops:
            loop.cancel()
        await asyncio.gather(*loops, return_exceptions=True)


async def _zones_asked(it):
    return it.audiences.zones_asked


async def _looked(it):
    return await it.pending() == (0, 0)


async def _until(condition):
    async with asyncio.timeout(10):
        holds = await condition()
        while not holds:
            await asyncio.sleep(0.02)
            holds = await condition()


async def test_a_worker_that_starts_before_it_knows_the_time_looks_as_soon_as_it_does(make_worker):
    it = await calling(make_worker, SCHEDULE)
    it.worker.clock._now = 0
    loop = asyncio.create_task(it.opening.run())
    try:
        await _until(lambda: _zones_asked(it))
        it.worker.clock.advance_to(NOON)
        await _until(lambda: _looked(it))
    finally:
        loop.cancel()


async def test_a_silence_is_told_once_and_a_new_one_again(make_worker):
    first, second = NOON - 40 * DAY, NOON - 10 * DAY
    it = await calling(make_worker, ABSENCE, audiences=AudiencesFake({1: first, 2: second, 3: 1}))
    assert it.worker.follow.occasions[0].kind == "absence"
    assert await it.opening.look() == parse_time("2026-12-11T05:00:00Z")  # 06:00 in Paris
    await it.at("2026-12-11T05:00:00Z")
    # who was silent for more than 13 cycles by then is not looked for
    assert await it.finish() == [("quiet", format_time(first), 1)]
    (one,) = it.events
    assert orjson.loads(one.data)["since"] == format_time(first)
    await it.at("2026-12-12T05:00:00Z")
    assert await it.finish() == []
    for day in range(13, 32):
        await it.at(f"2026-12-{day}T05:00:00Z")
    assert await it.finish() == [("quiet", format_time(second), 2)]
    it.audiences.members[1] = parse_time("2026-12-20T10:00:00Z")
    await it.at("2027-01-19T12:00:00Z")
    assert await it.finish() == []
    await it.at("2027-01-20T05:00:00Z")
    # a run that nobody worked on for days is told as of now: no later one would find the customer
    it.worker.clock.advance_to(parse_time("2027-01-23T12:00:00Z"))
    assert await it.finish() == [("quiet", "2026-12-20T10:00:00Z", 1)]
    assert format_time(it.events[0].time_micros) == "2027-01-23T12:00:00Z"


async def test_days_on_which_all_was_down_are_made_up_for_by_the_next_look_at_silences(make_worker):
    it = await calling(
        make_worker, ABSENCE, audiences=AudiencesFake({n: NOON - 31 * DAY + n * DAY for n in range(1, 5)})
    )
    await it.at("2026-12-11T05:00:00Z")
    assert len(await it.finish()) == 1
    await it.at("2026-12-17T12:00:00Z")
    assert [customer for _, _, customer in await it.finish()] == [2, 3, 4]


async def test_the_profile_is_told_whose_absence_is_looked_for(make_worker):
    worker = make_worker()
    await worker.go_live(ABSENCE)
    assert worker.listening.absences == ("topup.received",)
    assert "trigger.due" in worker.listening.types
    assert (await worker.rule_sets.live()).absences == ("topup.received",)


async def test_what_happens_to_a_thing_calls_its_audience_once(make_worker):
    it = await calling(make_worker, THING, SCHEDULE, audiences=AudiencesFake({1: 0, 2: 0}))
    happened = event(
        "network.outage_started",
        customer=0,
        thing="cell:FR-1",
        data={"cell": "FR-1", "incident": "INC7"},
        source="noc",
    )
    await it.worker.take((happened, None))
    await it.worker.take((happened, None))  # again, in another message
    assert await it.finish() == [("outage", "e-1", 1), ("outage", "e-1", 2)]
    (_, wanted, _) = it.audiences.asked[0]
    assert [(clause.trait, clause.values) for clause in wanted.clauses] == [("last_cell", ("FR-1",))]
    late = event("network.outage_started", customer=0, thing="cell:FR-1", data={"cell": "FR-1"})
    late.id, late.accepted_micros = "e-2", NOON + 25 * HOUR
    late.data = happened.data
    history = event("network.outage_started", customer=0, thing="cell:FR-1", history=True, event_id="e-3")
    history.data = happened.data
    early = event("network.outage_started", customer=0, thing="cell:FR-1", event_id="e-4", at=NOON - 20 * DAY)
    early.data = happened.data
    await it.worker.take((late, None), (history, None), (early, None))
    assert len(await it.runs()) == 1
    # the same id from another source is something else
    other = replace_source(happened, "other")
    await it.worker.take((other, None))
    assert len(await it.runs()) == 2

    # and what was called is decided, with the fields of what happened
    (mine,) = [one for one in it.events if one.customer == 1]
    await it.worker.take((_back(mine), snapshot(1, {"plan": "s-5gb", "last_cell": "FR-1"})))
    await it.worker.take((_back(mine, 2), snapshot(2, {"plan": "s-5gb", "last_cell": "FR-2"})))
    assert [(one.customer, one.event_type) for one in await it.worker.decided()] == [(1, "trigger.due")]


def replace_source(original, source):
    copy = type(original)()
    copy.CopyFrom(original)
    copy.source = source
    return copy


def _back(own, customer=0):
    """An own event as it comes back over EVENTS."""
    return event(
        own.type,
        event_id=own.id,
        customer=customer or own.customer,
        at=own.time_micros,
        data=orjson.loads(own.data),
        source="decision",
        line=own.line,
    )


def _opened(case="C1", **more):
    return event("case.opened", data={"case": case, "topic": "billing"}, **more)


async def test_a_pair_that_stays_open_calls_and_one_that_was_closed_does_not(make_worker):
    it = await calling(make_worker, PAIR)
    opened = NOON - HOUR
    first, second = _opened(at=opened), _opened(at=opened, customer=2, event_id="e-2")
    await it.worker.take((first, snapshot(1)), (second, snapshot(2)))
    await it.worker.take((first, snapshot(1)))
    assert await it.pending() == (0, 2)
    assert await it.pairs.take_due() == 0
    it.worker.clock.advance_to(opened + 72 * HOUR)
    assert await it.pending() == (2, 0)
    assert await it.pairs.take_due() == 2
    run = f"C1 {format_time(opened)}"
    assert await it.calls() == [("waiting", run, 1), ("waiting", run, 2)]
    assert {one.time_micros for one in it.events} == {opened + 72 * HOUR}
    closed = activity("case.closed", [opened + HOUR, opened + 2 * HOUR], case=["C9", "C1"])
    another = activity("case.closed", [opened - HOUR, opened + 2 * HOUR], case=["C1", "C9"])
    plan = {"plan": "s-5gb"}
    mine, theirs = it.events
    await it.worker.take((_back(mine), snapshot(1, plan, [closed])))
    await it.worker.take((_back(theirs), snapshot(2, plan, [another])))
    (decision,) = await it.worker.decided()
    assert decision.customer == 2
    totals = await it.worker.totals()
    assert (totals["pairs.opened"], totals["pairs.checked"]) == (2, 2)


async def test_what_comes_too_late_or_as_history_opens_no_pair(make_worker):
    it = await calling(make_worker, PAIR)
    late = _opened(at=NOON - 30 * HOUR, accepted=NOON)
    await it.worker.take((late, snapshot(1)), (_opened(event_id="e-2", history=True), None))
    assert await it.pending() == (0, 0)


async def test_a_silence_that_ended_meanwhile_calls_nobody(make_worker):
    since = NOON - 40 * DAY
    it = await calling(make_worker, ABSENCE, audiences=AudiencesFake({1: since, 2: since}))
    await it.at("2026-12-11T05:00:00Z")
    await it.finish()
    plan = {"plan": "s-5gb"}
    for one, times in zip(it.events, ([since], [since, NOON]), strict=True):
        await it.worker.take((_back(one), snapshot(one.customer, plan, [activity("topup.received", times)])))
    assert [one.customer for one in await it.worker.decided()] == [1]


async def test_a_run_ends_when_its_rule_set_is_called_otherwise_now_or_it_is_far_behind(make_worker):
    it = await calling(make_worker, SCHEDULE, audiences=AudiencesFake(dict.fromkeys(range(1, 11), 0)))
    await it.opening.look()
    await it.at("2026-12-11T12:00:00Z")
    assert await it.asking.step()
    await it.worker.install(ABSENCE.replace("quiet", "morning"))
    assert await it.asking.step()
    assert (await it.runs())[0].state == "stopped"
    await it.worker.install(SCHEDULE)
    await it.at("2026-12-12T12:00:00Z")
    it.worker.clock.advance_to(parse_time("2026-12-14T12:00:00Z"))
    assert await it.asking.step()
    assert [run.state for run in await it.runs()] == ["stopped", "missed"]
    assert len(await it.calls()) == 3
    assert (await it.worker.totals())["runs.missed"] == 1


async def test_a_worker_that_knows_an_older_program_ends_no_run_of_a_newer_one(make_worker):
    it = await calling(make_worker, ABSENCE)
    url = it.worker.database.engine.url.render_as_string(hide_password=False)
    newer = Calling(make_worker(url=url), AudiencesFake({1: 0}))
    await newer.worker.install(SCHEDULE)
    await newer.opening.look()
    await newer.at("2026-12-11T12:00:00Z")
    it.worker.clock.advance_to(parse_time("2026-12-11T12:00:00Z"))
    assert await it.opening.look() is None
    for run in await it.runs():
        assert await it.asking.step(), run
    assert {run.rule_set: run.state for run in await it.runs()} == {"quiet": "done", "morning": "open"}
    await _released(newer)
    assert ("morning", "2026-12-11T09:00", 1) in await newer.finish()


async def test_recovery_calls_again_whom_runs_and_checks_since_the_gap_called(make_worker):
    it = await calling(make_worker, SCHEDULE, PAIR, audiences=AudiencesFake(dict.fromkeys(range(1, 6), 0)))
    await it.opening.look()
    await it.worker.take((_opened(at=NOON), snapshot(9)))
    await it.at("2026-12-11T12:00:00Z")
    early = await it.finish()
    it.worker.clock.advance_to(NOON + 72 * HOUR)
    await it.opening.look()
    await it.pairs.take_due()
    lost = await it.finish()
    assert len(early) == 5
    assert len(lost) == 5 + 1  # the run of the 13th, and the pair
    gap = Gap(NOON + 60 * HOUR, NOON + 72 * HOUR, NOON + 60 * HOUR, NOON + 72 * HOUR)
    async with it.worker.database.transaction() as transaction:
        await begin(transaction, gap)
    turns = Replay(it.worker.database, DecisionsReplay(it.worker.hand_over, it.worker.journeys))
    while await turns.turn():
        pass
    events = it.events
    await it.pairs.take_due()
    assert sorted(await it.finish()) == sorted(lost)
    assert {one.id for one in it.events} == {one.id for one in events}


async def test_old_runs_and_checks_are_pruned_those_under_way_are_not(make_worker):
    it = await calling(make_worker, SCHEDULE, PAIR, audiences=AudiencesFake({1: 0}))
    await it.opening.look()
    await it.worker.take((_opened(at=NOON), snapshot(9)), (_opened("C2", at=NOON + DAY), snapshot(9)))
    await it.at("2026-12-11T12:00:00Z")
    await it.finish()
    await it.at("2026-12-12T12:00:00Z")
    it.worker.clock.advance_to(NOON + 72 * HOUR)
    await it.pairs.take_due()
    periods = {"audience_runs": DAY, "open_pairs": HOUR}
    it.worker.clock.advance_to(NOON + 74 * HOUR)
    pruner = Pruner(it.worker.database, it.worker.clock, prunables(DAY), lambda: periods)
    await pruner.prune(limit_seconds=30)
    assert [run.name for run in await it.runs()] == ["2026-12-12T09:00"]
    assert await it.worker.count("open_pair") == 1
