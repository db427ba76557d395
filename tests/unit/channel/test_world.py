"""Whose country, and which days are holidays there."""

from datetime import date

import pytest

from services.channel.adapters.policies.world import KnownWorld, has_holidays, is_country


@pytest.mark.parametrize(
    ("address", "zone", "country"),
    [
        ("+33600000001", "Asia/Tokyo", "FR"),
        ("+12125550123", "", "US"),
        ("+14165550123", "", "CA"),
        ("+447400123456", "", "GB"),
        ("+447781123456", "", "GG"),
        ("+262692123456", "", "RE"),
        ("+262639012345", "", "YT"),
        ("+393123456789", "", "IT"),
        ("+1", "", "US"),
        ("+88216123456", "Asia/Tokyo", "JP"),  # a satellite's code is no country's
        ("+999123", "Asia/Tokyo", "JP"),
        ("anna@example.org", "Asia/Tokyo", "JP"),
        ("", "Asia/Calcutta", "IN"),  # an old name
        ("", "Europe/Amsterdam", "NL"),  # tzdata links it to Brussels, zone.tab does not
        ("", "UTC", "CH"),
        ("+x", "", "CH"),
    ],
)
def test_the_country_is_that_of_the_number_then_of_the_zone_then_the_operators(
    address: str, zone: str, country: str
) -> None:
    world = KnownWorld("CH")
    assert world.country_of(address, zone) == country
    assert world.country_of(address, zone) == country  # as remembered
    assert KnownWorld().country_of("", "UTC") == ""


def test_public_holidays_of_countries_and_of_their_parts() -> None:
    world = KnownWorld()
    assert world.is_holiday("FR", "", date(2026, 7, 14))
    assert not world.is_holiday("FR", "", date(2026, 7, 15))
    assert world.is_holiday("FR", "", date(2027, 5, 6))  # Ascension Day, which moves
    assert world.is_holiday("FR", "57", date(2026, 12, 26))  # in the Moselle only
    assert not world.is_holiday("FR", "", date(2026, 12, 26))
    assert not world.is_holiday("QQ", "", date(2026, 12, 25))


def test_what_is_not_known_is_told() -> None:
    assert has_holidays("DE", "BY")
    assert not has_holidays("DE", "XX")
    assert not has_holidays("QQ")
    assert is_country("FR")
    assert not is_country("QQ")
