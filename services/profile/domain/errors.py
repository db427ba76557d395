"""What can go wrong with an event or a question, in the words of the business."""

from enum import StrEnum


class RejectionReason(StrEnum):
    """Why an event is not taken; the names are those of the proto."""

    UNKNOWN_TYPE = "UNKNOWN_TYPE"
    MISSING_FIELD = "MISSING_FIELD"
    INVALID_FIELD = "INVALID_FIELD"
    UNKNOWN_FIELD = "UNKNOWN_FIELD"
    INVALID_SUBJECT = "INVALID_SUBJECT"
    FUTURE = "FUTURE"
    TOO_OLD = "TOO_OLD"
    TOO_LARGE = "TOO_LARGE"
    MALFORMED = "MALFORMED"
    TOO_MANY_HOPS = "TOO_MANY_HOPS"
    UNKNOWN_SUBJECT = "UNKNOWN_SUBJECT"
    ERASED = "ERASED"


class ProfileError(Exception):
    """The root of this service's own errors; `field` names the part of the request at fault."""

    def __init__(self, message: str, *, field: str = "", suggestion: str = "") -> None:
        super().__init__(message)
        self.message = message
        self.field = field
        self.suggestion = suggestion


class RejectedError(ProfileError):
    """An event is not taken: why, which field, what would be right. Holds no personal data."""

    def __init__(self, reason: RejectionReason, field: str, message: str, suggestion: str = "") -> None:
        super().__init__(message, field=field, suggestion=suggestion)
        self.reason = reason

    @property
    def text(self) -> str:
        """What was wrong and what would be right, as one line."""
        whole = f"{self.field} {self.message}" if self.field else self.message
        return f"{whole}; {self.suggestion}" if self.suggestion else whole


class InvalidRequestError(ProfileError):
    """A request that cannot be right, whatever the state of the system."""


class UnknownSubjectError(ProfileError):
    """Nobody is known under that subject."""


class UnknownEventError(ProfileError):
    """No such event is kept of that customer."""


class IdentityRefusedError(ProfileError):
    """Who is who does not allow it: they are one already, or an identity is not theirs."""


class ClockRefusedError(ProfileError):
    """Business time is the wall's and is not fed, or would go back."""


class StreamGapError(ProfileError):
    """A stream's batch does not follow on what was acknowledged."""
