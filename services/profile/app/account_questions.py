"""Answers about accounts and households."""

from services.profile.app.ports import Work
from services.profile.app.questions import Questions
from services.profile.domain.account_views import AccountView, account_view
from services.profile.domain.customer import Customer
from services.profile.domain.errors import InvalidRequestError, UnknownSubjectError
from services.profile.domain.households import Household

MOST_CHARACTERS = 254


class AccountQuestions:
    """Reads only; each method answers from one transaction."""

    def __init__(self, questions: Questions) -> None:
        self._questions = questions

    async def account(self, work: Work, number: str, viewer: str) -> AccountView:
        """An account as `viewer` may see it, empty: whole; raises UnknownSubjectError."""
        if not number or len(number) > MOST_CHARACTERS:
            raise InvalidRequestError(
                "it is missing or too long", field="account", suggestion="name the account as its events do"
            )
        viewers: frozenset[int] = frozenset()
        if viewer:
            person = await self._questions.one(work, await self._questions.find(work, viewer))
            viewers = frozenset({person.id, *person.record.merged_customers})
        key = work.account_key(number)
        state = await work.account_state([number], (), lock=False)
        owner = max((await work.owners_by_key([key])).get(key, 0), 0)
        homes = await work.homes_by_key([key])
        found = None
        if owner or state.subscriptions or state.accounts[key].attributes:
            household = next((home.id for home in homes.values() if home.members), 0)
            found = account_view(
                state.accounts[key], list(state.subscriptions.values()), owner, household, viewers
            )
        if found is None:
            raise UnknownSubjectError(
                "nothing is known of this account, or it is none of the viewer's",
                field="account",
                suggestion="name the account as its events do",
            )
        return found

    async def household(self, work: Work, subject: str) -> tuple[Customer, Household]:
        """A customer with their household; raises UnknownSubjectError."""
        customer = await self._questions.one(work, await self._questions.find(work, subject))
        if customer.home is None:
            raise UnknownSubjectError(
                "this customer belongs to no household",
                field="subject",
                suggestion="send household.changed, or subscription.changed of an account with several users",
            )
        return customer, customer.home
