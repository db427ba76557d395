"""Old keys are forgotten, young ones kept; and a full outbox refuses what comes from outside."""

import pytest

from services.runtime.backlog import Backlog
from services.runtime.consumer import take_messages
from services.runtime.database import Database
from services.runtime.errors import UnavailableError
from services.runtime.housekeeping import Housekeeping
from services.runtime.outbox import Outbox


async def test_keys_over_thirty_days_old_are_forgotten(database: Database):
    async with database.transaction() as tx:
        assert await take_messages(tx, ["old", "young"]) == {"old", "young"}
        await tx.execute("UPDATE taken_message SET taken_at = now() - interval '31 days' WHERE key = 'old'")
        await tx.execute(
            "INSERT INTO request_key (rpc, request_id, digest, response, created_at) "
            "VALUES ('r', 'old', '', '', now() - interval '31 days'), "
            "('r', 'young', '', '', now() - interval '29 days')"
        )
    assert await Housekeeping(database).clear() == {"taken_message": 1, "request_key": 1}
    async with database.transaction() as tx:
        assert await take_messages(tx, ["old", "young"]) == {"old"}
        assert await tx.rows("SELECT request_id FROM request_key") == [("young",)]


async def test_work_from_outside_is_refused_while_the_outbox_is_over_its_limit(database: Database):
    backlog = Backlog(database, most_messages=2, refresh_seconds=0.0)
    outbox = Outbox(database)
    async with database.transaction() as tx:
        await outbox.put(tx, "EVENTS", [(0, b"a"), (0, b"b")])
    await backlog.check()
    async with database.transaction() as tx:
        await outbox.put(tx, "EVENTS", [(0, b"c")])
    with pytest.raises(UnavailableError):
        await backlog.check()
    async with database.transaction() as tx:
        await tx.execute("DELETE FROM outbox WHERE payload = 'a'")
    await backlog.check()
