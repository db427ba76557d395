"""Asks the profile service over gRPC; what it does not answer in time counts as not asked."""

from collections.abc import Mapping, Sequence

import grpc
from rapport.profile.v1 import profile_pb2, profile_pb2_grpc
from rapport.types.v1 import vocabulary_pb2

from services.channel.app.profile import MOST_QUESTIONS, ContactQuestion
from services.channel.domain.contact import Contact, Permission, Reach
from services.channel.domain.errors import ProfileUnavailableError
from services.channel.domain.inbound import Owner
from services.runtime.clock import Clock
from services.vocabulary import wire

TIMEOUT_SECONDS = 5.0
_TOPIC = "topic."
_AWAY = (grpc.RpcError, grpc.aio.UsageError, grpc.aio.InternalError)


class GrpcProfile:
    """The profile service at the other end of a gRPC channel."""

    def __init__(
        self,
        grpc_channel: grpc.aio.Channel,
        clock: Clock,
        *,
        timeout_seconds: float = TIMEOUT_SECONDS,
    ) -> None:
        self._stub = profile_pb2_grpc.ProfileServiceStub(grpc_channel)
        self._clock = clock
        self._timeout = timeout_seconds

    async def check_contact(self, questions: Sequence[ContactQuestion]) -> Sequence[Reach]:
        """One answer per question; ProfileUnavailableError for whatever kept the profile from answering."""
        asked_wall_micros = self._clock.wall_micros()
        request = profile_pb2.CheckContactRequest(
            questions=[
                profile_pb2.ContactQuestion(
                    customer=question.customer,
                    category=wire.CATEGORIES.to_wire(question.category),
                    to_payer=question.to_payer,
                    line=question.line,
                )
                for question in questions
            ],
        )
        try:
            response = await self._stub.CheckContact(request, timeout=self._timeout)
        except _AWAY as error:
            raise _away(error) from error
        if [answer.customer for answer in response.answers] != [one.customer for one in questions]:
            raise ProfileUnavailableError("the profile service answered other questions than it was asked")
        try:
            return [reach_from_wire(answer, asked_wall_micros) for answer in response.answers]
        except ValueError as error:
            raise ProfileUnavailableError("the profile service answered in words unknown here") from error

    async def owners(self, subjects: Sequence[str]) -> Mapping[str, Owner]:
        """Whose identities these are; ProfileUnavailableError for whatever kept it from answering."""
        found: dict[str, Owner] = {}
        for start in range(0, len(subjects), MOST_QUESTIONS):
            asked = subjects[start : start + MOST_QUESTIONS]
            request = profile_pb2.BatchResolveIdentitiesRequest(subjects=asked)
            try:
                response = await self._stub.BatchResolveIdentities(request, timeout=self._timeout)
            except _AWAY as error:
                raise _away(error) from error
            if len(response.results) != len(asked):
                raise ProfileUnavailableError("the profile service answered for another number of identities")
            for subject, one in zip(asked, response.results, strict=True):
                if one.customer:
                    found[subject] = Owner((one.customer, *one.merged_customers), one.line)
        return found


def _away(error: Exception) -> ProfileUnavailableError:
    code = error.code().name if isinstance(error, grpc.aio.AioRpcError) else type(error).__name__
    return ProfileUnavailableError(f"the profile service did not answer ({code})")


def reach_from_wire(answer: profile_pb2.ContactAnswer, asked_wall_micros: int) -> Reach:
    """What one answer says; raises ValueError for a word that is not known."""
    permissions = {}
    for one in answer.channels:
        channel = wire.CHANNELS.from_wire(one.channel)
        if channel is not None:
            permissions[channel] = Permission(
                allowed=one.allowed,
                reason=wire.REFUSAL_REASONS.from_wire(one.reason),
                address=one.address,
            )
    preferred = answer.preferred_channel != vocabulary_pb2.CHANNEL_UNSPECIFIED
    return Reach(
        known=answer.known,
        asked_wall_micros=asked_wall_micros,
        permissions=permissions,
        zone=answer.zone,
        language=answer.language,
        preferred=wire.CHANNELS.from_wire(answer.preferred_channel) if preferred else None,
        service_blocked=answer.service_blocked,
        traits=dict(answer.shown_traits),
        merged=tuple(answer.merged_customers),
        contacts=tuple(
            Contact(
                answer.recipient or answer.customer,
                "",
                channel,
                wire.CATEGORIES.from_wire(contact.category),
                "",
                wire.micros(contact.contact_time),
            )
            for contact in answer.recent_contacts
            if (channel := wire.CHANNELS.from_wire(contact.channel)) is not None
        ),
        recipient=answer.recipient,
        household=answer.household,
        quiet_hours=tuple((span.start_minute, span.end_minute) for span in answer.quiet_hours),
        paused_until_micros=wire.micros(answer.paused_until) if answer.HasField("paused_until") else 0,
        topics_off=frozenset(
            key.removeprefix(_TOPIC)
            for key, value in answer.preferences.items()
            if key.startswith(_TOPIC) and value == "off"
        ),
    )
