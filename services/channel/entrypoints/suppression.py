"""The SuppressionService over gRPC: staff look at the list, add to it, and lift what is theirs."""

import re
from collections.abc import Callable, Mapping, Sequence
from typing import Any

import grpc
from rapport.channel.v1 import suppression_pb2, suppression_pb2_grpc

from services.channel.app.opt_in_link import OptInLinks
from services.channel.app.profile import IdentityPort
from services.channel.app.store import MessageStore, MessageTransaction
from services.channel.app.suppression import Lifted, lift_for, suppress_all
from services.channel.domain.contact import SuppressedFor
from services.channel.domain.inbound import Owner
from services.channel.domain.suppression import OWN_WORD, LiftedBy, Suppression, SuppressionFilter
from services.channel.entrypoints.errors import CHANNEL_ERRORS
from services.channel.entrypoints.translate import MESSAGE_STATES
from services.runtime.access_log import note_answer
from services.runtime.clock import Clock
from services.runtime.database import Database, Transaction
from services.runtime.errors import ConflictError, InvalidArgumentError, NotFoundError, TooLargeError
from services.runtime.requests import answer_once
from services.runtime.server import Served
from services.vocabulary import wire
from services.vocabulary.words import Channel

MOST_ITEMS = 500
_USUAL_PAGE, _LARGEST_PAGE = 100, 1_000
_LONGEST_EVIDENCE = 200
_SERVICE = "rapport.channel.v1.SuppressionService"
_PERSONAL = re.compile(r"@|\+\d[\d .()/-]{6,}|\d{9,}")
_NOT_LISTED = frozenset({None, Channel.TASK})
REASONS = wire.WordTable(SuppressedFor, suppression_pb2.SuppressionReason, "SUPPRESSION_REASON_")
Context = grpc.aio.ServicerContext[Any, Any]


class SuppressionServicer(suppression_pb2_grpc.SuppressionServiceServicer):
    """Each change once per request id; the profile says whose a subject is. `links` None: none are served."""

    def __init__(
        self,
        database: Database,
        within: Callable[[Transaction], MessageTransaction],
        store: MessageStore,
        identities: IdentityPort,
        links: OptInLinks | None,
        clock: Clock,
    ) -> None:
        self._database = database
        self._within = within
        self._store = store
        self._identities = identities
        self._links = links
        self._clock = clock

    def served(self) -> Served:
        """For build_server."""
        return Served(
            suppression_pb2.DESCRIPTOR.services_by_name["SuppressionService"].full_name,
            lambda server: suppression_pb2_grpc.add_SuppressionServiceServicer_to_server(self, server),
        )

    async def ListSuppressions(  # noqa: N802 - the proto's name
        self, request: suppression_pb2.ListSuppressionsRequest, context: Context
    ) -> suppression_pb2.ListSuppressionsResponse:
        """A page of the list, newest first."""
        if not 0 <= request.page_size <= _LARGEST_PAGE:
            raise InvalidArgumentError(
                f"page_size is {request.page_size}", field="page_size", suggestion=f"0 to {_LARGEST_PAGE}"
            )
        if request.page_token and not request.page_token.isdecimal():
            raise InvalidArgumentError(
                "the page token is none of ours",
                field="page_token",
                suggestion="take it from the answer before",
            )
        size = request.page_size or _USUAL_PAGE
        person = (await self._owner(request.subject)).person if request.subject else ()
        wanted = SuppressionFilter(
            person, _word(wire.CHANNELS, request.channel, "channel"), _word(REASONS, request.reason, "reason")
        )
        async with self._store.transaction() as tx:
            found = await tx.suppressions(wanted, int(request.page_token or 0), size + 1)
        told = {entry.customer for entry in found[:size]}
        await note_answer(self._database, told, f"/{_SERVICE}/ListSuppressions", context)
        return suppression_pb2.ListSuppressionsResponse(
            suppressions=[_wired(entry) for entry in found[:size]],
            next_page_token=str(found[size - 1].number) if len(found) > size else "",
        )

    async def Suppress(  # noqa: N802 - the proto's name
        self, request: suppression_pb2.SuppressRequest, context: Context
    ) -> suppression_pb2.SuppressResponse:
        """Puts channels on the list, item by item."""
        del context
        if not request.items:
            raise InvalidArgumentError("it is empty", field="items", suggestion="name 1 to 500")
        if len(request.items) > MOST_ITEMS:
            raise TooLargeError(
                f"{len(request.items)} items are too many for one call",
                field="items",
                suggestion=f"send at most {MOST_ITEMS} at a time",
            )
        wrong = {place: told for place, item in enumerate(request.items) if (told := _mistake(item))}
        subjects = {item.subject for place, item in enumerate(request.items) if place not in wrong}
        owners = await self._identities.owners(sorted(subjects)) if subjects else {}

        async def act(raw: Transaction) -> suppression_pb2.SuppressResponse:
            now_micros = self._clock.now_micros()
            entries = {
                place: _entry(item, owners[item.subject], now_micros)
                for place, item in enumerate(request.items)
                if place not in wrong and item.subject in owners
            }
            added = await suppress_all(self._within(raw), list(entries.values()), LiftedBy.STAFF)
            return _answer(len(request.items), wrong, entries, added)

        return await answer_once(
            self._database,
            f"{_SERVICE}/Suppress",
            request,
            suppression_pb2.SuppressResponse,
            act,
            CHANNEL_ERRORS,
        )

    async def LiftSuppression(  # noqa: N802 - the proto's name
        self, request: suppression_pb2.LiftSuppressionRequest, context: Context
    ) -> suppression_pb2.LiftSuppressionResponse:
        """Takes a channel off the list as far as staff may."""
        del context
        channel = _needed(request.channel)
        _check_evidence(request.evidence)
        owner = await self._owner(request.subject)

        async def act(raw: Transaction) -> suppression_pb2.LiftSuppressionResponse:
            done = await lift_for(
                self._within(raw),
                self._clock,
                person=owner.person,
                channel=channel,
                by=LiftedBy.STAFF,
                evidence=request.evidence,
            )
            return suppression_pb2.LiftSuppressionResponse(
                customer=owner.customer,
                lifted=[REASONS.to_wire(reason) for reason in sorted(done.lifted)],
                standing=[REASONS.to_wire(reason) for reason in sorted(done.standing)],
                detail=_why(done),
            )

        return await answer_once(
            self._database,
            f"{_SERVICE}/LiftSuppression",
            request,
            suppression_pb2.LiftSuppressionResponse,
            act,
            CHANNEL_ERRORS,
        )

    async def SendOptInLink(  # noqa: N802 - the proto's name
        self, request: suppression_pb2.SendOptInLinkRequest, context: Context
    ) -> suppression_pb2.SendOptInLinkResponse:
        """Sends a link with which the person lifts the own opt-out."""
        del context
        channel = _needed(request.channel)
        via = _word(wire.CHANNELS, request.via, "via")
        if via not in {None, Channel.SMS, Channel.EMAIL}:
            raise InvalidArgumentError(
                f"a link does not go out by {via}", field="via", suggestion="sms or email, or leave it out"
            )
        links = self._links
        if links is None:
            raise ConflictError(
                "this installation serves no links",
                field="channel",
                suggestion="set RAPPORT_LINK_URL and RAPPORT_LINK_KEYS_FILE",
            )
        offered = await links.prepare(await self._owner(request.subject), channel, via, request.request_id)

        async def act(raw: Transaction) -> suppression_pb2.SendOptInLinkResponse:
            message = await links.send(self._within(raw), offered)
            if message is None:
                return suppression_pb2.SendOptInLinkResponse(
                    customer=offered.owner.customer,
                    detail=f"the person has not opted out of {channel.value}: there is nothing to open again",
                )
            return suppression_pb2.SendOptInLinkResponse(
                customer=offered.owner.customer,
                message_id=message.message_id,
                state=MESSAGE_STATES.to_wire(message.state),
                reason=wire.REFUSAL_REASONS.to_wire(message.reason),
                detail=message.detail,
            )

        return await answer_once(
            self._database,
            f"{_SERVICE}/SendOptInLink",
            request,
            suppression_pb2.SendOptInLinkResponse,
            act,
            CHANNEL_ERRORS,
        )

    async def _owner(self, subject: str) -> Owner:
        if not subject:
            raise InvalidArgumentError(
                "it is empty", field="subject", suggestion="write kind:value, or customer:<id>"
            )
        found = (await self._identities.owners([subject])).get(subject)
        if found is None:
            raise NotFoundError(
                "nobody is known under this subject",
                field="subject",
                suggestion="write kind:value, or customer:<id>",
            )
        return found


def _word(table: wire.WordTable[Any, Any], number: int, field: str) -> Any:
    try:
        return table.from_wire(number)
    except ValueError as error:
        raise InvalidArgumentError(str(error), field=field) from error


def _needed(number: int) -> Channel:
    channel = _word(wire.CHANNELS, number, "channel")
    if channel in _NOT_LISTED:
        raise InvalidArgumentError(
            "no channel to customers is named", field="channel", suggestion="name one: sms, email, …"
        )
    assert isinstance(channel, Channel)
    return channel


def _check_evidence(evidence: str) -> None:
    told = _evidence_mistake(evidence)
    if told:
        raise InvalidArgumentError(told, field="evidence")


def _evidence_mistake(evidence: str) -> str:
    if len(evidence) > _LONGEST_EVIDENCE:
        return f"evidence has {len(evidence)} characters; at most {_LONGEST_EVIDENCE}"
    if _PERSONAL.search(evidence):
        return "evidence holds what looks like a number or an address; name a ticket or a list"
    return ""


def _mistake(item: suppression_pb2.SuppressionItem) -> str:
    """What is wrong with an item, and what would be right; empty: nothing."""
    try:
        channel = wire.CHANNELS.from_wire(item.channel)
        REASONS.from_wire(item.reason)
    except ValueError as error:
        return str(error)
    if channel in _NOT_LISTED:
        return "no channel to customers is named; name one: sms, email, …"
    if not item.subject:
        return "the subject is empty; write kind:value, or customer:<id>"
    return _evidence_mistake(item.evidence)


def _entry(item: suppression_pb2.SuppressionItem, owner: Owner, now_micros: int) -> Suppression:
    channel = wire.CHANNELS.from_wire(item.channel)
    assert channel is not None, "items without a channel are wrong"
    reason = REASONS.from_wire(item.reason) or SuppressedFor.MANUAL
    return Suppression(owner.customer, channel, reason, now_micros, item.evidence)


def _answer(
    count: int,
    wrong: Mapping[int, str],
    entries: Mapping[int, Suppression],
    added: Sequence[Suppression],
) -> suppression_pb2.SuppressResponse:
    new = {(entry.customer, entry.channel, entry.reason) for entry in added}
    results = []
    for place in range(count):
        if place in wrong:
            result = suppression_pb2.SuppressionResult(
                status=suppression_pb2.SUPPRESSION_STATUS_WRONG, error=wrong[place]
            )
        elif place not in entries:
            result = suppression_pb2.SuppressionResult(status=suppression_pb2.SUPPRESSION_STATUS_UNKNOWN)
        else:
            entry = entries[place]
            key = (entry.customer, entry.channel, entry.reason)
            status = suppression_pb2.SUPPRESSION_STATUS_STOOD
            if key in new:
                status = suppression_pb2.SUPPRESSION_STATUS_ADDED
                new.discard(key)  # named twice, the second time it stood already
            result = suppression_pb2.SuppressionResult(status=status, customer=entry.customer)
        results.append(result)
    return suppression_pb2.SuppressResponse(results=results)


def _why(done: Lifted) -> str:
    own = sorted(done.standing & OWN_WORD)
    if not own:
        return ""
    words = " and ".join(reason.value for reason in own)
    return (
        f"the person {words}, and only the person lifts that: by START, or by a link that you send them"
        if SuppressedFor.UNSUBSCRIBED in own
        else "the person complained, which nobody lifts here"
    )


def _wired(entry: Suppression) -> suppression_pb2.Suppression:
    return suppression_pb2.Suppression(
        customer=entry.customer,
        channel=wire.CHANNELS.to_wire(entry.channel),
        reason=REASONS.to_wire(entry.reason),
        time=wire.timestamp(entry.time_micros),
        evidence=entry.evidence,
        message_id=entry.message_id,
    )
