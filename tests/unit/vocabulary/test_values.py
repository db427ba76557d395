"""Values: JSON becomes exactly what the catalogue says, or an error that says what would be right."""

from datetime import UTC, date, datetime
from decimal import Decimal

import pytest
from hypothesis import given
from hypothesis import strategies as st

from services.vocabulary.values import (
    DAY,
    HOUR,
    MINUTE,
    Money,
    ValueMistake,
    ValueType,
    format_duration,
    format_time,
    micros_to_time,
    parse_date,
    parse_duration,
    parse_money,
    parse_time,
    time_to_micros,
    to_json,
    value_check,
    zone,
)

EUR_12_50 = {"amount": "12.50", "currency": "EUR"}


@pytest.mark.parametrize(
    ("value_type", "raw", "value"),
    [
        (ValueType.TEXT, "coverage", "coverage"),
        (ValueType.TEXT, "", ""),
        (ValueType.INT, 3, 3),
        (ValueType.INT, 3.0, 3),
        (ValueType.INT, -3, -3),
        (ValueType.NUMBER, 120.5, 120.5),
        (ValueType.NUMBER, 7, 7.0),
        (ValueType.MONEY, EUR_12_50, Money(Decimal("12.50"), "EUR")),
        (ValueType.MONEY, {"amount": "-3", "currency": "USD"}, Money(Decimal(-3), "USD")),
        (ValueType.BOOL, True, True),
        (ValueType.BOOL, False, False),
        (ValueType.TIME, "1970-01-01T00:00:01Z", 1_000_000),
        (ValueType.TIME, "1970-01-01T02:00:00.000001+02:00", 1),
        (ValueType.DATE, "2026-11-02", date(2026, 11, 2)),
        (ValueType.DURATION, "24h", 24 * HOUR),
        (ValueType.LIST, ["a", "b"], ("a", "b")),
        (ValueType.LIST, [], ()),
    ],
)
def test_json_that_fits_becomes_a_value_of_the_type(value_type, raw, value):
    found = value_check(value_type)(raw)
    assert found == value
    assert type(found) is type(value)


@pytest.mark.parametrize(
    ("value_type", "raw"),
    [
        (ValueType.TEXT, 3),
        (ValueType.TEXT, ["a"]),
        (ValueType.TEXT, "a\0b"),
        (ValueType.INT, "3"),
        (ValueType.INT, 3.5),
        (ValueType.INT, True),
        (ValueType.INT, 2**63),
        (ValueType.INT, 1e300),
        (ValueType.NUMBER, "120.5"),
        (ValueType.NUMBER, False),
        (ValueType.NUMBER, float("nan")),
        (ValueType.NUMBER, float("inf")),
        (ValueType.NUMBER, 10**400),
        (ValueType.MONEY, 12.5),
        (ValueType.MONEY, "12.50 EUR"),
        (ValueType.MONEY, {"amount": 12.5, "currency": "EUR"}),
        (ValueType.MONEY, {"amount": "12.50"}),
        (ValueType.MONEY, {"amount": "1e3", "currency": "EUR"}),
        (ValueType.MONEY, {"amount": "12.50", "currency": "euro"}),
        (ValueType.MONEY, EUR_12_50 | {"tax": "0"}),
        (ValueType.BOOL, 1),
        (ValueType.BOOL, "true"),
        (ValueType.TIME, "2026-11-02T08:15:00"),
        (ValueType.TIME, "2026-11-02"),
        (ValueType.TIME, "2026-13-02T08:15:00Z"),
        (ValueType.TIME, "20261102T081500Z"),
        (ValueType.TIME, 1_730_000_000),
        (ValueType.DATE, "2026-02-29"),
        (ValueType.DATE, "2026-11-02T00:00:00Z"),
        (ValueType.DURATION, "24"),
        (ValueType.DURATION, "soon"),
        (ValueType.LIST, "a"),
        (ValueType.LIST, ["a", 1]),
    ],
)
def test_json_that_does_not_fit_is_refused_with_what_would_be_right(value_type, raw):
    with pytest.raises(ValueMistake) as caught:
        value_check(value_type)(raw)
    assert caught.value.suggestion


def test_an_enum_takes_its_words_only():
    check = value_check(ValueType.ENUM, enum=("yes", "no"))
    assert check("no") == "no"
    for raw in ("maybe", "NO", 1, None, ["no"]):
        with pytest.raises(ValueMistake, match="none of the words"):
            check(raw)


def test_bounds_are_included():
    check = value_check(ValueType.NUMBER, least=0, most=100)
    assert check(0) == 0
    assert check(100) == 100
    for raw in (-0.1, 100.1):
        with pytest.raises(ValueMistake) as caught:
            check(raw)
        assert caught.value.suggestion == "send a number of at least 0 and at most 100"


@pytest.mark.parametrize(
    ("name", "right", "wrong"),
    [
        ("zone", "America/Argentina/Buenos_Aires", "Mars/Olympus"),
        ("zone", "UTC", "../../etc/passwd"),
        ("zone", "Europe/Paris", "Europe"),
        ("cycle", "2026-11", "2026-13"),
        ("country", "ES", "Spain"),
        ("language", "fr-CA", "French"),
    ],
)
def test_a_text_can_be_held_to_a_shape(name, right, wrong):
    check = value_check(ValueType.TEXT, text_format=name)
    assert check(right) == right
    with pytest.raises(ValueMistake, match=f"is not a (time )?{name}"):
        check(wrong)


def test_a_zone_is_found_once_and_an_unknown_one_is_refused():
    assert zone("Europe/Paris").key == "Europe/Paris"
    with pytest.raises(ValueMistake, match="IANA"):
        zone("Paris")


@pytest.mark.parametrize(
    ("text", "micros"),
    [
        ("45s", 45_000_000),
        ("30m", 30 * MINUTE),
        ("24h", DAY),
        ("7d", 7 * DAY),
        ("2w", 14 * DAY),
        (" 48h ", 2 * DAY),
    ],
)
def test_lengths_of_time_are_read(text, micros):
    assert parse_duration(text) == micros


@pytest.mark.parametrize(
    "text", ["", "7", "d", "-7d", "1.5h", "7 days", "6 cycles", "1M", "36526d", "999999999w"]
)
def test_what_is_no_length_of_time_is_refused(text):
    with pytest.raises(ValueMistake):
        parse_duration(text)


@given(st.integers(min_value=0, max_value=10**9 - 1))
def test_a_length_of_time_is_read_back_as_written(seconds):
    assert parse_duration(format_duration(seconds * 1_000_000)) == seconds * 1_000_000


@given(
    st.datetimes(
        min_value=datetime(1900, 1, 1),  # noqa: DTZ001 - the zone is given beside it
        max_value=datetime(2200, 1, 1),  # noqa: DTZ001
        timezones=st.just(UTC),
    )
)
def test_a_time_is_exact_to_the_microsecond(moment):
    micros = time_to_micros(moment)
    assert micros_to_time(micros) == moment
    assert parse_time(format_time(micros)) == micros


def test_digits_past_the_microsecond_are_cut_off():
    assert parse_time("1970-01-01T00:00:00.123456789Z") == 123_456


def test_a_day_is_read():
    assert parse_date("2028-02-29") == date(2028, 2, 29)


def test_money_as_written_in_rule_sets():
    assert parse_money("15000 EUR") == Money(Decimal(15000), "EUR")
    assert str(parse_money("3.50 EUR")) == "3.50 EUR"
    for text in ("15000", "EUR 15000", "15,000 EUR", "15 Euro"):
        with pytest.raises(ValueMistake):
            parse_money(text)


@pytest.mark.parametrize(
    ("value_type", "raw"),
    [
        (ValueType.TEXT, "coverage"),
        (ValueType.INT, 3),
        (ValueType.NUMBER, 120.5),
        (ValueType.MONEY, EUR_12_50),
        (ValueType.BOOL, True),
        (ValueType.TIME, "2026-11-02T08:15:00Z"),
        (ValueType.DATE, "2026-11-02"),
        (ValueType.DURATION, "90m"),
        (ValueType.LIST, ["a", "b"]),
    ],
)
def test_a_value_becomes_the_json_it_came_from(value_type, raw):
    assert to_json(value_check(value_type)(raw), value_type) == raw


def test_traits_by_name_become_json():
    assert to_json({"plan": "m-20gb", "zone": None}) == {"plan": "m-20gb", "zone": None}
