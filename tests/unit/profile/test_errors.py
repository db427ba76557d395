"""Every error of the service has a status of its own."""

from services.profile.app.ports import ContentionError
from services.profile.domain.errors import ProfileError, RejectedError, RejectionReason
from services.profile.entrypoints.errors import PROFILE_ERRORS
from services.runtime.errors import unmapped_errors


def test_every_error_has_a_status_of_its_own():
    assert unmapped_errors(ProfileError, PROFILE_ERRORS) == []
    assert ContentionError in PROFILE_ERRORS


def test_a_rejection_says_field_what_is_wrong_and_what_would_be_right():
    error = RejectedError(RejectionReason.MISSING_FIELD, "data.mb", "is missing", "send it as number")
    assert error.text == "data.mb is missing; send it as number"
