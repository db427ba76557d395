"""What changes rarely as packed bytes: consents, preferences, merges, and identities, which are sealed."""

from collections.abc import Iterable
from dataclasses import replace
from typing import Final

from rapport.profile.v1 import stored_pb2
from rapport.types.v1 import stream_pb2

from services.profile.adapters.line_packing import pack_lines
from services.profile.domain.consent import Consent, Consents
from services.profile.domain.customer import Record
from services.runtime.keys import Sealer
from services.vocabulary.identities import Identity
from services.vocabulary.wire import CHANNELS, CONSENT_BY, CONSENT_STATES, PURPOSES

RECORD: Final = "customer_record"
"""The table by which sealed identities are bound to their rows."""


def pack_record(record: Record, now_micros: int, customer: int, sealer: Sealer) -> bytes:
    """What changes rarely, packed, with the part of a snapshot that follows from it."""
    stored = stored_pb2.StoredRecord(
        shown=pack_shown(record, now_micros),
        next_expiry_micros=record.consents.next_expiry_micros(now_micros),
        preferences=record.preferences,
        preference_times=record.preference_times,
        merged_customers=record.merged_customers,
        lines=pack_lines(record.lines),
        household=record.said_household,
        household_micros=record.said_household_micros,
        kinds=[stored_pb2.StoredKinds(after=after, kinds=kinds) for after, kinds in record.kinds],
    )
    if record.identities:
        stored.sealed = seal_identities(record.identities, customer, sealer)
    for consent in (*record.consents.by_person.values(), *record.consents.by_others.values()):
        stored.words.append(consent_to_wire(consent))
    stored.waiting.extend(map(consent_to_wire, record.consents.all_waiting()))
    packed: bytes = stored.SerializeToString()
    return packed


def seal_identities(identities: Iterable[tuple[Identity, str]], customer: int, sealer: Sealer) -> bytes:
    """A customer's identities as its record keeps them."""
    stored = stored_pb2.StoredIdentities()
    for identity, line in identities:
        stored.identities.add(kind=identity.kind, value=identity.value, line=line)
    return sealer.seal(stored.SerializeToString(), f"{RECORD}/{customer}")


def pack_shown(record: Record, now_micros: int) -> bytes:
    """The part of a snapshot that follows from what changes rarely."""
    shown = stream_pb2.Snapshot(
        consents=[consent_to_wire(consent) for consent in record.consents.all_recorded()],
        merged_customers=record.merged_customers,
        withheld_purposes=[PURPOSES.to_wire(word) for word in record.consents.withheld_purposes(now_micros)],
        identity_kinds=sorted({identity.kind for identity, _ in record.identities}),
    )
    packed: bytes = shown.SerializeToString()
    return packed


def consents_in(stored: stored_pb2.StoredRecord) -> Consents:
    """The consents of a record, and nothing else of it."""
    consents = Consents()
    for entry in stored.words:
        consents.put(consent_from_wire(entry))
    for entry in stored.waiting:
        consents.put(replace(consent_from_wire(entry), held=True))
    return consents


def consent_to_wire(consent: Consent) -> stream_pb2.ConsentEntry:
    """A consent as protobuf."""
    return stream_pb2.ConsentEntry(
        purpose=PURPOSES.to_wire(consent.purpose),
        channel=CHANNELS.to_wire(consent.channel),
        state=CONSENT_STATES.to_wire(consent.state),
        time_micros=consent.time_micros,
        by=CONSENT_BY.to_wire(consent.by),
        expiry_micros=consent.expiry_micros,
    )


def consent_from_wire(entry: stream_pb2.ConsentEntry) -> Consent:
    """A consent from protobuf; raises ValueError for an entry that says nothing."""
    purpose = PURPOSES.from_wire(entry.purpose)
    state = CONSENT_STATES.from_wire(entry.state)
    by = CONSENT_BY.from_wire(entry.by)
    if purpose is None or state is None or by is None:
        raise ValueError("a consent entry lacks purpose, state or by")
    return Consent(
        purpose, CHANNELS.from_wire(entry.channel), state, entry.time_micros, by, entry.expiry_micros
    )
