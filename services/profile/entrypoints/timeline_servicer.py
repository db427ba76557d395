"""The TimelineService over gRPC."""

import asyncio
import base64
import binascii
import struct
import zlib
from collections.abc import AsyncIterator, Mapping
from dataclasses import dataclass, field
from typing import Any, Final

import grpc
from google.protobuf.message import Message
from rapport.profile.v1 import profile_pb2, timeline_pb2, timeline_pb2_grpc

from services.profile.app.ports import ProfileStore
from services.profile.app.questions import Questions, read_subject
from services.profile.app.timeline import Timelines, Told
from services.profile.app.watching import Watch, Watching
from services.profile.domain.errors import InvalidRequestError, UnknownSubjectError
from services.profile.domain.timeline import Kind, Place, Wanted
from services.profile.entrypoints.profile_view import profile_of
from services.runtime.access_log import reason_of
from services.runtime.clock import MICROS, Clock
from services.runtime.server import Served
from services.vocabulary.catalogue import Catalogue
from services.vocabulary.wire import micros, timestamp

_NAME: Final = "rapport.profile.v1.TimelineService"
_USUAL_PAGE, _LARGEST_PAGE, _MOST_WATCHED = 100, 500, 100
_NOTED_MICROS: Final = 3600 * MICROS
"""Who watches is noted when they begin, and then once in so long for each customer that changes."""
_PARTS: Final = (
    # in the order in which a cursor has their digests
    timeline_pb2.PROFILE_PART_TRAITS,
    timeline_pb2.PROFILE_PART_CONSENTS,
    timeline_pb2.PROFILE_PART_IDENTITIES,
    timeline_pb2.PROFILE_PART_PREFERENCES,
    timeline_pb2.PROFILE_PART_ACTIVITY,
)
_CURSOR = struct.Struct(f">Q{len(_PARTS)}I")
Context = grpc.aio.ServicerContext[Any, Any]


@dataclass(frozen=True, slots=True)
class _Seen:
    """A profile as somebody was told: whose, and a digest for each part. Customer 0: nobody's."""

    customer: int = 0
    digests: tuple[int, ...] = (0,) * len(_PARTS)

    @classmethod
    def of(cls, profile: profile_pb2.Profile | None) -> "_Seen":
        if profile is None:
            return cls()
        parts = (
            profile_pb2.Profile(
                traits=profile.traits, things=profile.things, other_words=profile.other_words
            ),
            profile_pb2.Profile(consents=profile.consents),
            profile_pb2.Profile(identities=profile.identities),
            profile_pb2.Profile(preferences=profile.preferences),
            profile_pb2.Profile(activity=profile.activity, sequence=profile.sequence),
        )
        return cls(profile.customer, tuple(_digest(part) for part in parts))

    @classmethod
    def from_cursor(cls, cursor: str, where: str) -> "_Seen | None":
        if not cursor:
            return None
        try:
            customer, *digests = _CURSOR.unpack(base64.urlsafe_b64decode(cursor.encode()))
        except (ValueError, binascii.Error, struct.error):
            raise InvalidRequestError(
                "the cursor is not one that was given out",
                field=where,
                suggestion="take it from the last answer about this subject, or leave it out",
            ) from None
        return cls(customer, tuple(digests))

    @property
    def cursor(self) -> str:
        return base64.urlsafe_b64encode(_CURSOR.pack(self.customer, *self.digests)).decode()

    def changed_since(self, before: "_Seen") -> "list[timeline_pb2.ProfilePart.ValueType]":
        """The parts that are not as they were."""
        found = [
            part for part, now, then in zip(_PARTS, self.digests, before.digests, strict=True) if now != then
        ]
        return found if self.customer == before.customer else [*found, timeline_pb2.PROFILE_PART_CUSTOMER]


@dataclass(slots=True)
class _Watched:
    """One subject that somebody watches."""

    index: int
    subject: str
    seen: _Seen | None
    customer: int = -1
    noted: dict[int, int] = field(default_factory=dict)


class TimelineServicer(timeline_pb2_grpc.TimelineServiceServicer):
    """Translates, and calls one use case per method."""

    def __init__(
        self,
        *,
        store: ProfileStore,
        catalogue: Catalogue,
        questions: Questions,
        watching: Watching,
        clock: Clock,
    ) -> None:
        self._store = store
        self._catalogue = catalogue
        self._questions = questions
        self._timelines = Timelines(catalogue, questions)
        self._watching = watching
        self._clock = clock

    def served(self) -> Served:
        """For build_server."""
        return Served(
            _NAME, lambda server: timeline_pb2_grpc.add_TimelineServiceServicer_to_server(self, server)
        )

    async def ListTimeline(  # noqa: N802 - the proto's name
        self, request: timeline_pb2.ListTimelineRequest, context: Context
    ) -> timeline_pb2.ListTimelineResponse:
        """A page of a person's history."""
        wanted = _wanted(request)
        size = _size(request.page_size)
        async with self._store.work() as work:
            page = await self._timelines.page(
                work,
                request.subject,
                wanted,
                size=size,
                for_person=request.for_person,
                now_micros=self._clock.now_micros(),
            )
            await work.note_reads(page.customers, f"/{_NAME}/ListTimeline", reason_of(context))
        entries = [_entry(told, for_person=request.for_person) for told in page.entries]
        return timeline_pb2.ListTimelineResponse(
            entries=entries,
            next_page_token=entries[-1].cursor if page.more else "",
            customers=page.customers,
        )

    async def WatchProfile(  # noqa: N802 - the proto's name
        self, request: timeline_pb2.WatchProfileRequest, context: Context
    ) -> AsyncIterator[timeline_pb2.WatchProfileResponse]:
        """Each watched profile first, unless it is as the cursor says; then what changes."""
        if not 1 <= len(request.watched) <= _MOST_WATCHED:
            raise InvalidRequestError(
                f"{len(request.watched)} subjects were given",
                field="watched",
                suggestion=f"watch 1 to {_MOST_WATCHED} in one stream",
            )
        watched = [self._watched(place, one) for place, one in enumerate(request.watched)]
        reason = reason_of(context)
        with self._watching.open() as watch:
            waiting = {one.index for one in watched}
            while True:
                for index in sorted(waiting):
                    answer = await self._look(watched[index], watch, reason)
                    if answer is not None:
                        yield answer
                    await asyncio.sleep(0)
                changed = await watch.changed()
                waiting = {one.index for one in watched if one.customer in changed}

    def _watched(self, place: int, one: timeline_pb2.WatchedSubject) -> _Watched:
        read_subject(one.subject, self._catalogue, f"watched[{place}].subject")
        return _Watched(place, one.subject, _Seen.from_cursor(one.cursor, f"watched[{place}].cursor"))

    async def _look(
        self, one: _Watched, watch: Watch, reason: str
    ) -> timeline_pb2.WatchProfileResponse | None:
        """The profile, if it is not as it was told last."""
        now = self._clock.now_micros()
        async with self._store.work() as work:
            profile: profile_pb2.Profile | None = None
            try:
                found = await self._questions.find(work, one.subject)
                self._follow(one, watch, found)  # before it is read: what comes in between is seen again
                customer = await self._questions.one(work, found)
                self._follow(one, watch, customer.id)
                profile = await profile_of(self._questions, work, customer, now, self._catalogue)
            except UnknownSubjectError:
                self._follow(one, watch, 0)
            seen = _Seen.of(profile)
            before, one.seen = one.seen, seen
            if before is not None and before == seen:
                return None
            if profile is not None and self._noteworthy(one, profile.customer):
                await work.note_reads([profile.customer], f"/{_NAME}/WatchProfile", reason)
        return timeline_pb2.WatchProfileResponse(
            index=one.index,
            profile=profile,
            changed=[] if before is None else seen.changed_since(before),
            cursor=seen.cursor,
        )

    def _noteworthy(self, one: _Watched, customer: int) -> bool:
        wall = self._clock.wall_micros()
        if wall - one.noted.get(customer, -_NOTED_MICROS) < _NOTED_MICROS:
            return False
        one.noted[customer] = wall
        return True

    def _follow(self, one: _Watched, watch: Watch, customer: int) -> None:
        if customer != one.customer:
            watch.follow(customer)
            if one.customer >= 0:
                watch.leave(one.customer)
            one.customer = customer


def _digest(part: Message) -> int:
    # 32 bits that tell two states of one part of one customer apart
    return zlib.crc32(part.SerializeToString(deterministic=True))


def _wanted(request: timeline_pb2.ListTimelineRequest) -> Wanted:
    if len(request.kinds) > len(_KINDS):
        raise InvalidRequestError(
            f"names {len(request.kinds)} kinds, and there are {len(_KINDS)}",
            field="kinds",
            suggestion="name each once, or leave kinds out for all of them",
        )
    if timeline_pb2.TIMELINE_KIND_UNSPECIFIED in request.kinds or any(
        number not in _KINDS for number in request.kinds
    ):
        raise InvalidRequestError(
            "a kind is not one of TimelineKind", field="kinds", suggestion="leave kinds out for all of them"
        )
    behind = None
    if request.page_token:
        try:
            behind = Place.of(request.page_token)
        except ValueError:
            raise InvalidRequestError(
                f"page_token {request.page_token[:40]!r} is not one that was given out",
                field="page_token",
                suggestion="take it from the answer before, or from an entry",
            ) from None
    return Wanted(
        frozenset(_KINDS[number] for number in request.kinds) or frozenset(Kind),
        behind,
        micros(request.from_time) if request.HasField("from_time") else 0,
        micros(request.until_time) if request.HasField("until_time") else 1 << 62,
        request.oldest_first,
    )


_KINDS: Final[Mapping[int, Kind]] = {int(kind): kind for kind in Kind}


def _size(asked: int) -> int:
    if asked < 0:
        raise InvalidRequestError(
            f"page_size is {asked}",
            field="page_size",
            suggestion=f"0 to {_LARGEST_PAGE}; 0 means {_USUAL_PAGE}",
        )
    return min(asked or _USUAL_PAGE, _LARGEST_PAGE)


def _entry(told: Told, *, for_person: bool) -> timeline_pb2.TimelineEntry:
    entry = told.entry
    message = timeline_pb2.TimelineEntry(
        time=timestamp(entry.place.time_micros),
        kind=timeline_pb2.TimelineKind.ValueType(int(entry.kind)),
        type=entry.type,
        text=told.text,
        customer=entry.place.customer,
        line=entry.line,
        source=entry.source,
        data=told.data,
        withheld=told.withheld,
        cursor=entry.place.text,
    )
    if entry.accepted_micros:
        message.accepted_time.CopyFrom(timestamp(entry.accepted_micros))
    if entry.retracted_micros:
        message.retracted_time.CopyFrom(timestamp(entry.retracted_micros))
    if not for_person:
        message.event_id = entry.event_id
        message.hops = entry.hops
        message.history = entry.history
    return message
