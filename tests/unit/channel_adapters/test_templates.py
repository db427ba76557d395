"""Templates: languages, values as people write them, and bounds that no value and no author can pass."""

from datetime import date
from decimal import Decimal
from pathlib import Path
from typing import Any

import pytest

from services.channel.adapters.templates import JinjaRenderer
from services.channel.app.ports import Rendered
from services.vocabulary.values import Money, ValueType
from services.vocabulary.words import Channel
from tests.unit.channel_adapters.template_making import missing, renderer, text, wanted


@pytest.mark.parametrize(
    ("locale", "said"),
    [
        ("fr-CA", "bonjour-hi"),
        ("fr_ca", "bonjour-hi"),
        ("fr-BE", "bonjour"),
        ("fr", "bonjour"),
        ("de", "hello"),
        ("", "hello"),
    ],
)
def test_languages_fall_back(tmp_path: Path, locale: str, said: str) -> None:
    made = renderer(tmp_path, offer__en_sms="hello", offer__fr_sms="bonjour", offer__fr_CA_sms="bonjour-hi")
    assert text(made.render(wanted(locale=locale))) == said


@pytest.mark.parametrize(
    ("locale", "said"),
    [("pt-BR", "pt"), ("es-MX", "es-419"), ("es-ES", "es"), ("zh-TW", "en"), ("zh-CN", "zh"), ("nb", "no")],
)
def test_languages_fall_back_to_the_parents_that_cldr_gives_them(
    tmp_path: Path, locale: str, said: str
) -> None:
    known = ("en", "pt", "es", "es-419", "zh", "no")
    files = {f"offer__{one.replace('-', '_')}_sms": one for one in known}
    assert text(renderer(tmp_path, **files).render(wanted(locale=locale))) == said


def test_traditional_chinese_is_found_under_its_script(tmp_path: Path) -> None:
    made = renderer(tmp_path, offer__en_sms="en", offer__zh_sms="zh", offer__zh_Hant_sms="zh-Hant")
    assert text(made.render(wanted(locale="zh-TW"))) == "zh-Hant"
    assert text(made.render(wanted(locale="zh_hant"))) == "zh-Hant"


def test_what_said_it_is_named_with_the_version_of_the_file(tmp_path: Path) -> None:
    made = renderer(tmp_path, offer__en_sms="hello")
    answer = made.render(wanted(locale="en-GB"))
    assert isinstance(answer, Rendered)
    assert answer.template == "offer/en.sms@file:2cf24dba"


def test_what_is_missing_is_named(tmp_path: Path) -> None:
    made = renderer(tmp_path, offer__en_sms="{{ gb }} GB")
    assert "offer/en.email.j2" in missing(made.render(wanted(Channel.EMAIL)))
    assert "other" in missing(made.render(wanted(name="other")))
    assert "'gb'" in missing(made.render(wanted()))


def test_a_missing_parameter_is_not_taken_from_the_traits(tmp_path: Path) -> None:
    made = renderer(tmp_path, offer__en_sms="Change to {{ plan }}")
    assert "'plan'" in missing(made.render(wanted(traits={"plan": "s-5gb"})))


def test_traits_are_shown_and_may_be_absent(tmp_path: Path) -> None:
    made = renderer(tmp_path, offer__en_sms="Hi{% if profile.name %} {{ profile.name }}{% endif %}!")
    assert text(made.render(wanted(traits={"name": "Ada"}))) == "Hi Ada!"
    assert text(made.render(wanted())) == "Hi!"


@pytest.mark.parametrize(
    ("value", "value_type", "english", "french"),
    [
        (Money(Decimal("12.5"), "EUR"), ValueType.MONEY, "€12.50", "12,50 €"),
        (Money(Decimal(3), "CHF"), ValueType.MONEY, "CHF 3.00", "3,00 CHF"),
        (date(2026, 12, 1), ValueType.DATE, "December 1, 2026", "1er décembre 2026"),
        (1_796_148_000_000_000, ValueType.TIME, "December 1, 2026, 7:00 PM", "1er décembre 2026, 19:00"),
        (48 * 3_600_000_000, ValueType.DURATION, "2 days", "2 jours"),
        (3_600_000_000, ValueType.DURATION, "1 hour", "1 heure"),
        (90 * 60_000_000, ValueType.DURATION, "90 minutes", "90 minutes"),
        (2, ValueType.INT, "2", "2"),
        (2.0, ValueType.NUMBER, "2", "2"),
        (2.5, ValueType.NUMBER, "2.5", "2,5"),
        (1e-7, ValueType.NUMBER, "0.0000001", "0,0000001"),
        ("m-20gb", ValueType.TEXT, "m-20gb", "m-20gb"),
    ],
)
def test_values_read_as_people_write_them(
    tmp_path: Path, value: Any, value_type: ValueType, english: str, french: str
) -> None:
    made = renderer(tmp_path, offer__en_sms="{{ x }}", offer__fr_sms="{{ x }}")
    for locale, said in (("en", english), ("fr-FR", french)):
        asked = wanted(locale=locale, parameters={"x": value}, types={"x": value_type})
        assert text(made.render(asked)) == said


def test_times_are_shown_in_the_customers_zone(tmp_path: Path) -> None:
    made = renderer(tmp_path, offer__en_sms="{{ eta }}")
    asked = wanted(
        parameters={"eta": 1_796_148_000_000_000}, types={"eta": ValueType.TIME}, zone="Pacific/Auckland"
    )
    assert text(made.render(asked)) == "December 2, 2026, 7:00 AM"


def test_numbers_still_compare(tmp_path: Path) -> None:
    made = renderer(tmp_path, offer__en_sms="{% if gb > 1.5 %}{{ gb }}{% else %}little{% endif %}")
    assert text(made.render(wanted(parameters={"gb": 2.5}, types={"gb": ValueType.NUMBER}))) == "2.5"


def test_a_mail_has_subject_text_and_escaped_html(tmp_path: Path) -> None:
    source = (
        "{% block subject %}Hi {{ x }}{% endblock %}{% block text %}T {{ x }}{% endblock %}"
        "{% block html %}<p>{{ x }}</p>{% endblock %}{% block sender %}Care{% endblock %}"
    )
    answer = renderer(tmp_path, offer__en_email=source).render(
        wanted(Channel.EMAIL, parameters={"x": "<b>&\nBcc: y"})
    )
    assert isinstance(answer, Rendered)
    assert answer.subject == "Hi <b>& Bcc: y"
    assert answer.text == "T <b>&\nBcc: y"
    assert answer.html == "<p>&lt;b&gt;&amp;\nBcc: y</p>"
    assert answer.sender == "Care"


def test_a_subject_line_stays_one_line(tmp_path: Path) -> None:
    made = renderer(tmp_path, offer__en_email="Subject: For {{ x }}\n\nThe text.\n")
    answer = made.render(wanted(Channel.EMAIL, parameters={"x": "you\n\nanother text" + "y" * 300}))
    assert isinstance(answer, Rendered)
    assert answer.text == "The text."
    assert answer.subject.startswith("For you another text")
    assert len(answer.subject) == 200
    assert answer.html == ""


def test_control_characters_do_not_reach_a_handset(tmp_path: Path) -> None:
    made = renderer(tmp_path, offer__en_sms="a{{ x }}b\n\n\n\nc  \n")
    answer = made.render(wanted(parameters={"x": "\x00\x1b\x07\u202e\x85"}))
    assert text(answer) == "ab\n\nc"


def test_segments_are_counted_and_bounded(tmp_path: Path) -> None:
    made = renderer(tmp_path, offer__en_sms="{{ x }}", offer__en_app="{{ x }}")

    def segments(characters: str, channel: Channel = Channel.SMS) -> int:
        answer = made.render(wanted(channel, parameters={"x": characters[:1000], "y": ""}))
        assert isinstance(answer, Rendered)
        return answer.segments

    assert segments("x" * 160) == 1
    assert segments("x" * 161) == 2
    assert segments("ж" * 71) == 2
    assert segments("ж" * 600, Channel.APP) == 1
    assert "10" in missing(made.render(wanted(parameters={"x": "ж" * 700})))


def test_what_cannot_be_read_is_told_at_start(tmp_path: Path) -> None:
    made = renderer(tmp_path, offer__en_sms="a\n{% if %}", offer__fr_sms="bon", other__en_smoke="x")
    assert [problem.split(":")[0] for problem in made.problems] == ["offer/en.sms.j2", "other/en.smoke.j2"]
    assert "line 2" in made.problems[0]
    assert text(made.render(wanted(locale="fr"))) == "bon"


def test_the_shipped_templates_can_be_read() -> None:
    made = JinjaRenderer(Path(__file__).parents[3] / "rules" / "templates", "en", "Europe/Paris")
    assert made.problems == ()
    answer = made.render(wanted(name="plan-upgrade", parameters={"plan": "m-20gb"}, locale="fr"))
    assert "m-20gb" in text(answer)
