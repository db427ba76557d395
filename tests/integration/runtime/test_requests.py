"""The same request id gives the first answer again, also an error, also at the same time."""

import asyncio
from collections.abc import Awaitable, Callable

import grpc
import pytest
from rapport.operations.v1 import operations_pb2 as pb

from services.runtime.database import Database, Transaction
from services.runtime.errors import (
    ErrorKind,
    ErrorTable,
    InvalidArgumentError,
    NotFoundError,
    OverloadedError,
    RequestReusedError,
    UnavailableError,
)
from services.runtime.requests import answer_once
from services.runtime.status import StoredFailureError, failure_status

Count = Callable[[str], Awaitable[int]]


class InTheWayError(Exception):
    """A service's own, which passes."""


ERRORS: ErrorTable = {InTheWayError: ErrorKind(grpc.StatusCode.UNAVAILABLE, "IN_THE_WAY")}


class Counting:
    """An act that writes a row and answers with how often it was done."""

    def __init__(self, database: Database, error: Exception | None = None) -> None:
        self.database = database
        self.error = error
        self.times = 0

    async def ask(self, request_id: str = "r-1", letter: str = "7") -> pb.ResendDeadLetterResponse:
        request = pb.ResendDeadLetterRequest(request_id=request_id, dead_letter_id=letter)
        return await answer_once(
            self.database, "test/Resend", request, pb.ResendDeadLetterResponse, self._act, ERRORS
        )

    async def _act(self, tx: Transaction) -> pb.ResendDeadLetterResponse:
        self.times += 1
        await tx.execute("INSERT INTO done (word) VALUES ('act')")
        if self.error is not None:
            raise self.error
        return pb.ResendDeadLetterResponse(dead_letter=pb.DeadLetter(customer=self.times))


async def test_the_same_id_and_body_give_the_first_answer_again(database: Database, count: Count):
    act = Counting(database)
    first, second = await act.ask(), await act.ask()
    assert first == second
    assert act.times == 1
    assert await count("done") == 1


async def test_the_same_id_with_another_body_is_refused(database: Database):
    act = Counting(database)
    await act.ask(letter="7")
    with pytest.raises(RequestReusedError) as refused:
        await act.ask(letter="8")
    assert refused.value.field == "request_id"
    assert act.times == 1


async def test_calls_at_the_same_time_are_done_once(database: Database, count: Count):
    act = Counting(database)
    answers = await asyncio.gather(*(act.ask() for _ in range(6)))
    assert {answer.dead_letter.customer for answer in answers} == {1}
    assert await count("done") == 1


async def test_an_error_is_given_again_and_its_work_is_undone(database: Database, count: Count):
    act = Counting(database, NotFoundError("there is no letter 7", field="dead_letter_id"))
    with pytest.raises(NotFoundError) as first:
        await act.ask()
    act.error = None
    with pytest.raises(StoredFailureError) as again:
        await act.ask()
    assert again.value.status == failure_status(first.value, {})
    assert act.times == 1
    assert await count("done") == 0


@pytest.mark.parametrize(
    "error",
    [
        UnavailableError("away"),
        OverloadedError("full", retry_seconds=1.0),
        InTheWayError(),
        RuntimeError("a defect"),
    ],
)
async def test_an_error_that_may_pass_is_not_kept(database: Database, error: Exception):
    act = Counting(database, error)
    with pytest.raises(type(error)):
        await act.ask()
    act.error = None
    assert (await act.ask()).dead_letter.customer == 2


@pytest.mark.parametrize("request_id", ["", "x" * 129])
async def test_an_id_that_is_missing_or_too_long_is_refused(database: Database, request_id: str):
    with pytest.raises(InvalidArgumentError) as refused:
        await Counting(database).ask(request_id)
    assert refused.value.field == "request_id"


async def test_ids_of_different_calls_do_not_meet(database: Database):
    act = Counting(database)
    assert (await act.ask("r-1")).dead_letter.customer == 1
    assert (await act.ask("r-2")).dead_letter.customer == 2
