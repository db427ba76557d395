"""A person's consents in the manner of TM Forum's Privacy Management API (TMF644)."""

from collections.abc import Mapping, Sequence
from typing import Any, Final

from google.protobuf.timestamp_pb2 import Timestamp
from rapport.profile.v1 import consent_pb2

from services.vocabulary import wire
from services.vocabulary.catalogue import Catalogue
from services.vocabulary.purposes import text_for
from services.vocabulary.values import DAY, format_time
from services.vocabulary.words import Channel, Purpose

BASE: Final = "/tmf-api/privacyManagement/v4"
Asked = tuple[Purpose, Channel | None]


def questions_of(lines: Sequence[consent_pb2.ConsentLine]) -> list[Asked]:
    """What is to be asked: every purpose for all channels, and for each channel that a line names."""
    named = {
        (purpose, wire.CHANNELS.from_wire(line.channel))
        for line in lines
        if (purpose := wire.PURPOSES.from_wire(line.purpose)) is not None
    }
    everything = {*named, *((purpose, None) for purpose in Purpose)}
    return sorted(everything, key=lambda asked: (asked[0].value, asked[1] or ""))


def profile_of(
    customer: int,
    lines: Sequence[consent_pb2.ConsentLine],
    answers: Mapping[Asked, consent_pb2.ConsentAnswer],
    catalogue: Catalogue,
    locale: str,
) -> dict[str, Any]:
    """A PartyPrivacyProfile: what holds now, and the agreements that it follows from, line by line."""
    href = f"{BASE}/partyPrivacyProfile/{customer}"
    return {
        "@type": "PartyPrivacyProfile",
        "@baseType": "PrivacyProfile",
        "id": str(customer),
        "href": href,
        "status": "active",
        "catalogueVersion": catalogue.version,
        "relatedParty": [{"@referredType": "Individual", "id": str(customer), "role": "customer"}],
        "partyPrivacyProfileCharacteristic": [
            _characteristic(asked, answer, catalogue, locale) for asked, answer in answers.items()
        ],
        "partyPrivacyAgreement": [_agreement(line) for line in lines],
    }


def _characteristic(
    asked: Asked, answer: consent_pb2.ConsentAnswer, catalogue: Catalogue, locale: str
) -> dict[str, Any]:
    purpose, channel = asked
    terms = catalogue.purposes.get(purpose)
    state = wire.CONSENT_STATES.from_wire(answer.state)
    told: dict[str, Any] = {
        "@type": "PartyPrivacyProfileCharacteristic",
        "id": f"{purpose.value}/{channel or 'all'}",
        "privacyUsagePurpose": purpose.value,
        "channel": channel,
        "value": state or "unknown",
        "allowed": answer.allowed,
        "pendingConfirmation": answer.pending,
        "validFor": {
            "startDateTime": _time(answer.since_time) if answer.HasField("since_time") else None,
            "endDateTime": _time(answer.expiry_time) if answer.HasField("expiry_time") else None,
        },
    }
    if terms is not None:
        told |= {
            "name": text_for(terms.titles, locale, catalogue.default_locale),
            "description": text_for(terms.descriptions, locale, catalogue.default_locale),
            "lawfulBasis": terms.basis.value,
            "retentionPeriod": f"P{terms.kept_micros // DAY}D",
        }
    return told


def _agreement(line: consent_pb2.ConsentLine) -> dict[str, Any]:
    state = wire.CONSENT_STATES.from_wire(line.state)
    return {
        "@type": "PartyPrivacyAgreement",
        "id": f"{line.customer}/{line.number}",
        "agreementPeriod": {
            "startDateTime": _time(line.said_time),
            "endDateTime": _time(line.expiry_time) if line.HasField("expiry_time") else None,
        },
        "privacyUsagePurpose": wire.PURPOSES.from_wire(line.purpose),
        "channel": wire.CHANNELS.from_wire(line.channel),
        "status": "pending" if line.pending else state,
        "saidBy": wire.CONSENT_BY.from_wire(line.by),
        "recordedDateTime": _time(line.recorded_time),
        "source": line.source,
        "evidence": line.evidence,
        "wordingVersion": line.wording,
        "erased": line.erased,
        "hash": line.hash.hex(),
    }


def _time(moment: Timestamp) -> str:
    return format_time(wire.micros(moment))
