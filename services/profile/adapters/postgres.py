"""The profile's PostgreSQL: binary arrays and COPY, one statement per step of a batch, nothing row by row."""

from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from hashlib import sha256

import psycopg
from sqlalchemy.exc import SQLAlchemyError

from services.profile.adapters.catalogue_types import Types
from services.profile.adapters.rows.access_log import AccessRows
from services.profile.adapters.rows.accounts import AccountRows
from services.profile.adapters.rows.customers import CustomerRows
from services.profile.adapters.rows.erasures import ErasureRows
from services.profile.adapters.rows.identities import IdentityRows
from services.profile.adapters.rows.kept import KeptRows
from services.profile.adapters.rows.listened import GATHERING_CHANNEL, ListenedRows
from services.profile.adapters.rows.merges import MergeRows
from services.profile.adapters.rows.past import PastRows
from services.profile.adapters.rows.periods import PeriodRows
from services.profile.adapters.rows.retracted import RetractedRows
from services.profile.adapters.rows.things import ThingRows
from services.profile.adapters.rows.timeline import TimelineRows
from services.profile.app.ports import ContentionError
from services.profile.domain.ledger import Mac
from services.runtime.database import Database, Transaction, is_transient
from services.runtime.errors import UnavailableError
from services.runtime.outbox import Outbox

__all__ = ["GATHERING_CHANNEL", "PostgresStore", "PostgresWork"]


def _without_key(part: bytes) -> bytes:
    """For tests and measurements, which have no key."""
    return sha256(part).digest()


class PostgresWork(
    RetractedRows,
    ErasureRows,
    ListenedRows,
    IdentityRows,
    PeriodRows,
    PastRows,
    MergeRows,
    AccountRows,
    CustomerRows,
    ThingRows,
    KeptRows,
    TimelineRows,
    AccessRows,
):
    """One transaction; implements the port `Work`."""


class PostgresStore:
    """Where profiles are kept; implements the port `ProfileStore`."""

    def __init__(
        self,
        database: Database,
        outbox: Outbox,
        types: Types,
        *,
        partitions: int = 64,
        mac: Mac = _without_key,
    ) -> None:
        self.database = database
        self.outbox = outbox
        self.types = types
        self.partitions = partitions
        self.mac = mac

    @asynccontextmanager
    async def work(self) -> AsyncIterator["PostgresWork"]:
        """A transaction; ContentionError when it lost against another, UnavailableError without a server."""
        try:
            async with self.database.transaction() as transaction:
                yield PostgresWork(self, transaction)
        except (psycopg.errors.DeadlockDetected, psycopg.errors.SerializationFailure) as error:
            raise ContentionError from error
        except (psycopg.Error, SQLAlchemyError) as error:
            if not is_transient(error):
                raise
            raise UnavailableError(
                "the profile's database does not answer", suggestion="try again"
            ) from error

    def met_others(self, error: Exception) -> bool:
        """Whether two transactions met in a ring, and this one was undone."""
        return isinstance(error, psycopg.errors.DeadlockDetected | psycopg.errors.SerializationFailure)

    def is_away(self, error: Exception) -> bool:
        """Whether an error says nothing of what was to be done."""
        return is_transient(error)

    def join(self, transaction: Transaction) -> "PostgresWork":
        """The same in a transaction that somebody else began."""
        return PostgresWork(self, transaction)
