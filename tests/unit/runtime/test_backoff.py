"""How long to wait after failures, and which failures pass by themselves."""

import psycopg
import pytest
from sqlalchemy.exc import OperationalError, ProgrammingError

from services.runtime.database import backoff_seconds, is_transient
from services.runtime.errors import InvalidArgumentError, UnavailableError


@pytest.mark.parametrize(
    ("failures", "longest"), [(0, 0.1), (1, 0.1), (2, 0.2), (5, 1.6), (8, 10.0), (10_000, 10.0)]
)
def test_the_wait_doubles_up_to_a_bound_with_jitter(failures: int, longest: float):
    waits = {backoff_seconds(failures) for _ in range(50)}
    assert all(longest / 2 <= wait <= longest for wait in waits)
    assert len(waits) > 1


@pytest.mark.parametrize(
    ("error", "passes"),
    [
        (UnavailableError("away"), True),
        (TimeoutError(), True),
        (psycopg.errors.DeadlockDetected(), True),
        (psycopg.errors.AdminShutdown(), True),
        (psycopg.errors.InFailedSqlTransaction(), True),
        (psycopg.errors.IdleInTransactionSessionTimeout(), True),
        (OperationalError("select", {}, psycopg.errors.SerializationFailure()), True),
        (psycopg.errors.UniqueViolation(), False),
        (ProgrammingError("select", {}, psycopg.errors.UndefinedColumn()), False),
        (InvalidArgumentError("wrong"), False),
        (ValueError(), False),
    ],
)
def test_only_what_may_pass_is_transient(error: Exception, *, passes: bool):
    assert is_transient(error) is passes
