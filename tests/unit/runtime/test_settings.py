"""Settings from the environment, with what is wrong named."""

from pathlib import Path

import pytest
from sqlalchemy.engine import make_url

from services.runtime.errors import SettingError
from services.runtime.settings import Settings


def read(**settings: str) -> Settings:
    return Settings.from_environment(
        "profile", "worker", {f"RAPPORT_{k.upper()}": v for k, v in settings.items()}
    )


def test_without_anything_said_the_defaults_hold():
    settings = read()
    assert (settings.service, settings.role, settings.clock, settings.partitions) == (
        "profile",
        "worker",
        "wall",
        64,
    )
    assert settings.extra == {}


def test_the_password_file_completes_the_url_whatever_is_in_the_password(tmp_path: Path):
    secret = tmp_path / "secret"
    secret.write_text("p@ss/w:rd %\n")
    settings = read(database_url="postgresql+psycopg://u@/db?host=/run/x", database_password_file=str(secret))
    url = make_url(settings.database_url)
    assert (url.username, url.password, url.database, url.query["host"]) == (
        "u",
        "p@ss/w:rd %",
        "db",
        "/run/x",
    )


def test_secrets_do_not_show(tmp_path: Path):
    secret = tmp_path / "secret"
    secret.write_text("hush")
    settings = read(
        database_url="postgresql+psycopg://u@h/db",
        database_password_file=str(secret),
        nats_password_file=str(secret),
    )
    assert settings.nats_password == "hush"
    assert "hush" not in repr(settings)


def test_what_only_one_service_knows_is_kept_by_name(tmp_path: Path):
    secret = tmp_path / "smsc"
    secret.write_text("word\n")
    settings = read(smsc="127.0.0.1:2775", smsc_password_file=str(secret))
    assert settings.need("smsc") == "127.0.0.1:2775"
    assert settings.secret("smsc_password") == "word"
    assert settings.secret("other_password") == ""
    with pytest.raises(SettingError) as raised:
        settings.need("smtp")
    assert raised.value.field == "RAPPORT_SMTP"


@pytest.mark.parametrize(
    ("settings", "field"),
    [
        ({"clock": "sundial"}, "RAPPORT_CLOCK"),
        ({"partitions": "many"}, "RAPPORT_PARTITIONS"),
        ({"partitions": "0"}, "RAPPORT_PARTITIONS"),
        ({"database_pool": "-3"}, "RAPPORT_DATABASE_POOL"),
        ({"trace_ratio": "often"}, "RAPPORT_TRACE_RATIO"),
        ({"trace_ratio": "1.5"}, "RAPPORT_TRACE_RATIO"),
        ({"nats_password_file": "/nowhere/at/all"}, "RAPPORT_NATS_PASSWORD_FILE"),
    ],
)
def test_what_is_wrong_is_named_with_what_would_be_right(settings: dict[str, str], field: str):
    with pytest.raises(SettingError) as raised:
        read(**settings)
    assert raised.value.field == field
    assert raised.value.suggestion
