"""Campaigns on a real database: started, paused, resumed, cancelled, waiting for room, and counted."""

import asyncio
import pickle
import signal
import sys

import orjson
import pytest
from prometheus_client.parser import text_string_to_metric_families
from psycopg.errors import LockNotAvailable
from rapport.decision.v1 import campaign_pb2 as pb
from rapport.decision.v1.rule_set_pb2 import RunState

from services.decision.adapters.campaign_store import CampaignStore
from services.decision.adapters.run_watch import RunWatch
from services.decision.app.campaigns import ControlRuns, RunRefusing
from services.decision.app.find_room import FindRoom
from services.decision.domain.run_room import Room, Wait
from services.decision.entrypoints.campaign_servicer import CampaignServicer
from services.decision.entrypoints.errors import ERRORS
from services.runtime import metrics
from services.runtime.audit import AuditFilter, list_audit
from services.runtime.errors import InvalidArgumentError, NotFoundError
from services.vocabulary.values import HOUR, SECOND, parse_time
from tests.fakes.audiences import AudiencesFake
from tests.integration.decision.conftest import ROOT, event, snapshot
from tests.integration.decision.test_runs import ABSENCE, SCHEDULE, calling

NINE = "2026-12-11T09:00:00Z"


class Hands:
    """People's hands on the runs of one worker's database."""

    def __init__(self, it):
        worker = it.worker
        self.it = it
        self.database = worker.database
        self.store = CampaignStore(worker.database, worker.runs)
        self.runs = ControlRuns(worker.database, worker.clock, self.store, worker.follow)

    async def start(self, rule_set="morning", request_id="r-1"):
        async with self.database.transaction() as transaction:
            return await self.runs.start(transaction, rule_set, "because", request_id)

    async def do(self, word, number=0, rule_set=""):
        async with self.database.transaction() as transaction:
            return await getattr(self.runs, word)(transaction, number, rule_set, "because")

    async def counts(self):
        (run,) = await self.it.runs()
        return dict((await self.runs.find(run.number)).counts)


async def under_way(make_worker, customers=10, text=SCHEDULE):
    """A campaign whose time has come, nobody asked yet, and hands on it."""
    it = await calling(make_worker, text, audiences=AudiencesFake(dict.fromkeys(range(1, customers + 1), 0)))
    await it.opening.look()
    await it.at(NINE)
    return it, Hands(it)


async def test_a_campaign_paused_after_its_worker_was_killed_stays_so_and_asks_everyone_once(make_worker):
    it, hands = await under_way(make_worker)
    url = it.worker.database.engine.url.render_as_string(hide_password=False)
    process = await asyncio.create_subprocess_exec(
        *(sys.executable, "-m", "tests.fakes.dying_caller", url, "10", str(parse_time(NINE))),
        stdin=asyncio.subprocess.PIPE,
        cwd=ROOT,
    )
    await process.communicate(pickle.dumps(it.worker.follow.occasions))
    assert process.returncode == -signal.SIGKILL
    (run,) = await it.runs()
    assert (run.state, run.asked) == ("open", 3)  # what the second page wrote is gone with its worker
    (paused,) = await hands.do("pause", rule_set="morning")
    assert paused.state == "paused"
    # other workers leave it alone, whatever the time
    it.worker.clock.advance_to(parse_time(NINE) + 3 * 24 * HOUR)
    assert not await it.asking.step()
    assert await it.pending() == (1, 0)  # that is the schedule's next time
    assert [customer for _, _, customer in await it.calls()] == [1, 2, 3]
    (going,) = await hands.do("resume", number=run.number)
    assert (going.state, going.next_micros) == ("open", it.worker.clock.now_micros())
    assert [customer for _, _, customer in await it.finish()] == list(range(4, 11))
    assert (await it.runs())[0].state == "done"


async def held(it):
    """What a scrape says of runs that do not go on, and since how many seconds, by why."""
    await RunWatch(it.worker.runs, it.worker.clock).look()
    scraped = text_string_to_metric_families(metrics.exposition("decision", "worker").decode())
    found = {(one.name, one.labels.get("why")): one.value for family in scraped for one in family.samples}
    return {
        why: (found["rapport_runs_held", why], found["rapport_runs_held_seconds", why])
        for why in ("paused", "care", "budget", "killed", "unknown")
        if found["rapport_runs_held", why]
    }


async def test_a_page_in_flight_is_given_up_when_its_run_is_paused(make_worker):
    it, hands = await under_way(make_worker)
    page = it.audiences.page

    async def paused_meanwhile(*asked):
        await hands.do("pause", rule_set="morning")
        return await page(*asked)

    it.audiences.page = paused_meanwhile
    assert await it.asking.step()
    assert await it.calls() == []
    (run,) = await it.runs()
    assert (run.state, run.asked, run.pages) == ("paused", 0, 0)
    it.worker.clock.advance_to(it.worker.clock.now_micros() + 5 * SECOND)
    assert await held(it) == {"paused": (1, 5)}
    it.audiences.page = page
    await hands.do("resume", rule_set="morning")
    assert len(await it.finish()) == 10


async def test_a_campaign_waits_for_room_says_so_and_goes_on_at_its_pace(make_worker):
    it, hands = await under_way(make_worker)
    assert await it.asking.step()
    it.rooms.found = Room(Wait.CARE, "care queue calls has 300 waiting, over 200")
    assert await it.asking.step()
    (run,) = await it.runs()
    since = parse_time(NINE)
    assert (run.waits, run.waits_for, run.waits_micros) == (
        "care",
        "care queue calls has 300 waiting, over 200",
        since,
    )
    assert (await hands.runs.find(run.number)).end_micros is None
    assert await it.pending() == (0, 1)  # nothing is due while it waits
    it.worker.clock.advance_to(since + HOUR)
    assert await it.asking.step()
    assert (await it.runs())[0].waits_micros == since
    assert await held(it) == {"care": (1, 3600)}
    assert len(await it.calls()) == 3
    it.rooms.found = Room(per_second=2)
    it.worker.clock.advance_to(since + 2 * HOUR)
    assert len(await it.finish()) == 2  # not what two hours would have been
    (run,) = await it.runs()
    assert (run.waits, run.waits_micros) == ("", 0)
    assert run.next_micros == since + 2 * HOUR + SECOND


async def test_the_end_is_estimated_from_the_pace_until_it_is_known_whether_the_run_keeps_to_it(make_worker):
    it, hands = await under_way(make_worker, text=SCHEDULE.replace("active:", "limits: {pace: 3/s}\nactive:"))
    await it.asking.step()
    (run,) = await it.runs()
    now = it.worker.clock.now_micros()
    assert (await hands.runs.find(run.number)).end_micros == now + 7 * SECOND // 3
    it.worker.clock.advance_to(now + HOUR)  # nobody asks: no worker runs
    found = await hands.runs.find(run.number)
    assert (found.per_second, found.end_micros) == (0, None)


async def test_a_campaign_that_waits_for_longer_than_late_is_given_up(make_worker):
    it, _ = await under_way(make_worker)
    it.rooms.found = Room(Wait.BUDGET, "spent")
    for hours in (0, 23, 25):
        it.worker.clock.advance_to(parse_time(NINE) + hours * HOUR)
        assert await it.asking.step()
    assert (await it.runs())[0].state == "missed"


async def test_a_spent_budget_of_the_rule_set_itself_is_waited_for_without_asking_the_channel(make_worker):
    text = SCHEDULE.replace("active:", "limits: {per day: 2}\nactive:")
    it, hands = await under_way(make_worker, text=text)

    class Channel:
        asked = 0

        async def room(self, called):
            assert called.rule_set == "morning"
            self.asked += 1
            return Room(per_second=5)

    channel = Channel()
    rooms = FindRoom(hands.store, channel)
    (called,) = it.worker.follow.occasions
    now = it.worker.clock.now_micros()
    assert await rooms.room(called, now) == Room(most=2)  # only a task: the channel has no word in it
    it.rooms.room = rooms.room

    async def asked_now():
        await it.asking.step()
        (run,) = await it.runs()
        calls = [customer for _, _, customer in await it.calls()]
        it.worker.clock.advance_to(it.worker.clock.now_micros() + 2 * SECOND)
        return calls, run.waits_for

    assert await asked_now() == ([1, 2], "")  # no more than its limit leaves
    one, two = came(it, 1), came(it, 2)
    calls, why = await asked_now()
    assert (calls, "2 customers were asked" in why) == ([], True)
    await it.worker.take((one, snapshot(1, {"plan": "s-5gb"})), (two, snapshot(2)))  # one gets nothing
    assert await asked_now() == ([3], "")
    await it.worker.take((came(it, 3), snapshot(3, {"plan": "s-5gb"})))
    calls, why = await asked_now()
    assert (calls, "2 actions" in why, channel.asked) == ([], True, 0)


def came(it, customer):
    """The call of a customer as it comes back from the profile."""
    (call,) = [one for one in it.events if one.customer == customer]
    return event(
        "trigger.due",
        event_id=call.id,
        source="decision",
        customer=customer,
        at=call.time_micros,
        data=orjson.loads(call.data),
        sequence=customer,
    )


async def test_what_comes_of_those_asked_is_counted_once(make_worker):
    it, hands = await under_way(make_worker, customers=3)
    await it.finish()
    key = "profile:same"
    pairs = [(came(it, 1), snapshot(1, {"plan": "s-5gb"})), (came(it, 2), snapshot(2))]
    await it.worker.take(*pairs, key=key)
    await it.worker.take(*pairs, key=key)  # delivered twice
    await it.worker.take(*pairs, key="profile:sent again")
    (action,) = await it.worker.actions()
    assert await hands.counts() == {"came": 2, "acted": 1, "dispatched": 1}
    told = {"action": action.action_id, "rule_set": "morning", "rule": "hello", "name": "call-back"}
    await it.worker.take(
        (event("action.sent", event_id="s", source="channel", data=told), None),
        (event("action.refused", event_id="r", source="channel", data=told | {"reason": "CAPPED"}), None),
        (event("action.sent", event_id="o", source="channel", data=told | {"action": it.events[0].id}), None),
    )
    counts = await hands.counts()
    assert (counts["sent"], counts["stopped CAPPED"], counts["dispatched"]) == (1, 1, 1)
    (run,) = await it.runs()
    progress = await hands.runs.find(run.number)
    assert (progress.run.walked, progress.end_micros) == (1.0, None)


async def test_a_campaign_is_started_by_hand_once_and_only_where_it_may(make_worker):
    it = await calling(make_worker, SCHEDULE, ABSENCE, audiences=AudiencesFake(dict.fromkeys((1, 2), 0)))
    hands = Hands(it)
    refused = [await hands.start(name) for name in ("nothing", "quiet")]
    assert [one.reason for one in refused] == [RunRefusing.NOT_LIVE, RunRefusing.NO_SCHEDULE]

    async def start_at_the_same_moment():
        async with it.worker.database.transaction() as second:
            await second.execute("SET LOCAL lock_timeout = '1ms'")
            await hands.runs.start(second, "morning", "because", "r-2")

    async with it.worker.database.transaction() as first:
        (run,) = await hands.runs.start(first, "morning", "because", "r-1")
        with pytest.raises(LockNotAvailable):  # it waits for the first
            await start_at_the_same_moment()
    assert (await hands.start(request_id="r-2")).reason is RunRefusing.UNDER_WAY
    assert (run.zone, run.reason) == ("", "because")
    assert len(await it.finish()) == 2
    (other,) = await hands.start(request_id="r-3")
    assert other.name != run.name
    assert len(await it.finish()) == 2  # people are asked once by each of them
    async with it.worker.database.transaction() as transaction:
        entries = await list_audit(transaction, AuditFilter(action="campaigns.start"))
    assert [one.target for one in entries] == [f"run/{other.number}", f"run/{run.number}"]


async def test_a_step_that_makes_no_sense_is_refused_with_the_reason(make_worker):
    it, hands = await under_way(make_worker)
    (run,) = await it.runs()
    with pytest.raises(NotFoundError):
        await hands.do("pause", number=run.number + 1)
    assert (await hands.do("pause", rule_set="other")).reason is RunRefusing.NOTHING_RUNS
    assert (await hands.do("resume", number=run.number)).reason is RunRefusing.ALREADY
    (cancelled,) = await hands.do("cancel", number=run.number)
    assert cancelled.state == "cancelled"
    assert await it.finish() == []
    for word in ("pause", "resume", "cancel"):
        assert (await hands.do(word, number=run.number)).reason is RunRefusing.ENDED


async def test_the_service_takes_a_step_once_and_tells_how_far_it_is(make_worker):
    it, hands = await under_way(make_worker, customers=5)
    await it.asking.step()
    servicer = CampaignServicer(hands.database, hands.runs, ERRORS)
    pause = pb.PauseRunRequest(request_id="p", rule_set="morning", reason="wrong price")
    answer = await servicer.PauseRun(pause, None)
    assert await servicer.PauseRun(pause, None) == answer
    (told,) = answer.runs
    assert (told.run.asked, told.run.walked, told.reason) == (3, 0.6, "wrong price")
    assert RunState.Name(told.run.state) == "RUN_STATE_PAUSED"
    again = await servicer.PauseRun(pb.PauseRunRequest(request_id="q", run=told.run.number), None)
    assert again.refusal.reason == pb.RUN_REFUSAL_REASON_ALREADY
    await servicer.ResumeRun(pb.ResumeRunRequest(request_id="r", run=told.run.number), None)
    await it.finish()
    await it.worker.take((came(it, 4), snapshot(4, {"plan": "s-5gb"})))
    found = (await servicer.GetRun(pb.GetRunRequest(run=told.run.number), None)).run
    assert (found.decided, found.nothing, found.dispatched, found.on_their_way) == (1, 0, 1, 1)
    cancel = await servicer.CancelRun(pb.CancelRunRequest(request_id="c", rule_set="morning"), None)
    assert cancel.refusal.reason == pb.RUN_REFUSAL_REASON_NOTHING_RUNS
    started = await servicer.StartRun(pb.StartRunRequest(request_id="s", rule_set="morning"), None)
    assert [RunState.Name(one.run.state) for one in started.runs] == ["RUN_STATE_OPEN"]
    for wrong in (
        pb.PauseRunRequest(request_id="w"),
        pb.PauseRunRequest(request_id="x", run=1, rule_set="a"),
    ):
        with pytest.raises(InvalidArgumentError):
            await servicer.PauseRun(wrong, None)


async def test_a_campaign_is_not_resumed_after_its_rule_set_has_ended(make_worker):
    text = SCHEDULE.replace("from: 2026-12-01", "from: 2026-12-01, to: 2026-12-12, tz: UTC")
    it, hands = await under_way(make_worker, text=text)
    await hands.do("pause", rule_set="morning")
    it.worker.clock.advance_to(parse_time("2026-12-13T09:00:00Z"))
    assert (await hands.do("resume", rule_set="morning")).reason is RunRefusing.NOT_ACTIVE
