"""Values as people write them, in any language: filters for authors, plural forms, lists."""

from datetime import date
from decimal import Decimal
from pathlib import Path
from typing import Any

import pytest

from services.channel.adapters.templating.locales import plural_forms
from services.channel.adapters.templating.wording import Words
from services.vocabulary.values import DAY, HOUR, MINUTE, Money, Value, ValueType
from services.vocabulary.words import Channel
from tests.unit.channel_adapters.template_making import filled, missing, renderer, text, wanted

EVENING = 1_796_148_000_000_000
"""1 December 2026, 19:00 in Paris."""
TYPES = {"eta": ValueType.TIME, "day": ValueType.DATE, "price": ValueType.MONEY, "left": ValueType.DURATION}
VALUES: dict[str, Value] = {
    "eta": EVENING,
    "day": date(2026, 12, 2),
    "price": Money(Decimal("1234.5"), "EUR"),
    "left": 3 * DAY,
    "gb": 2,
    "share": 0.256,
    "big": 12345.6,
    "names": ("Ada", "Bo", "Cy"),
}


@pytest.mark.parametrize(
    ("source", "said"),
    [
        ("{{ day | date('short') }}", "12/2/26"),
        ("{{ day | date('full') }}", "Wednesday, December 2, 2026"),
        ("{{ eta | date }}", "December 1, 2026"),
        ("{{ eta | time }}", "7:00 PM"),
        ("{{ price | money }}", "€1,234.50"),
        ("{{ 5 | money('eur') }}", "€5.00"),
        ("{{ big }} {{ big | number }} {{ big | number(0) }}", "12345.6 12,345.6 12,346"),
        ("{{ share | percent }} {{ share | percent(1) }}", "26% 25.6%"),
        ("{{ left | duration }}", "3 days"),
        ("{{ names }}; {{ names | list('or') }}", "Ada, Bo, and Cy; Ada, Bo, or Cy"),
        ("{{ gb | plural(one='# gig', other='# gigs') }}", "2 gigs"),
        ("{{ big | round }}", "12346"),
        ("{{ nobody | default('you') }}", "you"),
        ("{{ names | first }} {{ names | length }} {{ names | join('+') }}", "Ada 3 Ada+Bo+Cy"),
        ("{{ 'a-b' | replace('-', '+') | upper }}", "A+B"),
    ],
)
def test_filters_say_values_in_other_ways(tmp_path: Path, source: str, said: str) -> None:
    assert text(filled(tmp_path, source, VALUES, types=TYPES)) == said


@pytest.mark.parametrize(
    ("source", "right"),
    [
        ("{{ gb | date }}", "type time"),
        ("{{ gb | money }}", "money('EUR')"),
        ("{{ names | number }}", "number"),
        ("{{ day | date('huge') }}", "short, medium, long, full"),
        ("{{ gb | duration }}", "type duration"),
        ("{{ nothing | money }}", "'nothing'"),
        ("{{ big | round(99) }}", "0 to 10"),
    ],
)
def test_a_filter_on_the_wrong_value_says_what_it_needs(tmp_path: Path, source: str, right: str) -> None:
    assert right in missing(filled(tmp_path, source, VALUES, types=TYPES))


def test_arabic_has_six_plural_forms() -> None:
    words = Words("ar-EG", "Africa/Cairo")
    assert plural_forms("ar") == ("zero", "one", "two", "few", "many", "other")
    said = {count: words.plural(count) for count in (0, 1, 2, 3, 11, 100)}
    assert said == {0: "zero", 1: "one", 2: "two", 3: "few", 11: "many", 100: "other"}


@pytest.mark.parametrize(("count", "said"), [(1, "1 день"), (3, "3 дня"), (5, "5 дней"), (21, "21 день")])
def test_the_form_follows_the_rules_of_the_language(tmp_path: Path, count: int, said: str) -> None:
    source = "{{ n | plural(one='# день', few='# дня', many='# дней', other='# дня') }}"
    made = renderer(tmp_path, offer__ru_app=source)
    assert text(made.render(wanted(Channel.APP, "ru", parameters={"n": count}))) == said


def test_a_form_that_the_author_left_out_falls_back_to_other(tmp_path: Path) -> None:
    made = renderer(tmp_path, offer__ru_app="{{ n | plural(one='# one', other='# other') }}")
    assert text(made.render(wanted(Channel.APP, "ru", parameters={"n": 5}))) == "5 other"


def test_the_region_of_the_customer_decides_how_the_language_writes(tmp_path: Path) -> None:
    asked: dict[str, Any] = {"parameters": {"day": date(2026, 12, 2)}, "types": {"day": ValueType.DATE}}
    made = renderer(tmp_path, offer__en_app="{{ day }}", offer__fr_app="{{ day }}")
    assert text(made.render(wanted(Channel.APP, "en-GB", **asked))) == "2 December 2026"
    assert text(made.render(wanted(Channel.APP, "en-US", **asked))) == "December 2, 2026"
    # who reads the default language reads its dates
    assert text(made.render(wanted(Channel.APP, "de", **asked))) == "December 2, 2026"
    assert text(made.render(wanted(Channel.APP, "xx-YY", **asked))) == "December 2, 2026"


def test_blanks_that_cost_an_sms_half_its_room_become_plain_ones(tmp_path: Path) -> None:
    source = "{{ price }} {{ eta | time }}\xa0{{ big | number }}"
    asked: dict[str, Any] = {"parameters": VALUES, "types": TYPES}
    made = renderer(tmp_path, offer__fr_sms=source, offer__fr_app=source)
    assert text(made.render(wanted(Channel.SMS, "fr", **asked))) == "1 234,50 € 19:00 12 345,6"
    assert text(made.render(wanted(Channel.APP, "fr", **asked))) == (
        "1\u202f234,50\xa0€ 19:00\xa012\u202f345,6"
    )


def test_right_to_left_marks_of_amounts_stay() -> None:
    assert Words("ar", "UTC").money(Money(Decimal(5), "EUR")).startswith("\u200f")


@pytest.mark.parametrize(
    ("tag", "micros", "said"),
    [
        ("pt-BR", 2 * DAY, "2 dias"),
        ("zh-Hant", 2 * DAY, "2 天"),
        ("ar", 2 * DAY, "يومان"),
        ("en", 90 * MINUTE, "90 minutes"),
        ("en", HOUR, "1 hour"),
        ("en", 45_000_000, "45 seconds"),
        ("en", 0, "0 minutes"),
        ("klingon", HOUR, "1 hour"),
    ],
)
def test_lengths_of_time_are_said_in_every_language(tag: str, micros: int, said: str) -> None:
    assert Words(tag, "UTC").duration(micros) == said


def test_a_moment_beyond_the_calendar_is_not_said(tmp_path: Path) -> None:
    answer = filled(tmp_path, "x{{ eta }}", {"eta": 10**18}, types=TYPES)
    assert text(answer) == "x"
