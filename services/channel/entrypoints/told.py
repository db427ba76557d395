"""Checks that several calls of the ControlService share."""

from collections.abc import Sequence
from typing import TypeVar

from services.runtime.errors import InvalidArgumentError

MOST_ON_PAGE = 1000
_LONGEST_COMMENT = 500
T = TypeVar("T")


def checked_comment(text: str, field: str) -> str:
    """What somebody said for people; raises InvalidArgumentError when it is too long."""
    if len(text) > _LONGEST_COMMENT:
        raise InvalidArgumentError(
            f"it has {len(text)} characters", field=field, suggestion=f"at most {_LONGEST_COMMENT} characters"
        )
    return text


def page_size(asked: int) -> int:
    """How many to answer; raises InvalidArgumentError."""
    if asked < 0:
        raise InvalidArgumentError(
            f"page_size is {asked}", field="page_size", suggestion=f"0 to {MOST_ON_PAGE}; 0 means 100"
        )
    return min(asked or 100, MOST_ON_PAGE)


def page_start(token: str) -> int:
    """Where the page begins; raises InvalidArgumentError for a token that was not given out."""
    if not token:
        return 0
    if not token.isdecimal() or len(token) > 9:
        raise InvalidArgumentError(
            "the page token is not one that was given out",
            field="page_token",
            suggestion="take it from the answer before",
        )
    return int(token)


def page_of(listed: Sequence[T], asked: int, token: str) -> tuple[list[T], str]:
    """A page of a short list, and the token of the next one."""
    size, start = page_size(asked), page_start(token)
    page = list(listed[start : start + size])
    return page, str(start + size) if len(listed) > start + size else ""
