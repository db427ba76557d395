"""Handlers made of others once, and anew when the other is another."""

import grpc

from services.runtime.deadline import DeadlineInterceptor
from services.runtime.handlers import MadeOnce
from services.runtime.observed_calls import ObservingInterceptor


class Call:
    method = "/a.Service/Method"


def test_a_handler_is_made_once_for_each_method_and_anew_for_another():
    made = []

    def make(method, handler):
        made.append((method, handler))
        return [handler]

    kept = MadeOnce(make)
    first = kept.of("/a", "one")
    assert kept.of("/a", "one") is first
    assert kept.of("/b", "one") == ["one"]
    assert kept.of("/a", "two") == ["two"]
    assert made == [("/a", "one"), ("/b", "one"), ("/a", "two")]


def test_names_from_outside_do_not_fill_the_memory():
    kept = MadeOnce(lambda _method, handler: handler)
    for number in range(5_000):
        kept.of(f"/{number}", object())
    assert len(kept._made) <= 1_000


async def test_what_answers_a_unary_call_is_the_same_for_every_call():
    handler = grpc.unary_unary_rpc_method_handler(None)

    async def served(_details):
        return handler

    for interceptor in (DeadlineInterceptor(), ObservingInterceptor()):
        first = await interceptor.intercept_service(served, Call())
        assert first is not handler
        assert await interceptor.intercept_service(served, Call()) is first
