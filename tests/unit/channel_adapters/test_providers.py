"""The providers file: what it says, and mistakes that say where they are."""

import re
from pathlib import Path

import pytest

from services.channel.adapters.providers import read_providers
from services.channel.adapters.smpp_delivered import Dialect, ReceiptIds
from services.channel.adapters.smpp_senders import CountrySender, Numbering, Senders
from services.channel.adapters.smpp_texts import Alphabet
from services.channel.domain.errors import PolicyError
from services.channel.settings import ChannelSettings
from services.channel.sms_parts import sms_transport
from services.runtime.errors import SettingError
from tests.fakes.trust import trust

WHOLE = """\
failover: {refuses_for: 10s, return_after: 2m}
senders:
  default: Rapport
  number: "+33700900100"
  countries:
    US: {letters: false, number: "+12025550123"}
    FR: {sender: "38080"}
    CA: {letters: false}
smscs:
  north:
    address: smsc.north.example:2775
    system_id: rapport
    password_file: north
    system_type: VMA
    bind: transmitter+receiver
    binds: 3
    window: 20
    enquire_link: 30s
    priority: 1
    per_second: 200
    numbering: {number: 1/1, short: 0/1, letters: 5/0, destination: 1/1}
    alphabet: latin-1
    receipt_ids: decimal
    country: FR
    long_texts: payload
    reference_bits: 16
    reference_tag: 0x1402
  south:
    address: "[::1]:2776"
    system_id: r
    password_file: south
    priority: 2
    tls: {server_name: smsc.south.example}
    senders: {default: "38081"}
"""
SHORT = """\
smscs:
  north:
    address: h:1
    system_id: x
    password_file: north
"""


@pytest.fixture
def place(tmp_path: Path) -> Path:
    (tmp_path / "north").write_text("secret12\n")
    (tmp_path / "south").write_text("other")
    return tmp_path / "providers.yaml"


def test_all_that_can_be_said(place: Path) -> None:
    place.write_text(WHOLE)
    told = read_providers(place)
    north, south = told.smscs
    assert (told.patience.refuses_for, told.patience.return_after) == (10.0, 120.0)
    assert (north.name, north.host, north.port) == ("north", "smsc.north.example", 2775)
    assert (north.system_id, north.password, north.system_type) == ("rapport", "secret12", "VMA")
    assert (north.transceiver, north.binds, north.priority, north.per_second) == (False, 3, 1, 200)
    assert (north.limits.window, north.limits.idle, north.reference_tag) == (20, 30.0, 0x1402)
    assert (north.tls, north.sender) == (None, "Rapport")
    assert north.dialect == Dialect(Alphabet.LATIN_1, ReceiptIds.DECIMAL, "FR")
    assert north.rules.numbering == Numbering(short=(0, 1))
    assert (north.rules.wide_reference, north.rules.payload) == (True, True)
    assert north.rules.senders == Senders(
        "+33700900100",
        {
            "US": CountrySender(letters=False, number="+12025550123"),
            "FR": CountrySender(sender="38080"),
            "CA": CountrySender(letters=False),
        },
    )
    assert (south.host, south.port, south.password, south.priority) == ("::1", 2776, "other", 2)
    assert south.tls is not None
    assert (south.transceiver, south.server_name, south.sender) == (True, "smsc.south.example", "38081")
    assert south.rules.senders == Senders()
    assert "secret12" not in repr(north)


@pytest.mark.parametrize(
    ("text", "line", "told"),
    [
        ("smscs: {}\n", 1, "at least one SMSC"),
        ("smsc: {}\n", 1, "'smsc' is unknown"),
        (SHORT.replace("north:", "North 1:", 1), 2, "is called"),
        (SHORT.replace("h:1", "h"), 3, "host:port"),
        (SHORT.replace("    system_id: x\n", ""), 2, "has no system_id"),
        (SHORT.replace("password_file: north", "password_file: nowhere"), 5, "not there"),
        (SHORT.replace("password_file: north", "password: north"), 5, "'password' is unknown"),
        (SHORT + "    binds: 0\n", 6, "from 1 to 64"),
        (SHORT + "    window: many\n", 6, "whole number"),
        (SHORT + "    bind: both\n", 6, "transceiver or transmitter+receiver"),
        (SHORT + "    enquire_link: 100ms\n", 6, "15s"),
        (SHORT + "    alphabet: utf-8\n", 6, "gsm or gsm-packed or latin-1"),
        (SHORT + "    receipt_ids: octal\n", 6, "same or decimal or hex"),
        (SHORT + "    numbering: {number: e164}\n", 6, "type/plan"),
        (SHORT + "    country: Gallia\n", 6, "ISO 3166"),
        (SHORT + "    reference_tag: 0x99\n", 6, "0x1400"),
        (SHORT + "    tls: {ca_file: north}\n", 6, "PEM"),
        (SHORT + "    tls: {key_file: north}\n", 6, "name both"),
        (SHORT + "    senders: {default: Far too long a name}\n", 6, "1 to 11 letters"),
        ("senders:\n  countries:\n    US: {letters: false}\n" + SHORT, 3, "name a number"),
        ("senders:\n  countries:\n    US: {letters: false, sender: Bank}\n" + SHORT, 3, "name a number"),
        ("senders:\n  number: Bank\n" + SHORT, 2, "E.164"),
        ("failover: {return_after: soon}\n" + SHORT, 1, "15s"),
        ("smscs: [north]\n", 1, "not a map"),
        ("smscs: {\n", 2, "not YAML"),
    ],
)
def test_mistakes_say_where_they_are(place: Path, text: str, line: int, told: str) -> None:
    place.write_text(text)
    with pytest.raises(PolicyError, match=re.escape(told)) as caught:
        read_providers(place)
    assert f"{place.parent.name}/providers.yaml:{line}: " in str(caught.value)
    assert "secret12" not in str(caught.value)


def test_the_setting_names_the_file(place: Path) -> None:
    place.write_text(WHOLE)
    transport = sms_transport(ChannelSettings(providers_file=str(place)))
    assert transport is not None
    assert transport.provider == "north"
    place.write_text("smscs: {}\n")
    with pytest.raises(SettingError, match=r"providers\.yaml:1"):
        sms_transport(ChannelSettings(providers_file=str(place)))
    assert sms_transport(ChannelSettings()) is None


def test_the_documented_example_is_read(place: Path) -> None:
    documented = Path(__file__).parents[3] / "docs" / "sms.md"
    example = documented.read_text(encoding="utf-8").partition("```yaml\n")[2].partition("```")[0]
    place.write_text(example)
    files = trust().certificate("channel")
    for name, held in {
        "north-password": b"secret12",
        "south-password": b"other",
        "north-ca.pem": files.authority.read_bytes(),
        "our.pem": files.chain.read_bytes(),
        "our.key": files.key.read_bytes(),
    }.items():
        (place.parent / name).write_bytes(held)
    told = read_providers(place)
    assert [(smsc.name, smsc.priority, smsc.tls is not None) for smsc in told.smscs] == [
        ("north", 1, True),
        ("south", 2, False),
    ]
