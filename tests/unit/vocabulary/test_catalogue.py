"""The catalogue: what its files say is what the code gets, and every mistake is named with file and line."""

from datetime import date
from decimal import Decimal
from pathlib import Path
from textwrap import dedent

import pytest

from services.vocabulary.catalogue import CatalogueErrors, load_catalogue
from services.vocabulary.values import DAY, HOUR, FieldError, Money, ValueType
from services.vocabulary.words import Channel, ConversationScope, EventStage, Households, Purpose

GOOD = {
    "catalogue/operator.yaml": """
        zone: Europe/Paris
        locale: fr
        currency: CHF
        country: CH
        conversation: 48h
        households: explicit
        conversation_scope: household
        release: {canary: optional}
        sources_that_create_no_customers: [listening]
        """,
    "catalogue/topics.yaml": "data: Mobile data\n",
    "catalogue/traits.yaml": """
        adult: bool
        plan: {line: true, shown: true}
        birth_date: {type: date, sensitive: true}
        last_cell: {purpose: profiling_location}
        cycle_day: {type: int, least: 1, most: 31}
        shared_mb: {type: int, household: true}
        """,
    "catalogue/sources.yaml": "plan: {order: [billing, crm], fresh: 30d}\n",
    "catalogue/things.yaml": "cell:\n  attributes: {incident: text, eta: time}\n",
    "catalogue/events.yaml": """
        usage.data_used:
          stage: use
          purpose: profiling_usage
          keep: {each: 35d, by day: 13 cycles, fields: [mb]}
          fields:
            mb: number*
            count: {type: int, default: 1}
            country: {format: country}
            kind: enum(day, night)
            cell: {purpose: profiling_location}
        cell.broken, cell.mended:
          stage: network
          thing: cell
          thing_sets: {incident: what}
          thing_clears: [eta]
          fields:
            what: text*
        person.told:
          stage: person
          own: true
          sets_traits: {plan: plan}
          fields:
            plan: text
            traits: map*
            items: list(text)
        """,
    "catalogue/tariffs.yaml": "m: {title: M, price: 19.99 EUR, data_mb: 20000, minutes: 60}\n",
    "catalogue/templates.yaml": """
        notice: {topic: data, ground: the law, breaks_quiet_hours: true, parameters: [gb]}
        """,
    "catalogue/offers.yaml": """
        more:
          title: More
          titles: {fr: Plus}
          price: 3.50 EUR
          valid: {from: 2026-10-01, to: 2026-12-31}
          eligible: [profile.adult is true]
          excludes: [more]
          templates: {sms: notice}
          accept: ["YES"]
          fulfil: person.told
        """,
    "templates/notice/fr.sms.j2": "Bonjour\n",
    "templates/notice/en.sms.j2": "Hello\n",
}


@pytest.fixture
def rules(tmp_path):
    return write(tmp_path / "rules", GOOD)


def write(folder: Path, files: dict[str, str]) -> Path:
    for name, text in files.items():
        path = folder / name
        path.parent.mkdir(parents=True, exist_ok=True)
        path.write_text(dedent(text).lstrip("\n"))
    return folder


def mistakes_of(folder: Path) -> list[str]:
    with pytest.raises(CatalogueErrors) as caught:
        load_catalogue(folder)
    return [str(error) for error in caught.value.errors]


def test_the_operator(rules):
    catalogue = load_catalogue(rules)
    assert (catalogue.default_zone, catalogue.default_locale, catalogue.currency, catalogue.country) == (
        "Europe/Paris",
        "fr",
        "CHF",
        "CH",
    )
    assert catalogue.conversation_micros == 48 * HOUR
    assert catalogue.households is Households.EXPLICIT
    assert (catalogue.needs_approval, catalogue.needs_canary) == (True, False)
    assert catalogue.conversation_scope is ConversationScope.HOUSEHOLD
    assert catalogue.creates_customers_except == {"listening"}


def test_an_event_type(rules):
    used = load_catalogue(rules).events["usage.data_used"]
    assert used.stage is EventStage.USE
    assert used.purpose is Purpose.PROFILING_USAGE
    assert used.keep.each_micros == 35 * DAY
    assert used.keep.by_day_micros == 13 * 31 * DAY
    assert used.keep.fields == ("mb",)
    assert used.fields["mb"].required
    assert used.fields["mb"].type is ValueType.NUMBER
    assert not used.fields["country"].required
    assert used.fields["country"].purpose is Purpose.PROFILING_USAGE
    assert used.fields["cell"].purpose is Purpose.PROFILING_LOCATION
    assert used.fields["kind"].enum == ("day", "night")


def test_kept_for_thirteen_cycles_with_every_field_that_can_be_kept_unless_said_otherwise(rules):
    told = load_catalogue(rules).events["person.told"]
    assert told.keep.each_micros == 13 * 31 * DAY
    assert told.keep.by_day_micros == 0
    assert told.keep.fields == ("plan",)
    assert told.own
    assert told.sets_traits == {"plan": "plan"}


def test_a_trait_says_whom_to_believe_first_and_for_how_long(rules):
    traits = load_catalogue(rules).traits
    assert traits["adult"].precedence is None
    order = traits["plan"].precedence
    assert order is not None
    assert [order.rank(source) for source in ("billing", "billing/2026", "crm", "billings", "app")] == [
        0,
        0,
        1,
        2,
        2,
    ]
    assert order.is_fresh(0, 30 * DAY)
    assert not order.is_fresh(0, 30 * DAY + 1)


def test_several_types_share_one_description(rules):
    events = load_catalogue(rules).events
    for name in ("cell.broken", "cell.mended"):
        assert events[name].name == name
        assert events[name].thing == "cell"
        assert events[name].thing_sets == {"incident": "what"}
        assert events[name].thing_clears == ("eta",)


def test_traits_things_tariffs_offers_and_templates(rules):
    catalogue = load_catalogue(rules)
    assert catalogue.traits["adult"].type is ValueType.BOOL
    assert catalogue.traits["plan"].line
    assert catalogue.traits["plan"].shown
    assert catalogue.traits["birth_date"].sensitive
    assert [name for name, trait in catalogue.traits.items() if trait.household] == ["shared_mb"]
    assert catalogue.traits["last_cell"].purpose is Purpose.PROFILING_LOCATION
    assert catalogue.things["cell"].attributes == {"incident": ValueType.TEXT, "eta": ValueType.TIME}
    assert catalogue.tariffs["m"].price == Money(Decimal("19.99"), "EUR")
    offer = catalogue.offers["more"]
    assert offer.template_for(Channel.SMS) == "notice"
    assert offer.template_for(Channel.APP) == "more"
    assert [offer.valid_on(date(2026, month, 1)) for month in (9, 10, 12)] == [False, True, True]
    assert offer.valid_on(date(2026, 12, 31))
    assert not offer.valid_on(date(2027, 1, 1))
    template = catalogue.templates["notice"]
    assert template.channels == {Channel.SMS}
    assert template.locales == {"en", "fr"}
    assert template.files["fr", Channel.SMS].read_text() == "Bonjour\n"
    assert template.parameters == ("gb",)
    assert template.breaks_quiet_hours
    assert template.ground == "the law"


def test_the_folder_catalogue_itself_may_be_named(rules):
    assert load_catalogue(rules / "catalogue").version == load_catalogue(rules).version


def test_an_operator_adds_a_file_beside_the_core(rules):
    write(rules, {"catalogue/events-acme.yaml": "acme.happened:\n  stage: use\n"})
    assert "acme.happened" in load_catalogue(rules).events
    assert "usage.data_used" in load_catalogue(rules).events


def test_the_version_changes_with_any_text(rules):
    before = load_catalogue(rules).version
    (rules / "templates/notice/en.sms.j2").write_text("Good day\n")
    assert load_catalogue(rules).version != before


# --- coercion ------------------------------------------------------------------------------------------


def test_an_event_is_typed_and_its_defaults_are_filled_in(rules):
    used = load_catalogue(rules).events["usage.data_used"]
    assert used.coerce({"mb": 3, "kind": "day", "country": None}) == {"mb": 3.0, "kind": "day", "count": 1}


@pytest.mark.parametrize(
    ("fields", "field", "message"),
    [
        ({}, "data.mb", "is missing"),
        ({"mb": None}, "data.mb", "is missing"),
        ({"mb": "3"}, "data.mb", "is text, not a number"),
        ({"mb": 3, "kind": "noon"}, "data.kind", "none of the words"),
        ({"mb": 3, "country": "Spain"}, "data.country", "is not a country"),
        ({"mb": 3, "coutry": "ES"}, "data.coutry", "is no field of usage.data_used"),
        ({"mb": 3, "data_used.mb-2026": 1}, "data.data_used.mb-2026", "is no field"),
        # what may be a number, an address or a person is not repeated
        ({"mb": 3, "x" * 100: 1}, "data.(not a name)", "is no field"),
        ({"mb": 3, "a33612345678": 1}, "data.(not a name)", "is no field"),
        ({"mb": 3, "ada@example.org": 1}, "data.(not a name)", "is no field"),
        ({"mb": 3, "Ada Lovelace": 1}, "data.(not a name)", "is no field"),
    ],
)
def test_an_event_that_does_not_fit_names_the_field(rules, fields, field, message):
    used = load_catalogue(rules).events["usage.data_used"]
    with pytest.raises(FieldError) as caught:
        used.coerce(fields)
    assert caught.value.field == field
    assert message in caught.value.message
    assert caught.value.suggestion


def test_the_nearest_field_is_suggested(rules):
    used = load_catalogue(rules).events["usage.data_used"]
    with pytest.raises(FieldError, match="did you mean country"):
        used.coerce({"mb": 3, "coutry": "ES"})


def test_traits_inside_an_event_are_typed(rules):
    told = load_catalogue(rules).events["person.told"]
    typed = told.coerce({"traits": {"plan": "m", "adult": True, "cycle_day": None}})
    assert typed == {"traits": {"plan": "m", "adult": True, "cycle_day": None}}


@pytest.mark.parametrize(
    ("traits", "field"),
    [
        ({"cycle_day": 32}, "data.traits.cycle_day"),
        ({"adult": "yes"}, "data.traits.adult"),
        ({"plam": "m"}, "data.traits.plam"),
        ([], "data.traits"),
    ],
)
def test_traits_inside_an_event_that_do_not_fit_are_named(rules, traits, field):
    told = load_catalogue(rules).events["person.told"]
    with pytest.raises(FieldError) as caught:
        told.coerce({"traits": traits})
    assert caught.value.field == field


def test_unknown_types_and_traits_come_with_the_nearest_known_one(rules):
    catalogue = load_catalogue(rules)
    with pytest.raises(FieldError, match=r"did you mean usage\.data_used"):
        catalogue.event_type("usage.data_use")
    with pytest.raises(FieldError, match="did you mean plan"):
        catalogue.trait("plam")
    assert catalogue.event_type("person.told").name == "person.told"
    assert catalogue.coerce_traits({"plan": "m", "adult": None}) == {"plan": "m", "adult": None}


# --- mistakes in the files -----------------------------------------------------------------------------

MISTAKES = [
    ("sources", "plam: [crm]\n", 1, "is no trait; did you mean plan?"),
    ("sources", "adult: []\n", 1, "is no order of sources"),
    ("sources", "adult: [crm, crm]\n", 1, "is no order of sources"),
    ("sources", "adult: {order: [crm], fresh: soon}\n", 1, "is not a length of time"),
    ("sources", "adult: {order: [crm], first: crm}\n", 1, "is not known here"),
    ("sources", "plan: [crm]\n", 1, "has an order of sources already"),
    ("events", "a.b:\n  stage: use\n  fields:\n    x: txt\n", 4, "unknown type 'txt'"),
    ("events", "a.b:\n  stage: use\n  fields:\n    x: enum()\n", 4, "enum without words"),
    ("events", "a.b:\n  stage: use\n  fields:\n    x: text(a)\n", 4, "text with brackets"),
    ("events", "a.b:\n  stage: use\n  fields:\n    x: list(int)\n", 4, "list of something other"),
    ("events", "a.b:\n  stage: use\n  fields:\n    x: a b\n", 4, "cannot be read"),
    ("events", "a.b:\n  stage: use\n  fields:\n    x:\n", 4, "has no type"),
    ("events", "a.b:\n  stage: use\n  fields:\n    X: text\n", 4, "is no name of a field"),
    ("events", "a.b:\n  stage: use\n  fields:\n    x: {type: text, format: zoo}\n", 4, "'zoo'"),
    ("events", "a.b:\n  stage: use\n  fields:\n    x: {type: int, format: zone}\n", 4, "for a text"),
    ("events", "a.b:\n  stage: use\n  fields:\n    x: {type: text, least: 1}\n", 4, "no least and most"),
    ("events", "a.b:\n  stage: use\n  fields:\n    x: {type: int, default: one}\n", 4, "not a whole number"),
    (
        "events",
        "a.b:\n  stage: use\n  fields:\n    x: {type: int, purpose: fun}\n",
        4,
        "'fun', which is not known",
    ),
    ("events", "a.b:\n  stage: use\n  fields:\n    x: {typ: int}\n", 4, "did you mean type?"),
    ("events", "a.b:\n  fields:\n    x: text\n", 1, "stage is missing"),
    ("events", "a.b:\n  stage: usage\n", 2, "write one of explore"),
    ("events", "a.b:\n  stage: use\n  keep: {each: long}\n", 3, "35d or 13 cycles"),
    ("events", "a.b:\n  stage: use\n  keep: {fields: [y]}\n", 3, "names 'y'"),
    ("events", "a.b:\n  stage: use\n  keep: {most: 5000}\n", 3, "write 1 to 1000"),
    ("events", "a.b:\n  stage: use\n  thing: tower\n", 3, "'tower', which things.yaml lacks"),
    ("events", "a.b:\n  stage: use\n  thing: cell\n  thing_clears: [age]\n", 4, "'age', which cell has not"),
    (
        "events",
        "a.b:\n  stage: use\n  thing: cell\n  thing_sets: {eta: when}\n",
        4,
        "'when', which is no field",
    ),
    ("events", "a.b:\n  stage: use\n  sets_traits: {shoe: x}\n", 3, "shoe is not known"),
    (
        "events",
        "a.b:\n  stage: use\n  sets_traits: {adult: x}\n  fields:\n    x: text\n",
        3,
        "puts x (text) into adult (bool)",
    ),
    ("events", "a.b: text\n", 1, "must be a mapping"),
    ("events", "A.b:\n  stage: use\n", 1, "lower-case words"),
    ("events", "usage.data_used:\n  stage: use\n", 1, "a second time"),
    ("events", "a.b:\n  stage: use\n  stage: use\n", 3, "a key is given twice"),
    ("events", "a.b:\n  stage: [use\n", 3, "is no YAML"),
    ("events", "- a.b\n", 1, "must hold a mapping"),
    ("events", "a.b:\n  stage: use\n  fields:\n    x: {type: map}\n", 4, "is a map"),
    ("traits", "shoe: map\n", 1, "is a map"),
    ("traits", "shoe: siz\n", 1, "unknown type 'siz'"),
    ("traits", "shoe: {sensitive: maybe}\n", 1, "must be true or false"),
    ("traits", "where: {format: zone, direct: true}\n", 1, "must be known in the open"),
    ("events", "a.b:\n  stage: use\n  direct: [x]\n  fields:\n    x: int\n", 3, "are texts of this type"),
    ("events", "a.b:\n  stage: use\n  direct: [x]\n  fields:\n    x: text\n", 3, "activity keeps"),
    ("traits", "shoe: {type: int, least: low}\n", 1, "must be a number"),
    ("things", "tower:\n  attributes: {height: tall}\n", 2, "unknown type 'tall'"),
    ("things", "tower:\n  colour: red\n", 2, "colour is not known here"),
    ("tariffs", "x: {title: X, data_mb: 1}\n", 1, "price is missing"),
    ("tariffs", "x: {title: X, price: 3 euro, data_mb: 1}\n", 1, "write 12.50 EUR"),
    ("tariffs", "x: {title: X, price: 3 EUR, data_mb: many}\n", 1, "must be a whole number"),
    ("templates", "nothing: {topic: data}\n", 1, "has no text"),
    ("templates", "nothing: {topic: shoes}\n", 1, "'shoes', which topics.yaml lacks"),
    ("offers", "x: {title: X, valid: {from: 2026-12-01, to: 2026-11-01}}\n", 1, "is before from"),
    ("offers", "x: {title: X, valid: {from: tomorrow}}\n", 1, "is not a date"),
    ("offers", "x: {price: 1.00 EUR}\n", 1, "title is missing"),
    ("offers", "x: {title: X, accept: YES}\n", 1, "must be a list of texts"),
    ("offers", "x: {title: X, fulfil: a.b}\n", 1, "'a.b', which events.yaml lacks"),
    ("offers", "x: {title: X, templates: {fax: notice}}\n", 1, "is no channel"),
    ("offers", "x: {title: X, templates: {sms: notes}}\n", 1, "'notes', which templates.yaml lacks"),
    ("offers", "x: {title: X, excludes: [y]}\n", 1, "excludes 'y', which is no offer"),
    ("operator", "zone: Paris\n", 1, "IANA"),
    ("operator", "currency: euro\n", 1, "ISO 4217"),
    ("operator", "country: France\n", 1, "ISO 3166-1"),
    ("operator", "conversation: a day\n", 1, "length of time"),
    ("operator", "conversation_scope: family\n", 1, "one of customer, household"),
    ("operator", "households: family\n", 1, "one of account, explicit"),
    ("operator", "release: {approval: never}\n", 1, "one of required, optional"),
    ("operator", "release: {aproval: optional}\n", 1, "did you mean approval?"),
    ("traits", "shared: {household: true, line: true}\n", 1, "household, which has no line"),
    ("shoes", "x: y\n", 1, "says nothing of what it holds"),
]


@pytest.mark.parametrize(("kind", "text", "line", "message"), MISTAKES)
def test_a_mistake_is_named_with_file_and_line(rules, kind, text, line, message):
    write(rules, {f"catalogue/{kind}-more.yaml": text})
    found = mistakes_of(rules)
    fitting = [mistake for mistake in found if message in mistake]
    assert fitting, found
    assert fitting[0].startswith(f"rules/catalogue/{kind}-more.yaml:{line}: ")


def test_all_mistakes_are_named_at_once(rules):
    write(
        rules,
        {"catalogue/traits-more.yaml": "a: x\nb: y\n", "catalogue/events-more.yaml": "c.d:\n  stage: z\n"},
    )
    assert len(mistakes_of(rules)) == 3


def test_a_template_needs_a_text_in_the_operators_language(rules):
    (rules / "templates/notice/fr.sms.j2").unlink()
    (found,) = mistakes_of(rules)
    assert found.startswith("rules/catalogue/templates.yaml:1: notice has no text in fr for sms")
    assert found.endswith("add templates/notice/fr.sms.j2")


def test_a_text_with_an_unknown_channel_or_without_a_description_is_found(rules):
    write(rules, {"templates/notice/fr.fax.j2": "x", "templates/stray/fr.sms.j2": "x"})
    found = mistakes_of(rules)
    assert any("rules/templates/notice/fr.fax.j2:1: is named unlike a text" in mistake for mistake in found)
    assert any("rules/templates/stray:1: is described nowhere" in mistake for mistake in found)


def test_a_folder_without_a_catalogue_is_named(tmp_path):
    assert mistakes_of(tmp_path / "rules") == [
        "rules/catalogue:1: is no folder; name the folder that holds catalogue/events.yaml"
    ]


def test_a_catalogue_without_event_types_is_no_catalogue(tmp_path):
    write(tmp_path / "rules", {"catalogue/traits.yaml": "adult: bool\n"})
    assert mistakes_of(tmp_path / "rules") == [
        "rules/catalogue/events.yaml:1: holds no event type; describe at least one"
    ]


def test_a_file_that_is_no_utf8_is_named(rules):
    (rules / "catalogue/topics-more.yaml").write_bytes(b"data: \xff\xfe\n")
    assert any("topics-more.yaml:1: is no YAML" in mistake for mistake in mistakes_of(rules))


PURPOSES = {
    "catalogue/purposes.yaml": """
        controller: {name: Operator, contact: privacy@operator.example}
        purposes:
          marketing:
            basis: consent
            kept: 90d
            double_opt_in: [email]
            title: {fr: Offres}
            description: {fr: Vous écrire., en: To write to you.}
        """
}


def test_purposes_name_what_they_rest_on(rules):
    catalogue = load_catalogue(write(rules, PURPOSES))
    terms = catalogue.purposes[Purpose.MARKETING]
    assert (terms.basis.value, terms.basis.letter, terms.kept_micros) == ("consent", "a", 90 * DAY)
    assert terms.double_opt_in == {Channel.EMAIL}
    assert catalogue.controller.contact == "privacy@operator.example"


@pytest.mark.parametrize(
    ("text", "message"),
    [
        ("basis: consent", "basis: agreement"),
        ("basis: consent", "x: 1"),
        ("marketing:", "advertising:"),
        ("marketing:", "service:"),
        ("basis: consent", "basis: legitimate_interests"),
        ("[email]", "[call]"),
        ("kept: 90d", "x: 1"),
        ("{fr: Offres}", "{en: Offers}"),
        ("marketing:", "profiling_web:"),
    ],
)
def test_a_purpose_without_a_basis_or_a_text_is_refused_by_file_and_line(rules, text, message):
    content = PURPOSES["catalogue/purposes.yaml"]
    assert text in content
    with pytest.raises(CatalogueErrors) as caught:
        load_catalogue(write(rules, {"catalogue/purposes.yaml": content.replace(text, message)}))
    assert all("purposes.yaml:" in str(error) for error in caught.value.errors)
