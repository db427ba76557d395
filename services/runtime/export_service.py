"""The ExportService of one service: everything it keeps about one person, section by section."""

from collections.abc import AsyncIterator, Awaitable, Callable, Mapping, Sequence
from typing import Any, Final

import grpc
import orjson
from rapport.privacy.v1 import export_pb2, export_pb2_grpc

from services.runtime.access_log import note_reads, reason_of
from services.runtime.clock import Clock
from services.runtime.database import Database, Transaction
from services.runtime.errors import InvalidArgumentError
from services.runtime.personal import Personal, show
from services.runtime.server import Served
from services.vocabulary.wire import timestamp

MAX_CUSTOMERS: Final = 1_000
_NAME: Final = export_pb2.DESCRIPTOR.services_by_name["ExportService"].full_name
_PART_BYTES: Final = 500_000
"""A part is ended before it grows beyond this; one entry alone is smaller."""
Context = grpc.aio.ServicerContext[Any, Any]
People = Callable[[Transaction, str], Awaitable[tuple[Sequence[int], Mapping[str, Any]]]]
"""All ids of a subject, and what queries name beside them."""


class ExportService(export_pb2_grpc.ExportServiceServicer):
    """Served beside the service's own. `people` finds all ids of a subject, in the service that can."""

    def __init__(
        self,
        service: str,
        *,
        database: Database,
        clock: Clock,
        tables: Sequence[Personal],
        people: People | None = None,
    ) -> None:
        self._service = service
        self._database = database
        self._clock = clock
        self._tables = tables
        self._people = people

    def served(self) -> Served:
        """For build_server."""
        return Served(
            _NAME,
            lambda server: export_pb2_grpc.add_ExportServiceServicer_to_server(self, server),
        )

    async def ExportPerson(  # noqa: N802 - the proto's name
        self, request: export_pb2.ExportPersonRequest, context: Context
    ) -> AsyncIterator[export_pb2.ExportPersonResponse]:
        """Everything, as it was at one moment."""
        async with self._database.transaction() as transaction:
            await transaction.execute("SET TRANSACTION ISOLATION LEVEL REPEATABLE READ")
            customers, values = await self._customers(transaction, request)
            await note_reads(transaction, customers, f"/{_NAME}/ExportPerson", reason_of(context))
            begin = export_pb2.ExportBegin(
                service=self._service,
                customers=customers,
                export_time=timestamp(self._clock.now_micros()),
                sections=list(
                    dict.fromkeys(shown.section for table in self._tables for shown in table.shown)
                ),
            )
            yield export_pb2.ExportPersonResponse(begin=begin)
            async for section, entries in show(transaction, self._tables, customers, values):
                part = export_pb2.ExportPart(section=section)
                size = 0
                for entry in entries:
                    line = orjson.dumps(entry).decode()
                    if size and size + len(line) > _PART_BYTES:
                        yield export_pb2.ExportPersonResponse(part=part)
                        part, size = export_pb2.ExportPart(section=section), 0
                    part.entries.append(line)
                    size += len(line)
                if part.entries:
                    yield export_pb2.ExportPersonResponse(part=part)

    async def _customers(
        self, transaction: Transaction, request: export_pb2.ExportPersonRequest
    ) -> tuple[list[int], Mapping[str, Any]]:
        if self._people is not None:
            if request.customers:
                raise InvalidArgumentError(
                    f"{len(request.customers)} customers were named, and here a subject names the person",
                    field="customers",
                    suggestion="name a `subject`; the answer says whose ids are the person's",
                )
            customers, values = await self._people(transaction, request.subject)
            return sorted(customers), values
        if request.subject:
            raise InvalidArgumentError(
                f"the {self._service} service knows no identities",
                field="subject",
                suggestion="name `customers`, as the profile service answered them",
            )
        if not 1 <= len(request.customers) <= MAX_CUSTOMERS:
            raise InvalidArgumentError(
                f"{len(request.customers)} customers were named",
                field="customers",
                suggestion=f"name 1 to {MAX_CUSTOMERS}, or a subject",
            )
        return sorted(set(request.customers)), {}
