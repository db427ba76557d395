"""Page sizes and tokens of listings."""

from __future__ import annotations

from services.runtime.errors import InvalidArgumentError

DEFAULT, MOST = 100, 1000


def page_size(asked: int) -> int:
    """How many to list: 0 means 100, over 1000 means 1000; InvalidArgumentError below 0."""
    if asked < 0:
        raise InvalidArgumentError(
            f"page_size is {asked}", field="page_size", suggestion="0 to 1000; 0 means 100"
        )
    return min(asked or DEFAULT, MOST)


def number_of(token: str) -> int:
    """The number a page token stands for; 0: the first page. Raises InvalidArgumentError."""
    if not token:
        return 0
    if not token.isdecimal() or len(token) > 18:
        raise InvalidArgumentError(
            "page_token is not one that was given out",
            field="page_token",
            suggestion="take it from the answer before",
        )
    return int(token)
