"""The ReadersService of one service: who looked at which customer."""

from typing import Any

import grpc
from google.protobuf.timestamp_pb2 import Timestamp
from rapport.operations.v1 import readers_pb2, readers_pb2_grpc

from services.runtime.access_log import list_reads
from services.runtime.database import Database
from services.runtime.errors import InvalidArgumentError, TooLargeError
from services.runtime.server import Served

_NAME = "rapport.operations.v1.ReadersService"
_MOST_IDS, _USUAL_PAGE, _LARGEST_PAGE = 100, 100, 1_000
Context = grpc.aio.ServicerContext[Any, Any]


class ReadersService(readers_pb2_grpc.ReadersServiceServicer):
    """Served beside the service's own."""

    def __init__(self, database: Database) -> None:
        self._database = database

    def served(self) -> Served:
        """For build_server."""
        return Served(
            _NAME, lambda server: readers_pb2_grpc.add_ReadersServiceServicer_to_server(self, server)
        )

    async def ListReaders(  # noqa: N802 - the proto's name
        self, request: readers_pb2.ListReadersRequest, context: Context
    ) -> readers_pb2.ListReadersResponse:
        """A page of reads, newest first."""
        del context
        if len(request.customers) > _MOST_IDS:
            raise TooLargeError(
                f"{len(request.customers)} customers are too many for one call",
                field="customers",
                suggestion=f"give at most {_MOST_IDS}, the ids of one person",
            )
        if not request.customers or min(request.customers) < 1:
            raise InvalidArgumentError(
                "no customer is named, or one by no id", field="customers", suggestion="give the person's ids"
            )
        if request.page_size < 0:
            raise InvalidArgumentError(
                f"page_size is {request.page_size}",
                field="page_size",
                suggestion=f"0 to {_LARGEST_PAGE}; 0 means {_USUAL_PAGE}",
            )
        size = min(request.page_size or _USUAL_PAGE, _LARGEST_PAGE)
        before = _before(request.page_token)
        async with self._database.transaction() as transaction:
            found = await list_reads(transaction, request.customers, before=before, limit=size + 1)
        answer = readers_pb2.ListReadersResponse()
        for read in found[:size]:
            time = Timestamp()
            time.FromMicroseconds(read.time_micros)
            answer.entries.add(
                caller=read.caller,
                method=read.method,
                customer=read.customer,
                time=time,
                reason=read.reason,
            )
        if len(found) > size:
            answer.next_page_token = str(found[size - 1].number)
        return answer


def _before(token: str) -> int:
    if not token:
        return 0
    if not token.isdecimal() or not 0 < int(token) < 1 << 63:
        raise InvalidArgumentError(
            f"page_token {token[:40]!r} is not one that was given out",
            field="page_token",
            suggestion="take it from the answer before",
        )
    return int(token)
