"""What can go wrong in any service, and how each kind is told to a caller."""

from collections.abc import Mapping
from dataclasses import dataclass

import grpc


class RapportError(Exception):
    """The root of errors whose text may be shown: it says what was wrong and holds no personal data.

    `field` names the part of the request that was wrong (empty: none), `suggestion` what would be right.
    """

    def __init__(self, message: str, *, field: str = "", suggestion: str = "") -> None:
        super().__init__(message)
        self.message = message
        self.field = field
        self.suggestion = suggestion


class InvalidArgumentError(RapportError):
    """A field of the request cannot be right, whatever the state of the system."""


class TooLargeError(InvalidArgumentError):
    """Something is over a stated limit of size or count."""


class NotFoundError(RapportError):
    """The thing named does not exist."""


class ConflictError(RapportError):
    """The request cannot be done as things stand now."""


class RequestReusedError(ConflictError):
    """The same request id came with another body."""


class UnavailableError(RapportError):
    """Something needed is away or full; the same request may pass later."""


class StorageFullError(UnavailableError):
    """The disk under the database is full: nothing was written, and what was accepted before is safe."""

    retry_seconds = 5.0

    def __init__(self) -> None:
        super().__init__(
            "the database's disk is full, so nothing can be accepted",
            suggestion="free space where PostgreSQL keeps its data or give it more, then send the same again",
        )


class OverloadedError(RapportError):
    """There is no room for more just now; the same request passes after `retry_seconds`, which it is told."""

    def __init__(self, message: str, *, retry_seconds: float, field: str = "", suggestion: str = "") -> None:
        super().__init__(message, field=field, suggestion=suggestion)
        self.retry_seconds = retry_seconds


class TooManyCallsError(OverloadedError):
    """The caller asks faster than it may."""


class UnauthenticatedError(RapportError):
    """The caller has not shown who it is: no certificate or token, or one that does not count."""


class PermissionDeniedError(RapportError):
    """The caller is known and may not do this; `scope` is what it would need ("": nobody may)."""

    def __init__(self, message: str, *, scope: str, suggestion: str = "") -> None:
        super().__init__(message, suggestion=suggestion)
        self.scope = scope

    @property
    def details(self) -> dict[str, str]:
        """What ErrorInfo says beside the reason."""
        return {"scope": self.scope} if self.scope else {}


class DeadlineError(RapportError):
    """The caller's time is over; whether the work was done is not known."""


class SettingError(RapportError):
    """The environment does not say what a role needs to start."""


@dataclass(frozen=True, slots=True)
class ErrorKind:
    """How a class of errors is told: the gRPC status and the reason in ErrorInfo (upper case, stable)."""

    status: grpc.StatusCode
    reason: str


ErrorTable = Mapping[type[Exception], ErrorKind]

RUNTIME_ERRORS: ErrorTable = {
    InvalidArgumentError: ErrorKind(grpc.StatusCode.INVALID_ARGUMENT, "INVALID_ARGUMENT"),
    TooLargeError: ErrorKind(grpc.StatusCode.INVALID_ARGUMENT, "TOO_LARGE"),
    NotFoundError: ErrorKind(grpc.StatusCode.NOT_FOUND, "NOT_FOUND"),
    ConflictError: ErrorKind(grpc.StatusCode.FAILED_PRECONDITION, "CONFLICT"),
    RequestReusedError: ErrorKind(grpc.StatusCode.ALREADY_EXISTS, "REQUEST_REUSED"),
    UnavailableError: ErrorKind(grpc.StatusCode.UNAVAILABLE, "UNAVAILABLE"),
    StorageFullError: ErrorKind(grpc.StatusCode.UNAVAILABLE, "STORAGE_FULL"),
    OverloadedError: ErrorKind(grpc.StatusCode.RESOURCE_EXHAUSTED, "OVERLOADED"),
    TooManyCallsError: ErrorKind(grpc.StatusCode.RESOURCE_EXHAUSTED, "TOO_MANY_CALLS"),
    DeadlineError: ErrorKind(grpc.StatusCode.DEADLINE_EXCEEDED, "DEADLINE_EXCEEDED"),
    UnauthenticatedError: ErrorKind(grpc.StatusCode.UNAUTHENTICATED, "UNAUTHENTICATED"),
    PermissionDeniedError: ErrorKind(grpc.StatusCode.PERMISSION_DENIED, "SCOPE_MISSING"),
    SettingError: ErrorKind(grpc.StatusCode.FAILED_PRECONDITION, "SETTING"),
}


def error_kind(error: BaseException, table: ErrorTable) -> ErrorKind | None:
    """The entry of the nearest class of the error in `table`, then in the runtime's own; None: unknown."""
    for known in (table, RUNTIME_ERRORS):
        for cls in type(error).__mro__:
            kind = known.get(cls)
            if kind is not None:
                return kind
    return None


def unmapped_errors(root: type[Exception], table: ErrorTable) -> list[type[Exception]]:
    """Subclasses of `root` (itself left out) that have no entry of their own in `table`.

    For a test in each service that walks all its errors; it expects an empty list.
    """
    missing: list[type[Exception]] = []
    waiting = list(root.__subclasses__())
    while waiting:
        cls = waiting.pop()
        waiting.extend(cls.__subclasses__())
        if cls not in table and cls not in RUNTIME_ERRORS:
            missing.append(cls)
    return missing
