"""The ControlService over gRPC: kill switches, care load, campaigns."""

from collections.abc import Callable, Sequence
from typing import Any

import grpc
from rapport.channel.v1 import controls_pb2, controls_pb2_grpc

from services.channel.app.controls import ControlTransaction, PolicySource
from services.channel.domain.campaigns import Campaign, CampaignUse
from services.channel.domain.controls import CareLoad, CareStage, Controls, KillSwitch, SwitchScope
from services.channel.entrypoints.errors import CHANNEL_ERRORS
from services.channel.entrypoints.policies import PolicyCalls
from services.channel.entrypoints.room import RoomCalls
from services.channel.entrypoints.told import checked_comment, page_of
from services.runtime.audit import Change, write_audit
from services.runtime.caller import current_caller
from services.runtime.clock import Clock
from services.runtime.database import Database, Transaction
from services.runtime.errors import InvalidArgumentError, NotFoundError
from services.runtime.requests import answer_once
from services.runtime.server import Served
from services.vocabulary import wire
from services.vocabulary.values import DAY, MINUTE, SECOND
from services.vocabulary.words import Category, Channel

SERVICE = "rapport.channel.v1.ControlService"
_MOST_LOADS = 100
_AHEAD_MICROS = 5 * MINUTE
_LONGEST_NAME = 200
Context = grpc.aio.ServicerContext[Any, Any]

SCOPES = wire.WordTable(SwitchScope, controls_pb2.KillScope, "KILL_SCOPE_")
STAGES = wire.WordTable(CareStage, controls_pb2.CareStage, "CARE_STAGE_")
_NAMED: dict[SwitchScope, frozenset[str]] = {
    SwitchScope.CATEGORY: frozenset(category.value for category in Category),
    SwitchScope.CHANNEL: frozenset(channel.value for channel in Channel),
}


class ControlServicer(PolicyCalls, RoomCalls, controls_pb2_grpc.ControlServiceServicer):
    """Changes are made once per request id, written into the audit log, and told to every process."""

    def __init__(
        self,
        *,
        database: Database,
        within: Callable[[Transaction], ControlTransaction],
        policies: PolicySource,
        clock: Clock,
        tell: Callable[[], None],
    ) -> None:
        super().__init__(database, within, policies, tell)
        self._clock = clock

    def served(self) -> Served:
        """For build_server."""
        return Served(
            controls_pb2.DESCRIPTOR.services_by_name["ControlService"].full_name,
            lambda server: controls_pb2_grpc.add_ControlServiceServicer_to_server(self, server),
        )

    async def SetKillSwitch(  # noqa: N802 - the proto's name
        self, request: controls_pb2.SetKillSwitchRequest, context: Context
    ) -> controls_pb2.SetKillSwitchResponse:
        """Throws a kill switch."""
        del context

        async def act(raw: Transaction) -> controls_pb2.SetKillSwitchResponse:
            switch = self._switch(request)
            controls = await self._begin(raw)
            await self._within(raw).put_switch(switch)
            before = _thrown(controls, switch.scope, switch.name)
            await write_audit(
                raw,
                Change("controls.stop", _target(switch), _noted(before) if before else None, _noted(switch)),
            )
            return controls_pb2.SetKillSwitchResponse(kill_switch=self._switch_to_wire(switch))

        return await answer_once(
            self._database,
            f"{SERVICE}/SetKillSwitch",
            request,
            controls_pb2.SetKillSwitchResponse,
            act,
            CHANNEL_ERRORS,
        )

    async def LiftKillSwitch(  # noqa: N802 - the proto's name
        self, request: controls_pb2.LiftKillSwitchRequest, context: Context
    ) -> controls_pb2.LiftKillSwitchResponse:
        """Lifts a kill switch."""
        del context

        async def act(raw: Transaction) -> controls_pb2.LiftKillSwitchResponse:
            scope = _scope(request.scope)
            switch = _thrown(await self._begin(raw), scope, request.name)
            if switch is None:
                raise NotFoundError(
                    f"no kill switch is thrown for {scope.value} {request.name}".rstrip(),
                    field="name",
                    suggestion="list those that are thrown",
                )
            await self._within(raw).lift_switch(scope, request.name)
            await write_audit(raw, Change("controls.resume", _target(switch), _noted(switch), None))
            return controls_pb2.LiftKillSwitchResponse(kill_switch=self._switch_to_wire(switch))

        return await answer_once(
            self._database,
            f"{SERVICE}/LiftKillSwitch",
            request,
            controls_pb2.LiftKillSwitchResponse,
            act,
            CHANNEL_ERRORS,
        )

    async def ListKillSwitches(  # noqa: N802 - the proto's name
        self, request: controls_pb2.ListKillSwitchesRequest, context: Context
    ) -> controls_pb2.ListKillSwitchesResponse:
        """Those that are thrown."""
        del context
        page, token = page_of((await self._controls()).switches, request.page_size, request.page_token)
        return controls_pb2.ListKillSwitchesResponse(
            kill_switches=[self._switch_to_wire(switch) for switch in page], next_page_token=token
        )

    async def ReportCareLoad(  # noqa: N802 - the proto's name
        self, request: controls_pb2.ReportCareLoadRequest, context: Context
    ) -> controls_pb2.ReportCareLoadResponse:
        """Takes figures; the audit log tells only of those that change what a queue does to campaigns."""
        del context

        async def act(raw: Transaction) -> controls_pb2.ReportCareLoadResponse:
            loads = self._loads(request)
            controls = await self._begin(raw)
            taken = 0
            for load in loads:
                before = controls.loads.get(load.queue)
                if before is not None and before.time_micros > load.time_micros:
                    continue
                taken += 1
                await self._within(raw).put_load(load)
                stages = [self._stage(load.queue, one) for one in (before, load)]
                if stages[0] is not stages[1]:
                    told = [
                        {"stage": stage.value if stage else "", "depth": one.depth if one else None}
                        for stage, one in zip(stages, (before, load), strict=True)
                    ]
                    target = f"care_queue/{load.queue}"
                    await write_audit(raw, Change("controls.care_load", target, told[0], told[1]))
            return controls_pb2.ReportCareLoadResponse(taken=taken)

        return await answer_once(
            self._database,
            f"{SERVICE}/ReportCareLoad",
            request,
            controls_pb2.ReportCareLoadResponse,
            act,
            CHANNEL_ERRORS,
        )

    async def ListCareLoads(  # noqa: N802 - the proto's name
        self, request: controls_pb2.ListCareLoadsRequest, context: Context
    ) -> controls_pb2.ListCareLoadsResponse:
        """Queues of the policies in force, and those reported."""
        del context
        loads = (await self._controls()).loads
        names = sorted({*loads, *self._policies.current().campaigns.queues})
        page, token = page_of(names, request.page_size, request.page_token)
        now_micros = self._clock.now_micros()
        queues = []
        for name in page:
            load = loads.get(name)
            told = controls_pb2.CareQueueState(
                load=controls_pb2.CareLoad(queue=name), stage=STAGES.to_wire(self._stage(name, load))
            )
            if load is not None:
                told.known = load.is_known(now_micros)
                told.author = load.author
                told.load.depth = load.depth
                told.load.time.CopyFrom(wire.timestamp(load.time_micros))
                told.load.valid.FromMicroseconds(load.valid_micros)
            queues.append(told)
        return controls_pb2.ListCareLoadsResponse(queues=queues, next_page_token=token)

    async def ListCampaigns(  # noqa: N802 - the proto's name
        self, request: controls_pb2.ListCampaignsRequest, context: Context
    ) -> controls_pb2.ListCampaignsResponse:
        """Those in force with what they have used."""
        del context
        page, token = page_of(
            self._policies.current().campaigns.campaigns, request.page_size, request.page_token
        )
        uses = await self._uses(page)
        return controls_pb2.ListCampaignsResponse(
            campaigns=[self._campaign_to_wire(one, uses.get(one.name)) for one in page], next_page_token=token
        )

    async def GetCampaignUse(  # noqa: N802 - the proto's name
        self, request: controls_pb2.GetCampaignUseRequest, context: Context
    ) -> controls_pb2.GetCampaignUseResponse:
        """One with what it has used."""
        del context
        defined = {one.name: one for one in self._policies.current().campaigns.campaigns}
        campaign = defined.get(request.name, Campaign(request.name))
        use = (await self._uses([campaign])).get(request.name)
        if use is None and request.name not in defined:
            raise NotFoundError(
                f"there is no campaign {request.name!r}",
                field="name",
                suggestion="take a name of rules/policies/campaigns.yaml",
            )
        told = self._campaign_to_wire(campaign, use)
        told.in_force = request.name in defined
        return controls_pb2.GetCampaignUseResponse(campaign=told)

    async def _uses(self, campaigns: "Sequence[Campaign]") -> dict[str, CampaignUse]:
        now_micros, zone = self._clock.now_micros(), self._policies.current().campaigns.zone
        async with self._database.transaction() as raw:
            return await self._within(raw).campaign_uses(
                {one.name: one.looks_back_to(now_micros, zone) for one in campaigns}
            )

    def _campaign_to_wire(self, campaign: Campaign, use: CampaignUse | None) -> controls_pb2.CampaignUse:
        defined = self._policies.current().campaigns
        used, now_micros = use or CampaignUse(), self._clock.now_micros()
        limits = []
        for limit in campaign.limits:
            told = controls_pb2.CampaignLimit(
                measure=limit.measure.value,
                span=limit.span.value,
                most=limit.most,
                used=used.used(limit, now_micros, defined.zone),
            )
            if limit.window_micros:
                told.window.FromMicroseconds(limit.window_micros)
            limits.append(told)
        return controls_pb2.CampaignUse(
            name=campaign.name,
            messages=used.count,
            cost_micros=used.cost_micros,
            currency=defined.currency,
            limits=limits,
            per_second=campaign.per_second,
            care_queue=campaign.care_queue,
            in_force=True,
        )

    def _stage(self, queue: str, load: CareLoad | None) -> CareStage | None:
        policy = self._policies.current().campaigns.queues.get(queue)
        return None if policy is None else policy.stage(load, self._clock.now_micros())

    def _switch(self, request: controls_pb2.SetKillSwitchRequest) -> KillSwitch:
        scope = _scope(request.scope)
        _check_name(scope, request.name)
        if not request.reason:
            raise InvalidArgumentError(
                "no reason is given", field="reason", suggestion="say why, for those who find it thrown"
            )
        now_micros = self._clock.now_micros()
        until = _end(request, now_micros)
        return KillSwitch(
            scope,
            request.name,
            request.hold,
            checked_comment(request.reason, "reason"),
            current_caller().name,
            now_micros,
            until,
        )

    def _switch_to_wire(self, switch: KillSwitch) -> controls_pb2.KillSwitch:
        told = controls_pb2.KillSwitch(
            scope=SCOPES.to_wire(switch.scope),
            name=switch.name,
            hold=switch.hold,
            reason=switch.reason,
            author=switch.author,
            since_time=wire.timestamp(switch.since_micros),
            on=switch.is_on(self._clock.now_micros()),
        )
        if switch.until_micros:
            told.until_time.CopyFrom(wire.timestamp(switch.until_micros))
        return told

    def _loads(self, request: controls_pb2.ReportCareLoadRequest) -> list[CareLoad]:
        if not 1 <= len(request.loads) <= _MOST_LOADS:
            raise InvalidArgumentError(
                f"{len(request.loads)} figures are given",
                field="loads",
                suggestion=f"give 1 to {_MOST_LOADS}",
            )
        now_micros = self._clock.now_micros()
        found: dict[str, CareLoad] = {}
        for place, told in enumerate(request.loads):
            field = f"loads[{place}]"
            time_micros = told.time.ToMicroseconds() if told.HasField("time") else now_micros
            valid_micros = told.valid.ToMicroseconds() if told.HasField("valid") else 0
            if not 0 < len(told.queue) <= _LONGEST_NAME or told.queue in found:
                raise InvalidArgumentError(
                    "a queue has no name, a long one, or comes twice",
                    field=f"{field}.queue",
                    suggestion=f"name each once, in 1 to {_LONGEST_NAME} characters",
                )
            if told.depth < 0:
                raise InvalidArgumentError(
                    f"depth is {told.depth}", field=f"{field}.depth", suggestion="waiting calls, from 0"
                )
            if not SECOND <= valid_micros <= DAY:
                raise InvalidArgumentError(
                    "it is not said how long the figure counts",
                    field=f"{field}.valid",
                    suggestion="1 s to 24 h: until somewhat after the next figure is due",
                )
            if time_micros > now_micros + _AHEAD_MICROS:
                raise InvalidArgumentError(
                    "the figure is of a time to come",
                    field=f"{field}.time",
                    suggestion="business time at which the calls were counted",
                )
            found[told.queue] = CareLoad(
                told.queue, told.depth, time_micros, valid_micros, current_caller().name
            )
        return list(found.values())


def _scope(number: int) -> SwitchScope:
    try:
        scope = SCOPES.from_wire(number)
    except ValueError as error:
        raise InvalidArgumentError(str(error), field="scope") from error
    if scope is None:
        known = ", ".join(one.value for one in SwitchScope)
        raise InvalidArgumentError("it is not said what to stop", field="scope", suggestion=f"one of {known}")
    return scope


def _end(request: controls_pb2.SetKillSwitchRequest, now_micros: int) -> int:
    ends = {}
    if request.HasField("until_time"):
        ends["until_time"] = request.until_time.ToMicroseconds()
    if request.HasField("lasts"):
        ends["lasts"] = now_micros + request.lasts.ToMicroseconds()
    if len(ends) > 1:
        raise InvalidArgumentError(
            "both an end and a length are given", field="lasts", suggestion="give one of them"
        )
    for field, until_micros in ends.items():
        if until_micros <= now_micros:
            raise InvalidArgumentError(
                "the end is not later than now in business time",
                field=field,
                suggestion="a later one, or none",
            )
        return until_micros
    return 0


def _check_name(scope: SwitchScope, name: str) -> None:
    if scope is SwitchScope.ALL:
        if name:
            raise InvalidArgumentError(
                "a name is given with scope all", field="name", suggestion="leave it empty"
            )
        return
    if not 0 < len(name) <= _LONGEST_NAME:
        raise InvalidArgumentError(
            f"the name of the {scope.value} has {len(name)} characters",
            field="name",
            suggestion=f"1 to {_LONGEST_NAME} characters",
        )
    known = _NAMED.get(scope)
    if known is not None and name not in known:
        raise InvalidArgumentError(
            f"{name!r} is no {scope.value}", field="name", suggestion=f"one of {', '.join(sorted(known))}"
        )


def _thrown(controls: Controls, scope: SwitchScope, name: str) -> KillSwitch | None:
    return next((switch for switch in controls.switches if switch.key == (scope, name)), None)


def _target(switch: KillSwitch) -> str:
    return f"kill_switch/{switch.scope.value}" + (f"/{switch.name}" if switch.name else "")


def _noted(switch: KillSwitch) -> dict[str, Any]:
    return {
        "hold": switch.hold,
        "reason": switch.reason,
        "author": switch.author,
        "until_micros": switch.until_micros,
    }
