"""Accounts and subscriptions: found by keyed hashes, what is known of them sealed."""

from collections.abc import Collection, Sequence

from services.profile.adapters.account_packing import ACCOUNT, SUBSCRIPTION, open_facts, seal_facts
from services.profile.adapters.rows.base import Rows
from services.profile.app.ports import AccountState
from services.profile.domain.accounts import NOBODY, Account, Key, Subscription

MOST_TOGETHER = 100
"""Accounts with more subscriptions than this are companies', and never looked at as a whole."""


class AccountRows(Rows):
    """Tables `account` and `subscription`."""

    def account_key(self, number: str) -> Key:
        """The look-up of the account's identity, so that one leads to the other."""
        return self._store.types.sealer.lookup(f"account:{number}")

    def subscription_key(self, name: str) -> Key:
        """The look-up of a subscription."""
        return self._store.types.sealer.lookup(f"subscription:{name}")

    async def account_state(
        self, accounts: Collection[str], subscriptions: Collection[str], *, lock: bool
    ) -> AccountState:
        """These, with all subscriptions of the same accounts."""
        numbers = {self.account_key(number): number for number in accounts}
        names = {self.subscription_key(name): name for name in subscriptions}
        if lock:
            await self._lock("account", list(numbers))
            await self._lock("subscription", list(names))
        state = AccountState(
            {key: Account(key, number) for key, number in numbers.items()},
            {key: Subscription(key, name) for key, name in names.items()},
        )
        for row in await self._subscriptions(list(names)):
            self._open(state, *row)
        before = {one.account for one in state.subscriptions.values() if one.account} - numbers.keys()
        if lock and before:
            await self._lock("account", list(before))
        await self._read_accounts(state, [*numbers, *before])
        return state

    async def _lock(self, table: str, keys: list[Key]) -> None:
        """Rows made where there are none, and locked in order."""
        if not keys:
            return
        await self.transaction.execute(
            f"INSERT INTO {table} (lookup) SELECT * FROM unnest(%s::bytea[]) ON CONFLICT DO NOTHING",  # noqa: S608
            (sorted(keys),),
        )
        await self.transaction.rows(
            f"SELECT 1 FROM {table} WHERE lookup = ANY(%s::bytea[]) ORDER BY lookup FOR UPDATE",  # noqa: S608
            (keys,),
        )

    async def _subscriptions(self, keys: list[Key]) -> list[tuple[Key, Key | None, bytes | None]]:
        return (
            await self.transaction.rows(
                "SELECT lookup, account, sealed FROM subscription WHERE lookup = ANY(%s::bytea[])", (keys,)
            )
            if keys
            else []
        )

    def _open(self, state: AccountState, key: Key, account: Key | None, sealed: bytes | None) -> None:
        one = state.subscriptions.setdefault(key, Subscription(key, ""))
        one.account = account or b""
        if sealed is not None:
            open_facts(one, sealed, SUBSCRIPTION, self._store.types.sealer)

    async def _read_accounts(self, state: AccountState, keys: list[Key]) -> None:
        if not keys:
            return
        for key, sealed in await self.transaction.rows(
            "SELECT lookup, sealed FROM account WHERE lookup = ANY(%s::bytea[])", (keys,)
        ):
            account = state.accounts.setdefault(key, Account(key, ""))
            if sealed is not None:
                open_facts(account, sealed, ACCOUNT, self._store.types.sealer)
        rows = await self.transaction.rows(
            "SELECT s.lookup, s.account, s.sealed FROM unnest(%s::bytea[]) AS wanted (key), LATERAL ("
            "SELECT lookup, account, sealed FROM subscription WHERE account = wanted.key "
            "ORDER BY lookup LIMIT %s) AS s",
            (keys, MOST_TOGETHER + 1),
        )
        of_account: dict[Key, list[tuple[Key, Key | None, bytes | None]]] = {}
        for row in rows:
            of_account.setdefault(row[1], []).append((row[0], row[1], row[2]))
        for key, found in of_account.items():
            if len(found) > MOST_TOGETHER:
                state.accounts[key].large = True
                continue
            for row in found:
                if row[0] not in state.subscriptions:
                    self._open(state, *row)

    async def save_account_state(
        self, accounts: Sequence[Account], subscriptions: Sequence[Subscription]
    ) -> None:
        """Write what changed; the rows are there and locked."""
        sealer = self._store.types.sealer
        if accounts:
            await self.transaction.execute(
                "UPDATE account SET sealed = new.sealed FROM unnest(%s::bytea[], %s::bytea[]) "
                "AS new (lookup, sealed) WHERE account.lookup = new.lookup",
                ([one.key for one in accounts], [seal_facts(one, ACCOUNT, sealer) for one in accounts]),
            )
        if subscriptions:
            await self.transaction.execute(
                "UPDATE subscription SET account = nullif(new.account, ''::bytea), "
                "customer = nullif(new.customer, 0), payer = nullif(new.payer, 0), sealed = new.sealed "
                "FROM unnest(%s::bytea[], %s::bytea[], %s::bigint[], %s::bigint[], %s::bytea[]) "
                "AS new (lookup, account, customer, payer, sealed) WHERE subscription.lookup = new.lookup",
                (
                    [one.key for one in subscriptions],
                    [one.account for one in subscriptions],
                    [one.user for one in subscriptions],
                    [one.payer for one in subscriptions],
                    [seal_facts(one, SUBSCRIPTION, sealer) for one in subscriptions],
                ),
            )

    async def owners_by_key(self, keys: Collection[Key]) -> dict[Key, int]:
        """Whose accounts these are; of those whose owner was erased NOBODY."""
        wanted = list(keys)
        rows = await self.transaction.rows(
            "SELECT lookup, customer FROM identity WHERE lookup = ANY(%s::bytea[])", (wanted,)
        )
        gone = await self.transaction.rows(
            "SELECT lookup FROM erased_identity WHERE lookup = ANY(%s::bytea[])", (wanted,)
        )
        return {row[0]: NOBODY for row in gone} | dict(rows)
