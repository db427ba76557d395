"""The same request id gives the first answer again, also when it was an error (AIP-155)."""

import hashlib
from collections.abc import Awaitable, Callable
from typing import TypeVar

from google.protobuf.message import Message
from google.rpc import code_pb2, status_pb2

from services.runtime.database import Database, Transaction
from services.runtime.errors import ErrorTable, InvalidArgumentError, RequestReusedError
from services.runtime.status import StoredFailureError, failure_status

Answer = TypeVar("Answer", bound=Message)
_MOST_ID = 128
_PASSES = {code_pb2.UNAVAILABLE, code_pb2.RESOURCE_EXHAUSTED}


async def stored_answer(transaction: Transaction, rpc: str, request_id: str, body: bytes) -> bytes | None:
    """The answer first given to this id; None: it is new, and ours until the transaction ends.

    RequestReusedError when the id came with another body before; InvalidArgumentError for an id that is empty
    or over 128 characters; StoredFailureError when the first answer was an error.
    """
    if not request_id or len(request_id) > _MOST_ID:
        raise InvalidArgumentError(
            f"the request id has {len(request_id)} characters",
            field="request_id",
            suggestion=f"1 to {_MOST_ID} characters, for example a UUID",
        )
    # a second call with the same id waits here until the first is done
    await transaction.execute(
        "SELECT pg_advisory_xact_lock(%s)",
        (int.from_bytes(_digest(f"{rpc}\0{request_id}".encode())[:8], signed=True),),
    )
    row = await transaction.row(
        "SELECT digest, failed, response FROM request_key WHERE rpc = %s AND request_id = %s",
        (rpc, request_id),
    )
    if row is None:
        return None
    digest, failed, response = row
    if bytes(digest) != _digest(body):
        raise RequestReusedError(
            "this request id came with another body before",
            field="request_id",
            suggestion="use a new id for a new request",
        )
    if failed:
        raise StoredFailureError(status_pb2.Status.FromString(bytes(response)))
    return bytes(response)


async def store_answer(
    transaction: Transaction, rpc: str, request_id: str, body: bytes, answer: bytes, *, failed: bool = False
) -> None:
    """Keep the first answer to an id, in the transaction that did the work."""
    await transaction.execute(
        "INSERT INTO request_key (rpc, request_id, digest, failed, response) VALUES (%s, %s, %s, %s, %s)",
        (rpc, request_id, _digest(body), failed, answer),
    )


async def answer_once(
    database: Database,
    rpc: str,
    request: Message,
    answer_type: type[Answer],
    act: Callable[[Transaction], Awaitable[Answer]],
    errors: ErrorTable,
) -> Answer:
    """Do a mutation once per `request.request_id`; a known error is kept as the answer and given again too.

    An error that passes (UNAVAILABLE, RESOURCE_EXHAUSTED), or that nobody knows, is not kept: the caller may
    try again.
    """
    request_id: str = request.request_id  # type: ignore[attr-defined]
    body = request.SerializeToString(deterministic=True)
    failure: Exception | None = None
    async with database.transaction() as transaction:
        kept = await stored_answer(transaction, rpc, request_id, body)
        if kept is not None:
            return answer_type.FromString(kept)
        transaction.request_id = request_id
        try:
            async with transaction.savepoint():
                answer = await act(transaction)
        except Exception as error:
            status = failure_status(error, errors)
            if status is None or status.code in _PASSES:
                raise
            failure = error
            await store_answer(transaction, rpc, request_id, body, status.SerializeToString(), failed=True)
        else:
            await store_answer(
                transaction, rpc, request_id, body, answer.SerializeToString(deterministic=True)
            )
            return answer
    raise failure


def _digest(body: bytes) -> bytes:
    return hashlib.blake2b(body, digest_size=16).digest()
