"""Policies and settings are read, and mistakes in them are told with place and remedy."""

import os
from pathlib import Path

import pytest

from services.channel.adapters.policies.folder import PolicyFolder, load_policies
from services.channel.domain.caps import Reserve, SalesShare
from services.channel.domain.errors import ChannelError, PolicyError
from services.channel.domain.quiet_hours import DayHours, Override, OwnDay, QuietWindow, Week
from services.channel.entrypoints.errors import CHANNEL_ERRORS
from services.channel.settings import ChannelSettings, Peer
from services.runtime.errors import SettingError, unmapped_errors
from services.runtime.settings import Settings
from services.vocabulary.values import DAY, HOUR
from services.vocabulary.words import Category, Channel

RULES = Path(__file__).parents[3] / "rules"
QUIET = "quiet:\n  mon: [21:00-08:00]\n"
CAPS = "caps:\n  day: {most: 1, within: 24h, limits: [sales], counts: [sales]}\n"


def _cap(more: str) -> str:
    return f"caps:\n  day: {{most: 1, within: 24h, limits: [sales], counts: [sales], {more}}}\n"


def folder(path: Path, caps: str = CAPS, quiet: str = QUIET) -> Path:
    (path / "caps.yaml").write_text(caps)
    (path / "quiet_hours.yaml").write_text(quiet)
    return path


def test_the_shipped_policies_are_right() -> None:
    policies = load_policies(RULES / "policies", "Europe/Paris")
    by_name = {cap.name: cap for cap in policies.caps}
    week = by_name["commercial-week"]
    assert (week.most, week.window_micros) == (3, 7 * DAY)
    assert week.limits == {Category.SALES, Category.RETENTION}
    assert by_name["mandatory-repeat"].same_name
    assert by_name["service-sms-week"].channels == {Channel.SMS}
    assert policies.sales_share == SalesShare(0.5, 30 * DAY)
    assert policies.looks_back_micros >= 30 * DAY
    quiet = policies.quiet_hours
    assert quiet.week.windows[5] == (QuietWindow(21 * 60, 9 * 60),)
    assert quiet.channels[Channel.APP] is Override.ALWAYS
    assert quiet.default_zone == "Europe/Paris"


@pytest.mark.parametrize(
    ("caps", "told"),
    [
        (
            "caps:\n  day: {most: one, within: 24h, limits: [sales], counts: [sales]}\n",
            "caps.yaml:2: most is 'one'",
        ),
        ("caps:\n  day: {most: 1, within: soon, limits: [sales], counts: [sales]}\n", "within is 'soon'"),
        (
            "caps:\n  day: {most: 1, within: 24h, limits: [sale], counts: [sales]}\n",
            "'sale' is unknown; use mandatory",
        ),
        ("caps:\n  day: {most: 1, within: 24h, limits: sales, counts: [sales]}\n", "limits is not a list"),
        ("caps:\n  day: {most: 1, within: 24h, limits: [sales]}\n", "caps.yaml:2: cap day has no counts"),
        (
            "caps:\n\n  day: {most: 1, within: 24h, limit: [sales]}\n",
            "caps.yaml:3: 'limit' is unknown; use most",
        ),
        ("caps:\n  day: 3\n", "cap day is not a map"),
        ("cap: {}\n", "caps.yaml:1: 'cap' is unknown; use caps"),
        ("caps: [\n", "caps.yaml:2: is not YAML"),
        ("- 1\n", "is not a map"),
        (
            "caps:\n  day: {most: 1, within: 24h, limits: [sales], counts: [sales], channels: [fax]}\n",
            "'fax' is unknown",
        ),
        (
            "caps:\n  day: {most: 1, within: 24h, limits: [sales], counts: [sales], same_name: 3}\n",
            "same_name is 3",
        ),
        (_cap("topics: roaming"), "caps.yaml:2: topics is not a list of names"),
        (_cap("names: []"), "names is not a list of names"),
        (_cap("scope: flat"), "caps.yaml:2: scope is 'flat'; write person or household"),
        (_cap("reserve: 1"), "caps.yaml:2: reserve does not say"),
        (_cap("reserve: {last: 1}"), "reserve does not say how many of the last slots are kept for whom"),
        (_cap("reserve: {last: 2, from_priority: 80}"), "keeps the last 2 of 1; keep at most 1"),
        (_cap("reserve: {last: 0, from_priority: 80}"), "last is 0; write a whole number from 1"),
        (_cap("reserve: {last: 1, from_priority: high}"), "from_priority is 'high'"),
        (_cap("reserve: {last: 1, categories: [sale]}"), "'sale' is unknown"),
        (_cap("reserve: {last: 1, for: [sales]}"), "'for' is unknown; use last"),
    ],
)
def test_a_mistake_in_caps_is_told_with_its_line(tmp_path: Path, caps: str, told: str) -> None:
    with pytest.raises(PolicyError) as raised:
        load_policies(folder(tmp_path, caps=caps), "UTC")
    assert told in str(raised.value)


@pytest.mark.parametrize(
    ("quiet", "told"),
    [
        (
            "quiet:\n  mon: [21:00-08:00]\n  tues: []\n",
            "quiet_hours.yaml:3: 'tues' is no weekday; use mon, tue",
        ),
        ("quiet:\n  mon: [21-08]\n", "'21-08' is no time of day to another"),
        ("quiet:\n  mon: [25:00-26:00]\n", "is no time of day"),
        ("quiet:\n  mon: [08:00-08:00]\n", "is no time of day"),
        ("quiet:\n  mon: 21:00-08:00\n", "mon is not a list"),
        ("closed: [noday]\n", "'noday' is no weekday"),
        ("channels: {app: sometimes}\n", "app: sometimes is not understood"),
        ("channels: [app]\n", "channels is not a map"),
        ("nights: {}\n", "'nights' is unknown"),
        ("quiet: {daily: open}\n", "daily is not a list; write [21:00-08:00], [] for none, or closed"),
        ("own: {calls: {quiet: {daily: closed}}}\n", "own calls does not say for which messages"),
        ("own: {calls: {channels: [fax]}}\n", "'fax' is unknown"),
        ("holidays: {countries: {FR: []}}\n", "holidays does not say what holds on them"),
        ("holidays: {countries: {QQ: []}, quiet: closed}\n", "of QQ no holidays are known"),
        ("holidays:\n  quiet: closed\n  countries: {DE: [XX]}\n", "hours.yaml:3: of DE-XX no holidays"),
        ("holidays: {countries: {FR: 57}, quiet: closed}\n", "FR has no list of parts; write FR: []"),
        ("holidays: {days: [30-02], quiet: closed}\n", "'30-02' is no day; write 2026-12-24"),
        ("holidays: {days: [12-24], quiet: maybe}\n", "quiet is not a list"),
    ],
)
def test_a_mistake_in_quiet_hours_is_told_with_its_line(tmp_path: Path, quiet: str, told: str) -> None:
    with pytest.raises(PolicyError) as raised:
        load_policies(folder(tmp_path, quiet=quiet), "UTC")
    assert told in str(raised.value)


def test_caps_say_for_what_they_are_and_for_whom_the_last_slots(tmp_path: Path) -> None:
    more = "topics: [roaming], names: [a, b], reserve: {last: 1, from_priority: 80, categories: [service]}"
    more += ", scope: household"
    (cap,) = load_policies(folder(tmp_path, caps=_cap(more)), "UTC").caps
    assert (cap.topics, cap.names) == ({"roaming"}, {"a", "b"})
    assert cap.reserve == Reserve(1, 80, frozenset({Category.SERVICE}))
    assert cap.household


def test_hours_for_some_messages_and_on_holidays(tmp_path: Path) -> None:
    text = """
quiet: {daily: [21:00-08:00], sat: [], sun: closed}
closed: [mon]
own:
  calls: {channels: [call], categories: [sales], quiet: {daily: [20:00-10:00]}}
  surveys: {categories: [survey], quiet: {daily: closed}, holidays: like others}
  mail: {channels: [email], holidays: [18:00-24:00]}
holidays: {countries: {FR: [57], US: []}, days: [12-24, 2026-12-31], quiet: closed}
"""
    quiet = load_policies(folder(tmp_path, quiet=text), "UTC").quiet_hours
    night = (QuietWindow(1260, 480),)
    assert quiet.week == Week(
        (night, night, night, night, night, (), ()), frozenset({0, 6}), DayHours(closed=True)
    )
    assert quiet.holidays.countries == {"FR": ("57",), "US": ()}
    assert quiet.holidays.own == {OwnDay(12, 24), OwnDay(12, 31, 2026)}
    calls, surveys, mail = quiet.own
    assert calls.fits(Channel.CALL, Category.SALES)
    assert not calls.fits(Channel.CALL, Category.SERVICE)
    assert (calls.week.holiday, surveys.week.holiday) == (DayHours(closed=True), None)
    assert mail.week.holiday == DayHours((QuietWindow(1080, 1440),))
    assert surveys.week.closed == frozenset(range(7))


def test_the_shipped_law_names_its_sources_and_is_read_as_written() -> None:
    law = load_policies(RULES / "policies", "Europe/Paris", country="FR").quiet_hours.law
    us = next(one for one in law if one.country == "US")
    assert us.source.startswith("47 CFR 64.1200(c)(1)")
    assert us.hours.fits(Channel.SMS, Category.SALES)
    assert us.hours.week == Week(((QuietWindow(0, 480), QuietWindow(1260, 1440)),) * 7)
    french = next(one for one in law if (one.country, one.hours.channels) == ("FR", {Channel.CALL}))
    assert french.hours.week.closed == {5, 6}
    assert french.hours.week.windows[0] == (
        QuietWindow(0, 600),
        QuietWindow(780, 840),
        QuietWindow(1200, 1440),
    )
    assert french.hours.week.holiday == DayHours(closed=True)
    assert all(one.source and one.hours.categories for one in law)


LAW = "countries: [FR], source: s, looked_up: 2026-11-22, channels: [call], categories: [sales]"


@pytest.mark.parametrize(
    ("law", "told"),
    [
        ("law:\n  x: {countries: [FR]}\n", "law.yaml:2: law x has no source"),
        (f"law:\n  x: {{{LAW}}}\n", "law x has no allowed"),
        (f"law:\n  x: {{{LAW}, allowed: {{daily: [22:00-08:00]}}}}\n", "daily has hours that overlap or run"),
        (f"law:\n  x: {{{LAW}, allowed: {{daily: [08:00-12:00, 11:00-13:00]}}}}\n", "hours that overlap"),
        (f"law:\n  x: {{{LAW.replace('FR', 'QQ')}, allowed: {{daily: []}}}}\n", "'QQ' is no country"),
        (
            f"law:\n  x: {{{LAW.replace('2026-11-22', 'now')}, allowed: {{daily: []}}}}\n",
            "looked_up is 'now'",
        ),
        (f"law:\n  x: {{{LAW}, allowed: {{daily: []}}, hours: 3}}\n", "'hours' is unknown; use countries"),
        ("law: [x]\n", "law is not a map"),
        ("laws: {}\n", "'laws' is unknown; use law"),
    ],
)
def test_a_mistake_in_the_law_is_told_with_its_line(tmp_path: Path, law: str, told: str) -> None:
    (folder(tmp_path) / "law.yaml").write_text(law)
    with pytest.raises(PolicyError) as raised:
        load_policies(tmp_path, "UTC")
    assert told in str(raised.value)


def test_a_missing_file_is_a_mistake(tmp_path: Path) -> None:
    with pytest.raises(PolicyError, match="cannot be read"):
        load_policies(tmp_path, "UTC")


def test_changed_policies_come_into_force_and_a_mistake_leaves_the_old_ones(tmp_path: Path) -> None:
    policies = PolicyFolder(folder(tmp_path), "UTC")
    assert not policies.refresh()
    (tmp_path / "caps.yaml").write_text(CAPS.replace("24h", "1h"))
    assert policies.refresh()
    assert policies.current().caps[0].window_micros == HOUR
    (tmp_path / "caps.yaml").write_text("caps: 3\n")
    os.utime(tmp_path / "caps.yaml", ns=(1, 1))
    with pytest.raises(PolicyError):
        policies.refresh()
    assert policies.current().caps[0].window_micros == HOUR
    assert not policies.refresh()  # told once


def test_the_share_of_sales_comes_from_the_policy_of_arbitration(tmp_path: Path) -> None:
    policies = PolicyFolder(folder(tmp_path), "UTC")
    assert policies.current().sales_share is None
    file = tmp_path / "arbitration.yaml"
    file.write_text("propensity: {offers: {nobody-knows: 0.5}}\nsales_share: {most: 0.2, within: 90d}\n")
    assert policies.refresh()
    assert policies.current().sales_share == SalesShare(0.2, 90 * DAY)
    assert policies.current().looks_back_micros == 90 * DAY
    assert policies.texts({})["arbitration.yaml"] == file.read_text()
    assert "arbitration.yaml" in policies.digests()
    file.write_text("pressure: {weight: heavy}\nsales_share: {most: 50, within: 90d}\n")
    told = (
        "policies/arbitration.yaml:1: pressure.weight must be a number; write it without quotes: 0.5; "
        "policies/arbitration.yaml:2: sales_share.most is 50; write a number above 0 and at most 1"
    )
    with pytest.raises(PolicyError) as error:
        policies.refresh()
    assert str(error.value) == told
    assert policies.current().sales_share == SalesShare(0.2, 90 * DAY)


def test_every_error_is_told_to_callers_in_its_own_way() -> None:
    assert unmapped_errors(ChannelError, CHANNEL_ERRORS) == []


def settings(**extra: str) -> Settings:
    environment = {f"RAPPORT_{name.upper()}": value for name, value in extra.items()}
    return Settings.from_environment("channel", "worker", environment)


def test_settings_name_the_providers(tmp_path: Path) -> None:
    secret = tmp_path / "secret"
    secret.write_text("s3cret\n")
    own = ChannelSettings.of(
        settings(
            smsc="127.0.0.1:2775",
            smsc_system_id="rapport",
            smsc_password_file=str(secret),
            sms_per_second="50",
        )
    )
    assert own.smsc == Peer("127.0.0.1", 2775)
    assert (own.smsc_password, own.sms_per_second, own.email_per_second) == ("s3cret", 50, 0)
    assert "s3cret" not in repr(own)
    assert ChannelSettings.of(settings()).smsc is None


@pytest.mark.parametrize(
    "extra",
    [
        {"smsc": "here"},
        {"smsc": "h:0"},
        {"smsc": "h:1"},
        {"sms_per_second": "-1"},
        {"smsc": "h:1", "smsc_system_id": "x", "providers_file": "/etc/providers.yaml"},
    ],
)
def test_wrong_settings_are_told(extra: dict[str, str]) -> None:
    with pytest.raises(SettingError):
        ChannelSettings.of(settings(**extra))
