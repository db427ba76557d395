"""Request ids over a real PostgreSQL: whatever callers repeat, mix up or ask at once, an id has one answer.

The model keeps for each id the body that came first and its answer. The same body gets that answer again,
also when it was an error and also when by now another would be right; any other body is refused; a process
that died before its commit answered nobody and used up nothing.
"""

from collections.abc import Callable
from dataclasses import dataclass
from uuid import uuid4

import hypothesis.strategies as st
from hypothesis.stateful import RuleBasedStateMachine, initialize, invariant, rule, run_state_machine_as_test
from rapport.channel.v1 import channel_pb2

from services.channel.domain.caps import Cap
from services.channel.domain.policies import Policies
from services.vocabulary.values import DAY, HOUR
from services.vocabulary.words import Category, Channel
from tests.behaviours.asking import answer, reservation, servicer_of
from tests.behaviours.machines import WRITERS, Company, bounded
from tests.fakes.channel import make_action, reachable

SALES = frozenset({Category.SALES})
IDS = 4
REUSED = "this request id came with another body before"


class KilledError(BaseException):
    """The process is gone before it could commit."""


@dataclass(frozen=True)
class Asked:
    """One call."""

    place: int
    """Which of the ids."""
    numbers: tuple[int, ...]
    """Which actions, of a few."""
    wrong: bool
    killed: bool


calls = st.builds(
    Asked,
    place=st.integers(0, IDS - 1),
    numbers=st.lists(st.integers(0, 2), min_size=1, max_size=2).map(tuple),
    wrong=st.sampled_from([False, False, True]),
    killed=st.sampled_from([False, False, False, True]),
)


class RequestsMachine(RuleBasedStateMachine):
    """Asks, repeats, dies, and compares with what was said first."""

    company: Company

    def __init__(self) -> None:
        super().__init__()
        self.own = uuid4().hex
        (self.customer,) = self.company.new_customers(1)
        self.company.profile.reaches[self.customer] = reachable(self.customer, channels=(Channel.APP,))
        self.company.clock.now += 2 * DAY
        self.first: dict[str, tuple[bytes, channel_pb2.ReserveResponse | str]] = {}

    @initialize(most=st.integers(0, 3))
    def begin(self, most: int) -> None:
        self.company.in_force(Policies(caps=(Cap("day", most, DAY, SALES, SALES),)))

    @rule(wanted=st.lists(calls, min_size=1, max_size=6))
    def ask_at_once(self, wanted: list[Asked]) -> None:
        """Several callers, several processes, perhaps the same id with different bodies."""
        requests = [self._request(one) for one in wanted]
        answers = self.company.together(
            *(
                self._ask(place % WRITERS, *both)
                for place, both in enumerate(zip(requests, wanted, strict=True))
            )
        )
        told = [both for both in zip(requests, answers, strict=True) if both[1] is not None]
        for request_id in {request.request_id for request, _ in told}:
            self._check(request_id, [both for both in told if both[0].request_id == request_id])

    @rule(place=st.integers(0, IDS - 1), writer=st.integers(0, WRITERS - 1))
    def ask_again(self, place: int, writer: int) -> None:
        """The answer got lost on its way: the caller repeats."""
        if (known := self.first.get(self._id(place))) is not None:
            request = channel_pb2.ReserveRequest.FromString(known[0])
            again = self.company.run(answer(self.company.roads[writer], request))
            assert again == known[1]

    @rule(numbers=st.lists(st.integers(0, 2), min_size=1, max_size=3), times=st.integers(1, 3))
    def dispatch(self, numbers: list[int], times: int) -> None:
        """The same actions come down the other way too, repeatedly."""
        batch = [
            make_action(self._key(number), self.customer, category=Category.SALES, channels=(Channel.APP,))
            for number in numbers
        ]
        self.company.together(*(self.company.roads[place].take(*batch) for place in range(times)))

    @rule(step=st.sampled_from([1, HOUR, DAY]))
    def time_passes(self, step: int) -> None:
        self.company.clock.now += step

    @rule(most=st.integers(0, 3))
    def the_cap_changes(self, most: int) -> None:
        self.begin(most)

    @rule()
    def everything_restarts(self) -> None:
        self.company.restart()

    @invariant()
    def an_action_holds_one_slot_at_most_and_no_promise_is_without(self) -> None:
        slots = self.company.rows(
            "SELECT m.action_id::text FROM contact JOIN message m USING (customer, message_id) "
            "WHERE customer = %s",
            (self.customer,),
        )
        promised = {
            one.action_id
            for _, told in self.first.values()
            if not isinstance(told, str)
            for one in told.answers
            if one.passed
        }
        assert promised <= {action_id for (action_id,) in slots}
        kept = self.company.rows(
            "SELECT request_id FROM request_key WHERE request_id LIKE %s", (self.own + "%",)
        )
        assert {request_id for (request_id,) in kept} == set(self.first)

    def _check(
        self,
        request_id: str,
        told: list[tuple[channel_pb2.ReserveRequest, channel_pb2.ReserveResponse | str]],
    ) -> None:
        if request_id not in self.first:
            winners = [both for both in told if not (isinstance(both[1], str) and REUSED in both[1])]
            assert winners, "nobody was the first"
            self.first[request_id] = (winners[0][0].SerializeToString(deterministic=True), winners[0][1])
        body, said = self.first[request_id]
        for request, found in told:
            if request.SerializeToString(deterministic=True) == body:
                assert found == said
            else:
                assert isinstance(found, str)
                assert REUSED in found

    async def _ask(
        self, place: int, request: channel_pb2.ReserveRequest, asked: Asked
    ) -> channel_pb2.ReserveResponse | str | None:
        road = self.company.roads[place]
        servicer = servicer_of(road)
        if not asked.killed:
            return await answer(road, request)
        whole = servicer._reserve

        async def dies(*arguments: object) -> channel_pb2.ReserveResponse:
            await whole(*arguments)  # type: ignore[arg-type]
            raise KilledError

        servicer._reserve = dies  # type: ignore[method-assign, assignment]
        try:
            return await answer(road, request, servicer)
        except KilledError:
            return None

    def _request(self, asked: Asked) -> channel_pb2.ReserveRequest:
        return reservation(
            self._id(asked.place),
            *(self._key(number) for number in asked.numbers),
            customer=self.customer,
            name="" if asked.wrong else "hello",
        )

    def _id(self, place: int) -> str:
        return f"{self.own}-{place}"

    def _key(self, number: int) -> str:
        return f"{self.own}/{number}"


def test_no_order_of_calls_gives_a_request_id_two_answers(make_database: Callable[..., str]) -> None:
    company = Company(make_database)
    try:
        machine = type("Requests", (RequestsMachine,), {"company": company})
        run_state_machine_as_test(machine, settings=bounded(examples=12, steps=10))
    finally:
        company.close()
