"""An event as it enters: checked against the catalogue, typed, with its subject read."""

from collections.abc import Callable, Mapping
from dataclasses import dataclass, field
from datetime import date
from hashlib import blake2b
from typing import Any, Final

from services.profile.domain.accounts import account_of, persons_of
from services.profile.domain.activity import MICROS_PER_DAY, ColumnValue
from services.profile.domain.consent import Consent
from services.profile.domain.errors import RejectedError, RejectionReason
from services.profile.domain.preferences import check_preference
from services.profile.domain.traits import Trait
from services.vocabulary.catalogue import Catalogue, EventType
from services.vocabulary.identities import Identity, Thing, parse_subject
from services.vocabulary.values import HOUR, MINUTE, FieldError, FieldValue, Money, ValueType

MAX_EVENT_BYTES: Final = 64_000
"""The largest data of one event."""

MAX_NAME: Final = 200
"""The longest id and source."""

MAX_HOPS: Final = 5
CONSENT_CHANGED: Final = "consent.changed"
PREFERENCE_CHANGED: Final = "preference.changed"
FUTURE_MICROS: Final = 5 * MINUTE
FED_FUTURE_MICROS: Final = 6 * HOUR + FUTURE_MICROS
"""A fed clock stands still while its feeder sends the next six hours."""
OLDEST_MICROS: Final = 25 * 30 * MICROS_PER_DAY + 13 * MICROS_PER_DAY
"""25 months (763 days): so long are event keys kept, and no older event is taken."""

EARLIEST_MICROS: Final = 0
LATEST_MICROS: Final = 253_402_300_799_000_000
"""The year 9999 ends."""


@dataclass(frozen=True, slots=True)
class RawEvent:
    """An event as a caller sent it (CloudEvents); `subject` is not read yet."""

    id: str
    source: str
    type: str
    time_micros: int | None
    subject: str
    data: bytes
    spec_version: str = "1.0"
    content_type: str = ""


@dataclass(slots=True)
class CheckedEvent:
    """An event that fits the catalogue.

    `data` is its JSON object, `fields` the typed values of it. Exactly one of `customer` (own events),
    `identities` and `thing` says whom it concerns. `told_by` is the caller who sent it, `trace` (W3C
    traceparent) the trace that it belongs to. `persons`: others that its fields name, by what they are to its
    subscription. `words`: what it says of traits, and the line for which that was found out. `via`: the
    id under which it came, of those merged into its customer; 0: the customer's own.

    A change of consent may carry `consent` with more than its fields say, and `confirmed`: the person
    confirmed it. It learns in `entries` what was entered in the ledger, and in `without_effect` why that
    changed nothing.
    """

    id: str
    source: str
    type: EventType
    time_micros: int
    data: bytes
    fields: Mapping[str, FieldValue]
    identities: tuple[Identity, ...] = ()
    thing: Thing | None = None
    customer: int = 0
    line: str = ""
    hops: int = 0
    history: bool = False
    consent: Consent | None = None
    confirmed: bool = False
    entries: tuple[Consent, ...] = ()
    without_effect: str = ""
    told_by: str = ""
    trace: str = ""
    persons: Mapping[str, tuple[Identity, ...]] = field(default_factory=dict)
    words: tuple[str, list[Trait]] | None = None
    via: int = 0

    @property
    def key(self) -> bytes:
        """16 bytes that stand for (source, id), by which a repeat is known."""
        return event_key(self.source, self.id)

    def kept_fields(self) -> dict[str, ColumnValue]:
        """What activity keeps of it."""
        names = self.type.keep.fields
        if not names:
            return {}
        fields = self.fields
        return {
            name: column_value(fields[name], self.type.fields[name].type) for name in names if name in fields
        }


def is_future(said_micros: int, now_micros: int, *, wall: bool) -> bool:
    """Whether a consent said then is dated in the future; `now_micros` 0: a fed clock that knows no time."""
    ahead = FUTURE_MICROS if wall else FED_FUTURE_MICROS
    return now_micros > 0 and said_micros > now_micros + ahead


def event_key(source: str, event_id: str) -> bytes:
    """16 bytes that stand for (source, id)."""
    return blake2b(f"{source}\x00{event_id}".encode(), digest_size=16).digest()


def column_value(value: FieldValue, value_type: ValueType) -> ColumnValue:
    """A field as a column keeps it: a number (money: the amount; times, durations: seconds) or a text."""
    kind = type(value)
    if kind is str or kind is float:
        return value  # type: ignore[return-value]
    if value_type in {ValueType.TIME, ValueType.DURATION}:
        return value / 1e6  # type: ignore[operator]
    if kind is int or kind is bool:
        return float(value)  # type: ignore[arg-type]
    if isinstance(value, Money):
        return float(value.amount)
    if isinstance(value, date):
        return value.isoformat()
    return None


@dataclass(frozen=True, slots=True)
class EventChecker:
    """Checks events against one catalogue. `loads` reads JSON and raises ValueError, `dumps` writes it.

    `wall`: business time is the wall's, so that an event far ahead of it cannot be right.
    """

    catalogue: Catalogue
    loads: Callable[[bytes], Any]
    dumps: Callable[[object], bytes]
    wall: bool

    def check(self, raw: RawEvent, now_micros: int, *, history: bool = False) -> CheckedEvent:
        """The event, typed; raises RejectedError with the first thing that is wrong."""
        event_type = self._envelope(raw, now_micros)
        if event_type.own:
            raise RejectedError(
                RejectionReason.UNKNOWN_TYPE,
                "type",
                f"{event_type.name} is said by Rapport itself only",
                "send a type of the catalogue that is not its own",
            )
        try:
            subject = parse_subject(raw.subject, self.catalogue.things, self.catalogue.identities)
        except FieldError as error:
            raise RejectedError(
                RejectionReason.INVALID_SUBJECT, "subject", error.message, error.suggestion
            ) from None
        fields, data = self._data(event_type, raw.data)
        self._check_preference(event_type, fields)
        event = CheckedEvent(
            raw.id, raw.source, event_type, raw.time_micros or 0, data, fields, history=history
        )
        if isinstance(subject, Thing):
            event.thing = subject
        else:
            event.identities = subject
            account = account_of(event_type, fields)
            if account is not None and account not in subject:
                event.identities = (*subject, account)
        event.persons = persons_of(event_type, fields)
        _check_subject(event)
        return event

    def check_own(
        self, raw: RawEvent, customer: int, now_micros: int, *, hops: int, line: str, taken: bool = False
    ) -> CheckedEvent:
        """An event of our own, about a customer by id, or one `taken` before; raises RejectedError."""
        event_type = self._envelope(raw, now_micros)
        if hops > MAX_HOPS:
            raise RejectedError(
                RejectionReason.TOO_MANY_HOPS,
                "hops",
                f"{hops} of our own decisions led here, over the limit of {MAX_HOPS}",
                "look for rule sets that answer each other",
            )
        fields, data = self._data(event_type, raw.data)
        if not taken:
            self._check_preference(event_type, fields)
        return CheckedEvent(
            raw.id,
            raw.source,
            event_type,
            raw.time_micros or 0,
            data,
            fields,
            customer=customer,
            line=line,
            hops=hops,
            persons=persons_of(event_type, fields),
        )

    def _envelope(self, raw: RawEvent, now_micros: int) -> EventType:
        _check_name("id", raw.id)
        _check_name("source", raw.source)
        if raw.spec_version not in {"", "1.0"}:
            raise RejectedError(
                RejectionReason.INVALID_FIELD, "spec_version", "is not 1.0", "send CloudEvents 1.0"
            )
        if not raw.type:
            raise RejectedError(
                RejectionReason.MISSING_FIELD, "type", "is missing", "name an event type of the catalogue"
            )
        event_type = self.catalogue.events.get(raw.type)
        if event_type is None:
            try:
                self.catalogue.event_type(raw.type)
            except FieldError as error:
                raise RejectedError(
                    RejectionReason.UNKNOWN_TYPE, "type", error.message, error.suggestion
                ) from None
        assert event_type is not None
        self._check_time(raw.time_micros, now_micros)
        assert raw.time_micros is not None
        if event_type.name == CONSENT_CHANGED and is_future(raw.time_micros, now_micros, wall=self.wall):
            raise RejectedError(
                RejectionReason.FUTURE,
                "time",
                "of a consent is in the future",
                "record it once it was said, and check the sender's clock and zone",
            )
        return event_type

    def _check_preference(self, event_type: EventType, fields: Mapping[str, FieldValue]) -> None:
        if event_type.name != PREFERENCE_CHANGED:
            return
        try:
            check_preference(str(fields["key"]), str(fields["value"]), self.catalogue.topics)
        except FieldError as error:
            raise RejectedError(
                RejectionReason.INVALID_FIELD, error.field, error.message, error.suggestion
            ) from None

    def _check_time(self, time_micros: int | None, now_micros: int) -> None:
        if time_micros is None:
            raise RejectedError(
                RejectionReason.MISSING_FIELD,
                "time",
                "is missing",
                "say when it happened: 2026-11-02T08:15:00Z",
            )
        if not EARLIEST_MICROS <= time_micros <= LATEST_MICROS:
            raise RejectedError(
                RejectionReason.INVALID_FIELD, "time", "is before 1970 or after 9999", "say when it happened"
            )
        if self.wall and time_micros > now_micros + FUTURE_MICROS:
            raise RejectedError(
                RejectionReason.FUTURE,
                "time",
                "is more than 5 minutes in the future",
                "send an event once it has happened, and check the sender's clock and zone",
            )
        if time_micros < now_micros - OLDEST_MICROS:
            raise RejectedError(
                RejectionReason.TOO_OLD,
                "time",
                "is older than 25 months before business time",
                "events are known that long; leave older ones out",
            )

    def _data(self, event_type: EventType, data: bytes) -> tuple[Mapping[str, FieldValue], bytes]:
        if len(data) > MAX_EVENT_BYTES:
            raise RejectedError(
                RejectionReason.TOO_LARGE,
                "data",
                f"has {len(data)} bytes, over the limit of {MAX_EVENT_BYTES}",
                "send only the fields of the event type",
            )
        try:
            raw = self.loads(data) if data else {}
        except ValueError:
            raise RejectedError(
                RejectionReason.MALFORMED, "data", "is not JSON in UTF-8", "send a JSON object"
            ) from None
        if not isinstance(raw, dict):
            raise RejectedError(
                RejectionReason.MALFORMED, "data", "is not a JSON object", "send a JSON object"
            )
        try:
            fields = event_type.coerce(raw)
        except FieldError as error:
            raise _rejected(event_type, raw, error) from None
        if len(fields) != len(raw):
            # defaults were added, or nulls left out: what goes on says what was understood
            raw = {name: value for name, value in raw.items() if value is not None}
            raw |= {name: value for name, value in fields.items() if name not in raw}
            data = self.dumps(raw)
        return fields, data or b"{}"


def _check_name(field: str, text: str) -> None:
    if not text:
        raise RejectedError(
            RejectionReason.MISSING_FIELD,
            field,
            "is missing",
            "each event has an id, unique within its source",
        )
    if len(text) > MAX_NAME or not text.isprintable():
        raise RejectedError(
            RejectionReason.INVALID_FIELD,
            field,
            f"is longer than {MAX_NAME} characters or not printable",
            "send a short printable text",
        )


def _check_subject(event: CheckedEvent) -> None:
    kind = event.type.thing
    if event.thing is None:
        if kind:
            raise RejectedError(
                RejectionReason.INVALID_SUBJECT,
                "subject",
                f"names a customer, but {event.type.name} is about a {kind}",
                f"write {kind}:key",
            )
    elif event.thing.kind != kind:
        right = f"write {kind}:key" if kind else "name an identity such as msisdn:+33612345678"
        raise RejectedError(
            RejectionReason.INVALID_SUBJECT,
            "subject",
            f"names a {event.thing.kind}, but {event.type.name} is about a {kind or 'customer'}",
            right,
        )


def _rejected(event_type: EventType, raw: Mapping[str, object], error: FieldError) -> RejectedError:
    field = error.field.replace("data.traits.traits.", "data.traits.")
    name = field.removeprefix("data.").split(".")[0]
    if name not in event_type.fields:
        reason = RejectionReason.UNKNOWN_FIELD
    elif raw.get(name) is None:
        reason = RejectionReason.MISSING_FIELD
    elif name == "traits" and "no trait" in error.message:
        reason = RejectionReason.UNKNOWN_FIELD
    else:
        reason = RejectionReason.INVALID_FIELD
    return RejectedError(reason, field, error.message, error.suggestion)
