"""Handlers of gRPC methods that interceptors make of others, made once and not for every call."""

from collections.abc import Callable
from typing import Any

Handler = Any  # grpc.RpcMethodHandler, whose fields its stub file leaves out
_MOST = 1_000
"""Method names come from outside: where there are more, they are made anew."""


class MadeOnce:
    """What `make` makes of a method's handler, kept as long as it is given the same one."""

    def __init__(self, make: Callable[[str, Handler], Handler]) -> None:
        self._make = make
        self._made: dict[str, tuple[Handler, Handler]] = {}

    def of(self, method: str, handler: Handler) -> Handler:
        """The handler to call in place of this one."""
        made = self._made.get(method)
        if made is not None and made[0] is handler:
            return made[1]
        if len(self._made) >= _MOST:
            self._made.clear()
        found = self._make(method, handler)
        self._made[method] = (handler, found)
        return found
