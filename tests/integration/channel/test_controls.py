"""Kill switches, care load and versions of policies: made through the service, in force in every process."""

import asyncio
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from dataclasses import dataclass
from pathlib import Path

import grpc
import pytest
from google.protobuf.duration_pb2 import Duration
from rapport.channel.v1 import controls_pb2 as pb
from rapport.channel.v1.controls_pb2_grpc import ControlServiceStub

from services.channel.adapters.policies.folder import PolicyFolder
from services.channel.adapters.storage.controls import CONTROLS_NOTICE, ControlWatch, PostgresControls
from services.channel.domain.controls import SwitchScope
from services.channel.domain.errors import PolicyError
from services.channel.domain.messages import Message
from services.channel.domain.policies import Policies
from services.channel.entrypoints.controls import ControlServicer
from services.channel.entrypoints.errors import CHANNEL_ERRORS
from services.channel.entrypoints.loops import HeldLoop
from services.runtime.database import Database
from services.runtime.server import build_server
from services.runtime.settings import Settings
from services.runtime.status import read_failure
from services.vocabulary import wire
from services.vocabulary.values import DAY, HOUR, MINUTE
from services.vocabulary.words import ActionKind, Category, Channel, MessageState, RefusalReason
from tests.fakes.channel import NOON, make_action
from tests.fakes.trust import trust
from tests.integration.channel.conftest import MakeRoad, Road

CAPS = "caps:\n  day: {most: 1, within: 24h, limits: [sales], counts: [sales]}\n"
CAMPAIGNS = """\
costs: {sms: 0.05 EUR}
care: {calls: {slow_above: 50, slow_to: 2, stop_above: 200}}
campaigns:
  autumn: {match: {name: [autumn]}, most: 5, budget: 1.00 EUR, causes_calls: calls}
"""
PLANNED, REFUSED, DEFERRED = MessageState.PLANNED, MessageState.REFUSED, MessageState.DEFERRED
SENT = MessageState.SENT


@dataclass
class Process:
    """What each process of the channel has of the controls."""

    policies: PolicyFolder
    watch: ControlWatch


@dataclass
class Desk:
    """A channel with two processes, one of which serves."""

    road: Road
    folder: Path
    one: Process
    other: Process
    stub: ControlServiceStub

    async def within_two_seconds(self, true) -> None:
        """Wait until it holds in both processes."""
        async with asyncio.timeout(2):
            for each in (self.one, self.other):
                while not true(each.policies.current()):  # noqa: ASYNC110 - another process's state
                    await asyncio.sleep(0.005)

    async def stop(self, request_id: str, scope: str, name: str = "", **kwargs) -> pb.KillSwitch:
        answer = await self.stub.SetKillSwitch(
            pb.SetKillSwitchRequest(
                request_id=request_id,
                scope=f"KILL_SCOPE_{scope.upper()}",
                name=name,
                reason="it says the wrong price",
                **kwargs,
            )
        )
        return answer.kill_switch

    async def resume(self, request_id: str, scope: str, name: str = "") -> None:
        await self.stub.LiftKillSwitch(
            pb.LiftKillSwitchRequest(request_id=request_id, scope=f"KILL_SCOPE_{scope.upper()}", name=name)
        )

    async def apply(self, request_id: str, **texts: str) -> pb.PolicyVersion:
        documents = [pb.PolicyDocument(name=f"{name}.yaml", text=text) for name, text in texts.items()]
        request = pb.ApplyPoliciesRequest(request_id=request_id, documents=documents, comment="why not")
        return (await self.stub.ApplyPolicies(request)).version

    async def audit(self) -> list[tuple]:
        return await self.road.rows(
            "SELECT action, target, actor, before, after FROM audit_entry ORDER BY id"
        )


def process(database: Database, folder: Path) -> Process:
    policies = PolicyFolder(folder, "UTC")
    return Process(policies, ControlWatch(database, policies))


@asynccontextmanager
async def at_work(*runs) -> AsyncIterator[None]:
    tasks = [asyncio.create_task(run()) for run in runs]
    try:
        yield
        assert [task for task in tasks if task.done()] == []
    finally:
        for task in tasks:
            task.cancel()
        await asyncio.gather(*tasks, return_exceptions=True)


@pytest.fixture
async def desk(make_road: MakeRoad, tmp_path: Path) -> AsyncIterator[Desk]:
    (tmp_path / "caps.yaml").write_text("caps: {}\n")
    (tmp_path / "quiet_hours.yaml").write_text("quiet: {}\n")
    road = make_road()
    one, other = process(road.database, tmp_path), process(road.database, tmp_path)
    servicer = ControlServicer(
        database=road.database,
        within=PostgresControls,
        policies=one.policies,
        clock=road.clock,
        tell=lambda: road.database.notify(CONTROLS_NOTICE),
    )
    settings = Settings("channel", **trust().settings("channel"))
    server = build_server(settings, [servicer.served()], CHANNEL_ERRORS)
    await server.start()
    for each in (one, other):
        await each.watch.load()
    async with at_work(one.watch.run, other.watch.run), trust().connect(server.token_address) as channel:
        desk = Desk(road, tmp_path, one, other, ControlServiceStub(channel))
        road.policies_now = other.policies.current  # the other process is the one that sends
        yield desk
    await server.stop(0)


def depth_of(policies: Policies) -> int | None:
    load = policies.controls.loads.get("calls")
    return None if load is None else load.depth


def refusal(message: Message) -> tuple[MessageState, RefusalReason | None, str]:
    return message.state, message.reason, message.detail


async def test_a_switch_stops_what_comes_and_what_is_planned_in_another_process(desk: Desk) -> None:
    road = desk.road
    planned = await road.take_one(make_action(1))
    await desk.stop("r1", "rule_set", "tests")
    await desk.within_two_seconds(lambda policies: policies.controls.switches)
    why = (REFUSED, RefusalReason.KILLED, "kill switch rule_set tests")
    assert refusal(await road.take_one(make_action(2))) == why
    await road.sender.turn()
    assert refusal(await road.stored(planned)) == why
    assert (road.transport.sent, await road.slots()) == ([], 0)
    listed = await desk.stub.ListKillSwitches(pb.ListKillSwitchesRequest())
    (switch,) = listed.kill_switches
    assert (switch.name, switch.on, switch.reason) == ("tests", True, "it says the wrong price")
    await desk.resume("r2", "rule_set", "tests")
    await desk.within_two_seconds(lambda policies: not policies.controls.switches)
    assert (await road.take_one(make_action(3))).state is PLANNED
    noted = await desk.audit()
    assert [(action, target) for action, target, *_ in noted] == [
        ("controls.stop", "kill_switch/rule_set/tests"),
        ("controls.resume", "kill_switch/rule_set/tests"),
    ]
    assert noted[0][2] == switch.author != "system"
    assert noted[0][4]["reason"] == noted[1][3]["reason"] == "it says the wrong price"


async def test_what_each_scope_stops(desk: Desk) -> None:
    for place, (scope, name, stopped) in enumerate(
        [
            ("all", "", {"sms", "mail", "task", "sales"}),
            ("action", "hello", {"sms", "mail", "task"}),
            ("category", "sales", {"sales"}),
            ("channel", "email", {"mail"}),
            ("channel", "task", {"task"}),
        ]
    ):
        await desk.stop(f"s{place}", scope, name)
        await desk.within_two_seconds(lambda policies: policies.controls.switches)
        actions = {
            "sms": make_action(f"{place}a"),
            "mail": make_action(f"{place}b", channels=(Channel.EMAIL,)),
            "task": make_action(f"{place}c", kind=ActionKind.TASK, channels=()),
            "sales": make_action(f"{place}d", category=Category.SALES, name="offer"),
        }
        found = {what for what, action in actions.items() if (await desk.road.take_one(action)).reason}
        assert found == stopped, (scope, name)
        await desk.resume(f"r{place}", scope, name)
        await desk.within_two_seconds(lambda policies: not policies.controls.switches)


async def test_what_a_switch_holds_waits_for_its_end_or_until_it_is_lifted(desk: Desk) -> None:
    road = desk.road
    planned = await road.take_one(make_action(1))
    expiring = {"expires_micros": NOON + HOUR}
    await desk.stop("r1", "all", hold=True, until_time=wire.timestamp(NOON + DAY))
    await desk.within_two_seconds(lambda policies: policies.controls.switches)
    held = await road.take_one(make_action(2))
    assert refusal(held) == (
        DEFERRED,
        RefusalReason.KILLED,
        "kill switch all until 2026-09-22T12:00:00Z, held",
    )
    assert held.due_micros == NOON + DAY
    hopeless = await road.take_one(make_action(3, **expiring))
    assert hopeless.state is DEFERRED  # the switch may be lifted before
    road.clock.now = NOON + HOUR - 1
    await road.due()
    assert (await road.stored(hopeless)).state is REFUSED
    await road.sender.turn()
    assert (await road.stored(planned)).state is DEFERRED
    assert await road.slots() == 0
    desk.other.watch.switches_changed.clear()
    async with at_work(HeldLoop(road.store, road.clock, desk.other.watch.switches_changed).run):
        await desk.resume("r2", "all")
        await desk.within_two_seconds(lambda policies: not policies.controls.switches)
        async with asyncio.timeout(2):
            while not await road.due():  # noqa: ASYNC110 - what is waited for is in the database
                await asyncio.sleep(0.02)
    assert [(await road.stored(one)).state for one in (planned, held)] == [PLANNED, PLANNED]


async def test_a_switch_ends_by_itself_and_a_restart_keeps_it(desk: Desk) -> None:
    switch = await desk.stop("r1", "channel", "sms", lasts=Duration(seconds=3600))
    assert switch.until_time == wire.timestamp(NOON + HOUR)
    again = process(desk.road.database, desk.folder)
    await again.watch.load()
    desk.road.policies_now = again.policies.current
    assert (await desk.road.take_one(make_action(1))).reason is RefusalReason.KILLED
    desk.road.clock.now = NOON + HOUR
    assert (await desk.road.take_one(make_action(2))).state is PLANNED
    listed = await desk.stub.ListKillSwitches(pb.ListKillSwitchesRequest())
    assert [switch.on for switch in listed.kill_switches] == [False]


async def test_a_database_that_is_away_leaves_in_force_what_was_last_known(desk: Desk, monkeypatch) -> None:
    await desk.stop("r1", "all")
    await desk.within_two_seconds(lambda policies: policies.controls.switches)
    tried = asyncio.Event()

    async def away():
        tried.set()
        raise OSError("no route")

    monkeypatch.setattr(desk.road.database, "connect_driver", away)
    await desk.road.rows(
        "SELECT pg_terminate_backend(pid) FROM pg_stat_activity WHERE query LIKE '%revision%' "
        "AND pid <> pg_backend_pid() AND datname = current_database()"
    )
    async with asyncio.timeout(5):
        await tried.wait()
    assert desk.other.policies.current().controls.switches
    monkeypatch.undo()
    await desk.resume("r2", "all")
    await desk.within_two_seconds(lambda policies: not policies.controls.switches)


async def test_the_depth_of_a_queue_is_known_everywhere_and_noted_when_it_changes_something(
    desk: Desk,
) -> None:
    await desk.apply("r0", campaigns=CAMPAIGNS)
    await desk.within_two_seconds(lambda policies: policies.campaigns.queues)

    async def report(request_id: str, depth: int, at: int) -> int:
        load = pb.CareLoad(queue="calls", depth=depth, time=wire.timestamp(at), valid=Duration(seconds=60))
        answer = await desk.stub.ReportCareLoad(pb.ReportCareLoadRequest(request_id=request_id, loads=[load]))
        return answer.taken

    assert await report("r1", 10, NOON) == 1
    await desk.within_two_seconds(lambda policies: depth_of(policies) == 10)
    assert await report("r2", 20, NOON + 1) == 1
    assert await report("r3", 999, NOON) == 0  # older than what is known
    assert await report("r4", 300, NOON + 2) == 1
    await desk.within_two_seconds(lambda policies: depth_of(policies) == 300)
    (queue,) = (await desk.stub.ListCareLoads(pb.ListCareLoadsRequest())).queues
    assert (queue.known, queue.stage, queue.load.depth) == (True, pb.CARE_STAGE_STOPPED, 300)
    steps = [
        (before["stage"], after["stage"])
        for action, _, _, before, after in await desk.audit()
        if "care" in action
    ]
    assert steps == [("stopped", "free"), ("free", "stopped")]
    desk.road.clock.now += MINUTE + 2
    (queue,) = (await desk.stub.ListCareLoads(pb.ListCareLoadsRequest())).queues
    assert (queue.known, queue.stage) == (False, pb.CARE_STAGE_STOPPED)


async def test_policies_applied_are_in_force_in_another_process_and_go_back(desk: Desk) -> None:
    assert (await desk.apply("r1", caps=CAPS)).version == 1
    await desk.within_two_seconds(lambda policies: policies.caps)
    assert (await desk.apply("r2", campaigns=CAMPAIGNS)).documents == ["campaigns.yaml", "caps.yaml"]
    await desk.within_two_seconds(lambda policies: policies.campaigns.campaigns and policies.caps)
    again = process(desk.road.database, desk.folder)
    await again.watch.load()
    assert again.policies.current().caps[0].name == "day"
    # a file in whose place nothing was put is still read when it changes
    (desk.folder / "quiet_hours.yaml").write_text("closed: [sun]\n")
    (desk.folder / "caps.yaml").write_text(
        "caps:\n  file: {most: 1, within: 1h, limits: [sales], counts: [sales]}\n"
    )
    assert desk.other.policies.refresh()
    now = desk.other.policies.current()
    assert (now.quiet_hours.week.closed, now.caps[0].name) == (frozenset({6}), "day")
    revert = pb.RevertPoliciesRequest(request_id="r3", version=1)
    assert list((await desk.stub.RevertPolicies(revert)).version.documents) == ["caps.yaml"]
    await desk.within_two_seconds(lambda policies: not policies.campaigns.campaigns)
    await desk.stub.RevertPolicies(pb.RevertPoliciesRequest(request_id="r4", version=0))
    await desk.within_two_seconds(lambda policies: policies.caps[0].name == "file")
    listed = (await desk.stub.ListPolicyVersions(pb.ListPolicyVersionsRequest(page_size=2))).versions
    assert [(one.version, one.reverts_to, one.comment) for one in listed] == [(4, 0, ""), (3, 1, "")]
    assert listed[0].HasField("reverts_to")
    assert listed[0].apply_time.seconds > 0
    shown = await desk.stub.GetPolicies(pb.GetPoliciesRequest(version=2))
    assert [(one.name, one.from_file) for one in shown.documents] == [
        ("campaigns.yaml", False),
        ("caps.yaml", False),
    ]
    noted = [(action, actor, after["version"]) for action, _, actor, _, after in await desk.audit()]
    assert [(action, number) for action, _, number in noted] == [
        ("policies.apply", 1),
        ("policies.apply", 2),
        ("policies.revert", 3),
        ("policies.revert", 4),
    ]
    assert "system" not in {actor for _, actor, _ in noted}


async def test_policies_that_are_not_right_change_nothing_and_say_where(desk: Desk) -> None:
    wrong = CAPS.replace("most: 1", "most: one")
    for request_id in ("r1", "r1", "r2"):
        with pytest.raises(grpc.aio.AioRpcError) as raised:
            await desk.apply(request_id, caps=wrong)
        failure = read_failure(raised.value)
        assert failure.status is grpc.StatusCode.INVALID_ARGUMENT
        assert "policies/caps.yaml:2: most is 'one'; write a whole number from 0" in failure.message
    for number, text in enumerate(("caps: [\n", "caps: \x01\n", "caps: " + "[" * 30_000, "- " * 30_000)):
        with pytest.raises(grpc.aio.AioRpcError) as raised:
            await desk.apply(f"n{number}", caps=text)
        assert "policies/caps.yaml:" in read_failure(raised.value).message
    for request_id, texts in (("a", {"access": "callers: {}"}), ("b", {}), ("c", {"caps": "#" * 70_000})):
        with pytest.raises(grpc.aio.AioRpcError) as raised:
            await desk.apply(request_id, **texts)
        assert read_failure(raised.value).status is grpc.StatusCode.INVALID_ARGUMENT
    right = pb.PolicyDocument(name="caps.yaml", text=CAPS)
    dry = pb.ApplyPoliciesRequest(request_id="d", documents=[right], validate_only=True)
    assert (await desk.stub.ApplyPolicies(dry)).version.version == 0
    assert (await desk.stub.ListPolicyVersions(pb.ListPolicyVersionsRequest())).versions == []
    assert (await desk.audit(), desk.other.policies.current().caps) == ([], ())
    with pytest.raises(grpc.aio.AioRpcError) as raised:
        await desk.stub.RevertPolicies(pb.RevertPoliciesRequest(request_id="e", version=7))
    assert read_failure(raised.value).status is grpc.StatusCode.NOT_FOUND


async def test_a_process_does_not_begin_under_policies_that_it_cannot_read(desk: Desk) -> None:
    await desk.apply("r1", caps=CAPS)
    await desk.within_two_seconds(lambda policies: policies.caps)
    await desk.road.rows('UPDATE policy_version SET documents = \'{"caps.yaml": "new: true"}\' RETURNING 1')
    with pytest.raises(PolicyError, match=r"caps.yaml:1: 'new' is unknown"):
        await process(desk.road.database, desk.folder).watch.load()


async def test_twenty_at_once_are_twenty_versions_one_after_the_other(desk: Desk) -> None:
    texts = [CAPS.replace("most: 1", f"most: {number}") for number in range(20)]
    await asyncio.gather(*(desk.apply(f"r{number}", caps=text) for number, text in enumerate(texts)))
    rows = await desk.road.rows(
        "SELECT version, documents ->> 'caps.yaml' FROM policy_version ORDER BY version"
    )
    assert [version for version, _ in rows] == list(range(1, 21))
    assert {text for _, text in rows} == set(texts)


async def test_campaigns_are_listed_with_what_they_have_used(desk: Desk) -> None:
    await desk.apply("r1", campaigns=CAMPAIGNS.replace(", causes_calls: calls", ""))
    await desk.within_two_seconds(lambda policies: policies.campaigns.campaigns)
    for number in range(7):
        await desk.road.take_one(make_action(number, number + 1, name="autumn"))
    (told,) = (await desk.stub.ListCampaigns(pb.ListCampaignsRequest())).campaigns
    assert (told.name, told.messages, told.cost_micros, told.currency) == ("autumn", 5, 250_000, "EUR")
    spent = pb.GetCampaignRoomRequest(
        rule_set="tests",
        actions=[pb.CampaignAction(name="autumn", category=wire.CATEGORIES.to_wire(Category.SERVICE))],
    )
    room = await desk.stub.GetCampaignRoom(spent)
    assert (room.stop, "5 of at most 5 messages" in room.detail) == (pb.CAMPAIGN_STOP_BUDGET, True)
    spent.actions.add(name="winter", category=wire.CATEGORIES.to_wire(Category.SERVICE))
    assert await desk.stub.GetCampaignRoom(spent) == pb.GetCampaignRoomResponse()
    assert [(one.measure, one.most, one.used) for one in told.limits] == [
        ("messages", 5, 5),
        ("money", 1_000_000, 250_000),
    ]
    await desk.stub.RevertPolicies(pb.RevertPoliciesRequest(request_id="r2"))
    await desk.within_two_seconds(lambda policies: not policies.campaigns.campaigns)
    assert (await desk.stub.ListCampaigns(pb.ListCampaignsRequest())).campaigns == []
    kept = (await desk.stub.GetCampaignUse(pb.GetCampaignUseRequest(name="autumn"))).campaign
    assert (kept.messages, kept.in_force) == (5, False)
    with pytest.raises(grpc.aio.AioRpcError) as raised:
        await desk.stub.GetCampaignUse(pb.GetCampaignUseRequest(name="winter"))
    assert read_failure(raised.value).status is grpc.StatusCode.NOT_FOUND


WRONG_SWITCHES = [
    ({"scope": 0, "name": "x"}, "scope"),
    ({"scope": pb.KILL_SCOPE_ALL, "name": "x"}, "name"),
    ({"scope": pb.KILL_SCOPE_ACTION}, "name"),
    ({"scope": pb.KILL_SCOPE_CATEGORY, "name": "sale"}, "name"),
    ({"scope": pb.KILL_SCOPE_CHANNEL, "name": "fax"}, "name"),
    ({"scope": pb.KILL_SCOPE_ALL, "reason": ""}, "reason"),
    ({"scope": pb.KILL_SCOPE_ALL, "reason": "x" * 501}, "reason"),
    ({"scope": pb.KILL_SCOPE_ALL, "until_time": wire.timestamp(NOON)}, "until_time"),
    ({"scope": pb.KILL_SCOPE_ALL, "lasts": Duration()}, "lasts"),
    ({"scope": pb.KILL_SCOPE_ALL, "request_id": ""}, "request_id"),
]


async def test_a_wrong_switch_is_told_by_its_field(desk: Desk) -> None:
    for number, (wrong, field) in enumerate(WRONG_SWITCHES):
        request = pb.SetKillSwitchRequest(**{"request_id": f"r{number}", "reason": "why", **wrong})
        with pytest.raises(grpc.aio.AioRpcError) as raised:
            await desk.stub.SetKillSwitch(request)
        failure = read_failure(raised.value)
        assert failure.status is grpc.StatusCode.INVALID_ARGUMENT
        assert [name for name, _ in failure.fields] == [field], wrong
    with pytest.raises(grpc.aio.AioRpcError) as raised:
        await desk.resume("no", "channel", "sms")
    assert read_failure(raised.value).status is grpc.StatusCode.NOT_FOUND


async def test_either_a_notice_or_a_look_is_enough(desk: Desk) -> None:
    hears = PolicyFolder(desk.folder, "UTC")
    deaf = ControlWatch(desk.road.database, hears, sweep_seconds=600)
    await deaf.load()
    async with at_work(deaf.run):
        await desk.stop("r1", "all")  # told by a notice
        async with asyncio.timeout(2):
            while not hears.current().controls.switches:  # noqa: ASYNC110 - another process's state
                await asyncio.sleep(0.005)
    async with desk.road.database.transaction() as raw:  # told to nobody
        tx = PostgresControls(raw)
        await tx.change()
        await tx.lift_switch(SwitchScope.ALL, "")
    await desk.within_two_seconds(lambda policies: not policies.controls.switches)
