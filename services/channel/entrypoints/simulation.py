"""The SimulationService over gRPC: a stream of imagined actions, each answered by the real gates."""

import asyncio
from collections.abc import AsyncIterator, Callable, Mapping, Sequence
from dataclasses import replace
from typing import Any

import grpc
from rapport.channel.v1 import simulation_pb2, simulation_pb2_grpc
from rapport.profile.v1 import profile_pb2

from services.channel.app.admit import Taken
from services.channel.app.profile import ProfilePort
from services.channel.app.simulation import Simulation, Tried
from services.channel.app.speech import Speech
from services.channel.app.store import MessageStore
from services.channel.domain.choice import Chosen, Dropped, Waits
from services.channel.domain.contact import Reach
from services.channel.domain.controls import Controls
from services.channel.domain.errors import InvalidActionError
from services.channel.domain.policies import Policies
from services.channel.entrypoints import translate
from services.runtime.access_log import note_answer
from services.runtime.database import Database
from services.runtime.errors import InvalidArgumentError, OverloadedError, TooLargeError
from services.runtime.server import Served
from services.vocabulary import wire
from services.vocabulary.words import RefusalReason

_NAME = simulation_pb2.DESCRIPTOR.services_by_name["SimulationService"].full_name
_METHOD = f"/{_NAME}/SimulateGates"
MOST_ACTIONS = 200
MOST_STREAMS = 4
_RETRY_SECONDS = 10.0
Context = grpc.aio.ServicerContext[Any, Any]
PoliciesWith = Callable[[Mapping[str, str]], Policies]
"""The policies in force, with these texts in the place of files; raises PolicyError."""

ReadReach = Callable[[profile_pb2.ContactAnswer, int], Reach]
"""What an answer of the profile, asked at that time, says; raises ValueError for a word that is not known."""


class SimulationServicer(simulation_pb2_grpc.SimulationServiceServicer):
    """Each stream has a simulation of its own; nothing is written but who asked about whom."""

    def __init__(
        self,
        database: Database,
        *,
        policies: PoliciesWith,
        read_reach: ReadReach,
        speech: Speech,
        profile: ProfilePort,
        store: MessageStore,
    ) -> None:
        self._database = database
        self._policies = policies
        self._read_reach = read_reach
        self._speech = speech
        self._profile = profile
        self._store = store
        self._streams = 0

    def served(self) -> Served:
        """For build_server."""
        return Served(
            _NAME,
            lambda server: simulation_pb2_grpc.add_SimulationServiceServicer_to_server(self, server),
        )

    async def SimulateGates(  # noqa: N802 - the proto's name
        self, request_iterator: AsyncIterator[simulation_pb2.SimulateGatesRequest], context: Context
    ) -> AsyncIterator[simulation_pb2.SimulateGatesResponse]:
        """Settings, then batches."""
        asks = False
        if self._streams >= MOST_STREAMS:
            raise OverloadedError(
                f"{MOST_STREAMS} simulations are under way in this process",
                suggestion="try again when one has ended",
                retry_seconds=_RETRY_SECONDS,
            )
        self._streams += 1
        try:
            simulation: Simulation | None = None
            async for request in request_iterator:
                kind = request.WhichOneof("message")
                if simulation is None:
                    if kind != "settings":
                        raise InvalidArgumentError(
                            "a stream begins with its settings",
                            field="settings",
                            suggestion="send them first",
                        )
                    simulation = await self._begin(request.settings)
                    asks = request.settings.ask_profile or request.settings.from_stored
                    yield simulation_pb2.SimulateGatesResponse()
                elif kind != "batch":
                    raise InvalidArgumentError(
                        "settings are said once", field="batch", suggestion="send batches after them"
                    )
                else:
                    if asks:
                        told = {one.action.customer for one in request.batch.actions if one.action.customer}
                        await note_answer(self._database, told, _METHOD, context)
                    answers = await self._answer(simulation, request.batch.actions)
                    yield simulation_pb2.SimulateGatesResponse(answers=answers)
        finally:
            self._streams -= 1

    async def _begin(self, settings: simulation_pb2.SimulationSettings) -> Simulation:
        # YAML is read slowly: in a thread, for others go on meanwhile
        policies = await asyncio.to_thread(self._policies, dict(settings.policies))
        return Simulation(
            policies if settings.from_stored else replace(policies, controls=Controls()),
            self._speech,
            profile=self._profile if settings.ask_profile else None,
            store=self._store if settings.from_stored else None,
        )

    async def _answer(
        self, simulation: Simulation, wired: Sequence[simulation_pb2.SimulatedAction]
    ) -> list[simulation_pb2.SimulatedAnswer]:
        if not 1 <= len(wired) <= MOST_ACTIONS:
            raise TooLargeError(
                f"a batch of {len(wired)} actions was sent",
                field="batch.actions",
                suggestion=f"send 1 to {MOST_ACTIONS} at a time",
            )
        tried: list[Tried] = []
        wrong: dict[int, str] = {}
        for place, one in enumerate(wired):
            try:
                tried.append(self._tried(one))
            except InvalidActionError as error:
                wrong[place] = str(error)
        taken = iter(zip(tried, await simulation.take(tried), strict=True))
        return [
            simulation_pb2.SimulatedAnswer(action_id=one.action.action_id, error=wrong[place])
            if place in wrong
            else _said(*next(taken))
            for place, one in enumerate(wired)
        ]

    def _tried(self, wired: simulation_pb2.SimulatedAction) -> Tried:
        action = translate.action_from_wire(wired.action)
        if not wired.HasField("try_time"):
            raise InvalidActionError("try_time", "is missing", "say when it is tried")
        time_micros = wire.micros(wired.try_time)
        if not wired.HasField("reach"):
            return Tried(action, time_micros)
        try:
            return Tried(action, time_micros, self._read_reach(wired.reach, time_micros))
        except ValueError as error:
            raise InvalidActionError("reach", str(error), "use the words of the vocabulary") from error


def _said(tried: Tried, taken: Taken) -> simulation_pb2.SimulatedAnswer:
    answer = simulation_pb2.SimulatedAnswer(action_id=tried.action.action_id)
    match taken.choice:
        case None:
            answer.reason = wire.REFUSAL_REASONS.to_wire(RefusalReason.DUPLICATE)
            answer.detail = "this action was taken before"
        case Chosen(channel):
            answer.passed = True
            answer.channel = wire.CHANNELS.to_wire(channel)
        case Waits(channel, reason, detail, until_micros):
            answer.waits = True
            answer.channel = wire.CHANNELS.to_wire(channel)
            answer.reason = wire.REFUSAL_REASONS.to_wire(reason)
            answer.detail = detail
            answer.next_time.CopyFrom(wire.timestamp(until_micros))
        case Dropped(channel, refusal, detail, next_micros):
            answer.channel = wire.CHANNELS.to_wire(channel)
            answer.reason = wire.REFUSAL_REASONS.to_wire(refusal)
            answer.detail = detail
            if next_micros is not None:
                answer.next_time.CopyFrom(wire.timestamp(next_micros))
    return answer
