"""What the channel keeps of people: sealed where it stands, carried over, sealed anew."""

from services.channel.adapters.storage.sealed import sealed_parts
from services.channel.domain.messages import Message, Wording
from services.runtime.data_keys import DataKeys
from services.runtime.database import Transaction
from services.runtime.dead_letters import DeadLetters
from services.runtime.keys import Sealer, sealed_by
from services.runtime.resealing import Resealing
from services.vocabulary.words import Category
from tests.fakes.channel import make_action
from tests.fakes.keys import RING, keys_file
from tests.integration.channel.conftest import Road
from tests.integration.channel.test_inbound import take, written
from tests.integration.standing import everything_in

_KEPT = {"message_body", "inbound_text"}


async def stands(road: Road) -> str:
    url = road.database.engine.url.render_as_string(hide_password=False)
    return " ".join(text for table, text in await everything_in(url) if table in _KEPT)


async def wording(road: Road, message: Message) -> Wording:
    return (await road.stored(message)).wording


async def through(road: Road, own: Sealer, keys: DataKeys) -> int:
    work = Resealing(road.database, keys, own, sealed_parts(own))
    pages = 0
    while await work.step():
        pages += 1
    return pages


async def test_texts_addresses_and_what_customers_write_stand_sealed_also_by_a_new_key(road: Road) -> None:
    own = road.store.sealer = Sealer(RING)
    keys = DataKeys(road.database, own, "channel", str(keys_file()), ripe_seconds=0.0)
    await keys.begin()
    message = await road.take_one(make_action(1, 7))
    await take(road, written("please call Ada Lovelace"))
    said = await wording(road, message)
    assert (said.address, said.text) == ("sms-address-7", "hello in words")
    standing = await stands(road)
    assert [word for word in ("sms-address", "in words", "Lovelace", "36111") if word in standing] == []
    async with road.database.transaction() as tx:
        await keys.rotate(tx)
    await keys.refresh()
    await through(road, own, keys)
    rows = await road.rows("SELECT sealed FROM message_body UNION ALL SELECT sealed FROM inbound_text")
    assert {sealed_by(sealed) for (sealed,) in rows if sealed} == {2}
    assert await wording(road, message) == said
    assert await through(road, own, keys) == 0


async def test_what_stood_open_is_read_and_then_sealed(road: Road) -> None:
    own = road.store.sealer
    message = await road.take_one(make_action(1, 7))
    await take(road, written("please call Ada Lovelace"))
    async with road.database.transaction() as tx:
        await tx.execute(
            "UPDATE message_body SET sealed = NULL, text = 'old words', subject = '', html = '', "
            "sender_plain = 'us', address = 'old-address'"
        )
        await tx.execute("UPDATE inbound_text SET sealed = NULL, text = 'Lovelace', recipient = '36111'")
    before = await wording(road, message)
    assert before == Wording("old words", "", "", "us", "old-address")
    keys = DataKeys(road.database, own, "channel", str(keys_file()), ripe_seconds=0.0)
    await keys.begin()
    await through(road, own, keys)
    standing = await stands(road)
    assert [word for word in ("old-address", "old words", "Lovelace", "36111") if word in standing] == []
    assert await wording(road, message) == before


async def test_actions_that_wait_stand_sealed_and_are_read_however_they_stand(road: Road) -> None:
    own = road.store.sealer = Sealer(RING)
    keys = DataKeys(road.database, own, "channel", str(keys_file()), ripe_seconds=0.0)
    await keys.begin()
    road.profile.away = True  # so that it waits
    action = make_action(1, 7, category=Category.SALES, name="for-ada")
    message = await road.take_one(action)
    ((record,),) = await road.rows("SELECT record FROM message_body")
    assert (sealed_by(bytes(record)), b"for-ada" in record) == (1, False)

    async def read() -> bytes:
        async with road.store.transaction() as tx:
            (found,) = (await tx._actions([message])).values()
        return found.record

    plain = await read()
    assert b"for-ada" in plain
    async with road.database.transaction() as tx:
        await tx.execute("UPDATE message_body SET record = %s", (plain,))  # as a version before left it
    assert await read() == plain
    await through(road, own, keys)
    ((record,),) = await road.rows("SELECT record FROM message_body")
    assert sealed_by(bytes(record)) == 1
    assert await read() == plain


async def test_what_was_set_aside_is_sealed_also_if_it_was_before_there_were_keys(road: Road) -> None:
    own = Sealer(RING)
    keys = DataKeys(road.database, own, "channel", str(keys_file()), ripe_seconds=0.0)
    await keys.begin()
    taken: list[bytes] = []

    async def resend(_transaction: Transaction, _kind: str, payload: bytes) -> None:
        taken.append(payload)

    letters = {sealer: DeadLetters("channel", road.outbox, resend, sealer=sealer) for sealer in (None, own)}
    words = b'{"name": "hello", "parameters": {"note": "for Ada Lovelace"}}'
    async with road.database.transaction() as tx:
        for one in letters.values():
            await one.add(
                tx,
                kind="action",
                item_id="a",
                item_type="hello",
                customer=7,
                payload=words,
                reason="it broke",
            )
    await through(road, own, keys)
    rows = await road.rows("SELECT id, payload FROM dead_letter ORDER BY id")
    assert [bool(sealed_by(bytes(payload))) for _, payload in rows] == [True, True]
    async with road.database.transaction() as tx:
        for number, _ in rows:
            await letters[own].resend(tx, number)
    assert taken == [words, words]
