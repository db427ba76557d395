"""Who asks: set by the access interceptor for the length of a call, read by whoever must know."""

from contextvars import ContextVar
from dataclasses import dataclass

SYSTEM = "system"


@dataclass(frozen=True, slots=True)
class Caller:
    """A caller that has shown who it is.

    `name` is the certificate's URI (spiffe://…) or the token's issuer and subject; `scopes` what it may do;
    `ours`: it is one of our own services, or work of ours that nobody asked for.
    """

    name: str
    scopes: frozenset[str] = frozenset()
    ours: bool = False


_NOBODY_ASKED = Caller(SYSTEM, ours=True)
_caller: ContextVar[Caller | None] = ContextVar("caller", default=None)


def current_caller() -> Caller:
    """Who asked for the work in hand; `system` for what a worker does by itself."""
    return _caller.get() or _NOBODY_ASKED


def set_caller(caller: Caller) -> None:
    """From here on, in this task and those it starts, the work is the caller's."""
    _caller.set(caller)
