"""How errors of the channel service are told to callers."""

import grpc

from services.channel.domain.errors import (
    IllegalTransitionError,
    InvalidActionError,
    PolicyError,
    ProfileUnavailableError,
    StaleWriteError,
)
from services.runtime.errors import ErrorKind, ErrorTable

CHANNEL_ERRORS: ErrorTable = {
    InvalidActionError: ErrorKind(grpc.StatusCode.INVALID_ARGUMENT, "INVALID_ACTION"),
    ProfileUnavailableError: ErrorKind(grpc.StatusCode.UNAVAILABLE, "PROFILE_UNAVAILABLE"),
    StaleWriteError: ErrorKind(grpc.StatusCode.ABORTED, "STALE_WRITE"),
    IllegalTransitionError: ErrorKind(grpc.StatusCode.FAILED_PRECONDITION, "ILLEGAL_TRANSITION"),
    PolicyError: ErrorKind(grpc.StatusCode.FAILED_PRECONDITION, "POLICY"),
}
