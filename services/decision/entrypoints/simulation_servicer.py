"""SimulationService over gRPC."""

from __future__ import annotations

from contextlib import aclosing
from typing import TYPE_CHECKING, Any
from uuid import UUID

from rapport.decision.v1 import simulation_pb2, simulation_pb2_grpc

from services.decision.app.jobs import Source
from services.decision.app.simulate import Done, Progress, Refused
from services.decision.app.simulation_telling import Wanted
from services.decision.domain.simulation_result import Fate
from services.decision.entrypoints.pages import number_of, page_size
from services.decision.entrypoints.translate import problem_to_wire
from services.runtime.errors import InvalidArgumentError, NotFoundError, TooLargeError
from services.runtime.server import Served
from services.vocabulary.wire import micros, timestamp

if TYPE_CHECKING:
    from collections.abc import AsyncIterator, Iterator

    import grpc

    from services.decision.app.simulate import SimulateRules
    from services.decision.app.simulation_ports import Simulations
    from services.runtime.clock import Clock
    from services.vocabulary.catalogue import Catalogue

    Context = grpc.aio.ServicerContext[Any, Any]

_NAME = simulation_pb2.DESCRIPTOR.services_by_name["SimulationService"].full_name
MOST_DRAFTS, MOST_GROUPS = 20, 5
_MOST_SOURCE = 1_000_000
_WHOLE = 10_000
_ACTIONS = 1_000
_OUTCOMES = {Fate.LIMITED: Fate.REFUSED.value, Fate.UNJUDGED: "unknown"}


class SimulationServicer(simulation_pb2_grpc.SimulationServiceServicer):
    """Checks what is asked, and tells what comes as it comes."""

    def __init__(
        self, simulate: SimulateRules, simulations: Simulations, clock: Clock, catalogue: Catalogue
    ) -> None:
        self._simulate = simulate
        self._simulations = simulations
        self._clock = clock
        self._catalogue = catalogue

    def served(self) -> Served:
        """For build_server."""
        return Served(
            _NAME, lambda server: simulation_pb2_grpc.add_SimulationServiceServicer_to_server(self, server)
        )

    async def Simulate(  # noqa: N802 - the proto's name
        self, request: simulation_pb2.SimulateRequest, context: Context
    ) -> AsyncIterator[simulation_pb2.SimulateResponse]:
        """Progress, then what came out; whoever goes away ends it."""
        del context
        async with aclosing(self._simulate.run(self._wanted(request))) as running:
            async for told in running:
                match told:
                    case Refused(problems):
                        yield simulation_pb2.SimulateResponse(
                            problems=simulation_pb2.SimulationProblems(
                                problems=[
                                    simulation_pb2.DraftProblem(file=one.file, problem=problem_to_wire(one))
                                    for one in problems
                                ]
                            )
                        )
                    case Progress():
                        yield _progress(told)
                    case Done():
                        if request.include_actions:
                            for actions in _actions(told):
                                yield simulation_pb2.SimulateResponse(actions=actions)
                        result = simulation_pb2.SimulationResult(
                            simulation_id=told.simulation_id, json=told.json
                        )
                        yield simulation_pb2.SimulateResponse(result=result)

    async def GetSimulation(  # noqa: N802 - the proto's name
        self, request: simulation_pb2.GetSimulationRequest, context: Context
    ) -> simulation_pb2.GetSimulationResponse:
        """A result that was kept."""
        del context
        kept = None
        if _is_id(request.simulation_id):
            kept = await self._simulations.find(request.simulation_id)
        if kept is None:
            raise NotFoundError(
                "there is no such simulation",
                field="simulation_id",
                suggestion="take it from the listing of simulations",
            )
        return simulation_pb2.GetSimulationResponse(
            result=simulation_pb2.SimulationResult(simulation_id=kept.simulation_id, json=kept.result),
            caller=kept.caller,
            create_time=timestamp(kept.created_micros),
        )

    async def ListSimulations(  # noqa: N802 - the proto's name
        self, request: simulation_pb2.ListSimulationsRequest, context: Context
    ) -> simulation_pb2.ListSimulationsResponse:
        """What was kept, newest first."""
        del context
        size = page_size(request.page_size)
        page = await self._simulations.page(number_of(request.page_token), size)
        answer = simulation_pb2.ListSimulationsResponse(
            next_page_token=str(page[-1][0]) if len(page) == size else ""
        )
        for _, kept in page:
            answer.simulations.add(
                simulation_id=kept.simulation_id,
                caller=kept.caller,
                create_time=timestamp(kept.created_micros),
                rule_sets=kept.rule_sets,
                since=timestamp(kept.since_micros),
                until=timestamp(kept.until_micros),
            )
        return answer

    def _wanted(self, request: simulation_pb2.SimulateRequest) -> Wanted:
        if len(request.groups) > MOST_GROUPS:
            raise InvalidArgumentError(
                f"{len(request.groups)} traits were given",
                field="groups",
                suggestion=f"compare by at most {MOST_GROUPS}",
            )
        if not 1 <= len(request.drafts) <= MOST_DRAFTS:
            raise InvalidArgumentError(
                f"{len(request.drafts)} drafts were given",
                field="drafts",
                suggestion=f"give 1 to {MOST_DRAFTS} rule sets",
            )
        for place, draft in enumerate(request.drafts):
            if len(draft.source) > _MOST_SOURCE:
                raise TooLargeError(
                    f"{draft.file or 'a draft'} has {len(draft.source):,} characters",
                    field=f"drafts[{place}].source",
                    suggestion="split it into several rule sets",
                )
        if not request.HasField("since"):
            raise InvalidArgumentError(
                "since is missing", field="since", suggestion="say from when on: 2026-11-02T00:00:00Z"
            )
        since, now = micros(request.since), self._clock.now_micros()
        until = min(micros(request.until), now) if request.HasField("until") else now
        if until <= since:
            raise InvalidArgumentError(
                "the time to simulate ends before it begins, or has not begun yet",
                field="until" if request.HasField("until") else "since",
                suggestion="name a time in the past after since, or leave until out",
            )
        if request.sample > _WHOLE:
            raise InvalidArgumentError(
                f"sample is {request.sample}", field="sample", suggestion="say 1 to 10000, or 0 for everybody"
            )
        return Wanted(
            tuple(
                Source(f"draft {place}", 0, draft.file or f"draft {place + 1}", draft.source)
                for place, draft in enumerate(request.drafts)
            ),
            since,
            until,
            request.sample % _WHOLE,
            self._groups(request),
            request.processes,
            alone=request.alone,
        )

    def _groups(self, request: simulation_pb2.SimulateRequest) -> tuple[str, ...]:
        for place, name in enumerate(request.groups):
            known = self._catalogue.traits.get(name)
            if known is None or known.direct:
                why = "is not in the catalogue" if known is None else "identifies people"
                raise InvalidArgumentError(
                    f"the trait {name} {why}",
                    field=f"groups[{place}]",
                    suggestion="name a trait of the catalogue that has few values",
                )
        return tuple(dict.fromkeys(request.groups))


def _is_id(text: str) -> bool:
    try:
        UUID(text)
    except ValueError:
        return False
    return True


def _progress(told: Progress) -> simulation_pb2.SimulateResponse:
    phase = simulation_pb2.SIMULATION_PHASE_GATES
    if not told.actions:
        phase = simulation_pb2.SIMULATION_PHASE_DECIDING
    return simulation_pb2.SimulateResponse(
        progress=simulation_pb2.SimulationProgress(
            phase=phase,
            customers_done=told.customers_done,
            customers=told.customers,
            events=told.events,
            actions_done=told.actions_done,
            actions=told.actions,
        )
    )


def _actions(told: Done) -> Iterator[simulation_pb2.SimulatedActions]:
    """Who would get what, some at a time."""
    part = simulation_pb2.SimulatedActions()
    for world, outcome in told.outcomes.items():
        for one, verdict in outcome.judged:
            part.actions.add(
                live=world == "live",
                customer=one.customer,
                time=timestamp(one.micros),
                **one.name._asdict(),
                outcome=_OUTCOMES.get(verdict.fate, verdict.fate.value),
                channel=verdict.channel,
                reason=verdict.reason if verdict.fate is not Fate.SENT else "",
                detail=verdict.detail if verdict.fate is not Fate.SENT else "",
            )
            if len(part.actions) == _ACTIONS:
                yield part
                part = simulation_pb2.SimulatedActions()
    if part.actions:
        yield part
