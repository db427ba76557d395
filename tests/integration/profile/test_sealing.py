"""What identifies people in the profile's database: sealed, found by look-up, carried over, sealed anew."""

import dataclasses

import orjson
import pytest
from rapport.profile.v1 import profile_pb2, stored_pb2
from rapport.types.v1 import vocabulary_pb2 as words

from services.profile.adapters.catalogue_types import Types
from services.profile.adapters.packed_record import pack_record
from services.profile.adapters.packed_traits import put_traits
from services.profile.adapters.sealing import sealed_parts
from services.profile.domain.customer import Record
from services.profile.domain.traits import Trait
from services.profile.main import MIGRATIONS
from services.runtime.data_keys import DataKeys
from services.runtime.errors import ConflictError, SettingError
from services.runtime.keys import Keyring, Sealer, SealError, sealed_by
from services.runtime.resealing import Resealing
from services.vocabulary.identities import Identity
from tests.fakes.keys import RING, keys_file, sealer
from tests.integration.profile.asking import ANNA, event, ingest, traits
from tests.integration.profile.test_ingest import known, listen
from tests.integration.profile.test_store import CATALOGUE, NOW, Profile
from tests.integration.standing import everything_in

NUMBER = ANNA.removeprefix("msisdn:")
SECRETS = (NUMBER.removeprefix("+"), "Lovelace", "ada@example.org", "33611111111")


async def test_nothing_that_identifies_a_person_stands_open_and_who_asks_is_told(profile):
    await listen(profile, "profile.updated", "subscription.changed", "topup.received")
    await profile.profile.IngestEvents(
        ingest(
            event("e1", subject=f"{ANNA} email:ada@example.org"),
            traits("e2", name="Ada Lovelace", plan="m-20gb"),
            event("e3", subject="crm:7"),
            event("e4", subject=f"crm:7 {ANNA}"),
            event(
                "e5", "subscription.changed", {"subscription": "s1", "msisdn": "+33611111111", "plan": "s"}
            ),
        )
    )
    stands = await everything_in(profile.settings.database_url)
    assert [(table, secret) for table, text in stands for secret in SECRETS if secret in text] == []
    assert any(table == "outbox" and "m-20gb" in text for table, text in stands)
    found = await known(profile)
    assert {item.value for item in found.identities} == {NUMBER, "ada@example.org", "+33611111111"}
    assert [trait.value.text for trait in found.traits if trait.name == "name"] == ["Ada Lovelace"]
    question = profile_pb2.ContactQuestion(customer=found.customer, category=words.CATEGORY_SERVICE)
    answer = await profile.profile.CheckContact(profile_pb2.CheckContactRequest(questions=[question]))
    assert answer.answers[0].shown_traits["name"] == "Ada Lovelace"
    snapshots = await profile.profile.BatchGetSnapshots(profile_pb2.BatchGetSnapshotsRequest(subjects=[ANNA]))
    assert {trait.name for trait in snapshots.results[0].snapshot.traits} == {"plan"}


@pytest.fixture
async def stored(make_database):
    made = Profile(make_database(MIGRATIONS))
    yield made
    await made.database.close()


def resealing(stored: Profile, own: Sealer, types: Types, ripe_seconds: float = 0.0) -> Resealing:
    keys = DataKeys(stored.database, own, "profile", str(keys_file()), ripe_seconds=ripe_seconds)
    return Resealing(stored.database, keys, own, sealed_parts(types))


async def through(work: Resealing) -> int:
    pages = 0
    while await work.step():
        pages += 1
    return pages


async def as_before(stored: Profile) -> None:
    """Rows of one customer as the version before sealing wrote them."""
    open_traits = {name: dataclasses.replace(trait, direct=False) for name, trait in CATALOGUE.traits.items()}
    types = Types(dataclasses.replace(CATALOGUE, traits=open_traits), sealer())
    hot = stored_pb2.StoredHot()
    told = [Trait("name", "Ada Lovelace", NOW, "crm"), Trait("plan", "m", NOW, "crm")]
    put_traits(hot, {(trait.name, ""): trait for trait in told}, types)
    record = stored_pb2.StoredRecord.FromString(pack_record(Record(), NOW, 1, sealer()))
    record.identities.add(kind="msisdn", value=NUMBER)
    data = orjson.dumps({"traits": {"name": "Ada Lovelace"}})
    async with stored.database.transaction() as tx:
        await tx.execute("INSERT INTO identity_plain VALUES (%s, 1, '')", (ANNA,))
        await tx.execute("INSERT INTO customer VALUES (1, 1, %s)", (hot.SerializeToString(),))
        await tx.execute("INSERT INTO customer_record VALUES (1, %s)", (record.SerializeToString(),))
        await tx.execute('INSERT INTO customer_traits VALUES (1, \'{"name": "Ada", "plan": "m"}\')')
        await tx.execute(
            "INSERT INTO event VALUES (1, 1, 0, 0, 'profile.updated', 's', 'e', '', 0::smallint, false, %s)",
            (data,),
        )
        await tx.execute("INSERT INTO identity_conflict VALUES (1, %s, 0)", (f"crm:7 {ANNA}",))
        await tx.execute("SELECT setval('customer_id', 1)")


async def test_what_stood_open_is_found_before_while_and_after_it_is_carried_over(stored):
    await as_before(stored)
    anna = Identity("msisdn", NUMBER)

    async def owner() -> int:
        async with stored.store.work() as work:
            return (await work.owners([anna]))[anna].customer

    assert await owner() == 1
    types = stored.store.types
    keys = DataKeys(stored.database, types.sealer, "profile", str(keys_file()))
    await keys.begin()
    work = resealing(stored, types.sealer, types)
    while await work.step():
        assert await owner() == 1
    stands = await everything_in(stored.database.engine.url.render_as_string(hide_password=False))
    assert [(table, secret) for table, text in stands for secret in SECRETS if secret in text] == []
    async with stored.store.work() as profile:
        customer = (await profile.read_customers([1]))[1]
    assert customer.traits["name", ""].value == "Ada Lovelace"
    assert customer.traits["plan", ""].value == "m"
    assert customer.record.identities == [(anna, "")]
    assert await stored.rows("SELECT traits::text FROM customer_traits") == [('{"plan": "m"}',)]
    assert await through(work) == 0


async def test_a_new_data_key_seals_everything_anew_and_the_old_one_is_destroyed(stored):
    own = Sealer(RING)
    types = stored.store.types = Types(CATALOGUE, own)
    keys = DataKeys(stored.database, own, "profile", str(keys_file()), ripe_seconds=0.0)
    await keys.begin()
    await stored.intake().take(
        [
            stored.event("e1", f"{ANNA} crm:9"),
            stored.event("e2", ANNA, kind="profile.updated", traits={"name": "Ada Lovelace"}),
        ]
    )
    before = dict(await stored.rows("SELECT lookup, sealed FROM identity"))
    async with stored.database.transaction() as tx:
        assert await keys.rotate(tx) == 2
        with pytest.raises(ConflictError, match="still being sealed"):
            await keys.rotate(tx)
    await keys.refresh()
    await through(resealing(stored, own, types))
    after = dict(await stored.rows("SELECT lookup, sealed FROM identity"))
    assert {sealed_by(value) for value in before.values()} == {1}
    assert {sealed_by(value) for value in after.values()} == {2}
    assert before.keys() == after.keys()
    (hot,) = [
        stored_pb2.StoredHot.FromString(row[0]) for row in await stored.rows("SELECT hot FROM customer")
    ]
    (record,) = [
        stored_pb2.StoredRecord.FromString(row[0])
        for row in await stored.rows("SELECT record FROM customer_record")
    ]
    events = await stored.rows("SELECT data FROM event WHERE type = 'profile.updated'")
    assert {sealed_by(hot.direct), sealed_by(record.sealed), sealed_by(events[0][0])} == {2}
    assert await stored.rows("SELECT number FROM data_key WHERE wrapped IS NOT NULL") == [(2,)]
    async with stored.store.work() as work:
        (customer,) = (await work.read_customers([1])).values()
    assert customer.traits["name", ""].value == "Ada Lovelace"
    await keys.refresh()
    lookup, value = next(iter(before.items()))
    with pytest.raises(SealError, match=r"identity/[0-9a-f]{32} cannot be opened: its data key is gone"):
        own.open(value, f"identity/{lookup.hex()}")


async def test_a_wrapping_key_is_replaced_and_another_look_up_key_is_refused(stored, tmp_path):
    path = tmp_path / "keys.json"
    path.write_text(RING.text())
    own = Sealer(Keyring.read(str(path)))
    keys = DataKeys(stored.database, own, "profile", str(path))
    await keys.begin()
    ring = RING.rotated()
    path.write_text(ring.text())
    await keys.refresh()
    assert await keys.wrap_again() == 1
    assert await keys.wrap_again() == 0
    assert await stored.rows("SELECT wrapping FROM data_key") == [(ring.current,)]
    await keys.follow()
    assert await stored.rows("SELECT number FROM data_key") == [(1,)]
    path.write_text(ring.without(RING.wrapping).rotated(data=True).text())
    await keys.refresh()
    await keys.follow()
    await keys.follow()
    assert await stored.rows("SELECT number FROM data_key ORDER BY number") == [(1,), (2,)]
    later = DataKeys(stored.database, Sealer(Keyring.read(str(path))), "profile", str(path))
    await later.begin()
    stranger = Keyring(b"x" * 32, ring.wrapping, ring.current)
    with pytest.raises(SettingError, match="not the one this database was filled with"):
        await DataKeys(stored.database, Sealer(stranger), "profile", str(path)).begin()


async def test_every_column_of_sealed_values_is_sealed_anew_when_a_data_key_is_replaced(stored):
    found = await stored.rows(
        "SELECT table_name || '.' || column_name FROM information_schema.columns "
        "WHERE table_schema = 'public' AND column_name = 'sealed' AND data_type = 'bytea'"
    )
    walked = {part.name for part in sealed_parts(stored.store.types)}
    assert {name for (name,) in found} - walked == set()
    assert found
