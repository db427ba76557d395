"""The shipped rules folder: the names that callers rely on are there, and every text can be filled."""

from pathlib import Path

import pytest
from jinja2 import StrictUndefined
from jinja2.sandbox import SandboxedEnvironment
from ruamel.yaml import YAML

from services.vocabulary.catalogue import load_catalogue
from services.vocabulary.short_message import Coding, coding_of, count_segments
from services.vocabulary.values import DAY, ValueType
from services.vocabulary.words import CATEGORY_FACTS, Category, Channel, EventStage, Purpose

RULES = Path(__file__).parents[3] / "rules"
CATALOGUE = load_catalogue(RULES)

# The contract, as outside callers know it: type: required fields | optional fields.
CONTRACT = """
web.page_viewed app.screen_viewed: topic | product seconds
cart.abandoned: product |
store.visited: store | purpose
area.entered area.left: area | dwell_seconds
order.placed order.shipped order.delayed order.delivered: order product | price eta tracking action
order.activated order.failed order.cancelled: order product | price eta tracking action
plan.activated: plan | price
device.changed: device | kind
portin.requested portin.completed portin.failed: | donor reason
usage.data_used: mb | country charge cycle
usage.voice_used: minutes | country charge
usage.message_sent: | count country charge
usage.allowance_exhausted: cycle days_left_in_cycle | surcharge_next
roaming.entered roaming.left: country |
service.quality_measured: product | score
bill.issued: bill amount | due items
payment.received payment.failed payment.overdue: amount | bill reason
topup.received: amount |
balance.changed: balance |
network.call_dropped network.call_setup_failed: | cell technology
network.session_measured: | cell mbps latency_ms stalls
network.outage_started network.outage_ended: cell incident | eta
care.contact_started care.contact_ended: contact channel | topic wait_seconds
case.opened case.closed: case topic |
task.completed: task | result
complaint.opened complaint.resolved: complaint topic | cell
contract.ending: ends |
portout.requested: | recipient
subscription.ended: | reason
survey.answered: survey | score text action
message.replied: text | intent action
social.mentioned: network text | sentiment
action.rated: action useful |
consent.changed: purpose state by | channel evidence wording
preference.changed: key value |
profile.updated: traits | until
contact.made: channel by | category
account.changed: account | status
subscription.changed: subscription | account msisdn sim device plan status payer user from until
household.changed: household action |
offer.presented offer.accepted offer.declined offer.expired offer.fulfilled: offer | action reason
offer.fulfilment_failed coupon.redeemed: offer | action reason
identity.merged: into |
identity.separated: of |
identity.assigned: identity | line
identity.released: identity |
customer.erased: erasure |
erasure.finished: erasure service | erased
action.due: action decision |
trigger.due: rule_set run | data since
journey.due: rule_set key step | data
action.planned action.deferred action.expired: action rule_set rule name | message channel category reason
action.sent action.delivered action.failed: action rule_set rule name | message channel category reason
action.opened action.clicked action.dismissed: action rule_set rule name | message channel category reason
action.refused: action rule_set rule name | message channel category reason
"""
TYPED = {
    ValueType.INT: "seconds dwell_seconds wait_seconds latency_ms stalls days_left_in_cycle count number",
    ValueType.NUMBER: "mb minutes score mbps",
    ValueType.MONEY: "price charge amount balance",
    ValueType.BOOL: "surcharge_next useful",
    ValueType.TIME: "eta until since from",
    ValueType.DATE: "due ends",
    ValueType.LIST: "items erased",
    ValueType.MAP: "traits",
    ValueType.ENUM: "intent state",
}
TRAITS = {
    ValueType.INT: "plan_data_mb cycle_day tenure_months shared_data_mb shared_data_left_mb",
    ValueType.NUMBER: "churn_risk cei",
    ValueType.MONEY: "plan_price balance usual_bill",
    ValueType.BOOL: "adult vulnerable prepaid upset",
    ValueType.DATE: "birth_date contract_end",
    ValueType.LIST: "products",
    ValueType.ENUM: "preferred_channel",
    ValueType.TEXT: "name language zone plan device home_area last_cell better_plan stage brand",
}


def contract():
    for line in CONTRACT.strip().splitlines():
        names, _, fields = line.partition(":")
        required, _, optional = fields.partition("|")
        for name in names.split():
            yield name, required.split(), optional.split()


@pytest.mark.parametrize(("name", "required", "optional"), tuple(contract()))
def test_an_event_type_has_the_fields_of_the_contract(name, required, optional):
    fields = CATALOGUE.events[name].fields
    assert sorted(field for field in fields if fields[field].required) == sorted(required)
    assert sorted(field for field in fields if not fields[field].required) == sorted(optional)


def test_there_is_no_event_type_beyond_the_contract():
    assert set(CATALOGUE.events) == {name for name, _, _ in contract()}
    assert {kind.stage for kind in CATALOGUE.events.values()} == set(EventStage)


def test_fields_have_the_types_of_the_contract():
    types = {name: value_type for value_type, names in TYPED.items() for name in names.split()}
    texts_elsewhere = {
        ("purpose", "consent.changed"),
        ("channel", None),
        ("category", None),
        ("by", "consent.changed"),
        ("status", "account.changed"),
        ("status", "subscription.changed"),
        ("action", "household.changed"),
    }
    for event in CATALOGUE.events.values():
        for field in event.fields.values():
            if {(field.name, event.name), (field.name, None)} & texts_elsewhere:
                assert field.type in {ValueType.TEXT, ValueType.ENUM}
            else:
                assert field.type is types.get(field.name, ValueType.TEXT), (event.name, field.name)


def test_traits_have_the_types_of_the_contract():
    types = {name: value_type for value_type, names in TRAITS.items() for name in names.split()}
    assert {name: trait.type for name, trait in CATALOGUE.traits.items()} == types
    assert [name for name, trait in CATALOGUE.traits.items() if trait.sensitive] == ["birth_date"]
    assert [name for name, trait in CATALOGUE.traits.items() if trait.direct] == ["name"]


def test_purposes():
    by_prefix = {
        "usage": Purpose.PROFILING_USAGE,
        "roaming": Purpose.PROFILING_USAGE,
        "area": Purpose.PROFILING_LOCATION,
        "store": Purpose.PROFILING_LOCATION,
        "web": Purpose.PROFILING_WEB,
        "app": Purpose.PROFILING_WEB,
        "cart": Purpose.PROFILING_WEB,
        "social": Purpose.PROFILING_SOCIAL,
    }
    for name, event in CATALOGUE.events.items():
        assert event.purpose is by_prefix.get(name.partition(".")[0], Purpose.SERVICE), name
        assert {field.purpose for field in event.fields.values()} <= {event.purpose}
    by_trait = {
        "better_plan": Purpose.PROFILING_USAGE,
        "churn_risk": Purpose.PROFILING_USAGE,
        "shared_data_left_mb": Purpose.PROFILING_USAGE,
        "home_area": Purpose.PROFILING_LOCATION,
        "last_cell": Purpose.PROFILING_LOCATION,
    }
    for name, trait in CATALOGUE.traits.items():
        assert trait.purpose is by_trait.get(name, Purpose.SERVICE), name


def test_what_is_kept():
    for name, event in CATALOGUE.events.items():
        if name == "usage.data_used" or (name.startswith("network.") and not event.thing):
            assert (event.keep.each_micros, event.keep.by_day_cycles) == (35 * DAY, 13), name
        elif not event.thing and name not in {"profile.updated", "action.due", "trigger.due", "journey.due"}:
            assert event.keep.each_micros == 13 * 31 * DAY, name


def test_an_outage_is_told_of_a_cell_and_its_end_clears_it():
    started, ended = CATALOGUE.events["network.outage_started"], CATALOGUE.events["network.outage_ended"]
    assert started.thing == ended.thing == "cell"
    assert started.thing_sets == {"incident": "incident", "eta": "eta"}
    assert set(ended.thing_clears) == {"incident", "eta"}


def test_things_have_the_attributes_of_the_contract():
    assert {kind: set(thing.attributes) for kind, thing in CATALOGUE.things.items()} == {
        "cell": {"incident", "eta", "area"},
        "area": {"name", "partner"},
        "store": {"area", "open"},
        "country": {"tariff_zone"},
    }


def actions_of(path):
    """Every action of a rule set file: (kind, name, category, channels, templates of arms, parameters)."""
    content = YAML(typ="safe").load(path.read_text())
    for rule in content.get("rules", []):
        done = rule["do"]
        for action in done if isinstance(done, list) else [done]:
            kind = next(word for word in ("offer", "message", "survey", "task") if word in action)
            arms = [arm.get("template") for arm in action.get("arms", {}).values()]
            templates = [template for template in arms if template] or [action[kind]]
            yield (
                kind,
                action[kind],
                Category(action["category"]),
                action.get("channels", []),
                templates,
                action.get("with", {}),
            )


ACTIONS = [action for path in sorted(RULES.glob("*.yaml")) for action in actions_of(path)]


@pytest.mark.parametrize(("kind", "name", "category", "channels", "templates", "given"), ACTIONS)
def test_every_action_of_every_rule_set_can_be_said(kind, name, category, channels, templates, given):
    if kind == "offer":
        assert name in CATALOGUE.offers
    wanted = {Channel.TASK} if kind == "task" else {Channel.SMS, Channel.EMAIL, Channel.APP}
    for template in [*templates, name]:
        known = CATALOGUE.templates[template]
        assert known.channels == wanted
        assert set(known.files) == {(locale, channel) for locale in ("en", "fr") for channel in wanted}
        assert bool(known.ground) >= CATEGORY_FACTS[category].needs_ground
        assert set(known.parameters) <= set(given)
    assert {Channel(channel) for channel in channels if channel != "preferred"} <= wanted


FILES = [
    pytest.param(template.name, channel, path, id=f"{template.name}-{locale}-{channel}")
    for template in CATALOGUE.templates.values()
    for (locale, channel), path in template.files.items()
]
PARAMETERS = {
    "plan": "m-20gb",
    "gb": 2,
    "eta": "18:00",
    "queue": "network-care",
    "note": "5 drops in 24 h",
    "link": "https://x.example/l/" + "t" * 68,
}


@pytest.mark.parametrize(("name", "channel", "path"), FILES)
def test_every_text_is_filled_from_its_parameters_alone(name, channel, path):
    environment = SandboxedEnvironment(undefined=StrictUndefined, autoescape=False)
    given = {parameter: PARAMETERS[parameter] for parameter in CATALOGUE.templates[name].parameters}
    text = environment.from_string(path.read_text()).render(**given)
    for value in given.values():
        assert str(value) in text
    assert "{" not in text
    if channel is Channel.EMAIL:
        subject, _, body = text.partition("\n\n")
        assert subject.startswith("Subject: ")
        assert len(subject) < 90
        assert body.strip()
    if channel is Channel.SMS:
        needs_more = path.name.partition(".")[0] in {"ar", "pl"}
        assert coding_of(text.strip()) is (Coding.UCS2 if needs_more else Coding.GSM7)
        assert count_segments(text.strip()) <= 2


def test_an_offer_by_sms_says_how_to_stop_offers():
    for offer in CATALOGUE.offers.values():
        template = CATALOGUE.templates[offer.template_for(Channel.SMS)]
        for locale in ("en", "fr"):
            assert "STOP" in template.files[locale, Channel.SMS].read_text()


def test_the_zone_of_the_operator_and_its_language_are_those_of_the_rule_sets():
    assert CATALOGUE.default_zone == "Europe/Paris"
    assert CATALOGUE.default_locale == "en"
    assert CATALOGUE.currency == "EUR"
    assert CATALOGUE.conversation_micros == DAY
