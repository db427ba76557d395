"""Between protobuf and the profile's own values."""

from collections.abc import Iterable, Sequence

from google.protobuf.message import DecodeError
from rapport.profile.v1 import profile_pb2
from rapport.types.v1 import event_pb2, stream_pb2

from services.profile.app.questions import ContactAnswer, ContactQuestion
from services.profile.app.take_events import ACCEPTED, DUPLICATE, Outcome
from services.profile.domain.consent import Consent
from services.profile.domain.errors import InvalidRequestError, RejectedError
from services.profile.domain.events import CheckedEvent, RawEvent
from services.profile.domain.traits import Trait
from services.vocabulary.values import ValueType
from services.vocabulary.wire import (
    CATEGORIES,
    CHANNELS,
    CONSENT_BY,
    CONSENT_STATES,
    PURPOSES,
    REFUSAL_REASONS,
    Number,
    Word,
    WordTable,
    micros,
    timestamp,
    value_to_wire,
)

_REASONS = dict(profile_pb2.RejectionReason.items())
_REASON_PREFIX = "REJECTION_REASON_"


def raw_event(event: event_pb2.Event) -> RawEvent:
    """An event as it came."""
    return RawEvent(
        event.id,
        event.source,
        event.type,
        micros(event.time) if event.HasField("time") else None,
        event.subject,
        event.data,
        event.spec_version,
        event.data_content_type,
    )


def raw_own_event(event: stream_pb2.OwnEvent) -> RawEvent:
    """An event of our own as it came."""
    return RawEvent(event.id, event.source, event.type, event.time_micros, "", event.data)


def wire_event(event: CheckedEvent) -> event_pb2.Event:
    """A checked event as a caller could have sent it."""
    subject = event.thing.text if event.thing else " ".join(identity.text for identity in event.identities)
    return event_pb2.Event(
        id=event.id,
        source=event.source,
        type=event.type.name,
        time=timestamp(event.time_micros),
        subject=subject,
        data=event.data,
    )


def event_result(index: int, outcome: Outcome) -> profile_pb2.EventResult:
    """What became of one event."""
    if outcome is ACCEPTED:
        return profile_pb2.EventResult(index=index, status=profile_pb2.INGEST_STATUS_ACCEPTED)
    if outcome is DUPLICATE:
        return profile_pb2.EventResult(index=index, status=profile_pb2.INGEST_STATUS_DUPLICATE)
    assert isinstance(outcome, RejectedError)
    return profile_pb2.EventResult(
        index=index,
        status=profile_pb2.INGEST_STATUS_REJECTED,
        reason=_REASONS[_REASON_PREFIX + outcome.reason.name],
        field=outcome.field,
        message=outcome.text,
    )


def consent_changes(
    changes: Sequence[profile_pb2.ConsentChange], now_micros: int
) -> list[tuple[Consent, str, str]]:
    """Consents with evidence and wording; raises InvalidRequestError naming the change at fault."""
    if not 1 <= len(changes) <= 100:
        raise InvalidRequestError(
            f"{len(changes)} changes were given", field="changes", suggestion="send 1 to 100"
        )
    return [_consent_change(change, f"changes[{place}]", now_micros) for place, change in enumerate(changes)]


def _consent_change(
    change: profile_pb2.ConsentChange, where: str, now_micros: int
) -> tuple[Consent, str, str]:
    time_micros = micros(change.time) if change.HasField("time") else now_micros
    expiry_micros = micros(change.expiry_time) if change.HasField("expiry_time") else 0
    if change.HasField("expiry_time") and expiry_micros <= time_micros:
        raise InvalidRequestError(
            "it ends before it begins", field=f"{where}.expiry_time", suggestion="name a time after `time`"
        )
    if len(change.evidence) > 1000 or len(change.wording) > 1000:
        raise InvalidRequestError(
            "the text is over 1000 characters",
            field=f"{where}.evidence",
            suggestion="name the document instead",
        )
    consent = Consent(
        purpose=word_of(PURPOSES, change.purpose, f"{where}.purpose"),
        channel=word_or_none(CHANNELS, change.channel, f"{where}.channel"),
        state=word_of(CONSENT_STATES, change.state, f"{where}.state"),
        time_micros=time_micros,
        by=word_of(CONSENT_BY, change.by, f"{where}.by"),
        expiry_micros=expiry_micros,
    )
    if expiry_micros and consent.refuses:
        raise InvalidRequestError(
            "a refusal does not end by itself", field=f"{where}.expiry_time", suggestion="leave it out"
        )
    return consent, change.evidence, change.wording


def contact_questions(questions: Sequence[profile_pb2.ContactQuestion]) -> list[ContactQuestion]:
    """Questions; raises InvalidRequestError."""
    if not 1 <= len(questions) <= 500:
        raise InvalidRequestError(
            f"{len(questions)} questions were asked", field="questions", suggestion="ask 1 to 500"
        )
    return [
        ContactQuestion(
            question.customer,
            word_of(CATEGORIES, question.category, f"questions[{place}].category"),
            question.line,
            question.to_payer,
        )
        for place, question in enumerate(questions)
    ]


def contact_answer(answer: ContactAnswer) -> profile_pb2.ContactAnswer:
    """An answer as it goes out."""
    return profile_pb2.ContactAnswer(
        customer=answer.customer,
        known=answer.known,
        channels=[
            profile_pb2.ChannelPermission(
                channel=CHANNELS.to_wire(permission.channel),
                allowed=permission.allowed,
                reason=REFUSAL_REASONS.to_wire(permission.reason),
                address=permission.address,
            )
            for permission in answer.permissions
        ],
        zone=answer.zone,
        language=answer.language,
        preferred_channel=CHANNELS.to_wire(answer.preferred_channel),
        service_blocked=answer.service_blocked,
        preferences=answer.preferences,
        shown_traits=answer.shown_traits,
        merged_customers=answer.merged_customers,
        recent_contacts=[
            profile_pb2.RecentContact(
                channel=CHANNELS.to_wire(contact.channel),
                category=CATEGORIES.to_wire(contact.category),
                contact_time=timestamp(contact.time_micros),
            )
            for contact in answer.recent_contacts
        ],
        recipient=answer.recipient,
        household=answer.household,
        paused_until=timestamp(answer.paused_until_micros) if answer.paused_until_micros else None,
        quiet_hours=[
            profile_pb2.QuietSpan(start_minute=start, end_minute=end) for start, end in answer.quiet_hours
        ],
    )


def other_word(word: Trait, value_type: ValueType | None, *, withheld: bool) -> stream_pb2.Trait:
    """What a further source says of a trait; without a value: it was withheld, or the source took it back."""
    return stream_pb2.Trait(
        name=word.name,
        value=None if withheld or word.value is None else value_to_wire(word.value, value_type),
        time_micros=word.time_micros,
        source=word.source,
        line=word.line,
        withheld=withheld,
    )


def own_batch(payload: bytes) -> stream_pb2.OwnEventBatch:
    """A message of OUTCOMES; raises InvalidRequestError when it is none."""
    try:
        return stream_pb2.OwnEventBatch.FromString(payload)
    except DecodeError:
        raise InvalidRequestError("the message is no batch of own events", field="payload") from None


def exceptions_of(outcomes: Iterable[Outcome]) -> list[profile_pb2.EventResult]:
    """The results of those that were not accepted."""
    return [event_result(place, outcome) for place, outcome in enumerate(outcomes) if outcome is not ACCEPTED]


def word_of(table: WordTable[Word, Number], number: int, field: str) -> Word:
    """The word of a number; raises InvalidRequestError also when none is given."""
    word = word_or_none(table, number, field)
    if word is None:
        raise InvalidRequestError("it is missing", field=field, suggestion="say which one")
    return word


def word_or_none(table: WordTable[Word, Number], number: int, field: str) -> Word | None:
    """The word of a number; None: none is given."""
    try:
        return table.from_wire(number)
    except ValueError as error:
        raise InvalidRequestError(str(error), field=field, suggestion="use a number of the list") from None
