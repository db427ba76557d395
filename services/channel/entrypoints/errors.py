"""How errors of the channel service are told to callers."""

import grpc

from services.channel.domain.errors import (
    IllegalTransitionError,
    InvalidActionError,
    InvalidTemplateError,
    PolicyError,
    ProfileUnavailableError,
    RecipientRefusedError,
    StaleWriteError,
    TemplateChangedError,
    UnknownTemplateError,
)
from services.runtime.errors import ErrorKind, ErrorTable

CHANNEL_ERRORS: ErrorTable = {
    InvalidActionError: ErrorKind(grpc.StatusCode.INVALID_ARGUMENT, "INVALID_ACTION"),
    ProfileUnavailableError: ErrorKind(grpc.StatusCode.UNAVAILABLE, "PROFILE_UNAVAILABLE"),
    StaleWriteError: ErrorKind(grpc.StatusCode.ABORTED, "STALE_WRITE"),
    IllegalTransitionError: ErrorKind(grpc.StatusCode.FAILED_PRECONDITION, "ILLEGAL_TRANSITION"),
    PolicyError: ErrorKind(grpc.StatusCode.FAILED_PRECONDITION, "POLICY"),
    InvalidTemplateError: ErrorKind(grpc.StatusCode.INVALID_ARGUMENT, "INVALID_TEMPLATE"),
    UnknownTemplateError: ErrorKind(grpc.StatusCode.NOT_FOUND, "UNKNOWN_TEMPLATE"),
    TemplateChangedError: ErrorKind(grpc.StatusCode.ABORTED, "TEMPLATE_CHANGED"),
    RecipientRefusedError: ErrorKind(grpc.StatusCode.PERMISSION_DENIED, "RECIPIENT_REFUSED"),
}
