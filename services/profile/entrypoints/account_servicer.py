"""The AccountService over gRPC."""

from typing import Any

import grpc
from rapport.profile.v1 import account_pb2, account_pb2_grpc
from rapport.types.v1 import stream_pb2

from services.profile.app.account_questions import AccountQuestions
from services.profile.app.ports import ProfileStore
from services.profile.app.questions import Questions
from services.profile.domain.account_views import AccountView, SubscriptionView
from services.runtime.access_log import reason_of
from services.runtime.clock import Clock
from services.runtime.server import Served
from services.vocabulary.wire import timestamp

_NAME = "rapport.profile.v1.AccountService"
Context = grpc.aio.ServicerContext[Any, Any]


class AccountServicer(account_pb2_grpc.AccountServiceServicer):
    """Translates, and calls one use case per method."""

    def __init__(self, *, store: ProfileStore, questions: Questions, clock: Clock) -> None:
        self._store = store
        self._questions = questions
        self._accounts = AccountQuestions(questions)
        self._clock = clock

    def served(self) -> Served:
        """For build_server."""
        return Served(
            _NAME, lambda server: account_pb2_grpc.add_AccountServiceServicer_to_server(self, server)
        )

    async def GetAccount(  # noqa: N802 - the proto's name
        self, request: account_pb2.GetAccountRequest, context: Context
    ) -> account_pb2.GetAccountResponse:
        """An account, whole or as one of its persons may see it."""
        async with self._store.work() as work:
            found = await self._accounts.account(work, request.account, request.viewer)
            seen = {found.payer, *(number for one in found.subscriptions for number in (one.user, one.payer))}
            await work.note_reads(sorted(seen - {0}), f"/{_NAME}/GetAccount", reason_of(context))
        return account_pb2.GetAccountResponse(account=_account(found))

    async def GetHousehold(  # noqa: N802 - the proto's name
        self, request: account_pb2.GetHouseholdRequest, context: Context
    ) -> account_pb2.GetHouseholdResponse:
        """A customer's household."""
        now = self._clock.now_micros()
        async with self._store.work() as work:
            customer, home = await self._accounts.household(work, request.subject)
            (packed,) = await self._questions.snapshots(work, [f"customer:{customer.id}"], now)
            members = [] if request.for_person else sorted(home.members)
            await work.note_reads(
                sorted({customer.id, *members}), f"/{_NAME}/GetHousehold", reason_of(context)
            )
        assert isinstance(packed, bytes)
        shared = stream_pb2.Snapshot.FromString(packed).household
        return account_pb2.GetHouseholdResponse(household=shared, members=members)


def _account(view: AccountView) -> account_pb2.Account:
    return account_pb2.Account(
        account=view.number,
        status=view.status,
        payer=view.payer,
        household=view.household,
        subscriptions=[_subscription(one) for one in view.subscriptions],
        too_many=view.too_many,
    )


def _subscription(one: SubscriptionView) -> account_pb2.AccountSubscription:
    return account_pb2.AccountSubscription(
        subscription=one.subscription,
        status=one.status,
        plan=one.plan,
        msisdn=one.msisdn,
        sim=one.sim,
        device=one.device,
        user=one.user,
        payer=one.payer,
        from_time=timestamp(one.from_micros) if one.from_micros else None,
        until_time=timestamp(one.until_micros) if one.until_micros else None,
    )
