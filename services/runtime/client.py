"""Connections to other services: keepalive, a deadline on every call, retries where nothing was done."""

import json
from collections.abc import Callable
from typing import Any

import grpc

from services.runtime.server import MAX_MESSAGE

_SERVICE_CONFIG = json.dumps(
    {
        "methodConfig": [
            {
                "name": [{}],
                "retryPolicy": {
                    "maxAttempts": 4,
                    "initialBackoff": "0.1s",
                    "maxBackoff": "1s",
                    "backoffMultiplier": 2,
                    "retryableStatusCodes": ["UNAVAILABLE"],
                },
            }
        ]
    }
)


class _Deadline(grpc.aio.UnaryUnaryClientInterceptor):
    """Gives a call without a deadline the connection's."""

    def __init__(self, seconds: float) -> None:
        self._seconds = seconds

    async def intercept_unary_unary(
        self,
        continuation: Callable[[grpc.aio.ClientCallDetails, Any], Any],
        client_call_details: grpc.aio.ClientCallDetails,
        request: Any,
    ) -> Any:
        details = client_call_details
        if details.timeout is None:
            details = grpc.aio.ClientCallDetails(
                details.method, self._seconds, details.metadata, details.credentials, details.wait_for_ready
            )
        return await continuation(details, request)


def connect(target: str, *, deadline_seconds: float = 10.0) -> grpc.aio.Channel:
    """A connection to `target` ("host:port") for stubs; it connects by itself, also again; close it.

    Unary calls without a timeout get `deadline_seconds`; streams have none. UNAVAILABLE is tried four times.
    """
    return grpc.aio.insecure_channel(
        target,
        interceptors=[_Deadline(deadline_seconds)],
        options=[
            ("grpc.max_receive_message_length", MAX_MESSAGE),
            ("grpc.max_send_message_length", MAX_MESSAGE),
            ("grpc.keepalive_time_ms", 20_000),
            ("grpc.keepalive_timeout_ms", 10_000),
            ("grpc.keepalive_permit_without_calls", 1),
            ("grpc.initial_reconnect_backoff_ms", 100),
            ("grpc.max_reconnect_backoff_ms", 2_000),
            ("grpc.enable_retries", 1),
            ("grpc.service_config", _SERVICE_CONFIG),
        ],
    )
