"""Calls from this machine's command line to the services beside it."""

from functools import cache
from typing import cast

import grpc

from services.cli.stack.errors import StackError
from services.runtime.client import TokenFiles


def open_channel(target: str, caller: TokenFiles) -> grpc.Channel:
    """A gRPC channel to a service of this machine that never goes through a proxy; use it in a `with`.

    `target` is its port for tokens; StackError: there is no token yet.
    """
    try:
        token = caller.token.read_text(encoding="ascii").strip()
        authority = caller.authority.read_bytes()
    except OSError as error:
        raise StackError(
            f"{caller.token} and {caller.authority.name} are needed and cannot be read: {error.strerror}."
        ) from error
    hold_threads()
    credentials = grpc.composite_channel_credentials(
        grpc.ssl_channel_credentials(authority), grpc.access_token_call_credentials(token)
    )
    # a pool of its own: shared with a channel that failed a moment ago it would wait before it tries again
    return grpc.secure_channel(
        target, credentials, options=[("grpc.use_local_subchannel_pool", 1), ("grpc.enable_http_proxy", 0)]
    )


@cache
def hold_threads() -> grpc.Channel:
    """A channel that is never connected nor closed before the process ends.

    gRPC 1.85 ends its threads when a process closes its last channel, and now and then waits for them for
    good (seen once in each of two runs of all tests); while this one stands it keeps them.
    """
    return grpc.insecure_channel("127.0.0.1:1")


def failure_reason(error: grpc.RpcError) -> str:
    """Why a call failed, in a few words."""
    call = cast("grpc.Call", error)  # what a stub raises is both
    if call.code() is grpc.StatusCode.UNAVAILABLE:
        return "no answer"
    return f"{call.code().name.lower().replace('_', ' ')}: {call.details()}"
