"""What the channel service may rely on when it asks the profile: the fake and the real client alike."""

import asyncio
from collections.abc import AsyncIterator
from dataclasses import dataclass
from typing import Any

import grpc
import pytest
from rapport.profile.v1 import profile_pb2, profile_pb2_grpc
from rapport.types.v1 import vocabulary_pb2

from services.channel.adapters.profile import GrpcProfile
from services.channel.app.profile import ContactQuestion, ProfilePort, ask_profile
from services.channel.domain.contact import Contact, Permission, Reach
from services.channel.domain.errors import ProfileUnavailableError
from services.vocabulary import wire
from services.vocabulary.words import Category, Channel, RefusalReason
from tests.fakes.channel import SetClock, SetProfile, make_action

NO = RefusalReason.NO_CONSENT
KNOWN = Reach(
    True,
    0,
    {
        Channel.SMS: Permission(True, None, "+33600000001"),
        Channel.EMAIL: Permission(False, NO, "a@example.test"),
    },
    zone="Europe/Paris",
    language="fr-CA",
    preferred=Channel.EMAIL,
    service_blocked=True,
    traits={"name": "Ada"},
    merged=(7, 9),
    contacts=(Contact(5, "", Channel.CALL, None, "", 1_790_000_000_000_000),),
    recipient=5,
    household=77,
    quiet_hours=((1260, 480),),
    paused_until_micros=1_800_000_000_000_000,
    topics_off=frozenset({"plan"}),
)


class Answering(profile_pb2_grpc.ProfileServiceServicer):
    """A profile service that knows customer 1."""

    def __init__(self) -> None:
        self.fails = False
        self.how = ""
        self.go_on = asyncio.Event()

    async def CheckContact(self, request: Any, context: Any) -> Any:  # noqa: N802 - the proto's name
        if self.fails:
            await context.abort(grpc.StatusCode.INTERNAL, "broken")
        answers = [
            profile_pb2.ContactAnswer(
                customer=1,
                known=True,
                zone="Europe/Paris",
                language="fr-CA",
                preferred_channel=vocabulary_pb2.CHANNEL_EMAIL,
                service_blocked=True,
                shown_traits={"name": "Ada"},
                preferences={"topic.plan": "off", "topic.data": "on", "language": "fr"},
                quiet_hours=[profile_pb2.QuietSpan(start_minute=1260, end_minute=480)],
                paused_until=wire.timestamp(1_800_000_000_000_000),
                merged_customers=[7, 9],
                recipient=5,
                household=77,
                recent_contacts=[
                    profile_pb2.RecentContact(
                        channel=vocabulary_pb2.CHANNEL_CALL,
                        contact_time=wire.timestamp(1_790_000_000_000_000),
                    )
                ],
                channels=[
                    profile_pb2.ChannelPermission(
                        channel=vocabulary_pb2.CHANNEL_SMS, allowed=True, address="+33600000001"
                    ),
                    profile_pb2.ChannelPermission(
                        channel=vocabulary_pb2.CHANNEL_EMAIL,
                        allowed=False,
                        reason=vocabulary_pb2.REFUSAL_REASON_NO_CONSENT,
                        address="a@example.test",
                    ),
                ],
            )
            if question.customer == 1
            else profile_pb2.ContactAnswer(customer=question.customer)
            for question in request.questions
        ]
        match self.how:
            case "short":
                answers.pop()
            case "long":
                answers.append(profile_pb2.ContactAnswer())
            case "of another":
                answers[0].customer = 2
            case "unknown words":
                answers[0].channels[1].reason = 999
            case "silent":
                await self.go_on.wait()
        return profile_pb2.CheckContactResponse(answers=answers)


@dataclass
class Asked:
    """A port, and the switch that takes its other side away."""

    port: ProfilePort
    clock: SetClock
    away: Any


@pytest.fixture(params=["fake", "grpc"])
async def asked(request: pytest.FixtureRequest) -> AsyncIterator[Asked]:
    clock = SetClock()
    if request.param == "fake":
        fake = SetProfile(clock)
        fake.reaches = {1: KNOWN, 2: Reach(False, 0, zone="")}
        yield Asked(fake, clock, lambda: setattr(fake, "away", True))
        return
    server = grpc.aio.server()
    answering = Answering()
    profile_pb2_grpc.add_ProfileServiceServicer_to_server(answering, server)
    port = server.add_insecure_port("127.0.0.1:0")
    await server.start()
    async with grpc.aio.insecure_channel(f"127.0.0.1:{port}") as grpc_channel:
        yield Asked(GrpcProfile(grpc_channel, clock), clock, lambda: setattr(answering, "fails", True))
    await server.stop(0)


async def test_answers_come_in_order_with_the_time_of_asking(asked: Asked) -> None:
    questions = [ContactQuestion(2, Category.SALES), ContactQuestion(1, Category.SALES)]
    unknown, known = await asked.port.check_contact(questions)
    assert (unknown.known, dict(unknown.permissions)) == (False, {})
    assert known.asked_wall_micros == asked.clock.wall
    assert (known.permissions, known.zone, known.language) == (KNOWN.permissions, "Europe/Paris", "fr-CA")
    assert (known.preferred, known.service_blocked, known.traits, known.merged) == (
        Channel.EMAIL,
        True,
        {"name": "Ada"},
        (7, 9),
    )
    assert known.contacts == KNOWN.contacts
    assert (known.quiet_hours, known.paused_until_micros, known.topics_off) == (
        ((1260, 480),),
        1_800_000_000_000_000,
        {"plan"},
    )


async def test_away_is_told_as_such_and_fails_closed(asked: Asked) -> None:
    asked.away()
    with pytest.raises(ProfileUnavailableError):
        await asked.port.check_contact([ContactQuestion(1, Category.SALES)])
    assert await ask_profile(asked.port, [make_action(1)]) == {}


async def test_a_question_is_asked_once_for_many_actions(asked: Asked) -> None:
    actions = [make_action(number, 1) for number in range(1200)]
    answers = await ask_profile(asked.port, actions)
    assert list(answers) == [ContactQuestion(1, Category.SERVICE)]
    many = await ask_profile(asked.port, [make_action(number, number) for number in range(1, 1200)])
    assert len(many) == 1199


@pytest.mark.parametrize("how", ["short", "long", "of another", "unknown words", "silent", "closed"])
async def test_an_answer_that_is_not_one_fails_closed(how: str) -> None:
    server = grpc.aio.server()
    answering = Answering()
    answering.how = how
    profile_pb2_grpc.add_ProfileServiceServicer_to_server(answering, server)
    port = server.add_insecure_port("127.0.0.1:0")
    await server.start()
    async with grpc.aio.insecure_channel(f"127.0.0.1:{port}") as grpc_channel:
        profile = GrpcProfile(grpc_channel, SetClock(), timeout_seconds=0.05 if how == "silent" else 5)
        if how == "closed":
            await grpc_channel.close()
        with pytest.raises(ProfileUnavailableError):
            await profile.check_contact([ContactQuestion(1, Category.SALES)])
        assert await ask_profile(profile, [make_action(1, category=Category.SALES)]) == {}
    answering.go_on.set()
    await server.stop(0)
