"""May a customer be contacted for a category on a channel, and where."""

from dataclasses import dataclass

from services.profile.domain.consent import REFUSALS, Consents
from services.profile.domain.customer import Record
from services.vocabulary.words import (
    ADDRESS_KINDS,
    CATEGORY_FACTS,
    Category,
    Channel,
    ConsentState,
    Purpose,
    RefusalReason,
)


@dataclass(frozen=True, slots=True)
class Permission:
    """One channel: allowed, or why not. `address` empty: none."""

    channel: Channel
    allowed: bool
    reason: RefusalReason | None
    address: str = ""


def address_of(record: Record, channel: Channel, line: str) -> str:
    """Where to reach the customer: the number of the line, else the latest learned; empty: nowhere."""
    kind = ADDRESS_KINDS.get(channel, "")
    fitting = [(identity, its_line) for identity, its_line in record.identities if identity.kind == kind]
    if kind == "msisdn":
        fitting = [item for item in fitting if item[1] == line] or fitting[:1]
    return fitting[-1][0].value if fitting else ""


def refusal(
    consents: Consents, category: Category, channel: Channel, now_micros: int
) -> RefusalReason | None:
    """Why consent forbids it; None: it does not. Unknown means no unless the category says otherwise."""
    facts = CATEGORY_FACTS[category]
    if facts.purpose is None:
        return None
    state = consents.effective(facts.purpose, channel, now_micros)
    if state in REFUSALS:
        return RefusalReason.NO_CONSENT
    if state is ConsentState.GRANTED or facts.unknown_means_yes:
        return None
    return RefusalReason.CONSENT_UNKNOWN


def permissions(
    record: Record, category: Category, line: str, now_micros: int
) -> tuple[tuple[Permission, ...], bool]:
    """Every channel with its permission, and whether the person switched service messages off everywhere."""
    found: list[Permission] = []
    for channel in ADDRESS_KINDS:
        address = address_of(record, channel, line)
        reason = refusal(record.consents, category, channel, now_micros)
        if not address:
            reason = RefusalReason.NO_ADDRESS
        found.append(Permission(channel, reason is None, reason, address))
    found.append(Permission(Channel.TASK, allowed=True, reason=None))
    service = record.consents.effective(Purpose.SERVICE, None, now_micros)
    return tuple(found), service in REFUSALS
