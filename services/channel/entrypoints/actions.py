"""Takes actions from the ACTIONS stream."""

from collections.abc import Awaitable, Callable, Sequence

from google.protobuf.message import DecodeError
from rapport.types.v1 import stream_pb2

from services.channel.app.admit import Admission, Prepared
from services.channel.app.erasure import ErasePersons
from services.channel.app.reservations import end_answered, give_back
from services.channel.app.store import MessageTransaction
from services.channel.domain.errors import InvalidActionError, StaleWriteError
from services.channel.entrypoints import translate
from services.runtime.audit import Change, write_audit
from services.runtime.clock import Clock
from services.runtime.consumer import Delivery, take_messages
from services.runtime.database import Database, Transaction, is_transient
from services.runtime.dead_letters import DeadLetters
from services.runtime.outbox import Outbox
from services.runtime.streams import ACTIONS
from services.vocabulary.ids import message_id

ACTION_LETTER = "action"
_MESSAGE_LETTER = "action_batch"


def _passes(error: Exception) -> bool:
    """Whether a failure is not the action's, so that it is tried again later."""
    return is_transient(error) or isinstance(error, (StaleWriteError, OSError))


class ActionsHandler:
    """All that waits on ACTIONS in one transaction; an action that fails alone is set aside."""

    def __init__(
        self,
        database: Database,
        within: Callable[[Transaction], MessageTransaction],
        admission: Admission,
        erasures: ErasePersons,
        dead_letters: DeadLetters,
        clock: Clock,
    ) -> None:
        self._database = database
        self._within = within
        self._admission = admission
        self._erasures = erasures
        self._dead_letters = dead_letters
        self._clock = clock

    def count(self, payload: bytes) -> int:
        """How many actions a message holds."""
        try:
            batch = stream_pb2.ActionBatch.FromString(payload)
            return max(1, len(batch.actions) + len(batch.erasures) + len(batch.given_back))
        except DecodeError:
            return 1

    async def handle(self, deliveries: Sequence[Delivery]) -> None:
        """Takes all actions of all deliveries; raises when any of them cannot be taken."""
        batches = [
            (delivery.key, stream_pb2.ActionBatch.FromString(delivery.payload)) for delivery in deliveries
        ]
        read = [(key, translate.action_from_wire(wired)) for key, batch in batches for wired in batch.actions]
        erasures = [(key, erasure) for key, batch in batches for erasure in translate.erasures_of(key, batch)]
        await self._erasures.prepare([erasure for _, erasure in erasures])
        prepared = await self._admission.prepare([action for _, action in read])
        async with self._database.transaction() as raw:
            new = await take_messages(raw, [delivery.key for delivery in deliveries])
            wanted = [one for (key, _), one in zip(read, prepared, strict=True) if key in new]
            if wanted:
                await self._admission.take(self._within(raw), wanted)
            await self._give_back(
                raw, [one for key, batch in batches if key in new for one in batch.given_back]
            )
            for key, erasure in erasures:  # after all that came before them
                if key in new:
                    await self._erasures.erase(raw, erasure)

    async def handle_singly(self, delivery: Delivery) -> None:
        """Takes the actions of one delivery one by one; those that fail become dead letters."""
        try:
            batch = stream_pb2.ActionBatch.FromString(delivery.payload)
        except DecodeError:
            await self._set_aside_message(delivery)
            return
        tried = [(wired, await self._try_to_prepare(wired)) for wired in batch.actions]
        erasures = translate.erasures_of(delivery.key, batch)
        await self._erasures.prepare(erasures)
        async with self._database.transaction() as raw:
            if not await take_messages(raw, [delivery.key]):
                return
            for wired, prepared in tried:
                failure = (
                    prepared if isinstance(prepared, Exception) else await self._try_to_take(raw, prepared)
                )
                if failure is not None:
                    await self._set_aside(raw, wired, failure)
            await self._give_back(raw, batch.given_back)
            for erasure in erasures:  # one that fails is tried until it does not: nobody may set it aside
                await self._erasures.erase(raw, erasure)

    async def _give_back(self, raw: Transaction, wired: Sequence[stream_pb2.GivenBack]) -> None:
        """Ends what was answered while it waited; frees reservations, which the audit log has."""
        answered = [(one.customer, message_id(one.action_id)) for one in wired if one.answered]
        if answered:
            await end_answered(self._within(raw), self._clock, answered)
        keys = [(one.customer, message_id(one.action_id)) for one in wired if not one.answered]
        if keys:
            ended = await give_back(self._within(raw), self._clock, keys)
            await write_audit(
                raw,
                *(
                    Change(
                        "reservation.give_back",
                        f"customer/{message.customer}/message/{message.message_id}",
                        {"state": "sent"},
                        {"state": message.state.value},
                    )
                    for message in ended
                ),
            )

    async def _try_to_prepare(self, wired: stream_pb2.Action) -> Prepared | Exception:
        try:
            return (await self._admission.prepare([translate.action_from_wire(wired)]))[0]
        except Exception as error:
            if _passes(error):
                raise
            return error  # whatever it is, the others must not wait for it

    async def _try_to_take(self, raw: Transaction, prepared: Prepared) -> Exception | None:
        try:
            async with raw.savepoint():
                await self._admission.take(self._within(raw), [prepared])
        except Exception as error:
            if _passes(error) or raw.driver.closed:
                raise
            return error
        return None

    async def _set_aside(self, raw: Transaction, wired: stream_pb2.Action, error: Exception) -> None:
        reason = str(error) if isinstance(error, InvalidActionError) else type(error).__name__
        await self._dead_letters.add(
            raw,
            kind=ACTION_LETTER,
            item_id=wired.action_id,
            item_type=wired.name,
            customer=max(wired.customer, 0),
            payload=wired.SerializeToString(),
            reason=reason,
        )

    async def _set_aside_message(self, delivery: Delivery) -> None:
        async with self._database.transaction() as raw:
            if await take_messages(raw, [delivery.key]):
                await self._dead_letters.add(
                    raw,
                    kind=_MESSAGE_LETTER,
                    item_id=delivery.key,
                    item_type="",
                    customer=0,
                    payload=delivery.payload,
                    reason="the message is no readable batch of actions",
                )


def resend_action(outbox: Outbox, partitions: int) -> Callable[[Transaction, str, bytes], Awaitable[None]]:
    """What puts an action that was set aside on its way again."""

    async def resend(raw: Transaction, kind: str, payload: bytes) -> None:
        if kind == ACTION_LETTER:
            action = stream_pb2.Action.FromString(payload)
            batch = stream_pb2.ActionBatch(actions=[action])
            partition = max(action.customer, 0) % partitions
            await outbox.put(raw, ACTIONS, [(partition, batch.SerializeToString())])
        else:
            await outbox.put(raw, ACTIONS, [(0, payload)])

    return resend
