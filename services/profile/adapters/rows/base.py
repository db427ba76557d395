"""What every part of a transaction on the profile's database has at hand."""

from typing import Protocol

from services.profile.adapters.catalogue_types import Types
from services.profile.domain.ledger import Mac
from services.runtime.database import Database, Transaction
from services.runtime.outbox import Outbox
from services.vocabulary.identities import Identity


class Store(Protocol):
    """What a transaction needs of the store it belongs to."""

    database: Database
    outbox: Outbox
    types: Types
    partitions: int
    mac: Mac


class Rows:
    """One transaction; each part of `PostgresWork` is one of these."""

    def __init__(self, store: Store, transaction: Transaction) -> None:
        self._store = store
        self.transaction = transaction
        self._lookups: dict[Identity, bytes] = {}
        self.unwritten: set[int] = set()
        """New customers, whom nobody else sees yet: their rows are written once, when they are saved."""

    def lookup(self, identity: Identity) -> bytes:
        """By which an identity is found, worked out once in a transaction."""
        found = self._lookups.get(identity)
        if found is None:
            found = self._lookups[identity] = self._store.types.sealer.lookup(identity.text)
        return found
