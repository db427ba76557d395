"""Answers health checks as gRPC defines them (grpc.health.v1), whatever it is whose health is asked."""

from collections.abc import AsyncIterator
from typing import Any, Protocol

import grpc
from grpc_health.v1 import health_pb2, health_pb2_grpc

_LOOK_SECONDS = 1.0
_SERVING = health_pb2.HealthCheckResponse.SERVING
_NOT_SERVING = health_pb2.HealthCheckResponse.NOT_SERVING
_STATUSES = {
    True: _SERVING,
    False: _NOT_SERVING,
    None: health_pb2.HealthCheckResponse.SERVICE_UNKNOWN,
}


class Standing(Protocol):
    """What has a health."""

    @property
    def ended(self) -> bool:
        """Whoever watches is told how things stand, and no more."""
        ...

    def serving(self, name: str) -> bool | None:
        """Whether the part of this name serves; None: there is no such name."""
        ...

    async def changed(self, seconds: float) -> None:
        """Until something has changed, at most so long."""
        ...


class HealthAnswers(health_pb2_grpc.HealthServicer):
    """The Health service; a watch is a plain generator, as our interceptors expect of streams."""

    def __init__(self, standing: Standing) -> None:
        self._standing = standing

    async def Check(  # noqa: N802 - the proto's name
        self, request: health_pb2.HealthCheckRequest, context: grpc.aio.ServicerContext[Any, Any]
    ) -> health_pb2.HealthCheckResponse:
        """How it stands now; NOT_FOUND for a name that there is not."""
        serving = self._standing.serving(request.service)
        if serving is None:
            await context.abort(grpc.StatusCode.NOT_FOUND, "no such name")
        return health_pb2.HealthCheckResponse(status=_SERVING if serving else _NOT_SERVING)

    async def Watch(  # noqa: N802 - the proto's name
        self, request: health_pb2.HealthCheckRequest, context: grpc.aio.ServicerContext[Any, Any]
    ) -> AsyncIterator[health_pb2.HealthCheckResponse]:
        """How it stands now, and at each change."""
        del context
        told: bool | str | None = "nothing"
        while True:
            serving = self._standing.serving(request.service)
            if serving != told:
                told = serving
                yield health_pb2.HealthCheckResponse(status=_STATUSES[serving])
                continue  # it may have changed meanwhile
            if self._standing.ended:
                return
            await self._standing.changed(_LOOK_SECONDS)
