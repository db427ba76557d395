"""What changes of who is who need of the store, beside what every event needs."""

from collections.abc import Collection, Mapping, Sequence
from typing import Protocol

from services.profile.domain.customer import Customer
from services.profile.domain.identities import Owner, Period
from services.profile.domain.merges import Merge, Met, PastEvent, Suggestion, SuggestionState
from services.runtime.audit import Change
from services.vocabulary.identities import Identity


class Periods(Protocol):
    """Whose identities are and were."""

    async def periods(
        self, identities: Collection[Identity], *, lock: bool = False
    ) -> dict[Identity, list[Period]]:
        """The periods of each identity that anybody is known to have had, oldest first."""
        ...

    async def put_periods(
        self, identity: Identity, periods: Sequence[Period], known: Sequence[Period]
    ) -> bool:
        """Write the periods of an identity in the place of those `known`; False: they hold no more."""
        ...

    async def move_identities(self, moved: Mapping[Identity, Owner]) -> None:
        """Make identities somebody else's as if they always had been: in a merge, its undoing, a split."""
        ...

    async def move_past(self, customer: int, to: int, parts: Collection[int]) -> None:
        """Make what `customer` had in the past under the ids `parts` the past of `to`."""
        ...

    async def past_of(self, customers: Collection[int]) -> list[tuple[Identity, Period]]:
        """What these customers had and have no more."""
        ...


class Merges(Protocol):
    """Merges and what they rest on."""

    async def add_merge(self, merge: Merge, base: Customer | None, now_micros: int) -> int:
        """Keep a merge (its id is given here), with the customer who stays as they were before."""
        ...

    async def put_base(self, merge: Merge, base: Customer, now_micros: int) -> None:
        """Keep another state as the one before a merge."""
        ...

    async def merge(self, merge_id: int) -> Merge | None:
        """A merge, locked; None: there is none."""
        ...

    async def base_of(self, merge: Merge) -> Customer | None:
        """The customer who stays as they were before a merge; None: it is kept no more."""
        ...

    async def merges_of(self, customers: Collection[int]) -> list[Merge]:
        """Merges and splits that concern these customers, oldest first."""
        ...

    async def undo(self, merge_id: int, now_micros: int, by: str, reason: str) -> None:
        """Note that a merge or split does not hold any more."""
        ...

    async def set_merged_into(self, customer: int, into: int) -> None:
        """Have a customer lead to another; 0: to nobody."""
        ...

    async def events_after(self, customer: int, sequence: int, most: int) -> list[PastEvent]:
        """A customer's kept events beyond a sequence, in order."""
        ...

    async def move_events(self, customer: int, to: int, sequences: Mapping[int, int], via: int) -> None:
        """Make events another customer's, under new sequences; those that came under `via` lose that mark."""
        ...

    async def lines_of_ledger(self, customer: int) -> int:
        """How many lines the consent ledger of a customer has."""
        ...

    async def put_last_times(self, customers: Collection[Customer], types: Collection[str]) -> None:
        """Write the times of the last events of some customers anew; of merged ones there are none."""
        ...

    async def hide(self, customer: int) -> None:
        """Take a merged customer out of what others are found by."""
        ...


class Suggestions(Protocol):
    """Pairs that may be one person."""

    async def suggest(self, met: Sequence[Met], now_micros: int) -> int:
        """Keep pairs that were not suggested before, whatever became of it; gives how many are new."""
        ...

    async def suggestions(self, state: SuggestionState, after: int, most: int) -> list[Suggestion]:
        """Suggestions in a state beyond an id, oldest first."""
        ...

    async def suggestion(self, suggestion_id: int) -> Suggestion | None:
        """One, locked; None: there is none."""
        ...

    async def decide(
        self, suggestion_id: int, state: SuggestionState, by: str, now_micros: int, merge: int
    ) -> None:
        """Note what came of a suggestion."""
        ...


class IdentityWork(Periods, Merges, Suggestions, Protocol):
    """All of it, in one transaction."""

    async def audit(self, change: Change) -> None:
        """Write down who changed what."""
        ...
