"""Every key and every closed list of words of the rule language, in one place.

The readers take what they allow from here, and so do the published JSON Schema and the reference
(`make language`): what one knows, all know.
"""

from collections.abc import Mapping

from services.decision.domain.language.forms import (
    Anything,
    BlockOf,
    Choice,
    Conditions,
    Either,
    Flag,
    Form,
    Formula,
    Key,
    Known,
    ListOf,
    Named,
    Number,
    OneOrList,
    Refer,
    Words,
)
from services.vocabulary.words import (
    DISPATCHED_KINDS,
    PREFERRED,
    ActionKind,
    Category,
    Channel,
    ConsentState,
    Purpose,
    RefusalReason,
    Stage,
)

NAME = r"[a-z0-9]([a-z0-9_-]{0,62}[a-z0-9])?"
FACT = r"[a-z_][a-z0-9_]{0,62}"
WINDOW = r"[A-Za-z_][A-Za-z0-9_]*"
LENGTH = r"[0-9]{1,9}\s?[smhdw]"
SPAN = r"[1-9][0-9]{0,3} (day|days|cycle|cycles)"
SHARE = r"[0-9]{1,3}(\.[0-9]{1,2})?%"
HAPPENED = r"[a-z_.]+ happened"
DAY = r"[0-9]{4}-[0-9]{2}-[0-9]{2}"

GROUPS = {
    "any": "At least one of these holds",
    "all": "All of these hold",
    "none": "None of these holds",
}
STAGES = tuple(stage.value for stage in Stage)
CATEGORIES = tuple(category.value for category in Category)
CHOOSE = ("first", "all")
RECEIVERS = ("payer", "user")
ONCE_SCOPES = ("customer", "household")
THIS = ("excluded", "included")
WINDOW_FUNCTIONS = ("count", "distinct", "sum", "avg", "min", "max", "latest", "earliest", "since")
ACTION_KINDS = tuple(kind for kind in ActionKind if kind is not ActionKind.STEP)
CHANNELS = (PREFERRED, *(channel.value for channel in Channel))
CONSENT_STATES = tuple(state.value for state in ConsentState)
REASONS = tuple(reason.value for reason in RefusalReason)
PURPOSES = tuple(purpose.value for purpose in Purpose)
WITHHELD = tuple(dict.fromkeys((*(name.removeprefix("profiling_") for name in PURPOSES), *PURPOSES)))

_TEXT = Words(numbers=True)
_PLACES = Words(numbers=True)
_LENGTH = Words(LENGTH)
_DAY = Words(DAY)
_RULE_NAME = Words(NAME, numbers=True)
_FACTS = OneOrList(Words(FACT))
_TRIGGER = Either((Known("event"), Refer("trigger")))

_AUDIENCE = Key(
    "audience", "Conditions on traits and consents: whom it concerns", Conditions(), required=True
)
TRIGGERS: Mapping[str, BlockOf] = {
    "nothing": BlockOf(
        "a trigger with `nothing`",
        "Something did not happen",
        (
            Key("nothing", "The event type that did not come", Known("event"), required=True),
            Key("for", "How long it did not come", _LENGTH, required=True),
            Key("after", "The event type that opens the pair", Known("event")),
            Key("by", "The field that both events of the pair share", Words(WINDOW)),
        ),
        with_key=(("after", "by"), ("by", "after")),
    ),
    "every": BlockOf(
        "a trigger with `every`",
        "A time has come",
        (
            Key(
                "every",
                "Days and a time of day: day at 09:00, first tue of month at 09:00",
                Words(),
                required=True,
            ),
            Key(
                "zone", "Whose clock: customer (each customer's own), or a zone such as Europe/Paris", Words()
            ),
            _AUDIENCE,
        ),
    ),
    "thing": BlockOf(
        "a trigger with `thing`",
        "Something happened to a thing",
        (Key("thing", "The event type of a thing", Known("thing-event"), required=True), _AUDIENCE),
    ),
    "ask": BlockOf(
        "a trigger with `ask`",
        "A question was asked",
        (Key("ask", "A question that is answered at once", Known("question"), required=True),),
    ),
}
TRIGGER = BlockOf(
    "a trigger",
    "Something that the system notices, or a question",
    tuple(dict.fromkeys(key for block in TRIGGERS.values() for key in block.keys)),
)

LIMITS = BlockOf(
    "`limits`",
    "How much the rule set may do",
    (
        Key("pace", "The most actions in a time: 50/s", Words(numbers=True)),
        Key("per day", "The most actions on one day", Number(0, 1e9, whole=True)),
        Key("budget", "The most that all actions together may cost: 15000 EUR", Words(numbers=True)),
    ),
)

ACTIVE = BlockOf(
    "`active`",
    "The days on which the rule set runs, both included",
    (
        Key("from", "The first day", _DAY),
        Key("to", "The last day", _DAY),
        Key("tz", "The zone of these days; the operator's when left out", Words()),
    ),
)

WINDOW_KEYS = BlockOf(
    "a window",
    "A figure drawn from what the customer did",
    (
        Key("count", "How many events of this type", Known("event")),
        Key("distinct", "How many different values of this field", Known("field")),
        Key("sum", "The sum of this field", Known("field")),
        Key("avg", "The average of this field", Known("field")),
        Key("min", "The smallest value of this field", Known("field")),
        Key("max", "The largest value of this field", Known("field")),
        Key("latest", "The last value of this field", Known("field")),
        Key("earliest", "The first value of this field", Known("field")),
        Key("since", "How long ago the last event of this type was", Known("event")),
        Key("last", "How far back: 24h, 7d, 7 days, 6 cycles", Words(f"{LENGTH}|{SPAN}")),
        Key("where", "Conditions on the fields of each event that counts", Conditions()),
        Key("before", "The window ends that long ago", _LENGTH),
        Key("this", "excluded: the event being decided does not count", Choice(THIS)),
    ),
    among=WINDOW_FUNCTIONS,
)

FACT_KEYS = BlockOf(
    "a fact",
    "Something that holds when its conditions hold, for rules to ask by name",
    (
        Key("fact", "Its name", Words(FACT), required=True),
        Key("when", "The conditions, all of which must hold", Conditions(), required=True),
        Key("because", "A sentence for explanations; {paths} are filled in", _PLACES),
        Key("priority", "Which is looked at first, 0 to 999", Number(0, 999, whole=True)),
    ),
)

RULE = BlockOf(
    "a rule",
    "When all conditions hold, the actions are asked for",
    (
        Key("id", "Its name, unique in the rule set", _RULE_NAME, required=True),
        Key("priority", "The highest fires first; 0 to 999, 50 when left out", Number(0, 999, whole=True)),
        Key("when", "The conditions, all of which must hold", Conditions()),
        Key("do", "What to do: one action, or a list", OneOrList(Refer("action")), required=True),
        Key("once", "At most once in that time", Refer("once")),
    ),
)

ONCE = BlockOf(
    "`once`",
    "At most one in that time",
    (
        Key("per", "30d, cycle or ever", Words(f"{LENGTH}|cycle|ever"), required=True),
        Key("by", "A path: once for each of its values", Words()),
        Key("scope", "For whom it counts", Choice(ONCE_SCOPES)),
    ),
)

SET = BlockOf(
    "`set`",
    "Writes a trait of the customer",
    (
        Key("trait", "The trait", Known("trait"), required=True),
        Key("to", "Its new value", Anything(), required=True),
        Key("for", "How long it holds; for good when left out", _LENGTH),
    ),
)

ARM = BlockOf(
    "an arm",
    "How the action differs for customers in this arm",
    (
        Key("template", "Another template", Known("template")),
        Key("with", "More values for the template", Named(Anything())),
    ),
)

_CHANNEL = Words(f"({'|'.join(CHANNELS)})( after {LENGTH})?")
_MAIN: Mapping[ActionKind, tuple[str, Form]] = {
    ActionKind.OFFER: ("The offer, as the catalogue names it", Known("offer")),
    ActionKind.MESSAGE: ("The message; its template is named alike", _TEXT),
    ActionKind.SURVEY: ("The survey; its template is named alike", _TEXT),
    ActionKind.TASK: ("A task for a care agent", _TEXT),
    ActionKind.SAY: ("A sentence for the agent; {paths} are filled in", _PLACES),
    ActionKind.AVOID: ("The categories not to bring up", OneOrList(Choice(CATEGORIES))),
    ActionKind.SET: ("A trait to write", SET),
    ActionKind.EMIT: ("An event of our own", Known("event")),
}
_CATEGORY = Key("category", "What it is for; decides consent, caps, quiet hours and tier", Choice(CATEGORIES))
_TOPIC = Key("topic", "What it is about; customers can say no to a topic", Known("topic"))
_WITH = Key("with", "Values for the text, by name; {paths} in quotes are filled in", Named(Anything()))
_DISPATCHED = (
    Key(_CATEGORY.name, _CATEGORY.means, _CATEGORY.form, required=True),
    _TOPIC,
    _WITH,
    Key("template", "The template, when it is not named like the action", Known("template")),
    Key("channels", "Where it may go, in this order: [preferred, sms after 2h]", OneOrList(_CHANNEL)),
    Key("to", "Who gets it: the one who pays, or the one who uses", Choice(RECEIVERS)),
    Key("value", "What a yes is worth to us, for arbitration; a number or a formula", Formula(-1e9, 1e9)),
    Key("cost", "What it costs us, for arbitration and budgets; a number or a formula", Formula(0, 1e9)),
    Key("propensity", "How likely a yes is, for arbitration; a number or a formula", Formula(0, 1)),
    Key("expires", "How long after the event it is still worth saying", _LENGTH),
    Key("due", "By when an agent should have done it (tasks only)", _LENGTH),
    Key("after", "Plans it for that long after the event; decided again then", _LENGTH),
    Key(
        "unless",
        "With `after`: events that must not happen meanwhile: complaint.opened happened",
        ListOf(Words(HAPPENED)),
    ),
    Key("keep", "With `after`: conditions that must hold when it is due", Conditions()),
    Key("arms", "What differs for each arm of the experiment", Named(ARM)),
    Key("once", "At most once in that time", Refer("once")),
)
_MORE: Mapping[ActionKind, tuple[Key, ...]] = {
    **dict.fromkeys(DISPATCHED_KINDS, _DISPATCHED),
    ActionKind.SAY: (_CATEGORY, _TOPIC),
    ActionKind.AVOID: (),
    ActionKind.SET: (),
    ActionKind.EMIT: (_WITH,),
}
ACTIONS: Mapping[ActionKind, BlockOf] = {
    kind: BlockOf(
        f"the action `{kind.value}`",
        _MAIN[kind][0],
        (Key(kind.value, *_MAIN[kind], required=True), *_MORE[kind]),
        with_key=(("unless", "after"), ("keep", "after")) if kind in DISPATCHED_KINDS else (),
        with_word=(("category", "sales", "expires"),) if kind in DISPATCHED_KINDS else (),
    )
    for kind in ACTION_KINDS
}

TABLE = BlockOf(
    "a table",
    "The short form of many similar rules",
    (
        Key("choose", "first (when left out): only the first row that fits; or all", Choice(CHOOSE)),
        Key("columns", "Paths to ask, and do, id, priority or once", ListOf(Words(), 1), required=True),
        Key("priority", "The priority of rows without one of their own", Number(0, 999, whole=True)),
        Key("once", "At most once in that time, for each row without its own", Refer("once")),
        Key("rows", "For each rule the cells, one for each column", ListOf(ListOf(Anything(), 1), 1), True),
    ),
)

JOURNEY = BlockOf(
    "a journey",
    "Steps through which each customer goes in their own time",
    (
        Key("key", "A field of the start event: one journey for each of its values", Words()),
        Key("start", "The event type that begins it", Known("event"), required=True),
        Key("exit", "What ends it early: subscription.ended happened", ListOf(Words(HAPPENED))),
        Key("steps", "The steps, in order", ListOf(Refer("step"), 1), required=True),
    ),
)

STEP = BlockOf(
    "a step",
    "One step of a journey",
    (
        Key("id", "Its name in tests and explanations; step-1, step-2.then-1 … when left out", Words(NAME)),
        Key("if", "Conditions without which the action is left out", Conditions()),
        Key("do", "What to do: one action, or a list", OneOrList(Refer("action"))),
        Key("wait", "Goes on after that long", _LENGTH),
        Key("await", "Goes on when such an event comes", OneOrList(Known("event"))),
        Key("within", "How long it is awaited", _LENGTH),
        Key("then", "Steps when it came", ListOf(Refer("step"))),
        Key("nothing", "Steps when it did not come", ListOf(Refer("step"))),
    ),
    among=("do", "wait", "await"),
)

MEASURE = BlockOf(
    "a measure",
    "An event that counts, within a time after the customer was drawn",
    (
        Key("event", "The event type", Known("event"), required=True),
        Key("within", "How long after", _LENGTH, required=True),
    ),
)

EXPERIMENT = BlockOf(
    "an experiment",
    "Different customers get different things, by lot, to see what works",
    (
        Key("id", "Its name; a customer stays in one arm as long as it stays the same", _TEXT, required=True),
        Key("holdout", "The share that gets nothing; never applies to mandatory or service", Words(SHARE)),
        Key("arms", "The share of each arm", Named(Words(SHARE))),
        Key("metric", "What we want to happen more", MEASURE),
        Key("guardrail", "What must not happen more", MEASURE),
    ),
)

HISTORY = BlockOf(
    "an event of the history",
    "Something that happened before; its fields stand beside",
    (
        Key("type", "Its event type", Known("event"), required=True),
        Key("ago", "How long before the test's event", _LENGTH, required=True),
    ),
    open=True,
)

GIVEN = BlockOf(
    "`given`",
    "What is so when the test begins",
    (
        Key("profile", "Traits of the customer", Named(Anything(), Known("trait"))),
        Key(
            "household",
            "What the household has: members, lines, traits that it shares",
            Named(Anything(), Known("household")),
        ),
        Key("context", "Attributes of things: {cell: {incident: INC7}}", Named(Named(Anything()))),
        Key("windows", "Values of windows, instead of a history", Named(Anything(), Words(WINDOW))),
        Key("facts", "Facts that hold already", _FACTS),
        Key("consents", "What was said about each purpose", Named(Choice(CONSENT_STATES), Choice(PURPOSES))),
        Key("withheld", "Purposes for which nothing may be used", OneOrList(Choice(WITHHELD))),
        Key("history", "Events that came before", ListOf(Refer("history"))),
        Key("arm", "The customer's arm of the experiment", _TEXT),
    ),
)

THEN = BlockOf(
    "`then`",
    "What the test expects",
    (
        Key("fires", "The rules that fire, in order; [] for none", OneOrList(_TEXT)),
        Key("facts", "The facts inferred, in order", _FACTS),
        Key("wins", "The rules whose actions win arbitration", OneOrList(_TEXT)),
        Key("refused", "The reason for each rule that is refused", Named(Choice(REASONS))),
    ),
)

TEST = BlockOf(
    "a test",
    "An example that must come out so, or the rule set is not activated",
    (
        Key("name", "What it shows", _TEXT, required=True),
        Key("given", "What is so when the test begins", GIVEN),
        Key(
            "when",
            "The event's fields, or the question's; of several `type` or `ask`; in journeys `step`",
            Named(Anything()),
        ),
        Key("then", "What the test expects", THEN, required=True),
    ),
)

RULE_SET = BlockOf(
    "a rule set",
    "Rules that belong together: one file",
    (
        Key("ruleset", "Its name: small letters, digits and -", Words(NAME, numbers=True), required=True),
        Key("title", "A line for lists", _TEXT),
        Key("owner", "Who answers for it", _TEXT),
        Key("stage", "The stage of the customer's life it belongs to", Choice(STAGES)),
        Key("active", ACTIVE.means, ACTIVE),
        Key("trigger", "What calls for it", Either((_TRIGGER, ListOf(_TRIGGER, 1)))),
        Key("late", "Events older than that on arrival trigger nothing; 24h when left out", _LENGTH),
        Key("shared", "true: only infers facts, for all other rule sets to ask", Flag()),
        Key("choose", "first: only the first rule that fires; all when left out", Choice(CHOOSE)),
        Key("limits", LIMITS.means, LIMITS),
        Key("windows", "Figures drawn from what the customer did", Named(WINDOW_KEYS, Words(WINDOW))),
        Key("infer", "Facts", ListOf(FACT_KEYS)),
        Key("rules", "The rules", ListOf(RULE)),
        Key("table", TABLE.means, TABLE),
        Key("journey", JOURNEY.means, JOURNEY),
        Key("experiment", EXPERIMENT.means, EXPERIMENT),
        Key("tests", "Examples that must come out as written", ListOf(TEST)),
    ),
    any_of=("trigger", "shared", "journey"),
)

PARTS: Mapping[str, Form] = {
    "trigger": Either(tuple(TRIGGERS.values())),
    "once": Either((Words(f"{LENGTH}|cycle|ever"), ONCE)),
    "step": STEP,
    "history": HISTORY,
}
"""Parts that stand in several places, by the name that `Refer` uses; `action` and `condition` aside."""

BLOCKS: tuple[BlockOf, ...] = (
    RULE_SET,
    ACTIVE,
    TRIGGER,
    LIMITS,
    WINDOW_KEYS,
    FACT_KEYS,
    RULE,
    ONCE,
    *ACTIONS.values(),
    SET,
    ARM,
    TABLE,
    JOURNEY,
    STEP,
    EXPERIMENT,
    MEASURE,
    TEST,
    GIVEN,
    HISTORY,
    THEN,
)
"""All blocks, in the order of the reference."""
