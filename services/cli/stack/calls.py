"""Calls from this machine's command line to the services beside it."""

from typing import cast

import grpc


def open_channel(target: str) -> grpc.Channel:
    """A gRPC channel to a server of this machine that never goes through a proxy; use it in a `with`."""
    # a pool of its own: shared with a channel that failed a moment ago it would wait before it tries again
    return grpc.insecure_channel(
        target, options=[("grpc.use_local_subchannel_pool", 1), ("grpc.enable_http_proxy", 0)]
    )


def failure_reason(error: grpc.RpcError) -> str:
    """Why a call failed, in a few words."""
    call = cast("grpc.Call", error)  # what a stub raises is both
    if call.code() is grpc.StatusCode.UNAVAILABLE:
        return "no answer"
    return f"{call.code().name.lower().replace('_', ' ')}: {call.details()}"
