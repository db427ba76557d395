"""Listings of the services, entry by entry, however many pages they have."""

from collections.abc import AsyncIterator, Awaitable, Callable, Sequence
from typing import Any

_PAGE = 1000


async def entries_of(
    call: Callable[..., Awaitable[Any]],
    request: Any,
    field: str,
    *,
    limit: int | None = None,
    page: int = _PAGE,
    metadata: Sequence[tuple[str, str]] | None = None,
) -> AsyncIterator[Any]:
    """What `field` of the answers to a List call holds, until there is no more or `limit` were given.

    `page`: at most so many at a time. The request is not changed.
    """
    asked = type(request)()
    asked.CopyFrom(request)
    given = 0
    while limit is None or given < limit:
        asked.page_size = page if limit is None else min(page, limit - given)
        answer = await call(asked, metadata=metadata)
        for entry in getattr(answer, field):
            yield entry
            given += 1
        asked.page_token = answer.next_page_token
        if not asked.page_token:
            return
