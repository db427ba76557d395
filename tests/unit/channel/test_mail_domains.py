"""Rates by mail domain."""

import pytest

from services.channel.domain.mail_domains import DomainPaces
from services.channel.domain.messages import Wording, accept
from services.channel.domain.rate import Pace
from tests.fakes.channel import make_action

PACES = DomainPaces.read("gmail.com|googlemail.com=20, Orange.fr=0.5,")


@pytest.mark.parametrize(
    ("address", "pace"),
    [
        ("ada@gmail.com", Pace("domain:gmail.com", 20, 20)),
        ("ada@GoogleMail.com", Pace("domain:gmail.com", 20, 20)),
        ("ada@orange.fr", Pace("domain:orange.fr", 0.5, 1)),
        ("ada@mail.orange.fr", None),
        ("ada@example.com", None),
        ("", None),
    ],
)
def test_the_pace_of_a_recipient(address: str, pace: Pace | None) -> None:
    message = accept(make_action(1), "2f0c1a52-9a77-5c2e-8a44-0d9f6b8f1e01", 1)
    assert PACES.lane_of(message) is None
    message.word(Wording(address=address))
    assert PACES.lane_of(message) == pace


@pytest.mark.parametrize("text", ["gmail.com", "a.b=", "a.b=0", "gmail=5", "=5", "a.b=nan", "a.b=1,a.b=2"])
def test_what_is_no_rate(text: str) -> None:
    with pytest.raises(ValueError, match=r"rate|twice"):
        DomainPaces.read(text)
