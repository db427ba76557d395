"""Templates: languages, values as people write them, and bounds that no value and no author can pass."""

from datetime import date
from decimal import Decimal
from pathlib import Path
from typing import Any

import pytest

from services.channel.adapters.templates import JinjaRenderer
from services.channel.app.ports import MissingTemplate, Rendered, ToRender
from services.vocabulary.values import Money, ValueType
from services.vocabulary.words import Category, Channel


def renderer(folder: Path, **files: str) -> JinjaRenderer:
    """`offer__fr_sms="…"` is the file offer/fr.sms.j2."""
    for key, source in files.items():
        name, _, rest = key.partition("__")
        locale, _, channel = rest.rpartition("_")
        path = folder / name.replace("_", "-") / f"{locale.replace('_', '-')}.{channel}.j2"
        path.parent.mkdir(exist_ok=True)
        path.write_text(source, encoding="utf-8")
    return JinjaRenderer(folder, default_locale="en", default_zone="Europe/Paris")


def wanted(channel: Channel = Channel.SMS, locale: str = "", **changes: Any) -> ToRender:
    fields: dict[str, Any] = {"name": "offer", "category": Category.SALES}
    return ToRender(**(fields | {"channel": channel, "locale": locale} | changes))


def text(answer: Rendered | MissingTemplate) -> str:
    assert isinstance(answer, Rendered), answer
    return answer.text


def missing(answer: Rendered | MissingTemplate) -> str:
    assert isinstance(answer, MissingTemplate), answer
    return answer.detail


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
        (Money(Decimal(3), "CHF"), ValueType.MONEY, "3.00 CHF", "3,00 CHF"),
        (date(2026, 12, 1), ValueType.DATE, "1 December 2026", "1er décembre 2026"),
        (1_796_148_000_000_000, ValueType.TIME, "1 December 2026 at 19:00", "1er décembre 2026 à 19:00"),
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
    assert text(made.render(asked)) == "2 December 2026 at 07:00"


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


@pytest.mark.parametrize(
    "source",
    [
        "{{ 'x' * 1000000000 }}",
        "{{ '%1000000000d' % 1 }}",
        "{{ 2 ** 100000 }}",
        "{{ 'x'.center(1000000000) }}",
        "{{ ''.__class__.__mro__ }}",
        "{{ x.__class__ }}",
        "{{ range(100) }}",
        "{{ x | center(1000000000) }}",
        "{% include 'other' %}",
        "{% for a in x %}{% for b in x %}{% for c in x %}{{ x }}{% endfor %}{% endfor %}{% endfor %}",
        "{{ 1 // 0 }}",
        "{% macro m() %}{{ m() }}{% endmacro %}{{ m() }}",
        "   \n ",
    ],
)
def test_no_template_gets_out_of_hand(tmp_path: Path, source: str) -> None:
    made = renderer(tmp_path, offer__en_sms=source)
    assert missing(made.render(wanted(parameters={"x": "secret" * 100})))
    assert "secret" not in missing(made.render(wanted(parameters={"x": "secret" * 100})))


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
