"""Errors as gRPC statuses with details (AIP-193), and back again for callers."""

import math
from dataclasses import dataclass, field
from typing import Any

import grpc
from google.rpc import code_pb2, error_details_pb2, status_pb2

from services.runtime.errors import ErrorTable, error_kind

DOMAIN = "rapport"
DETAILS_KEY = "grpc-status-details-bin"


class StoredFailureError(Exception):
    """The first answer to this request id was an error; it is given again as it was."""

    def __init__(self, status: status_pb2.Status) -> None:
        super().__init__(status.message)
        self.status = status


@dataclass(frozen=True, slots=True)
class Failure:
    """What a call failed with: the status, the reason in ErrorInfo, and per field what was wrong."""

    status: grpc.StatusCode
    reason: str
    message: str
    metadata: dict[str, str] = field(default_factory=dict)
    fields: tuple[tuple[str, str], ...] = ()
    retry_seconds: float | None = None
    """When to come back, where the other side said so."""


def failure_status(error: BaseException, table: ErrorTable) -> status_pb2.Status | None:
    """The status of a known error with ErrorInfo; None: unknown.

    With BadRequest if it names a field, and RetryInfo if it knows when to come back.
    """
    if isinstance(error, StoredFailureError):
        return error.status
    kind = error_kind(error, table)
    if kind is None:
        return None
    message = str(getattr(error, "message", "") or error)
    field_name = str(getattr(error, "field", "") or "")
    suggestion = str(getattr(error, "suggestion", "") or "")
    text = f"{message}; {suggestion}" if suggestion else message
    info = error_details_pb2.ErrorInfo(reason=kind.reason, domain=DOMAIN)
    if field_name:
        info.metadata["field"] = field_name
        text = f"{field_name}: {text}"
    if suggestion:
        info.metadata["suggestion"] = suggestion
    info.metadata.update(getattr(error, "details", {}))
    status = status_pb2.Status(code=kind.status.value[0], message=text)
    status.details.add().Pack(info)
    if field_name:
        bad = error_details_pb2.BadRequest()
        bad.field_violations.add(
            field=field_name, description=f"{message}; {suggestion}" if suggestion else message
        )
        status.details.add().Pack(bad)
    retry_seconds = getattr(error, "retry_seconds", None)
    if isinstance(retry_seconds, int | float):
        retry = error_details_pb2.RetryInfo()
        retry.retry_delay.FromMilliseconds(math.ceil(retry_seconds * 1000))
        status.details.add().Pack(retry)
    return status


def unknown_status(correlation: str) -> status_pb2.Status:
    """INTERNAL with a correlation id that also stands in the log, and nothing else."""
    status = status_pb2.Status(code=code_pb2.INTERNAL, message=f"internal error {correlation}")
    info = error_details_pb2.ErrorInfo(
        reason="INTERNAL", domain=DOMAIN, metadata={"correlation_id": correlation}
    )
    status.details.add().Pack(info)
    return status


def read_failure(error: grpc.RpcError) -> Failure:
    """What a failed call says, for callers; without details when the other side gave none."""
    code = error.code() if hasattr(error, "code") else grpc.StatusCode.UNKNOWN
    message = (error.details() if hasattr(error, "details") else "") or ""
    trailing: Any = error.trailing_metadata() if hasattr(error, "trailing_metadata") else None
    reason = ""
    metadata: dict[str, str] = {}
    fields: list[tuple[str, str]] = []
    retry_seconds: float | None = None
    for key, value in trailing or ():
        if key != DETAILS_KEY or not isinstance(value, bytes):
            continue
        for detail in status_pb2.Status.FromString(value).details:
            info = error_details_pb2.ErrorInfo()
            bad = error_details_pb2.BadRequest()
            retry = error_details_pb2.RetryInfo()
            if detail.Unpack(info):
                reason, metadata = info.reason, dict(info.metadata)
            elif detail.Unpack(bad):
                fields.extend((violation.field, violation.description) for violation in bad.field_violations)
            elif detail.Unpack(retry):
                retry_seconds = retry.retry_delay.ToMilliseconds() / 1000
    return Failure(code, reason, message, metadata, tuple(fields), retry_seconds)
