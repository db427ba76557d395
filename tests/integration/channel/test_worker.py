"""The worker and the server as they run: streams, processes' parts, gRPC."""

import asyncio
import contextlib
from collections.abc import AsyncIterator

import grpc
import pytest
from rapport.channel.v1 import channel_pb2, channel_pb2_grpc
from rapport.types.v1 import stream_pb2, vocabulary_pb2

from services.channel.adapters.inbox import InboxTransport
from services.channel.adapters.storage.erasing import PostgresErasing
from services.channel.adapters.storage.transaction import PLANNED_NOTICE
from services.channel.app.erasure import ErasePersons
from services.channel.domain.caps import Cap
from services.channel.domain.choice import Dropped
from services.channel.domain.messages import ANSWERED, GIVEN_BACK
from services.channel.domain.policies import Policies
from services.channel.domain.quiet_hours import QuietHours, QuietWindow, Week
from services.channel.entrypoints.actions import ActionsHandler, resend_action
from services.channel.entrypoints.errors import CHANNEL_ERRORS
from services.channel.entrypoints.loops import CareLoop, DueLoop, ReceiptLoop, SenderLoop, wake_senders
from services.channel.entrypoints.servicer import ChannelServicer, InboxBell
from services.runtime.audit import AuditFilter, list_audit
from services.runtime.consumer import Delivery
from services.runtime.dead_letters import DeadLetters
from services.runtime.errors import UnavailableError
from services.runtime.server import build_server
from services.runtime.settings import Settings
from services.runtime.status import read_failure
from services.vocabulary.values import DAY, HOUR
from services.vocabulary.words import Category, Channel, MessageState, RefusalReason
from tests.fakes.channel import NOON, SetTransport, make_action, reachable
from tests.fakes.trust import trust
from tests.integration.channel.conftest import MakeRoad, Road, wired


def delivery(key: str, *actions: stream_pb2.Action) -> Delivery:
    return Delivery(1, key, stream_pb2.ActionBatch(actions=actions).SerializeToString())


def erasures_of(road: Road) -> ErasePersons:
    return ErasePersons(road.store, road.store.within, PostgresErasing(road.outbox, 64), road.clock)


def handler_of(road: Road) -> ActionsHandler:
    letters = DeadLetters("channel", road.outbox, resend_action(road.outbox, 64))
    return ActionsHandler(
        road.database, road.store.within, road.admission, erasures_of(road), letters, road.clock
    )


async def eventually(true) -> None:
    """Wait, bounded, until an awaited condition holds."""
    async with asyncio.timeout(15):
        while not await true():  # noqa: ASYNC110 - what is waited for is in the database
            await asyncio.sleep(0.02)


async def test_a_message_of_the_stream_is_taken_once(road: Road) -> None:
    handler = handler_of(road)
    first = delivery("a", wired(make_action(1)), wired(make_action(2, 2)))
    assert handler.count(first.payload) == 2
    await handler.handle([first, delivery("b", wired(make_action(3, 3)))])
    await handler.handle([first])
    totals = await road.totals()
    assert totals["actions.taken"] == 3
    assert totals.get("actions.duplicate", 0) == 0


async def test_an_action_that_cannot_be_taken_is_set_aside_alone(road: Road) -> None:
    handler = handler_of(road)
    nameless = wired(make_action(2))
    nameless.name = ""
    bad = delivery("a", wired(make_action(1)), nameless, wired(make_action(3)))
    with pytest.raises(Exception, match="name"):
        await handler.handle([bad])
    assert (await road.totals()).get("actions.taken", 0) == 0  # nothing of it was kept
    await handler.handle_singly(bad)
    await handler.handle_singly(bad)
    assert (await road.totals())["actions.taken"] == 2
    letters = await road.rows("SELECT kind, item_id, reason FROM dead_letter")
    assert letters == [
        ("action", nameless.action_id, "name: is empty; name the offer, message, survey or task")
    ]


async def test_a_reservation_given_back_is_free_again_once(make_road: MakeRoad) -> None:
    commercial = frozenset({Category.SALES})
    road = make_road(Policies(caps=(Cap("one", 1, DAY, commercial, commercial),)))
    road.profile.reaches[1] = reachable(1, channels=(Channel.APP, Channel.SMS))
    shown, said = make_action(1, category=Category.SALES), make_action(2, 2, category=Category.SALES)
    (one,) = await road.admission.prepare([shown])
    async with road.store.transaction() as tx:
        await road.admission.reserve(tx, [one], Channel.APP)
    sent = await road.take_one(said)
    await road.sender.turn()
    handler = handler_of(road)
    assert (await road.take_one(make_action(3, category=Category.SALES))).state is MessageState.REFUSED

    back = [stream_pb2.GivenBack(action_id=each.action_id, customer=each.customer) for each in (shown, said)]
    batch = stream_pb2.ActionBatch(given_back=back).SerializeToString()
    assert handler.count(batch) == 2
    for key in ("a", "a", "b"):
        await handler.handle([Delivery(1, key, batch)])
    await handler.handle_singly(Delivery(1, "c", batch))
    ended = await road.stored(one.message_id)
    assert (ended.state, ended.detail) == (MessageState.EXPIRED, GIVEN_BACK)
    assert (await road.stored(sent)).state is MessageState.SENT  # a provider has it
    assert [kind for kind, _ in await road.told()].count("action.expired") == 1
    assert await road.rows("SELECT customer FROM contact") == [(2,)]
    async with road.database.transaction() as raw:
        (entry,) = await list_audit(raw, AuditFilter(action="reservation.give_back"))
    assert entry.target == f"customer/1/message/{one.message_id}"
    # the next takes it; who asks for the same again is told that it is over
    assert (await road.take_one(make_action(4, category=Category.SALES))).state is MessageState.PLANNED
    (one,) = await road.admission.prepare([shown])
    async with road.store.transaction() as tx:
        (choice,) = await road.admission.reserve(tx, [one], Channel.APP)
    assert isinstance(choice, Dropped)


async def test_what_the_customer_answered_while_it_waited_is_not_said(make_road: MakeRoad) -> None:
    night = QuietHours(Week(((QuietWindow(21 * 60, 8 * 60),),) * 7))
    road = make_road(Policies(quiet_hours=night))
    said = await road.take_one(make_action(1))
    await road.sender.turn()
    road.clock.now = NOON + 10 * HOUR
    waits = await road.take_one(make_action(2))
    assert waits.state is MessageState.DEFERRED
    back = [
        stream_pb2.GivenBack(action_id=make_action(number).action_id, customer=1, answered=True)
        for number in (1, 2)
    ]
    batch = stream_pb2.ActionBatch(given_back=back).SerializeToString()
    for key in ("a", "b"):
        await handler_of(road).handle([Delivery(1, key, batch)])
    ended = await road.stored(waits.message_id)
    assert (ended.state, ended.reason, ended.detail) == (
        MessageState.REFUSED,
        RefusalReason.NO_LONGER_TRUE,
        ANSWERED,
    )
    assert (await road.stored(said.message_id)).state is MessageState.SENT
    assert [kind for kind, _ in await road.told()].count("action.refused") == 1


class AwayOnce:
    """Admission whose database does not answer the first time it is asked."""

    def __init__(self, inner) -> None:
        self._inner = inner
        self._asked = False

    async def prepare(self, actions):
        if not self._asked:
            self._asked = True
            raise UnavailableError("the database does not answer")
        return await self._inner.prepare(actions)

    async def take(self, tx, prepared):
        return await self._inner.take(tx, prepared)


async def test_no_action_is_set_aside_for_a_database_that_was_away(road: Road) -> None:
    letters = DeadLetters("channel", road.outbox, resend_action(road.outbox, 64))
    handler = ActionsHandler(
        road.database, road.store.within, AwayOnce(road.admission), erasures_of(road), letters, road.clock
    )
    with pytest.raises(UnavailableError):
        await handler.handle_singly(delivery("a", wired(make_action(1))))
    assert await road.rows("SELECT 1 FROM dead_letter") == []
    await handler.handle_singly(delivery("a", wired(make_action(1))))
    assert (await road.totals())["actions.taken"] == 1


async def test_an_unreadable_message_is_set_aside(road: Road) -> None:
    handler = handler_of(road)
    junk = Delivery(1, "junk", b"\xff\xff\xff")
    assert handler.count(junk.payload) == 1
    await handler.handle_singly(junk)
    assert await road.rows("SELECT kind, item_id FROM dead_letter") == [("action_batch", "junk")]


async def test_a_dead_letter_sent_again_is_an_action_again(road: Road) -> None:
    resend = resend_action(road.outbox, 64)
    action = wired(make_action(1, 65))
    async with road.database.transaction() as raw:
        await resend(raw, "action", action.SerializeToString())
    (partition, payload) = (
        await road.rows("SELECT partition, payload FROM outbox WHERE stream = 'ACTIONS'")
    )[0]
    assert partition == 1
    assert list(stream_pb2.ActionBatch.FromString(bytes(payload)).actions) == [action]


@contextlib.asynccontextmanager
async def running(*runs):
    """The loops of a worker, cancelled at the end; none may have ended before."""
    tasks = [asyncio.create_task(run()) for run in runs]
    try:
        yield
        assert [task for task in tasks if task.done()] == []
    finally:
        for task in tasks:
            task.cancel()
        await asyncio.gather(*tasks, return_exceptions=True)


async def test_the_loops_carry_a_message_to_its_receipt(road: Road) -> None:
    from services.channel.app.ports import Receipt, ReceiptState

    loop = SenderLoop(road.sender)
    care = CareLoop(road.store, road.clock, lambda: False)
    due = DueLoop(road.store, road.admission, road.clock)
    receipts = ReceiptLoop(road.store, road.transport, road.clock)
    async with running(
        loop.run, care.run, due.run, receipts.run, lambda: wake_senders(road.database, PLANNED_NOTICE, [loop])
    ):
        await eventually(_true)  # the loops are at rest when the action comes
        message = await road.take_one(make_action(1))
        await eventually(_is(road, message.message_id, MessageState.SENT))
        await road.transport.incoming.put(
            [Receipt("fake", f"p-{message.message_id}", ReceiptState.DELIVERED)]
        )
        await eventually(_is(road, message.message_id, MessageState.DELIVERED))


async def test_a_deferred_message_leaves_when_business_time_comes(make_road: MakeRoad) -> None:
    night = QuietHours(Week(((QuietWindow(21 * 60, 8 * 60),),) * 7))
    road = make_road(Policies(quiet_hours=night))
    road.clock.now = NOON + 10 * HOUR
    message = await road.take_one(make_action(1))
    loop = SenderLoop(road.sender)
    due = DueLoop(road.store, road.admission, road.clock)
    async with running(loop.run, due.run, lambda: wake_senders(road.database, PLANNED_NOTICE, [loop])):
        assert message.state is MessageState.DEFERRED
        road.clock.now = message.due_micros
        await eventually(_is(road, message.message_id, MessageState.SENT))


async def test_the_care_loop_ends_what_expired_and_takes_up_what_was_lost(road: Road) -> None:
    over = await road.take_one(make_action(1, expires_micros=NOON + HOUR))
    reads: list[int] = []
    care = CareLoop(road.store, road.clock, lambda: bool(reads.append(1)))
    async with running(care.run):
        road.clock.now += HOUR
        await eventually(_is(road, over.message_id, MessageState.EXPIRED))
    assert reads


async def test_a_blocked_sender_holds_up_no_other(road: Road) -> None:
    mail = SetTransport(Channel.EMAIL, "mail")
    stuck = asyncio.get_running_loop().create_future()
    road.transport.before_answer = lambda _: stuck
    loops = [SenderLoop(road.sender), SenderLoop(road.another_sender(mail))]
    by_sms = await road.take_one(make_action(1))
    by_mail = await road.take_one(make_action(2, channels=(Channel.EMAIL,)))
    async with running(*(loop.run for loop in loops)):
        await eventually(_is(road, by_mail.message_id, MessageState.SENT))
        assert (await road.stored(by_sms)).state is MessageState.SENDING
        stuck.set_result(None)
        await eventually(_is(road, by_sms.message_id, MessageState.SENT))


async def test_a_stopped_sender_finishes_what_it_began(road: Road) -> None:
    stuck = asyncio.get_running_loop().create_future()
    road.transport.before_answer = lambda _: stuck
    message = await road.take_one(make_action(1))
    loop = SenderLoop(road.sender)
    task = asyncio.create_task(loop.run())
    await eventually(_is(road, message.message_id, MessageState.SENDING))
    loop.stop()
    stuck.set_result(None)
    async with asyncio.timeout(10):
        await task
    assert (await road.stored(message)).state is MessageState.SENT


async def _true() -> bool:
    return True


def _is(road: Road, message_id: str, state: MessageState):
    async def true() -> bool:
        return (await road.stored(message_id)).state is state

    return true


@pytest.fixture
async def served(
    make_road: MakeRoad,
) -> AsyncIterator[tuple[Road, channel_pb2_grpc.ChannelServiceStub, InboxBell]]:
    """A channel server with a commercial cap of one a day, and a stub for it."""
    commercial = frozenset({Category.SALES, Category.RETENTION})
    road = make_road(Policies(caps=(Cap("day", 1, DAY, commercial, commercial),)))
    bell = InboxBell()
    servicer = ChannelServicer(
        database=road.database,
        within=road.store.within,
        store=road.store,
        admission=road.admission,
        inbox=road.inbox,
        bell=bell,
        clock=road.clock,
    )
    server = build_server(
        Settings("channel", **trust().settings("channel")), [servicer.served()], CHANNEL_ERRORS
    )
    await server.start()
    async with trust().connect(server.token_address) as grpc_channel:
        yield road, channel_pb2_grpc.ChannelServiceStub(grpc_channel), bell
    await server.stop(0)


async def test_dispatch_answers_each_action_by_itself(served) -> None:
    _, stub, _ = served
    broken = wired(make_action(9))
    broken.customer = 0
    sales = make_action(2, category=Category.SALES)
    request = channel_pb2.DispatchRequest(
        actions=[wired(make_action(1)), broken, wired(sales), wired(make_action(3, category=Category.SALES))]
    )
    response = await stub.Dispatch(request)
    assert [result.message.state for result in response.results] == [
        channel_pb2.MESSAGE_STATE_PLANNED,
        channel_pb2.MESSAGE_STATE_UNSPECIFIED,
        channel_pb2.MESSAGE_STATE_PLANNED,
        channel_pb2.MESSAGE_STATE_REFUSED,
    ]
    assert response.results[1].error == "customer: is 0; give a customer id from 1"
    assert response.results[3].message.reason == vocabulary_pb2.REFUSAL_REASON_CAPPED
    assert response.results[3].message.detail == "cap day: 1 of at most 1 in 1d"
    again = await stub.Dispatch(request)
    assert [result.duplicate for result in again.results] == [True, False, True, True]
    assert again.results[2].message == response.results[2].message


@pytest.mark.parametrize("count", [0, 501])
async def test_dispatch_says_its_limit(served, count: int) -> None:
    _, stub, _ = served
    actions = [stream_pb2.Action()] * count
    with pytest.raises(grpc.aio.AioRpcError) as raised:
        await stub.Dispatch(channel_pb2.DispatchRequest(actions=actions))
    failure = read_failure(raised.value)
    assert failure.status is grpc.StatusCode.INVALID_ARGUMENT
    assert "500" in failure.message


async def test_reserve_takes_slots_once_per_request(served) -> None:
    road, stub, _ = served
    road.profile.reaches[1] = reachable(1, channels=(Channel.APP,))
    request = channel_pb2.ReserveRequest(
        request_id="r1",
        channel=vocabulary_pb2.CHANNEL_APP,
        actions=[wired(make_action(number, category=Category.SALES, channels=())) for number in (1, 2)],
    )
    answer = await stub.Reserve(request)
    assert [one.passed for one in answer.answers] == [True, False]
    assert answer.answers[1].reason == vocabulary_pb2.REFUSAL_REASON_CAPPED
    assert answer.answers[1].next_time.ToMicroseconds() == NOON + DAY
    assert await stub.Reserve(request) == answer
    assert await road.slots() == 1
    request.request_id = "r2"
    assert [one.passed for one in (await stub.Reserve(request)).answers] == [True, False]
    assert await road.slots() == 1
    del request.actions[1]
    with pytest.raises(grpc.aio.AioRpcError) as raised:
        await stub.Reserve(request)
    assert read_failure(raised.value).reason == "REQUEST_REUSED"


async def test_reserve_for_the_care_desk_takes_no_slot_but_needs_consent(served) -> None:
    road, stub, _ = served
    request = channel_pb2.ReserveRequest(
        request_id="r1", actions=[wired(make_action(1, category=Category.SALES)), wired(make_action(2, 2))]
    )
    from services.channel.domain.contact import Reach

    road.profile.reaches[1] = Reach(True, 0, {})
    answer = await stub.Reserve(request)
    assert [one.passed for one in answer.answers] == [False, True]
    assert answer.answers[0].reason == vocabulary_pb2.REFUSAL_REASON_CONSENT_UNKNOWN
    assert await road.slots() == 0


async def test_messages_are_listed_page_by_page_and_shown_with_history(served) -> None:
    _, stub, _ = served
    actions = [wired(make_action(number, number)) for number in range(1, 6)]
    await stub.Dispatch(channel_pb2.DispatchRequest(actions=actions))
    seen = []
    token = ""
    while True:
        page = await stub.ListMessages(channel_pb2.ListMessagesRequest(page_size=2, page_token=token))
        seen += [message.customer for message in page.messages]
        token = page.next_page_token
        if not token:
            break
    assert seen == [5, 4, 3, 2, 1]
    of_three = await stub.ListMessages(
        channel_pb2.ListMessagesRequest(customer=3, states=[channel_pb2.MESSAGE_STATE_PLANNED])
    )
    (message,) = of_three.messages
    assert message.text == "hello in words"
    sent_only = channel_pb2.ListMessagesRequest(customer=3, states=[channel_pb2.MESSAGE_STATE_SENT])
    assert not (await stub.ListMessages(sent_only)).messages
    shown = await stub.GetMessage(channel_pb2.GetMessageRequest(message_id=message.message_id))
    assert shown.message == message
    assert [step.state for step in shown.history] == [
        channel_pb2.MESSAGE_STATE_ACCEPTED,
        channel_pb2.MESSAGE_STATE_PLANNED,
    ]


@pytest.mark.parametrize(
    ("call", "request_", "status"),
    [
        ("GetMessage", channel_pb2.GetMessageRequest(message_id="7"), grpc.StatusCode.INVALID_ARGUMENT),
        (
            "GetMessage",
            channel_pb2.GetMessageRequest(message_id="00000000-0000-0000-0000-000000000000"),
            grpc.StatusCode.NOT_FOUND,
        ),
        ("ListMessages", channel_pb2.ListMessagesRequest(page_size=-1), grpc.StatusCode.INVALID_ARGUMENT),
        ("ListMessages", channel_pb2.ListMessagesRequest(page_token="x"), grpc.StatusCode.INVALID_ARGUMENT),
    ],
)
async def test_wrong_questions_are_told_what_is_wrong(served, call: str, request_, status) -> None:
    _, stub, _ = served
    with pytest.raises(grpc.aio.AioRpcError) as raised:
        await getattr(stub, call)(request_)
    failure = read_failure(raised.value)
    assert failure.status is status
    assert failure.fields


async def test_the_inbox_is_watched_and_acknowledged_by_its_cursor(served) -> None:
    road, stub, bell = served
    road.profile.reaches.update({number: reachable(number, channels=(Channel.APP,)) for number in (1, 2)})
    sender = road.another_sender(InboxTransport(road.inbox))  # type: ignore[arg-type]
    app = (Channel.APP,)
    await road.take(make_action(1, 1, channels=app), make_action(2, 2, channels=app))
    await sender.turn()
    watch = stub.WatchInbox(channel_pb2.WatchInboxRequest(customers=[1]))
    first = await watch.read()
    assert (first.message.customer, first.message.text) == (1, "hello in words")
    later = await road.take_one(make_action(3, 1, channels=app))
    await sender.turn()
    bell.ring()
    second = await watch.read()
    assert (second.message.message_id, second.cursor) == (later.message_id, first.cursor + 2)
    watch.cancel()
    assert (await road.stored(first.message.message_id)).state is MessageState.SENT  # not acknowledged yet

    again = stub.WatchInbox(channel_pb2.WatchInboxRequest(customers=[1], after_cursor=first.cursor))
    assert await again.read() == second  # sent until acknowledged
    again.cancel()
    states = await road.rows("SELECT state FROM message ORDER BY number")
    assert states == [("delivered",), ("sent",), ("sent",)]
    assert ("action.delivered", "") in await road.told()


async def test_an_inbox_message_put_twice_is_there_once(road: Road) -> None:
    road.profile.reaches[1] = reachable(1, channels=(Channel.APP,))
    transport = InboxTransport(road.inbox)
    sender = road.another_sender(transport)  # type: ignore[arg-type]
    message = await road.take_one(make_action(1, channels=(Channel.APP,)))
    await sender.turn()
    from services.channel.app.ports import Outgoing

    outgoing = Outgoing(message.message_id, 1, "", "", "", "", "", Category.SERVICE, "hello", 0, again=True)
    await asyncio.gather(*(transport.send([outgoing]) for _ in range(5)))
    assert await road.rows("SELECT cursor FROM inbox") == [(1,)]
