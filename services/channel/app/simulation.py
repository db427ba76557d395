"""The gates over imagined contacts: the use case that takes actions, on a state that only one stream sees."""

import asyncio
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field, replace
from itertools import groupby

from services.channel.app.admit import Admission, Taken
from services.channel.app.memory import MemoryTransaction, Stored
from services.channel.app.profile import ContactQuestion, ProfilePort, needs_profile, question_of
from services.channel.app.speech import Speech
from services.channel.app.store import MessageStore
from services.channel.domain.actions import Action
from services.channel.domain.contact import Reach
from services.channel.domain.policies import Policies
from services.runtime.errors import InvalidArgumentError


@dataclass(frozen=True, slots=True)
class Tried:
    """An action, when it is tried, and what the profile says; None: it is asked."""

    action: Action
    time_micros: int
    reach: Reach | None = None


class SetClock:
    """A clock that stands where the simulation is; its wall shows the same."""

    def __init__(self) -> None:
        self.now = 0

    def now_micros(self) -> int:
        """Business time."""
        return self.now

    def wall_micros(self) -> int:
        """The same: nothing else passes here."""
        return self.now

    def monotonic(self) -> float:
        """The same, in seconds."""
        return self.now / 1_000_000

    async def wait_until(self, micros: int, wake: asyncio.Event | None = None) -> None:
        """Never waits: whoever simulates says what time it is."""

    async def wait_changed(self, seen_micros: int) -> int:
        """Never waits."""
        return max(self.now, seen_micros)


@dataclass(slots=True)
class GivenReaches:
    """A profile that answers what was given; what was not is asked of the real one, where there is one."""

    real: ProfilePort | None
    given: dict[ContactQuestion, Reach] = field(default_factory=dict)

    async def check_contact(self, questions: Sequence[ContactQuestion]) -> Sequence[Reach]:
        """One answer per question."""
        missing = [question for question in questions if question not in self.given]
        asked: Mapping[ContactQuestion, Reach] = {}
        if missing and self.real is not None:
            asked = dict(zip(missing, await self.real.check_contact(missing), strict=True))
        return [self.given.get(question) or asked[question] for question in questions]


class _NobodyToKnow:
    """No rows are made for customers: nothing is locked."""

    async def know_customers(self, customers: Sequence[int]) -> None:
        """Nothing."""


class Simulation:
    """One stream. Its state is bounded: after MOST_REMEMBERED actions it takes no more."""

    def __init__(
        self,
        policies: Policies,
        speech: Speech,
        *,
        profile: ProfilePort | None = None,
        store: MessageStore | None = None,
    ) -> None:
        """`profile` is asked for reaches that are not given; `store`: what is stored there counts too."""
        # whoever simulates judges the share by all contacts of the time simulated; here are those tried alone
        policies = replace(policies, sales_share=None)
        self._clock = SetClock()
        self._reaches = GivenReaches(profile)
        self._asks = profile is not None
        self._tx = MemoryTransaction(self._clock, policies, None if store is None else Stored(store))
        self._admission = Admission(_NobodyToKnow(), self._reaches, speech, lambda: policies, self._clock)

    async def take(self, tried: Sequence[Tried]) -> list[Taken]:
        """What the gates say to each, in the order given; actions of one moment are judged as one batch.

        Raises InvalidArgumentError for a time before the last one and for a reach that nobody knows.
        """
        self._check(tried)
        answers: list[Taken] = []
        for time_micros, group in groupby(tried, key=lambda one: one.time_micros):
            batch = list(group)
            self._clock.now = time_micros
            self._reaches.given = {
                question_of(one.action): one.reach for one in batch if one.reach is not None
            }
            prepared = await self._admission.prepare([one.action for one in batch])
            await self._tx.fetch(prepared)
            answers += await self._admission.take(self._tx, prepared)
            await asyncio.sleep(0)  # others have their turn
        return answers

    def _check(self, tried: Sequence[Tried]) -> None:
        now_micros = self._clock.now
        for place, one in enumerate(tried):
            if one.time_micros < max(now_micros, 1):
                raise InvalidArgumentError(
                    "it is before the action before it",
                    field=f"actions[{place}].try_time",
                    suggestion="send actions in the order in which they are tried",
                )
            if one.reach is None and not self._asks and needs_profile(one.action):
                raise InvalidArgumentError(
                    "nobody says whether the customer may be reached",
                    field=f"actions[{place}].reach",
                    suggestion="give it, or begin the stream with ask_profile",
                )
            now_micros = one.time_micros
