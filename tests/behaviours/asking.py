"""Reservations as a caller asks for them over gRPC, and what the caller is told."""

from rapport.channel.v1 import channel_pb2
from rapport.types.v1 import vocabulary_pb2

from services.channel.entrypoints.errors import CHANNEL_ERRORS
from services.channel.entrypoints.servicer import ChannelServicer, InboxBell
from services.runtime.status import StoredFailureError, failure_status
from services.vocabulary.words import Category
from tests.fakes.call import Call
from tests.fakes.channel import make_action
from tests.integration.channel.conftest import Road, wired


def servicer_of(road: Road) -> ChannelServicer:
    return ChannelServicer(
        database=road.database,
        within=road.store.within,
        store=road.store,
        admission=road.admission,
        inbox=road.inbox,
        bell=InboxBell(),
        clock=road.clock,
    )


def reservation(
    request_id: str, *numbers: object, customer: int = 1, name: str = "hello"
) -> channel_pb2.ReserveRequest:
    """Sales for the app's screen; an empty name makes it wrong."""
    actions = [
        wired(make_action(f"{number}", customer, category=Category.SALES, channels=(), name=name))
        for number in numbers
    ]
    return channel_pb2.ReserveRequest(
        request_id=request_id, channel=vocabulary_pb2.CHANNEL_APP, actions=actions
    )


async def answer(
    road: Road, request: channel_pb2.ReserveRequest, servicer: ChannelServicer | None = None
) -> channel_pb2.ReserveResponse | str:
    """The answer, or what the caller is told went wrong."""
    try:
        return await (servicer or servicer_of(road)).Reserve(request, Call())  # type: ignore[arg-type]
    except Exception as error:  # noqa: BLE001 - whatever the caller is told
        stored = isinstance(error, StoredFailureError)
        status = error.status if stored else failure_status(error, CHANNEL_ERRORS)
        assert status is not None, error  # noqa: PT017 - what nobody knows is no answer
        return f"{status.code} {status.message}"
