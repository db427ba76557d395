"""The IdentityService over gRPC."""

from collections.abc import Awaitable, Callable, Sequence
from typing import Any, Final, TypeVar

import grpc
from google.protobuf.message import Message
from rapport.profile.v1 import identity_pb2, identity_pb2_grpc

from services.profile.app.identities import HistoryEntry, Identities, Suggested
from services.profile.app.merging import Merging
from services.profile.app.ports import ContentionError, ProfileStore, Work
from services.profile.app.questions import Questions
from services.profile.domain.errors import InvalidRequestError
from services.profile.domain.events import FUTURE_MICROS
from services.profile.domain.identities import FOREVER
from services.profile.domain.merges import Merge, MergeKind, Suggestion, SuggestionState
from services.runtime.access_log import reason_of
from services.runtime.clock import Clock, WallClock
from services.runtime.database import Database, Transaction
from services.runtime.errors import ErrorTable, UnavailableError
from services.runtime.requests import answer_once
from services.runtime.server import Served
from services.vocabulary.identities import Identity
from services.vocabulary.identity_rules import STAFF
from services.vocabulary.wire import micros, timestamp

_NAME: Final = "rapport.profile.v1.IdentityService"
_USUAL_PAGE, _LARGEST_PAGE, _MOST_IDENTITIES, _MOST_REASON = 100, 500, 100, 500
_TRIES: Final = 4
_STATES: Final = {
    SuggestionState.OPEN: identity_pb2.SUGGESTION_STATE_OPEN,
    SuggestionState.ACCEPTED: identity_pb2.SUGGESTION_STATE_ACCEPTED,
    SuggestionState.DISMISSED: identity_pb2.SUGGESTION_STATE_DISMISSED,
    SuggestionState.JOINING: identity_pb2.SUGGESTION_STATE_JOINING,
}
Answer = TypeVar("Answer", bound=Message)
Context = grpc.aio.ServicerContext[Any, Any]


class IdentityServicer(identity_pb2_grpc.IdentityServiceServicer):
    """Translates, and calls one use case per method; a change is done once per request id."""

    def __init__(
        self,
        *,
        database: Database,
        store: ProfileStore,
        questions: Questions,
        merging: Merging,
        identities: Identities,
        clock: Clock,
        errors: ErrorTable,
    ) -> None:
        self._database = database
        self._store = store
        self._questions = questions
        self._merging = merging
        self._identities = identities
        self._suggested = Suggested(merging)
        self._clock = clock
        self._errors = errors

    def served(self) -> Served:
        """For build_server."""
        return Served(
            _NAME, lambda server: identity_pb2_grpc.add_IdentityServiceServicer_to_server(self, server)
        )

    async def MergeCustomers(  # noqa: N802 - the proto's name
        self, request: identity_pb2.MergeCustomersRequest, context: Context
    ) -> identity_pb2.MergeCustomersResponse:
        """Make one customer of two."""
        del context

        async def act(work: Work) -> identity_pb2.MergeCustomersResponse:
            from_id = await self._questions.find(work, getattr(request, "from"))
            into_id = await self._questions.find(work, request.into)
            reason = _reason(request.reason)
            merge = await self._merging.merge(work, from_id, into_id, reason, self._clock.now_micros())
            into = await self._questions.one(work, merge.into_customer)
            return identity_pb2.MergeCustomersResponse(
                merge_id=merge.id,
                from_customer=merge.from_customer,
                customer=into.id,
                merged_customers=into.record.merged_customers,
            )

        return await self._once("MergeCustomers", request, identity_pb2.MergeCustomersResponse, act)

    async def UndoMerge(  # noqa: N802 - the proto's name
        self, request: identity_pb2.UndoMergeRequest, context: Context
    ) -> identity_pb2.UndoMergeResponse:
        """Take a merge or a split back."""
        del context

        async def act(work: Work) -> identity_pb2.UndoMergeResponse:
            reason = _reason(request.reason)
            undone = await self._merging.undo(work, request.merge_id, reason, self._clock.now_micros())
            return identity_pb2.UndoMergeResponse(
                from_customer=undone.from_customer,
                customer=undone.customer,
                identities_returned=undone.returned,
                identities_elsewhere=undone.elsewhere,
                events_returned=undone.events,
            )

        return await self._once("UndoMerge", request, identity_pb2.UndoMergeResponse, act)

    async def SplitCustomer(  # noqa: N802 - the proto's name
        self, request: identity_pb2.SplitCustomerRequest, context: Context
    ) -> identity_pb2.SplitCustomerResponse:
        """Make a new customer of some identities of another."""
        del context

        async def act(work: Work) -> identity_pb2.SplitCustomerResponse:
            if not 1 <= len(request.identities) <= _MOST_IDENTITIES:
                raise InvalidRequestError(
                    f"{len(request.identities)} identities were named",
                    field="identities",
                    suggestion=f"name 1 to {_MOST_IDENTITIES}",
                )
            identities = [
                self._identities.read(text, f"identities[{place}]")
                for place, text in enumerate(request.identities)
            ]
            merge, moved = await self._merging.split(
                work, request.subject, identities, _reason(request.reason), self._clock.now_micros()
            )
            return identity_pb2.SplitCustomerResponse(
                merge_id=merge.id,
                new_customer=merge.from_customer,
                customer=merge.into_customer,
                events_moved=moved,
            )

        return await self._once("SplitCustomer", request, identity_pb2.SplitCustomerResponse, act)

    async def AssignIdentity(  # noqa: N802 - the proto's name
        self, request: identity_pb2.AssignIdentityRequest, context: Context
    ) -> identity_pb2.AssignIdentityResponse:
        """Say whose an identity is from a time on."""
        del context

        async def act(work: Work) -> identity_pb2.AssignIdentityResponse:
            identity, time_micros = self._moved(request)
            customer = await self._questions.find(work, request.subject)
            now = self._clock.now_micros()
            move = await self._identities.assign(work, customer, identity, time_micros, request.line, now)
            still = move.until_micros == FOREVER
            return identity_pb2.AssignIdentityResponse(
                customer=move.customer,
                previous_customer=move.before,
                line=move.line,
                until_time=None if still else timestamp(move.until_micros),
                changed=move.changed,
            )

        return await self._once("AssignIdentity", request, identity_pb2.AssignIdentityResponse, act)

    async def ReleaseIdentity(  # noqa: N802 - the proto's name
        self, request: identity_pb2.ReleaseIdentityRequest, context: Context
    ) -> identity_pb2.ReleaseIdentityResponse:
        """Say that an identity is no longer somebody's."""
        del context

        async def act(work: Work) -> identity_pb2.ReleaseIdentityResponse:
            identity, time_micros = self._moved(request)
            customer = await self._questions.find(work, request.subject)
            now = self._clock.now_micros()
            move = await self._identities.release(work, customer, identity, time_micros, now)
            return identity_pb2.ReleaseIdentityResponse(customer=move.customer, changed=move.changed)

        return await self._once("ReleaseIdentity", request, identity_pb2.ReleaseIdentityResponse, act)

    async def ListIdentityHistory(  # noqa: N802 - the proto's name
        self, request: identity_pb2.ListIdentityHistoryRequest, context: Context
    ) -> identity_pb2.ListIdentityHistoryResponse:
        """What became of somebody's identities."""
        size, start = _size(request.page_size), _number(request.page_token)
        async with self._store.work() as work:
            customer = await self._questions.find(work, request.subject)
            entries = await self._identities.history(work, customer)
            await work.note_reads([customer], f"/{_NAME}/ListIdentityHistory", reason_of(context))
        end = start + size
        return identity_pb2.ListIdentityHistoryResponse(
            entries=[_entry(entry) for entry in entries[start:end]],
            next_page_token=str(end) if end < len(entries) else "",
        )

    async def ListIdentitySuggestions(  # noqa: N802 - the proto's name
        self, request: identity_pb2.ListIdentitySuggestionsRequest, context: Context
    ) -> identity_pb2.ListIdentitySuggestionsResponse:
        """Pairs who may be one person."""
        size, after = _size(request.page_size), _number(request.page_token)
        states = {number: state for state, number in _STATES.items()}
        state = states.get(request.state, SuggestionState.OPEN)
        async with self._store.work() as work:
            found = await work.suggestions(state, after, size + 1)
            page = found[:size]
            seen = {number for one in page for number in (one.customer, one.other)}
            await work.note_reads(seen, f"/{_NAME}/ListIdentitySuggestions", reason_of(context))
        return identity_pb2.ListIdentitySuggestionsResponse(
            suggestions=[_suggestion(one) for one in page],
            next_page_token=str(page[-1].id) if len(found) > size else "",
        )

    async def DecideIdentitySuggestion(  # noqa: N802 - the proto's name
        self, request: identity_pb2.DecideIdentitySuggestionRequest, context: Context
    ) -> identity_pb2.DecideIdentitySuggestionResponse:
        """Merge a pair, or have it never suggested again."""
        del context

        async def act(work: Work) -> identity_pb2.DecideIdentitySuggestionResponse:
            decided = await self._suggested.decide(
                work,
                request.suggestion_id,
                _reason(request.reason),
                self._clock.now_micros(),
                accept=request.accept,
            )
            return identity_pb2.DecideIdentitySuggestionResponse(suggestion=_suggestion(decided))

        return await self._once(
            "DecideIdentitySuggestion", request, identity_pb2.DecideIdentitySuggestionResponse, act
        )

    def _moved(
        self, request: identity_pb2.AssignIdentityRequest | identity_pb2.ReleaseIdentityRequest
    ) -> tuple[Identity, int]:
        _reason(request.reason)
        identity = self._identities.read(request.identity)
        self._identities.check_source(identity, request.source or STAFF)
        now = self._clock.now_micros()
        time_micros = micros(request.time) if request.HasField("time") else now
        ahead = FUTURE_MICROS if isinstance(self._clock, WallClock) else 0
        if not 0 < time_micros <= now + ahead:
            raise InvalidRequestError(
                "is in the future, or before 1970", field="time", suggestion="say it once it holds"
            )
        return identity, time_micros

    async def _once(
        self, rpc: str, request: Message, answer_type: type[Answer], act: Callable[[Work], Awaitable[Answer]]
    ) -> Answer:
        """Do it once; who meets others in a ring tries again."""

        async def acted(transaction: Transaction) -> Answer:
            try:
                return await act(self._store.join(transaction))
            except ContentionError as error:
                raise _MetError(ContentionError.message, suggestion="send it again") from error

        for number in range(1, _TRIES + 1):
            try:
                return await answer_once(
                    self._database, f"{_NAME}/{rpc}", request, answer_type, acted, self._errors
                )
            except Exception as error:
                if not (isinstance(error, _MetError) or self._store.met_others(error)):
                    raise
                if number == _TRIES:
                    raise UnavailableError(ContentionError.message, suggestion="send it again") from error
        raise AssertionError("it was answered or raised")


class _MetError(UnavailableError):
    """Others changed the same; not kept as an answer."""


def _reason(text: str) -> str:
    if len(text) > _MOST_REASON:
        raise InvalidRequestError(
            f"has {len(text)} characters", field="reason", suggestion=f"write at most {_MOST_REASON}"
        )
    return text


def _size(asked: int) -> int:
    if asked < 0:
        raise InvalidRequestError(
            f"page_size is {asked}",
            field="page_size",
            suggestion=f"0 to {_LARGEST_PAGE}; 0 means {_USUAL_PAGE}",
        )
    return min(asked or _USUAL_PAGE, _LARGEST_PAGE)


def _number(token: str) -> int:
    if not token:
        return 0
    if not token.isdecimal() or len(token) > 18:
        raise InvalidRequestError(
            "the page token is not one that was given out",
            field="page_token",
            suggestion="take it from the answer before",
        )
    return int(token)


def _entry(entry: HistoryEntry) -> identity_pb2.IdentityHistoryEntry:
    if entry.merge is not None:
        return _merge(entry.merge)
    gained, lost = (
        identity_pb2.IDENTITY_HISTORY_KIND_GAINED,
        identity_pb2.IDENTITY_HISTORY_KIND_LOST,
    )
    return identity_pb2.IdentityHistoryEntry(
        time=timestamp(entry.time_micros),
        kind=gained if entry.gained else lost,
        customer=entry.customer,
        identity="" if entry.identity is None else entry.identity.text,
        line=entry.line,
    )


def _merge(merge: Merge) -> identity_pb2.IdentityHistoryEntry:
    merged, split = (
        identity_pb2.IDENTITY_HISTORY_KIND_MERGED,
        identity_pb2.IDENTITY_HISTORY_KIND_SPLIT,
    )
    return identity_pb2.IdentityHistoryEntry(
        time=timestamp(merge.time_micros),
        kind=merged if merge.kind is MergeKind.MERGE else split,
        customer=merge.into_customer,
        other_customer=merge.from_customer,
        merge_id=merge.id,
        by=merge.by,
        reason=merge.reason,
        undone_time=timestamp(merge.undone_micros) if merge.undone_micros else None,
        undone_by=merge.undone_by,
        undone_reason=merge.undone_reason,
    )


def _suggestion(one: Suggestion) -> identity_pb2.IdentitySuggestion:
    texts: Sequence[str] = [identity.text for identity in one.identities]
    return identity_pb2.IdentitySuggestion(
        suggestion_id=one.id,
        customer=one.customer,
        other_customer=one.other,
        identities=texts,
        time=timestamp(one.time_micros),
        state=_STATES[one.state],
        decided_by=one.decided_by,
        decided_time=timestamp(one.decided_micros) if one.decided_micros else None,
        merge_id=one.merge,
    )
