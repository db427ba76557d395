"""What of an account each of its persons may see: who pays and who uses are two, and stay two."""

from dataclasses import dataclass

from services.profile.domain.accounts import Account, Subscription


@dataclass(frozen=True, slots=True)
class SubscriptionView:
    """A subscription for somebody's eyes; what they may not see is empty. Times 0: not said."""

    subscription: str
    status: str
    plan: str
    msisdn: str
    sim: str = ""
    device: str = ""
    user: int = 0
    payer: int = 0
    from_micros: int = 0
    until_micros: int = 0


@dataclass(frozen=True, slots=True)
class AccountView:
    """An account for somebody's eyes."""

    number: str
    status: str
    payer: int
    household: int
    subscriptions: tuple[SubscriptionView, ...]
    too_many: bool = False


def account_view(
    account: Account, subscriptions: list[Subscription], owner: int, household: int, viewers: frozenset[int]
) -> AccountView | None:
    """The account as these ids of one person may see it; none given: as staff do. None: they may not at all.

    Who pays sees what is paid for: subscriptions, plans and numbers, but not who uses them nor with what. Who
    uses a line sees that line, and not who pays.
    """
    staff = not viewers
    shown: list[SubscriptionView] = []
    for one in sorted(subscriptions, key=lambda one: one.name):
        payer = one.payer or owner
        uses, pays = staff or one.user in viewers, staff or payer in viewers
        if not (uses or pays):
            continue
        line = one.line("")
        shown.append(
            SubscriptionView(
                one.name,
                one.text("status"),
                one.text("plan"),
                one.text("msisdn"),
                one.text("sim") if uses else "",
                one.text("device") if uses else "",
                one.user if uses else 0,
                payer if pays else 0,
                line.from_micros,
                line.until_micros,
            )
        )
    owns = staff or owner in viewers
    if not (owns or shown):
        return None
    return AccountView(
        account.name,
        account.text("status"),
        owner if owns else 0,
        household,
        tuple(shown),
        account.large and owns,
    )
