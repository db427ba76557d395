"""The closed word lists that every service, proto and rule set shares, and what each category implies."""

from collections.abc import Mapping
from dataclasses import dataclass
from enum import StrEnum


class Stage(StrEnum):
    """The six stages of a customer's life with the operator; a rule set names one."""

    EXPLORE = "explore"
    BUY = "buy"
    BILL = "bill"
    ASSIST = "assist"
    COMPLAIN = "complain"
    LEAVE = "leave"


class EventStage(StrEnum):
    """Where in the catalogue an event type stands."""

    EXPLORE = "explore"
    BUY = "buy"
    USE = "use"
    BILL = "bill"
    NETWORK = "network"
    ASSIST = "assist"
    COMPLAIN = "complain"
    LEAVE = "leave"
    VOICE = "voice"
    PERSON = "person"
    OFFERS = "offers"
    OURS = "ours"


class Channel(StrEnum):
    """The way by which something reaches a person."""

    SMS = "sms"
    EMAIL = "email"
    PUSH = "push"
    APP = "app"
    WEB = "web"
    CALL = "call"
    WEBHOOK = "webhook"
    TASK = "task"


PREFERRED = "preferred"
"""In a rule's list of channels: the one that the customer prefers."""

DEFAULT_CHANNELS: tuple[str, ...] = (PREFERRED, Channel.SMS.value, Channel.EMAIL.value)
"""Where an action goes whose rule names no channel: the first that passes."""


ADDRESS_KINDS: Mapping[Channel, str] = {
    Channel.SMS: "msisdn",
    Channel.EMAIL: "email",
    Channel.PUSH: "device",
    Channel.APP: "device",
    Channel.WEB: "cookie",
    Channel.CALL: "msisdn",
}
"""The kind of identity that is an address of a channel."""


class Category(StrEnum):
    """What an action is for; it alone decides consent, caps, quiet hours and tier."""

    MANDATORY = "mandatory"
    SERVICE = "service"
    RETENTION = "retention"
    SALES = "sales"
    SURVEY = "survey"


class Purpose(StrEnum):
    """What a person can agree or object to (GDPR art. 6, 7, 21)."""

    SERVICE = "service"
    MARKETING = "marketing"
    RESEARCH = "research"
    PROFILING_USAGE = "profiling_usage"
    PROFILING_LOCATION = "profiling_location"
    PROFILING_WEB = "profiling_web"
    PROFILING_SOCIAL = "profiling_social"
    THIRD_PARTY = "third_party"


UNKNOWN_MEANS_YES: frozenset[Purpose] = frozenset({Purpose.SERVICE, Purpose.PROFILING_USAGE})
"""Purposes allowed until the person objects; every other one needs a recorded yes."""


class Households(StrEnum):
    """What makes a household."""

    ACCOUNT = "account"
    """An account whose lines have several users; and what is said of single persons."""
    EXPLICIT = "explicit"
    """Only what is said of single persons (`household.changed`)."""


class ConversationScope(StrEnum):
    """Who shares a conversation, in which at most one sales or retention action is said."""

    CUSTOMER = "customer"
    HOUSEHOLD = "household"
    """All members of a household; who is in none has one of their own."""


class Asked(StrEnum):
    """Whether the operator asks for a step."""

    REQUIRED = "required"
    OPTIONAL = "optional"


class ConsentState(StrEnum):
    """What was last said about a purpose on a channel."""

    GRANTED = "granted"
    DENIED = "denied"
    WITHDRAWN = "withdrawn"
    EXPIRED = "expired"
    OBJECTED = "objected"


CONSENT_STRICTNESS: dict[ConsentState, int] = {
    ConsentState.GRANTED: 0,
    ConsentState.EXPIRED: 1,
    ConsentState.DENIED: 2,
    ConsentState.WITHDRAWN: 3,
    ConsentState.OBJECTED: 4,
}
"""On equal times, and after a merge, the stricter state (higher number) wins."""


class ConsentBy(StrEnum):
    """Who recorded a consent; only the person lifts the person's own refusal."""

    PERSON = "person"
    STAFF = "staff"
    IMPORT = "import"


class ActionKind(StrEnum):
    """What kind of thing a rule does."""

    OFFER = "offer"
    MESSAGE = "message"
    SURVEY = "survey"
    TASK = "task"
    SAY = "say"
    AVOID = "avoid"
    SET = "set"
    EMIT = "emit"
    STEP = "step"
    """A journey moves on: the compiler's own, never written by an author."""


DISPATCHED_KINDS: frozenset[ActionKind] = frozenset(
    {ActionKind.OFFER, ActionKind.MESSAGE, ActionKind.SURVEY, ActionKind.TASK},
)
"""Kinds that go to the channel service; the others are done at once."""


class ActionOutcome(StrEnum):
    """What became of an action within its decision."""

    DISPATCHED = "dispatched"
    PLANNED = "planned"
    DONE = "done"
    REFUSED = "refused"


class MessageState(StrEnum):
    """Where a message stands."""

    ACCEPTED = "accepted"
    PLANNED = "planned"
    DEFERRED = "deferred"
    SENDING = "sending"
    SENT = "sent"
    DELIVERED = "delivered"
    FAILED = "failed"
    EXPIRED = "expired"
    REFUSED = "refused"
    QUARANTINED = "quarantined"


class RefusalReason(StrEnum):
    """Why something was not said. Stable: never renamed, never reused."""

    DUPLICATE = "DUPLICATE"
    NO_ADDRESS = "NO_ADDRESS"
    SUPPRESSED = "SUPPRESSED"
    NO_CONSENT = "NO_CONSENT"
    CONSENT_UNKNOWN = "CONSENT_UNKNOWN"
    DATA_WITHHELD = "DATA_WITHHELD"
    EXPIRED = "EXPIRED"
    TOO_LATE = "TOO_LATE"
    QUIET_HOURS = "QUIET_HOURS"
    CAPPED = "CAPPED"
    ONCE = "ONCE"
    RATE_LIMITED = "RATE_LIMITED"
    BUDGET = "BUDGET"
    KILLED = "KILLED"
    HOLDOUT = "HOLDOUT"
    SERVICE_FIRST = "SERVICE_FIRST"
    OUTRANKED = "OUTRANKED"
    NOT_ELIGIBLE = "NOT_ELIGIBLE"
    VULNERABLE = "VULNERABLE"
    NO_LONGER_TRUE = "NO_LONGER_TRUE"
    NO_TEMPLATE = "NO_TEMPLATE"
    PROVIDER_REJECTED = "PROVIDER_REJECTED"
    HANDOVER_UNKNOWN = "HANDOVER_UNKNOWN"
    QUARANTINED = "QUARANTINED"


class CapsClass(StrEnum):
    """Which frequency caps an action counts against; retention and sales share one class."""

    MANDATORY = "mandatory"
    SERVICE = "service"
    COMMERCIAL = "commercial"
    SURVEY = "survey"


class OverCap(StrEnum):
    """What happens to an action that finds a cap used up."""

    DROP = "drop"
    DEFER = "defer"


class InQuietHours(StrEnum):
    """What happens to an action that falls into quiet hours."""

    DEFER = "defer"
    DECIDE_AGAIN = "decide_again"
    GROUND_DECIDES = "ground_decides"


class OnStop(StrEnum):
    """What a person's STOP does to a category."""

    PASSES = "passes"
    OWN_SWITCH = "own_switch"
    STOPS = "stops"


@dataclass(frozen=True, slots=True)
class CategoryFacts:
    """What a category implies; no rule can exempt itself.

    ``purpose`` None: no consent, but a ground named in the template. ``tier``: 0 goes first.
    ``resend_when_unknown``: handed over again after a crash or an answer that never came.
    ``commercial``: at most one of these wins a conversation, and service goes before it.
    """

    purpose: Purpose | None
    unknown_means_yes: bool
    caps: CapsClass
    over_cap: OverCap
    in_quiet_hours: InQuietHours
    on_stop: OnStop
    tier: int
    resend_when_unknown: bool
    commercial: bool
    needs_ground: bool = False


def _commercial(tier: int) -> CategoryFacts:
    return CategoryFacts(
        purpose=Purpose.MARKETING,
        unknown_means_yes=False,
        caps=CapsClass.COMMERCIAL,
        over_cap=OverCap.DROP,
        in_quiet_hours=InQuietHours.DECIDE_AGAIN,
        on_stop=OnStop.STOPS,
        tier=tier,
        resend_when_unknown=False,
        commercial=True,
    )


CATEGORY_FACTS: dict[Category, CategoryFacts] = {
    Category.MANDATORY: CategoryFacts(
        purpose=None,
        unknown_means_yes=True,
        caps=CapsClass.MANDATORY,
        over_cap=OverCap.DROP,  # only its repeat limit can be used up
        in_quiet_hours=InQuietHours.GROUND_DECIDES,
        on_stop=OnStop.PASSES,
        tier=0,
        resend_when_unknown=True,
        commercial=False,
        needs_ground=True,
    ),
    Category.SERVICE: CategoryFacts(
        purpose=Purpose.SERVICE,
        unknown_means_yes=True,
        caps=CapsClass.SERVICE,
        over_cap=OverCap.DEFER,
        in_quiet_hours=InQuietHours.DEFER,
        on_stop=OnStop.OWN_SWITCH,
        tier=1,
        resend_when_unknown=True,
        commercial=False,
    ),
    Category.RETENTION: _commercial(tier=2),
    Category.SALES: _commercial(tier=3),
    Category.SURVEY: CategoryFacts(
        purpose=Purpose.RESEARCH,
        unknown_means_yes=False,
        caps=CapsClass.SURVEY,
        over_cap=OverCap.DROP,
        in_quiet_hours=InQuietHours.DECIDE_AGAIN,
        on_stop=OnStop.STOPS,
        tier=4,
        resend_when_unknown=False,
        commercial=False,
    ),
}
"""The table of the catalogue, one row per category."""
