"""The gate of every call: who asks, may they, and not too often; no call is answered that did not pass it."""

import asyncio
from collections.abc import AsyncIterator, Awaitable, Callable, Mapping, Sequence
from dataclasses import dataclass
from typing import Any

import grpc

from services.runtime.access_policy import AccessPolicyFile, Rate
from services.runtime.caller import Caller, set_caller
from services.runtime.clock import MICROS, Clock
from services.runtime.errors import (
    PermissionDeniedError,
    RapportError,
    UnauthenticatedError,
)
from services.runtime.rates import Rates
from services.runtime.tokens import TokenVerifier

OPEN = frozenset({"/grpc.health.v1.Health/Check", "/grpc.health.v1.Health/Watch"})
"""Methods that need no credentials."""
ANY_CALLER = frozenset(
    {
        "/grpc.reflection.v1alpha.ServerReflection/ServerReflectionInfo",
        "/grpc.reflection.v1.ServerReflection/ServerReflectionInfo",
    }
)
"""Methods that need credentials and no scope."""
OUR_SERVICES = frozenset({"profile", "decision", "channel"})
"""Certificates' names under the trust domain that only services of ours bear."""

Context = grpc.aio.ServicerContext[Any, Any]
Behaviour = Callable[[Any, Context], Any]
Handler = Any  # grpc.RpcMethodHandler, whose fields its stub file leaves out


@dataclass(frozen=True, slots=True)
class _Known:
    """A caller that has shown who it is, how often it may ask, and when its credentials end."""

    caller: Caller
    rate: Rate
    expires: float | None = None


@dataclass(frozen=True, slots=True)
class _Doors:
    """A method's handler as gRPC has it, for callers let in, and looking at the certificate first."""

    handler: Handler
    passed: Handler
    guarded: Handler


class AccessInterceptor(grpc.aio.ServerInterceptor):
    """Lets a call through if its caller is known, has the scope that the method declares, and has calls left.

    A token in `authorization` says who calls; without one the connection's certificate does.
    """

    def __init__(
        self,
        scopes: Mapping[str, str],
        *,
        policy: AccessPolicyFile,
        tokens: TokenVerifier | None,
        trust_domain: str,
        clock: Clock,
    ) -> None:
        self._scopes = scopes
        self._policy = policy
        self._tokens = tokens
        self._prefix = f"spiffe://{trust_domain}/"
        self._clock = clock
        self._rates = Rates(clock)
        self._made: dict[str, _Doors] = {}

    async def intercept_service(
        self,
        continuation: Callable[[grpc.HandlerCallDetails], Awaitable[Handler]],
        handler_call_details: grpc.HandlerCallDetails,
    ) -> Handler:
        """The handler of the method behind the gate; gRPC's own hook."""
        method = handler_call_details.method
        handler: Handler = await continuation(handler_call_details)
        if method in OPEN:
            return handler
        try:
            token = _bearer_token(handler_call_details.invocation_metadata)
            if token is None:
                return self._by_certificate(method, handler)
            known = await self._by_token(token)
            if handler is None:
                return None  # gRPC says that there is no such method
            self._let_in(known, method)
        except RapportError as error:
            return _refusing(error)
        # gRPC calls the handler in this same task, so that the caller is known there
        if handler.response_streaming:
            return _like(handler, self._streaming(known, _reading(handler)))
        return self._doors(method, handler).passed

    async def _by_token(self, token: str) -> _Known:
        if self._tokens is None:
            raise UnauthenticatedError("no tokens are taken here", suggestion="show a certificate")
        bearer = await self._tokens.verify(token)
        policy = self._policy.current()
        rate = policy.subjects.get(bearer.caller.name.rsplit("#", 1)[-1], policy.tokens)
        return _Known(bearer.caller, rate, bearer.expires)

    def _by_certificate(self, method: str, handler: Handler) -> Handler:
        """The handler, which looks at the connection's certificate first; made once for each method."""
        if handler is None:
            return grpc.unary_unary_rpc_method_handler(self._find_out)
        return self._doors(method, handler).guarded

    def _doors(self, method: str, handler: Handler) -> "_Doors":
        made = self._made.get(method)
        if made is None or made.handler is not handler:
            reading = _reading(handler)
            guard = self._guard_stream if handler.response_streaming else self._guard
            made = _Doors(handler, _like(handler, reading), _like(handler, guard(method, reading)))
            self._made[method] = made
        return made

    async def _find_out(self, request: Any, context: Context) -> None:
        del request
        self._by_connection(context)
        await context.abort(grpc.StatusCode.UNIMPLEMENTED, "there is no such method")

    def _guard(self, method: str, behaviour: Behaviour) -> Behaviour:
        async def answer(request: Any, context: Context) -> Any:
            self._let_in(self._by_connection(context), method)
            return await behaviour(request, context)

        return answer

    def _guard_stream(self, method: str, behaviour: Behaviour) -> Behaviour:
        async def answers(request: Any, context: Context) -> AsyncIterator[Any]:
            known = self._by_connection(context)
            self._let_in(known, method)
            async for found in self._streaming(known, behaviour)(request, context):
                yield found

        return answers

    def _by_connection(self, context: Context) -> _Known:
        shown: Any = context.auth_context().get("peer_spiffe_id")
        if not shown:
            raise UnauthenticatedError(
                "the call carries no token, and the connection shows no certificate with a spiffe:// URI",
                suggestion="send authorization: Bearer <token>, or show a certificate",
            )
        name = str(next(iter(shown)).decode("utf-8", "replace"))
        short = name.removeprefix(self._prefix)
        grant = self._policy.current().callers.get(short)
        if not name.startswith(self._prefix) or grant is None:
            raise UnauthenticatedError(
                f"the caller {name} is not known",
                suggestion=f"name it under {self._prefix} and in policies/access.yaml",
            )
        return _Known(Caller(name, grant.scopes, ours=short in OUR_SERVICES), grant.rate)

    def _let_in(self, known: _Known, method: str) -> None:
        """The work in hand is the caller's from here on; PermissionDeniedError, TooManyCallsError."""
        caller = known.caller
        if method not in ANY_CALLER:
            scope = self._scopes.get(method, "")
            if scope not in caller.scopes:  # "" is in none
                raise _lacking(scope)
        self._rates.spend(caller.name, known.rate)
        set_caller(caller)

    def _streaming(self, known: _Known, behaviour: Behaviour) -> Behaviour:
        """The behaviour, counted among the caller's streams, and ended when its token ends."""

        async def answers(request: Any, context: Context) -> AsyncIterator[Any]:
            with self._rates.stream(known.caller.name, known.rate):
                found = aiter(behaviour(request, context))
                end = self._end(known)
                while True:
                    try:
                        async with asyncio.timeout_at(end) as limit:
                            answer = await anext(found)
                    except StopAsyncIteration:
                        return
                    except TimeoutError as error:
                        if not limit.expired():
                            raise
                        raise UnauthenticatedError(
                            "the token has ended (exp)", suggestion="open the stream again with a new one"
                        ) from error
                    yield answer

        return answers

    def _end(self, known: _Known) -> float | None:
        """When the caller's token ends, by the event loop's clock; None: it shows a certificate."""
        if known.expires is None:
            return None
        left = known.expires - self._clock.wall_micros() / MICROS
        return asyncio.get_running_loop().time() + left


def _lacking(scope: str) -> PermissionDeniedError:
    if not scope:
        return PermissionDeniedError("no scope is declared for this method, so nobody may call it", scope="")
    return PermissionDeniedError(
        f"the caller lacks the scope {scope}",
        scope=scope,
        suggestion="get a token with it, or add it for the caller in policies/access.yaml",
    )


def _bearer_token(metadata: Sequence[tuple[str, str | bytes]] | None) -> str | None:
    """The token of the call; None: it carries none. UnauthenticatedError: it carries something else."""
    for key, value in metadata or ():
        if key == "authorization":
            scheme, _, token = str(value).partition(" ")
            if scheme.lower() != "bearer" or not token.strip():
                raise UnauthenticatedError(
                    "authorization holds no token", suggestion="send authorization: Bearer <token>"
                )
            return token.strip()
    return None


def _refusing(error: RapportError) -> Handler:
    """A handler that refuses without reading what was sent."""

    async def refuse(request: Any, context: Context) -> AsyncIterator[bytes]:
        del request, context
        _fail(error)
        yield b""

    return grpc.stream_stream_rpc_method_handler(refuse)


def _fail(error: RapportError) -> None:
    raise error


def _behaviour(handler: Handler) -> Behaviour:
    found: Behaviour = (
        handler.unary_unary or handler.unary_stream or handler.stream_unary or handler.stream_stream
    )
    return found


def _reading(handler: Handler) -> Behaviour:
    """The handler's behaviour, which reads a single request by itself: behind the gate, not before it."""
    behaviour = _behaviour(handler)
    read = handler.request_deserializer
    if handler.request_streaming or read is None:
        return behaviour
    return lambda sent, context: behaviour(read(sent), context)


def _like(handler: Handler, behaviour: Behaviour) -> Handler:
    """A handler of the same shape and coding that does this, given a single request unread."""
    make = {
        (False, False): grpc.unary_unary_rpc_method_handler,
        (False, True): grpc.unary_stream_rpc_method_handler,
        (True, False): grpc.stream_unary_rpc_method_handler,
        (True, True): grpc.stream_stream_rpc_method_handler,
    }[bool(handler.request_streaming), bool(handler.response_streaming)]
    return make(
        behaviour,
        request_deserializer=handler.request_deserializer if handler.request_streaming else None,
        response_serializer=handler.response_serializer,
    )
