"""What libraries know of countries: numbers, zones, public holidays."""

from collections.abc import Collection, Sequence
from datetime import date
from functools import lru_cache
from importlib import resources

import holidays
import phonenumbers

_NUMBER_PREFIX = 6
"""So many digits after the country's code tell which of several countries a number belongs to."""
_SOME_YEAR = 2026
NOT_A_COUNTRY = "001"
"""How phonenumbers calls codes that belong to no country (satellites)."""


class KnownWorld:
    """Numbers by phonenumbers, zones by tzdata's zone.tab, days by holidays; the operator's country else."""

    def __init__(self, home: str = "") -> None:
        self._home = home

    def country_of(self, address: str, zone: str) -> str:
        """From an E.164 number, else from the zone, else the operator's; empty: nobody said."""
        found = _country_of_number(address) if address.startswith("+") else ""
        return found or _zones().get(zone, "") or self._home

    def is_holiday(self, country: str, subdivision: str, day: date) -> bool:
        """Whether it is one there; of a country without known holidays no day is."""
        return day in _days(country, subdivision, day.year)

    def __eq__(self, other: object) -> bool:
        return isinstance(other, KnownWorld) and other._home == self._home

    def __hash__(self) -> int:
        return hash(self._home)


def has_holidays(country: str, subdivision: str = "") -> bool:
    """Whether the holidays of that country, and of that part of it, are known; loads them."""
    known = _supported()
    if country not in known or (subdivision and subdivision not in known[country]):
        return False
    _days(country, subdivision, _SOME_YEAR)
    return True


def is_country(code: str) -> bool:
    """Whether there is a country of that ISO 3166-1 code with numbers or zones of its own."""
    return code in phonenumbers.SUPPORTED_REGIONS or code in _zones().values()


@lru_cache(maxsize=1)
def _supported() -> dict[str, Collection[str]]:
    return {code: frozenset(parts) for code, parts in holidays.list_supported_countries().items()}


@lru_cache(maxsize=4096)
def _days(country: str, subdivision: str, year: int) -> frozenset[date]:
    if country not in _supported():
        return frozenset()
    return frozenset(holidays.country_holidays(country, subdiv=subdivision or None, years=year))


def _country_of_number(number: str) -> str:
    digits = number[1:]
    if not digits.isdecimal():
        return ""
    for length in (1, 2, 3):
        regions = phonenumbers.COUNTRY_CODE_TO_REGION_CODE.get(int(digits[:length]))
        if regions is not None:
            if regions[0] == NOT_A_COUNTRY:
                return ""
            return regions[0] if len(regions) == 1 else _among(regions, digits, length)
    return ""


_PREFIXES: dict[str, str] = {}
_MOST_PREFIXES = 20_000


def _among(regions: Sequence[str], digits: str, length: int) -> str:
    """Which of the countries that share a code; of the numbers only their beginnings are remembered."""
    prefix = digits[: length + _NUMBER_PREFIX]
    found = _PREFIXES.get(prefix)
    if found is not None:
        return found
    number = phonenumbers.PhoneNumber(int(digits[:length]), int(digits[length:] or 0))
    region: str | None = phonenumbers.region_code_for_number(number)
    if region is None:
        return regions[0]
    if len(_PREFIXES) >= _MOST_PREFIXES:
        _PREFIXES.clear()
    _PREFIXES[prefix] = region
    return region


@lru_cache(maxsize=1)
def _zones() -> dict[str, str]:
    """Country of each zone, by all its names: zone.tab, then the links of tzdata.zi."""
    folder = resources.files("tzdata") / "zoneinfo"
    countries: dict[str, str] = {}
    for line in (folder / "zone.tab").read_text(encoding="utf-8").splitlines():
        if not line.startswith("#"):
            code, _, zone = line.split("\t")[:3]
            countries[zone] = code
    for line in (folder / "tzdata.zi").read_text(encoding="utf-8").splitlines():
        if line.startswith("L "):
            _, target, name = line.split()
            if target in countries:
                countries.setdefault(name, countries[target])
    return countries
