"""Listings entry by entry: every page is asked for once, no more than are wanted."""

import pytest
from rapport.operations.v1 import readers_pb2

from services.cli.paging import entries_of


class Readers:
    """Seven entries, by number."""

    def __init__(self):
        self.asked = []

    async def __call__(self, request, *, metadata):
        assert request.page_size > 0, "nothing was wanted"
        self.asked.append((request.page_size, request.page_token, list(request.customers), metadata))
        first = int(request.page_token or 1)
        last = min(7, first + request.page_size - 1)
        answer = readers_pb2.ListReadersResponse(next_page_token="" if last == 7 else str(last + 1))
        for number in range(first, last + 1):
            answer.entries.add(customer=number)
        return answer


@pytest.mark.parametrize(
    ("limit", "given", "pages"),
    [
        (None, 7, [(3, ""), (3, "4"), (3, "7")]),
        (9, 7, [(3, ""), (3, "4"), (3, "7")]),
        (4, 4, [(3, ""), (1, "4")]),
        (3, 3, [(3, "")]),
        (2, 2, [(2, "")]),
    ],
)
async def test_pages_are_asked_for_until_there_is_no_more_or_enough(limit, given, pages):
    readers, request = Readers(), readers_pb2.ListReadersRequest(customers=[5])
    metadata = [("rapport-reason", "case 7")]
    entries = entries_of(readers, request, "entries", limit=limit, page=3, metadata=metadata)
    assert [entry.customer async for entry in entries] == list(range(1, given + 1))
    assert readers.asked == [(size, token, [5], metadata) for size, token in pages]
    assert request == readers_pb2.ListReadersRequest(customers=[5])
