"""Policies and settings are read, and mistakes in them are told with place and remedy."""

import os
from pathlib import Path

import pytest

from services.channel.adapters.policies.folder import PolicyFolder, load_policies
from services.channel.domain.caps import Reserve
from services.channel.domain.errors import ChannelError, PolicyError
from services.channel.domain.quiet_hours import Override, QuietWindow
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
    ],
)
def test_a_mistake_in_quiet_hours_is_told_with_its_line(tmp_path: Path, quiet: str, told: str) -> None:
    with pytest.raises(PolicyError) as raised:
        load_policies(folder(tmp_path, quiet=quiet), "UTC")
    assert told in str(raised.value)


def test_caps_say_for_what_they_are_and_for_whom_the_last_slots(tmp_path: Path) -> None:
    more = "topics: [roaming], names: [a, b], reserve: {last: 1, from_priority: 80, categories: [service]}"
    (cap,) = load_policies(folder(tmp_path, caps=_cap(more)), "UTC").caps
    assert (cap.topics, cap.names) == ({"roaming"}, {"a", "b"})
    assert cap.reserve == Reserve(1, 80, frozenset({Category.SERVICE}))


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
    [{"smsc": "here"}, {"smsc": "h:0"}, {"smsc": "h:1"}, {"sms_per_second": "-1"}],
)
def test_wrong_settings_are_told(extra: dict[str, str]) -> None:
    with pytest.raises(SettingError):
        ChannelSettings.of(settings(**extra))
