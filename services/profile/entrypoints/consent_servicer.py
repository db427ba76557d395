"""The ConsentService over gRPC."""

from collections.abc import AsyncIterator, Awaitable, Callable
from typing import Any

import grpc
from rapport.profile.v1 import consent_pb2, consent_pb2_grpc

from services.profile.app.confirmations import Confirmations
from services.profile.app.consent_questions import ConsentAnswer, ConsentQuestion, ConsentQuestions
from services.profile.app.ports import ProfileStore
from services.profile.domain.errors import InvalidRequestError
from services.profile.domain.ledger import Line
from services.profile.entrypoints.translation import word_of, word_or_none
from services.runtime.access_log import reason_of
from services.runtime.clock import Clock
from services.runtime.database import Database, Transaction
from services.runtime.errors import ErrorTable
from services.runtime.requests import answer_once
from services.runtime.server import Served
from services.vocabulary.wire import CHANNELS, CONSENT_BY, CONSENT_STATES, PURPOSES, timestamp

MOST_QUESTIONS = 1_000
_NAME = "rapport.profile.v1.ConsentService"
_USUAL_PAGE, _LARGEST_PAGE = 100, 500
Context = grpc.aio.ServicerContext[Any, Any]


class ConsentServicer(consent_pb2_grpc.ConsentServiceServicer):
    """Translates, and calls one use case per method. `chaining`: whether old lines still wait."""

    def __init__(
        self,
        *,
        database: Database,
        store: ProfileStore,
        questions: ConsentQuestions,
        confirmations: Confirmations,
        clock: Clock,
        errors: ErrorTable,
        chaining: Callable[[], Awaitable[bool]],
    ) -> None:
        self._database = database
        self._store = store
        self._questions = questions
        self._confirmations = confirmations
        self._clock = clock
        self._errors = errors
        self._chaining = chaining

    def served(self) -> Served:
        """For build_server."""
        return Served(
            _NAME, lambda server: consent_pb2_grpc.add_ConsentServiceServicer_to_server(self, server)
        )

    async def CheckConsent(  # noqa: N802 - the proto's name
        self, request: consent_pb2.CheckConsentRequest, context: Context
    ) -> consent_pb2.CheckConsentResponse:
        """Many questions at once."""
        if not 1 <= len(request.questions) <= MOST_QUESTIONS:
            raise InvalidRequestError(
                f"{len(request.questions)} questions were asked",
                field="questions",
                suggestion=f"ask 1 to {MOST_QUESTIONS}",
            )
        asked = [
            ConsentQuestion(
                question.subject,
                word_of(PURPOSES, question.purpose, f"questions[{place}].purpose"),
                word_or_none(CHANNELS, question.channel, f"questions[{place}].channel"),
            )
            for place, question in enumerate(request.questions)
        ]
        now = self._clock.now_micros()
        async with self._store.work() as work:
            answers = await self._questions.check(work, asked, now)
            known = {answer.customer for answer in answers if answer.customer}
            await work.note_reads(known, f"/{_NAME}/CheckConsent", reason_of(context))
        return consent_pb2.CheckConsentResponse(answers=map(_answer, answers), business_time=timestamp(now))

    async def ListConsentLines(  # noqa: N802 - the proto's name
        self, request: consent_pb2.ListConsentLinesRequest, context: Context
    ) -> consent_pb2.ListConsentLinesResponse:
        """A page of one person's ledger."""
        if not 0 <= request.page_size <= _LARGEST_PAGE:
            raise InvalidRequestError(
                f"page_size is {request.page_size}",
                field="page_size",
                suggestion=f"0 to {_LARGEST_PAGE}; 0 means {_USUAL_PAGE}",
            )
        start, size = _place(request.page_token), request.page_size or _USUAL_PAGE
        async with self._store.work() as work:
            customer, lines = await self._questions.lines(work, request.subject)
            await work.note_reads([customer], f"/{_NAME}/ListConsentLines", reason_of(context))
        end = start + size
        return consent_pb2.ListConsentLinesResponse(
            customer=customer,
            lines=map(_line, lines[start:end]),
            next_page_token=str(end) if end < len(lines) else "",
        )

    async def VerifyConsents(  # noqa: N802 - the proto's name
        self, request: consent_pb2.VerifyConsentsRequest, context: Context
    ) -> AsyncIterator[consent_pb2.VerifyConsentsResponse]:
        """Progress, and what is broken."""
        del context
        chaining = await self._chaining()
        async for seen in self._questions.verify(self._store, request.subject, chaining=chaining):
            yield consent_pb2.VerifyConsentsResponse(
                customers=seen.customers,
                lines=seen.lines,
                erased=seen.erased,
                waiting=seen.waiting,
                broken=[
                    consent_pb2.BrokenChain(customer=one.customer, number=one.number, problem=one.why)
                    for one in seen.broken
                ],
                done=seen.done,
            )

    async def AskConfirmation(  # noqa: N802 - the proto's name
        self, request: consent_pb2.AskConfirmationRequest, context: Context
    ) -> consent_pb2.AskConfirmationResponse:
        """Tokens for what waits."""
        async with self._store.work() as work:
            customer, asked = await self._confirmations.ask(work, request.subject, self._clock.now_micros())
            await work.note_reads([customer], f"/{_NAME}/AskConfirmation", reason_of(context))
        return consent_pb2.AskConfirmationResponse(
            customer=customer,
            confirmations=[
                consent_pb2.Confirmation(
                    purpose=PURPOSES.to_wire(one.confirming.purpose),
                    channel=CHANNELS.to_wire(one.confirming.channel),
                    said_time=timestamp(one.confirming.said_micros),
                    token=one.token,
                    token_expiry_time=timestamp(one.confirming.until_micros),
                )
                for one in asked
            ],
        )

    async def ConfirmConsent(  # noqa: N802 - the proto's name
        self, request: consent_pb2.ConfirmConsentRequest, context: Context
    ) -> consent_pb2.ConfirmConsentResponse:
        """Put a grant into force, once."""
        del context
        if len(request.evidence) > _LARGEST_PAGE:
            raise InvalidRequestError(
                "the text is over 500 characters", field="evidence", suggestion="name the page instead"
            )

        async def act(transaction: Transaction) -> consent_pb2.ConfirmConsentResponse:
            status, confirming = await self._confirmations.confirm(
                self._store.join(transaction), request.token, request.evidence, self._clock.now_micros()
            )
            answer = consent_pb2.ConfirmConsentResponse(
                status=consent_pb2.ConfirmationStatus.Value(f"CONFIRMATION_STATUS_{status.value}")
            )
            if confirming is not None:
                answer.customer = confirming.customer
                answer.purpose = PURPOSES.to_wire(confirming.purpose)
                answer.channel = CHANNELS.to_wire(confirming.channel)
            return answer

        return await answer_once(
            self._database,
            f"{_NAME}/ConfirmConsent",
            request,
            consent_pb2.ConfirmConsentResponse,
            act,
            self._errors,
        )


def _answer(answer: ConsentAnswer) -> consent_pb2.ConsentAnswer:
    word = answer.word
    if word is None:
        return consent_pb2.ConsentAnswer(
            customer=answer.customer, allowed=answer.allowed, pending=answer.pending, error=answer.error
        )
    return consent_pb2.ConsentAnswer(
        customer=answer.customer,
        allowed=answer.allowed,
        state=CONSENT_STATES.to_wire(answer.state),
        since_time=timestamp(word.time_micros),
        by=CONSENT_BY.to_wire(word.by),
        expiry_time=timestamp(word.expiry_micros) if word.expiry_micros else None,
        pending=answer.pending,
    )


def _line(line: Line) -> consent_pb2.ConsentLine:
    entry, consent = line.entry, line.entry.consent
    return consent_pb2.ConsentLine(
        customer=entry.customer,
        number=line.number,
        purpose=PURPOSES.to_wire(consent.purpose),
        channel=CHANNELS.to_wire(consent.channel),
        state=CONSENT_STATES.to_wire(consent.state),
        pending=consent.held,
        by=CONSENT_BY.to_wire(consent.by),
        said_time=timestamp(consent.time_micros),
        expiry_time=timestamp(consent.expiry_micros) if consent.expiry_micros else None,
        recorded_time=timestamp(entry.recorded_micros),
        evidence=entry.evidence,
        wording=entry.wording,
        source=entry.source,
        erased=bool(line.number) and not line.salt,
        hash=line.hash,
    )


def _place(token: str) -> int:
    if not token:
        return 0
    if not token.isdecimal() or len(token) > 9:
        raise InvalidRequestError(
            "it is not one that was given out",
            field="page_token",
            suggestion="take it from the answer before",
        )
    return int(token)
