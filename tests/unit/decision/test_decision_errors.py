"""Every error of the decision service has its way to be told."""

from services.decision.domain.errors import DecisionError
from services.decision.entrypoints.errors import ERRORS
from services.runtime.errors import unmapped_errors


def test_every_error_is_mapped():
    assert unmapped_errors(DecisionError, ERRORS) == []
