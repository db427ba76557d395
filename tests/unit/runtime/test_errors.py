"""Every error has its status; unknown ones say nothing."""

import grpc
import pytest
from google.rpc import error_details_pb2

from services.runtime.errors import (
    RUNTIME_ERRORS,
    ErrorKind,
    InvalidArgumentError,
    OverloadedError,
    PermissionDeniedError,
    RapportError,
    RequestReusedError,
    TooLargeError,
    error_kind,
    unmapped_errors,
)
from services.runtime.status import failure_status, unknown_status


def all_subclasses(root: type[Exception]) -> list[type[Exception]]:
    found = []
    for cls in root.__subclasses__():
        found += [cls, *all_subclasses(cls)]
    return found


def test_every_error_of_the_runtime_has_a_status_of_its_own():
    ours = [cls for cls in all_subclasses(RapportError) if cls.__module__ == "services.runtime.errors"]
    assert set(ours) == set(RUNTIME_ERRORS)
    assert len({kind.reason for kind in RUNTIME_ERRORS.values()}) == len(RUNTIME_ERRORS)
    assert all(kind.status is not grpc.StatusCode.OK for kind in RUNTIME_ERRORS.values())


def test_the_walk_finds_what_a_table_forgot():
    class OwnError(Exception):
        pass

    class KnownError(OwnError):
        pass

    class ForgottenError(KnownError):
        pass

    table = {KnownError: ErrorKind(grpc.StatusCode.NOT_FOUND, "KNOWN")}
    assert unmapped_errors(OwnError, table) == [ForgottenError]
    assert error_kind(ForgottenError(), table) == table[KnownError]
    assert error_kind(OwnError(), table) is None


def test_the_nearest_class_decides():
    assert error_kind(TooLargeError("x"), {}) == RUNTIME_ERRORS[TooLargeError]
    own = {InvalidArgumentError: ErrorKind(grpc.StatusCode.OUT_OF_RANGE, "OWN")}
    assert error_kind(TooLargeError("x"), own) == own[InvalidArgumentError]


def test_a_status_carries_reason_field_and_suggestion():
    status = failure_status(
        RequestReusedError("came before", field="request_id", suggestion="use a new one"), {}
    )
    assert status is not None
    assert status.code == grpc.StatusCode.ALREADY_EXISTS.value[0]
    info, bad = error_details_pb2.ErrorInfo(), error_details_pb2.BadRequest()
    assert status.details[0].Unpack(info)
    assert status.details[1].Unpack(bad)
    assert (info.reason, info.domain) == ("REQUEST_REUSED", "rapport")
    assert bad.field_violations[0].field == "request_id"


@pytest.mark.parametrize("error", [ValueError("+33612345678"), KeyError("x"), Exception()])
def test_an_error_nobody_knows_has_no_status(error: Exception):
    assert failure_status(error, {}) is None


def test_an_unknown_error_shows_its_correlation_id_only():
    assert unknown_status("abc").message == "internal error abc"


def test_an_overloaded_service_says_when_to_come_back():
    status = failure_status(OverloadedError("it is full", retry_seconds=1.5), {})
    assert status is not None
    assert status.code == grpc.StatusCode.RESOURCE_EXHAUSTED.value[0]
    retry = error_details_pb2.RetryInfo()
    assert status.details[1].Unpack(retry)
    assert retry.retry_delay.ToMilliseconds() == 1500


def test_a_missing_scope_is_named():
    status = failure_status(PermissionDeniedError("it is missing", scope="rules.write"), {})
    assert status is not None
    info = error_details_pb2.ErrorInfo()
    assert status.details[0].Unpack(info)
    assert (info.reason, info.metadata["scope"]) == ("SCOPE_MISSING", "rules.write")
