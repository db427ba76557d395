"""How this service's own errors are told to a caller."""

import grpc

from services.profile.app.ports import ContentionError
from services.profile.domain.errors import (
    ClockRefusedError,
    IdentityRefusedError,
    InvalidRequestError,
    ProfileError,
    RejectedError,
    StreamGapError,
    UnknownEventError,
    UnknownSubjectError,
)
from services.runtime.errors import ErrorKind, ErrorTable

PROFILE_ERRORS: ErrorTable = {
    ProfileError: ErrorKind(grpc.StatusCode.FAILED_PRECONDITION, "PROFILE"),
    InvalidRequestError: ErrorKind(grpc.StatusCode.INVALID_ARGUMENT, "INVALID_ARGUMENT"),
    RejectedError: ErrorKind(grpc.StatusCode.INVALID_ARGUMENT, "EVENT_REJECTED"),
    UnknownSubjectError: ErrorKind(grpc.StatusCode.NOT_FOUND, "UNKNOWN_SUBJECT"),
    UnknownEventError: ErrorKind(grpc.StatusCode.NOT_FOUND, "UNKNOWN_EVENT"),
    IdentityRefusedError: ErrorKind(grpc.StatusCode.FAILED_PRECONDITION, "IDENTITY_REFUSED"),
    ClockRefusedError: ErrorKind(grpc.StatusCode.FAILED_PRECONDITION, "CLOCK_REFUSED"),
    ContentionError: ErrorKind(grpc.StatusCode.UNAVAILABLE, "CONTENTION"),
    StreamGapError: ErrorKind(grpc.StatusCode.FAILED_PRECONDITION, "STREAM_GAP"),
}
