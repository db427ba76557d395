"""What a log line says of an exception, and what it never says."""

import psycopg

from services.runtime.errors import NotFoundError
from services.runtime.log import describe_failure


def raised(error: Exception) -> Exception:
    try:
        raise error  # noqa: TRY301 - that is the point
    except Exception as caught:  # noqa: BLE001 - to have where it was raised
        return caught


def test_a_foreign_error_is_described_without_its_text():
    described = describe_failure(raised(ValueError("+33612345678")))
    assert described["error"] == "ValueError"
    assert any("raised" in frame for frame in described["frames"])
    assert "336" not in str(described)


def test_an_error_of_ours_says_its_text():
    assert describe_failure(raised(NotFoundError("no such rule set")))["message"] == "no such rule set"


def test_a_database_error_says_its_code():
    assert (
        describe_failure(raised(psycopg.errors.UniqueViolation("Key (value)=(a@b.c)")))["sqlstate"] == "23505"
    )
