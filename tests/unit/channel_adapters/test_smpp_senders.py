"""Who text messages are from, by the country of the recipient."""

import csv
from pathlib import Path

import pytest

from services.channel.adapters.smpp_senders import CountrySender, Numbering, Senders, country_of, source_of

NUMBERS = Path(__file__).parents[4] / "shared" / "data" / "sms" / "e164_numbers.csv"
SENDERS = Senders(
    "+33700900100",
    {
        "US": CountrySender(letters=False, number="+12025550123"),
        "CA": CountrySender(letters=False),
        "FR": CountrySender(sender="38080"),
        "IT": CountrySender(sender="Telefono"),
    },
)


@pytest.mark.parametrize(
    ("address", "wanted", "sender"),
    [
        ("+12025550199", "", "+12025550123"),
        ("+12025550199", "Shop", "+12025550123"),
        ("+12025550199", "90210", "90210"),
        ("+14165550199", "", "+33700900100"),
        ("+33612345678", "", "38080"),
        ("+33612345678", "Shop", "Shop"),
        ("+393123456789", "", "Telefono"),
        ("+4915112345678", "", "Rapport"),
        ("+870773111632", "", "Rapport"),
    ],
)
def test_senders_by_country(address: str, wanted: str, sender: str) -> None:
    assert SENDERS.sender(wanted, "Rapport", address) == sender


def test_letters_without_a_number_are_not_sent() -> None:
    senders = Senders("", {"US": CountrySender(letters=False)})
    assert senders.sender("", "Rapport", "+12025550199") is None
    assert senders.sender("", "", "+12025550199") == ""


def test_published_numbers_lie_in_their_countries() -> None:
    if not NUMBERS.exists():
        pytest.skip("the published numbers are not on this machine")
    with NUMBERS.open(encoding="utf-8") as file:
        mobiles = [
            row for row in csv.DictReader(file) if row["actual_type"] == "MOBILE" and row["is_valid"] == "1"
        ]
    assert len(mobiles) > 100
    assert {row["e164"] for row in mobiles if country_of(row["e164"]) != row["region"]} <= _SHARED


_SHARED = {"+61412345678", "+393123456789", "+447924123456", "+358412345678", "+212650123456"}
"""Mobile numbers that two countries share (Italy and the Vatican, Finland and Åland …)."""


@pytest.mark.parametrize(
    ("sender", "source"),
    [
        ("+33612345678", ("33612345678", 1, 1)),
        ("38080", ("38080", 0, 1)),
        ("Rapport", ("Rapport", 5, 0)),
        ("", ("", 0, 0)),
        ("Opé", None),
        ("twelve chars", None),
    ],
)
def test_addresses_are_typed_as_agreed(sender: str, source: tuple[str, int, int] | None) -> None:
    assert source_of(sender, Numbering(short=(0, 1))) == source
