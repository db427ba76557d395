"""Old keys are forgotten, young ones kept."""

from services.runtime.consumer import take_messages
from services.runtime.database import Database
from services.runtime.housekeeping import Housekeeping


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
