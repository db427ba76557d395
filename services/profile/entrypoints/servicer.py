"""The ProfileService over gRPC."""

import asyncio
from collections import Counter
from collections.abc import AsyncIterator, Awaitable, Callable, Iterator, Sequence
from contextlib import contextmanager
from typing import Any

import grpc
from rapport.profile.v1 import profile_pb2, profile_pb2_grpc
from rapport.types.v1 import event_pb2, stream_pb2

from services.profile.app.changes import Changes
from services.profile.app.intake import Intake, StreamMark
from services.profile.app.ports import ProfileStore
from services.profile.app.questions import Questions
from services.profile.app.take_events import Accepted, Outcome
from services.profile.domain.errors import InvalidRequestError, RejectedError, StreamGapError
from services.profile.domain.events import CheckedEvent, EventChecker
from services.profile.entrypoints.profile_view import customers_in, profile_of
from services.profile.entrypoints.translation import (
    consent_changes,
    contact_answer,
    contact_questions,
    event_result,
    exceptions_of,
    raw_event,
)
from services.runtime.access_log import reason_of
from services.runtime.backlog import InHand
from services.runtime.caller import current_caller
from services.runtime.clock import Clock
from services.runtime.database import Database, Transaction
from services.runtime.errors import ErrorTable, OverloadedError
from services.runtime.metrics import INGEST_REFUSED, INGESTED
from services.runtime.observed_calls import caller_trace
from services.runtime.requests import answer_once
from services.runtime.server import Served
from services.runtime.tracing import SERVER, span
from services.vocabulary.wire import micros, timestamp

MAX_BATCH = 1_000
MAX_SUBJECTS = 500
_NAME = "rapport.profile.v1.ProfileService"
_BREATHE = 100
_STREAM_PATIENCE = 5.0
"""A stream only gets slower for so long, in seconds; then it ends and is told when to come back."""
Context = grpc.aio.ServicerContext[Any, Any]


class ProfileServicer(profile_pb2_grpc.ProfileServiceServicer):
    """Translates, and calls one use case per method."""

    def __init__(
        self,
        *,
        database: Database,
        store: ProfileStore,
        intake: Intake,
        checker: EventChecker,
        questions: Questions,
        changes: Changes,
        clock: Clock,
        errors: ErrorTable,
        clock_moved: Callable[[int], Awaitable[None]],
        room: Callable[[float], Awaitable[None]],
        in_hand: InHand,
    ) -> None:
        self._database = database
        self._store = store
        self._intake = intake
        self._checker = checker
        self._questions = questions
        self._changes = changes
        self._clock = clock
        self._errors = errors
        self._clock_moved = clock_moved
        self._room = room
        self._in_hand = in_hand

    def served(self) -> Served:
        """For build_server."""
        return Served(
            _NAME, lambda server: profile_pb2_grpc.add_ProfileServiceServicer_to_server(self, server)
        )

    async def IngestEvents(  # noqa: N802 - the proto's name
        self, request: profile_pb2.IngestEventsRequest, context: Context
    ) -> profile_pb2.IngestEventsResponse:
        """Take up to 1,000 events; each is answered by itself."""
        del context
        with self._counted(request.events, request.ByteSize()):
            outcomes = await self._take(request.events, history=request.history)
        return profile_pb2.IngestEventsResponse(
            results=[event_result(place, outcome) for place, outcome in enumerate(outcomes)]
        )

    async def StreamEvents(  # noqa: N802 - the proto's name
        self, request_iterator: AsyncIterator[profile_pb2.StreamEventsRequest], context: Context
    ) -> AsyncIterator[profile_pb2.StreamEventsResponse]:
        """Batches without end; the position is committed with the batch."""
        stream_id = ""
        position = 0
        async for request in request_iterator:
            kind = request.WhichOneof("message")
            if not stream_id:
                stream_id = _stream_id(request)
                async with self._store.work() as work:
                    position = await work.stream_position(stream_id)
                yield profile_pb2.StreamEventsResponse(acknowledged_sequence=position)
                continue
            if kind != "batch":
                raise InvalidRequestError(
                    "a stream is opened once", field="open", suggestion="send batches after the opening"
                )
            batch = request.batch
            if not 1 <= batch.first_sequence <= position + 1:
                raise StreamGapError(
                    f"the batch begins at {batch.first_sequence}, but {position} was acknowledged last",
                    field="batch.first_sequence",
                    suggestion=f"go on at {position + 1}",
                )
            last = batch.first_sequence + len(batch.events) - 1
            with (
                span(f"{_NAME}/StreamEvents batch", parent=caller_trace(context), kind=SERVER),
                self._counted(batch.events, batch.ByteSize()),
            ):
                outcomes = await self._take(
                    batch.events,
                    history=batch.history,
                    mark=StreamMark(stream_id, last),
                    where="batch.events",
                    patience_seconds=_STREAM_PATIENCE,
                )
            position = max(position, last)
            exceptions = exceptions_of(outcomes)
            yield profile_pb2.StreamEventsResponse(
                acknowledged_sequence=position,
                exceptions=exceptions,
                accepted=len(outcomes) - len(exceptions),
            )

    @contextmanager
    def _counted(self, events: Sequence[event_pb2.Event], size: int) -> Iterator[None]:
        """Hold a batch in memory, if there is room for it; what is turned away is counted."""
        try:
            with self._in_hand.hold(size):
                yield
        except OverloadedError:
            INGEST_REFUSED.labels("NO_ROOM").inc(len(events))
            raise

    async def _take(
        self,
        events: Sequence[event_pb2.Event],
        *,
        history: bool,
        mark: StreamMark | None = None,
        where: str = "events",
        patience_seconds: float = 0.0,
    ) -> list[Outcome]:
        if not 1 <= len(events) <= MAX_BATCH:
            raise InvalidRequestError(
                f"a batch of {len(events)} events was sent",
                field=where,
                suggestion=f"send 1 to {MAX_BATCH} at a time",
            )
        await self._room(patience_seconds)
        now = self._clock.now_micros()
        outcomes: list[Outcome | None] = []
        checked: list[CheckedEvent] = []
        for number, event in enumerate(events, start=1):
            try:
                checked.append(self._checker.check(raw_event(event), now, history=history))
                outcomes.append(None)
            except RejectedError as rejection:
                outcomes.append(rejection)
            if number % _BREATHE == 0:
                await asyncio.sleep(0)
        taken = iter(await self._intake.take(checked, rejected=len(events) - len(checked), mark=mark))
        answered = [outcome if outcome is not None else next(taken) for outcome in outcomes]
        _count(answered)
        return answered

    async def GetProfile(  # noqa: N802 - the proto's name
        self, request: profile_pb2.GetProfileRequest, context: Context
    ) -> profile_pb2.GetProfileResponse:
        """One customer as people see it."""
        now = self._clock.now_micros()
        async with self._store.work() as work:
            customer = await self._questions.one(work, await self._questions.find(work, request.subject))
            profile = await profile_of(self._questions, work, customer, now, self._checker.catalogue)
            await work.note_reads([customer.id], f"/{_NAME}/GetProfile", reason_of(context))
        return profile_pb2.GetProfileResponse(profile=profile)

    async def BatchGetSnapshots(  # noqa: N802 - the proto's name
        self, request: profile_pb2.BatchGetSnapshotsRequest, context: Context
    ) -> profile_pb2.BatchGetSnapshotsResponse:
        """Snapshots, item by item."""
        _check_subjects(request.subjects)
        now = self._clock.now_micros()
        async with self._store.work() as work:
            found = await self._questions.snapshots(work, request.subjects, now)
            if not current_caller().ours:
                await work.note_reads(customers_in(found), f"/{_NAME}/BatchGetSnapshots", reason_of(context))
        answer = profile_pb2.BatchGetSnapshotsResponse(business_time=timestamp(now))
        for item in found:
            result = answer.results.add()
            if isinstance(item, bytes):
                result.snapshot.MergeFromString(item)
            else:
                result.error = item
        return answer

    async def ResolveIdentity(  # noqa: N802 - the proto's name
        self, request: profile_pb2.ResolveIdentityRequest, context: Context
    ) -> profile_pb2.ResolveIdentityResponse:
        """Which customer an identity belongs to."""
        async with self._store.work() as work:
            found = await self._questions.resolve(work, request.subject)
            await work.note_reads([found.customer], f"/{_NAME}/ResolveIdentity", reason_of(context))
        return profile_pb2.ResolveIdentityResponse(
            customer=found.customer,
            matched=profile_pb2.Identity(kind=found.matched.kind, value=found.matched.value, line=found.line),
            conflict=found.conflict,
        )

    async def BatchResolveIdentities(  # noqa: N802 - the proto's name
        self, request: profile_pb2.BatchResolveIdentitiesRequest, context: Context
    ) -> profile_pb2.BatchResolveIdentitiesResponse:
        """Which customers many identities belong to."""
        _check_subjects(request.subjects)
        async with self._store.work() as work:
            found = await self._questions.owners(work, request.subjects)
            known = {one.customer for one in found if one.customer}
            await work.note_reads(known, f"/{_NAME}/BatchResolveIdentities", reason_of(context))
        return profile_pb2.BatchResolveIdentitiesResponse(
            results=[
                profile_pb2.ResolvedIdentity(
                    customer=one.customer, line=one.line, merged_customers=one.merged_customers
                )
                for one in found
            ]
        )

    async def RecordConsent(  # noqa: N802 - the proto's name
        self, request: profile_pb2.RecordConsentRequest, context: Context
    ) -> profile_pb2.RecordConsentResponse:
        """Write consents into the ledger, once per request id."""

        async def act(transaction: Transaction) -> profile_pb2.RecordConsentResponse:
            now = self._clock.now_micros()
            work = self._store.join(transaction)
            customer, without = await self._changes.record_consent(
                work,
                request.subject,
                consent_changes(request.changes, now),
                request.request_id,
                now,
            )
            (packed,) = await self._questions.snapshots(work, [f"customer:{customer}"], now)
            await work.note_reads([customer], f"/{_NAME}/RecordConsent", reason_of(context))
            assert isinstance(packed, bytes)
            return profile_pb2.RecordConsentResponse(
                customer=customer,
                consents=stream_pb2.Snapshot.FromString(packed).consents,
                without_effect=without,
            )

        return await answer_once(
            self._database,
            f"{_NAME}/RecordConsent",
            request,
            profile_pb2.RecordConsentResponse,
            act,
            self._errors,
        )

    async def CheckContact(  # noqa: N802 - the proto's name
        self, request: profile_pb2.CheckContactRequest, context: Context
    ) -> profile_pb2.CheckContactResponse:
        """Permission, addresses, zone, language and preferences, in one call."""
        questions = contact_questions(request.questions)
        checked = self._clock.wall_micros()
        async with self._store.work() as work:
            answers = await self._questions.contacts(work, questions, self._clock.now_micros())
            known = {answer.customer for answer in answers if answer.known}
            await work.note_reads(known, f"/{_NAME}/CheckContact", reason_of(context))
        return profile_pb2.CheckContactResponse(
            answers=[contact_answer(answer) for answer in answers], checked_time=timestamp(checked)
        )

    async def SetListenedTypes(  # noqa: N802 - the proto's name
        self, request: profile_pb2.SetListenedTypesRequest, context: Context
    ) -> profile_pb2.SetListenedTypesResponse:
        """Which types travel with a snapshot; in force everywhere when answered."""
        del context

        async def act(transaction: Transaction) -> profile_pb2.SetListenedTypesResponse:
            listened = await self._changes.set_listened_types(
                self._store.join(transaction), request.types, request.absence_types
            )
            return profile_pb2.SetListenedTypesResponse(version=listened.version)

        return await answer_once(
            self._database,
            f"{_NAME}/SetListenedTypes",
            request,
            profile_pb2.SetListenedTypesResponse,
            act,
            self._errors,
        )

    async def AdvanceClock(  # noqa: N802 - the proto's name
        self, request: profile_pb2.AdvanceClockRequest, context: Context
    ) -> profile_pb2.AdvanceClockResponse:
        """Move business time on; kept, then told to every process."""
        del context

        async def act(transaction: Transaction) -> profile_pb2.AdvanceClockResponse:
            if not request.HasField("time"):
                raise InvalidRequestError(
                    "it is missing", field="time", suggestion="say where business time goes"
                )
            stands = await self._changes.advance_clock(
                self._store.join(transaction), micros(request.time), self._clock.now_micros()
            )
            return profile_pb2.AdvanceClockResponse(business_time=timestamp(stands))

        answer = await answer_once(
            self._database,
            f"{_NAME}/AdvanceClock",
            request,
            profile_pb2.AdvanceClockResponse,
            act,
            self._errors,
        )
        await self._clock_moved(micros(answer.business_time))
        return answer


def _count(outcomes: Sequence[Outcome]) -> None:
    found = Counter(
        outcome.reason.name if isinstance(outcome, RejectedError) else type(outcome) for outcome in outcomes
    )
    for kind, number in found.items():
        if isinstance(kind, str):
            INGEST_REFUSED.labels(kind).inc(number)
        else:
            INGESTED.labels("accepted" if kind is Accepted else "duplicate").inc(number)


def _stream_id(request: profile_pb2.StreamEventsRequest) -> str:
    if request.WhichOneof("message") != "open" or not 1 <= len(request.open.stream_id) <= 200:
        raise InvalidRequestError(
            "a stream begins with an opening",
            field="open.stream_id",
            suggestion="send open with a stream_id of 1 to 200 characters first",
        )
    return request.open.stream_id


def _check_subjects(subjects: Sequence[str]) -> None:
    if not 1 <= len(subjects) <= MAX_SUBJECTS:
        raise InvalidRequestError(
            f"{len(subjects)} subjects were named",
            field="subjects",
            suggestion=f"name 1 to {MAX_SUBJECTS}",
        )
